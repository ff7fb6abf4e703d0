package session_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// link makes a pairing link of the customer's.
func (c *customer) link() tenant.PairingLinkID {
	c.w.t.Helper()
	link, _, err := c.CreatePairingLink(within(c.w.t), tenant.NewPairingLink{ExpiresAt: time.Now().Add(time.Hour)})
	require.NoError(c.w.t, err)
	return link.ID
}

func (c *customer) linkState(id tenant.PairingLinkID) tenant.LinkState {
	c.w.t.Helper()
	link, err := c.PairingLink(within(c.w.t), id)
	require.NoError(c.w.t, err)
	return link.State(time.Now())
}

func TestAPairingUsesItsLinksUp(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, p := w.tenant(), w.phone(wasim.PhoneConfig{})
		first, second, unused := c.link(), c.link(), c.link()
		view, err := w.fleet.StartLinkPairing(within(t), c.ID(), session.LinkPairing{Link: first})
		require.NoError(t, err)
		require.Equal(t, []tenant.PairingLinkID{first}, view.Links)
		again, err := w.fleet.StartLinkPairing(within(t), c.ID(), session.LinkPairing{Link: second}) // joins
		require.NoError(t, err)
		require.Equal(t, view.QR, again.QR)
		require.ElementsMatch(t, []tenant.PairingLinkID{first, second}, again.Links)
		require.Equal(t, tenant.LinkActive, c.linkState(first), "only a pairing that succeeds uses it up")
		_, err = p.Scan(within(t), again.QR)
		require.NoError(t, err)
		require.Equal(t, tenant.LinkUsed, c.linkState(first), "before the phone is answered")
		c.finished()
		view, err = w.fleet.Pairing(within(t), c.ID())
		require.NoError(t, err)
		require.ElementsMatch(t, []tenant.PairingLinkID{first, second}, view.Links)
		require.Equal(t, tenant.LinkUsed, c.linkState(second))
		require.Equal(t, tenant.LinkActive, c.linkState(unused))
		_, err = w.fleet.StartLinkPairing(within(t), c.ID(), session.LinkPairing{Link: unused})
		require.ErrorIs(t, err, session.ErrAlreadyPaired)
	})
}

func TestAPageChangesTheWayOfPairing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, p := w.tenant(), w.phone(wasim.PhoneConfig{})
	link := c.link()
	byQR, err := w.fleet.StartLinkPairing(within(t), c.ID(), session.LinkPairing{Link: link})
	require.NoError(t, err)
	require.NotEmpty(t, byQR.QR)
	byCode, err := w.fleet.StartLinkPairing(within(t), c.ID(), session.LinkPairing{Link: link, Phone: p.Number()})
	require.NoError(t, err)
	require.NotEmpty(t, byCode.Code)
	require.Equal(t, p.Number(), byCode.Phone)
	_, err = w.fleet.StartPairing(within(t), c.ID())
	require.ErrorIs(t, err, session.ErrPairingActive, "the operator's call changes nothing that is under way")
	_, err = p.Scan(within(t), byQR.QR)
	require.Error(t, err, "the code of the pairing that was replaced is worth nothing")
	back, err := w.fleet.StartLinkPairing(within(t), c.ID(), session.LinkPairing{Link: link})
	require.NoError(t, err)
	require.NotEmpty(t, back.QR)
	require.NotEqual(t, byQR.QR, back.QR)
	_, err = w.fleet.StartLinkPairing(within(t), c.ID(), session.LinkPairing{Link: link, Phone: "0"})
	require.ErrorIs(t, err, session.ErrInvalidPhone)
	last, err := w.fleet.StartLinkPairing(within(t), c.ID(), session.LinkPairing{Link: link, Phone: p.Number()})
	require.NoError(t, err)
	_, err = p.Link(within(t), last.Code)
	require.NoError(t, err)
	c.finished()
	require.Equal(t, tenant.LinkUsed, c.linkState(link))
}

func TestALinkLeavesAPairing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.tenant()
	first, second := c.link(), c.link()
	require.NoError(t, w.fleet.EndLinkPairing(within(t), c.ID(), first), "there is none")
	for _, link := range []tenant.PairingLinkID{first, second} {
		_, err := w.fleet.StartLinkPairing(within(t), c.ID(), session.LinkPairing{Link: link})
		require.NoError(t, err)
	}
	require.NoError(t, w.fleet.EndLinkPairing(within(t), c.ID(), first))
	view, err := w.fleet.Pairing(within(t), c.ID())
	require.NoError(t, err)
	require.Equal(t, session.PairingWaiting, view.Phase, "the other goes on")
	require.Equal(t, []tenant.PairingLinkID{second}, view.Links)
	require.NoError(t, w.fleet.EndLinkPairing(within(t), c.ID(), first))
	require.NoError(t, w.fleet.EndLinkPairing(within(t), c.ID(), second))
	view, err = w.fleet.Pairing(within(t), c.ID())
	require.NoError(t, err)
	require.Equal(t, "pairing_cancelled", view.Reason)

	require.Equal(t, []tenant.PairingLinkID{second}, view.Links)
	require.NoError(t, w.fleet.EndLinkPairing(within(t), c.ID(), second))
	view, err = w.fleet.Pairing(within(t), c.ID())
	require.NoError(t, err)
	require.Empty(t, view.Links, "a failure is dismissed")

	// The operator's own pairing outlives the links that joined it.
	_, err = w.fleet.StartPairing(within(t), c.ID())
	require.NoError(t, err)
	_, err = w.fleet.StartLinkPairing(within(t), c.ID(), session.LinkPairing{Link: first})
	require.NoError(t, err)
	require.NoError(t, w.fleet.EndLinkPairing(within(t), c.ID(), first))
	view, err = w.fleet.Pairing(within(t), c.ID())
	require.NoError(t, err)
	require.Equal(t, session.PairingWaiting, view.Phase)
	require.Empty(t, view.Links)
}

func TestALinkIsGivenBackWhenTheDeviceIsNotStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), func(w *world) {
		w.wrap = func(s tenant.Store) tenant.Store {
			return &between{s, func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
				result, err := h.Commit(ctx, changes...)
				if use, ok := changes[0].(tenant.UsePairingLinks); ok && !use.Undo && err == nil {
					return result, tenant.ErrRefused // it was stored, but the answer was lost in a way that is not tried again
				}
				return result, err
			}}
		}
	})
	c, p := w.tenant(), w.phone(wasim.PhoneConfig{})
	link := c.link()
	view, err := w.fleet.StartLinkPairing(within(t), c.ID(), session.LinkPairing{Link: link})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(within(t))
	scanned := make(chan struct{})
	go func() {
		defer close(scanned)
		_, _ = p.Scan(ctx, view.QR)
	}()
	for view.Phase != session.PairingFailed {
		view, err = w.fleet.PairingChanged(within(t), c.ID(), view.Version)
		require.NoError(t, err)
	}
	cancel()
	<-scanned
	eventually(t, func() bool { return c.linkState(link) == tenant.LinkActive })
	require.Equal(t, session.Unpaired, c.view().State)
}

func TestAnAccountThatAsksForAPasskeyIsToldSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, p := w.tenant(), w.phone(wasim.PhoneConfig{})
	require.NoError(t, w.sim.Relay().Fault(relay.Fault{Kind: relay.FaultPasskey, Phone: p.Number(), Count: 2}))
	for _, byCode := range []bool{false, true} {
		link := c.link()
		how := session.LinkPairing{Link: link}
		if byCode {
			how.Phone = p.Number()
		}
		view, err := w.fleet.StartLinkPairing(within(t), c.ID(), how)
		require.NoError(t, err)
		if byCode {
			_, err = p.Link(within(t), view.Code)
		} else {
			_, err = p.Scan(within(t), view.QR)
		}
		require.Error(t, err)
		for view.Phase != session.PairingFailed {
			view, err = w.fleet.PairingChanged(within(t), c.ID(), view.Version)
			require.NoError(t, err)
		}
		require.Equal(t, "passkey_required", view.Reason)
		require.NotEmpty(t, view.Message)
		require.NotEmpty(t, view.Action)
		require.Equal(t, session.Unpaired, c.view().State)
		require.Equal(t, tenant.LinkActive, c.linkState(link))
	}
	c.pair(p) // which is not asked any more
}
