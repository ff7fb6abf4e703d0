package session

import (
	"encoding/json"
	"math"
	"mime"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// inText visits every text and number in a value, but no bytes: payloads are stored as they are.
func inText(v reflect.Value, visit func(reflect.Value)) {
	switch v.Kind() { //nolint:exhaustive // what else there is holds neither
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			inText(v.Elem(), visit)
		}
	case reflect.Struct:
		if _, isTime := reflect.TypeAssert[time.Time](v); isTime {
			return
		}
		for _, field := range v.Fields() {
			inText(field, visit)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			inText(v.Index(i), visit)
		}
	case reflect.String, reflect.Float64:
		visit(v)
	}
}

// requireSound says that a change holds nothing that a store or JSON does not take, and no more than a stranger may make us keep.
func requireSound(t *testing.T, change tenant.Change) {
	t.Helper()
	inText(reflect.ValueOf(change), func(v reflect.Value) {
		if v.Kind() == reflect.Float64 {
			require.False(t, math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0))
			return
		}
		require.True(t, utf8.ValidString(v.String()), "%q", v.String())
		require.NotContains(t, v.String(), "\x00")
	})
	const torn = 3 * utf8.UTFMax // what cutting within a character may add
	switch c := change.(type) {
	case tenant.PutMessage:
		m := &c.Message
		requireID(t, m.ChatID)
		requireID(t, m.SenderID)
		require.LessOrEqual(t, len(m.ID), maxIDLength+torn)
		require.LessOrEqual(t, len(m.ReplyTo), maxIDLength+torn)
		require.LessOrEqual(t, len(m.SenderName), maxNameLength+torn)
		require.LessOrEqual(t, len(m.Mentions), maxMentions)
		require.LessOrEqual(t, len(m.Reactions), maxReactions)
		requireContent(t, m)
		_, err := json.Marshal(m)
		require.NoError(t, err)
		year := m.Timestamp.Year()
		require.True(t, year >= 1970 && year < 10_000, "%d", year)
	case tenant.EditMessage:
		require.LessOrEqual(t, len(c.ID), maxIDLength+torn)
		require.LessOrEqual(t, len(c.Mentions), maxMentions)
	case tenant.React:
		require.LessOrEqual(t, len(c.Emoji), maxEmojiLength*utf8.UTFMax)
	case tenant.PutContact:
		requireID(t, c.ID)
		require.LessOrEqual(t, len(c.PushName), maxNameLength+torn)
		require.LessOrEqual(t, len(c.Name), maxNameLength+torn)
	}
}

func requireID(t *testing.T, id tenant.ChatID) {
	t.Helper()
	again, err := tenant.ParseChatID(string(id))
	require.NoError(t, err)
	require.Equal(t, id, again, "it is in our form")
}

func requireContent(t *testing.T, m *tenant.Message) {
	t.Helper()
	const torn = 3 * utf8.UTFMax
	if place := m.Location; place != nil {
		require.True(t, place.OnEarth())
		require.LessOrEqual(t, len(place.Name), maxPlaceText+torn)
		require.LessOrEqual(t, len(place.Address), maxPlaceText+torn)
	}
	require.LessOrEqual(t, len(m.Contacts), maxCards)
	total := 0
	for _, card := range m.Contacts {
		total += len(card.VCard)
		require.LessOrEqual(t, len(card.Name), maxNameLength+torn)
		require.LessOrEqual(t, len(card.Phones), maxCardPhones)
		for _, phone := range card.Phones {
			require.LessOrEqual(t, len(phone), maxCardPhone+torn)
		}
	}
	require.LessOrEqual(t, total, maxVCards)
	require.GreaterOrEqual(t, m.ForwardScore, 0)
	if m.Media != nil {
		require.LessOrEqual(t, len(m.Media.MimeType), maxMimeType+torn)
		require.LessOrEqual(t, len(m.Media.FileName), maxFileName+torn)
		require.GreaterOrEqual(t, m.Media.Size, int64(0))
		require.GreaterOrEqual(t, m.Media.DurationMs, int64(0))
		require.LessOrEqual(t, max(m.Media.Width, m.Media.Height), maxPixels)
	}
}

// wires are messages of all kinds, as they come.
func wires() []*waE2E.Message {
	card := writeVCard("Bia", "5511999990002")
	info := &waE2E.ContextInfo{
		StanzaID: str("Q"), MentionedJID: []string{anaLID.String(), "x"}, IsForwarded: new(true), ForwardingScore: new(uint32(3)),
		QuotedMessage: &waE2E.Message{Conversation: str("asked")},
	}
	key := &waCommon.MessageKey{ID: str("M"), FromMe: new(true), Participant: str(anaLID.String())}
	file := &waE2E.DocumentMessage{FileName: str("a.pdf"), Mimetype: str("application/pdf"), FileLength: new(uint64(math.MaxUint64)), Caption: str("see")}
	return []*waE2E.Message{
		{Conversation: str("hi\x00\xff")},
		{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: str("x"), ContextInfo: info}},
		{ImageMessage: &waE2E.ImageMessage{Caption: str("see"), JPEGThumbnail: []byte("t"), Width: new(uint32(math.MaxUint32)), ContextInfo: info}},
		{DocumentWithCaptionMessage: &waE2E.FutureProofMessage{Message: &waE2E.Message{DocumentMessage: file}}},
		{ViewOnceMessageV2: &waE2E.FutureProofMessage{Message: &waE2E.Message{VideoMessage: &waE2E.VideoMessage{ViewOnce: new(true)}}}},
		{AudioMessage: &waE2E.AudioMessage{PTT: new(true), Seconds: new(uint32(math.MaxUint32))}},
		{StickerMessage: &waE2E.StickerMessage{PngThumbnail: []byte("t")}},
		{LocationMessage: &waE2E.LocationMessage{DegreesLatitude: new(math.NaN()), DegreesLongitude: new(1.0), Name: str("x")}},
		{LocationMessage: &waE2E.LocationMessage{DegreesLatitude: new(-23.5), DegreesLongitude: new(-46.6), ContextInfo: info}},
		{LiveLocationMessage: &waE2E.LiveLocationMessage{DegreesLatitude: new(1.0), DegreesLongitude: new(2.0)}},
		{ContactMessage: &waE2E.ContactMessage{Vcard: &card, ContextInfo: info}},
		{ContactsArrayMessage: &waE2E.ContactsArrayMessage{Contacts: []*waE2E.ContactMessage{{Vcard: &card}, nil, {DisplayName: str("\xff")}}}},
		{PollCreationMessageV3: &waE2E.PollCreationMessage{Name: str("when?")}},
		{PollUpdateMessage: &waE2E.PollUpdateMessage{}},
		{ReactionMessage: &waE2E.ReactionMessage{Key: key, Text: str("👍")}},
		{ProtocolMessage: &waE2E.ProtocolMessage{Type: waE2E.ProtocolMessage_REVOKE.Enum(), Key: key}},
		{ProtocolMessage: &waE2E.ProtocolMessage{Type: waE2E.ProtocolMessage_MESSAGE_EDIT.Enum(), Key: key, EditedMessage: &waE2E.Message{Conversation: str("new")}}},
		{OrderMessage: &waE2E.OrderMessage{}},
		{EphemeralMessage: &waE2E.FutureProofMessage{Message: &waE2E.Message{EphemeralMessage: &waE2E.FutureProofMessage{}}}},
	}
}

// fuzzed is a message that somebody sends in a chat with us or in a group. nil: the bytes are no message.
func fuzzed(raw []byte, user, id, name string, inGroup, mine bool) *events.Message {
	var msg waE2E.Message
	if proto.Unmarshal(raw, &msg) != nil {
		return nil
	}
	sender := types.NewJID(user, types.HiddenUserServer)
	source := types.MessageSource{Chat: sender, Sender: sender, IsFromMe: mine}
	if inGroup {
		source.Chat, source.IsGroup = family, true
	}
	evt := &events.Message{RawMessage: &msg, Info: types.MessageInfo{ID: id, PushName: name, Timestamp: stamp, MessageSource: source}}
	return evt.UnwrapRaw()
}

// FuzzMessages has strangers send whatever they like: it becomes records that are sound, the same each time.
func FuzzMessages(f *testing.F) {
	for i, m := range wires() {
		raw := encode(proto.CloneOf(m))
		f.Add(raw, "900000000000002", "ID\x00", "Ana\xff", i%2 == 0, i%3 == 0)
	}
	f.Fuzz(func(t *testing.T, raw []byte, user, id, name string, inGroup, mine bool) {
		evt := fuzzed(raw, user, id, name, inGroup, mine)
		if evt == nil {
			return
		}
		changes := me.message(evt)
		for _, change := range changes {
			requireSound(t, change)
		}
		require.Len(t, me.message(evt), len(changes), "reading changes nothing")
		for _, change := range changes {
			put, ok := change.(tenant.PutMessage)
			if !ok {
				continue
			}
			quote(&put.Message)
			if wire, err := composeForward(&put.Message); err == nil { // what is forwarded says the same
				again := read(unwrapped(wire))
				require.Equal(t, put.Message.Type, again.kind)
				require.Equal(t, put.Message.Location == nil, again.location == nil)
				require.Len(t, again.contacts, len(put.Message.Contacts))
				require.True(t, again.forwarded)
			}
		}
	})
}

// FuzzStored stores what strangers send, on each engine, and reads it again.
func FuzzStored(f *testing.F) {
	for i, m := range wires() {
		f.Add(encode(proto.CloneOf(m)), "900000000000002", "ID\x00", "Ana\xff", i%2 == 0, i%3 == 0)
	}
	var stores []tenant.Store
	for _, engine := range tenanttest.Engines() {
		stores = append(stores, engine.Open(f))
	}
	f.Fuzz(func(t *testing.T, raw []byte, user, id, name string, inGroup, mine bool) {
		evt := fuzzed(raw, user, id, name, inGroup, mine)
		if evt == nil {
			return
		}
		changes := me.message(evt)
		var read []tenant.Message
		for _, s := range stores {
			h := tenanttest.NewTenant(t, s)
			result, err := h.Commit(t.Context(), changes...)
			require.NoError(t, err)
			for _, m := range result.Messages {
				stored, err := h.Message(t.Context(), m.ChatID, m.ID, m.SenderID)
				require.NoError(t, err)
				stored.Ord, m.Ord = 0, 0
				a, err := json.Marshal(m)
				require.NoError(t, err)
				b, err := json.Marshal(stored)
				require.NoError(t, err)
				require.JSONEq(t, string(a), string(b), "it is read as it was stored")
				require.Equal(t, m.Payload, stored.Payload)
				read = append(read, stored)
			}
			_, err = h.Events(t.Context(), 0, 100)
			require.NoError(t, err)
			tenanttest.Delete(t, s, h.ID())
		}
		if n := len(stores); n > 1 && len(read) > 0 {
			a, err := json.Marshal(read[:len(read)/n])
			require.NoError(t, err)
			b, err := json.Marshal(read[len(read)/n:])
			require.NoError(t, err)
			require.JSONEq(t, string(a), string(b), "the engines agree")
		}
	})
}

// FuzzHistory reads what a phone tells of its past, with whatsmeow's own parser.
func FuzzHistory(f *testing.F) {
	blob := &waHistorySync.HistorySync{
		SyncType:                 waHistorySync.HistorySync_RECENT.Enum(),
		PhoneNumberToLidMappings: []*waHistorySync.PhoneNumberToLIDMapping{{PnJID: str(anaPN.String()), LidJID: str(anaLID.String())}, nil},
		Pushnames:                []*waHistorySync.Pushname{{ID: str(anaPN.String()), Pushname: str("Ana\x00")}, nil},
	}
	for i, m := range wires() {
		id := []string{anaLID.String(), family.String(), anaPN.String(), "status@broadcast"}[i%4]
		blob.Conversations = append(blob.Conversations, &waHistorySync.Conversation{
			ID: &id, Name: str("A\xff"), PnJID: str(anaPN.String()), UnreadCount: new(uint32(math.MaxUint32)), MuteEndTime: new(uint64(math.MaxUint64)),
			ConversationTimestamp: new(uint64(math.MaxUint64)),
			Messages: []*waHistorySync.HistorySyncMsg{{Message: &waWeb.WebMessageInfo{
				Key: &waCommon.MessageKey{RemoteJID: &id, FromMe: new(i%3 == 0), ID: str("ID"), Participant: str(anaLID.String())}, Message: m,
				MessageTimestamp: new(uint64(i) << 58), Participant: str(anaLID.String()),
				Reactions: []*waWeb.Reaction{{Key: &waCommon.MessageKey{FromMe: new(true)}, Text: str("👍"), SenderTimestampMS: new(int64(math.MinInt64))}},
			}}, nil},
		})
	}
	raw, err := proto.MarshalOptions{AllowPartial: true}.Marshal(blob)
	if err == nil {
		f.Add(raw)
		f.Add(raw[:len(raw)/2])
	}
	for _, c := range blob.Conversations {
		one, err := proto.Marshal(&waHistorySync.HistorySync{SyncType: blob.SyncType, Conversations: []*waHistorySync.Conversation{c}})
		if err == nil {
			f.Add(one)
		}
	}
	own, lid := mePN, meLID
	cli := whatsmeow.NewClient(&store.Device{ID: &own, LID: lid}, waLog.Noop)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var blob waHistorySync.HistorySync
		if proto.Unmarshal(raw, &blob) != nil {
			return
		}
		for change := range me.history(&blob, cli.ParseWebMessage) {
			requireSound(t, change)
			if put, ok := change.(tenant.PutMessage); ok {
				require.False(t, put.Live, "the past does not happen now")
			}
		}
	})
}

// FuzzReceipts reads receipts for whatever ids.
func FuzzReceipts(f *testing.F) {
	f.Add("ID", "5511900000002@s.whatsapp.net", "900000000000002@lid", "read", false)
	f.Add("A\nB\x00\n\n\xff", "120363000000000001@g.us", "5511900000002:7@s.whatsapp.net", "", false)
	f.Add(strings.Repeat("x", 5000), "1@broadcast", "900000000000002@lid", "played", true)
	f.Fuzz(func(t *testing.T, ids, chat, sender, kind string, mine bool) {
		at, err := types.ParseJID(chat)
		if err != nil {
			return
		}
		by, err := types.ParseJID(sender)
		if err != nil {
			return
		}
		evt := &events.Receipt{
			MessageSource: types.MessageSource{Chat: at, Sender: by, SenderAlt: anaPN, RecipientAlt: anaLID, IsFromMe: mine, IsGroup: at.Server == types.GroupServer},
			MessageIDs:    strings.Split(ids, "\n"), Type: types.ReceiptType(kind),
		}
		for _, change := range me.receipt(evt) {
			requireSound(t, change)
			if s, ok := change.(tenant.SetStatus); ok {
				require.False(t, mine, "nobody confirms their own messages")
				require.Len(t, s.MessageIDs, len(evt.MessageIDs))
				for _, id := range s.MessageIDs {
					require.LessOrEqual(t, len(id), maxIDLength+2*utf8.UTFMax)
				}
			}
		}
	})
}

// FuzzVCards reads cards of strangers, and cards of ours for whatever name.
func FuzzVCards(f *testing.F) {
	for _, seed := range []string{
		writeVCard("João; da, Silva\\", "5511999990003"), "BEGIN:VCARD\r\nitem1.TEL;waid=5511:+55\r\n 11\r\nEND:VCARD", "FN:\\", "TEL;waid=\xff:\x00", "\n \n\t:",
	} {
		f.Add(seed, "João;,\\\r\n")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		gotName, phones := readVCard(tenant.CleanText(text))
		require.LessOrEqual(t, len(gotName), maxNameLength+2*utf8.UTFMax)
		require.LessOrEqual(t, len(phones), maxCardPhones)
		for _, phone := range append(phones, gotName) {
			require.Equal(t, tenant.CleanText(phone), phone)
		}
		if name = tenant.CleanText(name); len(name) > maxNameLength {
			return
		}
		card := writeVCard(name, "5511999990003")
		require.Equal(t, 6, strings.Count(card, "\n")+1, "a name adds no lines")
		gotName, phones = readVCard(card)
		want := strings.TrimSpace(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(name))
		require.Equal(t, want, gotName)
		require.Equal(t, []string{"5511999990003"}, phones)
	})
}

// FuzzClassify says what a file is, whatever its sender says and however it begins.
func FuzzClassify(f *testing.F) {
	for _, k := range []string{"", "image/jpg", "audio/ogg; codecs=opus", "application/octet-stream", "text/plain; charset=\"\xff\"", "a/b;c=\"\r\n\""} {
		f.Add(k, []byte("OggS\x00\x02"+strings.Repeat("\x00", 22)+"OpusHead"))
	}
	f.Fuzz(func(t *testing.T, declared string, head []byte) {
		mimeType, kind := Classify(declared, head[:min(len(head), SniffLength)])
		require.True(t, isFile(kind))
		require.LessOrEqual(t, len(mimeType), maxMimeType)
		require.Equal(t, tenant.CleanText(mimeType), mimeType)
		require.False(t, strings.ContainsAny(mimeType, "\r\n"))
		_, _, err := mime.ParseMediaType(mimeType)
		require.NoError(t, err)
		again, sameKind := Classify(mimeType, head[:min(len(head), SniffLength)])
		if kind != tenant.TypeDocument { // which may be nothing that is known
			require.Equal(t, []any{mimeType, kind}, []any{again, sameKind})
		}
	})
}

func TestWiresAreOfAllKinds(t *testing.T) {
	t.Parallel()
	var kinds []tenant.MessageType
	for _, m := range wires() {
		kinds = append(kinds, read(unwrapped(m)).kind)
	}
	for _, kind := range []tenant.MessageType{
		tenant.TypeText, tenant.TypeImage, tenant.TypeVideo, tenant.TypeVoice, tenant.TypeDocument, tenant.TypeSticker,
		tenant.TypeLocation, tenant.TypeContact, tenant.TypePoll, tenant.TypeUnsupported, "",
	} {
		require.True(t, slices.Contains(kinds, kind), kind)
	}
}
