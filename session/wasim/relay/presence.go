package relay

import (
	"time"

	"go.mau.fi/whatsmeow/types"
)

// maxSubscribers bounds who may watch one account's presence.
const maxSubscribers = 10_000

// onPresence takes a client's own presence and name, or its wish to know another's.
func (c *conn) onPresence(n *node) {
	acct := c.dev.acct
	switch kind := str(n, "type"); kind {
	case "subscribe":
		c.subscribe(n)
		return
	case "unsubscribe":
		if j, ok := jidOf(n, "to"); ok {
			if other := c.s.lookup(j); other != nil {
				other.mu.Lock()
				delete(other.subs, c)
				other.mu.Unlock()
			}
		}
		return
	case "available", "unavailable", "":
	default:
		c.violate("presence", kind)
		return
	}
	acct.mu.Lock()
	if name := str(n, "name"); name != "" {
		acct.name = name
	}
	before := len(acct.available)
	switch str(n, "type") {
	case "available":
		if acct.available == nil {
			acct.available = make(map[*conn]struct{})
		}
		acct.available[c] = struct{}{}
	case "unavailable":
		delete(acct.available, c)
	}
	changed := acct.presenceChanged(before)
	acct.mu.Unlock()
	if changed {
		c.s.publishPresence(acct)
	}
}

// presenceChanged is for who holds the lock.
func (a *account) presenceChanged(before int) bool {
	now := len(a.available)
	if before > 0 && now == 0 {
		a.lastSeen = unix(time.Now())
	}
	return (before > 0) != (now > 0)
}

// subscribe remembers the namespace asked with: pushes in the other one would be taken for another user's.
func (c *conn) subscribe(n *node) {
	j, ok := jidOf(n, "to")
	if !ok {
		c.violate("presence", "subscribe without to")
		return
	}
	other := c.s.lookup(j)
	if other == nil {
		return
	}
	other.mu.Lock()
	if other.subs == nil {
		other.subs = make(map[*conn]types.JID)
	}
	if len(other.subs) < maxSubscribers {
		other.subs[c] = j.ToNonAD()
	}
	p := other.presence(j.ToNonAD(), c.dev.acct)
	other.mu.Unlock()
	c.watching(other)
	c.send(p)
}

// presence as another may see it. It is for who holds the lock.
func (a *account) presence(as types.JID, viewer *account) node {
	at := attrs{"from": as}
	last := a.showsLocked("last", viewer)
	online := !a.blocksLocked(viewer) && (last || a.profile.privacy["online"] != "match_last_seen")
	if len(a.available) == 0 || !online {
		at["type"], at["last"] = "unavailable", a.lastSeen
		if a.lastSeen == "" || !last {
			at["last"] = "deny"
		}
	}
	return node{Tag: "presence", Attrs: at}
}

func (s *Server) publishPresence(acct *account) {
	type push struct {
		c *conn
		n node
	}
	acct.mu.Lock()
	list := make([]push, 0, len(acct.subs))
	for c, as := range acct.subs {
		list = append(list, push{c, acct.presence(as, c.dev.acct)})
	}
	acct.mu.Unlock()
	for _, p := range list {
		p.c.send(p.n)
	}
}

// watching remembers a subscription for the end of the connection. Reader only.
func (c *conn) watching(other *account) {
	if c.subscribed == nil {
		c.subscribed = make(map[*account]struct{})
	}
	c.subscribed[other] = struct{}{}
}

// leavePresence forgets an ended connection's presence and subscriptions.
func (c *conn) leavePresence() {
	for other := range c.subscribed {
		other.mu.Lock()
		delete(other.subs, c)
		other.mu.Unlock()
	}
	acct := c.dev.acct
	acct.mu.Lock()
	before := len(acct.available)
	delete(acct.available, c)
	changed := acct.presenceChanged(before)
	acct.mu.Unlock()
	if changed {
		c.s.publishPresence(acct)
	}
}

// onChatstate passes typing on to whoever is there; it is neither kept nor acknowledged.
func (c *conn) onChatstate(n *node) {
	to, ok := jidOf(n, "to")
	if !ok || len(n.GetChildren()) != 1 {
		c.violate("chatstate", "without to or with other than one child")
		return
	}
	if to.Server == types.GroupServer {
		c.groupChatstate(n, to)
		return
	}
	other := c.s.lookup(to)
	if other == nil || other == c.dev.acct || other.blocks(c.dev.acct) {
		return
	}
	state := el("chatstate", attrs{"from": c.dev.acct.in(to.Server, 0)}, n.GetChildren()...)
	other.show(state)
}

// show sends a stanza to those of an account's devices that are there.
func (a *account) show(n node) {
	for _, d := range a.all() {
		if there := d.online(); there != nil {
			there.send(n)
		}
	}
}

// groupChatstate passes typing in a group on to the other members.
func (c *conn) groupChatstate(n *node, to types.JID) {
	g, self := c.s.group(to), c.dev.acct
	if g == nil {
		return
	}
	g.mu.Lock()
	member, others := g.member(self) != nil, g.accounts(self)
	g.mu.Unlock()
	if !member {
		return
	}
	state := el("chatstate", attrs{"from": to, "participant": g.who(self, 0)}, n.GetChildren()...)
	for _, other := range others {
		other.show(state)
	}
}
