package relay_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/session/wasim/relay"
)

func received(list []*node) (ids []string) {
	for _, n := range list {
		ids = append(ids, n.Tag+" "+n.Attrs["id"].(string))
	}
	return ids
}

func (r *raw) delivered(m *node) {
	r.t.Helper()
	r.send(node{Tag: "receipt", Attrs: attrs{"id": m.Attrs["id"], "to": m.Attrs["from"]}})
	r.find(func(n *node) bool {
		return n.Tag == "ack" && n.Attrs["class"] == "receipt" && n.Attrs["id"] == m.Attrs["id"]
	})
}

func TestOfflineQueue(t *testing.T) {
	t.Parallel()

	t.Run("KeepsOrderAndRedeliversWhatWasNotAcknowledged", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		a, bc := s.online(t, s.primary(t, "")), s.primary(t, "")
		var want []string
		for i := range 20 {
			id := fmt.Sprintf("M%02d", i)
			a.send(text(id, bc.lid, bc.lid))
			a.ack(id)
			want = append(want, "message "+id)
		}
		a.send(node{Tag: "receipt", Attrs: attrs{"id": "R", "to": bc.lid}})
		want = append(want, "receipt R")
		a.idleAcks()
		require.Equal(t, 21, s.Stats().Queues[bc.phone+":0"])
		require.Equal(t, 20, s.Stats().Messages)

		b := s.login(t, bc)
		b.idle() // passive: nothing comes before it asks
		b.send(node{Tag: "iq", Attrs: attrs{"id": "active", "xmlns": "passive", "type": "set", "to": ""}, Content: []node{{Tag: "active"}}})
		require.Equal(t, "active", b.expect("iq").Attrs["id"])
		preview := child(b.expect("ib"), "offline_preview")
		require.Equal(t, attrs{"count": "21", "message": "20", "receipt": "1", "notification": "0", "appdata": "0"}, preview.Attrs)
		var got []*node
		for i := range 21 {
			n := b.next()
			require.Equal(t, strconv.Itoa(i+1), n.Attrs["offline"])
			got = append(got, n)
		}
		require.Equal(t, want, received(got))
		require.Equal(t, "21", child(b.expect("ib"), "offline").Attrs["count"])
		for i, m := range got[:20] {
			if i%2 == 0 {
				b.delivered(m)
			}
		}
		b.send(node{Tag: "ack", Attrs: attrs{"class": "receipt", "id": "R", "to": a.c.lid}})
		b.idle()
		require.Equal(t, 10, s.Stats().UnacknowledgedByPhone[bc.phone])
		b.hangUp()

		b = s.login(t, bc)
		var odd []string
		for i := 1; i < 20; i += 2 {
			odd = append(odd, want[i])
		}
		again := b.active()
		require.Equal(t, odd, received(again))
		for _, m := range again {
			b.delivered(m)
		}
		a.send(text("LIVE", bc.lid, bc.lid))
		live := b.expect("message")
		require.Nil(t, live.Attrs["offline"])
		b.delivered(live)
		b.idle()
		require.Zero(t, s.Stats().UnacknowledgedByPhone[bc.phone])
	})

	t.Run("AReplacedConnectionLosesNothing", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		a, b := s.online(t, s.primary(t, "")), s.online(t, s.primary(t, ""))
		a.send(text("M1", b.c.lid, b.c.lid))
		b.expect("message")
		b2 := s.login(t, b.c)
		a.send(text("M2", b.c.lid, b.c.lid))
		a.ack("M2")
		b.send(node{Tag: "receipt", Attrs: attrs{"id": "M1", "to": a.c.lid}}) // too late: the connection is not the device's any more
		require.Equal(t, []string{"message M1", "message M2"}, received(b2.active()))
	})

	t.Run("IsBoundedAndSaysWhatItLost", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{MaxQueuePerDevice: 3})
		w := s.witness(t)
		a, bc := s.online(t, s.primary(t, "")), s.primary(t, "")
		for i := range 5 {
			id := fmt.Sprintf("M%d", i)
			a.send(text(id, bc.lid, bc.lid))
			a.ack(id)
		}
		require.Equal(t, int64(2), s.Stats().Dropped)
		require.Equal(t, 1, w.count(relay.Dropped, "M4"))
		require.Equal(t, []string{"message M0", "message M1", "message M2"}, received(s.login(t, bc).active()))
	})

	t.Run("HoldsBackWhileTooManyAreUnacknowledged", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{MaxInFlight: 3})
		a, b := s.online(t, s.primary(t, "")), s.online(t, s.primary(t, ""))
		for i := range 5 {
			id := fmt.Sprintf("M%d", i)
			a.send(text(id, b.c.lid, b.c.lid))
			a.ack(id)
		}
		var got []*node
		for range 3 {
			got = append(got, b.expect("message"))
		}
		b.idle()
		for i, m := range got[:2] {
			b.delivered(m)
			require.Equal(t, fmt.Sprintf("M%d", i+3), b.expect("message").Attrs["id"])
		}
	})

	t.Run("ANewConnectionStartsAtTheOldestUnacknowledged", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{MaxInFlight: 3})
		a, b := s.online(t, s.primary(t, "")), s.online(t, s.primary(t, ""))
		for i := range 8 {
			id := fmt.Sprintf("M%d", i)
			a.send(text(id, b.c.lid, b.c.lid))
			a.ack(id)
		}
		var got []*node
		for range 3 {
			got = append(got, b.expect("message"))
		}
		b.delivered(got[1]) // out of order: makes room for one
		require.Equal(t, "M3", b.expect("message").Attrs["id"])
		b.idle()
		b.hangUp()

		b = s.login(t, b.c)
		b.ok("passive", "set", node{Tag: "active"})
		preview := child(b.expect("ib"), "offline_preview")
		require.Equal(t, "7", preview.Attrs["message"])
		var ids []any
		for range 3 { // as many as the window takes, the oldest first
			m := b.expect("message")
			ids = append(ids, m.Attrs["id"])
			got = append(got, m)
		}
		require.Equal(t, []any{"M0", "M2", "M3"}, ids)
		b.idle()
		for _, m := range got[3:] {
			b.delivered(m)
		}
		for _, want := range []string{"M4", "M5", "M6"} {
			m := b.expect("message")
			require.Equal(t, want, m.Attrs["id"])
			b.delivered(m)
		}
		require.Equal(t, "M7", b.expect("message").Attrs["id"])
		require.Equal(t, "7", child(b.expect("ib"), "offline").Attrs["count"], "the notice comes behind the last")
	})

	t.Run("WaitsForARealClient", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		a, b := s.phone(t, "A"), s.phone(t, "B")
		a.say(b.lid(), "first")
		b.hear("first")
		require.Eventually(t, func() bool { return s.Stats().Messages == 0 }, patience, 5*time.Millisecond)
		b.Disconnect()
		for i := range 5 {
			a.say(b.lid(), fmt.Sprintf("later %d", i))
		}
		b.connect()
		preview := await[*events.OfflineSyncPreview](b, nil)
		require.Equal(t, 5, preview.Messages)
		for i := range 5 {
			b.hear(fmt.Sprintf("later %d", i))
		}
		completed := await(b, func(e *events.OfflineSyncCompleted) bool { return e.Count > 0 })
		require.Equal(t, preview.Total, completed.Count, "with the notice of a privacy token, if that was late")
		require.Eventually(t, func() bool { return s.Stats().Messages == 0 }, patience, 5*time.Millisecond)
	})
}

func TestFaults(t *testing.T) {
	t.Parallel()

	// a sender, and a companion that the faults hit
	setup := func(t *testing.T, cfg relay.Config) (s *sim, a, b *raw) {
		t.Helper()
		s = start(t, cfg)
		a = s.online(t, s.primary(t, ""))
		p := s.online(t, s.primary(t, ""))
		b = pairRaw(t, s, p, newCreds())
		return s, a, b
	}
	send := func(a, b *raw, ids ...string) {
		for _, id := range ids {
			a.send(text(id, b.c.lid, with(b.c.lid, 1)))
			a.ack(id)
		}
	}

	t.Run("DropHitsCompanionsNowAndAsOftenAsCounted", func(t *testing.T) {
		t.Parallel()
		s, a, b := setup(t, relay.Config{})
		send(a, b, "M1")
		b.expect("message")
		require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultDrop, Phone: b.c.phone, Count: 2}))
		b.gone()
		require.Empty(t, b.in)
		b = s.login(t, b.c)
		b.send(node{Tag: "iq", Attrs: attrs{"id": "1", "xmlns": "passive", "type": "set"}, Content: []node{{Tag: "active"}}})
		b.gone()
		b = s.login(t, b.c)
		require.Equal(t, []string{"message M1"}, received(b.active()))
		require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultDrop}))
		b.gone()
		a.idleAcks() // a phone is spared
		require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultDrop, Primary: true}))
		a.gone()
		require.Zero(t, s.Stats().FaultsArmed)
	})

	t.Run("StallSwallowsUntilTheClientLeaves", func(t *testing.T) {
		t.Parallel()
		s, a, b := setup(t, relay.Config{})
		require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultStall, Phone: b.c.phone}))
		b.send(node{Tag: "iq", Attrs: attrs{"id": "1", "xmlns": "w:p", "type": "get"}})
		send(a, b, "M1")
		a.idleAcks() // which gives b's writer its turn
		b.hangUp()
		require.Empty(t, b.in)
		require.Equal(t, []string{"message M1"}, received(s.login(t, b.c).active()))
	})

	t.Run("Duplicate", func(t *testing.T) {
		t.Parallel()
		s, a, b := setup(t, relay.Config{})
		require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultDuplicate, Phone: b.c.phone}))
		send(a, b, "M1", "M2")
		for _, want := range []string{"M1", "M1", "M2"} {
			require.Equal(t, want, b.expect("message").Attrs["id"])
		}
		b.idle()
	})

	t.Run("Reorder", func(t *testing.T) {
		t.Parallel()
		s, a, b := setup(t, relay.Config{})
		require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultReorder, Phone: b.c.phone}))
		send(a, b, "M1", "M2", "M3")
		for _, want := range []string{"M2", "M1", "M3"} {
			require.Equal(t, want, b.expect("message").Attrs["id"])
		}
		require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultReorder, Phone: b.c.phone}))
		send(a, b, "ALONE") // is not kept for ever
		require.Equal(t, "ALONE", b.expect("message").Attrs["id"])
		s.ClearFaults()
	})

	t.Run("Slow", func(t *testing.T) {
		t.Parallel()
		s, a, b := setup(t, relay.Config{})
		require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultSlow, Phone: b.c.phone, Delay: 100 * time.Millisecond}))
		began := time.Now()
		send(a, b, "M1", "M2")
		b.expect("message")
		b.expect("message")
		require.GreaterOrEqual(t, time.Since(began), 200*time.Millisecond)
		s.ClearFaults()
		b.idle()
	})

	t.Run("Nack", func(t *testing.T) {
		t.Parallel()
		s, a, b := setup(t, relay.Config{})
		w := s.witness(t)
		g := newGroup(t, a)
		require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultNack, Phone: b.c.phone}))
		send(a, b, "M1") // a phone is spared
		b.expect("message")
		b.send(text("M2", a.c.lid, a.c.lid))
		require.Equal(t, "479", b.ack("M2").Attrs["error"])
		require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultNack, Code: 429, Count: 2, Phone: a.c.phone, Primary: true}))
		a.send(text("M3", b.c.lid, b.c.lid))
		require.Equal(t, "429", a.ack("M3").Attrs["error"])
		resend := node{Tag: "message", Attrs: attrs{"id": "M1", "type": "text", "to": with(b.c.lid, 1)}, Content: []node{enc("msg", "again")}}
		a.send(resend) // not refused
		require.Nil(t, a.ack("M1").Attrs["error"])
		b.expect("message")
		resend.Attrs = attrs{"id": "M0", "type": "text", "to": g, "participant": b.c.lid}
		a.send(resend)
		require.Nil(t, a.ack("M0").Attrs["error"])
		a.send(toAll("M4", g))
		require.Equal(t, "429", a.ack("M4").Attrs["error"])
		require.Zero(t, s.Stats().FaultsArmed)
		require.Zero(t, w.count(relay.Accepted, "M3"))
		a.idleAcks()
		send(a, b, "M3") // the same id again is no repetition: it was never accepted
		require.Equal(t, "M3", b.expect("message").Attrs["id"])
	})

	t.Run("FirstContact", func(t *testing.T) {
		t.Parallel()
		s, p := crew(t, relay.Config{}, 3)
		a, b, c := p[0], p[1], p[2]
		require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultFirstContact, Phone: a.c.phone, Primary: true}))
		m := func(id string, to *raw, token node) node {
			n := text(id, to.c.lid, to.c.lid)
			n.Content = append(n.Content.([]node)[:1], token)
			return n
		}
		try := func(n node) any { a.send(n); return a.ack(n.Attrs["id"].(string)).Attrs["error"] }
		require.Equal(t, "463", try(m("M1", b, node{Tag: "meta"})))
		require.Equal(t, "463", try(m("M2", b, node{Tag: "tctoken", Content: []byte("forged")})))
		require.Nil(t, try(m("M3", b, node{Tag: "cstoken", Content: []byte("hash")})))
		b.ok("privacy", "set", node{Tag: "tokens", Content: []node{{Tag: "token", Attrs: attrs{"jid": a.c.lid, "t": "5", "type": "trusted_contact"}}}})
		token := child(a.expect("notification"), "tokens", "token").Content
		require.Equal(t, "463", try(m("M4", b, node{Tag: "tctoken", Content: []byte("forged")})))
		require.Nil(t, try(m("M4", b, node{Tag: "tctoken", Content: token})))
		require.Equal(t, "463", try(m("M5", c, node{Tag: "tctoken", Content: token})), "it is b's")
		c.send(text("M6", a.c.lid, a.c.lid))
		a.expect("message")
		require.Nil(t, try(m("M5", c, node{Tag: "meta"})), "who wrote first is no stranger")
		b.send(text("M7", c.c.lid, c.c.lid))
		require.Nil(t, b.ack("M7").Attrs["error"], "others may")
		s.ClearFaults()
		require.Nil(t, try(m("M8", b, node{Tag: "meta"})))
	})

	t.Run("RefusesWhatMakesNoSense", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		require.ErrorIs(t, s.Fault(relay.Fault{Kind: "nonsense"}), relay.ErrInvalidFault)
		require.ErrorIs(t, s.Fault(relay.Fault{Kind: relay.FaultSlow, Delay: time.Hour}), relay.ErrInvalidFault)
		require.ErrorIs(t, s.Fault(relay.Fault{Kind: relay.FaultDrop, Phone: newPhone()}), relay.ErrUnknownAccount)
	})

	t.Run("ARealClientComesBackWithEverything", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		a, b := s.phone(t, "A"), s.phone(t, "B")
		require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultStreamError, Phone: b.Store.ID.User, Primary: true, Code: 503}))
		await[*events.Disconnected](b, nil)
		a.say(b.lid(), "while you were away")
		b.hear("while you were away")
	})
}
