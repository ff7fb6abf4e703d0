package tenanttest

import (
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

// soon is when a link of these checks expires.
func soon() time.Time { return time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond) }

func newLink(t tester, h tenant.Handle, n tenant.NewPairingLink) (tenant.PairingLink, tenant.PairingToken) {
	t.Helper()
	if n.ExpiresAt.IsZero() {
		n.ExpiresAt = soon()
	}
	link, token, err := h.CreatePairingLink(t.Context(), n)
	require.NoError(t, err)
	return link, token
}

func getLink(t tester, h tenant.Handle, id tenant.PairingLinkID) tenant.PairingLink {
	t.Helper()
	link, err := h.PairingLink(t.Context(), id)
	require.NoError(t, err)
	return link
}

func pairingLinkChecks() []check { return slices.Concat(pairingLinkUses(), pairingLinkBounds()) }

func pairingLinkUses() []check {
	return []check{
		{"AreMadeAndFound", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			none, err := h.PairingLinks(t.Context())
			require.NoError(t, err)
			require.Empty(t, none)
			at := soon()
			link, token := newLink(t, h, tenant.NewPairingLink{Phone: "5511999990001", ReturnURL: "https://shop.example/done", ExpiresAt: at})
			require.Regexp(t, `^wp_`+string(h.ID())+`[a-z2-7]{6}_[a-z2-7]{32}$`, token.Reveal())
			require.Equal(t, link, getLink(t, h, link.ID))
			require.Equal(t, at, link.ExpiresAt)
			require.Equal(t, "5511999990001", link.Phone)
			require.Equal(t, "https://shop.example/done", link.ReturnURL)
			require.NoError(t, link.Admits(token))
			require.ErrorIs(t, link.Admits(tenant.NewPairingToken(h.ID())), tenant.ErrPairingLinkNotFound)
			require.NotContains(t, token.String(), strings.Split(token.Reveal(), "_")[2])
			require.Equal(t, tenant.LinkActive, link.State(time.Now()))
			require.Equal(t, tenant.LinkExpired, link.State(at))
			second, _ := newLink(t, h, tenant.NewPairingLink{})
			all, err := h.PairingLinks(t.Context())
			require.NoError(t, err)
			require.ElementsMatch(t, []tenant.PairingLink{link, second}, all)
		}},
		{"AreUsedOnce", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			link, _ := newLink(t, h, tenant.NewPairingLink{})
			other, _ := newLink(t, h, tenant.NewPairingLink{})
			head := commit(t, h, tenant.UsePairingLinks{IDs: []tenant.PairingLinkID{link.ID, tenant.NewPairingToken(h.ID()).ID()}}).Head
			require.Zero(t, head, "it is no event")
			used := getLink(t, h, link.ID)
			require.Equal(t, tenant.LinkUsed, used.State(time.Now()))
			commit(t, h, tenant.UsePairingLinks{IDs: []tenant.PairingLinkID{link.ID}})
			require.Equal(t, used, getLink(t, h, link.ID), "used once")
			require.NoError(t, h.RevokePairingLink(t.Context(), link.ID))
			require.Equal(t, used, getLink(t, h, link.ID))
			untouched := getLink(t, h, other.ID)
			require.Equal(t, tenant.LinkActive, untouched.State(time.Now()))
			commit(t, h, tenant.UsePairingLinks{IDs: []tenant.PairingLinkID{link.ID}, Undo: true})
			again := getLink(t, h, link.ID)
			require.Equal(t, tenant.LinkActive, again.State(time.Now()), "it was not linked after all")
		}},
		{"AreRevoked", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			link, _ := newLink(t, h, tenant.NewPairingLink{})
			require.NoError(t, h.RevokePairingLink(t.Context(), link.ID))
			revoked := getLink(t, h, link.ID)
			require.Equal(t, tenant.LinkRevoked, revoked.State(time.Now()))
			require.NoError(t, h.RevokePairingLink(t.Context(), link.ID))
			require.Equal(t, revoked, getLink(t, h, link.ID))
			require.ErrorIs(t, h.RevokePairingLink(t.Context(), tenant.NewPairingToken(h.ID()).ID()), tenant.ErrPairingLinkNotFound)
		}},
	}
}

func pairingLinkBounds() []check {
	return []check{
		{"AreBounded", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			newLink(t, h, tenant.NewPairingLink{ExpiresAt: time.Now().Add(-time.Minute)})
			var last tenant.PairingLinkID
			for range tenant.MaxPairingLinks {
				link, _ := newLink(t, h, tenant.NewPairingLink{})
				last = link.ID
			}
			_, _, err := h.CreatePairingLink(t.Context(), tenant.NewPairingLink{ExpiresAt: soon()})
			require.ErrorIs(t, err, tenant.ErrTooManyPairingLinks)
			require.NoError(t, h.RevokePairingLink(t.Context(), last))
			newLink(t, h, tenant.NewPairingLink{})
			all, err := h.PairingLinks(t.Context())
			require.NoError(t, err)
			require.Len(t, all, tenant.MaxPairingLinks+2)
			for _, l := range all {
				require.NoError(t, h.RevokePairingLink(t.Context(), l.ID))
			}
			newLink(t, h, tenant.NewPairingLink{})
			all, err = h.PairingLinks(t.Context())
			require.NoError(t, err)
			require.Len(t, all, tenant.MaxPairingLinks+1, "of those that cannot be used, as many are remembered")
		}},
		{"AreOfOneTenantAndGoWithIt", func(t tester, s tenant.Store) {
			h, other := NewTenant(t, s), NewTenant(t, s)
			link, _ := newLink(t, h, tenant.NewPairingLink{})
			_, err := other.PairingLink(t.Context(), link.ID)
			require.ErrorIs(t, err, tenant.ErrPairingLinkNotFound)
			require.ErrorIs(t, other.RevokePairingLink(t.Context(), link.ID), tenant.ErrPairingLinkNotFound)
			commit(t, other, tenant.UsePairingLinks{IDs: []tenant.PairingLinkID{link.ID}})
			require.Equal(t, link, getLink(t, h, link.ID))
			Delete(t, s, h.ID())
			_, err = h.PairingLink(t.Context(), link.ID)
			require.ErrorIs(t, err, tenant.ErrPairingLinkNotFound)
			_, err = h.PairingLinks(t.Context())
			require.ErrorIs(t, err, tenant.ErrNotFound)
			_, _, err = h.CreatePairingLink(t.Context(), tenant.NewPairingLink{ExpiresAt: soon()})
			require.ErrorIs(t, err, tenant.ErrNotFound)
		}},
	}
}
