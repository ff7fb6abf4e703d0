package session_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// alarmed is a node's devices, where a session of certain addresses panics when it is read.
type alarmed struct {
	session.Devices

	armed  *atomic.Bool
	sprung *atomic.Int64
}

func (a *alarmed) Load(ctx context.Context, id tenant.ID, jid types.JID) (*store.Device, error) {
	dev, err := a.Devices.Load(ctx, id, jid)
	if err == nil {
		dev.Sessions = &alarmedSessions{dev.Sessions, a}
	}
	return dev, err
}

type alarmedSessions struct {
	store.SessionStore

	alarm *alarmed
}

func (s *alarmedSessions) GetSession(ctx context.Context, address string) ([]byte, error) {
	if s.alarm.armed.Load() {
		s.alarm.sprung.Add(1)
		panic("a session that cannot be read")
	}
	return s.SessionStore.GetSession(ctx, address)
}

func TestPanickingDecryptionsLeakNoConnections(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		var armed atomic.Bool
		var sprung atomic.Int64
		s := besieged(newWorld(t, engine, func(w *world) {
			w.wrapDevices = func(d session.Devices) session.Devices { return &alarmed{d, &armed, &sprung} }
		}))
		// Real ciphertexts, since others are refused before the transaction begins.
		s.exchange(s.victim, s.enemy)
		const more = 60 // than the database has connections
		armed.Store(true)
		for i := range more {
			_, err := s.enemy.SendText(within(t), s.victim.phone.Number(), fmt.Sprint("panics ", i), phone.SendOptions{})
			require.NoError(t, err)
		}
		eventually(t, func() bool { return sprung.Load() >= more }, func() string { return strconv.FormatInt(sprung.Load(), 10) })
		armed.Store(false)
		s.attacked(true, func() { s.exchange(s.victim, s.friend) })
	})
}

func TestWhatAStrangerSaysOfIDsStaysWithTheTenant(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		s := besieged(newWorld(t, engine))
		s.attacked(true, func() {
			for range 20 { // as if the enemy were the other tenant's peer
				s.inject(waBinary.Attrs{"sender_pn": types.NewJID(s.peer.Number(), types.DefaultUserServer)}, enc("msg", "2", []byte("3garbage")))
			}
			s.exchange(s.victim, s.friend)
		})
		lids := func(c *customer) store.LIDStore { return c.device().LIDs }
		pn, err := lids(s.other).GetPNForLID(within(t), s.enemy.LID())
		require.NoError(t, err)
		require.True(t, pn.IsEmpty(), "one tenant's stranger is unknown to the other")
		lid, err := lids(s.other).GetLIDForPN(within(t), types.NewJID(s.peer.Number(), types.DefaultUserServer))
		require.NoError(t, err)
		require.Equal(t, s.peer.LID(), lid)
		pn, err = lids(s.other).GetPNForLID(within(t), s.friend.LID())
		require.NoError(t, err)
		require.True(t, pn.IsEmpty(), "nor is a friend's number")
	})
}

func TestRequestsToRepeatAreHandledOneAtATime(t *testing.T) {
	t.Parallel()
	var now, most, all atomic.Int64
	s := besieged(newWorld(t, sqlite(), func(w *world) {
		w.wrap = func(s tenant.Store) tenant.Store { return &asked{s, &now, &most, &all} }
	}))
	const storm = 200
	s.attacked(true, func() {
		for i := range storm {
			id := fmt.Sprint("REPEAT", i)
			s.injectNode(waBinary.Node{
				Tag: "receipt", Attrs: waBinary.Attrs{"id": id, "type": "retry", "from": s.enemy.LID(), "t": "1700000000"},
				Content: []waBinary.Node{
					{Tag: "retry", Attrs: waBinary.Attrs{"id": id, "count": "1", "t": "1700000000", "v": "1"}},
					{Tag: "registration", Content: []byte{0, 0, 0, 1}},
				},
			})
		}
		eventually(t, func() bool { return all.Load() >= storm }, func() string { return strconv.FormatInt(all.Load(), 10) })
	})
	require.EqualValues(t, 1, most.Load())
}

// asked counts how many look for a message that was to be repeated at a time.
type asked struct {
	tenant.Store

	now, most, all *atomic.Int64
}

func (a *asked) Tenant(id tenant.ID) tenant.Handle { return &askedHandle{a.Store.Tenant(id), a} }

type askedHandle struct {
	tenant.Handle

	counts *asked
}

func (h *askedHandle) Message(ctx context.Context, chat tenant.ChatID, id tenant.MessageID, sender tenant.ChatID) (tenant.Message, error) {
	if strings.HasPrefix(string(id), "REPEAT") {
		n := h.counts.now.Add(1)
		for was := h.counts.most.Load(); n > was && !h.counts.most.CompareAndSwap(was, n); was = h.counts.most.Load() {
		}
		defer h.counts.all.Add(1)
		defer h.counts.now.Add(-1)
	}
	return h.Handle.Message(ctx, chat, id, sender)
}

// nested is a text quoted by a text, and so on.
func nested(depth int) *waE2E.Message {
	m := &waE2E.Message{Conversation: new("the innermost")}
	for i := range depth {
		m = &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{
			Text: new(fmt.Sprint("level ", i)), ContextInfo: &waE2E.ContextInfo{StanzaID: new("Q"), QuotedMessage: m},
		}}
	}
	return m
}

func wrapped(depth int) *waE2E.Message {
	m := &waE2E.Message{Conversation: new("the innermost")}
	for range depth {
		m = &waE2E.Message{EphemeralMessage: &waE2E.FutureProofMessage{Message: m}}
	}
	return m
}

func TestMessagesBeyondMeasure(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		s := besieged(newWorld(t, engine))
		to, chat := s.victim.phone.Number(), s.victim.chatID(s.enemy)
		mentions := make([]string, 25_000)
		for i := range mentions {
			mentions[i] = fmt.Sprintf("%d@lid", 1_000_000+i)
		}
		key := &waCommon.MessageKey{RemoteJID: new("\x00@lid"), FromMe: new(false), ID: new(strings.Repeat("K", 10_000))}
		s.attacked(true, func() {
			for name, msg := range map[string]*waE2E.Message{
				"mentions": {ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: new("m"), ContextInfo: &waE2E.ContextInfo{MentionedJID: mentions}}},
				"zeros":    {Conversation: new("a\x00b\x00")},
				"no UTF-8": {ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: new("a\xff\xfe")}},
				"only 0":   {Conversation: new(strings.Repeat("\x00", 1000))},
				"long":     {Conversation: new(strings.Repeat("long ", 100_000))},
				"quotes":   nested(1500),
				"wrapped":  wrapped(1500),
				"emoji":    {ReactionMessage: &waE2E.ReactionMessage{Key: key, Text: new(strings.Repeat("👍", 25_000))}},
				"revoke":   {ProtocolMessage: &waE2E.ProtocolMessage{Type: waE2E.ProtocolMessage_REVOKE.Enum(), Key: key}},
				"edit":     {ProtocolMessage: &waE2E.ProtocolMessage{Type: waE2E.ProtocolMessage_MESSAGE_EDIT.Enum(), Key: key, EditedMessage: nested(100)}},
				"empty":    {},
				"history": {ProtocolMessage: &waE2E.ProtocolMessage{
					Type: waE2E.ProtocolMessage_HISTORY_SYNC_NOTIFICATION.Enum(), HistorySyncNotification: &waE2E.HistorySyncNotification{},
				}},
				"sender key": {SenderKeyDistributionMessage: &waE2E.SenderKeyDistributionMessage{
					GroupID: new("\x00"), AxolotlSenderKeyDistributionMessage: []byte{1},
				}},
				"secret":  {Conversation: new("s"), MessageContextInfo: &waE2E.MessageContextInfo{MessageSecret: bytes.Repeat([]byte{1}, 1<<16)}},
				"contact": {ContactMessage: &waE2E.ContactMessage{DisplayName: new("\x00"), Vcard: new(strings.Repeat("TEL:1\n", 25_000))}},
			} {
				_, err := s.enemy.SendMessage(within(t), to, msg, phone.SendOptions{})
				require.NoError(t, err, name)
			}
			for _, id := range []string{strings.Repeat("I", 10_000), "a\x00b", "ü", "'; DROP TABLE"} {
				_, err := s.enemy.SendText(within(t), to, "the id", phone.SendOptions{ID: id})
				require.NoError(t, err)
			}
			s.exchange(s.victim, s.enemy)
		})
		require.Empty(t, s.panics())
		found := s.victim.all(chat)
		require.NotEmpty(t, found)
		for i := range found {
			m := &found[i]
			require.NotContains(t, m.Text, "\x00")
			require.LessOrEqual(t, len(m.ID), 1024+16)
			require.LessOrEqual(t, len(m.Mentions), 10_000)
		}
		for _, e := range s.victim.events(tenant.EventMessageReceived) {
			require.Less(t, len(e.Data), 4<<20)
		}
	})
}

func TestCiphertextsOfNonsense(t *testing.T) {
	t.Parallel()
	s := besieged(newWorld(t, sqlite()))
	s.exchange(s.victim, s.enemy)
	to := s.victim.phone.Number()
	device := types.JID{User: s.victim.phone.LID().User, Device: s.victim.phone.Companions()[0], Server: types.HiddenUserServer}
	s.attacked(true, func() {
		for _, version := range []string{"2", "3", "0", "-1", "99", "x", ""} {
			for _, plain := range [][]byte{nil, {0}, []byte("\xff\xff\xff\xff"), bytes.Repeat([]byte{0x0a}, 1000), bytes.Repeat([]byte{0xff}, 1<<20)} {
				_, err := s.enemy.SendPlaintext(within(t), to, version, plain)
				require.NoError(t, err)
			}
		}
		for _, raw := range [][]byte{{}, {0}, {1}, {255}, {200, 200}, []byte("no padding"), bytes.Repeat([]byte{0}, 300)} {
			require.NoError(t, s.enemy.SendUnpadded(within(t), device, raw))
		}
		s.exchange(s.victim, s.enemy)
	})
}

// trapped is a siege whose victim is in a group of the enemy's.
func trapped(t *testing.T, engine tenanttest.Engine, change func(*world)) (s *siege, group string) {
	t.Helper()
	s = besieged(newWorld(t, engine, change))
	s.exchange(s.victim, s.enemy)
	group, _, err := s.enemy.CreateGroup(within(t), "Trap", []string{s.victim.phone.Number()})
	require.NoError(t, err)
	s.victim.group(tenant.ChatID(group), func(g *tenant.Group) bool { return g.Role == member })
	return s, group
}

// answers counts what the victim's device says of messages, by their ids.
func (s *siege) answers(kinds ...relay.Kind) *counter {
	var c counter
	s.w.t.Cleanup(s.w.sim.Relay().Observe(func(o relay.Observation) {
		if o.Phone == s.victim.phone.Number() && o.Device != 0 && slices.Contains(kinds, o.Kind) {
			c.add(o.ID)
		}
	}))
	return &c
}

// A message to a group has two parts, of which the first brings a key. Of the second, whatsmeow says these things without having asked our
// handler.
var nonsense = map[string]struct {
	version string
	raw     []byte
	answer  relay.Kind
}{
	"NoMessage": {"2", []byte{0xff, 0xff, 1}, relay.Refused},
	"NoPadding": {"2", []byte{1, 2, 3}, relay.RetryRequested},
	"NoVersion": {"9", []byte{0x0a, 1, 'x', 1}, relay.Acknowledged},
}

func TestAKeyThatCameBesideNonsenseIsStored(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		for name, what := range nonsense {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var d dam // before all commits: they would take the key along
				s, group := trapped(t, engine, func(w *world) {
					w.wrap = func(store tenant.Store) tenant.Store {
						return &between{store, func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
							if err := d.pass(ctx); err != nil {
								return tenant.Result{}, err
							}
							return h.Commit(ctx, changes...)
						}}
					}
				})
				answers := s.answers(what.answer)
				d.close()
				defer d.open()
				id, err := s.enemy.SendUnpaddedToGroup(within(t), group, what.version, what.raw)
				require.NoError(t, err)
				eventually(t, func() bool { return answers.of(id) > 0 })
				key, err := s.victim.device().SenderKeys.GetSenderKey(within(t), group, s.enemy.LID().SignalAddress().String())
				require.NoError(t, err)
				require.NotEmpty(t, key, "if the node dies now, the key is lost")
			})
		}
	})
}

// dry is a database that flushes no device while it is told so.
type dry struct {
	tenant.DeviceStore

	fails *atomic.Bool
}

func (d *dry) FlushDevice(ctx context.Context, id tenant.ID) error {
	if d.fails.Load() {
		return tenant.ErrUnavailable
	}
	return d.DeviceStore.FlushDevice(ctx, id)
}

func TestNonsenseIsNotAnsweredWhileTheKeyBesideItCannotBeStored(t *testing.T) {
	t.Parallel()
	for name, what := range nonsense {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var fails atomic.Bool
			s, group := trapped(t, sqlite(), func(w *world) {
				w.wrapRows = func(rows tenant.DeviceStore) tenant.DeviceStore { return &dry{rows, &fails} }
			})
			answers := s.answers(relay.Refused, relay.RetryRequested, relay.Acknowledged)
			gone := make(chan int, 16) // with how many answers
			var id string
			var sent sync.Mutex
			t.Cleanup(s.w.sim.Relay().Observe(func(o relay.Observation) {
				if o.Phone == s.victim.phone.Number() && o.Device != 0 && o.Kind == relay.Gone {
					sent.Lock()
					defer sent.Unlock()
					gone <- answers.of(id)
				}
			}))
			fails.Store(true)
			var err error
			sent.Lock()
			id, err = s.enemy.SendUnpaddedToGroup(within(t), group, what.version, what.raw)
			sent.Unlock()
			require.NoError(t, err)
			select {
			case n := <-gone:
				require.Zero(t, n, "answered before")
			case <-within(t).Done():
				require.Fail(t, "the connection goes on")
			}
			fails.Store(false)
			eventually(t, func() bool { return answers.of(id) > 0 })
			s.victim.until(session.Online)
		})
	}
}

func TestStanzasOfNonsense(t *testing.T) {
	t.Parallel()
	s := besieged(newWorld(t, sqlite(), func(w *world) { w.nonsense = true }))
	group := types.NewJID("120363000000000001", types.GroupServer)
	big := strings.Repeat("9", 10_000)
	s.attacked(true, func() {
		for _, from := range []types.JID{
			{},
			types.ServerJID, group, types.StatusBroadcastJID, types.NewJID("1", types.NewsletterServer), types.NewJID(big, types.HiddenUserServer),
			types.NewJID("867051314767696", types.BotServer),
			{User: "1", Device: 65535, Server: types.HiddenUserServer},
			types.NewJID("\x00", "\x00"), types.NewJID("1", types.HostedLIDServer), types.NewJID("1", types.MessengerServer), s.victim.phone.LID(),
		} {
			for _, content := range [][]waBinary.Node{
				nil,
				{{Tag: "enc"}},
				{enc("msg", "2", nil)},
				{enc("pkmsg", "2", []byte{})},
				{enc("skmsg", "2", []byte{0x33})},
				{enc("msmsg", "2", nil)},
				{enc("unheard-of", "7", []byte("x"))},
				{enc("msg", "2", []waBinary.Node{{Tag: "a"}})},
				{enc("msg", "2", bytes.Repeat([]byte{0x33}, 1<<16))},
				{{Tag: "plaintext", Content: []byte{0xff}}},
				{{Tag: "verified_name", Content: []byte{0xff}}, {Tag: "bot"}, {Tag: "meta"}, enc("msg", "2", []byte("3x"))},
				{{Tag: "unavailable"}},
				{{Tag: big}},
			} {
				s.inject(waBinary.Attrs{"from": from, "participant": s.enemy.LID(), "sender_pn": from, "sender_lid": from}, content...)
			}
		}
		for _, odd := range []waBinary.Attrs{
			{"t": "nonsense"},
			{"t": "-1"},
			{"t": "99999999999999999999"},
			{"t": ""},
			{"type": ""},
			{"from": "no JID"},
			{"notify": big + big},
			{"edit": "x"},
			{"category": "peer"},
			{"participant": "x"},
			{"recipient": "x"},
			{"sender_pn": "x"},
			{"addressing_mode": "x"},
			{"id": big},
			{"offline": "x"},
		} {
			s.inject(odd, enc("msg", "2", []byte("3garbage")))
		}
		for _, tag := range []string{"receipt", "notification", "call", "chatstate", "presence", "unheard-of"} {
			for _, kind := range []string{"", "retry", "read", "w:gp2", "encrypt", "devices", "account_sync", "server_sync", "picture", "status", "mediaretry", "privacy_token", "business", "mex", "newsletter", "unheard-of"} {
				for _, content := range [][]waBinary.Node{nil, {{Tag: kind + "x"}}, {{Tag: "participants"}}, {{Tag: "retry"}}, {{Tag: "list", Content: []waBinary.Node{{Tag: "item"}}}}} {
					s.injectNode(waBinary.Node{Tag: tag, Attrs: waBinary.Attrs{
						"id": fmt.Sprint("ODD", s.n.Add(1)), "type": kind, "from": s.enemy.LID(), "t": "1700000000",
					}, Content: content})
				}
			}
		}
		s.exchange(s.victim, s.enemy)
	})
}
