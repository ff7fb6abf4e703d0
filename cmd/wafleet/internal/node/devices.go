package node

import (
	"context"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session/devicestore"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
)

// claimedDevices hands out linked devices while the database is this node's. One that was cut off from its database, which another
// has taken since, would connect with the devices that the other runs, and WhatsApp would end the other's connections.
type claimedDevices struct {
	*devicestore.Store

	claim *tenantsql.Claim
}

// Load returns the tenant's linked device. Returns session.ErrNotPaired, and tenant.ErrUnavailable when the database is another's.
func (d claimedDevices) Load(ctx context.Context, id tenant.ID, jid types.JID) (*store.Device, error) {
	if err := d.claim.Check(ctx); err != nil {
		return nil, err
	}
	return d.Store.Load(ctx, id, jid)
}
