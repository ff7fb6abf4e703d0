package session

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/metrics"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// bareActor is an actor whose loop does not run: the test is the loop.
func bareActor(t *testing.T, row tenant.Session) (*actor, *prometheus.Registry) {
	t.Helper()
	store := tenanttest.OpenSQLite(t)
	made, _, err := store.Create(t.Context(), tenant.NewTenant{Name: "Test"})
	require.NoError(t, err)
	reg := prometheus.NewRegistry()
	log := slog.New(slog.DiscardHandler)
	pace := withDefaults(Pace{})
	f := &Fleet{
		cfg:  Config{Store: store, Metrics: metrics.New(reg).Fleet, Log: log},
		pace: &pace, life: t.Context(), actors: map[tenant.ID]*actor{},
	}
	a := newActor(f, made.ID, row)
	t.Cleanup(func() {
		close(a.done)
		a.saver.drain()
		<-a.tasks.close()
	})
	return a, reg
}

// TestLogsInAfterPairingWithoutBeingTold: WhatsApp says that a linked device should connect anew, then closes. Either may be
// missed.
func TestLogsInAfterPairingWithoutBeingTold(t *testing.T) {
	t.Parallel()
	a, _ := bareActor(t, tenant.Session{Device: "5511900000001:7@s.whatsapp.net", Wanted: true})
	a.state = Connecting
	a.pair = &pairing{linked: true, claimed: true}
	c := a.newConn(true)
	close(c.opened)
	a.cur = c
	a.wake()
	require.True(t, a.closing)
	a.stopping = true // what follows is not this test's
	select {
	case job := <-a.inbox:
		job()
	case <-time.After(time.Minute): //nolint:forbidigo // a deadline
		require.Fail(t, "the connection was not closed")
	}
	require.Nil(t, a.cur)
	require.Equal(t, Connecting, a.state)
}

func TestIllegalMovesAreRefusedAndCounted(t *testing.T) {
	t.Parallel()
	a, reg := bareActor(t, tenant.Session{
		Device: "5511900000001:7@s.whatsapp.net", Wanted: true, Status: tenant.SessionStatus{State: string(Conflict)},
	})
	require.False(t, a.become(Online, reasonNone, time.Time{}))
	require.Equal(t, Conflict, a.state)
	require.Equal(t, Conflict, a.view.Load().State)
	n, err := testutil.GatherAndCount(reg, "wafleet_panics_total")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// TestTheLastWordOfAConnectionIsItsWorst: WhatsApp closes the socket right behind what it says, and whatsmeow tells of both at
// once, in any order.
func TestTheLastWordOfAConnectionIsItsWorst(t *testing.T) {
	t.Parallel()
	lost := outcome{state: Backoff, reason: lostConnection}
	for _, worst := range []outcome{
		{state: Conflict, reason: reasonReplaced},
		{state: Banned, reason: reasonBanned, until: time.Now().Add(time.Hour)},
		{state: Outdated, reason: reasonOutdated, until: time.Now().Add(time.Hour)},
	} {
		for range 10 { // in whatever order they come
			a, _ := bareActor(t, tenant.Session{Device: "5511900000001:7@s.whatsapp.net", Wanted: true})
			c := a.newConn(false)
			close(c.opened)
			a.cur = c
			go c.end(lost)
			go c.end(worst)
			for range 3 { // the loop hears of both, and that the connection is closed
				select {
				case job := <-a.inbox:
					job()
				case <-time.After(time.Minute): //nolint:forbidigo // a deadline
					require.Fail(t, "the loop was not told")
				}
			}
			require.Nil(t, a.cur)
			require.Equal(t, worst.state, a.state)
			require.Equal(t, worst.reason, a.reason)

			// Long after: the socket of a connection that is closed cannot say anything new.
			a.overruled(c)
			require.Equal(t, worst.state, a.state)
		}
	}
}

func TestATimeThatIsNoneIsReplacedByTheArrival(t *testing.T) {
	t.Parallel()
	good := time.Unix(1_700_000_000, 0).UTC()
	require.Equal(t, good, sane(good))
	for _, bad := range []time.Time{time.Unix(1<<40, 0), time.Unix(-5, 0), {}} {
		require.WithinDuration(t, time.Now(), sane(bad), time.Minute)
	}
}

func TestAPanicWhileARowIsStoredLeavesTheSaverAlive(t *testing.T) {
	t.Parallel()
	a, _ := bareActor(t, tenant.Session{})
	a.handle = panicky{a.handle}
	saved := make(chan error, 1)
	a.save(saved)
	require.ErrorIs(t, <-saved, ErrPanicked)
	a.save(saved)
	require.ErrorIs(t, <-saved, ErrPanicked)
}

// panicky is a store whose commits panic.
type panicky struct{ tenant.Handle }

func (panicky) Commit(context.Context, ...tenant.Change) (tenant.Result, error) { panic("broken") }
