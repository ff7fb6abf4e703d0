package session_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

func TestASessionThatDepartedStaysOffUntilItIsTakenBack(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c := w.paired(wasim.PhoneConfig{})
		ana := w.phone(wasim.PhoneConfig{Name: "Ana"})
		c.send(c.chatID(ana), "before")
		require.NoError(t, w.fleet.Depart(within(t), c.ID()))
		// Depart has returned: nothing of the session runs, and its state is stored.
		row, err := w.store.Tenant(c.ID()).Session(within(t))
		require.NoError(t, err)
		require.False(t, row.Wanted)
		require.Equal(t, "exported", row.Status.Reason)
		require.NotEmpty(t, row.Device)
		require.NoError(t, w.fleet.Depart(within(t), c.ID()), "again")
		id, err := ana.SendText(within(t), c.phone.Number(), "while away", phone.SendOptions{})
		require.NoError(t, err)

		check := func() {
			_, err := w.fleet.Connect(within(t), c.ID())
			require.ErrorIs(t, err, session.ErrExported)
			v := c.view()
			require.Equal(t, session.Stopped, v.State)
			require.Equal(t, "exported", v.Reason)
			_, err = w.fleet.SendText(within(t), c.ID(), c.chatID(ana), session.TextMessage{Text: "no"})
			var offline *session.OfflineError
			require.ErrorAs(t, err, &offline)
		}
		check()
		w.halt()
		w.start()
		check()

		view, err := w.fleet.TakeBack(within(t), c.ID())
		require.NoError(t, err)
		require.Equal(t, "disconnected_by_operator", view.Reason)
		_, err = w.fleet.Connect(within(t), c.ID())
		require.NoError(t, err)
		c.until(session.Online)
		c.message(c.chatID(ana), id, nil)
	})
}

// TestATenantThatDepartedIsDeletedWithoutUnlinkingItsDevice: it runs elsewhere by then.
func TestATenantThatDepartedIsDeletedWithoutUnlinkingItsDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{})
	devices := len(c.phone.Companions())
	require.NoError(t, w.fleet.Depart(within(t), c.ID()))
	fate, err := w.fleet.Remove(within(t), c.ID())
	require.NoError(t, err)
	require.Equal(t, tenant.DeviceForgotten, fate)
	tenanttest.Delete(t, w.store, c.ID())
	require.Len(t, c.phone.Companions(), devices)
}

func TestDepartingEndsWhateverTheSessionDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), slowly)
	for name, prepare := range map[string]func(t *testing.T) *customer{
		"never paired": func(*testing.T) *customer { return w.tenant() },
		"pairing": func(t *testing.T) *customer {
			t.Helper()
			c := w.tenant()
			_, err := w.fleet.StartPairing(within(t), c.ID())
			require.NoError(t, err)
			return c
		},
		"backoff": func(t *testing.T) *customer {
			t.Helper()
			c := w.paired(wasim.PhoneConfig{})
			c.fault(relay.FaultConnectFailure, 503, 1000)
			c.fault(relay.FaultDrop, 0, 0)
			c.until(session.Backoff)
			return c
		},
		"disconnected": func(t *testing.T) *customer {
			t.Helper()
			c := w.paired(wasim.PhoneConfig{})
			_, err := w.fleet.Disconnect(within(t), c.ID())
			require.NoError(t, err)
			return c
		},
		"logged out": func(t *testing.T) *customer {
			t.Helper()
			c := w.paired(wasim.PhoneConfig{})
			_, err := w.fleet.Logout(within(t), c.ID())
			require.NoError(t, err)
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := prepare(t)
			require.NoError(t, w.fleet.Depart(within(t), c.ID()))
			require.NotEqual(t, session.Online, c.view().State)
		})
	}
	require.ErrorIs(t, w.fleet.Depart(within(t), tenant.NewID()), tenant.ErrNotFound)
}

func TestWhatArrives(t *testing.T) {
	t.Parallel()
	row := tenant.Session{
		Device: "5511888880000:3@s.whatsapp.net", LID: "104857600000009@lid", Wanted: true,
		Status: tenant.SessionStatus{State: "online", Ready: true},
	}
	here := session.Arrived(row, true)
	require.False(t, here.Wanted, "it is connected when somebody asks for it")
	require.Equal(t, "stopped", here.Status.State)
	require.Equal(t, "imported", here.Status.Reason)
	require.Equal(t, row.Device, here.Device)
	require.False(t, here.Status.Ready)

	without := session.Arrived(row, false)
	require.Empty(t, without.Device)
	require.Equal(t, "logged_out", without.Status.State)
	require.Equal(t, "device_missing", without.Status.Reason)
	for _, as := range []tenant.Session{{}, {Device: row.Device, Status: tenant.SessionStatus{State: "logged_out", Reason: "unlinked_by_phone"}}} {
		require.Equal(t, as, session.Arrived(as, true))
	}
}
