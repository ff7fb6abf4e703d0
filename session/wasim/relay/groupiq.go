package relay

import (
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"go.mau.fi/whatsmeow/types"
)

// groupOp answers a request about one group. turn is held; self is who asks, a member.
type groupOp func(c *conn, g *group, self *member, op *node) ([]node, *iqError)

// groupTable is the requests of groups and of invitations.
func groupTable() map[iqKey]iqHandler {
	table := map[iqKey]iqHandler{
		{"w:g2", "set", "create"}:        (*conn).onGroupCreate,
		{"w:g2", "get", "participating"}: (*conn).onParticipating,
		{"w:g2", "get", "query"}:         (*conn).onGroupQuery,
		{"w:g2", "set", "leave"}:         (*conn).onGroupLeave,
		{"w:g2", "set", "accept"}:        (*conn).onGroupAccept,
		{"w:g2", "get", "invite"}:        inviteRequest((*conn).onInviteInfo, (*conn).onInviteLink),
		{"w:g2", "set", "invite"}:        inviteRequest((*conn).onInviteJoin, (*conn).onInviteReset),
	}
	for key, op := range map[iqKey]groupOp{
		{"", "set", "add"}:                          (*conn).onGroupAdd,
		{"", "set", "remove"}:                       (*conn).onGroupRemove,
		{"", "set", "promote"}:                      (*conn).onGroupRole,
		{"", "set", "demote"}:                       (*conn).onGroupRole,
		{"", "set", "subject"}:                      (*conn).onGroupSubject,
		{"", "set", "description"}:                  (*conn).onGroupDescription,
		{"", "set", "announcement"}:                 (*conn).onGroupAnnounce,
		{"", "set", "not_announcement"}:             (*conn).onGroupAnnounce,
		{"", "set", "locked"}:                       (*conn).onGroupLock,
		{"", "set", "unlocked"}:                     (*conn).onGroupLock,
		{"", "set", "ephemeral"}:                    (*conn).onGroupEphemeral,
		{"", "set", "not_ephemeral"}:                (*conn).onGroupEphemeral,
		{"", "set", "member_add_mode"}:              (*conn).onGroupAddMode,
		{"", "set", "membership_approval_mode"}:     (*conn).onGroupApproval,
		{"", "get", "membership_approval_requests"}: (*conn).onJoinRequests,
		{"", "set", "membership_requests_action"}:   (*conn).onJoinRequestsAction,
	} {
		table[iqKey{"w:g2", key.kind, key.child}] = inGroup(op)
	}
	return table
}

// inGroup runs an operation for a member of the group asked about: 404 for what does not exist, 403 for strangers.
func inGroup(op groupOp) iqHandler {
	return func(c *conn, n *node) ([]node, *iqError) {
		g, fault := c.groupOf(n)
		if fault != nil {
			return nil, fault
		}
		g.turn.Lock()
		defer g.turn.Unlock()
		self := g.member(c.dev.acct)
		if self == nil {
			return nil, errForbidden
		}
		return op(c, g, self, &n.GetChildren()[0])
	}
}

func (c *conn) groupOf(n *node) (*group, *iqError) {
	to, ok := jidOf(n, "to")
	if !ok || to.Server != types.GroupServer {
		return nil, errBadRequest
	}
	if g := c.s.group(to); g != nil {
		return g, nil
	}
	return nil, errNotFound
}

// onGroupCreate makes a group. A request repeated after a reconnect is answered with the group it made.
func (c *conn) onGroupCreate(n *node) ([]node, *iqError) {
	req, _ := child(n, "create")
	self := c.dev.acct
	if g := c.created(str(n, "id")); g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		return []node{g.node(true)}, nil
	}
	if has(&req, "parent") || has(&req, "linked_parent") {
		return nil, errNotImplemented // communities
	}
	subject := str(&req, "subject")
	if utf8.RuneCountInString(subject) > maxSubject {
		return nil, errNotAcceptable
	}
	now := unix(time.Now())
	g := &group{
		created: now, creator: self, byNumber: self.foundsByNumber(), subject: edited{subject, now, self},
		members: []*member{{acct: self, role: roleOwner}},
		offers:  make(map[string]offer), left: make(map[*account]time.Time),
	}
	g.memberVer, g.annVer = g.newVersion(), g.newVersion()
	if fault := g.readSettings(&req); fault != nil {
		return nil, fault
	}
	if len(req.GetChildrenByTag("participant")) >= c.s.cfg.MaxGroupSize {
		return nil, errLimit
	}
	g.turn.Lock() // before anybody can find it
	defer g.turn.Unlock()
	if !c.s.addGroup(g) {
		return nil, errLimit
	}
	var refused []node
	for _, p := range req.GetChildrenByTag("participant") {
		acct, answer := c.mayAdd(g, &p, nil)
		if str(&answer, "error") != "" {
			if str(&answer, "error") != "409" { // oneself in the list, or somebody twice, is no mistake
				refused = append(refused, answer)
			}
			continue
		}
		g.members = append(g.members, &member{acct: acct})
	}
	for _, m := range g.members {
		m.acct.joined(g)
	}
	c.dev.mu.Lock()
	c.dev.createID, c.dev.createdGroup = str(n, "id"), g.id
	c.dev.mu.Unlock()
	c.tell(g, g.accounts(), el("create", attrs{"type": "new", "key": str(&req, "key")}, g.node(true)))
	answer := g.node(true)
	answer.Content = append(answer.GetChildren(), refused...)
	return []node{answer}, nil
}

// created is the group that this device's last request of that kind made, if it had this id.
func (c *conn) created(request string) *group {
	c.dev.mu.Lock()
	id, known := c.dev.createdGroup, c.dev.createID == request
	c.dev.mu.Unlock()
	if !known {
		return nil
	}
	return c.s.group(types.NewJID(id, types.GroupServer))
}

// readSettings takes what a new group is to be like.
func (g *group) readSettings(req *node) *iqError {
	g.announce, g.locked = has(req, "announcement"), has(req, "locked")
	if mode, ok := child(req, "member_add_mode"); ok {
		g.adminAdd = string(payload(mode)) == "admin_add"
	}
	if mode, ok := child(req, "membership_approval_mode"); ok {
		join, _ := child(&mode, "group_join")
		g.approval = str(&join, "state") == "on"
	}
	if e, ok := child(req, "ephemeral"); ok {
		timer, fault := expiration(&e)
		if fault != nil {
			return fault
		}
		g.ephemeral = timer
	}
	return nil
}

// expiration is one of the timers that the apps offer; "" is off.
func expiration(n *node) (string, *iqError) {
	switch v := str(n, "expiration"); v {
	case "", "0":
		return "", nil
	case "86400", "604800", "7776000":
		return v, nil
	default:
		return "", errBadRequest
	}
}

func (c *conn) onParticipating(n *node) ([]node, *iqError) {
	var list []node
	for _, g := range c.dev.acct.groupList() {
		g.mu.Lock()
		if g.member(c.dev.acct) != nil {
			list = append(list, g.node(true))
		}
		g.mu.Unlock()
	}
	return []node{el("groups", nil, list...)}, nil
}

// onGroupQuery tells a member, or who holds an invitation, about a group.
func (c *conn) onGroupQuery(n *node) ([]node, *iqError) {
	g, fault := c.groupOf(n)
	if fault != nil {
		return nil, fault
	}
	query, _ := child(n, "query")
	g.mu.Lock()
	defer g.mu.Unlock()
	if req, ok := child(&query, "add_request"); ok {
		if _, valid := g.offered(&req, c.dev.acct); !valid {
			return nil, errGone
		}
		return []node{g.node(false)}, nil
	}
	if g.member(c.dev.acct) == nil {
		return nil, errForbidden
	}
	return []node{g.node(true)}, nil
}

// mayAdd says whether a user may be added, in the form of the answer's participant: with an error if not, and with an invitation to pass on if
// only the user's own settings forbid it.
func (c *conn) mayAdd(g *group, p *node, already []*account) (*account, node) {
	j, _ := jidOf(p, "jid")
	acct := c.s.lookup(j)
	if acct == nil {
		return nil, node{Tag: "participant", Attrs: attrs{"jid": j, "error": "404"}}
	}
	answer := g.participant(acct)
	actor := c.dev.acct
	switch {
	case g.member(acct) != nil || slices.Contains(already, acct):
		answer.Attrs["error"] = "409"
	case acct.blocks(actor):
		answer.Attrs["error"] = "401"
	case c.s.cfg.LeftRecently > 0 && time.Since(g.left[acct]) < c.s.cfg.LeftRecently:
		answer.Attrs["error"] = "408"
	case len(g.members)+len(already) >= c.s.cfg.MaxGroupSize:
		answer.Attrs["error"] = "419"
	case !acct.shows("groupadd", actor):
		answer.Attrs["error"] = "403"
		if code, expires, ok := g.offer(acct, actor); ok {
			answer.Content = []node{{Tag: "add_request", Attrs: attrs{"code": code, "expiration": unix(expires)}}}
		}
	}
	return acct, answer
}

func (c *conn) onGroupAdd(g *group, self *member, op *node) ([]node, *iqError) {
	if g.adminAdd && !self.admin() {
		return nil, errNotAuthorized
	}
	var joined []*account
	var answers []node
	for _, p := range op.GetChildrenByTag("participant") {
		acct, answer := c.mayAdd(g, &p, joined)
		answers = append(answers, answer)
		if str(&answer, "error") == "" {
			joined = append(joined, acct)
		}
	}
	if len(answers) == 0 {
		return nil, errBadRequest
	}
	c.enter(g, "", joined...)
	return []node{el("add", nil, answers...)}, nil
}

func (c *conn) onGroupRemove(g *group, self *member, op *node) ([]node, *iqError) {
	if !self.admin() {
		return nil, errNotAuthorized
	}
	var gone []*account
	answers, fault := c.eachMember(g, op, func(m *member) bool {
		if m.role == roleOwner && m != self {
			return false
		}
		gone = append(gone, m.acct)
		return true
	})
	if fault != nil {
		return nil, fault
	}
	c.leave(g, gone...)
	return []node{el("remove", nil, answers...)}, nil
}

// onGroupRole promotes and demotes.
func (c *conn) onGroupRole(g *group, self *member, op *node) ([]node, *iqError) {
	if !self.admin() {
		return nil, errNotAuthorized
	}
	role := ""
	if op.Tag == "promote" {
		role = roleAdmin
	}
	var changed []*account
	answers, fault := c.eachMember(g, op, func(m *member) bool {
		if m.role == roleOwner && m != self {
			return false
		}
		if m.admin() != (role != "") {
			g.change(func() { m.role = role })
			changed = append(changed, m.acct)
		}
		return true
	})
	if fault != nil {
		return nil, fault
	}
	if len(changed) > 0 {
		c.tellMembers(g, g.accounts(), op.Tag, "", changed...)
	}
	return []node{el(op.Tag, nil, answers...)}, nil
}

// eachMember goes through the users a request names, once each. do says whether it was allowed for one.
func (c *conn) eachMember(g *group, op *node, do func(*member) bool) ([]node, *iqError) {
	var answers []node
	done := make(map[*account]bool)
	for _, p := range op.GetChildrenByTag("participant") {
		j, _ := jidOf(&p, "jid")
		acct := c.s.lookup(j)
		if acct == nil {
			answers = append(answers, node{Tag: "participant", Attrs: attrs{"jid": j, "error": "404"}})
			continue
		}
		if done[acct] {
			continue
		}
		done[acct] = true
		answer := g.participant(acct)
		if m := g.member(acct); m == nil {
			answer.Attrs["error"] = "404"
		} else if !do(m) {
			answer.Attrs["error"] = "403"
		}
		answers = append(answers, answer)
	}
	if len(answers) == 0 {
		return nil, errBadRequest
	}
	return answers, nil
}

// mayEdit says whether a member may change what the group is called.
func (g *group) mayEdit(m *member) bool { return !g.locked || m.admin() }

func (c *conn) onGroupSubject(g *group, self *member, op *node) ([]node, *iqError) {
	text := string(payload(*op))
	switch {
	case !g.mayEdit(self):
		return nil, errNotAuthorized
	case text == "" || utf8.RuneCountInString(text) > maxSubject:
		return nil, errNotAcceptable
	}
	now := unix(time.Now())
	g.change(func() { g.subject = edited{text, now, self.acct} })
	c.tell(g, g.accounts(), node{Tag: "subject", Attrs: g.name(attrs{"subject": text, "s_t": now}, "s_o", self.acct, 0)})
	return nil, nil
}

// onGroupDescription wants to know the description it replaces: 409 if it is another one.
func (c *conn) onGroupDescription(g *group, self *member, op *node) ([]node, *iqError) {
	if !g.mayEdit(self) {
		return nil, errNotAuthorized
	}
	if str(op, "prev") != g.textID {
		return nil, errConflict
	}
	body, _ := child(op, "body")
	id, text := str(op, "id"), string(payload(body))
	remove := str(op, "delete") == "true"
	switch {
	case id == "" || remove == (text != ""):
		return nil, errBadRequest
	case utf8.RuneCountInString(text) > maxDescription:
		return nil, errNotAcceptable
	}
	change := leaf("body", []byte(text))
	kept := id
	if remove {
		change, kept = node{Tag: "delete"}, ""
	}
	g.change(func() { g.textID, g.text = kept, edited{text, unix(time.Now()), self.acct} })
	c.tell(g, g.accounts(), el("description", attrs{"id": id}, change))
	return nil, nil
}

func (c *conn) onGroupAnnounce(g *group, self *member, op *node) ([]node, *iqError) {
	if !self.admin() {
		return nil, errNotAuthorized
	}
	on := op.Tag == "announcement"
	if g.announce != on {
		g.change(func() { g.announce, g.annVer = on, g.newVersion() })
		c.tell(g, g.accounts(), node{Tag: op.Tag, Attrs: attrs{"v_id": g.annVer}})
	}
	return nil, nil
}

func (c *conn) onGroupLock(g *group, self *member, op *node) ([]node, *iqError) {
	if !self.admin() {
		return nil, errNotAuthorized
	}
	on := op.Tag == "locked"
	if g.locked != on {
		g.change(func() { g.locked = on })
		c.tell(g, g.accounts(), node{Tag: op.Tag})
	}
	return nil, nil
}

func (c *conn) onGroupEphemeral(g *group, self *member, op *node) ([]node, *iqError) {
	if !g.mayEdit(self) {
		return nil, errNotAuthorized
	}
	timer, fault := expiration(op)
	if fault != nil {
		return nil, fault
	}
	if g.ephemeral != timer {
		g.change(func() { g.ephemeral = timer })
		change := node{Tag: "not_ephemeral"}
		if timer != "" {
			change = node{Tag: "ephemeral", Attrs: attrs{"expiration": timer}}
		}
		c.tell(g, g.accounts(), change)
	}
	return nil, nil
}

func (c *conn) onGroupAddMode(g *group, self *member, op *node) ([]node, *iqError) {
	if !self.admin() {
		return nil, errNotAuthorized
	}
	mode := string(payload(*op))
	if mode != "admin_add" && mode != "all_member_add" {
		return nil, errBadRequest
	}
	if g.addMode() != mode {
		g.change(func() { g.adminAdd = mode == "admin_add" })
		c.tell(g, g.accounts(), leaf("member_add_mode", []byte(mode)))
	}
	return nil, nil
}

// onGroupApproval tells members the state in group_join, as WhatsApp does; in the group itself it is on when the element is there. whatsmeow reads
// a change as on, whatever the state is: who wants to know has to ask for the group.
func (c *conn) onGroupApproval(g *group, self *member, op *node) ([]node, *iqError) {
	if !self.admin() {
		return nil, errNotAuthorized
	}
	join, _ := child(op, "group_join")
	state := str(&join, "state")
	if state != "on" && state != "off" {
		return nil, errBadRequest
	}
	if on := state == "on"; g.approval != on {
		g.change(func() { g.approval = on })
		c.tell(g, g.accounts(), el("membership_approval_mode", nil, node{Tag: "group_join", Attrs: attrs{"state": state}}))
	}
	return nil, nil
}

// onGroupLeave leaves one group or several.
func (c *conn) onGroupLeave(n *node) ([]node, *iqError) {
	req, _ := child(n, "leave")
	self := c.dev.acct
	var answers []node
	var fault *iqError
	left := 0
	for _, each := range req.GetChildrenByTag("group") {
		j, _ := jidOf(&each, "id")
		answer := node{Tag: "group", Attrs: attrs{"id": j}}
		if fault = c.leaveOne(j, self); fault != nil {
			answer.Attrs["error"] = strconv.Itoa(fault.code)
		} else {
			left++
		}
		answers = append(answers, answer)
	}
	switch {
	case len(answers) == 0:
		return nil, errBadRequest
	case left == 0:
		return nil, fault
	default:
		return []node{el("leave", nil, answers...)}, nil
	}
}

func (c *conn) leaveOne(j types.JID, self *account) *iqError {
	g := c.s.group(j)
	if g == nil {
		return errNotFound
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	if g.member(self) == nil {
		return errForbidden
	}
	g.change(func() { g.left[self] = time.Now() })
	c.leave(g, self)
	return nil
}
