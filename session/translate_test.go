package session

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/tenant"
)

var (
	me      = account{id: "5511900000001@c.us", lid: "900000000000001@lid"}
	anaPN   = types.NewJID("5511900000002", types.DefaultUserServer)
	anaLID  = types.NewJID("900000000000002", types.HiddenUserServer)
	mePN    = types.NewJID("5511900000001", types.DefaultUserServer)
	meLID   = types.NewJID("900000000000001", types.HiddenUserServer)
	family  = types.NewJID("120363000000000001", types.GroupServer)
	ana     = tenant.ChatID("5511900000002@c.us")
	anaHid  = tenant.ChatID("900000000000002@lid")
	anaLink = tenant.LinkIDs{LID: anaHid, Phone: ana}
	stamp   = time.Unix(1_760_000_000, 0).UTC()
)

func str(s string) *string { return new(s) }

func TestReadsContent(t *testing.T) {
	t.Parallel()
	info := &waE2E.ContextInfo{
		StanzaID: str("QUOTED"), Participant: str(anaPN.String()),
		MentionedJID: []string{"5511900000002@s.whatsapp.net", "900000000000002@lid", "rubbish", ""},
	}
	mentions := []tenant.ChatID{ana, anaHid}
	for name, tc := range map[string]struct {
		msg  *waE2E.Message
		want content
	}{
		"nothing":       {nil, content{}},
		"empty":         {&waE2E.Message{}, content{}},
		"text":          {&waE2E.Message{Conversation: str("hi")}, content{kind: tenant.TypeText, text: "hi"}},
		"empty text":    {&waE2E.Message{Conversation: str("")}, content{kind: tenant.TypeText}},
		"broken text":   {&waE2E.Message{Conversation: str("a\x00b\xff")}, content{kind: tenant.TypeText, text: "a\uFFFDb\uFFFD"}},
		"extended text": {&waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: str("hi"), ContextInfo: info}}, content{kind: tenant.TypeText, text: "hi", replyTo: "QUOTED", mentions: mentions}},
		"picture":       {&waE2E.Message{ImageMessage: &waE2E.ImageMessage{Caption: str("see"), ContextInfo: info}}, content{kind: tenant.TypeImage, text: "see", replyTo: "QUOTED", mentions: mentions}},
		"video":         {&waE2E.Message{VideoMessage: &waE2E.VideoMessage{Caption: str("see")}}, content{kind: tenant.TypeVideo, text: "see"}},
		"round video":   {&waE2E.Message{PtvMessage: &waE2E.VideoMessage{}}, content{kind: tenant.TypeVideo}},
		"music":         {&waE2E.Message{AudioMessage: &waE2E.AudioMessage{}}, content{kind: tenant.TypeAudio}},
		"voice":         {&waE2E.Message{AudioMessage: &waE2E.AudioMessage{PTT: new(true)}}, content{kind: tenant.TypeVoice}},
		"document":      {&waE2E.Message{DocumentMessage: &waE2E.DocumentMessage{Caption: str("read")}}, content{kind: tenant.TypeDocument, text: "read"}},
		"sticker":       {&waE2E.Message{StickerMessage: &waE2E.StickerMessage{}}, content{kind: tenant.TypeSticker}},
		"place":         {&waE2E.Message{LocationMessage: &waE2E.LocationMessage{Name: str("here")}}, content{kind: tenant.TypeLocation, text: "here"}},
		"live place":    {&waE2E.Message{LiveLocationMessage: &waE2E.LiveLocationMessage{Caption: str("going")}}, content{kind: tenant.TypeLocation, text: "going"}},
		"contact":       {&waE2E.Message{ContactMessage: &waE2E.ContactMessage{DisplayName: str("Bob")}}, content{kind: tenant.TypeContact, text: "Bob", contacts: []tenant.ContactCard{{Name: "Bob"}}}},
		"contacts":      {&waE2E.Message{ContactsArrayMessage: &waE2E.ContactsArrayMessage{DisplayName: str("2")}}, content{kind: tenant.TypeContact, text: "2"}},
		"poll":          {&waE2E.Message{PollCreationMessageV3: &waE2E.PollCreationMessage{Name: str("when?")}}, content{kind: tenant.TypePoll, text: "when?"}},
		"button":        {&waE2E.Message{ListResponseMessage: &waE2E.ListResponseMessage{Title: str("the first")}}, content{kind: tenant.TypeText, text: "the first"}},
		"unknown":       {&waE2E.Message{GroupInviteMessage: &waE2E.GroupInviteMessage{}}, content{kind: tenant.TypeUnsupported}},
		"reaction":      {&waE2E.Message{ReactionMessage: &waE2E.ReactionMessage{Text: str("x")}}, content{}},
		"vote":          {&waE2E.Message{PollUpdateMessage: &waE2E.PollUpdateMessage{}}, content{}},
		"deletion":      {&waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{Type: waE2E.ProtocolMessage_REVOKE.Enum()}}, content{}},
		"sender key":    {&waE2E.Message{SenderKeyDistributionMessage: &waE2E.SenderKeyDistributionMessage{}, MessageContextInfo: &waE2E.MessageContextInfo{}}, content{}},
		"text and key":  {&waE2E.Message{SenderKeyDistributionMessage: &waE2E.SenderKeyDistributionMessage{}, Conversation: str("hi")}, content{kind: tenant.TypeText, text: "hi"}},
	} {
		got := read(tc.msg)
		require.Equal(t, isFile(got.kind), got.media != nil, name)
		got.media = nil // what it holds: see the files' own tests
		require.Equal(t, tc.want, got, name)
	}
	// What a newer WhatsApp adds.
	var newer waE2E.Message
	require.NoError(t, proto.Unmarshal([]byte{0xca, 0xb8, 0x02, 0x01, 'x'}, &newer))
	require.Equal(t, content{kind: tenant.TypeUnsupported}, read(&newer))
	many := &waE2E.ContextInfo{MentionedJID: slices.Repeat([]string{anaPN.String()}, 5000)}
	require.Len(t, read(&waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{ContextInfo: many}}).mentions, maxMentions)
	require.Len(t, messageID(strings.Repeat("x", 5000)), maxIDLength)
	require.LessOrEqual(t, len(cleanName(strings.Repeat("é", 5000))), maxNameLength+3)
}

func TestTranslatesMessages(t *testing.T) {
	t.Parallel()
	text := &waE2E.Message{Conversation: str("hi")}
	received := tenant.Message{
		ID: "ID", ChatID: ana, SenderID: ana, SenderName: "Ana", Timestamp: stamp,
		Type: tenant.TypeText, Text: "hi", Status: tenant.StatusReceived,
	}
	byLID, own, inGroup, away := received, received, received, received
	byLID.ChatID, byLID.SenderID = anaHid, anaHid
	own.SenderID, own.FromMe, own.Status, own.SenderName = me.id, true, tenant.StatusSent, ""
	inGroup.ChatID, inGroup.SenderID = "120363000000000001@g.us", anaHid
	away.Type, away.Text, away.Payload = tenant.TypeUnsupported, "", encode(&waE2E.Message{GroupInviteMessage: &waE2E.GroupInviteMessage{}})
	named := func(id tenant.ChatID) tenant.Change { return tenant.PutContact{ID: id, PushName: "Ana"} }
	device := func(jid types.JID) types.JID { jid.Device = 7; return jid }
	live := func(m tenant.Message) tenant.Change { return tenant.PutMessage{Message: m, Live: true} }
	for name, tc := range map[string]struct {
		src  types.MessageSource
		msg  *waE2E.Message
		want []tenant.Change
	}{
		"by number":           {types.MessageSource{Chat: anaPN, Sender: device(anaPN)}, text, []tenant.Change{live(received), named(ana)}},
		"by number, with LID": {types.MessageSource{Chat: anaPN, Sender: device(anaPN), SenderAlt: device(anaLID)}, text, []tenant.Change{anaLink, live(received), named(ana)}},
		"by LID, with number": {types.MessageSource{Chat: anaLID, Sender: anaLID, SenderAlt: anaPN}, text, []tenant.Change{anaLink, live(byLID), named(anaHid)}},
		"by LID alone":        {types.MessageSource{Chat: anaLID, Sender: anaLID}, text, []tenant.Change{live(byLID), named(anaHid)}},
		"own":                 {types.MessageSource{Chat: anaPN, Sender: device(mePN), IsFromMe: true}, text, []tenant.Change{live(own)}},
		"own, by LID":         {types.MessageSource{Chat: anaPN, Sender: meLID, IsFromMe: true, RecipientAlt: anaLID}, text, []tenant.Change{anaLink, live(own)}},
		"in a group":          {types.MessageSource{Chat: family, Sender: device(anaLID), SenderAlt: anaPN, IsGroup: true}, text, []tenant.Change{anaLink, live(inGroup), named(anaHid)}},
		"by broadcast list":   {types.MessageSource{Chat: types.NewJID("1", types.BroadcastServer), Sender: anaPN, IsGroup: true}, text, []tenant.Change{live(received), named(ana)}},
		"status":              {types.MessageSource{Chat: types.StatusBroadcastJID, Sender: anaPN, IsGroup: true}, text, nil},
		"channel":             {types.MessageSource{Chat: types.NewJID("1", types.NewsletterServer), Sender: types.NewJID("1", types.NewsletterServer)}, text, nil},
		"nobody":              {types.MessageSource{}, text, nil},
		"no number":           {types.MessageSource{Chat: types.NewJID("x", types.DefaultUserServer)}, text, nil},
		"unknown content":     {types.MessageSource{Chat: anaPN, Sender: anaPN}, &waE2E.Message{GroupInviteMessage: &waE2E.GroupInviteMessage{}}, []tenant.Change{live(away), named(ana)}},
		"reaction":            {types.MessageSource{Chat: anaPN, Sender: anaPN}, &waE2E.Message{ReactionMessage: &waE2E.ReactionMessage{}}, []tenant.Change{named(ana)}},
	} {
		evt := &events.Message{
			RawMessage: tc.msg,
			Info:       types.MessageInfo{MessageSource: tc.src, ID: "ID", Timestamp: stamp, PushName: "Ana"},
		}
		require.Equal(t, tc.want, me.message(evt.UnwrapRaw()), name)
	}
}

func TestUnwrapsWhatOtherDevicesSent(t *testing.T) {
	t.Parallel()
	evt := &events.Message{
		Info: types.MessageInfo{ID: "ID", MessageSource: types.MessageSource{Chat: anaPN, Sender: mePN, IsFromMe: true}},
		RawMessage: &waE2E.Message{DeviceSentMessage: &waE2E.DeviceSentMessage{
			Message: &waE2E.Message{EphemeralMessage: &waE2E.FutureProofMessage{Message: &waE2E.Message{Conversation: str("hi")}}},
		}},
	}
	changes := me.message(evt.UnwrapRaw())
	require.Len(t, changes, 1)
	require.Equal(t, "hi", changes[0].(tenant.PutMessage).Message.Text)
}

func TestTranslatesReceipts(t *testing.T) {
	t.Parallel()
	theirs := types.MessageSource{Chat: anaPN, Sender: anaPN}
	ours := types.MessageSource{Chat: anaPN, Sender: mePN, IsFromMe: true}
	set := func(s tenant.Status) []tenant.Change {
		return []tenant.Change{tenant.SetStatus{ChatID: ana, MessageIDs: []tenant.MessageID{"A", "B"}, Status: s}}
	}
	for name, tc := range map[string]struct {
		src  types.MessageSource
		kind types.ReceiptType
		want []tenant.Change
	}{
		"delivered":        {theirs, types.ReceiptTypeDelivered, set(tenant.StatusDelivered)},
		"read":             {theirs, types.ReceiptTypeRead, set(tenant.StatusRead)},
		"played":           {theirs, types.ReceiptTypePlayed, set(tenant.StatusPlayed)},
		"inactive":         {theirs, types.ReceiptTypeInactive, nil},
		"retry":            {theirs, types.ReceiptTypeRetry, nil},
		"read by us":       {ours, types.ReceiptTypeRead, []tenant.Change{tenant.MarkRead{ChatID: ana, Until: stamp}}},
		"read by us alone": {ours, types.ReceiptTypeReadSelf, []tenant.Change{tenant.MarkRead{ChatID: ana, Until: stamp}}},
		"delivered to us":  {ours, types.ReceiptTypeDelivered, nil},
		"sent by us":       {ours, types.ReceiptTypeSender, nil},
		"with its LID": {
			types.MessageSource{Chat: anaPN, Sender: anaPN, SenderAlt: anaLID},
			types.ReceiptTypeRead,
			append([]tenant.Change{anaLink}, set(tenant.StatusRead)...),
		},
		"of a channel": {types.MessageSource{Chat: types.NewJID("1", types.NewsletterServer)}, types.ReceiptTypeRead, nil},
	} {
		evt := &events.Receipt{MessageSource: tc.src, Type: tc.kind, Timestamp: stamp, MessageIDs: []string{"A", "B"}}
		require.Equal(t, tc.want, me.receipt(evt), name)
	}
	require.Nil(t, me.receipt(&events.Receipt{MessageSource: theirs}))
}

func TestTranslatesWhatCannotBeDecrypted(t *testing.T) {
	t.Parallel()
	info := types.MessageInfo{ID: "ID", Timestamp: stamp, MessageSource: types.MessageSource{Chat: anaPN, Sender: anaPN}}
	want := []tenant.Change{tenant.PutMessage{Live: true, Message: tenant.Message{
		ID: "ID", ChatID: ana, SenderID: ana, Timestamp: stamp, Type: tenant.TypeUnsupported, Status: tenant.StatusReceived,
	}}}
	require.Equal(t, want, me.undecryptable(&events.UndecryptableMessage{Info: info}))
	require.Nil(t, me.undecryptable(&events.UndecryptableMessage{Info: info, DecryptFailMode: events.DecryptFailHide}))
	info.Category = categoryPeer
	require.Nil(t, me.undecryptable(&events.UndecryptableMessage{Info: info}))
}

func TestTranslatesHistory(t *testing.T) {
	t.Parallel()
	item := func(id, text string, mine bool, s waWeb.WebMessageInfo_Status) *waHistorySync.HistorySyncMsg {
		return &waHistorySync.HistorySyncMsg{Message: &waWeb.WebMessageInfo{
			Key:     &waCommon.MessageKey{RemoteJID: str(anaPN.String()), FromMe: &mine, ID: &id},
			Message: &waE2E.Message{Conversation: &text}, Status: &s, MessageTimestamp: new(uint64(stamp.Unix())),
		}}
	}
	blob := &waHistorySync.HistorySync{
		PhoneNumberToLidMappings: []*waHistorySync.PhoneNumberToLIDMapping{
			{PnJID: str(anaPN.String()), LidJID: str(anaLID.String())}, {PnJID: str("rubbish"), LidJID: str("x@lid")},
		},
		Pushnames: []*waHistorySync.Pushname{
			{ID: str(anaPN.String()), Pushname: str("Ana")}, {ID: str(mePN.String()), Pushname: str("Me")}, {ID: str("x"), Pushname: str("x")},
		},
		Conversations: []*waHistorySync.Conversation{
			{ID: str("status@broadcast")},
			{ID: str("rubbish@@")},
			{
				ID: str(anaLID.String()), PnJID: str(anaPN.String()), Name: str("Ana Maria"), UnreadCount: proto.Uint32(2), Pinned: proto.Uint32(1),
				Archived: new(false), ConversationTimestamp: new(uint64(stamp.Unix())), MuteEndTime: proto.Uint64(1 << 63),
				Messages: []*waHistorySync.HistorySyncMsg{
					item("NEW", "b", true, waWeb.WebMessageInfo_READ), {Message: &waWeb.WebMessageInfo{}}, {}, item("OLD", "a", false, 0),
				},
			},
			{ID: str(family.String()), Name: str("Family")},
		},
	}
	parse := func(chat types.JID, msg *waWeb.WebMessageInfo) (*events.Message, error) {
		evt := &events.Message{RawMessage: msg.GetMessage(), Info: types.MessageInfo{
			ID: msg.GetKey().GetID(), Timestamp: stamp, MessageSource: types.MessageSource{Chat: chat, Sender: chat, IsFromMe: msg.GetKey().GetFromMe()},
		}}
		return evt.UnwrapRaw(), nil
	}
	name, unread, pinned, archived := "Family", 2, true, false
	always := time.Unix(1<<33, 0).UTC()
	message := tenant.Message{ChatID: anaHid, Timestamp: stamp, Type: tenant.TypeText}
	older, newer := message, message
	older.ID, older.Text, older.SenderID, older.Status = "OLD", "a", anaHid, tenant.StatusReceived
	newer.ID, newer.Text, newer.SenderID, newer.Status, newer.FromMe = "NEW", "b", me.id, tenant.StatusRead, true
	require.Equal(t, []tenant.Change{
		anaLink,
		tenant.PutContact{ID: ana, PushName: "Ana", Quiet: true},
		anaLink,
		tenant.PutChat{ID: anaHid, Unread: &unread, Pinned: &pinned, Archived: &archived, Muted: &always, Activity: stamp},
		tenant.PutContact{ID: anaHid, Name: "Ana Maria", Quiet: true},
		tenant.PutMessage{Message: older},
		tenant.PutMessage{Message: newer},
		tenant.PutChat{ID: "120363000000000001@g.us", Name: &name},
	}, slices.Collect(me.history(blob, parse)))
	for range me.history(blob, parse) {
		break // the consumer may stop anywhere
	}
	for range me.history(nil, parse) {
		require.Fail(t, "nothing in nothing")
	}
}

func TestComposesAsWhatsAppDoes(t *testing.T) {
	t.Parallel()
	require.Equal(t, "hi", compose(&TextMessage{Text: "hi"}, nil).GetConversation())
	quoted := &tenant.Message{ID: "Q", SenderID: ana, Type: tenant.TypeText, Text: "asked"}
	got := compose(&TextMessage{Text: "yes", Mentions: []tenant.ChatID{ana, anaHid}}, quoted).GetExtendedTextMessage()
	require.Equal(t, "yes", got.GetText())
	require.Equal(t, "Q", got.GetContextInfo().GetStanzaID())
	require.Equal(t, anaPN.String(), got.GetContextInfo().GetParticipant())
	require.Equal(t, "asked", got.GetContextInfo().GetQuotedMessage().GetConversation())
	require.Equal(t, []string{anaPN.String(), anaLID.String()}, got.GetContextInfo().GetMentionedJID())

	// What an answer quotes is quoted without what that quoted.
	quoted.Payload = encode(&waE2E.Message{ExtendedTextMessage: got})
	again := compose(&TextMessage{Text: "again"}, quoted).GetExtendedTextMessage().GetContextInfo().GetQuotedMessage()
	require.Equal(t, "yes", again.GetConversation())
	require.Nil(t, again.GetExtendedTextMessage())
	quoted.Payload = []byte("rubbish")
	require.Equal(t, "asked", compose(&TextMessage{}, quoted).GetExtendedTextMessage().GetContextInfo().GetQuotedMessage().GetConversation())
}

func TestLogsNameNobody(t *testing.T) {
	t.Parallel()
	line := redact(`Failed for 5511900000001:7@s.whatsapp.net in 900000000000002@lid, code 463: <message from="x">secret
text</message> "quoted secret"`)
	require.NotContains(t, line, "5511900000001")
	require.NotContains(t, line, "900000000000002")
	require.NotContains(t, line, "secret")
	require.Contains(t, line, "463")
	require.LessOrEqual(t, len(redact(strings.Repeat("x", 10_000))), maxClientLine+len("…"))
	require.Equal(t, "…01@s.whatsapp.net", redactJID(mePN))
}

func FuzzTranslate(f *testing.F) {
	seed := func(m *waE2E.Message) { f.Add(encode(m), "5511900000002", types.DefaultUserServer, "ID", "Ana", false) }
	seed(&waE2E.Message{Conversation: str("hi")})
	seed(&waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: str("x"), ContextInfo: &waE2E.ContextInfo{StanzaID: str("Q")}}})
	seed(&waE2E.Message{PollUpdateMessage: &waE2E.PollUpdateMessage{}})
	f.Fuzz(func(t *testing.T, raw []byte, user, server, id, name string, mine bool) {
		var msg waE2E.Message
		if proto.Unmarshal(raw, &msg) != nil {
			return
		}
		jid := types.NewJID(user, server)
		evt := &events.Message{RawMessage: &msg, Info: types.MessageInfo{
			ID: id, PushName: name, MessageSource: types.MessageSource{Chat: jid, Sender: jid, SenderAlt: anaLID, IsFromMe: mine},
		}}
		for _, change := range me.message(evt.UnwrapRaw()) {
			if put, ok := change.(tenant.PutMessage); ok {
				require.Equal(t, tenant.CleanText(put.Message.Text), put.Message.Text)
				require.Equal(t, tenant.CleanText(string(put.Message.ID)), string(put.Message.ID))
				_, err := tenant.ParseChatID(string(put.Message.ChatID))
				require.NoError(t, err)
			}
		}
	})
}
