package relay_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/session/wasim/relay"
)

func category(name, value string) node {
	return node{Tag: "privacy", Content: []node{{Tag: "category", Attrs: attrs{"name": name, "value": value}}}}
}

// acquainted makes one be told the other's devices, as whoever has written to somebody.
func acquainted(r *raw, other types.JID) {
	r.t.Helper()
	r.send(text("HELLO", other, other))
	r.ack("HELLO")
}

func TestProfileReachesThoseWhoMaySeeIt(t *testing.T) {
	t.Parallel()
	s, p := crew(t, relay.Config{}, 3)
	a, friend, stranger := p[0], p[1], p[2]
	mine := pairRaw(t, s, a, newCreds())
	a.stash = nil
	acquainted(friend, a.c.lid)
	a.find(func(n *node) bool { return n.Tag == "message" })
	jpeg := []byte("\xff\xd8\xff me")

	set := child(a.ok("w:profile:picture", "set", node{Tag: "picture", Attrs: attrs{"type": "image"}, Content: jpeg}), "picture")
	for _, r := range []*raw{mine, friend} {
		n := r.find(func(n *node) bool { return n.Tag == "notification" && n.Attrs["type"] == "picture" })
		require.Equal(t, a.c.pn(), n.Attrs["from"])
		require.Equal(t, attrs{"jid": a.c.pn(), "id": set.Attrs["id"]}, child(n, "set").Attrs)
	}
	a.ok("status", "set", node{Tag: "status", Content: []byte("at sea")})
	for _, r := range []*raw{mine, friend} {
		n := r.find(func(n *node) bool { return n.Tag == "notification" && n.Attrs["type"] == "status" })
		require.Equal(t, []byte("at sea"), child(n, "set").Content)
	}
	stranger.idle()

	about := func(r *raw) (status, picture *node) {
		n := r.ok("usync", "get", node{Tag: "usync", Attrs: attrs{"sid": "S", "mode": "full", "context": "background"}, Content: []node{
			{Tag: "query", Content: []node{{Tag: "status"}, {Tag: "picture"}}},
			{Tag: "list", Content: []node{{Tag: "user", Attrs: attrs{"jid": a.c.lid}}}},
		}})
		user := child(n, "usync", "list", "user")
		return child(user, "status"), child(user, "picture")
	}
	fetch := func(r *raw) *node {
		r.ids++
		n := node{Tag: "iq", Attrs: attrs{"id": "P", "xmlns": "w:profile:picture", "type": "get", "target": a.c.pn()}, Content: []node{{Tag: "picture"}}}
		r.send(n)
		return r.find(func(n *node) bool { return n.Tag == "iq" && n.Attrs["id"] == "P" })
	}
	status, picture := about(stranger)
	require.Equal(t, []byte("at sea"), status.Content)
	require.Equal(t, set.Attrs["id"], picture.Attrs["id"])
	require.Equal(t, "result", fetch(stranger).Attrs["type"])

	// for contacts only: those to whom a token was issued
	a.ok("privacy", "set", node{Tag: "tokens", Content: []node{{Tag: "token", Attrs: attrs{"jid": friend.c.lid, "t": "5", "type": "trusted_contact"}}}})
	friend.find(func(n *node) bool { return n.Attrs["type"] == "privacy_token" })
	for _, name := range []string{"profile", "status", "last"} {
		a.ok("privacy", "set", category(name, "contacts"))
	}
	a.ok("privacy", "set", category("online", "match_last_seen"))
	require.Equal(t, "401", child(fetch(stranger), "error").Attrs["code"])
	require.Equal(t, "result", fetch(friend).Attrs["type"])
	status, _ = about(stranger)
	require.Equal(t, attrs{"code": "401", "type": "fail"}, status.Attrs)
	status, picture = about(friend)
	require.Equal(t, []byte("at sea"), status.Content)
	require.Equal(t, set.Attrs["id"], picture.Attrs["id"])
	a.send(node{Tag: "presence", Attrs: attrs{"type": "available"}})
	a.idleNotes()
	for r, want := range map[*raw]attrs{stranger: {"from": a.c.lid, "type": "unavailable", "last": "deny"}, friend: {"from": a.c.lid}} {
		r.send(node{Tag: "presence", Attrs: attrs{"type": "subscribe", "to": a.c.lid}})
		require.Equal(t, want, r.find(func(n *node) bool { return n.Tag == "presence" }).Attrs)
	}
	a.ok("privacy", "set", category("profile", "none"))
	require.Equal(t, "401", child(fetch(friend), "error").Attrs["code"])
	a.ok("w:profile:picture", "set")
	friend.idle()
}

// idleNotes waits until everything sent before was handled.
func (r *raw) idleNotes() { r.t.Helper(); r.ok("w:p", "get") }

func TestBlocking(t *testing.T) {
	t.Parallel()
	s, p := crew(t, relay.Config{}, 2)
	a, foe := p[0], p[1]
	mine := pairRaw(t, s, a, newCreds())
	a.stash, mine.stash = nil, nil
	item := func(action string) node { return node{Tag: "item", Attrs: attrs{"jid": foe.c.pn(), "action": action}} }
	list := child(a.ok("blocklist", "set", item("block")), "list")
	require.Equal(t, hash(foe.c.lid), list.Attrs["dhash"])
	n := mine.find(func(n *node) bool {
		return n.Tag == "notification" && n.Attrs["type"] == "account_sync" && has(n, "blocklist")
	})
	require.Equal(t, attrs{"action": "modify", "dhash": hash(foe.c.lid)}, child(n, "blocklist").Attrs)
	require.Equal(t, attrs{"jid": foe.c.lid, "pn_jid": foe.c.pn(), "action": "block"}, child(n, "blocklist", "item").Attrs)

	foe.send(text("M1", a.c.lid, a.c.lid, with(a.c.lid, 1)))
	ack := foe.ack("M1")
	require.Nil(t, ack.Attrs["error"], "the sender must not know")
	require.Nil(t, ack.Attrs["phash"])
	foe.send(node{Tag: "chatstate", Attrs: attrs{"to": a.c.lid}, Content: []node{{Tag: "composing"}}})
	a.send(node{Tag: "presence", Attrs: attrs{"type": "available"}})
	a.idleNotes()
	foe.send(node{Tag: "presence", Attrs: attrs{"type": "subscribe", "to": a.c.lid}})
	require.Equal(t, "unavailable", foe.expect("presence").Attrs["type"])
	a.idle()
	a.ok("blocklist", "set", item("unblock"))
	foe.send(text("M2", a.c.lid, a.c.lid, with(a.c.lid, 1)))
	require.Equal(t, "M2", a.expect("message").Attrs["id"])
}

func has(n *node, tag string) bool {
	_, ok := n.GetOptionalChildByTag(tag)
	return ok
}

func TestProfileOfRealClients(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	a, b := s.phone(t, "A"), s.phone(t, "B")
	ctx := t.Context()
	b.say(a.lid(), "hello")
	a.hear("hello")
	require.NoError(t, a.SetStatusMessage(ctx, types.SetStatusInput{Text: new("at sea")}))
	require.Equal(t, "at sea", await[*events.UserAbout](b, nil).Status)
	info, err := b.GetUserInfo(ctx, []types.JID{a.pn()})
	require.NoError(t, err)
	require.Equal(t, "at sea", info[a.pn()].Status)
	id, err := a.SetGroupPhoto(ctx, types.EmptyJID, []byte("\xff\xd8\xff"))
	require.NoError(t, err)
	require.Equal(t, id, await[*events.Picture](b, nil).PictureID)
	picture, err := b.GetProfilePictureInfo(ctx, a.pn(), nil)
	require.NoError(t, err)
	require.Equal(t, id, picture.ID)
	_, err = a.SetPrivacySetting(ctx, types.PrivacySettingTypeProfile, types.PrivacySettingNone)
	require.NoError(t, err)
	_, err = b.GetProfilePictureInfo(ctx, a.pn(), nil)
	require.ErrorIs(t, err, whatsmeow.ErrProfilePictureUnauthorized)
	business, err := b.GetBusinessProfile(ctx, a.pn())
	require.NoError(t, err)
	require.Equal(t, a.pn(), business.JID)
	s.settled(t)
}
