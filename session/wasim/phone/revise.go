package phone

import (
	"context"
	"fmt"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"
)

// Kinds of inbox entries that are about an earlier message, which Target names.
const (
	KindEdit     = "edit"     // Text is the new text
	KindDelete   = "delete"   // for everyone
	KindReaction = "reaction" // Text is the emoji; empty: taken back
)

// Edit replaces the text of a message that this phone's account sent to a number. Nothing here checks whose message it is, or
// how old: others must not believe it. It answers the id of the edit itself. Errors as of [Phone.SendText].
func (p *Phone) Edit(ctx context.Context, to, id, text string) (string, error) {
	return p.revise(ctx, to, func(jid types.JID) *waE2E.Message {
		return p.cli.BuildEdit(jid, id, &waE2E.Message{Conversation: new(text)})
	})
}

// Delete deletes a message for everyone; otherwise as [Phone.Edit].
func (p *Phone) Delete(ctx context.Context, to, id string) (string, error) {
	return p.revise(ctx, to, func(jid types.JID) *waE2E.Message { return p.cli.BuildRevoke(jid, p.author(jid, id), id) })
}

// React reacts to a message in the chat with a number; an empty emoji takes the reaction back. Errors as of [Phone.SendText].
func (p *Phone) React(ctx context.Context, to, id, emoji string) (string, error) {
	return p.revise(ctx, to, func(jid types.JID) *waE2E.Message { return p.cli.BuildReaction(jid, p.author(jid, id), id, emoji) })
}

// author is who sent a message, which this phone remembers; else it is one that somebody sent to it.
func (p *Phone) author(chat types.JID, id string) types.JID {
	known, ok := p.sent.get(id)
	switch {
	case !ok:
		return chat
	case known.from.IsEmpty():
		return p.cli.Store.ID.ToNonAD()
	default:
		return known.from.ToNonAD()
	}
}

func (p *Phone) revise(ctx context.Context, to string, build func(types.JID) *waE2E.Message) (string, error) {
	number, err := Number(to)
	if err != nil {
		return "", err
	}
	jid := types.NewJID(number, types.DefaultUserServer)
	if _, err = p.lidOf(ctx, jid); err != nil {
		return "", err
	}
	id, msg := p.cli.GenerateMessageID(), build(jid)
	p.sent.keep(id, msg)
	err = p.persist(ctx, func(ctx context.Context) error {
		_, err := p.cli.SendMessage(ctx, jid, proto.CloneOf(msg), whatsmeow.SendRequestExtra{ID: id, Timeout: p.cfg.SendTimeout})
		return err
	})
	if err != nil {
		return id, fmt.Errorf("send: %w", err)
	}
	return id, nil
}

// revision is the inbox entry of a message that is about an earlier one.
func (p *Phone) revision(e *events.Message) (Entry, bool) {
	var kind, target, text string
	switch change, reaction := e.Message.GetProtocolMessage(), e.Message.GetReactionMessage(); {
	case reaction != nil:
		kind, target, text = KindReaction, reaction.GetKey().GetID(), reaction.GetText()
	case change != nil && change.GetType() == waE2E.ProtocolMessage_REVOKE:
		kind, target = KindDelete, change.GetKey().GetID()
	case change != nil && change.GetType() == waE2E.ProtocolMessage_MESSAGE_EDIT:
		kind, target = KindEdit, change.GetKey().GetID()
		text, _, _ = textOf(change.GetEditedMessage())
	default:
		return Entry{}, false
	}
	entry := p.entryOf(kind, e.Info.MessageSource, e.Info.Timestamp, []string{e.Info.ID})
	entry.Target, entry.Text = target, text
	return entry, true
}
