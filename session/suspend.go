package session

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

// suspensions are the tenants whose sessions must rest. A session looks here whenever it is about to connect, in a job;
// Suspend writes here before it asks the session: so whichever comes first, a suspended session does not connect.
type suspensions struct {
	mu  sync.RWMutex
	ids map[tenant.ID]struct{}
}

func (s *suspensions) has(id tenant.ID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, found := s.ids[id]
	return found
}

func (s *suspensions) add(id tenant.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = make(map[tenant.ID]struct{})
	}
	s.ids[id] = struct{}{}
}

func (s *suspensions) remove(id tenant.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids, id)
}

// loadSuspended learns who is suspended, before any session begins.
func (f *Fleet) loadSuspended(ctx context.Context) error {
	err := retryStore(ctx, time.Hour, func(ctx context.Context) error {
		for id, err := range f.cfg.Store.Suspended(ctx) {
			if err != nil {
				return err
			}
			f.suspended.add(id)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list the suspended tenants: %w", err)
	}
	return nil
}

// Suspend takes the session of a tenant that was just suspended offline. The device stays linked. Until Resume the session neither
// connects nor pairs, also after a restart: the store knows who is suspended. Returns ErrStopping, or the context's cause.
func (f *Fleet) Suspend(ctx context.Context, id tenant.ID) error {
	f.suspended.add(id)
	a := f.running(id)
	if a == nil {
		return nil
	}
	return f.rest(a.do(ctx, func() error {
		a.suspend()
		return nil
	}))
}

// Resume brings the session back that Suspend took offline; one that rested before goes on resting. Returns ErrStopping,
// [tenant.ErrNotFound].
func (f *Fleet) Resume(ctx context.Context, id tenant.ID) error {
	f.suspended.remove(id)
	_, err := f.ask(ctx, id, func(a *actor) error {
		if a.state == Stopped && a.reason == reasonSuspended && a.row.Wanted {
			return a.connect()
		}
		return nil
	})
	return err
}

// rest takes it for done when the session has come to rest by itself.
func (f *Fleet) rest(err error) error {
	if f.stopping() {
		return nil // it goes offline anyway, and the next start knows
	}
	if err == errGone { //nolint:errorlint // do returns it as it is
		return nil
	}
	return err
}

// suspend brings the session to rest, unless it rests already.
func (a *actor) suspend() {
	switch a.state {
	case Connecting, Online, Backoff:
		if a.pair != nil {
			a.pair = nil
			a.board.show(failed(pairCancelled))
		}
		a.become(Stopped, reasonSuspended, time.Time{})
		a.hangUp()
	case Pairing:
		a.failPairing(pairCancelled)
	case Unpaired, LoggedOut, Banned, Outdated, Conflict, Stopped:
	}
}

// Views are snapshots of all sessions that this node supervises: of every linked device, and of those that were just about to be
// linked. They are shared: nobody changes them.
func (f *Fleet) Views() []*View {
	f.mu.RLock()
	defer f.mu.RUnlock()
	views := make([]*View, 0, len(f.actors))
	for _, a := range f.actors {
		views = append(views, a.view.Load())
	}
	return views
}
