package session_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

func (c *customer) fault(kind relay.FaultKind, code, count int) {
	c.w.t.Helper()
	require.NoError(c.w.t, c.w.sim.Relay().Fault(relay.Fault{Kind: kind, Phone: c.phone.Number(), Code: code, Count: count}))
}

func TestComesBackAfterARestartWithoutPairing(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c := w.paired(wasim.PhoneConfig{})
		ana := w.phone(wasim.PhoneConfig{Name: "Ana"})
		c.send(c.chatID(ana), "before")
		before := c.view()
		w.halt()
		id, err := ana.SendText(within(t), c.phone.Number(), "while away", phone.SendOptions{})
		require.NoError(t, err)
		w.start()
		after := c.until(session.Online)
		require.Equal(t, before.Device, after.Device)
		require.Equal(t, before.Phone, after.Phone)
		require.Equal(t, before.LID, after.LID)
		c.message(c.chatID(ana), id, nil)
		c.send(c.chatID(ana), "after")
		_, err = ana.WaitEntry(within(t), 0, hasText("after"))
		require.NoError(t, err)
	})
}

func TestReconnectsWhenTheConnectionIsLost(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]relay.Fault{
		"cut":       {Kind: relay.FaultDrop},
		"restart":   {Kind: relay.FaultStreamError, Code: 503},
		"unknown":   {Kind: relay.FaultStreamError, Code: 500},
		"bare 401?": {Kind: relay.FaultStreamError, Code: 516},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sqlite())
			c := w.paired(wasim.PhoneConfig{})
			since := c.view().Since
			c.fault(fault.Kind, fault.Code, 0)
			eventually(t, func() bool { v := c.view(); return v.State == session.Online && v.Since.After(since) })
			c.send(c.chatID(w.phone(wasim.PhoneConfig{})), "still here")
		})
	}
}

func TestKeepsTryingWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	for _, code := range []int{503, 500} {
		w := newWorld(t, sqlite(), slowly)
		c := w.paired(wasim.PhoneConfig{})
		c.fault(relay.FaultConnectFailure, code, 3)
		c.fault(relay.FaultDrop, 0, 0)
		eventually(t, func() bool { return c.view().Reason == "server_unavailable" })
		c.until(session.Online)
	}
}

func TestASessionThatAnswersNoPingIsNotOnline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), slowly, func(w *world) { w.pace.MissedPings = 1 })
	c := w.paired(wasim.PhoneConfig{})
	c.fault(relay.FaultStall, 0, 0)
	eventually(t, func() bool { return c.view().Reason == "keepalive_timeout" })
	c.until(session.Online)
}

func TestFinishesALogoutThatTheNodeDidNotSurvive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{})
	device := c.view().Device
	w.halt()
	row, err := c.Session(within(t))
	require.NoError(t, err)
	row.Status = tenant.SessionStatus{State: string(session.LoggedOut), Reason: "unlinked_by_phone"}
	_, err = c.Commit(within(t), tenant.SetSession{Session: row})
	require.NoError(t, err)
	w.start()
	c.forgotten(device)
	require.Equal(t, session.LoggedOut, c.view().State)
	require.Equal(t, "unlinked_by_phone", c.view().Reason)
}

func TestARowWithoutADeviceIsCleared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.tenant()
	w.halt()
	// The node ended between claiming the device and storing it.
	device := number() + ":9@s.whatsapp.net"
	_, err := c.Commit(within(t), tenant.SetSession{Session: tenant.Session{
		Device: device, Wanted: true, Status: tenant.SessionStatus{State: string(session.Pairing)},
	}})
	require.NoError(t, err)
	w.start()
	require.Equal(t, "device_missing", c.until(session.LoggedOut).Reason)
	c.forgotten(device)
	c.pair(w.phone(wasim.PhoneConfig{}))
}

func TestDrainEndsInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), func(w *world) { w.pace.DrainTimeout = 500 * time.Millisecond })
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	c.send(c.chatID(ana), "warm")
	c.fault(relay.FaultStall, 0, 0)
	cut := make(chan error, 1)
	go func() {
		_, err := w.fleet.SendText(within(t), c.ID(), c.chatID(ana), session.TextMessage{Text: "cut off"})
		cut <- err
	}()
	eventually(t, func() bool {
		pending := c.outgoing()
		return len(pending) == 1 && pending[0].Text == "cut off"
	})
	fleet := w.fleet
	w.halt()
	err := <-cut
	var unanswered *session.UnansweredError
	require.ErrorAs(t, err, &unanswered)
	require.ErrorIs(t, err, context.Canceled, "by the drain, not by a deadline of its own")
	require.Len(t, c.outgoing(), 1, "it goes out when the node is back")

	_, err = fleet.StartPairing(within(t), w.tenant().ID())
	require.ErrorIs(t, err, session.ErrStopping)
	_, err = fleet.Connect(within(t), c.ID())
	require.ErrorIs(t, err, session.ErrStopping)
	require.Error(t, fleet.Run(t.Context()), "it runs once")
	view, err := fleet.View(within(t), c.ID())
	require.NoError(t, err)
	require.Equal(t, c.phone.Number(), view.Phone)
	_, err = session.New(session.Config{})
	require.ErrorContains(t, err, "store is missing")
	require.ErrorContains(t, err, "log is missing")
}

func TestEndsWhereItShould(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		kind   relay.FaultKind
		code   int
		state  session.State
		reason string
	}{
		"replaced":            {relay.FaultStreamError, 409, session.Conflict, "stream_replaced"},
		"unlinked":            {relay.FaultStreamError, 401, session.LoggedOut, "unlinked_by_phone"},
		"unlinked while away": {relay.FaultConnectFailure, 401, session.LoggedOut, "unlinked_by_phone"},
		"phone gone":          {relay.FaultConnectFailure, 403, session.LoggedOut, "primary_device_gone"},
		"banned for good":     {relay.FaultConnectFailure, 406, session.LoggedOut, "logged_out_by_whatsapp"},
		"banned for a time":   {relay.FaultConnectFailure, 402, session.Banned, "temporary_ban"},
		"client too old":      {relay.FaultConnectFailure, 405, session.Outdated, "client_outdated"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sqlite())
			c := w.paired(wasim.PhoneConfig{})
			device := c.view().Device
			c.fault(tc.kind, tc.code, 1)
			if tc.kind == relay.FaultConnectFailure {
				c.fault(relay.FaultDrop, 0, 0)
			}
			view := c.until(tc.state)
			require.Equal(t, tc.reason, view.Reason)
			require.NotEmpty(t, view.Message)
			require.NotEmpty(t, view.Action)
			if tc.state == session.Banned {
				require.True(t, view.Until.After(time.Now()))
			}
			_, err := w.fleet.SendText(within(t), c.ID(), tenant.PersonID(number()), session.TextMessage{Text: "no"})
			var offline *session.OfflineError
			require.ErrorAs(t, err, &offline)
			require.Equal(t, tc.state, offline.View.State)

			// The journal has it.
			eventually(t, func() bool {
				row, err := c.Session(within(t))
				return err == nil && row.Status.State == string(tc.state) && row.Status.Reason == tc.reason
			})
			if tc.state == session.LoggedOut {
				c.forgotten(device)
				c.pair(w.phone(wasim.PhoneConfig{}))
				return
			}
			// It survives a restart, and ends when somebody asks for it.
			w.restart()
			require.Equal(t, tc.state, c.view().State)
			require.Equal(t, tc.reason, c.view().Reason)
			_, err = w.fleet.Connect(within(t), c.ID())
			require.NoError(t, err)
			c.until(session.Online)
		})
	}
}

// forgotten waits until nothing is left of a device.
func (c *customer) forgotten(device string) {
	c.w.t.Helper()
	eventually(c.w.t, func() bool {
		row, err := c.Session(within(c.w.t))
		return err == nil && row.Device == ""
	})
	jid, err := types.ParseJID(device)
	require.NoError(c.w.t, err)
	_, err = c.w.devices.Load(within(c.w.t), c.ID(), jid)
	require.ErrorIs(c.w.t, err, session.ErrNotPaired)
	for _, table := range []string{"device", "device_row"} {
		var n int
		err = c.w.store.Database().QueryRow(within(c.w.t), "SELECT COUNT(*) FROM "+table+" WHERE tenant_id=$1", c.ID()).Scan(&n)
		require.NoError(c.w.t, err)
		require.Zero(c.w.t, n, table)
	}
}

func TestBanEndsByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{})
	c.fault(relay.FaultConnectFailure, 402, 1)
	c.fault(relay.FaultDrop, 0, 0)
	c.until(session.Banned)
	var row tenant.Session
	eventually(t, func() (stored bool) {
		row, _ = c.Session(within(t))
		return row.Status.State == string(session.Banned)
	})
	startsWith := func(left time.Duration) {
		t.Helper()
		w.halt()
		row.Until = time.Now().Add(left)
		_, err := c.Commit(within(t), tenant.SetSession{Session: row})
		require.NoError(t, err)
		w.start()
	}
	startsWith(time.Hour)
	require.Equal(t, session.Banned, c.view().State)
	startsWith(time.Second) // the simulator bans for longer than a test may last
	c.until(session.Online)
	startsWith(-time.Second)
	c.until(session.Online)
}

func TestUnlinkedByThePhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{})
	device := c.view().Device
	require.NoError(t, w.sim.Relay().Unlink(c.phone.Number(), c.phone.Companions()[0]))
	require.Equal(t, "unlinked_by_phone", c.until(session.LoggedOut).Reason)
	c.forgotten(device)
}

func TestDisconnectsAndConnectsOnRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{})
	view, err := w.fleet.Disconnect(within(t), c.ID())
	require.NoError(t, err)
	require.Equal(t, session.Stopped, view.State)
	eventually(t, func() bool { row, err := c.Session(within(t)); return err == nil && !row.Wanted })
	w.restart()
	require.Equal(t, session.Stopped, c.view().State)
	_, err = w.fleet.Connect(within(t), c.ID())
	require.NoError(t, err)
	c.until(session.Online)
	// As fast as somebody can click.
	for range 20 {
		_, err = w.fleet.Disconnect(within(t), c.ID())
		require.NoError(t, err)
		_, err = w.fleet.Connect(within(t), c.ID())
		require.NoError(t, err)
	}
	c.until(session.Online)
	eventually(t, func() bool { row, err := c.Session(within(t)); return err == nil && row.Status.Ready && row.Wanted })
	_, err = w.fleet.Connect(within(t), w.tenant().ID())
	require.ErrorIs(t, err, session.ErrNotPaired)
}

func TestLogsOutOnRequest(t *testing.T) {
	t.Parallel()
	for _, online := range []bool{true, false} {
		w := newWorld(t, sqlite())
		c := w.paired(wasim.PhoneConfig{})
		device := c.view().Device
		want := "logged_out_by_operator"
		if !online {
			_, err := w.fleet.Disconnect(within(t), c.ID())
			require.NoError(t, err)
			want = "logged_out_locally"
		}
		view, err := w.fleet.Logout(within(t), c.ID())
		require.NoError(t, err)
		require.Equal(t, session.LoggedOut, view.State)
		require.Equal(t, want, view.Reason)
		require.Empty(t, view.Device)
		c.forgotten(device)
		require.Equal(t, want, c.view().Reason)
		require.Equal(t, !online, len(c.phone.Companions()) > 0)
		_, err = w.fleet.Logout(within(t), c.ID())
		require.ErrorIs(t, err, session.ErrNotPaired)
		w.restart()
		require.Equal(t, session.LoggedOut, c.view().State)
		c.pair(w.phone(wasim.PhoneConfig{}))
	}
}

func TestRemovesATenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, kept := w.paired(wasim.PhoneConfig{}), w.paired(wasim.PhoneConfig{})
	device := c.view().Device
	fate, err := w.fleet.Remove(within(t), c.ID())
	require.NoError(t, err)
	require.Equal(t, tenant.DeviceUnlinked, fate)
	c.forgotten(device)
	tenanttest.Delete(t, w.store, c.ID())
	_, err = w.fleet.View(within(t), c.ID())
	require.ErrorIs(t, err, tenant.ErrNotFound)
	families, err := w.reg.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				require.NotEqual(t, string(c.ID()), label.GetValue(), family.GetName())
			}
		}
	}
	require.Equal(t, session.Online, kept.view().State)
	fate, err = w.fleet.Remove(within(t), tenant.NewID())
	require.NoError(t, err)
	require.Equal(t, tenant.DeviceNone, fate)
}
