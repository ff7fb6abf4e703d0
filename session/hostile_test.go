package session_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/appstate"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waServerSync"
	"go.mau.fi/whatsmeow/proto/waSyncAction"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// siege is a tenant that is attacked, and another one on the same node.
type siege struct {
	w             *world
	victim, other *customer
	friend        *phone.Phone // of the victim's
	peer          *phone.Phone // of the other's
	enemy         *phone.Phone // a stranger to the victim, until it writes
	n             atomic.Int64
}

func besieged(w *world) *siege {
	w.t.Helper()
	s := &siege{
		w: w, victim: w.paired(wasim.PhoneConfig{}), other: w.paired(wasim.PhoneConfig{}),
		friend: w.phone(wasim.PhoneConfig{Name: "Friend"}), peer: w.phone(wasim.PhoneConfig{Name: "Peer"}), enemy: w.phone(wasim.PhoneConfig{Name: "Enemy"}),
	}
	s.victim.keyed()
	s.exchange(s.victim, s.friend)
	s.exchange(s.other, s.peer)
	return s
}

// exchange sends a message each way and waits for both.
func (s *siege) exchange(c *customer, p *phone.Phone) {
	s.w.t.Helper()
	text := fmt.Sprint("message ", s.n.Add(1))
	id, err := p.SendText(within(s.w.t), c.phone.Number(), text, phone.SendOptions{})
	require.NoError(s.w.t, err)
	m := c.message(c.chatID(p), id, nil)
	require.Equal(s.w.t, text, m.Text)
	c.send(c.chatID(p), "re: "+text)
	_, err = p.WaitEntry(within(s.w.t), 0, hasText("re: "+text))
	require.NoError(s.w.t, err)
}

// attacked runs an attack while the other tenant goes on exchanging messages, and sees that the victim goes on afterwards, on the connection
// that it had if it is to hold.
func (s *siege) attacked(holds bool, attack func()) {
	s.w.t.Helper()
	var drops atomic.Int64
	stop := s.w.sim.Relay().Observe(func(o relay.Observation) {
		if o.Kind == relay.Gone && (o.Phone == s.other.phone.Number() || holds && o.Phone == s.victim.phone.Number()) {
			drops.Add(1)
		}
	})
	defer stop()
	ctx, cancel := context.WithCancel(s.w.t.Context())
	var wg sync.WaitGroup
	rounds := 0
	wg.Go(func() {
		for ; ctx.Err() == nil || rounds < 3; rounds++ {
			s.exchange(s.other, s.peer) //nolint:contextcheck // a test's time limit is its own
		}
	})
	attack()
	s.exchange(s.victim, s.friend)
	cancel()
	wg.Wait()
	require.GreaterOrEqual(s.w.t, rounds, 3)
	require.Zero(s.w.t, drops.Load(), "a connection was lost")
	for _, c := range []*customer{s.victim, s.other} {
		require.Equal(s.w.t, session.Online, c.view().State)
	}
}

// inject sends the victim a stanza of the enemy's as no client would send it.
func (s *siege) inject(attrs waBinary.Attrs, children ...waBinary.Node) string {
	s.w.t.Helper()
	id := fmt.Sprintf("3EB0BAD%013d", s.n.Add(1))
	all := waBinary.Attrs{
		"id": id, "type": "text", "t": "1700000000", "from": s.enemy.LID(), "notify": "Enemy",
		"sender_pn": types.NewJID(s.enemy.Number(), types.DefaultUserServer),
	}
	maps.Copy(all, attrs)
	s.injectNode(waBinary.Node{Tag: "message", Attrs: all, Content: children})
	return id
}

func (s *siege) injectNode(n waBinary.Node) {
	s.w.t.Helper()
	require.NoError(s.w.t, s.w.sim.Relay().Inject(s.victim.phone.Number(), s.victim.phone.Companions()[0], n))
}

func enc(kind, version string, content any) waBinary.Node {
	return waBinary.Node{Tag: "enc", Attrs: waBinary.Attrs{"type": kind, "v": version}, Content: content}
}

// panics is how often something panicked in a session, by place.
func (s *siege) panics() map[string]float64 {
	s.w.t.Helper()
	families, err := s.w.reg.Gather()
	require.NoError(s.w.t, err)
	found := make(map[string]float64)
	for _, family := range families {
		if !strings.Contains(family.GetName(), "panic") {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				found[label.GetValue()] += m.GetCounter().GetValue()
			}
		}
	}
	return found
}

func TestAHostileCompanionEndsNothing(t *testing.T) {
	t.Parallel()
	short := func(ctx context.Context, s *siege, name appstate.WAPatchName) (*waServerSync.SyncdPatch, error) {
		raw, err := s.victim.phone.EncodeState(ctx, statePatch(name, "mute", "x@lid"))
		if err != nil {
			return nil, err
		}
		var patch waServerSync.SyncdPatch
		if err = proto.Unmarshal(raw, &patch); err == nil {
			patch.Mutations[0].Record.Value.Blob = []byte("short")
		}
		return &patch, err
	}
	indexed := func(index ...string) func(context.Context, *siege, appstate.WAPatchName) (*waServerSync.SyncdPatch, error) {
		return func(ctx context.Context, s *siege, name appstate.WAPatchName) (*waServerSync.SyncdPatch, error) {
			raw, err := s.victim.phone.EncodeState(ctx, statePatch(name, index...))
			if err != nil {
				return nil, err
			}
			var patch waServerSync.SyncdPatch
			return &patch, proto.Unmarshal(raw, &patch)
		}
	}
	for name, patch := range map[string]func(context.Context, *siege, appstate.WAPatchName) (*waServerSync.SyncdPatch, error){
		"an empty index":       indexed(),
		"an index cut short":   indexed("label_edit"),
		"a mutation too short": short,
		"no such chat":         indexed("pin_v1", strings.Repeat("9", 10_000)+"@lid"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := besieged(newWorld(t, sqlite()))
			const collection = appstate.WAPatchRegularLow
			s.attacked(true, func() {
				bad, err := patch(within(t), s, collection)
				require.NoError(t, err)
				require.NoError(t, s.victim.phone.PushState(within(t), collection, bad))
				if name != "no such chat" {
					eventually(t, func() bool { return s.panics()["app_state"] > 0 }, func() string { return fmt.Sprint(s.panics()) })
				}
				// What came in another collection is taken over all the same.
				_, err = s.w.fleet.SyncChats(within(t), s.victim.ID())
				if name != "no such chat" {
					require.Error(t, err)
				}
			})
			s.w.restart() // the node begins with what the account has
			s.victim.until(session.Online)
			s.other.until(session.Online)
			s.exchange(s.victim, s.friend)
			s.exchange(s.other, s.peer)
		})
	}
}

func statePatch(name appstate.WAPatchName, index ...string) appstate.PatchInfo {
	if index == nil {
		index = []string{}
	}
	return appstate.PatchInfo{Type: name, Mutations: []appstate.MutationInfo{{
		Index: index, Version: 1, Value: &waSyncAction.SyncActionValue{PinAction: &waSyncAction.PinAction{Pinned: new(true)}},
	}}}
}

func TestWrongInitialisationVectors(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		s := besieged(newWorld(t, engine))
		to := s.victim.phone.Number()
		poll, err := s.enemy.SendPoll(within(t), to, lunch, phone.SendOptions{})
		require.NoError(t, err)
		chat := s.victim.chatID(s.enemy)
		s.victim.message(chat, poll, nil)
		key := func() *waCommon.MessageKey {
			return &waCommon.MessageKey{RemoteJID: new(s.enemy.LID().String()), FromMe: new(true), ID: new(poll)}
		}
		s.attacked(true, func() {
			for _, iv := range [][]byte{nil, {}, {1}, bytes.Repeat([]byte{2}, 11), bytes.Repeat([]byte{3}, 13), bytes.Repeat([]byte{4}, 1<<16)} {
				for _, msg := range []*waE2E.Message{
					{PollUpdateMessage: &waE2E.PollUpdateMessage{PollCreationMessageKey: key(), Vote: &waE2E.PollEncValue{EncPayload: []byte("payload"), EncIV: iv}}},
					{EncReactionMessage: &waE2E.EncReactionMessage{TargetMessageKey: key(), EncPayload: []byte("payload"), EncIV: iv}},
					{SecretEncryptedMessage: &waE2E.SecretEncryptedMessage{
						TargetMessageKey: key(), EncPayload: []byte("payload"), EncIV: iv,
						SecretEncType: waE2E.SecretEncryptedMessage_MESSAGE_EDIT.Enum(),
					}},
					{EncCommentMessage: &waE2E.EncCommentMessage{TargetMessageKey: key(), EncPayload: []byte("payload"), EncIV: iv}},
				} {
					_, err := s.enemy.SendMessage(within(t), to, msg, phone.SendOptions{})
					require.NoError(t, err)
				}
			}
			s.exchange(s.victim, s.enemy)
		})
		require.Empty(t, s.panics())
		for _, m := range s.victim.all(chat) {
			require.Contains(t, []tenant.MessageType{tenant.TypePoll, tenant.TypeText}, m.Type, "nobody sees what cannot be opened")
			require.Empty(t, m.Reactions)
			require.Nil(t, m.EditedAt)
		}
	})
}

// packedZeros is a history of that many bytes, packed.
func packedZeros(t *testing.T, size int) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	block := make([]byte, 1<<20)
	for range size >> 20 {
		_, err := w.Write(block)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return packed.Bytes()
}

func TestHistoriesThatInflate(t *testing.T) {
	t.Parallel()
	s := besieged(newWorld(t, sqlite()))
	device := s.victim.phone.Companions()[0]
	bomb := packedZeros(t, 320<<20) // more than is allowed
	s.attacked(true, func() {
		for _, data := range [][]byte{bomb, []byte("no zlib"), packedZeros(t, 1<<20), nil} {
			inline := &waE2E.HistorySyncNotification{SyncType: waE2E.HistorySyncType_RECENT.Enum(), InitialHistBootstrapInlinePayload: data}
			tell := []*waE2E.HistorySyncNotification{inline}
			if data != nil {
				stored, err := s.victim.phone.UploadHistory(within(t), data)
				require.NoError(t, err)
				lied := proto.CloneOf(stored)
				lied.FileLength = new(uint64(1))
				tell = append(tell, stored, lied)
			}
			for _, note := range tell {
				require.NoError(t, s.victim.phone.TellCompanion(within(t), device, &waE2E.ProtocolMessage{
					Type: waE2E.ProtocolMessage_HISTORY_SYNC_NOTIFICATION.Enum(), HistorySyncNotification: note,
				}))
			}
		}
	})
	require.Empty(t, s.panics())
}

func TestUndecryptableMessagesStallNobody(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		const bad = 200
		s := besieged(newWorld(t, engine))
		// The phone is never told: whoever waits for WhatsApp's answer waits until a time limit.
		s.victim.fault(relay.FaultSilence, 0, 0)
		var mu sync.Mutex
		var acked []string
		stop := s.w.sim.Relay().Observe(func(o relay.Observation) {
			if o.Phone == s.victim.phone.Number() && o.Device != 0 && o.Kind == relay.Acknowledged && o.Tag == "message" {
				mu.Lock()
				defer mu.Unlock()
				acked = append(acked, o.ID)
			}
		})
		defer stop()
		s.attacked(true, func() {
			var last string
			for i := range bad {
				kind := []string{"msg", "pkmsg", "skmsg"}[i%3]
				last = s.inject(nil, enc(kind, "2", fmt.Appendf(nil, "3garbage %d", i)))
				if i%10 == 0 {
					s.inject(nil, waBinary.Node{Tag: "unavailable", Attrs: waBinary.Attrs{"type": "view_once"}})
				}
			}
			good, err := s.friend.SendText(within(t), s.victim.phone.Number(), "behind", phone.SendOptions{})
			require.NoError(t, err)
			s.victim.message(s.victim.chatID(s.friend), good, nil)
			eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return slices.Contains(acked, good) })
			mu.Lock()
			defer mu.Unlock()
			require.Contains(t, acked, last, "all that came before is done with")
			require.Equal(t, bad+bad/10, slices.Index(acked, good), "one stanza each, in the order in which they came")
		})
		require.NotEmpty(t, s.victim.all(s.victim.chatID(s.enemy)), "they are shown as what cannot be read")
	})
}

func TestThePhoneIsAskedForWhatCannotBeDecrypted(t *testing.T) {
	t.Parallel()
	s := besieged(newWorld(t, sqlite()))
	var asked atomic.Int64
	stop := s.w.sim.Relay().Observe(func(o relay.Observation) {
		if o.Kind == relay.Accepted && o.Phone == s.victim.phone.Number() && o.Device != 0 && o.Peer == o.Phone {
			asked.Add(1)
		}
	})
	defer stop()
	id := s.inject(nil, enc("msg", "2", []byte("3garbage")))
	s.victim.message(s.victim.chatID(s.enemy), id, nil)
	eventually(t, func() bool { return asked.Load() == 1 })
	// A flood by one stranger leaves most of them out.
	for range 300 {
		s.inject(nil, enc("msg", "2", []byte("3garbage")))
	}
	s.exchange(s.victim, s.friend)
	require.Less(t, asked.Load(), int64(150), "a burst, and then one every other second")
}
