package tenantsql

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/wafleet/wafleet/tenant"
)

// commitShare is how many commits of one tenant are in the committer's queue at a time. Others of the tenant's wait before it, so that
// whoever comes next waits behind these alone.
const commitShare = 32

// readShare is how many of the pool's connections one tenant reads with at a time.
func readShare(pool int) int64 { return int64(max(2, pool/2)) }

// shares bound how much of something all tenants share one of them has at a time. A tenant costs memory only while it has some.
type shares struct {
	most int64

	mu   sync.Mutex
	byID map[tenant.ID]*share
}

// share is one tenant's.
type share struct {
	places *semaphore.Weighted
	users  int // those that have a place or wait for one
}

// enter waits for a place. Whoever entered leaves.
func (s *shares) enter(ctx context.Context, id tenant.ID) error {
	s.mu.Lock()
	mine := s.byID[id]
	if mine == nil {
		if s.byID == nil {
			s.byID = make(map[tenant.ID]*share)
		}
		mine = &share{places: semaphore.NewWeighted(s.most)}
		s.byID[id] = mine
	}
	mine.users++
	s.mu.Unlock()
	if err := mine.places.Acquire(ctx, 1); err != nil {
		s.forget(id, mine)
		return context.Cause(ctx)
	}
	return nil
}

// leave gives a place back.
func (s *shares) leave(id tenant.ID) {
	s.mu.Lock()
	mine := s.byID[id]
	s.mu.Unlock()
	mine.places.Release(1)
	s.forget(id, mine)
}

func (s *shares) forget(id tenant.ID, mine *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if mine.users--; mine.users == 0 {
		delete(s.byID, id)
	}
}
