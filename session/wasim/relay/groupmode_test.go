package relay_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session/wasim/relay"
)

// Groups that are older than LIDs name their members by number, in every stanza.
func TestAGroupThatAddressesByNumber(t *testing.T) {
	t.Parallel()
	s := startLenient(t, relay.Config{})
	a, b, c := s.online(t, s.primary(t, "P0")), s.online(t, s.primary(t, "P1")), s.online(t, s.primary(t, "P2"))
	require.ErrorIs(t, s.AddressGroups("4930000", types.AddressingModePN), relay.ErrUnknownAccount)
	require.ErrorIs(t, s.AddressGroups(a.c.phone, "both"), relay.ErrInvalidAccount)
	require.NoError(t, s.AddressGroups(a.c.phone, types.AddressingModePN))
	g := newGroup(t, a, b)
	require.NoError(t, s.AddressGroups(a.c.phone, types.AddressingModeLID))
	info, err := s.Group(g.User)
	require.NoError(t, err)
	require.True(t, info.ByNumber, "it stays as it is")

	member := func(r *raw) node {
		return node{Tag: "participant", Attrs: attrs{"jid": r.c.pn(), "lid": r.c.lid}}
	}
	shown := child(b.gets(g, "get", node{Tag: "query", Attrs: attrs{"request": "interactive"}}), "group")
	for key, want := range (attrs{
		"addressing_mode": "pn", "creator": a.c.pn(), "creator_lid": a.c.lid, "creator_pn": nil, "s_o": a.c.pn(), "s_o_lid": a.c.lid,
	}) {
		require.Equal(t, want, shown.Attrs[key], key)
	}
	require.Equal(t, []node{as(member(a), "type", "superadmin"), member(b)}, shown.GetChildrenByTag("participant"))

	// members may be named either way
	answer := child(a.gets(g, "set", users("add", c.c.lid)), "add")
	require.Equal(t, []node{member(c)}, answer.GetChildren())
	for _, r := range []*raw{a, b} {
		n := r.changed(g)
		require.Equal(t, []any{a.c.pn(), a.c.lid, "pn"}, []any{n.Attrs["participant"], n.Attrs["participant_lid"], n.Attrs["addressing_mode"]})
		require.Equal(t, []node{member(c)}, child(n, "add").GetChildren())
	}
	require.Equal(t, "pn", child(c.changed(g), "create", "group").Attrs["addressing_mode"])

	m := toAll("M1", g, b.c.pn(), c.c.pn())
	delete(m.Attrs, "addressing_mode")
	m.Attrs["phash"] = sorted(a.c.pn(), b.c.pn(), c.c.pn())
	a.send(m)
	require.Nil(t, a.ack("M1").Attrs["phash"])
	for _, r := range []*raw{b, c} {
		got := r.expect("message")
		delete(got.Attrs, "t")
		require.Equal(t, attrs{
			"id": "M1", "type": "text", "from": g, "participant": a.c.pn(), "participant_lid": a.c.lid, "addressing_mode": "pn", "notify": "P0",
		}, got.Attrs)
	}
	b.send(node{Tag: "receipt", Attrs: attrs{"id": "M1", "to": g, "participant": a.c.pn()}})
	back := a.find(func(n *node) bool { return n.Tag == "receipt" })
	require.Equal(t, []any{b.c.pn(), b.c.lid, "pn"}, []any{back.Attrs["participant"], back.Attrs["participant_lid"], back.Attrs["addressing_mode"]})
	b.find(func(n *node) bool { return n.Tag == "ack" })
	b.send(node{Tag: "chatstate", Attrs: attrs{"to": g}, Content: []node{{Tag: "composing"}}})
	require.Equal(t, b.c.pn(), a.expect("chatstate").Attrs["participant"])
	c.expect("chatstate")
	require.Empty(t, s.Stats().Violations)

	// what came from a number is not answered to a LID
	c.send(node{Tag: "receipt", Attrs: attrs{"id": "M1", "to": g, "participant": a.c.lid}})
	c.find(func(n *node) bool { return n.Tag == "ack" })
	require.Len(t, s.Stats().Violations, 1)
	require.Equal(t, 1, s.Stats().UnacknowledgedByPhone[c.c.phone])
	quiet(a, b, c)
}
