package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

// ErrExported says that the tenant was exported, to run on another node: its session stays off here until the export is taken back.
// Two nodes with one device throw each other out, and spoil its ratchets.
var ErrExported = errors.New("the tenant was exported")

// Traveller lets devices go to another node.
type Traveller interface {
	// Leaving makes rows that are exported readable on other nodes, e.g. the key of a device, which is encrypted by one of this node's.
	// Rows of tables that it does not know it leaves as they are.
	Leaving(ctx context.Context, id tenant.ID, rows tenant.Rows) (tenant.Rows, error)
	// Arriving is the reverse. Returns tenant.ErrForeignRows.
	Arriving(ctx context.Context, id tenant.ID, rows tenant.Rows) (tenant.Rows, error)
	// Credentials says whether rows hold a device.
	Credentials(rows tenant.Rows) bool
}

// Depart takes the tenant's session off, for good unless TakeBack is called: it returns when nothing moves the device any more and the
// new state is stored. A tenant without a device keeps its state. Returns ErrStopping, [tenant.ErrNotFound], or the context's cause if
// that took too long: the session ends all the same, and the call can be made again.
func (f *Fleet) Depart(ctx context.Context, id tenant.ID) error {
	saved := make(chan error, 1)                    // buffered: the saver never waits
	a, err := f.ask(ctx, id, func(a *actor) error { //nolint:contextcheck // the session outlives the request
		a.depart(saved)
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case err = <-saved:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err == nil {
		err = await(ctx, a.gone)
	}
	if err != nil {
		a.remain() //nolint:contextcheck // the request's time is over
		return fmt.Errorf("take the session off: %w", err)
	}
	f.retire(a)
	return nil
}

// depart brings the session to rest and lets the actor end.
func (a *actor) depart(saved chan error) {
	if a.pair != nil {
		a.failPairing(pairCancelled)
	}
	switch a.state {
	case Unpaired, Pairing, LoggedOut:
		saved <- nil
	case Connecting, Online, Backoff, Banned, Outdated, Conflict, Stopped:
		a.row.Wanted = false
		a.become(Stopped, reasonExported, time.Time{})
		a.save(saved)
		a.hangUp()
	}
	a.removed = true
	a.next()
}

// TakeBack ends what Depart has begun: the session may be connected here again. It must not run elsewhere. A session that did not
// depart stays as it is. Returns ErrStopping, [tenant.ErrNotFound].
func (f *Fleet) TakeBack(ctx context.Context, id tenant.ID) (View, error) {
	return f.act(ctx, id, func(a *actor) error {
		if a.reason == reasonExported {
			a.become(Stopped, reasonStopped, time.Time{})
		}
		return nil
	})
}

// Arrived is what becomes of a session's row on the node that a tenant comes to: it stays off until it is connected. device says whether
// its credentials came along.
func Arrived(row tenant.Session, device bool) tenant.Session {
	switch {
	case row.Device == "", State(row.Status.State) == LoggedOut:
		return row
	case !device:
		return tenant.Session{Status: status(LoggedOut, outNoDevice)}
	default:
		row.Wanted, row.Until, row.Status = false, time.Time{}, status(Stopped, reasonImported)
		return row
	}
}

// Leaving makes exported rows readable on other nodes; see [Traveller].
func (f *Fleet) Leaving(ctx context.Context, id tenant.ID, rows tenant.Rows) (tenant.Rows, error) {
	return f.cfg.Devices.Leaving(ctx, id, rows)
}

// Arriving makes imported rows this node's; see [Traveller]. device says whether they hold a device.
func (f *Fleet) Arriving(ctx context.Context, id tenant.ID, rows tenant.Rows) (here tenant.Rows, device bool, err error) {
	here, err = f.cfg.Devices.Arriving(ctx, id, rows)
	return here, err == nil && f.cfg.Devices.Credentials(rows), err
}
