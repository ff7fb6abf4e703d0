package api

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

const (
	// settleEvery is how often the server asks what became of changes whose outcome was not known.
	settleEvery = 250 * time.Millisecond
	// settleTimeout bounds one such question.
	settleTimeout = 5 * time.Second
)

// settle asks what became of changes whose outcome was not known, until ctx ends.
func (s *Server) settle(ctx context.Context) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.cfg.TenantLimits.Settle(ctx)
			s.settleDeletions(ctx)
			s.settleSuspensions(ctx)
		}
	}
}

// doubts are tenants of whom it is not known whether something was stored.
type doubts struct {
	mu  sync.Mutex
	all map[tenant.ID]struct{}
}

func (d *doubts) add(id tenant.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil {
		d.all = make(map[tenant.ID]struct{})
	}
	d.all[id] = struct{}{}
}

func (d *doubts) remove(id tenant.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.all, id)
}

func (d *doubts) list() map[tenant.ID]struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.all)
}

// settleDeletions forgets the tenants that turn out to be deleted.
func (s *Server) settleDeletions(ctx context.Context) {
	for id := range s.doubts.list() {
		look, cancel := context.WithTimeout(ctx, settleTimeout)
		gone, err := s.cfg.Store.Gone(look, id)
		cancel()
		if err != nil {
			continue // asked again in a moment
		}
		s.doubts.remove(id)
		if gone {
			s.forgetTenant(id)
		}
	}
}

// settleSuspensions shuts the tenants out that turn out to be suspended.
func (s *Server) settleSuspensions(ctx context.Context) {
	for id := range s.unsettled.list() {
		look, cancel := context.WithTimeout(ctx, settleTimeout)
		err := s.obeySuspension(look, id)
		cancel()
		if err == nil || errors.Is(err, tenant.ErrNotFound) {
			s.unsettled.remove(id)
		} // else asked again in a moment
	}
}
