package session

import (
	"go.mau.fi/whatsmeow/proto/waE2E"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/tenant"
)

// compose writes a text as WhatsApp does: a bare conversation, or an extended text if it answers, mentions or is marked as forwarded.
func compose(m *TextMessage, quoted *tenant.Message) *waE2E.Message {
	info := marked(contextOf(m.Mentions, quoted), firstForward(m.Forwarded))
	if info == nil {
		return &waE2E.Message{Conversation: new(m.Text)}
	}
	return &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: new(m.Text), ContextInfo: info}}
}

// contextOf is what a message answers and whom it mentions; nil for nothing.
func contextOf(mentions []tenant.ChatID, quoted *tenant.Message) *waE2E.ContextInfo {
	if quoted == nil && len(mentions) == 0 {
		return nil
	}
	info := &waE2E.ContextInfo{}
	if quoted != nil {
		info.StanzaID = new(string(quoted.ID))
		info.Participant = new(jidOf(quoted.SenderID).String())
		info.QuotedMessage = quote(quoted)
	}
	for _, id := range mentions {
		info.MentionedJID = append(info.MentionedJID, jidOf(id).String())
	}
	return info
}

// quote is a stored message as an answer quotes it: without what it quoted itself.
func quote(m *tenant.Message) *waE2E.Message {
	switch {
	case m.Location != nil:
		return composePlace(m.Location, nil)
	case len(m.Contacts) > 0:
		return composeCards(m.Contacts, m.Text, nil)
	}
	var msg waE2E.Message
	if m.Type != tenant.TypeUnsupported && len(m.Payload) > 0 && proto.Unmarshal(m.Payload, &msg) == nil {
		msg.MessageContextInfo = nil
		if msg.ExtendedTextMessage != nil {
			return &waE2E.Message{Conversation: new(msg.ExtendedTextMessage.GetText())}
		}
		return &msg
	}
	return &waE2E.Message{Conversation: new(m.Text)}
}
