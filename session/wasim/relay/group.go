package relay

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// Roles of a group's members, as they are written.
const (
	roleAdmin = "admin"
	roleOwner = "superadmin" // who made the group: an admin whom nobody can demote or remove
)

const (
	maxSubject     = 100 // runes
	maxDescription = 2048
	maxRequests    = 1024 // waiting join requests of one group
	maxOffers      = 1024 // open invitations of one group
	maxRevoked     = 100  // reset links of one group that are still known as such
	offerLifetime  = 3 * 24 * time.Hour
)

// group is a group chat.
//
// turn makes one change or message after another, from the check of what its sender may do until it lies in every queue: all members see the
// same order. It is the outermost lock. Fields change under both turn and mu, so that whoever holds one of them may read.
type group struct {
	id      string // digits
	created string
	creator *account
	// byNumber is true if its members are addressed by phone number, as in old groups; else it is by LID.
	byNumber bool

	turn sync.Mutex
	mu   sync.Mutex

	members   []*member // by joining
	subject   edited
	text      edited // description
	textID    string
	announce  bool // only admins send
	locked    bool // only admins change what the group is called
	adminAdd  bool // only admins add
	approval  bool // admins approve who joins by link
	ephemeral string
	invite    string   // code of the link
	revoked   []string // codes it had before
	picture   string
	image     blobRef
	requests  []joinRequest
	offers    map[string]offer       // by code
	left      map[*account]time.Time // who went by themselves
	versions  int64                  // of members and of announce mode, rising
	memberVer string
	annVer    string
	dissolved bool // the last member is gone
}

type member struct {
	acct *account
	role string
}

func (m *member) admin() bool { return m != nil && m.role != "" }

// edited is a text with who wrote it and when.
type edited struct {
	text, at string
	by       *account
}

type joinRequest struct {
	acct *account
	at   string
}

// offer is an invitation to somebody who may not be added.
type offer struct {
	acct    *account
	admin   *account
	expires time.Time
}

func (g *group) jid() types.JID { return types.NewJID(g.id, types.GroupServer) }

// member, nil for strangers.
func (g *group) member(acct *account) *member {
	for _, m := range g.members {
		if m.acct == acct {
			return m
		}
	}
	return nil
}

// change is for who holds turn.
func (g *group) change(what func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	what()
}

// newVersion is for use in change.
func (g *group) newVersion() string {
	g.versions++
	return strconv.FormatInt(g.versions, 10)
}

// accounts of the members but some.
func (g *group) accounts(without ...*account) []*account {
	list := make([]*account, 0, len(g.members))
	for _, m := range g.members {
		if !slices.Contains(without, m.acct) {
			list = append(list, m.acct)
		}
	}
	return list
}

func (g *group) admins() []*account {
	var list []*account
	for _, m := range g.members {
		if m.admin() {
			list = append(list, m.acct)
		}
	}
	return list
}

// node is the group as clients are told it; strangers with a link see no members.
func (g *group) node(members bool) node {
	n := node{Tag: "group", Attrs: attrs{
		"id": g.id, "creation": g.created, "subject": g.subject.text, "s_t": g.subject.at,
		"addressing_mode": g.mode(), "size": strconv.Itoa(len(g.members)), "p_v_id": g.memberVer, "a_v_id": g.annVer,
	}}
	g.name(n.Attrs, "creator", g.creator, 0)
	g.name(n.Attrs, "s_o", g.subject.by, 0)
	var list []node
	if members {
		for _, m := range g.members {
			p := g.participant(m.acct)
			if m.role != "" {
				p.Attrs["type"] = m.role
			}
			list = append(list, p)
		}
	}
	if g.textID != "" {
		a := g.name(attrs{"id": g.textID, "t": g.text.at}, "participant", g.text.by, 0)
		list = append(list, el("description", a, leaf("body", []byte(g.text.text))))
	}
	for _, flag := range []struct {
		tag string
		on  bool
	}{{"announcement", g.announce}, {"locked", g.locked}, {"membership_approval_mode", g.approval}} {
		if flag.on {
			list = append(list, node{Tag: flag.tag})
		}
	}
	if g.ephemeral != "" {
		list = append(list, node{Tag: "ephemeral", Attrs: attrs{"expiration": g.ephemeral}})
	}
	list = append(list, leaf("member_add_mode", []byte(g.addMode())))
	n.Content = list
	return n
}

func (g *group) addMode() string {
	if g.adminAdd {
		return "admin_add"
	}
	return "all_member_add"
}

// tell puts a change of a group into the queues of these users, the actor's own devices not excepted.
func (c *conn) tell(g *group, to []*account, changes ...node) {
	actor := c.dev.acct
	n := c.s.notification("w:gp2", g.jid(), changes...)
	g.name(n.Attrs, "participant", actor, 0)
	n.Attrs["addressing_mode"], n.Attrs["notify"] = g.mode(), actor.pushName()
	c.s.deliverAll(to, n, actor.phone)
}

// tellMembers is tell for changes of the members, which have versions.
func (c *conn) tellMembers(g *group, to []*account, what, reason string, whom ...*account) {
	before := g.memberVer
	g.change(func() { g.memberVer = g.newVersion() })
	c.tell(g, to, el(what, attrs{"v_id": g.memberVer, "prev_v_id": before, "reason": reason}, g.participants(whom)...))
}

func (s *Server) deliverAll(to []*account, n node, peer string) {
	for _, acct := range to {
		for _, d := range acct.all() {
			s.deliver(d, n, peer)
		}
	}
}

// enter makes users members and tells everybody. It is for who holds turn.
func (c *conn) enter(g *group, reason string, joined ...*account) {
	if len(joined) == 0 {
		return
	}
	old := g.accounts()
	g.change(func() {
		for _, a := range joined {
			g.members = append(g.members, &member{acct: a})
			delete(g.left, a)
			g.requests = slices.DeleteFunc(g.requests, func(r joinRequest) bool { return r.acct == a })
		}
	})
	for _, a := range joined {
		a.joined(g)
	}
	c.tellMembers(g, old, "add", reason, joined...)
	c.tell(g, joined, el("create", attrs{"reason": reason}, g.node(true)))
}

// leave ends memberships and tells everybody, also those who go. A group without an admin gets one. It is for who holds turn.
func (c *conn) leave(g *group, gone ...*account) {
	if len(gone) == 0 {
		return
	}
	all := g.accounts()
	var heir *account
	g.change(func() {
		g.members = slices.DeleteFunc(g.members, func(m *member) bool { return slices.Contains(gone, m.acct) })
		switch {
		case len(g.members) == 0:
			g.dissolved = true
		case len(g.admins()) == 0:
			g.members[0].role = roleAdmin
			heir = g.members[0].acct
		}
	})
	for _, a := range gone {
		a.leftGroup(g)
	}
	c.tellMembers(g, all, "remove", "", gone...)
	if heir != nil {
		c.tellMembers(g, g.accounts(), "promote", "", heir)
	}
	if g.dissolved {
		c.s.dropGroup(g)
	}
}

func (a *account) joined(g *group) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.groups == nil {
		a.groups = make(map[*group]struct{})
	}
	a.groups[g] = struct{}{}
}

func (a *account) leftGroup(g *group) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.groups, g)
}

// groupList is the groups an account is in, by id.
func (a *account) groupList() []*group {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]*group, 0, len(a.groups))
	for g := range a.groups {
		list = append(list, g)
	}
	slices.SortFunc(list, byID)
	return list
}

func byID(x, y *group) int {
	if x.id < y.id {
		return -1
	}
	return 1
}

func (s *Server) group(j types.JID) *group {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.groups[j.User]
}

// addGroup gives a new group its id and its link; false when there are too many.
func (s *Server) addGroup(g *group) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.groups) >= s.cfg.MaxGroups {
		return false
	}
	for g.id == "" || s.groups[g.id] != nil {
		g.creator.founded++
		g.id = groupIDOf(g.creator.phone, g.creator.founded)
	}
	g.invite = newCode()
	s.groups[g.id], s.invites[g.invite] = g, g
	return true
}

func (s *Server) dropGroup(g *group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.groups, g.id)
	delete(s.invites, g.invite)
	for _, code := range g.revoked {
		delete(s.invites, code)
	}
}

// groupIDOf is eighteen digits, as of groups made today. It is derived from who made the group and how many were before it, so that a
// simulator that was restarted gives the same ids to who makes the same groups.
func groupIDOf(phone string, n int) string {
	sum := sha256.Sum256([]byte("wasim/group/" + phone + "/" + strconv.Itoa(n)))
	return fmt.Sprintf("120363%012d", binary.BigEndian.Uint64(sum[:])%1_000_000_000_000)
}

// newCode is the code of an invitation.
func newCode() string { return rand.Text()[:22] }

// Group is a group as tests see it; phones use the protocol.
type Group struct {
	ID          string // without the server
	Subject     string
	Description string
	Creator     string // phone numbers, here and below
	Members     []Member
	Requests    []string // who asked to join
	Announce    bool     // only admins send
	Locked      bool     // only admins change subject, description and picture
	AdminsAdd   bool     // only admins add members
	Approval    bool     // admins approve who joins by link
	Ephemeral   time.Duration
	Invite      string // code of the link
	Picture     string // id, "" without
	ByNumber    bool   // its members are addressed by phone number
}

// Member of a [Group].
type Member struct {
	Phone string
	LID   types.JID
	Admin bool
	Owner bool // made the group
}

// Group is one group by its id. Error: ErrUnknownGroup.
func (s *Server) Group(id string) (Group, error) {
	g := s.group(types.NewJID(id, types.GroupServer))
	if g == nil {
		return Group{}, fmt.Errorf("%w: %s", ErrUnknownGroup, id)
	}
	return g.snapshot(), nil
}

// Groups lists all groups by id.
func (s *Server) Groups() []Group {
	s.mu.RLock()
	list := make([]*group, 0, len(s.groups))
	for _, g := range s.groups {
		list = append(list, g)
	}
	s.mu.RUnlock()
	slices.SortFunc(list, byID)
	out := make([]Group, len(list))
	for i, g := range list {
		out[i] = g.snapshot()
	}
	return out
}

func (g *group) snapshot() Group {
	g.mu.Lock()
	defer g.mu.Unlock()
	seconds, _ := strconv.Atoi(g.ephemeral)
	out := Group{
		ID: g.id, Subject: g.subject.text, Description: g.text.text, Creator: g.creator.phone,
		Announce: g.announce, Locked: g.locked, AdminsAdd: g.adminAdd, Approval: g.approval,
		Ephemeral: time.Duration(seconds) * time.Second, Invite: g.invite, Picture: g.picture, ByNumber: g.byNumber,
	}
	for _, m := range g.members {
		out.Members = append(out.Members, Member{Phone: m.acct.phone, LID: m.acct.lid(0), Admin: m.admin(), Owner: m.role == roleOwner})
	}
	for _, r := range g.requests {
		out.Requests = append(out.Requests, r.acct.phone)
	}
	return out
}
