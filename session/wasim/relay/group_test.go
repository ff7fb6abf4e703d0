package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session/wasim/relay"
)

// ask sends a request about groups and returns its answer.
func (r *raw) ask(to types.JID, kind string, content node, extra ...string) *node {
	r.t.Helper()
	r.ids++
	id := fmt.Sprintf("8.%d-%d", r.ids, r.ids)
	if len(extra) > 0 {
		id = extra[0]
	}
	r.send(node{Tag: "iq", Attrs: attrs{"id": id, "xmlns": "w:g2", "type": kind, "to": to}, Content: []node{content}})
	answer := r.find(func(n *node) bool { return n.Tag == "iq" && n.Attrs["id"] == id })
	if to.Server == types.GroupServer {
		require.Equal(r.t, to, answer.Attrs["from"])
	}
	return answer
}

// gets is ask for an answer that must be a result.
func (r *raw) gets(to types.JID, kind string, content node) *node {
	r.t.Helper()
	n := r.ask(to, kind, content)
	require.Equal(r.t, "result", n.Attrs["type"], "%s", n)
	return n
}

// refused is ask for an answer that must be this error.
func (r *raw) refused(code string, to types.JID, kind string, content node) {
	r.t.Helper()
	n := r.ask(to, kind, content)
	require.Equal(r.t, "error", n.Attrs["type"], "%s", n)
	require.Equal(r.t, code, child(n, "error").Attrs["code"])
	text := map[string]string{
		"400": "bad-request", "401": "not-authorized", "403": "forbidden", "404": "item-not-found", "406": "not-acceptable",
		"409": "conflict", "410": "gone", "419": "resource-limit", "501": "feature-not-implemented",
	}
	require.Equal(r.t, text[code], child(n, "error").Attrs["text"])
}

func users(tag string, list ...types.JID) node {
	n := node{Tag: tag}
	var children []node
	for _, j := range list {
		children = append(children, node{Tag: "participant", Attrs: attrs{"jid": j}})
	}
	n.Content = children
	return n
}

// person is how members are listed.
func person(c *creds) node {
	return node{Tag: "participant", Attrs: attrs{"jid": c.lid, "phone_number": c.pn()}}
}

func as(p node, key, value string) node { p.Attrs[key] = value; return p }

// newGroup makes a group of the first with the others, who all heard of it and acknowledged.
func newGroup(t *testing.T, owner *raw, others ...*raw) types.JID {
	t.Helper()
	req := node{Tag: "create", Attrs: attrs{"subject": "Family"}}
	var content []node
	for _, o := range others {
		content = append(content, node{Tag: "participant", Attrs: attrs{"jid": o.c.lid}})
	}
	req.Content = append(content,
		node{Tag: "member_add_mode", Content: "all_member_add"},
		node{Tag: "ephemeral", Attrs: attrs{"expiration": 0}},
		node{Tag: "membership_approval_mode", Content: []node{{Tag: "group_join", Attrs: attrs{"state": "off"}}}},
	)
	id := child(owner.gets(types.GroupServerJID, "set", req), "group").Attrs["id"].(string)
	require.True(t, strings.HasPrefix(id, "120363"))
	g := types.NewJID(id, types.GroupServer)
	for _, r := range append([]*raw{owner}, others...) {
		require.Len(t, child(r.changed(g), "create", "group").GetChildrenByTag("participant"), len(others)+1)
	}
	return g
}

// changed is the next stanza, a change of a group, which is acknowledged.
func (r *raw) changed(g types.JID) *node {
	r.t.Helper()
	n := r.find(func(n *node) bool { return n.Tag == "notification" })
	require.Equal(r.t, "w:gp2", n.Attrs["type"], "%s", n)
	require.Equal(r.t, g, n.Attrs["from"])
	require.NotEmpty(r.t, n.Attrs["t"])
	r.send(node{Tag: "ack", Attrs: attrs{
		"class": "notification", "id": n.Attrs["id"], "to": g, "type": "w:gp2", "participant": n.Attrs["participant"],
	}})
	return n
}

// told checks that all hear of this one change by someone.
func told(g types.JID, actor *creds, change node, all ...*raw) {
	for _, r := range all {
		r.t.Helper()
		n := r.changed(g)
		require.Equal(r.t, actor.lid, n.Attrs["participant"])
		require.Equal(r.t, actor.pn(), n.Attrs["participant_pn"])
		require.Equal(r.t, "lid", n.Attrs["addressing_mode"])
		require.Len(r.t, n.GetChildren(), 1)
		got := n.GetChildren()[0]
		switch got.Tag {
		case "add", "remove", "promote", "demote":
			require.NotEmpty(r.t, got.Attrs["prev_v_id"])
			require.NotEqual(r.t, got.Attrs["prev_v_id"], got.Attrs["v_id"])
		case "announcement", "not_announcement":
			require.NotEmpty(r.t, got.Attrs["v_id"])
		}
		delete(got.Attrs, "v_id")
		delete(got.Attrs, "prev_v_id")
		if len(got.Attrs) == 0 {
			got.Attrs = nil
		}
		require.Equal(r.t, change.Tag, got.Tag)
		require.Equal(r.t, change.Attrs, got.Attrs)
		require.Equal(r.t, change.Content, got.Content)
	}
}

// crew is a relay and logged-in phones.
func crew(t *testing.T, cfg relay.Config, n int) (*sim, []*raw) {
	t.Helper()
	s := start(t, cfg)
	list := make([]*raw, n)
	for i := range list {
		list[i] = s.online(t, s.primary(t, fmt.Sprintf("P%d", i)))
	}
	return s, list
}

func quiet(all ...*raw) {
	for _, r := range all {
		r.t.Helper()
		r.idle()
	}
}

func TestGroupCreation(t *testing.T) {
	t.Parallel()
	s, p := crew(t, relay.Config{}, 3)
	a, b, stranger := p[0], p[1], p[2]
	req := node{Tag: "create", Attrs: attrs{"subject": "Family", "key": "K"}, Content: []node{
		{Tag: "participant", Attrs: attrs{"jid": b.c.pn()}},
		{Tag: "participant", Attrs: attrs{"jid": a.c.lid}},
		{Tag: "participant", Attrs: attrs{"jid": types.NewJID("4930000", types.DefaultUserServer)}},
		{Tag: "announcement"},
		{Tag: "locked"},
		{Tag: "ephemeral", Attrs: attrs{"expiration": 86400, "trigger": "1"}},
		{Tag: "member_add_mode", Content: "admin_add"},
		{Tag: "membership_approval_mode", Content: []node{{Tag: "group_join", Attrs: attrs{"state": "on"}}}},
	}}
	answer := child(a.ask(types.GroupServerJID, "set", req, "1.1-1"), "group")
	id := answer.Attrs["id"].(string)
	g := types.NewJID(id, types.GroupServer)
	require.Len(t, id, 18)

	info := child(b.gets(g, "get", node{Tag: "query", Attrs: attrs{"request": "interactive"}}), "group")
	for _, key := range []string{"creation", "s_t", "p_v_id", "a_v_id"} {
		require.NotEmpty(t, info.Attrs[key])
		delete(info.Attrs, key)
	}
	require.Equal(t, attrs{
		"id": id, "creator": a.c.lid, "creator_pn": a.c.pn(), "subject": "Family", "s_o": a.c.lid, "s_o_pn": a.c.pn(),
		"addressing_mode": "lid", "size": "2",
	}, info.Attrs)
	want := []node{
		as(person(a.c), "type", "superadmin"), person(b.c),
		{Tag: "announcement"},
		{Tag: "locked"},
		{Tag: "membership_approval_mode"},
		{Tag: "ephemeral", Attrs: attrs{"expiration": "86400"}},
		{Tag: "member_add_mode", Content: []byte("admin_add")},
	}
	require.Equal(t, withoutNil(want), withoutNil(info.GetChildren()))
	failed := answer.GetChildren()[len(answer.GetChildren())-1]
	require.Equal(t, attrs{"jid": types.NewJID("4930000", types.DefaultUserServer), "error": "404"}, failed.Attrs)

	for _, r := range []*raw{a, b} {
		n := r.changed(g)
		require.Equal(t, attrs{"type": "new", "key": "K"}, child(n, "create").Attrs)
		require.Equal(t, "P0", n.Attrs["notify"])
		require.Equal(t, withoutNil(want), withoutNil(child(n, "create", "group").GetChildren()))
	}
	require.Equal(t, id, child(a.ask(types.GroupServerJID, "set", req, "1.1-1"), "group").Attrs["id"], "repeated after a reconnect")
	require.Len(t, s.Groups(), 1)
	got, err := s.Group(id)
	require.NoError(t, err)
	require.Equal(t, []relay.Member{{Phone: a.c.phone, LID: a.c.lid, Admin: true, Owner: true}, {Phone: b.c.phone, LID: b.c.lid}}, got.Members)
	require.Equal(t, 24*time.Hour, got.Ephemeral)

	// nobody else's business
	stranger.refused("403", g, "get", node{Tag: "query", Attrs: attrs{"request": "interactive"}})
	stranger.refused("403", g, "set", node{Tag: "subject", Content: []byte("mine")})
	participating := node{Tag: "participating", Content: []node{{Tag: "participants"}, {Tag: "description"}}}
	require.Empty(t, child(stranger.gets(types.GroupServerJID, "get", participating), "groups").GetChildren())
	require.Equal(t, id, child(b.gets(types.GroupServerJID, "get", participating), "groups").GetChildren()[0].Attrs["id"])
	a.refused("404", types.NewJID("12036300", types.GroupServer), "get", node{Tag: "query"})
	a.refused("406", types.GroupServerJID, "set", node{Tag: "create", Attrs: attrs{"subject": strings.Repeat("x", 101)}})
	a.refused("400", types.GroupServerJID, "set", node{Tag: "create", Content: []node{{Tag: "ephemeral", Attrs: attrs{"expiration": "5"}}}})
	quiet(a, b, stranger)
	require.Zero(t, s.Stats().Unacknowledged)
}

// withoutNil makes decoded and written elements comparable.
func withoutNil(list []node) []node {
	out := make([]node, len(list))
	for i, n := range list {
		if len(n.Attrs) == 0 {
			n.Attrs = nil
		}
		out[i] = n
	}
	return out
}

func TestGroupMembers(t *testing.T) {
	t.Parallel()

	t.Run("AddedWithAResultEach", func(t *testing.T) {
		t.Parallel()
		s, p := crew(t, relay.Config{MaxGroupSize: 4}, 7)
		a, b, c, shy, foe, left, last := p[0], p[1], p[2], p[3], p[4], p[5], p[6]
		g := newGroup(t, a, b, left)
		shy.ok("privacy", "set", node{Tag: "privacy", Content: []node{{Tag: "category", Attrs: attrs{"name": "groupadd", "value": "contacts"}}}})
		foe.ok("blocklist", "set", node{Tag: "item", Attrs: attrs{"jid": a.c.lid, "action": "block"}})
		left.gets(types.GroupServerJID, "set", node{Tag: "leave", Content: []node{{Tag: "group", Attrs: attrs{"id": g}}}})
		told(g, left.c, node{Tag: "remove", Content: []node{person(left.c)}}, a, b, left)

		nobody := types.NewJID("4930000", types.DefaultUserServer)
		got := child(a.gets(g, "set", users("add", b.c.lid, c.c.pn(), c.c.lid, nobody, shy.c.lid, foe.c.lid, left.c.lid)), "add").GetChildren()
		offer := child(&got[4], "add_request")
		require.Len(t, offer.Attrs["code"], 16)
		got[4].Content = nil
		require.Equal(t, []node{
			as(person(b.c), "error", "409"), person(c.c), as(person(c.c), "error", "409"),
			{Tag: "participant", Attrs: attrs{"jid": nobody, "error": "404"}},
			as(person(shy.c), "error", "403"), as(person(foe.c), "error", "401"), as(person(left.c), "error", "408"),
		}, got)
		told(g, a.c, node{Tag: "add", Content: []node{person(c.c)}}, a, b)
		n := c.changed(g)
		require.Len(t, child(n, "create", "group").GetChildrenByTag("participant"), 3)
		require.Equal(t, a.c.lid, n.Attrs["participant"])

		// the invitation is for one person, of one admin, and once
		accept := func(change string, value any) node {
			n := node{Tag: "accept", Attrs: attrs{"code": offer.Attrs["code"], "expiration": offer.Attrs["expiration"], "admin": a.c.lid}}
			n.Attrs[change] = value
			return n
		}
		foe.refused("410", g, "set", accept("admin", a.c.lid))
		shy.refused("410", g, "set", accept("admin", b.c.lid))
		shy.refused("410", g, "set", accept("expiration", "5"))
		shy.refused("410", g, "set", accept("code", "X"))
		query := accept("admin", a.c.pn())
		query.Tag = "add_request"
		info := child(shy.gets(g, "get", node{Tag: "query", Content: []node{query}}), "group")
		require.Equal(t, "3", info.Attrs["size"])
		require.Empty(t, info.GetChildrenByTag("participant"))
		shy.gets(g, "set", accept("admin", a.c.lid))
		told(g, shy.c, node{Tag: "add", Attrs: attrs{"reason": "invite"}, Content: []node{person(shy.c)}}, a, b, c)
		require.Equal(t, "invite", child(shy.changed(g), "create").Attrs["reason"])
		shy.refused("409", g, "set", accept("admin", a.c.lid))

		full := child(a.gets(g, "set", users("add", last.c.lid)), "add").GetChildren()
		require.Equal(t, "419", full[0].Attrs["error"])
		quiet(p...)
		require.Zero(t, s.Stats().Unacknowledged)
	})

	t.Run("AContactMayAddWhomOthersMayNot", func(t *testing.T) {
		t.Parallel()
		_, p := crew(t, relay.Config{LeftRecently: -1}, 2)
		a, shy := p[0], p[1]
		g := newGroup(t, a)
		shy.ok("privacy", "set", node{Tag: "privacy", Content: []node{{Tag: "category", Attrs: attrs{"name": "groupadd", "value": "contacts"}}}})
		add := func() *node { return child(a.gets(g, "set", users("add", shy.c.lid)), "add", "participant") }
		require.Equal(t, "403", add().Attrs["error"])
		shy.ok("privacy", "set", node{Tag: "tokens", Content: []node{{Tag: "token", Attrs: attrs{"jid": a.c.lid, "t": "5", "type": "trusted_contact"}}}})
		require.Nil(t, add().Attrs["error"])
		shy.gets(types.GroupServerJID, "set", node{Tag: "leave", Content: []node{{Tag: "group", Attrs: attrs{"id": g}}}})
		require.Nil(t, add().Attrs["error"], "LeftRecently is off")
	})

	t.Run("RemovedPromotedDemoted", func(t *testing.T) {
		t.Parallel()
		s, p := crew(t, relay.Config{}, 4)
		a, b, c, d := p[0], p[1], p[2], p[3]
		g := newGroup(t, a, b, c)
		for _, op := range []string{"remove", "promote", "demote"} {
			b.refused("401", g, "set", users(op, c.c.lid))
			d.refused("403", g, "set", users(op, c.c.lid))
			a.refused("400", g, "set", users(op))
		}
		got := child(a.gets(g, "set", users("promote", b.c.lid, d.c.lid)), "promote").GetChildren()
		require.Equal(t, []node{person(b.c), as(person(d.c), "error", "404")}, got)
		told(g, a.c, node{Tag: "promote", Content: []node{person(b.c)}}, a, b, c)
		a.gets(g, "set", users("promote", b.c.lid)) // no change, no news

		got = child(b.gets(g, "set", users("demote", a.c.lid)), "demote").GetChildren()
		require.Equal(t, "403", got[0].Attrs["error"], "nobody demotes who made the group")
		got = child(b.gets(g, "set", users("remove", a.c.lid, c.c.pn())), "remove").GetChildren()
		require.Equal(t, []node{as(person(a.c), "error", "403"), person(c.c)}, got)
		told(g, b.c, node{Tag: "remove", Content: []node{person(c.c)}}, a, b, c)
		c.refused("403", g, "get", node{Tag: "query"})
		require.Nil(t, child(a.gets(g, "set", users("add", c.c.lid)), "add", "participant").Attrs["error"], "who was removed can be added")
		told(g, a.c, node{Tag: "add", Content: []node{person(c.c)}}, a, b)
		c.changed(g)
		a.gets(g, "set", users("demote", b.c.lid))
		told(g, a.c, node{Tag: "demote", Content: []node{person(b.c)}}, a, b, c)
		quiet(p...)
		require.Zero(t, s.Stats().Unacknowledged)
	})

	t.Run("LeavingLeavesAnAdmin", func(t *testing.T) {
		t.Parallel()
		s, p := crew(t, relay.Config{}, 3)
		a, b, c := p[0], p[1], p[2]
		g := newGroup(t, a, b, c)
		leave := node{Tag: "leave", Content: []node{{Tag: "group", Attrs: attrs{"id": g}}}}
		code := child(a.gets(g, "get", node{Tag: "invite"}), "invite").Attrs["code"]
		require.Equal(t, g, child(a.gets(types.GroupServerJID, "set", leave), "leave", "group").Attrs["id"])
		told(g, a.c, node{Tag: "remove", Content: []node{person(a.c)}}, a, b, c)
		told(g, a.c, node{Tag: "promote", Content: []node{person(b.c)}}, b, c)
		a.refused("403", types.GroupServerJID, "set", leave)
		b.gets(types.GroupServerJID, "set", leave)
		told(g, b.c, node{Tag: "remove", Content: []node{person(b.c)}}, b, c)
		told(g, b.c, node{Tag: "promote", Content: []node{person(c.c)}}, c)
		c.gets(types.GroupServerJID, "set", leave)
		told(g, c.c, node{Tag: "remove", Content: []node{person(c.c)}}, c)
		c.refused("404", types.GroupServerJID, "set", leave)
		a.refused("406", types.GroupServerJID, "get", node{Tag: "invite", Attrs: attrs{"code": code}})
		require.Empty(t, s.Groups())
		quiet(p...)
	})
}

func TestGroupSettings(t *testing.T) {
	t.Parallel()
	s, p := crew(t, relay.Config{}, 3)
	a, b, offline := p[0], p[1], p[2]
	g := newGroup(t, a, b, offline)
	offline.hangUp()
	set := func(r *raw, n node) { r.t.Helper(); r.gets(g, "set", n) }

	b.gets(g, "set", node{Tag: "subject", Content: []byte("Friends")})
	for _, r := range []*raw{a, b} {
		change := child(r.changed(g), "subject")
		require.NotEmpty(t, change.Attrs["s_t"])
		delete(change.Attrs, "s_t")
		require.Equal(t, attrs{"subject": "Friends", "s_o": b.c.lid, "s_o_pn": b.c.pn()}, change.Attrs)
	}
	b.refused("406", g, "set", node{Tag: "subject", Content: []byte{}})
	b.refused("406", g, "set", node{Tag: "subject", Content: []byte(strings.Repeat("ü", 101))})

	body := func(text string) []node { return []node{{Tag: "body", Content: []byte(text)}} }
	set(b, node{Tag: "description", Attrs: attrs{"id": "D1"}, Content: body("one")})
	told(g, b.c, node{Tag: "description", Attrs: attrs{"id": "D1"}, Content: body("one")}, a, b)
	a.refused("409", g, "set", node{Tag: "description", Attrs: attrs{"id": "D2"}, Content: body("two")})
	a.refused("409", g, "set", node{Tag: "description", Attrs: attrs{"id": "D2", "prev": "D0"}, Content: body("two")})
	a.refused("406", g, "set", node{Tag: "description", Attrs: attrs{"id": "D2", "prev": "D1"}, Content: body(strings.Repeat("x", 2049))})
	a.refused("400", g, "set", node{Tag: "description", Attrs: attrs{"id": "D2", "prev": "D1"}})
	info := child(a.gets(g, "get", node{Tag: "query"}), "group", "description")
	require.Equal(t, b.c.lid, info.Attrs["participant"])
	require.Equal(t, "D1", info.Attrs["id"])
	require.Equal(t, []byte("one"), child(info, "body").Content)
	set(a, node{Tag: "description", Attrs: attrs{"id": "D3", "prev": "D1", "delete": "true"}})
	told(g, a.c, node{Tag: "description", Attrs: attrs{"id": "D3"}, Content: []node{{Tag: "delete"}}}, a, b)

	for _, tc := range []struct {
		set  node
		open bool // to all members while the group is not locked
		told node
	}{
		{node{Tag: "announcement"}, false, node{Tag: "announcement"}},
		{node{Tag: "not_announcement"}, false, node{Tag: "not_announcement"}},
		{node{Tag: "locked"}, false, node{Tag: "locked"}},
		{node{Tag: "subject", Content: []byte("x")}, false, node{}},
		{node{Tag: "ephemeral", Attrs: attrs{"expiration": "604800"}}, false, node{Tag: "ephemeral", Attrs: attrs{"expiration": "604800"}}},
		{node{Tag: "unlocked"}, false, node{Tag: "unlocked"}},
		{node{Tag: "not_ephemeral"}, true, node{Tag: "not_ephemeral"}},
		{node{Tag: "member_add_mode", Content: []byte("admin_add")}, false, node{Tag: "member_add_mode", Content: []byte("admin_add")}},
		{users("add", types.NewJID("4930000", types.DefaultUserServer)), false, node{}},
		{
			node{Tag: "membership_approval_mode", Content: []node{{Tag: "group_join", Attrs: attrs{"state": "on"}}}},
			false,
			node{Tag: "membership_approval_mode", Content: []node{{Tag: "group_join", Attrs: attrs{"state": "on"}}}},
		},
		{node{Tag: "invite"}, false, node{}},
	} {
		if !tc.open {
			b.refused("401", g, "set", tc.set)
		}
		if tc.told.Tag == "" {
			continue
		}
		who := a
		if tc.open {
			who = b
		}
		set(who, tc.set)
		told(g, who.c, tc.told, a, b)
		set(who, tc.set) // no change, no news
	}
	b.refused("400", g, "set", node{Tag: "ephemeral", Attrs: attrs{"expiration": "60"}})
	a.refused("400", g, "set", node{Tag: "member_add_mode", Content: []byte("nobody")})
	quiet(a, b)

	offline = s.login(t, offline.c)
	require.Len(t, offline.active(), 11, "every change waited")
	got, err := s.Group(g.User)
	require.NoError(t, err)
	require.Equal(t, "Friends", got.Subject)
	require.True(t, got.AdminsAdd)
	require.True(t, got.Approval)
	require.Zero(t, got.Ephemeral)
	_, err = s.Group("1")
	require.ErrorIs(t, err, relay.ErrUnknownGroup)
}

func TestGroupInvites(t *testing.T) {
	t.Parallel()
	s, p := crew(t, relay.Config{}, 5)
	a, b, c, d, e := p[0], p[1], p[2], p[3], p[4]
	g := newGroup(t, a, b)
	invite := func(code any) node { return node{Tag: "invite", Attrs: attrs{"code": code}} }
	b.refused("401", g, "get", node{Tag: "invite"})
	c.refused("403", g, "get", node{Tag: "invite"})
	first := child(a.gets(g, "get", node{Tag: "invite"}), "invite").Attrs["code"]
	require.Len(t, first, 22)
	info := child(c.gets(types.GroupServerJID, "get", invite(first)), "group")
	require.Equal(t, "Family", info.Attrs["subject"])
	require.Empty(t, info.GetChildrenByTag("participant"))

	require.Equal(t, g, child(c.gets(types.GroupServerJID, "set", invite(first)), "group").Attrs["jid"])
	told(g, c.c, node{Tag: "add", Attrs: attrs{"reason": "invite"}, Content: []node{person(c.c)}}, a, b)
	require.Equal(t, attrs{"reason": "invite"}, child(c.changed(g), "create").Attrs)
	c.refused("409", types.GroupServerJID, "set", invite(first))

	second := child(a.gets(g, "set", node{Tag: "invite"}), "invite").Attrs["code"]
	told(g, a.c, invite(second), a, b, c)
	for _, kind := range []string{"get", "set"} {
		d.refused("410", types.GroupServerJID, kind, invite(first))
		d.refused("406", types.GroupServerJID, kind, invite("nonsense"))
	}

	// joining by approval
	on := node{Tag: "membership_approval_mode", Content: []node{{Tag: "group_join", Attrs: attrs{"state": "on"}}}}
	a.gets(g, "set", on)
	told(g, a.c, on, a, b, c)
	for range 2 { // the second changes nothing
		for _, r := range []*raw{d, e} {
			require.Equal(t, g, child(r.gets(types.GroupServerJID, "set", invite(second)), "membership_approval_request").Attrs["jid"])
		}
	}
	for _, r := range []*raw{d, e} {
		told(g, r.c, node{Tag: "created_membership_requests", Attrs: attrs{"request_method": "invite_link"}, Content: []node{
			{Tag: "requested_user", Attrs: attrs{"jid": r.c.lid, "phone_number": r.c.pn()}},
		}}, a) // an admin
	}
	b.refused("401", g, "get", node{Tag: "membership_approval_requests"})
	waiting := child(a.gets(g, "get", node{Tag: "membership_approval_requests"}), "membership_approval_requests").GetChildren()
	require.Len(t, waiting, 2)
	require.Equal(t, d.c.lid, waiting[0].Attrs["jid"])
	require.NotEmpty(t, waiting[0].Attrs["request_time"])
	act := func(what node) node { return node{Tag: "membership_requests_action", Content: []node{what}} }
	b.refused("401", g, "set", act(users("approve", d.c.lid)))
	got := child(a.gets(g, "set", act(users("approve", d.c.lid, b.c.lid))), "membership_requests_action", "approve").GetChildren()
	require.Equal(t, []node{person(d.c), as(person(b.c), "error", "404")}, got)
	told(g, a.c, node{Tag: "add", Attrs: attrs{"reason": "invite"}, Content: []node{person(d.c)}}, a, b, c)
	d.changed(g)
	a.gets(g, "set", act(users("reject", e.c.lid)))
	told(g, a.c, node{Tag: "revoked_membership_requests", Content: []node{person(e.c)}}, a)
	state, err := s.Group(g.User)
	require.NoError(t, err)
	require.Empty(t, state.Requests)
	require.Len(t, state.Members, 4)
	quiet(p...)
	require.Zero(t, s.Stats().Unacknowledged)
}

func TestGroupPicture(t *testing.T) {
	t.Parallel()
	s, p := crew(t, relay.Config{}, 3)
	a, b, c := p[0], p[1], p[2]
	g := newGroup(t, a, b)
	jpeg := []byte("\xff\xd8\xff group")
	do := func(r *raw, kind string, content ...node) *node {
		r.ids++
		id := fmt.Sprintf("9.%d-%d", r.ids, r.ids)
		n := node{Tag: "iq", Attrs: attrs{"id": id, "xmlns": "w:profile:picture", "type": kind, "to": types.ServerJID, "target": g}}
		if len(content) > 0 {
			n.Content = content
		}
		r.send(n)
		return r.find(func(n *node) bool { return n.Tag == "iq" && n.Attrs["id"] == id })
	}
	code := func(n *node) any { return child(n, "error").Attrs["code"] }
	picture := node{Tag: "picture", Attrs: attrs{"type": "image"}, Content: jpeg}
	require.Equal(t, "404", code(do(b, "get", node{Tag: "picture"})))
	require.Equal(t, "401", code(do(c, "get", node{Tag: "picture"})))
	require.Equal(t, "403", code(do(c, "set", picture)))
	require.Equal(t, "406", code(do(b, "set", node{Tag: "picture", Attrs: attrs{"type": "image"}, Content: []byte("GIF")})))
	id := child(do(b, "set", picture), "picture").Attrs["id"]
	for _, r := range []*raw{a, b} {
		n := r.expect("notification")
		require.Equal(t, "picture", n.Attrs["type"])
		require.Equal(t, g, n.Attrs["from"])
		require.Equal(t, attrs{"jid": g, "author": b.c.lid, "id": id}, child(n, "set").Attrs)
		r.send(node{Tag: "ack", Attrs: attrs{"class": "notification", "id": n.Attrs["id"], "to": g, "type": "picture"}})
	}
	got := child(do(a, "get", node{Tag: "picture", Attrs: attrs{"type": "preview", "query": "url"}}), "picture")
	require.Equal(t, id, got.Attrs["id"])
	require.Equal(t, "preview", got.Attrs["type"])
	require.Equal(t, jpeg, s.download(t, got.Attrs["direct_path"].(string), 200))
	link := child(a.gets(g, "get", node{Tag: "invite"}), "invite").Attrs["code"]
	require.Equal(t, id, child(do(c, "get", node{Tag: "picture", Attrs: attrs{"invite": link}}), "picture").Attrs["id"])
	a.gets(g, "set", node{Tag: "locked"})
	told(g, a.c, node{Tag: "locked"}, a, b)
	require.Equal(t, "401", code(do(b, "set")))
	require.Equal(t, "result", do(a, "set").Attrs["type"])
	require.Equal(t, attrs{"jid": g, "author": a.c.lid}, child(a.expect("notification"), "delete").Attrs)
	require.Equal(t, "404", code(do(a, "get", node{Tag: "picture"})))
}
