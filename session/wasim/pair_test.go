package wasim_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
)

func TestACompanionIsLinkedByQR(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ana := addPhone(t, sim, wasim.PhoneConfig{Name: "Ana"})
	c := newCompanion(t, sim, true)
	c.connect(ctx)
	device, err := ana.Scan(ctx, c.code(ctx))
	require.NoError(t, err)
	require.Equal(t, uint16(1), device)
	c.awaitConnected(ctx)
	require.Equal(t, ana.Number(), c.dev.ID.User)
	require.Equal(t, device, c.dev.ID.Device)
	require.Equal(t, []uint16{1}, ana.Companions())
	// It knows its own name from the app state, with the key the phone shared.
	select {
	case name := <-c.named:
		require.Equal(t, "Ana", name)
	case <-ctx.Done():
		t.Fatal("the push name did not come")
	}
	c.awaitSynced(ctx)

	second := link(ctx, t, sim, ana, true)
	require.Equal(t, uint16(2), second.dev.ID.Device)

	_, err = ana.Scan(ctx, "https://wa.me/settings/linked_devices#nonsense")
	require.ErrorIs(t, err, phone.ErrBadQR)
}

func TestACompanionIsLinkedByCode(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ana := addPhone(t, sim, wasim.PhoneConfig{})
	c := newCompanion(t, sim, true)
	c.connect(ctx)
	c.code(ctx) // the connection is ready when it has a QR to show
	askCode := func() string {
		code, err := c.cli.PairPhone(ctx, ana.Number(), true, whatsmeow.PairClientChrome, "Chrome (Linux)")
		require.NoError(t, err)
		return code
	}
	_, err := ana.Link(ctx, "ABC")
	require.ErrorIs(t, err, phone.ErrBadCode)

	device, err := ana.Link(ctx, askCode())
	require.NoError(t, err)
	c.awaitConnected(ctx)
	require.Equal(t, device, c.dev.ID.Device)
	c.awaitSynced(ctx)
}

func TestAWrongCodeIsRecognised(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ana := addPhone(t, sim, wasim.PhoneConfig{})
	c := newCompanion(t, sim, true)
	c.connect(ctx)
	c.code(ctx)
	code, err := c.cli.PairPhone(ctx, ana.Number(), true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	require.NoError(t, err)
	wrong := "1" + code[1:]
	if code[0] == '1' {
		wrong = "2" + code[1:]
	}
	_, err = ana.Link(ctx, wrong)
	require.ErrorIs(t, err, phone.ErrBadCode)
	require.Empty(t, ana.Companions())
}

func TestACompanionGetsItsHistory(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	friend := addPhone(t, sim, wasim.PhoneConfig{Name: "Friend"})
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	var messages []phone.ChatMessage
	for i := range 10 {
		messages = append(messages, phone.ChatMessage{
			ID: fmt.Sprintf("OLD%d", i), Text: fmt.Sprintf("old %d", i), FromMe: i%2 == 0, At: at.Add(time.Duration(i) * time.Second),
		})
	}
	ana := addPhone(t, sim, wasim.PhoneConfig{Name: "Ana", History: []phone.Chat{
		{Phone: friend.Number(), Name: "Friend", Messages: messages},
		{Phone: number(), Name: "Nobody", ViaLID: true, Unread: 3},
	}})
	c := link(ctx, t, sim, ana, true)
	require.Equal(t, waHistorySync.HistorySync_INITIAL_BOOTSTRAP, c.history[0].GetSyncType())
	require.Equal(t, waHistorySync.HistorySync_PUSH_NAME, c.history[1].GetSyncType())
	require.Equal(t, waHistorySync.HistorySync_RECENT, c.history[2].GetSyncType())

	chats := c.history[0].GetConversations()
	require.Len(t, chats, 2)
	require.Equal(t, friend.Number()+"@s.whatsapp.net", chats[0].GetID())
	require.Equal(t, friend.LID().String(), chats[0].GetLidJID())
	require.Equal(t, "old 9", chats[0].GetMessages()[0].GetMessage().GetMessage().GetConversation())
	require.Equal(t, uint32(3), chats[1].GetUnreadCount())
	require.Len(t, c.history[2].GetConversations()[0].GetMessages(), 8)
	lid, err := c.dev.LIDs.GetLIDForPN(ctx, types.NewJID(friend.Number(), types.DefaultUserServer))
	require.NoError(t, err)
	require.Equal(t, friend.LID(), lid)
	contact, err := c.dev.Contacts.GetContact(ctx, types.NewJID(friend.Number(), types.DefaultUserServer))
	require.NoError(t, err)
	require.Equal(t, "Friend", contact.PushName)

	// On demand: what is older than a message the companion has.
	oldest := &types.MessageInfo{ID: "OLD5", Timestamp: at.Add(5 * time.Second)}
	oldest.Chat = types.NewJID(friend.Number(), types.DefaultUserServer)
	_, err = c.cli.SendPeerMessage(ctx, c.cli.BuildHistorySyncRequest(oldest, 3))
	require.NoError(t, err)
	require.NoError(t, c.wait(ctx, func() bool { return len(c.history) == 4 }))
	require.Equal(t, waHistorySync.HistorySync_ON_DEMAND, c.history[3].GetSyncType())
	var got []string
	for _, m := range c.history[3].GetConversations()[0].GetMessages() {
		got = append(got, m.GetMessage().GetKey().GetID())
	}
	require.Equal(t, []string{"OLD4", "OLD3", "OLD2"}, got)
}

func TestAPhoneAnswersItsCompanions(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ana, bob := addPhone(t, sim, wasim.PhoneConfig{}), addPhone(t, sim, wasim.PhoneConfig{})
	c := link(ctx, t, sim, ana, true)
	id, err := bob.SendText(ctx, ana.Number(), "hello", phone.SendOptions{})
	require.NoError(t, err)
	_, err = ana.WaitEntry(ctx, 0, isMessage("hello"))
	require.NoError(t, err)
	has := func(match func(*events.Message) bool) func() bool {
		return func() bool {
			return slices.ContainsFunc(c.messages, match)
		}
	}
	// A message the companion claims not to have been able to decrypt.
	_, err = c.cli.SendPeerMessage(ctx, c.cli.BuildUnavailableMessageRequest(bob.LID(), bob.LID(), id))
	require.NoError(t, err)
	require.NoError(t, c.wait(ctx, has(func(m *events.Message) bool {
		return m.UnavailableRequestID != "" && m.Info.ID == id && m.Message.GetConversation() == "hello"
	})))
	// A key it claims not to have.
	key, err := c.dev.AppStateKeys.GetLatestAppStateSyncKeyID(ctx)
	require.NoError(t, err)
	_, err = c.cli.SendPeerMessage(ctx, &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
		Type:                   waE2E.ProtocolMessage_APP_STATE_SYNC_KEY_REQUEST.Enum(),
		AppStateSyncKeyRequest: &waE2E.AppStateSyncKeyRequest{KeyIDs: []*waE2E.AppStateSyncKeyId{{KeyID: key}}},
	}})
	require.NoError(t, err)
	shares := 0
	require.NoError(t, c.wait(ctx, func() bool {
		shares = 0
		for _, m := range c.messages {
			if m.Message.GetProtocolMessage().GetAppStateSyncKeyShare() != nil {
				shares++
			}
		}
		return shares == 2 // the first one came with the pairing
	}))
	// With each key the client fetches what is empty once more, to the end of the list.
	require.NoError(t, c.wait(ctx, func() bool { return c.synced[appstate.WAPatchRegularLow] == 2 }))
}

func TestUnlinkingEndsACompanion(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ana := addPhone(t, sim, wasim.PhoneConfig{})
	c := link(ctx, t, sim, ana, true)
	require.NoError(t, sim.Relay().Unlink(ana.Number(), c.dev.ID.Device))
	select {
	case e := <-c.ended:
		require.IsType(t, &events.LoggedOut{}, e)
	case <-ctx.Done():
		t.Fatal("not logged out")
	}
}

// A companion that was away gets what it missed, in order and once, also what a number-addressed sender sent.
func TestAnOfflineCompanionGetsItsMessagesInOrder(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ana, bob := addPhone(t, sim, wasim.PhoneConfig{}), addPhone(t, sim, wasim.PhoneConfig{})
	c := link(ctx, t, sim, ana, true)
	c.cli.Disconnect()
	require.Eventually(t, func() bool {
		devices, err := sim.Relay().Devices(ana.Number())
		return err == nil && !devices[1].Connected
	}, deadline, 5*time.Millisecond)
	var want []string
	for i := range 30 {
		text := fmt.Sprintf("missed %d", i)
		want = append(want, text)
		_, err := bob.SendText(ctx, ana.Number(), text, phone.SendOptions{ViaPN: i%3 == 0})
		require.NoError(t, err)
	}
	c.connect(ctx)
	texts := func() (texts []string) {
		for _, m := range c.messages {
			if text := m.Message.GetConversation(); text != "" {
				texts = append(texts, text)
			}
		}
		return texts
	}
	require.NoError(t, c.wait(ctx, func() bool { return len(texts()) >= len(want) }))
	require.Equal(t, want, texts())
	require.Empty(t, c.failed)
}

// A phone that loses its connection in the middle of sending and receiving comes back by itself; nothing is lost.
func TestAPhoneSurvivesFaults(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ana, bob := addPhone(t, sim, wasim.PhoneConfig{}), addPhone(t, sim, wasim.PhoneConfig{})
	const count = 60
	sent := make(chan error, 1)
	go func() {
		for i := range count {
			if _, err := ana.SendText(ctx, bob.Number(), fmt.Sprintf("through %d", i), phone.SendOptions{ID: fmt.Sprintf("THROUGH%d", i)}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i, kind := range []relay.FaultKind{relay.FaultDrop, relay.FaultStreamError, relay.FaultDrop} {
		_, err := bob.WaitEntry(ctx, 0, isMessage(fmt.Sprintf("through %d", 5+i*10)))
		require.NoError(t, err)
		for _, p := range []*phone.Phone{ana, bob} {
			require.NoError(t, sim.Relay().Fault(relay.Fault{Kind: kind, Phone: p.Number(), Primary: true, Code: 503}))
		}
	}
	require.NoError(t, <-sent)
	_, err := bob.WaitEntry(ctx, 0, isMessage(fmt.Sprintf("through %d", count-1)))
	require.NoError(t, err)
	seen := make(map[string]int)
	for _, e := range bob.Inbox(0) {
		if e.Kind == phone.KindMessage {
			seen[e.Text]++
		}
	}
	for i := range count {
		require.Equal(t, 1, seen[fmt.Sprintf("through %d", i)], "message %d", i)
	}
}
