package relay_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/session/gate"
	"github.com/wafleet/wafleet/session/wasim/memstore"
	"github.com/wafleet/wafleet/session/wasim/relay"
)

// toAll is a message to a group, with the sender's key for these devices.
func toAll(id string, g types.JID, devices ...types.JID) node {
	n := text(id, g, devices...)
	n.Attrs["addressing_mode"] = "lid"
	n.Content = append(n.Content.([]node), enc("skmsg", "to all"))
	return n
}

// sorted is the hash of a list of devices in any order.
func sorted(list ...types.JID) string {
	names := make([]string, len(list))
	for i, j := range list {
		names[i] = j.ADString()
	}
	slices.Sort(names)
	return hashOf(names)
}

func TestGroupMessageStanzas(t *testing.T) {
	t.Parallel()

	setup := func(t *testing.T) (s *sim, g types.JID, a, a1, b, c *raw) {
		t.Helper()
		s, p := crew(t, relay.Config{}, 3)
		a, b, c = p[0], p[1], p[2]
		g = newGroup(t, a, b, c)
		a1 = pairRaw(t, s, a, newCreds())
		a.stash = nil
		return s, g, a, a1, b, c
	}

	t.Run("ReachesAllDevicesWithTheKeyFirst", func(t *testing.T) {
		t.Parallel()
		s, g, a, a1, b, c := setup(t)
		w := s.witness(t)
		m := toAll("M1", g, b.c.lid, with(a.c.lid, 1)) // no key for c
		m.Attrs["phash"] = sorted(a.c.lid, with(a.c.lid, 1), b.c.lid, c.c.lid)
		m.Attrs["edit"] = "7"
		a.send(m)
		ack := a.ack("M1")
		delete(ack.Attrs, "t")
		require.Equal(t, attrs{"class": "message", "id": "M1", "from": g}, ack.Attrs)
		for _, r := range []*raw{a1, b, c} {
			got := r.find(func(n *node) bool { return n.Tag == "message" })
			require.NotEmpty(t, got.Attrs["t"])
			delete(got.Attrs, "t")
			require.Equal(t, attrs{
				"id": "M1", "type": "text", "from": g, "participant": a.c.lid, "participant_pn": a.c.pn(), "addressing_mode": "lid",
				"notify": "P0", "edit": "7",
			}, got.Attrs)
			want := []node{enc("skmsg", "to all"), {Tag: "meta", Attrs: attrs{"polltype": "vote"}}}
			if r != c {
				want = append([]node{enc("msg", with(r.c.lid, r.c.id).String())}, want...)
			}
			require.Equal(t, want, got.GetChildren())
			receipt := node{Tag: "receipt", Attrs: attrs{"id": "M1", "to": g, "participant": a.c.lid}}
			if r == a1 {
				receipt.Attrs["type"] = "sender"
			}
			r.send(receipt)
			back := a.find(func(n *node) bool { return n.Tag == "receipt" })
			delete(back.Attrs, "t")
			want2 := attrs{
				"id": "M1", "from": g, "participant": with(r.c.lid, r.c.id), "participant_pn": r.c.pn(), "addressing_mode": "lid",
			}
			if r == a1 {
				want2["type"] = "sender"
			}
			require.Equal(t, want2, back.Attrs)
			a.send(node{Tag: "ack", Attrs: attrs{
				"class": "receipt", "id": "M1", "to": g, "participant": back.Attrs["participant"], "type": back.Attrs["type"],
			}})
		}
		a.idle()
		require.Equal(t, 1, w.count(relay.Accepted, "M1"))
		for _, o := range w.list {
			if o.ID == "M1" {
				require.Equal(t, g.User, o.Group)
			}
		}
		for _, r := range []*raw{b, c} {
			require.Zero(t, s.Stats().UnacknowledgedByPhone[r.c.phone])
		}
	})

	t.Run("TheHashOfTheServersListComesBackIfTheSendersIsAnother", func(t *testing.T) {
		t.Parallel()
		_, g, a, _, b, c := setup(t)
		m := toAll("M1", g, b.c.lid)
		m.Attrs["phash"] = sorted(a.c.lid, b.c.lid)
		a.send(m)
		require.Equal(t, sorted(a.c.lid, with(a.c.lid, 1), b.c.lid, c.c.lid), a.ack("M1").Attrs["phash"])
		require.Equal(t, "M1", c.expect("message").Attrs["id"], "it is delivered nevertheless")
	})

	t.Run("RefusedFromWhoMayNot", func(t *testing.T) {
		t.Parallel()
		s, g, a, _, b, c := setup(t)
		stranger := s.online(t, s.primary(t, ""))
		code := func(r *raw, n node) any { r.send(n); return r.ack(n.Attrs["id"].(string)).Attrs["error"] }
		require.Equal(t, "403", code(stranger, toAll("M1", g, b.c.lid)))
		require.Equal(t, "404", code(a, toAll("M1", types.NewJID("120363", types.GroupServer), b.c.lid)))
		revoke := toAll("M2", g, b.c.lid)
		revoke.Attrs["edit"] = "8"
		require.Equal(t, "403", code(b, revoke), "only admins delete what others sent")
		require.Nil(t, code(a, revoke))
		require.Equal(t, "8", b.expect("message").Attrs["edit"])
		c.expect("message")
		a.gets(g, "set", node{Tag: "announcement"})
		told(g, a.c, node{Tag: "announcement"}, a, b, c)
		require.Equal(t, "403", code(b, toAll("M3", g, c.c.lid)))
		require.Nil(t, code(a, toAll("M3", g, c.c.lid)))
		b.expect("message")
		c.expect("message")
		a.gets(g, "set", users("remove", b.c.lid))
		told(g, a.c, node{Tag: "remove", Content: []node{person(b.c)}}, a, b, c)
		require.Equal(t, "403", code(b, toAll("M4", g, c.c.lid)))
		require.Nil(t, code(a, toAll("M5", g, b.c.lid, c.c.lid)), "with a key for who is gone")
		require.Equal(t, "M5", c.expect("message").Attrs["id"])
		quiet(stranger, b, c)
	})

	t.Run("RepeatedIDsAndRetries", func(t *testing.T) {
		t.Parallel()
		s, g, a, a1, b, c := setup(t)
		w := s.witness(t)
		a.send(toAll("M1", g, b.c.lid))
		first := a.ack("M1")
		a.send(toAll("M1", g, b.c.lid))
		require.Equal(t, first.Attrs["t"], a.ack("M1").Attrs["t"])
		require.Equal(t, 1, w.count(relay.Repeated, "M1"))
		for _, r := range []*raw{b, c} {
			r.expect("message")
			r.idle()
		}
		a1.find(func(n *node) bool { return n.Tag == "message" })
		retry := []node{{Tag: "retry", Attrs: attrs{"count": "1", "id": "M1", "t": "5", "v": "1"}}, {Tag: "registration", Content: []byte{0, 0, 0, 9}}}
		c.send(node{Tag: "receipt", Attrs: attrs{"id": "M1", "to": g, "participant": a.c.lid, "type": "retry"}, Content: retry})
		c.send(node{Tag: "ack", Attrs: attrs{"class": "message", "id": "M1", "to": g, "participant": a.c.lid, "error": "500"}})
		back := a.find(func(n *node) bool { return n.Tag == "receipt" })
		require.Equal(t, "retry", back.Attrs["type"])
		require.Equal(t, g, back.Attrs["from"])
		require.Equal(t, c.c.lid, back.Attrs["participant"])
		require.Equal(t, retry, back.GetChildren())
		again := enc("pkmsg", "again")
		again.Attrs["count"] = "1"
		content := []node{again, {Tag: "device-identity", Content: []byte("adv")}}
		a.send(node{Tag: "message", Attrs: attrs{"id": "M1", "type": "text", "to": g, "t": "5", "participant": c.c.lid}, Content: content})
		a.ack("M1")
		m := c.find(func(n *node) bool { return n.Tag == "message" })
		require.Equal(t, content, m.GetChildren())
		require.Equal(t, "5", m.Attrs["t"])
		require.Equal(t, a.c.lid, m.Attrs["participant"])
		require.Equal(t, g, m.Attrs["from"])
		require.Equal(t, 1, w.count(relay.RetryRequested, "M1"))
		a1.idle()
		b.idle()
		c.send(node{Tag: "receipt", Attrs: attrs{"id": "M1", "to": g, "participant": a.c.lid}})
		a.find(func(n *node) bool { return n.Tag == "receipt" && n.Attrs["type"] == nil })
		require.Zero(t, s.Stats().UnacknowledgedByPhone[c.c.phone])
	})

	t.Run("ACompanionIsAnsweredItself", func(t *testing.T) {
		t.Parallel()
		_, g, a, a1, b, _ := setup(t)
		m := toAll("M1", g, b.c.lid, a.c.lid)
		m.Content = append(m.Content.([]node), node{Tag: "device-identity", Content: []byte("adv")})
		a1.stash = nil
		a1.send(m)
		a1.ack("M1")
		got := b.expect("message")
		require.Equal(t, with(a.c.lid, 1), got.Attrs["participant"])
		require.Equal(t, with(a.c.pn(), 1), got.Attrs["participant_pn"])
		_, identity := got.GetOptionalChildByTag("device-identity")
		require.False(t, identity, "only for who gets a first message")
		require.Equal(t, with(a.c.lid, 1), a.find(func(n *node) bool { return n.Tag == "message" }).Attrs["participant"])
		for _, kind := range []string{"retry", "sender"} {
			b.send(node{Tag: "receipt", Attrs: attrs{"id": "M1", "to": g, "participant": with(a.c.lid, 1), "type": kind}})
			require.Equal(t, kind, a1.find(func(n *node) bool { return n.Tag == "receipt" }).Attrs["type"])
		}
		a.idle()
	})

	t.Run("ReadingIsToldToTheSenderAndToOwnDevices", func(t *testing.T) {
		t.Parallel()
		_, g, a, a1, b, _ := setup(t)
		a.send(node{Tag: "receipt", Attrs: attrs{"id": "X1", "to": g, "participant": b.c.lid, "type": "read", "t": "5"}, Content: []node{
			{Tag: "list", Content: []node{{Tag: "item", Attrs: attrs{"id": "X2"}}}},
		}})
		got := b.expect("receipt")
		require.Equal(t, attrs{
			"id": "X1", "type": "read", "t": "5", "from": g, "participant": a.c.lid, "participant_pn": a.c.pn(), "addressing_mode": "lid",
		}, got.Attrs)
		require.Equal(t, "X2", child(got, "list", "item").Attrs["id"])
		own := a1.find(func(n *node) bool { return n.Tag == "receipt" })
		require.Equal(t, b.c.lid, own.Attrs["recipient"])
		require.Equal(t, a.c.lid, own.Attrs["participant"])
	})

	t.Run("Typing", func(t *testing.T) {
		t.Parallel()
		s, g, a, _, b, c := setup(t)
		stranger := s.online(t, s.primary(t, ""))
		composing := []node{{Tag: "composing"}}
		stranger.send(node{Tag: "chatstate", Attrs: attrs{"to": g}, Content: composing})
		stranger.idle()
		b.send(node{Tag: "chatstate", Attrs: attrs{"to": g}, Content: composing})
		for _, r := range []*raw{a, c} {
			got := r.find(func(n *node) bool { return n.Tag == "chatstate" })
			require.Equal(t, attrs{"from": g, "participant": b.c.lid}, got.Attrs)
			require.Equal(t, "composing", got.GetChildren()[0].Tag)
		}
		quiet(b, c)
	})

	t.Run("WaitsForWhoIsOffline", func(t *testing.T) {
		t.Parallel()
		s, g, a, _, b, _ := setup(t)
		b.hangUp()
		a.send(toAll("M1", g, b.c.lid))
		a.ack("M1")
		a.gets(g, "set", node{Tag: "subject", Content: []byte("x")})
		a.send(toAll("M2", g, b.c.lid))
		a.ack("M2")
		b = s.login(t, b.c)
		var got []string
		for _, n := range b.active() {
			if n.Attrs["type"] != "devices" && n.Attrs["type"] != "account_sync" {
				got = append(got, n.Tag)
			}
		}
		require.Equal(t, []string{"message", "notification", "message"}, got)
	})
}

// TestAllMembersSeeTheSameOrder of messages and changes, whoever sends them at the same time.
func TestAllMembersSeeTheSameOrder(t *testing.T) {
	t.Parallel()
	s, p := crew(t, relay.Config{}, 6)
	g := newGroup(t, p[0], p[1:]...)
	const each = 40
	var wg sync.WaitGroup
	for i, r := range p[:4] {
		wg.Go(func() {
			for k := range each {
				r.send(toAll(fmt.Sprintf("%d-%d", i, k), g))
				if i == 0 && k%10 == 0 {
					r.send(node{Tag: "iq", Attrs: attrs{"id": fmt.Sprintf("6.%d-%d", k, k), "xmlns": "w:g2", "type": "set", "to": g}, Content: []node{
						{Tag: "subject", Content: []byte(strconv.Itoa(k))},
					}})
				}
			}
		})
	}
	wg.Wait()
	order := func(r *raw) (list []string) {
		last := make(map[string]int)
		for range 4*each + each/10 {
			n := r.expectOneOf("message", "notification")
			if n.Tag == "notification" {
				list = append(list, child(n, "subject").Attrs["subject"].(string))
				continue
			}
			id := n.Attrs["id"].(string)
			list = append(list, id)
			sender, number, _ := strings.Cut(id, "-")
			k, err := strconv.Atoi(number)
			require.NoError(t, err)
			require.Equal(t, last[sender], k, "a sender's own order")
			last[sender] = k + 1
		}
		return list
	}
	require.Equal(t, order(p[4]), order(p[5]))
	require.Equal(t, "30", s.Groups()[0].Subject)
}

// expectOneOf is the next stanza, which must have one of these tags.
func (r *raw) expectOneOf(tags ...string) *node {
	r.t.Helper()
	n := r.next()
	require.Contains(r.t, tags, n.Tag)
	return n
}

func TestMalformedGroupMessages(t *testing.T) {
	t.Parallel()
	s := startLenient(t, relay.Config{})
	a, b := s.online(t, s.primary(t, "")), s.online(t, s.primary(t, ""))
	g := newGroup(t, a, b)
	noType := toAll("M0", g, b.c.lid)
	delete(noType.Attrs, "type")
	both := toAll("M2", g, b.c.lid)
	both.Attrs["participant"] = b.c.lid
	stray := toAll("M3", g)
	stray.Content = append(stray.Content.([]node), enc("msg", ""))
	broken := toAll("M4", g)
	broken.Content = []node{{Tag: "participants", Content: []node{{Tag: "to"}}}, enc("skmsg", "")}
	for i, n := range []node{noType, text("M1", g, b.c.lid), both, stray, broken} {
		a.send(n)
		require.Equal(t, "479", a.ack(n.Attrs["id"].(string)).Attrs["error"])
		require.Len(t, s.Stats().Violations, i+1)
	}
	a.send(node{Tag: "receipt", Attrs: attrs{"id": "R", "to": g}})
	a.idleAcks()
	require.Equal(t, "receipt", s.Stats().Violations[5].Rule)
	b.idle()
}

// sayTo sends with the device's gate held, as every sender must.
func (c *client) sayTo(to types.JID, msg *waE2E.Message) whatsmeow.SendResponse {
	c.t.Helper()
	var resp whatsmeow.SendResponse
	require.NoError(c.t, c.gate.Send(c.t.Context(), func(ctx context.Context) (err error) {
		resp, err = c.SendMessage(ctx, to, msg)
		return err //nolint:wrapcheck // a test
	}))
	return resp
}

func plain(text string) *waE2E.Message { return &waE2E.Message{Conversation: &text} }

// gated is a connected phone whose sessions are kept by a gate.
func (s *sim) gated(t *testing.T, name string) *client {
	t.Helper()
	dev := s.phoneDevice(t, name)
	g := gate.Wrap(dev)
	c := s.client(t, dev)
	c.gate = g
	c.connect()
	await[*events.Connected](c, nil)
	return c
}

func TestGroupOfRealClients(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	w := s.witness(t)
	a, b, c := s.gated(t, "A"), s.gated(t, "B"), s.gated(t, "C")
	ctx := t.Context()

	made, err := a.CreateGroup(ctx, whatsmeow.ReqCreateGroup{Name: "Trip", Participants: []types.JID{b.lid()}})
	require.NoError(t, err)
	g := made.JID
	for _, who := range []*client{a, b} {
		joined := await[*events.JoinedGroup](who, nil)
		require.Equal(t, g, joined.JID)
		require.Equal(t, types.AddressingModeLID, joined.AddressingMode)
		require.Len(t, joined.Participants, 2)
		require.Equal(t, b.pn(), joined.Participants[1].PhoneNumber)
	}
	// every sender's key reaches everyone, in both directions
	for _, pair := range [][2]*client{{a, b}, {b, a}, {a, b}} {
		text := "from " + pair[0].Store.PushName
		sent := pair[0].sayTo(g, plain(text))
		got := pair[1].hear(text)
		require.Equal(t, g, got.Info.Chat)
		require.Equal(t, pair[0].lid(), got.Info.Sender)
		require.Equal(t, pair[0].pn(), got.Info.SenderAlt)
		require.True(t, got.Info.IsGroup)
		r := pair[0].receipt(sent.ID, types.ReceiptTypeDelivered)
		require.Equal(t, pair[1].lid(), r.Sender)
		require.Equal(t, g, r.Chat)
		require.Zero(t, w.count(relay.RetryRequested, sent.ID))
	}
	require.NoError(t, b.MarkRead(ctx, []string{"X"}, made.GroupCreated, g, a.lid()))
	require.Equal(t, b.lid(), a.receipt("X", types.ReceiptTypeRead).Sender)
	require.NoError(t, b.SendChatPresence(ctx, g, types.ChatPresenceComposing, ""))
	require.Equal(t, b.lid(), await[*events.ChatPresence](a, nil).Sender)

	// a new member gets what comes after it, and is heard
	added, err := a.UpdateGroupParticipants(ctx, g, []types.JID{c.pn()}, whatsmeow.ParticipantChangeAdd)
	require.NoError(t, err)
	require.Zero(t, added[0].Error)
	await[*events.JoinedGroup](c, nil)
	for _, who := range []*client{a, b} {
		require.Equal(t, []types.JID{c.lid()}, await(who, func(e *events.GroupInfo) bool { return len(e.Join) > 0 }).Join)
	}
	sent := a.sayTo(g, plain("welcome"))
	b.hear("welcome")
	c.hear("welcome")
	c.sayTo(g, plain("thanks"))
	a.hear("thanks")
	b.hear("thanks")

	// deleted by its sender and by an admin
	revoke := func(e *events.Message) bool { return e.Message.GetProtocolMessage().GetKey().GetID() == sent.ID }
	a.sayTo(g, a.BuildRevoke(g, types.EmptyJID, sent.ID))
	require.Equal(t, types.EditAttributeSenderRevoke, await(b, revoke).Info.Edit)
	sent = b.sayTo(g, plain("spam"))
	c.hear("spam")
	_, err = c.SendMessage(ctx, g, c.BuildRevoke(g, b.lid(), sent.ID))
	require.ErrorIs(t, err, whatsmeow.ErrServerReturnedError)
	a.sayTo(g, a.BuildRevoke(g, b.lid(), sent.ID))
	require.Equal(t, types.EditAttributeAdminRevoke, await(c, revoke).Info.Edit)

	// who is offline finds it later; who cannot decrypt asks for it again
	c.Disconnect()
	a.sayTo(g, plain("later"))
	c.connect()
	c.hear("later")
	b.Disconnect()
	b = s.reborn(t, b)
	sent = a.sayTo(g, plain("again please"))
	b.hear("again please")
	require.NotZero(t, w.count(relay.RetryRequested, sent.ID))

	require.NoError(t, a.SetGroupAnnounce(ctx, g, true))
	require.True(t, await(c, func(e *events.GroupInfo) bool { return e.Announce != nil }).Announce.IsAnnounce)
	_, err = c.SendMessage(ctx, g, plain("may I?"))
	require.ErrorIs(t, err, whatsmeow.ErrServerReturnedError)
	require.NoError(t, c.LeaveGroup(ctx, g))
	require.Equal(t, []types.JID{c.lid()}, await(a, func(e *events.GroupInfo) bool { return len(e.Leave) > 0 }).Leave)
	_, err = c.GetGroupInfo(ctx, g)
	require.ErrorIs(t, err, whatsmeow.ErrNotInGroup)
	s.settled(t)
}

// settled waits until everything was acknowledged.
func (s *sim) settled(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return s.Stats().Unacknowledged == 0 }, patience, 5*time.Millisecond, "%v", s.Stats().Queues)
	require.Empty(t, s.Stats().UnknownIQs)
	require.Zero(t, s.Stats().StrayAcks)
}

// reborn is the same phone again, which has lost all sessions and senders' keys.
func (s *sim) reborn(t *testing.T, old *client) *client {
	t.Helper()
	dev := memstore.NewPrimary(old.Store.ID.User, old.Store.PushName, memstore.Limits{})
	dev.NoiseKey, dev.IdentityKey, dev.SignedPreKey = old.Store.NoiseKey, old.Store.IdentityKey, old.Store.SignedPreKey
	dev.RegistrationID = old.Store.RegistrationID
	require.NoError(t, memstore.SetLID(t.Context(), dev, old.lid()))
	g := gate.Wrap(dev)
	fresh := s.client(t, dev)
	fresh.gate = g
	fresh.connect()
	await[*events.Connected](fresh, nil)
	return fresh
}

func TestGroupSettingsOfRealClients(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	a, b, c := s.phone(t, "A"), s.phone(t, "B"), s.phone(t, "C")
	ctx := t.Context()
	made, err := a.CreateGroup(ctx, whatsmeow.ReqCreateGroup{Name: "Trip", Participants: []types.JID{b.lid()}})
	require.NoError(t, err)
	g := made.JID
	next := func(fits func(*events.GroupInfo) bool) *events.GroupInfo { return await(b, fits) }

	require.NoError(t, a.SetGroupName(ctx, g, "Journey"))
	require.Equal(t, "Journey", next(func(e *events.GroupInfo) bool { return e.Name != nil }).Name.Name)
	require.NoError(t, a.SetGroupTopic(ctx, g, "", "", "all about it"))
	require.Equal(t, "all about it", next(func(e *events.GroupInfo) bool { return e.Topic != nil }).Topic.Topic)
	require.NoError(t, b.SetGroupTopic(ctx, g, "", "", ""))
	require.True(t, next(func(e *events.GroupInfo) bool { return e.Topic != nil }).Topic.TopicDeleted)
	require.NoError(t, a.SetGroupLocked(ctx, g, true))
	require.True(t, next(func(e *events.GroupInfo) bool { return e.Locked != nil }).Locked.IsLocked)
	require.ErrorIs(t, b.SetGroupName(ctx, g, "mine"), whatsmeow.ErrIQNotAuthorized)
	require.NoError(t, a.SetDisappearingTimer(ctx, g, whatsmeow.DisappearingTimer7Days, made.GroupCreated))
	require.EqualValues(t, 604800, next(func(e *events.GroupInfo) bool { return e.Ephemeral != nil }).Ephemeral.DisappearingTimer)
	require.ErrorIs(t, a.SetDisappearingTimer(ctx, g, 5e9, made.GroupCreated), whatsmeow.ErrInvalidDisappearingTimer)
	require.NoError(t, a.SetGroupMemberAddMode(ctx, g, types.GroupMemberAddModeAdmin))
	photo, err := a.SetGroupPhoto(ctx, g, []byte("\xff\xd8\xff"))
	require.NoError(t, err)
	require.Equal(t, photo, await[*events.Picture](b, nil).PictureID)
	_, err = a.SetGroupPhoto(ctx, g, []byte("PNG"))
	require.ErrorIs(t, err, whatsmeow.ErrInvalidImageFormat)

	link, err := a.GetGroupInviteLink(ctx, g, false)
	require.NoError(t, err)
	_, err = b.GetGroupInviteLink(ctx, g, false)
	require.ErrorIs(t, err, whatsmeow.ErrGroupInviteLinkUnauthorized)
	_, err = c.GetGroupInviteLink(ctx, g, false)
	require.ErrorIs(t, err, whatsmeow.ErrNotInGroup)
	seen, err := c.GetGroupInfoFromLink(ctx, link)
	require.NoError(t, err)
	require.Equal(t, "Journey", seen.Name)
	fresh, err := a.GetGroupInviteLink(ctx, g, true)
	require.NoError(t, err)
	require.Equal(t, fresh, *next(func(e *events.GroupInfo) bool { return e.NewInviteLink != nil }).NewInviteLink)
	_, err = c.JoinGroupWithLink(ctx, link)
	require.ErrorIs(t, err, whatsmeow.ErrInviteLinkRevoked)
	_, err = c.JoinGroupWithLink(ctx, whatsmeow.InviteLinkPrefix+"nonsense")
	require.ErrorIs(t, err, whatsmeow.ErrInviteLinkInvalid)

	require.NoError(t, a.SetGroupJoinApprovalMode(ctx, g, true))
	joined, err := c.JoinGroupWithLink(ctx, fresh)
	require.NoError(t, err)
	require.Equal(t, g, joined)
	asked, err := a.GetGroupRequestParticipants(ctx, g)
	require.NoError(t, err)
	require.Equal(t, c.lid(), asked[0].JID)
	decided, err := a.UpdateGroupRequestParticipants(ctx, g, []types.JID{c.lid()}, whatsmeow.ParticipantChangeApprove)
	require.NoError(t, err)
	require.Zero(t, decided[0].Error)
	require.Equal(t, "invite", await[*events.JoinedGroup](c, nil).Reason)
	groups, err := c.GetJoinedGroups(ctx)
	require.NoError(t, err)
	require.Len(t, groups, 1)
	require.True(t, groups[0].IsJoinApprovalRequired && groups[0].IsLocked)
	require.Equal(t, types.GroupMemberAddModeAdmin, groups[0].MemberAddMode)

	require.NoError(t, a.SetGroupJoinApprovalMode(ctx, g, false))
	for range 2 { // on and off: whatsmeow does not read the state
		require.True(t, next(func(e *events.GroupInfo) bool { return e.MembershipApprovalMode != nil }).MembershipApprovalMode.IsJoinApprovalRequired)
	}
	info, err := b.GetGroupInfo(ctx, g)
	require.NoError(t, err)
	require.False(t, info.IsJoinApprovalRequired)

	// who does not want to be added is invited
	d := s.phone(t, "D")
	_, err = d.SetPrivacySetting(ctx, types.PrivacySettingTypeGroupAdd, types.PrivacySettingContacts)
	require.NoError(t, err)
	result, err := a.UpdateGroupParticipants(ctx, g, []types.JID{d.lid(), types.NewJID("4930000", types.DefaultUserServer)}, whatsmeow.ParticipantChangeAdd)
	require.NoError(t, err)
	require.Equal(t, 403, result[0].Error)
	require.Equal(t, 404, result[1].Error)
	offer := result[0].AddRequest
	preview, err := d.GetGroupInfoFromInvite(ctx, g, a.lid(), offer.Code, offer.Expiration.Unix())
	require.NoError(t, err)
	require.Equal(t, "Journey", preview.Name)
	require.NoError(t, d.JoinGroupWithInvite(ctx, g, a.lid(), offer.Code, offer.Expiration.Unix()))
	await[*events.JoinedGroup](d, nil)
	require.NoError(t, d.LeaveGroup(ctx, g))
	require.ErrorIs(t, d.JoinGroupWithInvite(ctx, g, a.lid(), offer.Code, offer.Expiration.Unix()), whatsmeow.ErrIQGone, "used up")
	s.settled(t)
}
