package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func TestBackoffDoublesWithinBounds(t *testing.T) {
	t.Parallel()
	p := withDefaults(Pace{})
	for n, full := range map[int]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 8: 128 * time.Second,
		9: 256 * time.Second, 10: 5 * time.Minute, 64: 5 * time.Minute, 1 << 40: 5 * time.Minute,
	} {
		least, most := full, time.Duration(0)
		for range 200 {
			d := p.backoff(n)
			require.GreaterOrEqual(t, d, full/2, n)
			require.LessOrEqual(t, d, full, n)
			least, most = min(least, d), max(most, d)
		}
		require.Greater(t, most-least, full/8, "no jitter after %d failures", n)
	}
	require.Equal(t, time.Duration(1), jitter(1))
	require.Zero(t, jitter(0))
}

func testPacer(p Pace) (*pacer, *atomic.Bool) {
	var open atomic.Bool
	p = withDefaults(p)
	return newPacer(&p, open.Store), &open
}

func TestConnectsArePaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := testPacer(Pace{Connects: 10, Burst: 5, Dials: 3})
		start := time.Now()
		var wg sync.WaitGroup
		var now, most, done atomic.Int32
		for range 45 {
			wg.Go(func() {
				leave, err := p.enter(t.Context(), "a")
				if err != nil {
					return
				}
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(150 * time.Millisecond)
				now.Add(-1)
				leave(verdictReached)
				leave(verdictReached) // twice does no harm
				done.Add(1)
			})
		}
		wg.Wait()
		require.EqualValues(t, 45, done.Load())
		require.EqualValues(t, 3, most.Load())
		require.GreaterOrEqual(t, time.Since(start), 4*time.Second)
	})
}

func TestBreakerSuspendsAndOneTries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, open := testPacer(Pace{Connects: 1000, Burst: 1000, Dials: 100, BreakAfter: 5, BreakMin: 10 * time.Second, BreakMax: time.Minute})
		var working atomic.Bool
		var attempts atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 20 {
			who := tenant.NewID()
			wg.Go(func() {
				for ctx.Err() == nil {
					leave, err := p.enter(ctx, who)
					if err != nil {
						return
					}
					attempts.Add(1)
					time.Sleep(10 * time.Millisecond)
					if working.Load() {
						leave(verdictReached)
						return
					}
					leave(verdictFailed)
					time.Sleep(time.Second)
				}
			})
		}
		time.Sleep(5 * time.Second)
		require.True(t, open.Load())
		require.EqualValues(t, 20, attempts.Load(), "nobody tries while it is open")
		time.Sleep(10 * time.Minute)
		require.Less(t, attempts.Load(), int32(60), "one at a time, and ever less often")
		require.Greater(t, attempts.Load(), int32(25))
		working.Store(true)
		time.Sleep(time.Minute + time.Second)
		require.False(t, open.Load())
		wg.Wait() // all got through
		cancel()
	})
}

func TestBreakerSurvivesAProbeThatGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, open := testPacer(Pace{BreakAfter: 1, BreakMin: time.Second})
		leave, err := p.enter(t.Context(), "a")
		require.NoError(t, err)
		leave(verdictFailed)
		require.True(t, open.Load())
		probe, err := p.enter(t.Context(), "a")
		require.NoError(t, err)
		probe(verdictNone) // hung up while dialling
		again, err := p.enter(t.Context(), "a")
		require.NoError(t, err)
		again(verdictReached)
		require.False(t, open.Load())

		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("enough"))
		_, err = p.enter(ctx, "a")
		require.Error(t, err)
	})
}

func TestOneTenantAloneOpensNoBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, open := testPacer(Pace{BreakAfter: 5})
		for range 100 {
			leave, err := p.enter(t.Context(), "broken")
			require.NoError(t, err)
			leave(verdictFailed)
		}
		require.False(t, open.Load(), "one tenant's failing device suspends everybody")
	})
}
