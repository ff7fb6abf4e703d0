package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"sync"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	selectEvents = `SELECT seq, kind, created_at, data FROM journal WHERE tenant_id=$1 AND seq > $2 ORDER BY seq LIMIT $3`

	selectBounds = `
		SELECT COALESCE((SELECT MIN(j.seq) FROM journal j WHERE j.tenant_id=$1), h.seq+1), h.seq
		FROM head h WHERE h.tenant_id=$1`
)

// Events returns up to limit events after seq, oldest first.
func (h *handle) Events(ctx context.Context, after int64, limit int) ([]tenant.Event, error) {
	found, err := rows(ctx, h, scanEvent, selectEvents, after, limit)
	if err != nil {
		return nil, h.store.wrap(ctx, "list events", err)
	}
	return found, nil
}

func scanEvent(row dbutil.Scannable) (tenant.Event, error) {
	var e tenant.Event
	var at int64
	var data string
	err := row.Scan(&e.Seq, &e.Type, &at, &data)
	e.Timestamp, e.Data = fromMillis(at), []byte(data)
	return e, err
}

// Bounds returns the journal's oldest kept seq (1 if it is empty) and its newest (0 if it is empty).
func (h *handle) Bounds(ctx context.Context) (oldest, latest int64, err error) {
	found, err := row(ctx, h, func(row dbutil.Scannable) (bounds [2]int64, err error) {
		err = row.Scan(&bounds[0], &bounds[1])
		return bounds, err
	}, selectBounds)
	if errors.Is(err, sql.ErrNoRows) {
		return 1, 0, nil
	}
	if err != nil {
		return 0, 0, h.store.wrap(ctx, "read journal's bounds", err)
	}
	return found[0], found[1], nil
}

// Watch returns a channel that receives after the journal has grown by a commit of this store.
func (h *handle) Watch() (wake <-chan struct{}, stop func()) { return h.store.watchers.add(h.id) }

// watchers are those who wait for a tenant's journal to grow.
type watchers struct {
	mu  sync.Mutex
	all map[tenant.ID]map[chan struct{}]struct{}
}

func (w *watchers) add(id tenant.ID) (wake <-chan struct{}, stop func()) {
	// One wake is kept for a reader that is busy: it reads all that there is, however often it was woken.
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[tenant.ID]map[chan struct{}]struct{}{}
	}
	if w.all[id] == nil {
		w.all[id] = map[chan struct{}]struct{}{}
	}
	w.all[id][c] = struct{}{}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all[id], c)
		if len(w.all[id]) == 0 {
			delete(w.all, id)
		}
	}
}

func (w *watchers) wake(grown iter.Seq[tenant.ID]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range grown {
		for c := range w.all[id] {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
}
