package session_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
)

func TestASuspendedTenantsSessionRestsUntilItIsResumed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, other := w.paired(wasim.PhoneConfig{}), w.paired(wasim.PhoneConfig{})
	device := c.view().Device
	_, err := w.store.Suspend(within(t), c.ID())
	require.NoError(t, err)
	require.NoError(t, w.fleet.Suspend(within(t), c.ID()))
	resting := func() {
		t.Helper()
		view := c.view()
		require.Equal(t, session.Stopped, view.State)
		require.Equal(t, "tenant_suspended", view.Reason)
		require.Equal(t, device, view.Device, "the device stays linked")
		_, err = w.fleet.Connect(within(t), c.ID())
		require.ErrorIs(t, err, session.ErrSuspended)
	}
	resting()
	require.Equal(t, session.Online, other.view().State)

	w.restart()
	other.until(session.Online)
	resting()

	_, err = w.store.Resume(within(t), c.ID())
	require.NoError(t, err)
	require.NoError(t, w.fleet.Resume(within(t), c.ID()))
	c.until(session.Online)
	require.Equal(t, device, c.view().Device)
}

func TestWhatWasDecidedButNotDoneYetIsDoneAtTheNextStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{})
	_, err := w.store.Suspend(within(t), c.ID()) // and the node ends before the fleet hears of it
	require.NoError(t, err)
	w.restart()
	require.Equal(t, session.Stopped, c.until(session.Stopped).State)
	_, err = w.store.Resume(within(t), c.ID())
	require.NoError(t, err)
	w.restart()
	c.until(session.Online)
}

func TestASuspendedTenantDoesNotPair(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.tenant()
	_, err := w.fleet.StartPairing(within(t), c.ID())
	require.NoError(t, err)
	_, err = w.store.Suspend(within(t), c.ID())
	require.NoError(t, err)
	require.NoError(t, w.fleet.Suspend(within(t), c.ID()))
	require.Equal(t, session.Unpaired, c.view().State)
	_, err = w.fleet.StartPairing(within(t), c.ID())
	require.ErrorIs(t, err, session.ErrSuspended)
	require.NoError(t, w.fleet.Resume(within(t), c.ID()))
	c.pair(w.phone(wasim.PhoneConfig{}))
}

func TestWhatRestedBeforeASuspensionRestsAfterIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{})
	_, err := w.fleet.Disconnect(within(t), c.ID())
	require.NoError(t, err)
	require.NoError(t, w.fleet.Suspend(within(t), c.ID()))
	require.NoError(t, w.fleet.Resume(within(t), c.ID()))
	view := c.view()
	require.Equal(t, session.Stopped, view.State)
	require.Equal(t, "disconnected_by_operator", view.Reason, "it rested before, and goes on resting")
}
