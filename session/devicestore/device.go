package devicestore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// device is the store of one loaded device: its container and all of its stores. After the first storage error, and after Close, every
// operation answers an error that is context.Canceled, which whatsmeow takes for "not now".
type device struct {
	store  *Store
	id     tenant.ID
	number uint64 // of this loading
	lids   *lids
	key    []byte
	sealer *sealer                  // nil until the device is stored
	own    atomic.Pointer[[]string] // the device's addresses; nil until it is stored

	making    sync.Mutex // held while prekeys are made, or a privacy token is replaced: what is read first must not change
	stateKeys stateKeys

	mu        sync.Mutex
	underway  int
	closed    bool
	failed    error
	onFailure func(error)
	leave     func()        // ends the ride
	idle      chan struct{} // made by Close; closed when nothing is under way
	closing   chan struct{} // closed by Close
	overlay   overlay
	migrated  map[types.JID]struct{} // phone numbers whose sessions were looked for already
	// What was counted when the device was loaded, until something like it is written.
	preKeys          int
	preKeysKnown     bool
	oldestToken      time.Time // zero: none ages
	oldestTokenKnown bool
}

var (
	_ session.FailStop               = (*device)(nil)
	_ session.Together               = (*device)(nil)
	_ session.EventKeeper            = (*device)(nil)
	_ session.Later                  = (*device)(nil)
	_ tenant.DeviceRider             = (*device)(nil)
	_ store.DeviceContainer          = (*device)(nil)
	_ store.AllSessionSpecificStores = (*device)(nil)
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

func (s *Store) newDevice(id tenant.ID) *device {
	d := &device{store: s, id: id, number: s.loadings.Add(1), closing: make(chan struct{})}
	d.lids = newLIDs(d, s.tenants.Tenant(id))
	return d
}

// attach makes d the store of dev, whose rows go with the tenant's commits from now on.
func (d *device) attach(dev *store.Device) {
	dev.SetAllStores(d)
	dev.LIDs, dev.Container, dev.Initialized = d.lids, d, true
	leave := d.store.rows.RideDevice(d.id, d)
	d.mu.Lock()
	d.leave = leave
	closed := d.closed
	d.mu.Unlock()
	if closed { // while it was being stored
		leave()
	}
}

// OnFailure implements [session.FailStop].
func (d *device) OnFailure(fn func(error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onFailure = fn
}

// Close implements [session.FailStop].
func (d *device) Close() {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.closing)
	}
	if d.idle == nil {
		d.idle = make(chan struct{})
		if d.underway == 0 {
			close(d.idle)
		}
	}
	idle, leave := d.idle, d.leave
	d.mu.Unlock()
	<-idle
	if leave != nil {
		leave()
	}
}

// usable says why an operation is not done. d.mu is held.
func (d *device) usable() error {
	switch {
	case d.closed:
		return errClosed
	case d.failed != nil:
		return errFailed
	default:
		return nil
	}
}

func (d *device) enter() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	d.underway++
	return nil
}

func (d *device) exit() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.underway--
	if d.underway == 0 && d.idle != nil {
		close(d.idle)
	}
}

// do runs one operation on the database. Its errors are the storage's.
func (d *device) do(ctx context.Context, op func() error) (err error) {
	if err = d.enter(); err != nil {
		return err
	}
	defer d.exit()
	defer time.AfterFunc(patience, func() { _ = d.fail(errSlow) }).Stop()
	defer func() {
		if v := recover(); v != nil {
			err = d.fail(fmt.Errorf("%w: %T", errPanic, v)) // not the value: it may hold keys
		}
	}()
	if err = op(); err == nil {
		return nil
	}
	if ctx.Err() != nil { // the caller gave up; the storage is not to blame
		return fmt.Errorf("%w: %w", context.Canceled, err)
	}
	return d.fail(err)
}

// fail stops the store.
func (d *device) fail(err error) error {
	d.mu.Lock()
	first := d.failed == nil
	if first {
		d.failed = err
	}
	tell := d.onFailure
	d.mu.Unlock()
	if first && tell != nil {
		tell(err)
	}
	return fmt.Errorf("device store: %w: %w", context.Canceled, err)
}

// answer is do for operations with a result.
func answer[T any](ctx context.Context, d *device, op func() (T, error)) (result T, err error) {
	err = d.do(ctx, func() (err error) {
		result, err = op()
		return err
	})
	return result, err
}

// PutDevice implements [store.DeviceContainer].
func (d *device) PutDevice(ctx context.Context, dev *store.Device) error {
	return d.do(ctx, func() error { return d.save(ctx, dev) })
}

// DeleteDevice implements [store.DeviceContainer].
func (d *device) DeleteDevice(ctx context.Context, dev *store.Device) error {
	if dev.ID == nil {
		return nil
	}
	return d.do(ctx, func() error { return d.store.Delete(ctx, d.id, *dev.ID) })
}
