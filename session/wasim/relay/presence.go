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
	p := other.presence(j.ToNonAD())
	other.mu.Unlock()
	c.watching(other)
	c.send(p)
}

// presence is for who holds the lock.
func (a *account) presence(as types.JID) node {
	at := attrs{"from": as}
	if len(a.available) == 0 {
		at["type"], at["last"] = "unavailable", a.lastSeen
		if a.lastSeen == "" {
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
		list = append(list, push{c, acct.presence(as)})
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
	other := c.s.lookup(to)
	if other == nil || other == c.dev.acct {
		return
	}
	state := el("chatstate", attrs{"from": c.dev.acct.in(to.Server, 0)}, n.GetChildren()...)
	for _, d := range other.all() {
		if there := d.online(); there != nil {
			there.send(state)
		}
	}
}
