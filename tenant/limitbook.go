package tenant

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

// LimitBook knows the limits of all tenants: the node's defaults, and each tenant's overrides on top. It is read from memory, so that
// whoever is beyond a limit costs nothing. A nil book knows no limits.
type LimitBook struct {
	store    LimitStore
	defaults Limits

	mu        sync.RWMutex
	overrides map[ID]Overrides // never changed, only replaced
	effective map[ID]Limits    // of those that have overrides
	// unsure are tenants whose overrides may have been stored or not.
	unsure map[ID]struct{}
	// change is held while overrides are changed, so that what is stored last is known last.
	change sync.Mutex
}

// NewLimitBook makes a book of defaults. Load it before it is used.
func NewLimitBook(store LimitStore, defaults Limits) *LimitBook {
	return &LimitBook{
		store: store, defaults: defaults,
		overrides: make(map[ID]Overrides), effective: make(map[ID]Limits), unsure: make(map[ID]struct{}),
	}
}

// Load reads all overrides.
func (b *LimitBook) Load(ctx context.Context) error {
	for t, err := range b.store.Overrides(ctx) {
		if err != nil {
			return fmt.Errorf("read limits: %w", err)
		}
		b.put(t.ID, t.Overrides)
	}
	return nil
}

// Of returns a tenant's limits.
func (b *LimitBook) Of(id ID) Limits {
	if b == nil {
		return Limits{}
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if l, ok := b.effective[id]; ok {
		return l
	}
	return b.defaults
}

// Defaults returns the limits of a tenant without overrides.
func (b *LimitBook) Defaults() Limits {
	if b == nil {
		return Limits{}
	}
	return b.defaults
}

// Overrides returns what differs for a tenant. It must not be changed.
func (b *LimitBook) Overrides(id ID) Overrides {
	if b == nil {
		return nil
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.overrides[id]
}

// Set changes a tenant's overrides: they are stored, and hold when it returns. Returns ErrNotFound, ErrInvalidLimit, ErrUnavailable.
func (b *LimitBook) Set(ctx context.Context, id ID, p LimitPatch) error {
	if err := p.Check(); err != nil {
		return err
	}
	b.change.Lock()
	defer b.change.Unlock()
	all, err := b.store.Tenant(id).SetOverrides(ctx, p)
	switch {
	case errors.Is(err, ErrOutcomeUnknown):
		b.mu.Lock()
		b.unsure[id] = struct{}{}
		b.mu.Unlock()
		return fmt.Errorf("store limits: %w", err)
	case err != nil:
		return fmt.Errorf("store limits: %w", err)
	}
	b.put(id, all)
	return nil
}

// Forget drops a deleted tenant. It waits for a change that is under way: one that was stored before the deletion would be put here after it.
func (b *LimitBook) Forget(id ID) {
	if b == nil {
		return
	}
	b.change.Lock()
	defer b.change.Unlock()
	b.put(id, nil)
}

func (b *LimitBook) put(id ID, all Overrides) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.unsure, id)
	if len(all) == 0 {
		delete(b.overrides, id)
		delete(b.effective, id)
		return
	}
	b.overrides[id], b.effective[id] = maps.Clone(all), all.Over(b.defaults)
}

// settleTimeout bounds one look at what became of a change.
const settleTimeout = 5 * time.Second

// Settle reads the overrides again of which it is not known whether they were stored. Whoever runs the node calls it now and then.
func (b *LimitBook) Settle(ctx context.Context) {
	if b == nil {
		return
	}
	b.mu.RLock()
	unsure := maps.Clone(b.unsure)
	b.mu.RUnlock()
	for id := range unsure {
		b.settle(ctx, id)
	}
}

// Arrive reads the overrides of a tenant that was imported. A failure is settled later.
func (b *LimitBook) Arrive(ctx context.Context, id ID) {
	if b == nil {
		return
	}
	b.mu.Lock()
	b.unsure[id] = struct{}{}
	b.mu.Unlock()
	b.settle(ctx, id)
}

func (b *LimitBook) settle(ctx context.Context, id ID) {
	b.change.Lock()
	defer b.change.Unlock()
	b.mu.RLock()
	_, unsure := b.unsure[id]
	b.mu.RUnlock()
	if !unsure {
		return // settled by somebody else meanwhile, or forgotten
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if all, err := b.store.Tenant(id).Overrides(ctx); err == nil {
		b.put(id, all)
	}
}
