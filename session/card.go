package session

import (
	"context"
	"strings"

	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wafleet/wafleet/tenant"
)

// Bounds of contact cards. WhatsApp's apps send up to 257 cards in one message, of some hundred bytes each.
const (
	maxCards = 257
	// MaxVCard is the longest card, in bytes.
	MaxVCard = 64 << 10
	// maxVCards bounds all cards of a message together: events carry them, too.
	maxVCards     = 256 << 10
	maxCardPhones = 32
	maxCardPhone  = 64
)

// CardMessage is a contact card to send.
type CardMessage struct {
	Name string
	// Phone is the person's number in digits; a card is written with it. Else VCard is the card.
	Phone, VCard string
	ReplyTo      tenant.MessageID // optional: a stored message of the same chat
	Forwarded    bool             // it is marked as forwarded
}

// SendContact sends a contact card. Errors as of [Fleet.SendText].
func (f *Fleet) SendContact(ctx context.Context, id tenant.ID, chat tenant.ChatID, m *CardMessage) (msg tenant.Message, err error) {
	defer f.watch.contain("send", &err)
	to, err := f.address(ctx, id, chat, m.ReplyTo, 0)
	if err != nil {
		return tenant.Message{}, err
	}
	defer to.pass.end()
	card := tenant.ContactCard{Name: m.Name, VCard: m.VCard}
	if m.Phone != "" {
		card.VCard = writeVCard(m.Name, m.Phone)
	}
	wire := composeCards([]tenant.ContactCard{card}, "", marked(contextOf(nil, to.quoted), firstForward(m.Forwarded)))
	return to.sendWire(ctx, wire)
}

// composeCards writes contact cards as WhatsApp does. title is what several of them are called together.
func composeCards(cards []tenant.ContactCard, title string, info *waE2E.ContextInfo) *waE2E.Message {
	all := make([]*waE2E.ContactMessage, len(cards))
	for i, card := range cards {
		all[i] = &waE2E.ContactMessage{DisplayName: new(card.Name), Vcard: new(card.VCard)}
	}
	if len(all) == 1 {
		all[0].ContextInfo = info
		return &waE2E.Message{ContactMessage: all[0]}
	}
	return &waE2E.Message{ContactsArrayMessage: &waE2E.ContactsArrayMessage{
		DisplayName: optionalText(title), Contacts: all, ContextInfo: info,
	}}
}

// cardsOf are the contact cards of a message.
func cardsOf(msg *waE2E.Message) []tenant.ContactCard {
	var all []*waE2E.ContactMessage
	switch {
	case msg.ContactMessage != nil:
		all = []*waE2E.ContactMessage{msg.ContactMessage}
	case msg.ContactsArrayMessage != nil:
		all = msg.ContactsArrayMessage.GetContacts()
	}
	left := maxVCards
	var cards []tenant.ContactCard
	for _, one := range all[:min(len(all), maxCards)] {
		card := tenant.ContactCard{Name: cut(one.GetDisplayName(), maxNameLength)}
		if text := tenant.CleanText(one.GetVcard()); len(text) <= min(left, MaxVCard) {
			left -= len(text)
			card.VCard = text
			name, phones := readVCard(text)
			card.Phones = phones
			if card.Name == "" {
				card.Name = name
			}
		}
		cards = append(cards, card)
	}
	return cards
}

// writeVCard is a card with one number, as WhatsApp's apps write it: waid lets the receiver's app open the chat.
func writeVCard(name, digits string) string {
	text := escapeVCard(name)
	return "BEGIN:VCARD\nVERSION:3.0\nN:;" + text + ";;;\nFN:" + text +
		"\nTEL;type=CELL;type=VOICE;waid=" + digits + ":+" + digits + "\nEND:VCARD"
}

// escapeVCard writes a text as a value (RFC 2426 §4: text-value).
func escapeVCard(text string) string {
	return strings.NewReplacer("\\", "\\\\", ";", "\\;", ",", "\\,", "\r\n", "\\n", "\n", "\\n", "\r", "\\n").Replace(text)
}

func unescapeVCard(value string) string {
	return strings.NewReplacer("\\\\", "\\", "\\;", ";", "\\,", ",", "\\n", "\n", "\\N", "\n").Replace(value)
}

// IsVCard says whether a text is one card.
func IsVCard(text string) bool {
	text = strings.ToUpper(strings.TrimSpace(text))
	return strings.HasPrefix(text, "BEGIN:VCARD") && strings.HasSuffix(text, "END:VCARD") &&
		strings.Count(text, "BEGIN:VCARD") == 1 && strings.Count(text, "END:VCARD") == 1
}

// readVCard finds a card's name and its phone numbers. What it does not understand it passes over: cards come from strangers, in
// all versions.
func readVCard(text string) (name string, phones []string) {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	text = strings.NewReplacer("\n ", "", "\n\t", "").Replace(text) // long lines are folded
	for line := range strings.SplitSeq(text, "\n") {
		head, value, found := strings.Cut(line, ":")
		if !found {
			continue
		}
		property, params, _ := strings.Cut(head, ";")
		if _, inGroup, grouped := strings.Cut(property, "."); grouped { // item1.TEL
			property = inGroup
		}
		switch strings.ToUpper(strings.TrimSpace(property)) {
		case "FN":
			if name == "" {
				name = cut(strings.TrimSpace(unescapeVCard(value)), maxNameLength)
			}
		case "TEL":
			if phone := cardPhone(params, value); phone != "" && len(phones) < maxCardPhones {
				phones = append(phones, phone)
			}
		}
	}
	return name, phones
}

// cardPhone is a number of a card: the account's on WhatsApp if the card names one, else as it is written.
func cardPhone(params, value string) string {
	for param := range strings.SplitSeq(params, ";") {
		key, id, _ := strings.Cut(param, "=")
		if person := tenant.PersonID(strings.Trim(id, `"`)); strings.EqualFold(key, "waid") && isPerson(person) {
			return person.Phone()
		}
	}
	value = strings.TrimSpace(unescapeVCard(value))
	return cut(strings.TrimPrefix(value, "tel:"), maxCardPhone)
}

func isPerson(id tenant.ChatID) bool {
	_, err := tenant.ParseChatID(string(id))
	return err == nil
}
