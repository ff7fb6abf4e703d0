package session_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
)

func TestPairsByCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, p := w.tenant(), w.phone(wasim.PhoneConfig{Name: "Shop"})
	view, err := w.fleet.StartPhonePairing(within(t), c.ID(), p.Number())
	require.NoError(t, err)
	require.Equal(t, session.PairingWaiting, view.Phase)
	require.Regexp(t, `^[0-9A-Z]{4}-[0-9A-Z]{4}$`, view.Code)
	require.Empty(t, view.QR)
	_, err = p.Link(within(t), view.Code)
	require.NoError(t, err)
	c.finished()
	require.Equal(t, p.Number(), c.view().Phone)
}

func TestPairingIsRefusedWhenItCannotBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{})

	_, err := w.fleet.StartPairing(within(t), c.ID())
	require.ErrorIs(t, err, session.ErrAlreadyPaired)
	_, err = w.fleet.StartPhonePairing(within(t), c.ID(), "0123")
	require.ErrorIs(t, err, session.ErrInvalidPhone)
	require.ErrorIs(t, w.fleet.CancelPairing(within(t), c.ID()), session.ErrNoPairing)

	other := w.tenant()
	_, err = w.fleet.Pairing(within(t), other.ID())
	require.ErrorIs(t, err, session.ErrNoPairing)
	_, err = w.fleet.StartPairing(within(t), tenant.NewID())
	require.ErrorIs(t, err, tenant.ErrNotFound)
	_, err = w.fleet.StartPairing(within(t), other.ID())
	require.NoError(t, err)
	_, err = w.fleet.StartPhonePairing(within(t), other.ID(), number())
	require.ErrorIs(t, err, session.ErrPairingActive)
	again, err := w.fleet.StartPairing(within(t), other.ID()) // joins
	require.NoError(t, err)
	require.NotEmpty(t, again.QR)
}

func TestPairingEndsWhenCancelledAndCanBeginAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.tenant()
	first, err := w.fleet.StartPairing(within(t), c.ID())
	require.NoError(t, err)
	require.Equal(t, session.Pairing, c.view().State)
	require.NoError(t, w.fleet.CancelPairing(within(t), c.ID()))
	view, err := w.fleet.Pairing(within(t), c.ID())
	require.NoError(t, err)
	require.Equal(t, session.PairingFailed, view.Phase)
	require.Equal(t, "pairing_cancelled", view.Reason)
	require.Greater(t, view.Version, first.Version)
	require.Equal(t, session.Unpaired, c.view().State)
	c.pair(w.phone(wasim.PhoneConfig{}))
}

func TestPairingShowsTheNextCodeAndEndsInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), func(w *world) {
		w.pace.QRFirst, w.pace.QRNext, w.pace.PairTimeout = 100*time.Millisecond, time.Hour, 8*time.Second
	})
	c := w.tenant()
	view, err := w.fleet.StartPairing(within(t), c.ID())
	require.NoError(t, err)
	next, err := w.fleet.PairingChanged(within(t), c.ID(), view.Version)
	require.NoError(t, err)
	require.NotEqual(t, view.QR, next.QR)
	for next.Phase != session.PairingFailed {
		next, err = w.fleet.PairingChanged(within(t), c.ID(), next.Version)
		require.NoError(t, err)
	}
	require.Equal(t, "pairing_timeout", next.Reason)
	require.Equal(t, session.Unpaired, c.view().State)
}

func TestHistoryIsTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	ana := w.phone(wasim.PhoneConfig{Name: "Ana"})
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	c := w.tenant()
	c.pair(w.phone(wasim.PhoneConfig{History: []phone.Chat{{
		Phone: ana.Number(), Name: "Ana Maria",
		Messages: []phone.ChatMessage{
			{ID: "OLD1", Text: "first", At: start},
			{ID: "OLD2", Text: "second", FromMe: true, At: start.Add(time.Minute)},
		},
	}}}))
	chat := c.chatID(ana)
	m := c.message(chat, "OLD2", nil)
	require.True(t, m.FromMe)
	require.NotEqual(t, tenant.StatusPending, m.Status)
	got := c.all(chat)
	require.Len(t, got, 2)
	require.Equal(t, "second", got[0].Text)
	require.Equal(t, "first", got[1].Text)
	require.Equal(t, tenant.StatusReceived, got[1].Status)
	require.Empty(t, c.events(tenant.EventMessageReceived), "history is not news")
	eventually(t, func() bool {
		stored, err := c.Chat(within(t), chat)
		return err == nil && stored.Name == "Ana Maria"
	})
}

func TestPairsAnewRightBehindALogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{})
	device := c.view().Device
	_, err := w.fleet.Logout(within(t), c.ID())
	require.NoError(t, err)
	for range 2 { // the first begins while the old connection is being closed, the second finds what that left
		view, err := w.fleet.StartPairing(within(t), c.ID())
		require.NoError(t, err)
		require.Equal(t, session.PairingWaiting, view.Phase)
		require.NoError(t, w.fleet.CancelPairing(within(t), c.ID()))
	}
	c.forgotten(device)
}

func TestHistoryOutlivesItsConnection(t *testing.T) {
	t.Parallel()
	var away, waits atomic.Bool
	away.Store(true)
	w := newWorld(t, sqlite(), func(w *world) {
		w.pace.StoreBlocked = time.Second
		w.wrap = func(s tenant.Store) tenant.Store {
			return &between{s, func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
				if _, put := putting(changes); put && away.Load() {
					waits.Store(true)
					return tenant.Result{}, fmt.Errorf("commit: %w", tenant.ErrUnavailable)
				}
				return h.Commit(ctx, changes...)
			}}
		}
	})
	ana := w.phone(wasim.PhoneConfig{Name: "Ana"})
	c := w.tenant()
	c.pair(w.phone(wasim.PhoneConfig{History: []phone.Chat{{
		Phone: ana.Number(), Messages: []phone.ChatMessage{{ID: "OLD1", Text: "first", At: time.Now().Add(-time.Hour)}},
	}}}))
	eventually(t, func() bool { return waits.Load() && c.view().State != session.Online })
	away.Store(false)
	require.Equal(t, "first", c.message(c.chatID(ana), "OLD1", nil).Text)
}
