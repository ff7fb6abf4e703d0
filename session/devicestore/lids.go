package devicestore

import (
	"context"
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// lids is whatsmeow's table of who is who for one tenant, on the tenant's own store. What is known is cached, what is not
// known is not: it may be learned at any moment, here or on another node.
type lids struct {
	device *device
	own    tenant.Handle
	byLID  *lru.Cache[string, string] // user parts
	byPN   *lru.Cache[string, string]
}

var _ store.LIDStore = (*lids)(nil)

const (
	// maxLIDs bounds each cache, in pairs of about 100 bytes.
	maxLIDs = 512
	// maxLinks bounds one commit: other tenants' commits wait behind it.
	maxLinks = 200
)

func newLIDs(d *device, own tenant.Handle) *lids {
	byLID, _ := lru.New[string, string](maxLIDs) // fails only for a size below one
	byPN, _ := lru.New[string, string](maxLIDs)  // likewise
	return &lids{device: d, own: own, byLID: byLID, byPN: byPN}
}

func (l *lids) know(lid, pn string) {
	l.byLID.Add(lid, pn)
	l.byPN.Add(pn, lid)
}

// PutLIDMapping implements [store.LIDStore].
func (l *lids) PutLIDMapping(ctx context.Context, lid, pn types.JID) error {
	return l.PutManyLIDMappings(ctx, []store.LIDMapping{{LID: lid, PN: pn}})
}

// PutManyLIDMappings implements [store.LIDStore]. Pairs that are none are left out.
func (l *lids) PutManyLIDMappings(ctx context.Context, mappings []store.LIDMapping) error {
	changes := make([]tenant.Change, 0, min(len(mappings), maxLinks))
	flush := func() error {
		if len(changes) == 0 {
			return nil
		}
		err := l.device.do(ctx, func() error {
			_, err := l.own.Commit(ctx, changes...)
			return err
		})
		if err != nil {
			return err
		}
		for _, change := range changes {
			if pair, ok := change.(tenant.LinkIDs); ok {
				l.know(pair.LID.User(), pair.Phone.User())
			}
		}
		changes = changes[:0]
		return nil
	}
	for _, m := range mappings {
		lid, isLID := hidden(m.LID)
		phone, isPhone := person(m.PN)
		if known, ok := l.byLID.Get(lid.User()); !isLID || !isPhone || ok && known == phone.User() {
			continue
		}
		if changes = append(changes, tenant.LinkIDs{LID: lid, Phone: phone}); len(changes) == maxLinks {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func hidden(jid types.JID) (tenant.ChatID, bool) {
	id, err := tenant.ParseChatID(string(tenant.HiddenID(jid.User)))
	return id, err == nil && jid.Server == types.HiddenUserServer
}

func person(jid types.JID) (tenant.ChatID, bool) {
	id, err := tenant.ParseChatID(string(tenant.PersonID(jid.User)))
	return id, err == nil && jid.Server == types.DefaultUserServer
}

// GetPNForLID implements [store.LIDStore]: the empty JID if the number is not known.
func (l *lids) GetPNForLID(ctx context.Context, lid types.JID) (types.JID, error) {
	if lid.Server != types.HiddenUserServer {
		return types.JID{}, fmt.Errorf("phone number of a JID at %s was asked for", lid.Server)
	}
	id, ok := hidden(lid)
	if !ok {
		return types.JID{}, nil
	}
	if pn, ok := l.byLID.Get(lid.User); ok {
		return types.JID{User: pn, Device: lid.Device, Server: types.DefaultUserServer}, nil
	}
	found, err := answer(ctx, l.device, func() (tenant.ChatID, error) { return l.own.Resolve(ctx, id) })
	if err != nil || found.Phone() == "" {
		return types.JID{}, err
	}
	l.know(lid.User, found.Phone())
	return types.JID{User: found.Phone(), Device: lid.Device, Server: types.DefaultUserServer}, nil
}

// GetLIDForPN implements [store.LIDStore]: the empty JID if the LID is not known.
func (l *lids) GetLIDForPN(ctx context.Context, pn types.JID) (types.JID, error) {
	if pn.Server != types.DefaultUserServer {
		return types.JID{}, fmt.Errorf("LID of a JID at %s was asked for", pn.Server)
	}
	found, err := l.GetManyLIDsForPNs(ctx, []types.JID{pn})
	return found[pn], err
}

// GetManyLIDsForPNs implements [store.LIDStore]: what is not known is missing.
func (l *lids) GetManyLIDsForPNs(ctx context.Context, pns []types.JID) (map[types.JID]types.JID, error) {
	result := make(map[types.JID]types.JID, len(pns))
	var missing []tenant.ChatID
	for _, pn := range pns {
		id, ok := person(pn)
		if !ok {
			continue
		}
		if lid, ok := l.byPN.Get(pn.User); ok {
			result[pn] = types.JID{User: lid, Device: pn.Device, Server: types.HiddenUserServer}
		} else {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return result, nil
	}
	found, err := answer(ctx, l.device, func() (map[tenant.ChatID]tenant.ChatID, error) { return l.own.LIDs(ctx, missing) })
	if err != nil {
		return nil, err
	}
	for phone, lid := range found {
		l.know(lid.User(), phone.User())
	}
	for _, pn := range pns {
		id, ok := person(pn)
		if lid, known := found[id]; ok && known {
			result[pn] = types.JID{User: lid.User(), Device: pn.Device, Server: types.HiddenUserServer}
		}
	}
	return result, nil
}
