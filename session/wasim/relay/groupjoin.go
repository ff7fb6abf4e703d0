package relay

import (
	"slices"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// inviteRequest tells requests about any link, which go to the server of groups, from those about a group's own.
func inviteRequest(byCode iqHandler, own groupOp) iqHandler {
	ownHandler := inGroup(own)
	return func(c *conn, n *node) ([]node, *iqError) {
		if to, _ := jidOf(n, "to"); to == types.GroupServerJID {
			return byCode(c, n)
		}
		return ownHandler(c, n)
	}
}

func (c *conn) onInviteLink(g *group, self *member, _ *node) ([]node, *iqError) {
	if !self.admin() {
		return nil, errNotAuthorized
	}
	return []node{{Tag: "invite", Attrs: attrs{"code": g.invite}}}, nil
}

// onInviteReset gives the group another link. The old one is known to be revoked for a while.
func (c *conn) onInviteReset(g *group, self *member, _ *node) ([]node, *iqError) {
	if !self.admin() {
		return nil, errNotAuthorized
	}
	code := newCode()
	forget := ""
	g.change(func() {
		g.revoked = append(g.revoked, g.invite)
		if len(g.revoked) > maxRevoked {
			forget, g.revoked = g.revoked[0], g.revoked[1:]
		}
		g.invite = code
	})
	c.s.mu.Lock()
	c.s.invites[code] = g
	delete(c.s.invites, forget)
	c.s.mu.Unlock()
	invite := node{Tag: "invite", Attrs: attrs{"code": code}}
	c.tell(g, g.accounts(), invite)
	return []node{invite}, nil
}

// byCode finds the group of a link: 406 for what never was one, 410 for a revoked one. turn is held if there is one.
func (c *conn) byCode(n *node) (*group, *iqError) {
	req, _ := child(n, "invite")
	code := str(&req, "code")
	c.s.mu.RLock()
	g := c.s.invites[code]
	c.s.mu.RUnlock()
	if g == nil {
		return nil, errNotAcceptable
	}
	g.turn.Lock()
	if g.invite != code || g.dissolved {
		g.turn.Unlock()
		return nil, errGone
	}
	return g, nil
}

func (c *conn) onInviteInfo(n *node) ([]node, *iqError) {
	g, fault := c.byCode(n)
	if fault != nil {
		return nil, fault
	}
	defer g.turn.Unlock()
	return []node{g.node(false)}, nil
}

// onInviteJoin joins by link, or asks to.
func (c *conn) onInviteJoin(n *node) ([]node, *iqError) {
	g, fault := c.byCode(n)
	if fault != nil {
		return nil, fault
	}
	defer g.turn.Unlock()
	self := c.dev.acct
	switch {
	case g.member(self) != nil:
		return nil, errConflict
	case len(g.members) >= c.s.cfg.MaxGroupSize:
		return nil, errLimit
	case g.approval:
		if fault = c.askToJoin(g); fault != nil {
			return nil, fault
		}
		return []node{{Tag: "membership_approval_request", Attrs: attrs{"jid": g.jid()}}}, nil
	}
	c.enter(g, "invite", self)
	return []node{{Tag: "group", Attrs: attrs{"jid": g.jid()}}}, nil
}

// askToJoin remembers a request and tells the admins. A repeated one changes nothing.
func (c *conn) askToJoin(g *group) *iqError {
	self := c.dev.acct
	if slices.ContainsFunc(g.requests, func(r joinRequest) bool { return r.acct == self }) {
		return nil
	}
	if len(g.requests) >= maxRequests {
		return errLimit
	}
	g.change(func() { g.requests = append(g.requests, joinRequest{self, unix(time.Now())}) })
	c.tell(g, g.admins(), el("created_membership_requests", attrs{"request_method": "invite_link"},
		node{Tag: "requested_user", Attrs: g.participant(self).Attrs}))
	return nil
}

func (c *conn) onJoinRequests(g *group, self *member, _ *node) ([]node, *iqError) {
	if !self.admin() {
		return nil, errNotAuthorized
	}
	var list []node
	for _, r := range g.requests {
		a := g.participant(r.acct).Attrs
		a["request_time"], a["request_method"] = r.at, "invite_link"
		list = append(list, node{Tag: "membership_approval_request", Attrs: a})
	}
	return []node{el("membership_approval_requests", nil, list...)}, nil
}

// onJoinRequestsAction approves and rejects.
func (c *conn) onJoinRequestsAction(g *group, self *member, op *node) ([]node, *iqError) {
	if !self.admin() {
		return nil, errNotAuthorized
	}
	var answers []node
	for _, what := range []string{"approve", "reject"} {
		action, ok := child(op, what)
		if !ok {
			continue
		}
		var done []*account
		var list []node
		for _, p := range action.GetChildrenByTag("participant") {
			acct, answer := c.requested(g, &p, done, what == "approve")
			list = append(list, answer)
			if str(&answer, "error") == "" {
				done = append(done, acct)
			}
		}
		answers = append(answers, el(what, nil, list...))
		if what == "approve" {
			c.enter(g, "invite", done...)
			continue
		}
		g.change(func() {
			g.requests = slices.DeleteFunc(g.requests, func(r joinRequest) bool { return slices.Contains(done, r.acct) })
		})
		if len(done) > 0 {
			c.tell(g, g.admins(), el("revoked_membership_requests", nil, g.participants(done)...))
		}
	}
	if len(answers) == 0 {
		return nil, errBadRequest
	}
	return []node{el("membership_requests_action", nil, answers...)}, nil
}

// requested says whether a user's request can be decided.
func (c *conn) requested(g *group, p *node, done []*account, enter bool) (*account, node) {
	j, _ := jidOf(p, "jid")
	acct := c.s.lookup(j)
	if acct == nil {
		return nil, node{Tag: "participant", Attrs: attrs{"jid": j, "error": "404"}}
	}
	answer := g.participant(acct)
	waiting := slices.ContainsFunc(g.requests, func(r joinRequest) bool { return r.acct == acct })
	switch {
	case !waiting || slices.Contains(done, acct):
		answer.Attrs["error"] = "404"
	case enter && len(g.members)+len(done) >= c.s.cfg.MaxGroupSize:
		answer.Attrs["error"] = "419"
	}
	return acct, answer
}

// offer makes an invitation for somebody who may not be added; the actor passes it on in a message. It is for who holds turn.
func (g *group) offer(acct, admin *account) (code string, expires time.Time, ok bool) {
	now := time.Now()
	g.change(func() {
		for old, o := range g.offers {
			if now.After(o.expires) || o.acct == acct && o.admin == admin {
				delete(g.offers, old)
			}
		}
		if len(g.offers) < maxOffers {
			code, expires, ok = newCode()[:16], now.Add(offerLifetime), true
			g.offers[code] = offer{acct: acct, admin: admin, expires: expires}
		}
	})
	return code, expires, ok
}

// offered finds the invitation a request bears. It is for who holds mu or turn.
func (g *group) offered(req *node, acct *account) (code string, ok bool) {
	code = str(req, "code")
	admin, _ := jidOf(req, "admin")
	o, ok := g.offers[code]
	ok = ok && o.acct == acct && o.admin.is(admin) && str(req, "expiration") == unix(o.expires) && time.Now().Before(o.expires)
	return code, ok && g.member(o.admin) != nil
}

// onGroupAccept joins with an invitation. It is used up.
func (c *conn) onGroupAccept(n *node) ([]node, *iqError) {
	g, fault := c.groupOf(n)
	if fault != nil {
		return nil, fault
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	self := c.dev.acct
	req, _ := child(n, "accept")
	code, ok := g.offered(&req, self)
	switch {
	case g.member(self) != nil:
		return nil, errConflict
	case !ok:
		return nil, errGone
	case len(g.members) >= c.s.cfg.MaxGroupSize:
		return nil, errLimit
	}
	g.change(func() { delete(g.offers, code) })
	c.enter(g, "invite", self)
	return nil, nil
}
