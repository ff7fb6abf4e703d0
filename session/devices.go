package session

import (
	"context"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// Devices is the seam to where devices' keys and ratchets lie. The devices it returns look LIDs up for their own tenant alone.
//
// If the Container of a device is a [FailStop], sessions use it as one.
type Devices interface {
	Traveller

	// New makes the credentials of a device that is not linked yet; they are saved under the tenant when pairing succeeds.
	New(ctx context.Context, id tenant.ID) (*store.Device, error)
	// Load returns the tenant's linked device. jid is [tenant.Session.Device]. Returns ErrNotPaired.
	Load(ctx context.Context, id tenant.ID, jid types.JID) (*store.Device, error)
	// Delete removes the device's credentials. No error if there are none.
	Delete(ctx context.Context, id tenant.ID, jid types.JID) error
}

// Together is a device store that can do several things at once, or none of them. A device's Container may be one.
type Together interface {
	// Together runs fn in one transaction, which the context that fn is given carries.
	Together(ctx context.Context, fn func(context.Context) error) error
}

// EventKeeper is a device store that keeps what it has decrypted until the record of it is committed, see [tenant.SettleEvent]. A
// device's Container may be one.
type EventKeeper interface {
	// TakeEvent returns the event that was decrypted last, once. Whoever handles whatsmeow's event asks at the beginning.
	TakeEvent() (tenant.EventHash, bool)
	// Continue says of an event that more of its stanza follows, and that the stanza will not be acknowledged before what follows is
	// committed: clearing the event need not wait until it is durable.
	Continue(hash tenant.EventHash)
}

// Later is a device store whose writes can be told not to wait until they are durable: they are with the next commit of the tenant that they
// belong to, or with Flush. A device's Container may be one.
type Later interface {
	// Later returns a context under which writes do not wait. What the device reads has them.
	Later(ctx context.Context) context.Context
	// Flush returns when all that was written is durable. Inside a decryption it does nothing: that ends as a whole.
	Flush(ctx context.Context) error
}

// flushing lets go of the gate before it waits until sessions are durable: what comes in meanwhile need not wait for that.
type flushing struct {
	store.SessionStore // behind the gate

	later Later
}

// PutSession implements [store.SessionStore].
func (f *flushing) PutSession(ctx context.Context, address string, session []byte) error {
	if err := f.SessionStore.PutSession(f.later.Later(ctx), address, session); err != nil {
		return err
	}
	return f.later.Flush(ctx)
}

// PutManySessions implements [store.SessionStore].
func (f *flushing) PutManySessions(ctx context.Context, sessions map[string][]byte) error {
	if err := f.SessionStore.PutManySessions(f.later.Later(ctx), sessions); err != nil {
		return err
	}
	return f.later.Flush(ctx)
}

// FailStop is a device that stops at its first storage error. whatsmeow swallows and misreads errors of its store: going on
// would use the wrong Signal session or lose a message. So after the first one everything answers [context.Canceled], which
// whatsmeow takes for "not now": nothing more is acknowledged until the session has connected anew with a device loaded anew.
type FailStop interface {
	// OnFailure names the function that is called once, at the first storage error, by whoever met it.
	OnFailure(fn func(error))
	// Close makes every operation answer context.Canceled and returns when none is under way any more: the next device loaded
	// for the same credentials then has them for itself.
	Close()
}
