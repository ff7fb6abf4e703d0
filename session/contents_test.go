package session_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// saying is what a message says, in words that both sides have.
type saying struct {
	kind      tenant.MessageType
	text      string
	replyTo   string
	mentions  []string // numbers
	forwarded bool
	data      []byte // of files
	mimeType  string
	fileName  string
	place     *tenant.Location
	cards     []tenant.ContactCard
}

// exchange is a tenant and a friend in a chat, which is theirs alone or a group.
type exchange struct {
	t      *testing.T
	c      *customer
	friend *phone.Phone
	chat   tenant.ChatID // as the tenant calls it
	to     string        // as the friend does
	first  string        // a message of the friend's, to answer
}

// content is one kind of content, and how either side sends it.
type content struct {
	saying

	out func(e *exchange, s *saying) (tenant.Message, error)
	in  func(e *exchange, s *saying) (string, error)
}

const theCard = "BEGIN:VCARD\nVERSION:3.0\nN:;João;;;\nFN:João\nTEL;type=CELL;type=VOICE;waid=5511999990003:+5511999990003\nEND:VCARD"

// contents are all kinds of content.
func contents(numbers []string) map[string]content {
	text := content{
		out: func(e *exchange, s *saying) (tenant.Message, error) {
			m := session.TextMessage{Text: s.text, ReplyTo: tenant.MessageID(s.replyTo), Forwarded: s.forwarded}
			for _, n := range s.mentions {
				m.Mentions = append(m.Mentions, tenant.PersonID(n))
			}
			return e.c.w.fleet.SendText(within(e.t), e.c.ID(), e.chat, m)
		},
		in: func(e *exchange, s *saying) (string, error) {
			return e.friend.SendText(within(e.t), e.to, s.text, e.options(s))
		},
	}
	file := content{
		out: func(e *exchange, s *saying) (tenant.Message, error) {
			return e.c.sendFile(e.chat, s.data, session.FileMessage{
				Kind: s.kind, MimeType: s.mimeType, FileName: s.fileName, Caption: s.text, ReplyTo: tenant.MessageID(s.replyTo), Forwarded: s.forwarded,
			})
		},
		in: func(e *exchange, s *saying) (string, error) {
			return e.friend.SendFile(within(e.t), e.to, phone.File{
				Kind: string(s.kind), Data: s.data, MimeType: s.mimeType, Name: s.fileName, Caption: s.text,
			}, e.options(s))
		},
	}
	place := content{
		out: func(e *exchange, s *saying) (tenant.Message, error) {
			return e.c.w.fleet.SendLocation(within(e.t), e.c.ID(), e.chat, &session.LocationMessage{
				Location: *s.place, ReplyTo: tenant.MessageID(s.replyTo), Forwarded: s.forwarded,
			})
		},
		in: func(e *exchange, s *saying) (string, error) {
			return e.friend.SendLocation(within(e.t), e.to, phone.Location{
				Latitude: s.place.Latitude, Longitude: s.place.Longitude, Name: s.place.Name, Address: s.place.Address,
			}, e.options(s))
		},
	}
	card := content{
		out: func(e *exchange, s *saying) (tenant.Message, error) {
			return e.c.w.fleet.SendContact(within(e.t), e.c.ID(), e.chat, &session.CardMessage{
				Name: s.cards[0].Name, Phone: "5511999990003", ReplyTo: tenant.MessageID(s.replyTo), Forwarded: s.forwarded,
			})
		},
		in: func(e *exchange, s *saying) (string, error) {
			return e.friend.SendContact(within(e.t), e.to, phone.Contact{Name: s.cards[0].Name, VCard: s.cards[0].VCard}, e.options(s))
		},
	}
	of := func(how content, s saying) content { how.saying = s; return how }
	aCard := []tenant.ContactCard{{Name: "João", VCard: theCard, Phones: []string{"5511999990003"}}}
	masp := &tenant.Location{Latitude: -23.561414, Longitude: -46.655881, Name: "MASP", Address: "Av. Paulista 1578"}
	all := map[string]content{
		"Text":          of(text, saying{kind: tenant.TypeText, text: "Olá 👋, \u202eme\nand you?"}),
		"Reply":         of(text, saying{kind: tenant.TypeText, text: "yes", replyTo: "first"}),
		"Mentions":      of(text, saying{kind: tenant.TypeText, text: "@" + numbers[0] + " look", mentions: numbers}),
		"Forwarded":     of(text, saying{kind: tenant.TypeText, text: "a chain letter", forwarded: true}),
		"Location":      of(place, saying{kind: tenant.TypeLocation, text: "MASP", place: masp}),
		"BareLocation":  of(place, saying{kind: tenant.TypeLocation, place: &tenant.Location{}, replyTo: "first", forwarded: true}),
		"Contact":       of(card, saying{kind: tenant.TypeContact, text: "João", cards: aCard}),
		"ForwardedCard": of(card, saying{kind: tenant.TypeContact, text: "João", cards: aCard, forwarded: true, replyTo: "first"}),
	}
	for i, k := range kinds {
		s := saying{kind: k.kind, mimeType: k.mimeType, data: noise(20_000+i, byte(i)), forwarded: i%2 == 0}
		if session.Captioned(k.kind) {
			s.text = "see " + string(k.kind)
		}
		if k.kind == tenant.TypeDocument {
			s.fileName = "Rechnung für Mai €.pdf"
		}
		all["File, "+string(k.kind)] = of(file, s)
	}
	return all
}

func (e *exchange) options(s *saying) phone.SendOptions {
	return phone.SendOptions{ReplyTo: s.replyTo, Mentions: s.mentions, Forwarded: s.forwarded}
}

// seen requires that the friend's phone shows what was sent.
func (e *exchange) seen(s *saying, id string) {
	e.t.Helper()
	got, err := e.friend.WaitEntry(within(e.t), 0, func(x phone.Entry) bool { return x.Kind == phone.KindMessage && x.IDs[0] == id })
	require.NoError(e.t, err)
	require.Equal(e.t, s.replyTo, got.ReplyTo)
	require.Equal(e.t, s.mentions, got.Mentions)
	require.Equal(e.t, s.forwarded, got.Forwarded)
	if s.place == nil && s.cards == nil {
		require.Equal(e.t, s.text, got.Text)
	}
	require.Equal(e.t, s.data != nil, got.File != nil)
	if s.data != nil {
		require.Equal(e.t, string(s.kind), got.File.Kind)
		require.Equal(e.t, s.mimeType, got.File.MimeType)
		require.Equal(e.t, s.fileName, got.File.Name)
		require.True(e.t, bytes.Equal(s.data, fetchedBy(e.t, e.friend, id)), "byte for byte")
	}
	require.Equal(e.t, s.place != nil, got.Location != nil)
	if s.place != nil {
		require.Equal(e.t, phone.Location{
			Latitude: s.place.Latitude, Longitude: s.place.Longitude, Name: s.place.Name, Address: s.place.Address,
		}, *got.Location)
	}
	require.Len(e.t, got.Contacts, len(s.cards))
	for i, card := range s.cards {
		require.Equal(e.t, phone.Contact{Name: card.Name, VCard: card.VCard}, got.Contacts[i])
	}
}

// stored requires that a message of ours, sent or received, says what was said.
func (e *exchange) stored(s *saying, m *tenant.Message) {
	e.t.Helper()
	require.Equal(e.t, s.kind, m.Type)
	require.Equal(e.t, e.chat, m.ChatID)
	require.Equal(e.t, s.text, m.Text)
	require.Equal(e.t, s.replyTo, string(m.ReplyTo))
	var mentions []tenant.ChatID
	for _, n := range s.mentions {
		mentions = append(mentions, tenant.PersonID(n))
	}
	require.Equal(e.t, mentions, m.Mentions)
	require.Equal(e.t, s.forwarded, m.Forwarded)
	require.Equal(e.t, s.place, m.Location)
	require.Equal(e.t, s.cards, m.Contacts)
	require.Equal(e.t, s.data != nil, m.Media != nil)
	if s.data == nil {
		return
	}
	require.Equal(e.t, sum(s.data), m.Media.SHA256)
	require.Equal(e.t, s.mimeType, m.Media.MimeType)
	require.Equal(e.t, s.fileName, m.Media.FileName)
	data, err := e.c.fetch(e.chat, string(m.ID))
	require.NoError(e.t, err)
	require.True(e.t, bytes.Equal(s.data, data), "byte for byte")
}

func TestEveryContentGoesBothWays(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c := w.paired(wasim.PhoneConfig{Name: "Shop"})
		ana := w.phone(wasim.PhoneConfig{Name: "Ana"})
		groupID, _, err := ana.CreateGroup(within(t), "Friends", []string{c.phone.Number()})
		require.NoError(t, err)
		for name, e := range map[string]*exchange{
			"Direct": {c: c, friend: ana, chat: c.chatID(ana), to: c.phone.Number()},
			"Group":  {c: c, friend: ana, chat: tenant.ChatID(groupID), to: groupID},
		} {
			t.Run(name, func(t *testing.T) {
				e.t = t
				e.first, err = ana.SendText(within(t), e.to, "shall we?", phone.SendOptions{})
				require.NoError(t, err)
				c.message(e.chat, e.first, nil)
				for name, k := range contents([]string{ana.Number(), c.phone.Number()}) {
					e.exchange(name, &k)
				}
			})
		}
	})
}

// exchange sends a content there and back.
func (e *exchange) exchange(name string, k *content) {
	e.t.Run(name, func(t *testing.T) {
		e := *e
		e.t = t
		said := k.saying
		if said.replyTo != "" {
			said.replyTo = e.first
		}
		if said.kind == tenant.TypeDocument && said.data != nil {
			require.NotEmpty(t, said.fileName)
		}
		sent, err := k.out(&e, &said)
		require.NoError(t, err)
		require.Equal(t, tenant.StatusSent, sent.Status)
		require.True(t, sent.FromMe)
		e.stored(&said, &sent)
		again := e.c.message(e.chat, string(sent.ID), nil)
		e.stored(&said, &again)
		e.seen(&said, string(sent.ID))

		id, err := k.in(&e, &said)
		require.NoError(t, err)
		got := e.c.message(e.chat, id, nil)
		require.Equal(t, tenant.StatusReceived, got.Status)
		require.Equal(t, tenant.PersonID(e.friend.Number()), got.SenderID)
		e.stored(&said, &got)
	})
}

func TestMessagesAreForwarded(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c := w.paired(wasim.PhoneConfig{Name: "Shop"})
		ana, bia := w.phone(wasim.PhoneConfig{Name: "Ana"}), w.phone(wasim.PhoneConfig{Name: "Bia"})
		from := &exchange{t: t, c: c, friend: ana, chat: c.chatID(ana), to: c.phone.Number()}
		first, err := ana.SendText(within(t), from.to, "shall we?", phone.SendOptions{})
		require.NoError(t, err)
		c.message(from.chat, first, nil)
		for name, k := range contents([]string{ana.Number()}) {
			t.Run(name, func(t *testing.T) {
				said := k.saying
				if said.replyTo != "" {
					said.replyTo = first
				}
				id, err := k.in(from, &said)
				require.NoError(t, err)
				got := c.message(from.chat, id, nil)
				before := got.ForwardScore

				// To somebody who has no chat yet.
				sent, err := w.fleet.Forward(within(t), c.ID(), session.MessageRef{Chat: from.chat, ID: got.ID}, c.chatID(bia))
				require.NoError(t, err)
				said.replyTo, said.mentions, said.forwarded = "", nil, true
				to := &exchange{t: t, c: c, friend: bia, chat: c.chatID(bia), to: c.phone.Number()}
				to.stored(&said, &sent)
				require.Equal(t, before+1, sent.ForwardScore)
				to.seen(&said, string(sent.ID))

				// What was forwarded, back.
				back, err := w.fleet.Forward(within(t), c.ID(), session.MessageRef{Chat: to.chat, ID: sent.ID}, from.chat)
				require.NoError(t, err)
				from.stored(&said, &back)
				require.Equal(t, before+2, back.ForwardScore)
				from.seen(&said, string(back.ID))
			})
		}
	})
}

func TestWhatCannotBeForwarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{})
	ana := w.phone(wasim.PhoneConfig{})
	chat := c.chatID(ana)
	sent := c.send(chat, "hello")
	forward := func(ref session.MessageRef, to tenant.ChatID) error {
		_, err := w.fleet.Forward(within(t), c.ID(), ref, to)
		return err
	}
	ref := session.MessageRef{Chat: chat, ID: sent.ID}
	require.ErrorIs(t, forward(session.MessageRef{Chat: chat, ID: "NONE"}, chat), tenant.ErrMessageNotFound)
	require.ErrorIs(t, forward(session.MessageRef{Chat: tenant.PersonID(number()), ID: sent.ID}, chat), tenant.ErrChatNotFound)
	require.ErrorIs(t, forward(ref, tenant.PersonID(number())), tenant.ErrChatNotFound)
	for _, kind := range []tenant.MessageType{tenant.TypeUnsupported, tenant.TypePoll, tenant.TypeSystem, tenant.TypeImage, tenant.TypeLocation} {
		_, err := c.Commit(within(t), tenant.PutMessage{Message: tenant.Message{
			ID: tenant.MessageID(kind), ChatID: chat, SenderID: chat, Type: kind, Timestamp: time.Now(), Status: tenant.StatusReceived,
		}})
		require.NoError(t, err)
		require.ErrorIs(t, forward(session.MessageRef{Chat: chat, ID: tenant.MessageID(kind)}, chat), session.ErrNotForwardable, kind)
	}
	require.NoError(t, w.fleet.DeleteMessage(within(t), c.ID(), ref))
	require.ErrorIs(t, forward(ref, chat), session.ErrDeleted)
	_, err := w.fleet.Disconnect(within(t), c.ID())
	require.NoError(t, err)
	c.until(session.Stopped)
	var offline *session.OfflineError
	require.ErrorAs(t, forward(ref, chat), &offline)
}
