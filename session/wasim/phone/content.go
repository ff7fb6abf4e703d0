package phone

import (
	"context"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// Location is a place that a message shows.
type Location struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Name      string  `json:"name,omitempty"`
	Address   string  `json:"address,omitempty"`
}

// Contact is a contact card.
type Contact struct {
	Name  string `json:"name"`
	VCard string `json:"vcard"`
}

// SendLocation sends a place; otherwise as [Phone.SendText].
func (p *Phone) SendLocation(ctx context.Context, to string, l Location, opts SendOptions) (string, error) {
	return p.sendPart(ctx, to, opts, &waE2E.Message{LocationMessage: &waE2E.LocationMessage{
		DegreesLatitude: &l.Latitude, DegreesLongitude: &l.Longitude, Name: optional(l.Name), Address: optional(l.Address),
	}})
}

// SendContact sends a contact card; otherwise as [Phone.SendText].
func (p *Phone) SendContact(ctx context.Context, to string, c Contact, opts SendOptions) (string, error) {
	return p.sendPart(ctx, to, opts, &waE2E.Message{ContactMessage: &waE2E.ContactMessage{DisplayName: &c.Name, Vcard: &c.VCard}})
}

func (p *Phone) sendPart(ctx context.Context, to string, opts SendOptions, part *waE2E.Message) (string, error) {
	jid, err := p.recipient(ctx, to, opts)
	if err != nil {
		return "", err
	}
	return p.send(ctx, jid, outgoing{part: part, SendOptions: opts})
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// contentIn puts into an entry what a message shows beside its text and its file.
func contentIn(entry *Entry, m *waE2E.Message) {
	if l := m.GetLocationMessage(); l != nil {
		entry.Location = &Location{
			Latitude: l.GetDegreesLatitude(), Longitude: l.GetDegreesLongitude(), Name: l.GetName(), Address: l.GetAddress(),
		}
	}
	cards := m.GetContactsArrayMessage().GetContacts()
	if c := m.GetContactMessage(); c != nil {
		cards = []*waE2E.ContactMessage{c}
	}
	for _, c := range cards {
		entry.Contacts = append(entry.Contacts, Contact{Name: c.GetDisplayName(), VCard: c.GetVcard()})
	}
	if i := m.GetGroupInviteMessage(); i != nil {
		entry.Invite = &GroupInvite{
			Group: i.GetGroupJID(), Name: i.GetGroupName(), Code: i.GetInviteCode(), Expiration: time.Unix(i.GetInviteExpiration(), 0),
		}
	}
}

// contextIn puts the context of a message into an entry.
func (p *Phone) contextIn(entry *Entry, info *waE2E.ContextInfo) {
	entry.ReplyTo, entry.Forwarded = info.GetStanzaID(), info.GetIsForwarded()
	if author, err := types.ParseJID(info.GetParticipant()); err == nil && entry.ReplyTo != "" && info.GetParticipant() != "" {
		entry.QuotedFrom = p.numberOf(author)
	}
	for _, each := range info.GetMentionedJID() {
		if jid, err := types.ParseJID(each); err == nil {
			entry.Mentions = append(entry.Mentions, p.numberOf(jid))
		}
	}
}
