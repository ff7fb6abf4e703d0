package tenant_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

// FuzzChatIDs reads whatever somebody calls a chat: what is taken is in our form, and is read as itself.
func FuzzChatIDs(f *testing.F) {
	for _, seed := range []string{
		"5511999990001@c.us", "5511999990001@s.whatsapp.net", "120363000000000001@g.us", "1-2@g.us", "104857600000001@lid", "", "@", "@c.us",
		"1@c.us@c.us", "1:2@c.us", "１@c.us", "1@c.us\n", "1\x00@lid", strings.Repeat("1", 33) + "@c.us",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := tenant.ParseChatID(s)
		if err != nil {
			require.ErrorIs(t, err, tenant.ErrInvalidChatID)
			require.Empty(t, id)
			return
		}
		again, err := tenant.ParseChatID(string(id))
		require.NoError(t, err)
		require.Equal(t, id, again)
		require.LessOrEqual(t, len(id), 80)
		require.Equal(t, -1, strings.IndexFunc(string(id), func(r rune) bool { return !strings.ContainsRune("0123456789-@.abcdefghijklmnopqrstuvwxyz", r) }))
		require.Equal(t, id.IsGroup(), id.Type() == tenant.ChatGroup)
		if !id.IsGroup() && len(id.User()) > 4 {
			require.NotContains(t, id.Redacted(), id.User())
		}
	})
}

// FuzzListCursors reads whatever somebody calls a cursor, and what we made of whatever place.
func FuzzListCursors(f *testing.F) {
	chat, message := tenant.Chat{ID: "1@c.us"}, tenant.Message{Ord: 1}
	for _, seed := range []string{"", "x", chat.Cursor(), message.Cursor(), tenant.NewID().Cursor(), "\x00", "Y2hhdA", "bWVzc2FnZXwxfDE"} {
		f.Add(seed, int64(1_760_000_000_000), int64(7), "5511999990001@c.us")
	}
	f.Fuzz(func(t *testing.T, s string, ms, ord int64, id string) {
		if at, ord, err := tenant.ParseMessageCursor(s); err == nil {
			m := tenant.Message{Timestamp: at, Ord: ord}
			again, sameOrd, err := tenant.ParseMessageCursor(m.Cursor())
			require.NoError(t, err)
			require.True(t, at.Equal(again))
			require.Equal(t, ord, sameOrd)
			_, _, err = tenant.ParseChatCursor(s)
			require.ErrorIs(t, err, tenant.ErrInvalidCursor, "a cursor is of one list")
		}
		if _, id, err := tenant.ParseChatCursor(s); err == nil {
			require.Equal(t, tenant.CleanText(string(id)), string(id))
		}
		if id, err := tenant.ParseIDCursor(s); err == nil {
			require.Equal(t, s, id.Cursor())
		}
		m := tenant.Message{Timestamp: time.UnixMilli(ms), Ord: ord}
		at, sameOrd, err := tenant.ParseMessageCursor(m.Cursor())
		require.NoError(t, err)
		require.Equal(t, []int64{ms, ord}, []int64{at.UnixMilli(), sameOrd})
		c := tenant.Chat{ID: tenant.ChatID(tenant.CleanText(id)), Activity: time.UnixMilli(ms)}
		activity, sameID, err := tenant.ParseChatCursor(c.Cursor())
		require.NoError(t, err)
		require.Equal(t, c.ID, sameID)
		require.Equal(t, ms, activity.UnixMilli())
	})
}

// FuzzSecrets reads whatever somebody calls an API key: what is taken names a tenant, and is shown as itself alone when asked to.
func FuzzSecrets(f *testing.F) {
	secret := tenant.NewSecret(tenant.NewID())
	for _, seed := range []string{secret.Reveal(), secret.Reveal() + "\n", strings.ToUpper(secret.Reveal()), "wf__", "wf_\x00_", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		secret, err := tenant.ParseSecret(s)
		if err != nil {
			require.ErrorIs(t, err, tenant.ErrInvalidKey)
			return
		}
		require.Equal(t, s, secret.Reveal())
		require.NotContains(t, secret.String(), s)
		_, err = tenant.ParseID(string(secret.ID().Tenant()))
		require.NoError(t, err)
	})
}

// FuzzJoinTokens reads whatever somebody puts behind a join URL.
func FuzzJoinTokens(f *testing.F) {
	token := string(tenant.NewJoinToken(tenant.NewID()))
	for _, seed := range []string{token, token + "\n", strings.ToUpper(token), "wj__", token[:len(token)-1], "wj_\x00", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		token, err := tenant.ParseJoinToken(s)
		if err != nil {
			require.ErrorIs(t, err, tenant.ErrJoinTokenNotFound)
			return
		}
		require.Equal(t, s, string(token))
		require.NotContains(t, token.String(), s)
		_, err = tenant.ParseID(string(token.Tenant()))
		require.NoError(t, err)
	})
}
