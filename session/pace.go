package session

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/wafleet/wafleet/tenant"
)

// backoff is how long a session waits before its attempt after n failures (from 1): doubling, bounded, and spread over the
// upper half, so that sessions that were lost together do not come back together.
func (p *Pace) backoff(n int) time.Duration {
	d := p.BackoffMin
	for range min(n, 30) - 1 {
		if d >= p.BackoffMax {
			break
		}
		d *= 2
	}
	return jitter(min(d, p.BackoffMax))
}

// jitter returns a random duration in the upper half of d.
func jitter(d time.Duration) time.Duration {
	if d < 2 {
		return d
	}
	return d/2 + rand.N(d/2) //nolint:gosec // spreads load; nobody gains by guessing it
}

// pacer lets sessions of the whole fleet connect: so many per second, so many at once, and none while everything fails.
type pacer struct {
	limit   *rate.Limiter
	dials   *semaphore.Weighted
	breaker *breaker
}

func newPacer(p *Pace, opened func(bool)) *pacer {
	return &pacer{
		limit:   rate.NewLimiter(rate.Limit(p.Connects), p.Burst),
		dials:   semaphore.NewWeighted(int64(p.Dials)),
		breaker: &breaker{after: p.BreakAfter, least: p.BreakMin, most: p.BreakMax, opened: opened, changed: make(chan struct{})},
	}
}

// verdict is what an attempt says about the way to WhatsApp.
type verdict int8

const (
	verdictNone verdict = iota // given up by us
	verdictReached
	verdictFailed
)

// enter waits for the turn to connect. Whoever entered must leave with the attempt's verdict.
// who tells the tenants apart: one whose device never gets through says nothing about the way to WhatsApp.
func (p *pacer) enter(ctx context.Context, who tenant.ID) (leave func(verdict), err error) {
	if err = p.limit.Wait(ctx); err != nil {
		return nil, fmt.Errorf("wait for the fleet's pace: %w", err)
	}
	if err = p.dials.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("wait for a free dial: %w", err)
	}
	probe, err := p.breaker.wait(ctx)
	if err != nil {
		p.dials.Release(1)
		return nil, fmt.Errorf("wait for the fleet's breaker: %w", err)
	}
	var once sync.Once
	return func(v verdict) {
		once.Do(func() {
			p.breaker.report(v, probe, who)
			p.dials.Release(1)
		})
	}, nil
}

// breaker suspends connecting when attempts of many tenants fail and none gets through: then the network is gone or WhatsApp is, and
// each session's own backoff would still add up to a storm. It lets one session try, and opens the gates when that one gets
// through.
type breaker struct {
	after       int
	least, most time.Duration
	opened      func(bool) // told when it opens and closes; called with the lock held

	mu      sync.Mutex
	failed  map[tenant.ID]struct{} // who failed since somebody got through; at most after of them
	cool    time.Duration          // zero: closed
	until   time.Time              // no attempt before
	probing bool                   // one session is trying
	changed chan struct{}          // closed and replaced when waiters should look again
}

// wait returns when the caller may try, and whether it is the one that tries for all.
func (b *breaker) wait(ctx context.Context) (probe bool, err error) {
	for {
		d, changed, probe := b.admit(time.Now())
		if d == 0 {
			return probe, nil
		}
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
		case <-changed:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return false, context.Cause(ctx)
		}
	}
}

// admit returns zero if the caller may try now, else how long to wait unless something changes.
func (b *breaker) admit(now time.Time) (d time.Duration, changed <-chan struct{}, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.cool == 0:
		return 0, nil, false
	case b.probing:
		return b.most, b.changed, false
	case now.Before(b.until):
		return b.until.Sub(now), b.changed, false
	default:
		b.probing = true
		return 0, nil, true
	}
}

// report takes the verdict of an attempt. While the breaker is open only that of the probe counts, and a success of whoever.
func (b *breaker) report(v verdict, probe bool, who tenant.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch v {
	case verdictReached:
		clear(b.failed)
		if b.cool == 0 {
			return
		}
		b.cool, b.probing = 0, false
		b.opened(false)
	case verdictFailed:
		if b.failed == nil {
			b.failed = make(map[tenant.ID]struct{}, b.after)
		}
		if len(b.failed) < b.after {
			b.failed[who] = struct{}{}
		}
		switch {
		case b.cool > 0 && probe:
			b.cool = min(2*b.cool, b.most)
			b.probing = false
		case b.cool == 0 && len(b.failed) >= b.after:
			b.cool = b.least
			b.opened(true)
		default:
			return
		}
		b.until = time.Now().Add(jitter(b.cool))
	case verdictNone:
		if !probe {
			return
		}
		b.probing = false
	}
	close(b.changed)
	b.changed = make(chan struct{})
}
