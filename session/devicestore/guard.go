package devicestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.mau.fi/util/dbutil"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// guard stands between whatsmeow and the store of one loaded device. It is the device's container and all of its stores: see
// stores.go for the methods that only pass through. After the first storage error, and after Close, every operation answers
// an error that is context.Canceled, which whatsmeow takes for "not now".
type guard struct {
	store *Store
	id    tenant.ID
	inner store.AllSessionSpecificStores // nil until the device is stored
	lids  *lids

	mu        sync.Mutex
	underway  int
	closed    bool
	failed    error
	onFailure func(error)
	idle      chan struct{} // made by Close; closed when nothing is under way
}

var (
	_ session.FailStop               = (*guard)(nil)
	_ store.DeviceContainer          = (*guard)(nil)
	_ store.AllSessionSpecificStores = (*guard)(nil)
)

var (
	errClosed = fmt.Errorf("device store is closed: %w", context.Canceled)
	errFailed = fmt.Errorf("device store has failed before: %w", context.Canceled)
	errPanic  = errors.New("device store panicked")
	errSlow   = errors.New("device store does not answer")
)

// patience is how long one operation may take. A database that swallows a statement would hold the device's gate, and with it
// every message, for ever; the failure ends the connection, whose context the statement hears.
const patience = time.Minute

func newGuard(s *Store, id tenant.ID) *guard {
	g := &guard{store: s, id: id}
	g.lids = newLIDs(g, s.tenants.Tenant(id))
	return g
}

// attach puts the guard before the stores that dev has now.
func (g *guard) attach(dev *store.Device) {
	if inner, ok := dev.Sessions.(*sqlstore.SQLStore); ok {
		g.inner = inner
		dev.SetAllStores(g)
	}
	dev.LIDs = g.lids
	dev.Container = g
}

// OnFailure implements [session.FailStop].
func (g *guard) OnFailure(fn func(error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.onFailure = fn
}

// Close implements [session.FailStop].
func (g *guard) Close() {
	g.mu.Lock()
	g.closed = true
	if g.idle == nil {
		g.idle = make(chan struct{})
		if g.underway == 0 {
			close(g.idle)
		}
	}
	idle := g.idle
	g.mu.Unlock()
	<-idle
}

func (g *guard) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return errClosed
	case g.failed != nil:
		return errFailed
	}
	g.underway++
	return nil
}

func (g *guard) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.underway--
	if g.underway == 0 && g.idle != nil {
		close(g.idle)
	}
}

// do runs one operation. Its errors are the storage's.
func (g *guard) do(ctx context.Context, op func() error) (err error) {
	if err = g.enter(); err != nil {
		return err
	}
	defer g.leave()
	defer time.AfterFunc(patience, func() { _ = g.fail(errSlow) }).Stop()
	defer func() {
		if v := recover(); v != nil {
			err = g.fail(fmt.Errorf("%w: %T", errPanic, v)) // not the value: it may hold keys
		}
	}()
	if err = op(); err == nil || harmless(err) {
		return err
	}
	if ctx.Err() != nil { // the caller gave up; the storage is not to blame
		return fmt.Errorf("%w: %w", context.Canceled, err)
	}
	return g.fail(err)
}

// fail stops the store.
func (g *guard) fail(err error) error {
	g.mu.Lock()
	first := g.failed == nil
	if first {
		g.failed = err
	}
	tell := g.onFailure
	g.mu.Unlock()
	if first && tell != nil {
		tell(err)
	}
	return fmt.Errorf("device store: %w: %w", context.Canceled, err)
}

// answer is do for operations with a result.
func answer[T any](ctx context.Context, g *guard, op func() (T, error)) (result T, err error) {
	err = g.do(ctx, func() (err error) {
		result, err = op()
		return err
	})
	return result, err
}

// inTransaction marks the context of a decryption.
type inTransaction struct{}

// DoDecryptionTxn implements [store.EventBuffer]. The errors of fn are those of Signal and pass as they are; a panic of fn
// becomes one, before the transaction around it can leak.
func (g *guard) DoDecryptionTxn(ctx context.Context, fn func(context.Context) error) error {
	var inner error
	err := g.do(ctx, func() error {
		err := g.inner.DoDecryptionTxn(ctx, func(ctx context.Context) error {
			inner = guarded(context.WithValue(ctx, inTransaction{}, true), fn)
			return inner
		})
		if inner != nil {
			return nil //nolint:nilerr // rolled back, for a reason that is not the storage's
		}
		return err
	})
	if inner != nil {
		return inner
	}
	return err
}

func guarded(ctx context.Context, fn func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("decryption: %w: %T", errPanic, v)
		}
	}()
	return fn(ctx)
}

// PutDevice implements [store.DeviceContainer].
func (g *guard) PutDevice(ctx context.Context, dev *store.Device) error {
	return g.do(ctx, func() error {
		fresh := !dev.Initialized
		err := g.store.save(ctx, dev)
		if fresh {
			g.attach(dev) // sqlstore has put its own stores there
		}
		return err
	})
}

// DeleteDevice implements [store.DeviceContainer].
func (g *guard) DeleteDevice(ctx context.Context, dev *store.Device) error {
	if dev.ID == nil {
		return nil
	}
	return g.do(ctx, func() error { return g.store.Delete(ctx, g.id, *dev.ID) })
}

// harmless are answers of sqlstore's that are no failures.
func harmless(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// inOne runs op in one transaction, whose statements sqlstore would make transactions each.
func (g *guard) inOne(ctx context.Context, op func(context.Context) error) error {
	return g.store.db.DoTxn(ctx, (*dbutil.TxnOptions)(nil), op)
}
