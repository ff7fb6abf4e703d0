package relay

import (
	"strconv"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// onReceipt takes a receipt: for the relay it acknowledges a delivery, for others it is news.
func (c *conn) onReceipt(n *node) {
	id, kind := str(n, "id"), str(n, "type")
	to, ok := jidOf(n, "to")
	if id == "" || !ok {
		c.violate("receipt", "without id or to")
		return
	}
	a := attrs{"class": "receipt", "id": id, "from": to, "t": unix(time.Now()), "type": kind}
	if p, ok := jidOf(n, "participant"); ok {
		a["participant"] = p
	}
	c.send(node{Tag: "ack", Attrs: a})
	if to.Server == types.GroupServer || to.Server == types.BroadcastServer {
		c.onGroupReceipt(n, id, kind, to)
		return
	}
	ids := append([]string{id}, listed(n)...)
	var target *account
	if target = c.s.lookup(to); target == nil {
		c.violate("receipt", "for nobody")
		return
	}
	switch kind {
	case "", "inactive", "sender", "peer_msg", "hist_sync":
		for _, each := range ids {
			c.acknowledged("message", each, to, n, 0)
		}
	case "retry":
		c.emit(Observation{Kind: RetryRequested, Tag: "receipt", Type: kind, ID: id, Peer: target.phone})
	}
	for _, each := range ids {
		c.emit(Observation{Kind: ReceiptSent, Tag: "receipt", Type: kind, ID: each, Peer: target.phone})
	}
	c.routeReceipt(n, kind, target, to)
}

// listed is the further ids of a receipt for several messages.
func listed(n *node) (ids []string) {
	list, _ := child(n, "list")
	for _, item := range list.GetChildren() {
		if id := str(&item, "id"); item.Tag == "item" && id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// routeReceipt passes a receipt on.
func (c *conn) routeReceipt(n *node, kind string, target *account, to types.JID) {
	self := c.dev.acct
	r := node{Tag: "receipt", Content: n.Content, Attrs: attrs{
		"id": str(n, "id"), "type": kind, "t": str(n, "t"), "from": self.in(to.Server, c.dev.id),
	}}
	if r.Attrs["t"] == "" {
		r.Attrs["t"] = unix(time.Now())
	}
	one := func(d *device) {
		if d != nil && d != c.dev {
			c.s.deliver(d, r, self.phone)
		}
	}
	switch kind {
	case "retry", "sender": // the device that sent the message
		if chat, ok := jidOf(n, "recipient"); ok {
			r.Attrs["recipient"] = chat
		}
		one(target.device(to.Device))
	case "peer_msg", "hist_sync", "server-error":
		one(target.device(to.Device))
	case "read-self", "played-self":
		c.readElsewhere(r, to)
	case "read", "played":
		c.readElsewhere(r, to)
		if target == self {
			return
		}
		fallthrough
	default:
		if target == self {
			return
		}
		for _, d := range target.all() {
			one(d)
		}
	}
}

// readElsewhere tells the own other devices what was read here.
func (c *conn) readElsewhere(r node, chat types.JID) {
	r.Attrs = attrs{
		"id": r.Attrs["id"], "type": r.Attrs["type"], "t": r.Attrs["t"], "from": r.Attrs["from"], "recipient": chat.ToNonAD(),
	}
	for _, d := range c.dev.acct.all() {
		if d != c.dev {
			c.s.deliver(d, r, c.dev.acct.phone)
		}
	}
}

// onAck takes the acknowledgement of a receipt or notification, or that a message could not be used.
func (c *conn) onAck(n *node) {
	class, id := str(n, "class"), str(n, "id")
	to, ok := jidOf(n, "to")
	if class == "" || id == "" || !ok {
		c.violate("ack", "without class, id or to")
		return
	}
	code := 0
	if text := str(n, "error"); text != "" {
		code, _ = strconv.Atoi(text)
		code = max(code, 1)
	}
	switch class {
	case "message", "receipt", "notification", "call":
		if !c.acknowledged(class, id, to, n, code) {
			c.s.strayAcks.Add(1)
		}
	default:
		c.violate("ack", "class "+class)
	}
}

// acknowledged takes a stanza off the device's queue. Its key is class, id, sender and participant; peer messages are also acknowledged
// to the account without a device.
func (c *conn) acknowledged(class, id string, to types.JID, by *node, code int) bool {
	participant, _ := jidOf(by, "participant")
	kind := str(by, "type")
	e, ok := c.dev.acknowledge(func(n *node) bool {
		if n.Tag != class || str(n, "id") != id {
			return false
		}
		if p, _ := jidOf(n, "participant"); p != participant {
			return false
		}
		if class == "receipt" && str(n, "type") != kind {
			return false
		}
		from, _ := jidOf(n, "from")
		return from == to || class == "message" && c.dev.acct.is(to) && c.dev.acct.is(from)
	})
	if !ok {
		return false
	}
	if c.dev.holdsBack() {
		c.kick()
	}
	o := Observation{Kind: Acknowledged, Tag: class, Type: str(&e.node, "type"), ID: id, Peer: e.peer, Group: groupIn(&e.node), Code: code}
	if code != 0 {
		o.Kind = Refused
	}
	c.emit(o)
	return true
}
