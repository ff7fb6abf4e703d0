package phone

import (
	"context"
	"slices"
	"sync"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// tap sees each stanza before whatsmeow handles it. It must not block or change anything.
func (p *Phone) tap(n *waBinary.Node) {
	if n.Tag == "receipt" && n.AttrGetter().OptionalString("type") == "server-error" {
		select {
		case p.lostFiles <- n:
		default: // a real phone may stay silent too
		}
		return
	}
	if n.Tag != "notification" {
		return
	}
	switch n.AttrGetter().OptionalString("type") {
	case "link_code_companion_reg":
		if stage, ok := n.GetOptionalChildByTag("link_code_companion_reg"); ok {
			p.links.add(stage)
		}
	case "account_sync":
		if list, ok := n.GetOptionalChildByTag("devices"); ok {
			p.devices.set(deviceIDs(list.GetChildrenByTag("device")))
		}
	case "devices":
		from := n.AttrGetter().OptionalJIDOrEmpty("from")
		if from.User != p.cfg.Phone && from.User != p.lid.User {
			return
		}
		for _, change := range n.GetChildren() {
			for _, id := range deviceIDs(change.GetChildrenByTag("device")) {
				p.devices.change(id, change.Tag == "add")
			}
		}
	}
}

func deviceIDs(nodes []waBinary.Node) []uint16 {
	var ids []uint16
	for _, d := range nodes {
		if jid := d.AttrGetter().OptionalJIDOrEmpty("jid"); !jid.IsEmpty() {
			ids = append(ids, jid.Device)
		}
	}
	return ids
}

// devices are the account's devices, as far as the server has told the phone.
type devices struct {
	mu      sync.Mutex
	known   map[uint16]struct{}
	signed  uint32        // key index of the latest companion; rises with each
	changed chan struct{} // closed at the next change
}

func newDevices() *devices {
	return &devices{known: map[uint16]struct{}{0: {}}, changed: make(chan struct{})}
}

func (d *devices) set(ids []uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known = make(map[uint16]struct{}, len(ids))
	for _, id := range ids {
		d.known[id] = struct{}{}
	}
	d.announce()
}

func (d *devices) change(id uint16, present bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if present {
		d.known[id] = struct{}{}
	} else {
		delete(d.known, id)
	}
	d.announce()
}

// nextKeyIndex numbers the identities a phone signs, from 1.
func (d *devices) nextKeyIndex() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.signed++
	return d.signed
}

// announce wakes the waiting; d.mu is held.
func (d *devices) announce() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// wait waits until the device with this id is one of the account's.
func (d *devices) wait(ctx context.Context, id uint16) error {
	for {
		d.mu.Lock()
		_, ok := d.known[id]
		changed := d.changed
		d.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Companions answers the ids of the linked companions.
func (p *Phone) Companions() []uint16 {
	p.devices.mu.Lock()
	defer p.devices.mu.Unlock()
	ids := []uint16{}
	for id := range p.devices.known {
		if id != 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (p *Phone) companionPN(id uint16) types.JID {
	return types.JID{User: p.cfg.Phone, Device: id, Server: types.DefaultUserServer}
}

func (p *Phone) companionLID(id uint16) types.JID {
	return types.JID{User: p.lid.User, Device: id, Server: types.HiddenUserServer}
}
