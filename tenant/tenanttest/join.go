package tenanttest

import (
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func joinChecks() []check {
	return []check{
		{"NameAGroup", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			name := "Family"
			commit(t, h, tenant.PutChat{ID: family, Name: &name}, live(received("A", ana, "hi", 1)))
			require.Empty(t, getChat(t, h, family).JoinToken)
			first, second := tenant.NewJoinToken(h.ID()), tenant.NewJoinToken(h.ID())
			head := commit(t, h, tenant.SetJoinToken{ChatID: family, Token: first}).Head
			found, err := h.JoinChat(t.Context(), first)
			require.NoError(t, err)
			require.Equal(t, family, found.ID)
			require.Equal(t, "Family", found.Name)
			require.Equal(t, first, getChat(t, h, family).JoinToken)
			require.Empty(t, getChat(t, h, ana).JoinToken)
			for chat, err := range h.Chats(t.Context(), tenant.ChatQuery{Type: tenant.ChatGroup}) {
				require.NoError(t, err)
				require.Equal(t, first, chat.JoinToken)
			}

			require.Equal(t, head, commit(t, h, tenant.SetJoinToken{ChatID: family, Token: second}).Head, "it is no event")
			requireNoToken(t, h, first)
			_, err = h.JoinChat(t.Context(), second)
			require.NoError(t, err)
			commit(t, h, tenant.SetJoinToken{ChatID: family})
			requireNoToken(t, h, second)
			commit(t, h, tenant.SetJoinToken{ChatID: family}) // again
		}},
		{"GoWithTheirChat", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			token := tenant.NewJoinToken(h.ID())
			_, err := h.Commit(t.Context(), tenant.SetJoinToken{ChatID: family, Token: token})
			require.ErrorIs(t, err, tenant.ErrChatNotFound)
			commit(t, h, tenant.PutChat{ID: family}, tenant.SetJoinToken{ChatID: family, Token: token}, tenant.DeleteChat{ID: family})
			requireNoToken(t, h, token)
			commit(t, h, tenant.PutChat{ID: family})
			requireNoToken(t, h, token)
			require.Empty(t, getChat(t, h, family).JoinToken, "nor with the chat that comes after it")
		}},
		{"AreOfOneTenant", func(t tester, s tenant.Store) {
			h, other := NewTenant(t, s), NewTenant(t, s)
			token := tenant.NewJoinToken(h.ID())
			commit(t, h, tenant.PutChat{ID: family}, tenant.SetJoinToken{ChatID: family, Token: token})
			commit(t, other, tenant.PutChat{ID: family})
			requireNoToken(t, other, token)
			_, err := other.Commit(t.Context(), tenant.SetJoinToken{ChatID: family, Token: token})
			require.Error(t, err)
			Delete(t, s, h.ID())
			requireNoToken(t, h, token)
		}},
	}
}

func requireNoToken(t tester, h tenant.Handle, token tenant.JoinToken) {
	t.Helper()
	_, err := h.JoinChat(t.Context(), token)
	require.ErrorIs(t, err, tenant.ErrJoinTokenNotFound)
}
