package relay

import (
	"maps"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// onMessage takes a message from a device. It is acknowledged once, when it lies in the queue of every device it is for, never before: the
// sender forgets it then.
func (c *conn) onMessage(n *node) {
	id := str(n, "id")
	to, ok := jidOf(n, "to")
	if id == "" || !ok {
		c.violate("message", "without id or to")
		c.ackMessage(n, unix(time.Now()), "479", "")
		return
	}
	if to.Server == types.GroupServer {
		c.onGroupMessage(n, to)
		return
	}
	target := c.s.lookup(to)
	now := unix(time.Now())
	if target == nil {
		c.ackMessage(n, now, "404", "")
		return
	}
	peer := str(n, "category") == "peer"
	enc, direct := child(n, "enc")
	parts, fanned := child(n, "participants")
	switch {
	case peer && (target != c.dev.acct || !direct):
		c.violate("message", "peer message that is not for an own device")
		c.ackMessage(n, now, "479", "")
		return
	case direct == fanned || str(n, "type") == "":
		c.violate("message", "needs either participants or one enc, and a type")
		c.ackMessage(n, now, "479", "")
		return
	}
	if !direct {
		if code, refused := c.refuses(n, target); refused {
			c.ackMessage(n, now, code, "")
			return
		}
	}
	if !direct || peer {
		// a resend for a retry receipt (direct) bears the id of the message it repeats; everything else only once
		c.dev.mu.Lock()
		at, known := c.dev.seen.mark(id+"\n"+target.phone, now, c.s.cfg.MaxSeenIDs)
		c.dev.mu.Unlock()
		if known {
			c.emit(Observation{Kind: Repeated, Tag: "message", Type: str(n, "type"), ID: id, Peer: target.phone})
			c.ackMessage(n, at, "", "")
			return
		}
	}
	if peer {
		if _, lost := c.s.faults.take(c.dev.acct.phone, c.dev.id, FaultSilence); lost {
			return
		}
	}
	phash := ""
	if direct {
		c.toDevice(n, target, to, enc, now, peer)
	} else {
		phash = c.fanOut(n, target, to, parts, now)
		c.dev.acct.remember(target)
	}
	c.emit(Observation{Kind: Accepted, Tag: "message", Type: str(n, "type"), ID: id, Peer: target.phone})
	c.ackMessage(n, now, "", phash)
}

func (c *conn) ackMessage(n *node, t, fault, phash string) {
	c.send(node{Tag: "ack", Attrs: attrs{
		"class": "message", "id": str(n, "id"), "from": n.Attrs["to"], "t": t, "error": fault, "phash": phash,
	}})
}

// fanOut puts a message into the queues of the devices it is encrypted for: the target's, and the sender's own others. The answer is the
// hash of the server's device list if the sender's was another, so that it asks again.
func (c *conn) fanOut(n *node, target *account, to types.JID, parts node, now string) (phash string) {
	self := c.dev.acct
	target.watch(self.phone)
	addressed := map[types.JID]bool{self.in(to.Server, c.dev.id): true}
	needsIdentity := false
	blocked := target.blocks(self)
	for _, each := range parts.GetChildren() {
		j, ok := jidOf(&each, "jid")
		enc, okEnc := child(&each, "enc")
		if each.Tag != "to" || !ok || !okEnc {
			c.violate("message", "participant without jid or enc")
			continue
		}
		acct := c.s.lookup(j)
		if acct != target && acct != self {
			c.violate("message", "participant who is no party")
			continue
		}
		needsIdentity = needsIdentity || str(&enc, "type") == "pkmsg"
		device := acct.in(to.Server, j.Device)
		if addressed[device] {
			continue // a note to oneself, for which some libraries encrypt twice, comes once
		}
		addressed[device] = true
		d := acct.device(j.Device)
		if d == nil || d == c.dev {
			continue // gone meanwhile: the hash will tell; or its own, which some libraries encrypt for
		}
		if blocked && acct == target {
			continue // in silence: the sender must not know
		}
		c.s.deliver(d, c.incoming(n, d, target, to, enc, now), self.phone)
	}
	if needsIdentity && c.dev.id != 0 && !has(n, "device-identity") {
		c.violate("message", "pkmsg without device-identity")
	}
	return c.missed(target, to, addressed)
}

// missed is the hash of the server's device list, "" if it is that of the addressed.
func (c *conn) missed(target *account, to types.JID, addressed map[types.JID]bool) (phash string) {
	accts := []*account{target}
	if self := c.dev.acct; self != target { // a note to oneself: one list
		accts = append(accts, self)
	}
	var server []types.JID
	differs := false
	for _, acct := range accts {
		for _, d := range acct.all() {
			j := acct.in(to.Server, d.id)
			server = append(server, j)
			differs = differs || !addressed[j]
			delete(addressed, j)
		}
	}
	if differs || len(addressed) > 0 {
		return participantHash(server)
	}
	return ""
}

// toDevice sends a message to exactly one device: a repetition that it asked for, or a peer message between own devices.
func (c *conn) toDevice(n *node, target *account, to types.JID, enc node, now string, peer bool) {
	d := target.device(to.Device)
	if d == nil || d == c.dev || target.blocks(c.dev.acct) {
		return
	}
	chat := to
	if r, ok := jidOf(n, "recipient"); ok {
		chat = r
	}
	if t := str(n, "t"); t != "" && !peer {
		now = t // of the message that is repeated
	}
	m := c.incoming(n, d, target, chat, enc, now)
	if peer {
		m.Attrs["from"] = c.dev.acct.in(to.Server, c.dev.id)
		delete(m.Attrs, "recipient")
		delete(m.Attrs, "peer_recipient_pn")
		delete(m.Attrs, "peer_recipient_lid")
	}
	c.s.deliver(d, m, c.dev.acct.phone)
}

// incoming is the form a device gets. The namespace of the sender's address is that of the target's: the encryption is bound to it.
func (c *conn) incoming(n *node, d *device, target *account, chat types.JID, enc node, now string) node {
	self := c.dev.acct
	a := attrs{
		"id": str(n, "id"), "type": str(n, "type"), "t": now,
		"from": self.in(chat.Server, c.dev.id), "notify": self.pushName(),
	}
	for _, key := range []string{"edit", "category", "push_priority", "privacy_sensitive"} {
		if v := str(n, key); v != "" {
			a[key] = v
		}
	}
	lid := chat.Server == types.HiddenUserServer
	other := "sender_lid"
	if lid {
		other = "sender_pn"
	}
	if d.acct == self {
		a["recipient"] = chat.ToNonAD()
		if whose := c.s.lookup(chat); whose != nil {
			other = "peer_recipient_lid"
			if lid {
				other = "peer_recipient_pn"
			}
			a[other] = whose.other(chat.Server, 0)
		}
	} else {
		a[other] = self.other(chat.Server, 0)
	}
	children := []node{{Tag: "enc", Attrs: maps.Clone(enc.Attrs), Content: enc.Content}}
	for _, each := range n.GetChildren() {
		switch each.Tag {
		case "participants", "enc", "tctoken", "cstoken":
		case "device-identity":
			if str(&enc, "type") == "pkmsg" {
				children = append(children, each)
			}
		default:
			children = append(children, each)
		}
	}
	return el("message", a, children...)
}

// emit observes something this connection's device did.
func (c *conn) emit(o Observation) {
	o.Phone, o.Device = c.name()
	c.s.emit(o)
}
