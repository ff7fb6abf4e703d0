package relay_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/session/wasim/relay"
)

// witness collects observations.
type witness struct {
	mu   sync.Mutex
	list []relay.Observation
}

func (s *sim) witness(t *testing.T) *witness {
	t.Helper()
	w := &witness{}
	t.Cleanup(s.Observe(func(o relay.Observation) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.list = append(w.list, o)
	}))
	return w
}

func (w *witness) count(kind relay.Kind, id string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.list {
		if o.Kind == kind && o.ID == id {
			n++
		}
	}
	return n
}

func TestConversation(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	w := s.witness(t)
	p := s.online(t, s.primary(t, "Me"))
	me := pair(t, s, p)
	contact := s.phone(t, "Contact")
	p.stash = nil

	for i, to := range []types.JID{me.pn(), me.lid()} { // the library turns the number into the LID
		text := fmt.Sprintf("hello %d", i)
		sent := contact.say(to, text)
		got := me.hear(text)
		require.Equal(t, sent.ID, got.Info.ID)
		require.Equal(t, contact.lid(), got.Info.Sender)
		require.Equal(t, contact.pn(), got.Info.SenderAlt)
		require.Equal(t, contact.lid(), got.Info.Chat)
		require.False(t, got.Info.IsFromMe)
		r := contact.receipt(sent.ID, types.ReceiptTypeDelivered)
		require.Equal(t, me.Store.LID, r.Sender)
		require.Equal(t, 1, w.count(relay.Accepted, sent.ID))
		atPhone := p.find(func(n *node) bool { return n.Tag == "message" && n.Attrs["id"] == sent.ID })
		p.send(node{Tag: "receipt", Attrs: attrs{"id": sent.ID, "to": atPhone.Attrs["from"]}})
		require.Equal(t, contact.lid(), atPhone.Attrs["from"])
	}

	reply := me.say(contact.lid(), "back to you")
	require.Equal(t, reply.ID, contact.hear("back to you").Info.ID)
	me.receipt(reply.ID, types.ReceiptTypeDelivered)
	copied := p.find(func(n *node) bool { return n.Tag == "message" && n.Attrs["id"] == reply.ID })
	require.Equal(t, me.Store.LID, copied.Attrs["from"])
	require.Equal(t, contact.lid(), copied.Attrs["recipient"])
	require.Equal(t, contact.pn(), copied.Attrs["peer_recipient_pn"])
	p.send(node{Tag: "receipt", Attrs: attrs{"id": reply.ID, "to": copied.Attrs["from"], "recipient": copied.Attrs["recipient"], "type": "sender"}})
	require.True(t, me.receipt(reply.ID, types.ReceiptTypeSender).IsFromMe)

	require.NoError(t, contact.MarkRead(t.Context(), []string{reply.ID}, reply.Timestamp, me.lid(), me.lid()))
	me.receipt(reply.ID, types.ReceiptTypeRead)
	require.NoError(t, me.MarkRead(t.Context(), []string{"X1", "X2"}, reply.Timestamp, contact.lid(), contact.lid()))
	read := p.find(func(n *node) bool {
		return n.Tag == "receipt" && n.Attrs["type"] == "read" && n.Attrs["recipient"] != nil
	})
	require.Equal(t, me.Store.LID, read.Attrs["from"])
	require.Equal(t, contact.lid(), read.Attrs["recipient"])
	require.Equal(t, "X2", child(read, "list", "item").Attrs["id"])
	require.Equal(t, []string{"X1", "X2"}, await(contact, func(r *events.Receipt) bool { return r.Type == types.ReceiptTypeRead }).MessageIDs)
}

// text is a message stanza with one payload per device.
func text(id string, to types.JID, devices ...types.JID) node {
	var parts []node
	for _, d := range devices {
		parts = append(parts, node{Tag: "to", Attrs: attrs{"jid": d}, Content: []node{enc("msg", d.String())}})
	}
	return node{Tag: "message", Attrs: attrs{"id": id, "type": "text", "to": to}, Content: []node{
		{Tag: "participants", Content: parts},
		{Tag: "meta", Attrs: attrs{"polltype": "vote"}},
		{Tag: "tctoken", Content: []byte("secret")},
	}}
}

func enc(kind, content string) node {
	return node{Tag: "enc", Attrs: attrs{"v": "2", "type": kind}, Content: []byte(content)}
}

func with(j types.JID, device uint16) types.JID { j.Device = device; return j }

func (r *raw) ack(id string) *node {
	r.t.Helper()
	return r.find(func(n *node) bool { return n.Tag == "ack" && n.Attrs["class"] == "message" && n.Attrs["id"] == id })
}

func TestMessageStanzas(t *testing.T) {
	t.Parallel()

	setup := func(t *testing.T) (s *sim, a, b *raw) {
		t.Helper()
		s = start(t, relay.Config{})
		a, b = s.online(t, s.primary(t, "Ann")), s.online(t, s.primary(t, ""))
		return s, a, b
	}

	t.Run("ByLID", func(t *testing.T) {
		t.Parallel()
		_, a, b := setup(t)
		a.send(text("M1", b.c.lid, b.c.lid))
		ack := a.ack("M1")
		require.NotEmpty(t, ack.Attrs["t"])
		delete(ack.Attrs, "t")
		require.Equal(t, attrs{"class": "message", "id": "M1", "from": b.c.lid}, ack.Attrs)
		m := b.expect("message")
		require.NotEmpty(t, m.Attrs["t"])
		delete(m.Attrs, "t")
		require.Equal(t, attrs{"id": "M1", "type": "text", "from": a.c.lid, "sender_pn": a.c.pn(), "notify": "Ann"}, m.Attrs)
		require.Equal(t, []node{enc("msg", b.c.lid.String()), {Tag: "meta", Attrs: attrs{"polltype": "vote"}}}, m.GetChildren())
		a.idle() // one ack only
	})

	t.Run("ByPhoneNumber", func(t *testing.T) {
		t.Parallel()
		_, a, b := setup(t)
		a.send(text("M1", b.c.pn(), b.c.pn()))
		require.Nil(t, a.ack("M1").Attrs["phash"])
		m := b.expect("message")
		require.Equal(t, a.c.pn(), m.Attrs["from"])
		require.Equal(t, a.c.lid, m.Attrs["sender_lid"])
		require.Nil(t, m.Attrs["sender_pn"])
	})

	t.Run("RepeatedIDIsAcknowledgedAlikeAndDeliveredOnce", func(t *testing.T) {
		t.Parallel()
		s, a, b := setup(t)
		w := s.witness(t)
		a.send(text("M1", b.c.lid, b.c.lid))
		first := a.ack("M1")
		a.hangUp()
		a = s.online(t, a.c) // as after a lost ack
		a.send(text("M1", b.c.pn(), b.c.pn()))
		require.Equal(t, first.Attrs["t"], a.ack("M1").Attrs["t"])
		b.expect("message")
		b.idle()
		require.Equal(t, 1, w.count(relay.Accepted, "M1"))
		require.Equal(t, 1, w.count(relay.Repeated, "M1"))
		b.send(text("M1", a.c.lid, a.c.lid)) // another sender's id is another message
		b.ack("M1")
		a.expect("message")
	})

	t.Run("AcknowledgedOnlyWithWhatTheServerKnowsOfDevices", func(t *testing.T) {
		t.Parallel()
		s, a, b := setup(t)
		c := newCreds()
		pairRaw(t, s, b, c)
		a.send(text("M1", b.c.lid, b.c.lid)) // misses the companion
		list := []string{a.c.lid.ADString(), b.c.lid.ADString(), with(c.lid, 1).ADString()}
		slices.Sort(list)
		require.Equal(t, hashOf(list), a.ack("M1").Attrs["phash"])
		a.send(text("M2", b.c.lid, b.c.lid, with(b.c.lid, 1), with(b.c.lid, 9))) // names one that is gone
		require.Equal(t, hashOf(list), a.ack("M2").Attrs["phash"])
		a.send(text("M3", b.c.lid, b.c.lid, with(b.c.lid, 1), a.c.lid)) // itself is no mistake
		require.Nil(t, a.ack("M3").Attrs["phash"])
		// a note to oneself, for which whatsmeow encrypts twice
		a1 := pairRaw(t, s, a, newCreds())
		a.stash = nil
		a.send(text("M4", a.c.lid, with(a.c.lid, 1), with(a.c.lid, 1)))
		require.Nil(t, a.ack("M4").Attrs["phash"])
		require.Equal(t, "M4", a1.expect("message").Attrs["id"])
		a1.send(node{Tag: "receipt", Attrs: attrs{"id": "M4", "to": a.c.lid, "recipient": a.c.lid, "type": "sender"}})
		require.Equal(t, "M4", a.expect("receipt").Attrs["id"])
		a1.find(func(n *node) bool { return n.Tag == "ack" })
		a1.idle()
		for _, id := range []string{"M1", "M2", "M3"} {
			require.Equal(t, id, b.find(func(n *node) bool { return n.Tag == "message" }).Attrs["id"])
		}
		a.idle()
	})

	t.Run("RetryGoesToOneDeviceAndItsResendBack", func(t *testing.T) {
		t.Parallel()
		s, a, b := setup(t)
		w := s.witness(t)
		bystander := pairRaw(t, s, a, newCreds())
		a.send(text("M1", b.c.lid, b.c.lid))
		a.ack("M1")
		b.expect("message")
		retry := []node{
			{Tag: "retry", Attrs: attrs{"count": "1", "id": "M1", "t": "5", "v": "1"}},
			{Tag: "registration", Content: []byte{0, 0, 0, 9}},
			{Tag: "keys", Content: []node{{Tag: "type", Content: []byte{5}}}},
		}
		b.send(node{Tag: "receipt", Attrs: attrs{"id": "M1", "to": a.c.lid, "type": "retry"}, Content: retry})
		require.Equal(t, "receipt", b.expect("ack").Attrs["class"])
		b.send(node{Tag: "ack", Attrs: attrs{"class": "message", "id": "M1", "to": a.c.lid, "error": "500"}})
		got := a.expect("receipt")
		require.Equal(t, "retry", got.Attrs["type"])
		require.Equal(t, b.c.lid, got.Attrs["from"])
		require.Equal(t, retry, got.GetChildren())
		a.send(node{Tag: "ack", Attrs: attrs{"class": "receipt", "id": "M1", "to": b.c.lid, "type": "retry"}})
		resend := enc("pkmsg", "again")
		resend.Attrs["count"] = "1"
		a.send(node{
			Tag: "message", Attrs: attrs{"id": "M1", "type": "text", "to": b.c.lid, "t": "5", "device_fanout": "false"},
			Content: []node{resend, {Tag: "device-identity", Content: []byte("adv")}},
		})
		a.ack("M1")
		m := b.expect("message")
		require.Equal(t, "M1", m.Attrs["id"])
		require.Equal(t, []node{resend, {Tag: "device-identity", Content: []byte("adv")}}, m.GetChildren())
		b.ok("w:p", "get") // its retry receipt is routed by now
		bystander.idle()
		require.Equal(t, 1, w.count(relay.RetryRequested, "M1"))
		require.Equal(t, 1, w.count(relay.Refused, "M1"))
		b.send(node{Tag: "receipt", Attrs: attrs{"id": "M1", "to": a.c.lid}})
		a.expect("receipt")
		b.idleAcks()
		require.Zero(t, s.Stats().UnacknowledgedByPhone[b.c.phone])
	})

	t.Run("PeerMessagesStayInTheAccount", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		p := s.online(t, s.primary(t, "Me"))
		c := newCreds()
		comp := pairRaw(t, s, p, c)
		peer := func(to types.JID) node {
			return node{
				Tag: "message", Attrs: attrs{"id": "P1", "type": "text", "category": "peer", "to": to},
				Content: []node{{Tag: "meta", Attrs: attrs{"appdata": "default"}}, enc("msg", "key share")},
			}
		}
		p.send(peer(c.pn()))
		p.ack("P1")
		m := comp.expect("message")
		delete(m.Attrs, "t")
		require.Equal(t, attrs{"id": "P1", "type": "text", "category": "peer", "from": p.c.pn(), "notify": "Me"}, m.Attrs)
		comp.send(node{Tag: "receipt", Attrs: attrs{"id": "P1", "to": p.c.pn(), "type": "peer_msg"}})
		r := p.expect("receipt")
		require.Equal(t, "peer_msg", r.Attrs["type"])
		require.Equal(t, c.pn(), r.Attrs["from"])
		require.Empty(t, s.Stats().Queues[c.phone+":1"])
		comp.send(peer(p.c.pn()))
		require.Equal(t, c.pn(), p.expect("message").Attrs["from"])
		p.send(node{Tag: "receipt", Attrs: attrs{"id": "P1", "to": p.c.pn(), "type": "peer_msg"}}) // without the device, as the library does
		p.ok("w:p", "get")
		require.Zero(t, s.Stats().Messages)
	})
}

// idleAcks is idle, but for acks.
func (r *raw) idleAcks() {
	r.t.Helper()
	r.ok("w:p", "get")
	r.stash = slices.DeleteFunc(r.stash, func(n *node) bool { return n.Tag == "ack" })
	r.idle()
}

func TestMalformedStanzas(t *testing.T) {
	t.Parallel()
	s := startLenient(t, relay.Config{})
	a, b := s.online(t, s.primary(t, "")), s.online(t, s.primary(t, ""))
	for i, tc := range []struct {
		rule, code string
		n          node
	}{
		{"message", "479", node{Tag: "message", Attrs: attrs{"id": "M0", "type": "text", "to": b.c.lid}}},
		{"message", "479", node{Tag: "message", Attrs: attrs{"id": "M1", "to": b.c.lid}, Content: []node{{Tag: "participants"}}}},
		{"message", "479", node{Tag: "message", Attrs: attrs{"id": "M2", "type": "text", "to": b.c.lid, "category": "peer"}, Content: []node{enc("msg", "")}}},
		{"", "404", text("M3", types.NewJID("49123456", types.DefaultUserServer))},
		{"", "404", text("M4", types.NewJID("1203630000", types.GroupServer))},
		{"receipt", "", node{Tag: "receipt", Attrs: attrs{"id": "M5"}}},
		{"ack", "", node{Tag: "ack", Attrs: attrs{"id": "M6"}}},
		{"unknown-tag", "", node{Tag: "nonsense"}},
		{"presence", "", node{Tag: "presence", Attrs: attrs{"type": "nonsense"}}},
		{"chatstate", "", node{Tag: "chatstate", Attrs: attrs{"to": b.c.lid}}},
		{"iq-type", "", node{Tag: "iq", Attrs: attrs{"id": "1"}}},
	} {
		before := len(s.Stats().Violations)
		a.send(tc.n)
		if tc.code != "" {
			require.Equal(t, tc.code, a.ack(fmt.Sprintf("M%d", i)).Attrs["error"])
		}
		a.idle()
		after := s.Stats().Violations[before:]
		if tc.rule == "" {
			require.Empty(t, after)
		} else {
			require.Len(t, after, 1, tc.rule)
			require.Equal(t, tc.rule, after[0].Rule)
			require.Equal(t, a.c.phone, after[0].Phone)
		}
	}
	b.idle()
	for _, garbage := range [][]byte{{}, {0}, {0, 0xf8}, {2, 1, 2, 3}, {0, 0xf8, 1, 0xf8, 0}, []byte("hello")} {
		r := s.online(t, s.primary(t, ""))
		require.NoError(t, r.ns.SendFrame(t.Context(), garbage))
		r.gone()
	}
}
