package session

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/tenant"
)

func TestReadsPlaces(t *testing.T) {
	t.Parallel()
	at := func(lat, long float64) *waE2E.Message {
		return &waE2E.Message{LocationMessage: &waE2E.LocationMessage{DegreesLatitude: &lat, DegreesLongitude: &long}}
	}
	full := at(-23.5, -46.6)
	full.LocationMessage.Name, full.LocationMessage.Address = str("MASP\x00"), str(strings.Repeat("x", 5000))
	for name, tc := range map[string]struct {
		msg  *waE2E.Message
		want *tenant.Location
	}{
		"Plain":     {at(90, -180), &tenant.Location{Latitude: 90, Longitude: -180}},
		"Zero":      {at(0, 0), &tenant.Location{}},
		"Full":      {full, &tenant.Location{Latitude: -23.5, Longitude: -46.6, Name: "MASP\uFFFD", Address: strings.Repeat("x", maxPlaceText)}},
		"NoNumber":  {at(math.NaN(), 0), nil},
		"Infinite":  {at(0, math.Inf(1)), nil},
		"OffEarth":  {at(91, 0), nil},
		"Nowhere":   {&waE2E.Message{LocationMessage: &waE2E.LocationMessage{Name: str("here")}}, nil},
		"Live":      {&waE2E.Message{LiveLocationMessage: &waE2E.LiveLocationMessage{DegreesLatitude: new(1.5), DegreesLongitude: new(2.5)}}, &tenant.Location{Latitude: 1.5, Longitude: 2.5, Live: true}},
		"Not a one": {&waE2E.Message{Conversation: str("x")}, nil},
	} {
		require.Equal(t, tc.want, read(tc.msg).location, name)
	}
	require.Equal(t, &tenant.Location{Latitude: -1, Longitude: 2, Name: "a", Address: "b"},
		read(composePlace(&tenant.Location{Latitude: -1, Longitude: 2, Name: "a", Address: "b"}, nil)).location)
}

func TestReadsVCards(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		card   string
		name   string
		phones []string
	}{
		"OfOurs":     {writeVCard("João; da, Silva\\\n2", "5511999990003"), "João; da, Silva\\\n2", []string{"5511999990003"}},
		"OfAnIPhone": {"BEGIN:VCARD\r\nVERSION:3.0\r\nN:Silva;Ana;;;\r\nFN:Ana Silva\r\nitem1.TEL;waid=5511999990001:+55 11 99999-0001\r\nitem1.X-ABLabel:Mobile\r\nEND:VCARD\r\n", "Ana Silva", []string{"5511999990001"}},
		"NotOnWhatsApp": {
			"BEGIN:VCARD\nVERSION:3.0\nFN:Shop\nTEL;TYPE=WORK:+55 (11) 3333-4444\nTEL;VALUE=uri:tel:+551133334445\nEND:VCARD", "Shop",
			[]string{"+55 (11) 3333-4444", "+551133334445"},
		},
		"Folded":     {"BEGIN:VCARD\nFN:A very\n  long name\nTEL;wa\n id=5511:+55\n 11\nEND:VCARD", "A very long name", []string{"5511"}},
		"BadWaid":    {"BEGIN:VCARD\nTEL;waid=x@c.us:123\nEND:VCARD", "", []string{"123"}},
		"Empty":      {"", "", nil},
		"Nonsense":   {"FN\nTEL\n:::\n;;;:\nTEL:\nTEL;waid=:\n", "", nil},
		"TooMany":    {strings.Repeat("TEL:1\n", 100), "", slices.Repeat([]string{"1"}, maxCardPhones)},
		"TooLong":    {"TEL:" + strings.Repeat("1", 1000), "", []string{strings.Repeat("1", maxCardPhone)}},
		"Unreadable": {"FN:a\xff\x00", "a\uFFFD\uFFFD", nil},
	} {
		gotName, phones := readVCard(tc.card)
		require.Equal(t, tc.name, gotName, name)
		require.Equal(t, tc.phones, phones, name)
	}
	require.True(t, IsVCard("BEGIN:VCARD\nVERSION:3.0\nFN:x\nEND:VCARD\n"))
	for _, no := range []string{"", "BEGIN:VCARD", "END:VCARD", "x BEGIN:VCARD\nEND:VCARD", "BEGIN:VCARD\nEND:VCARD\nBEGIN:VCARD\nEND:VCARD"} {
		require.False(t, IsVCard(no), no)
	}
}

func TestReadsContacts(t *testing.T) {
	t.Parallel()
	card := writeVCard("Bia", "5511999990002")
	require.Equal(t, []tenant.ContactCard{{Name: "Bia", VCard: card, Phones: []string{"5511999990002"}}},
		read(&waE2E.Message{ContactMessage: &waE2E.ContactMessage{Vcard: &card}}).contacts, "the card has the name")
	big := "BEGIN:VCARD\nFN:x\nNOTE:" + strings.Repeat("y", MaxVCard) + "\nEND:VCARD"
	require.Equal(t, []tenant.ContactCard{{Name: "Bia"}},
		read(&waE2E.Message{ContactMessage: &waE2E.ContactMessage{DisplayName: str("Bia"), Vcard: &big}}).contacts)
	fits := big[:MaxVCard]
	var many []*waE2E.ContactMessage
	for range 1000 {
		many = append(many, &waE2E.ContactMessage{DisplayName: str("x"), Vcard: &fits})
	}
	cards := read(&waE2E.Message{ContactsArrayMessage: &waE2E.ContactsArrayMessage{Contacts: append(many, nil)}}).contacts
	require.Len(t, cards, maxCards)
	total := 0
	for _, c := range cards {
		total += len(c.VCard)
	}
	require.LessOrEqual(t, total, maxVCards)
	two := []tenant.ContactCard{{Name: "A", VCard: card, Phones: []string{"5511999990002"}}, {Name: "B", VCard: card, Phones: []string{"5511999990002"}}}
	again := read(composeCards(two, "2 contacts", nil))
	require.Equal(t, two, again.contacts)
	require.Equal(t, "2 contacts", again.text)
}

func TestReadsTheForwardedMark(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		info  *waE2E.ContextInfo
		want  bool
		score int
	}{
		"None":     {nil, false, 0},
		"Marked":   {&waE2E.ContextInfo{IsForwarded: new(true)}, true, 0},
		"Scored":   {&waE2E.ContextInfo{ForwardingScore: new(uint32(5))}, true, 5},
		"Absurd":   {&waE2E.ContextInfo{ForwardingScore: new(uint32(math.MaxUint32))}, true, math.MaxInt16},
		"NotThat":  {&waE2E.ContextInfo{IsForwarded: new(false)}, false, 0},
		"OurMark":  {marked(nil, 1), true, 1},
		"OurBound": {marked(nil, 1000), true, maxForwardScore},
		"OurNone":  {marked(nil, 0), false, 0},
	} {
		got := read(&waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: str("x"), ContextInfo: tc.info}})
		require.Equal(t, tc.want, got.forwarded, name)
		require.Equal(t, tc.score, got.score, name)
	}
}

// TestForwardsWhatIsStored reads each kind of message, stores what is kept of it, and forwards that.
func TestForwardsWhatIsStored(t *testing.T) {
	t.Parallel()
	info := &waE2E.ContextInfo{StanzaID: str("Q"), MentionedJID: []string{anaPN.String()}, ForwardingScore: new(uint32(3))}
	image := &waE2E.ImageMessage{DirectPath: str("/p"), MediaKey: []byte("k"), FileLength: new(uint64(5)), Mimetype: str("image/png"), Caption: str("old"), JPEGThumbnail: []byte("t"), ContextInfo: info}
	once := proto.CloneOf(image)
	once.ViewOnce = new(true)
	card := writeVCard("Bia", "5511999990002")
	for name, tc := range map[string]struct {
		msg *waE2E.Message
		no  bool
	}{
		"Text":      {msg: &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: str("hi"), ContextInfo: info}}},
		"Picture":   {msg: &waE2E.Message{ImageMessage: image}},
		"Film":      {msg: &waE2E.Message{VideoMessage: &waE2E.VideoMessage{DirectPath: str("/p"), ContextInfo: info}}},
		"Round":     {msg: &waE2E.Message{PtvMessage: &waE2E.VideoMessage{DirectPath: str("/p"), ContextInfo: info}}},
		"Voice":     {msg: &waE2E.Message{AudioMessage: &waE2E.AudioMessage{DirectPath: str("/p"), PTT: new(true), ContextInfo: info}}},
		"Sticker":   {msg: &waE2E.Message{StickerMessage: &waE2E.StickerMessage{DirectPath: str("/p"), ContextInfo: info}}},
		"Document":  {msg: &waE2E.Message{DocumentMessage: &waE2E.DocumentMessage{DirectPath: str("/p"), FileName: str("a.pdf"), ContextInfo: info}}},
		"Captioned": {msg: &waE2E.Message{DocumentMessage: &waE2E.DocumentMessage{DirectPath: str("/p"), Caption: str("see"), ContextInfo: info}}},
		"Place":     {msg: &waE2E.Message{LocationMessage: &waE2E.LocationMessage{DegreesLatitude: new(1.0), DegreesLongitude: new(2.0), ContextInfo: info}}},
		"Card":      {msg: &waE2E.Message{ContactMessage: &waE2E.ContactMessage{DisplayName: str("Bia"), Vcard: &card, ContextInfo: info}}},
		"Once":      {msg: &waE2E.Message{ImageMessage: once}, no: true},
		"Poll":      {msg: &waE2E.Message{PollCreationMessage: &waE2E.PollCreationMessage{Name: str("x"), ContextInfo: info}}, no: true},
		"Unknown":   {msg: &waE2E.Message{OrderMessage: &waE2E.OrderMessage{}}, no: true},
		"Nowhere":   {msg: &waE2E.Message{LocationMessage: &waE2E.LocationMessage{ContextInfo: info}}, no: true},
	} {
		said := read(tc.msg)
		m := tenant.Message{Payload: filePayload(tc.msg)}
		said.fill(&m)
		wire, err := composeForward(&m)
		if tc.no {
			require.ErrorIs(t, err, ErrNotForwardable, name)
			continue
		}
		require.NoError(t, err, name)
		got := read(unwrapped(wire))
		require.True(t, got.forwarded, name)
		require.Equal(t, 4, got.score, name)
		said.forwarded, said.score, said.replyTo, said.mentions = true, 4, "", nil
		require.Equal(t, said, got, name)
		if part := filePartOf(tc.msg); part != nil {
			require.Equal(t, part.GetDirectPath(), filePartOf(wire).GetDirectPath(), name)
			require.Equal(t, part.GetMediaKey(), filePartOf(wire).GetMediaKey(), name)
		}
	}
	edited := tenant.Message{Type: tenant.TypeImage, Text: "new", Media: &tenant.Media{}, Payload: filePayload(&waE2E.Message{ImageMessage: image})}
	wire, err := composeForward(&edited)
	require.NoError(t, err)
	require.Equal(t, "new", read(wire).text)
}

func TestHistoryHasContents(t *testing.T) {
	t.Parallel()
	card := writeVCard("Bia", "5511999990002")
	for name, msg := range map[string]*waE2E.Message{
		"Place": {LocationMessage: &waE2E.LocationMessage{DegreesLatitude: new(1.0), DegreesLongitude: new(2.0), ContextInfo: marked(nil, 2)}},
		"Card":  {ContactMessage: &waE2E.ContactMessage{Vcard: &card, ContextInfo: marked(nil, 2)}},
	} {
		parse := func(chat types.JID, m *waWeb.WebMessageInfo) (*events.Message, error) {
			evt := &events.Message{RawMessage: m.GetMessage(), Info: types.MessageInfo{
				ID: "ID", Timestamp: stamp, MessageSource: types.MessageSource{Chat: chat, Sender: chat},
			}}
			return evt.UnwrapRaw(), nil
		}
		changes := me.past(anaPN, &waWeb.WebMessageInfo{Message: msg}, parse)
		require.Len(t, changes, 1, name)
		m := changes[0].(tenant.PutMessage).Message
		require.True(t, m.Forwarded, name)
		require.Equal(t, 2, m.ForwardScore, name)
		require.True(t, m.Location != nil || len(m.Contacts) == 1, name)
	}
}
