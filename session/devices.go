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
	// New makes the credentials of a device that is not linked yet; they are saved under the tenant when pairing succeeds.
	New(ctx context.Context, id tenant.ID) (*store.Device, error)
	// Load returns the tenant's linked device. jid is [tenant.Session.Device]. Returns ErrNotPaired.
	Load(ctx context.Context, id tenant.ID, jid types.JID) (*store.Device, error)
	// Delete removes the device's credentials. No error if there are none.
	Delete(ctx context.Context, id tenant.ID, jid types.JID) error
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
