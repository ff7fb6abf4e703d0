package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

// retryStore calls fn until the store answers, with growing pauses, or ctx ends. Errors other than [tenant.ErrUnavailable] are
// answers.
func retryStore(ctx context.Context, each time.Duration, fn func(context.Context) error) error {
	const least, most = 100 * time.Millisecond, 5 * time.Second
	for pause := least; ; pause = min(2*pause, most) {
		err := callStore(ctx, each, fn)
		if err == nil || !errors.Is(err, tenant.ErrUnavailable) {
			return err
		}
		timer := time.NewTimer(jitter(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// callStore calls fn once, with a deadline. Running into it means that the store is unavailable.
func callStore(ctx context.Context, each time.Duration, fn func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	err := fn(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil && !errors.Is(err, tenant.ErrUnavailable) {
		return errors.Join(err, tenant.ErrUnavailable)
	}
	return err
}

// saver stores a session's row and journals its status, in order. A passing state is stored only if it lasts; whatever comes
// after it takes its place. What does not pass is never left out.
type saver struct {
	commit func(context.Context, tenant.Session) error // one attempt, retried by the saver
	calm   time.Duration
	each   time.Duration                      // deadline of one attempt
	spawn  func(where string, fn func()) bool // runs the worker, which lives while there is work

	mu       sync.Mutex
	queue    []saving
	running  bool
	draining bool          // passing states are not stored any more
	news     chan struct{} // buffered 1: the queue has changed while the worker waits
}

type saving struct {
	row     tenant.Session
	passing bool
	due     time.Time  // for passing ones
	saved   chan error // buffered 1; nil if nobody waits
}

// put queues a row. saved, if not nil, receives the outcome.
func (s *saver) put(ctx context.Context, row tenant.Session, passing bool, saved chan error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := saving{row: row, passing: passing && saved == nil, saved: saved}
	if next.passing {
		if s.draining {
			return
		}
		next.due = time.Now().Add(s.calm)
	}
	if n := len(s.queue); n > 0 && s.queue[n-1].passing {
		if next.passing {
			next.due = s.queue[n-1].due // flapping between passing states must not put it off for ever
		}
		s.queue[n-1] = next
	} else {
		s.queue = append(s.queue, next)
	}
	if s.running {
		select {
		case s.news <- struct{}{}:
		default:
		}
		return
	}
	s.running = s.spawn("save", func() { s.run(ctx) })
	if !s.running && saved != nil {
		saved <- ErrStopping
	}
}

// drain drops what is passing: the session stops, and its last lasting state is what the next start needs.
func (s *saver) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	if n := len(s.queue); n > 0 && s.queue[n-1].passing {
		s.queue = s.queue[:n-1]
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *saver) run(ctx context.Context) {
	for {
		next, wait, ok := s.take()
		switch {
		case !ok:
			return
		case wait > 0:
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-s.news:
				timer.Stop()
			case <-ctx.Done():
				timer.Stop()
				s.drain()
			}
			continue
		}
		err := retryStore(ctx, s.each, func(ctx context.Context) error { return s.commit(ctx, next.row) })
		if next.saved != nil {
			next.saved <- err
		}
	}
}

// take returns the next row to store, or how long to wait for it, or false when the worker is to end.
func (s *saver) take() (next saving, wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.running, s.queue = false, nil
		return saving{}, 0, false
	}
	next = s.queue[0]
	if wait = time.Until(next.due); next.passing && wait > 0 {
		return saving{}, wait, true
	}
	s.queue = s.queue[1:]
	return next, 0, true
}
