package session

import (
	"context"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

// maxPlaceText bounds a place's name and its address, in bytes each.
const maxPlaceText = 1024

// LocationMessage is a place to send.
type LocationMessage struct {
	Location  tenant.Location
	ReplyTo   tenant.MessageID // optional: a stored message of the same chat
	Forwarded bool             // it is marked as forwarded
}

// SendLocation sends a place. Errors as of [Fleet.SendText].
func (f *Fleet) SendLocation(
	ctx context.Context, id tenant.ID, chat tenant.ChatID, m *LocationMessage,
) (msg tenant.Message, err error) {
	defer f.watch.contain("send", &err)
	to, err := f.address(ctx, id, chat, m.ReplyTo, 0)
	if err != nil {
		return tenant.Message{}, err
	}
	defer to.pass.end()
	wire := composePlace(&m.Location, marked(contextOf(nil, to.quoted), firstForward(m.Forwarded)))
	return to.sendWire(ctx, wire)
}

// sendWire sends a message that is written already. What is stored of it is what would be read of it.
func (to *address) sendWire(ctx context.Context, wire *waE2E.Message) (tenant.Message, error) {
	said := read(unwrapped(wire))
	msg := to.conn.draft(to.chat, said.kind, wire)
	said.fill(&msg)
	return to.deliver(ctx, msg, wire)
}

// unwrapped is what a message says, without what WhatsApp wraps around it.
func unwrapped(wire *waE2E.Message) *waE2E.Message {
	return (&events.Message{RawMessage: wire}).UnwrapRaw().Message
}

// composePlace writes a place as WhatsApp does.
func composePlace(l *tenant.Location, info *waE2E.ContextInfo) *waE2E.Message {
	return &waE2E.Message{LocationMessage: &waE2E.LocationMessage{
		DegreesLatitude: new(l.Latitude), DegreesLongitude: new(l.Longitude),
		Name: optionalText(l.Name), Address: optionalText(l.Address), ContextInfo: info,
	}}
}

// placeOf is the place that a message says; nil if it says none, or one that is not on earth.
func placeOf(msg *waE2E.Message) *tenant.Location {
	var place *tenant.Location
	known := false
	switch {
	case msg.LocationMessage != nil:
		m := msg.LocationMessage
		known = m.DegreesLatitude != nil && m.DegreesLongitude != nil
		place = &tenant.Location{
			Latitude: m.GetDegreesLatitude(), Longitude: m.GetDegreesLongitude(),
			Name: cut(m.GetName(), maxPlaceText), Address: cut(m.GetAddress(), maxPlaceText), Live: m.GetIsLive(),
		}
	case msg.LiveLocationMessage != nil:
		m := msg.LiveLocationMessage
		known = m.DegreesLatitude != nil && m.DegreesLongitude != nil
		place = &tenant.Location{Latitude: m.GetDegreesLatitude(), Longitude: m.GetDegreesLongitude(), Live: true}
	}
	if place == nil || !known || !place.OnEarth() {
		return nil
	}
	return place
}
