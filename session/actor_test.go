package session

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/metrics"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// bareActor is an actor that nothing has been asked of yet. What the test does with it, it does in jobs.
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
	f.wg.Add(1)
	t.Cleanup(func() {
		a.post(func() { a.over = true })
		f.wg.Wait()
	})
	return a, reg
}

// job runs fn as a job of the actor.
func job(t *testing.T, a *actor, fn func()) {
	t.Helper()
	require.NoError(t, a.do(t.Context(), func() error { fn(); return nil }))
}

// untilParted waits for the job that takes the connection away.
func untilParted(t *testing.T, a *actor) {
	t.Helper()
	require.Eventually(t, func() (parted bool) {
		job(t, a, func() { parted = a.cur == nil })
		return parted
	}, time.Minute, time.Millisecond)
}

// TestLogsInAfterPairingWithoutBeingTold: WhatsApp says that a linked device should connect anew, then closes. Either may be
// missed.
func TestLogsInAfterPairingWithoutBeingTold(t *testing.T) {
	t.Parallel()
	a, _ := bareActor(t, tenant.Session{Device: "5511900000001:7@s.whatsapp.net", Wanted: true})
	var closing bool
	job(t, a, func() {
		a.state = Connecting
		a.pair = &pairing{linked: true, claimed: true}
		a.cur = a.newConn(true)
		close(a.cur.opened)
		a.wake()
		closing = a.closing
		a.state = Stopped // what follows is not this test's
	})
	require.True(t, closing)
	untilParted(t, a)
}

// TestALockThatEndedWhileTheNodeWasDown: its alarm goes off at once, and must not before the first job.
func TestALockThatEndedWhileTheNodeWasDown(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	a, _ := bareActor(t, tenant.Session{
		Device: "5511900000001:7@s.whatsapp.net", Status: tenant.SessionStatus{State: string(Stopped)},
		Reachout: tenant.ReachoutLock{Since: now.Add(-2 * time.Hour), Until: now.Add(-time.Hour), Cause: tenant.ReachoutRefused},
	})
	require.Zero(t, a.lockAlarm)
	job(t, a, a.begin)
	require.Eventually(t, func() bool { return a.view.Load().Reachout == tenant.ReachoutLock{} }, time.Minute, time.Millisecond)
}

func TestIllegalMovesAreRefusedAndCounted(t *testing.T) {
	t.Parallel()
	a, reg := bareActor(t, tenant.Session{
		Device: "5511900000001:7@s.whatsapp.net", Wanted: true, Status: tenant.SessionStatus{State: string(Conflict)},
	})
	var moved bool
	job(t, a, func() { moved = a.become(Online, reasonNone, time.Time{}) })
	require.False(t, moved)
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
			var c *conn
			job(t, a, func() {
				c = a.newConn(false)
				close(c.opened)
				a.cur = c
			})
			var told sync.WaitGroup
			told.Go(func() { c.end(lost) })
			told.Go(func() { c.end(worst) })
			told.Wait()
			untilParted(t, a)
			require.Equal(t, worst.state, a.view.Load().State)
			require.Equal(t, string(worst.reason), a.view.Load().Reason)

			// Long after: the socket of a connection that is closed cannot say anything new.
			job(t, a, func() { a.overruled(c) })
			require.Equal(t, worst.state, a.view.Load().State)
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
	job(t, a, func() { a.save(saved) })
	require.ErrorIs(t, <-saved, ErrPanicked)
	job(t, a, func() { a.save(saved) })
	require.ErrorIs(t, <-saved, ErrPanicked)
}

// panicky is a store whose commits panic.
type panicky struct{ tenant.Handle }

func (panicky) Commit(context.Context, ...tenant.Change) (tenant.Result, error) { panic("broken") }
