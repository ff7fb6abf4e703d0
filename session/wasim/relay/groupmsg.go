package relay

import (
	"maps"
	"slices"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// groupMessage is a message to a group as its sender encrypted it: once for all with the sender's key, and that key for each device; or, repeated
// for one device, for that alone.
type groupMessage struct {
	n    *node
	id   string
	now  string
	sk   *node              // for everybody; nil in a repetition
	keys map[*device][]node // for one device each
	whom *device            // in a repetition
}

// onGroupMessage takes a message to a group. Like any other it is acknowledged when it lies in every queue.
func (c *conn) onGroupMessage(n *node, to types.JID) {
	m := groupMessage{n: n, id: str(n, "id"), now: unix(time.Now())}
	g := c.s.group(to)
	if g == nil {
		c.ackMessage(n, m.now, "404", "")
		return
	}
	if !c.readGroupMessage(&m) {
		c.ackMessage(n, m.now, "479", "")
		return
	}
	if code, refused := c.s.faults.nack(c, n); refused {
		c.ackMessage(n, m.now, code, "")
		return
	}
	seen := m.id + "\n" + g.id
	g.turn.Lock()
	at, known := c.seen(seen)
	known = known && m.whom == nil
	fault, phash := "", ""
	if !known {
		if fault = g.refuses(c.dev.acct, n); fault == "" {
			if m.whom == nil {
				c.markSeen(seen, m.now)
			}
			phash = c.toGroup(g, &m)
		}
	}
	g.turn.Unlock()
	o := Observation{Kind: Accepted, Tag: "message", Type: str(n, "type"), ID: m.id, Group: g.id}
	switch {
	case known:
		o.Kind = Repeated
		c.emit(o)
		c.ackMessage(n, at, "", "")
	case fault != "":
		c.ackMessage(n, m.now, fault, "")
	default:
		c.emit(o)
		c.ackMessage(n, m.now, "", phash)
	}
}

// refuses says with what code a message is refused, if it is.
func (g *group) refuses(acct *account, n *node) string {
	self := g.member(acct)
	switch {
	case self == nil,
		g.announce && !self.admin(),
		str(n, "edit") == "8" && !self.admin(): // another's message deleted
		return "403"
	default:
		return ""
	}
}

func (c *conn) readGroupMessage(m *groupMessage) bool {
	n := m.n
	m.keys = make(map[*device][]node)
	var direct []node
	for _, each := range n.GetChildrenByTag("enc") {
		if str(&each, "type") == "skmsg" {
			m.sk = &each
		} else {
			direct = append(direct, each)
		}
	}
	whom, repeated := jidOf(n, "participant")
	if repeated {
		if acct := c.s.lookup(whom); acct != nil {
			m.whom = acct.device(whom.Device)
		}
	}
	parts, fanned := child(n, "participants")
	switch {
	case str(n, "type") == "" || len(direct) > 1:
	case repeated && m.sk == nil && (len(direct) == 1) != fanned:
		if m.whom == nil {
			m.whom = c.dev // gone meanwhile: for nobody
		}
		if len(direct) == 1 {
			m.keys[m.whom] = direct
			return true
		}
		return c.readParticipants(m, parts)
	case !repeated && m.sk != nil && len(direct) == 0:
		return c.readParticipants(m, parts)
	}
	c.violate("message", "to a group, needs either one enc with the sender's key or a participant")
	return false
}

// readParticipants takes the sender's key as encrypted for each device.
func (c *conn) readParticipants(m *groupMessage, parts node) bool {
	needsIdentity := false
	for _, each := range parts.GetChildren() {
		j, ok := jidOf(&each, "jid")
		enc, okEnc := child(&each, "enc")
		if each.Tag != "to" || !ok || !okEnc {
			c.violate("message", "participant without jid or enc")
			return false
		}
		needsIdentity = needsIdentity || str(&enc, "type") == "pkmsg"
		if acct := c.s.lookup(j); acct != nil {
			if d := acct.device(j.Device); d != nil {
				m.keys[d] = []node{enc}
			}
		}
	}
	if needsIdentity && c.dev.id != 0 && !has(m.n, "device-identity") {
		c.violate("message", "pkmsg without device-identity")
	}
	return true
}

// toGroup puts a message into the queues of all members' devices but the sender's own. A device without the sender's key gets the message
// nevertheless, and will ask for it. The answer is the hash of the server's device list if the sender's was another.
func (c *conn) toGroup(g *group, m *groupMessage) (phash string) {
	self := c.dev.acct
	if m.whom != nil {
		if encs := m.keys[m.whom]; m.whom != c.dev && len(encs) > 0 && g.member(m.whom.acct) != nil {
			if t := str(m.n, "t"); t != "" {
				m.now = t // of the message that is repeated
			}
			c.s.deliver(m.whom, c.groupIncoming(g, m, encs), self.phone)
		}
		return ""
	}
	var list []types.JID
	for _, each := range g.members {
		for _, d := range each.acct.all() {
			list = append(list, g.who(each.acct, d.id))
			if d == c.dev {
				continue
			}
			encs := append(slices.Clip(m.keys[d]), *m.sk) // the key first, or the message cannot be read
			c.s.deliver(d, c.groupIncoming(g, m, encs), self.phone)
		}
	}
	if sent := str(m.n, "phash"); sent != "" {
		if hash := participantHash(list); hash != sent {
			return hash
		}
	}
	return ""
}

// groupIncoming is the form a device gets.
func (c *conn) groupIncoming(g *group, m *groupMessage, encs []node) node {
	self := c.dev.acct
	a := attrs{
		"id": m.id, "type": str(m.n, "type"), "t": m.now, "from": g.jid(), "addressing_mode": g.mode(),
		"notify": self.pushName(), "edit": str(m.n, "edit"),
	}
	g.name(a, "participant", self, c.dev.id)
	if a["edit"] == "" {
		delete(a, "edit")
	}
	identity := false
	children := slices.Clip(encs)
	for _, enc := range encs {
		identity = identity || str(&enc, "type") == "pkmsg"
	}
	for _, each := range m.n.GetChildren() {
		switch each.Tag {
		case "participants", "enc", "tctoken", "cstoken":
		case "device-identity":
			if identity {
				children = append(children, each)
			}
		default:
			children = append(children, each)
		}
	}
	return el("message", a, children...)
}

// seen says whether this device sent a message before, and when it was acknowledged.
func (c *conn) seen(key string) (at string, known bool) {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	at, known = c.dev.seen.at[key]
	return at, known
}

func (c *conn) markSeen(key, now string) {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	c.dev.seen.mark(key, now, c.s.cfg.MaxSeenIDs)
}

// onGroupReceipt takes a receipt for a message in a group: participant is the device that sent the message.
func (c *conn) onGroupReceipt(n *node, id, kind string, to types.JID) {
	sender, ok := jidOf(n, "participant")
	if !ok {
		c.violate("receipt", "in a group, without participant")
		return
	}
	g := c.s.group(to)
	if g != nil && sender.Server != g.server() {
		c.violate("receipt", "in a group that addresses by "+g.mode()+", with another participant")
		return
	}
	target := c.s.lookup(sender)
	ids := append([]string{id}, listed(n)...)
	o := Observation{Kind: ReceiptSent, Tag: "receipt", Type: kind, Group: to.User}
	if target != nil {
		o.Peer = target.phone
	}
	switch kind {
	case "", "inactive", "sender":
		for _, each := range ids {
			c.acknowledged("message", each, to, n, 0)
		}
	case "retry":
		retry := o
		retry.Kind, retry.ID = RetryRequested, id
		c.emit(retry)
	}
	for _, each := range ids {
		o.ID = each
		c.emit(o)
	}
	if target != nil && g != nil {
		c.routeGroupReceipt(n, kind, g, sender, target)
	}
}

// routeGroupReceipt passes it on to who sent the message, as from the group, and to the own other devices if it is a reading.
func (c *conn) routeGroupReceipt(n *node, kind string, g *group, sender types.JID, target *account) {
	self := c.dev.acct
	a := attrs{
		"id": str(n, "id"), "type": kind, "t": str(n, "t"), "from": g.jid(), "addressing_mode": g.mode(),
	}
	g.name(a, "participant", self, c.dev.id)
	if a["t"] == "" {
		a["t"] = unix(time.Now())
	}
	deliver := func(d *device, a attrs) {
		if d != nil && d != c.dev {
			c.s.deliver(d, node{Tag: "receipt", Attrs: a, Content: n.Content}, self.phone)
		}
	}
	switch kind {
	case "retry", "sender": // the device that sent the message
		deliver(target.device(sender.Device), a)
		return
	case "read", "played", "read-self", "played-self":
		own := attrs{"recipient": g.who(target, 0)}
		maps.Copy(own, a)
		for _, d := range self.all() {
			deliver(d, own)
		}
		if kind == "read-self" || kind == "played-self" {
			return
		}
	}
	if target == self {
		return
	}
	for _, d := range target.all() {
		deliver(d, a)
	}
}
