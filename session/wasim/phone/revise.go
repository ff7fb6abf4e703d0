package phone

import (
	"context"
	"fmt"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

// Kinds of inbox entries that are about an earlier message, which Target names.
const (
	KindEdit     = "edit"     // Text is the new text
	KindDelete   = "delete"   // for everyone
	KindReaction = "reaction" // Text is the emoji; empty: taken back
)

// Edit replaces the text of a message that this phone's account sent to a number or a group. Nothing here checks whose message it
// is, or how old: others must not believe it. It answers the id of the edit itself. Errors as of [Phone.SendText].
func (p *Phone) Edit(ctx context.Context, to, id, text string) (string, error) {
	return p.revise(ctx, to, func(jid types.JID) (*waE2E.Message, error) {
		return p.cli.BuildEdit(jid, id, &waE2E.Message{Conversation: new(text)}), nil
	})
}

// Delete deletes a message for everyone; otherwise as [Phone.Edit]. In a group, ErrUnknownMessage for one that the phone does not remember.
func (p *Phone) Delete(ctx context.Context, to, id string) (string, error) {
	return p.DeleteFrom(ctx, to, id, "")
}

// DeleteFrom deletes the message of this author: admins of a group delete those of others, and ids are their senders' own.
func (p *Phone) DeleteFrom(ctx context.Context, to, id, from string) (string, error) {
	return p.revise(ctx, to, func(jid types.JID) (*waE2E.Message, error) {
		author, err := p.target(ctx, jid, id, from)
		return p.cli.BuildRevoke(jid, author, id), err
	})
}

// React reacts to a message in the chat with a number or a group; an empty emoji takes the reaction back. Otherwise as [Phone.Delete].
func (p *Phone) React(ctx context.Context, to, id, emoji string) (string, error) {
	return p.ReactTo(ctx, to, id, "", emoji)
}

// ReactTo reacts to the message of this author.
func (p *Phone) ReactTo(ctx context.Context, to, id, from, emoji string) (string, error) {
	return p.revise(ctx, to, func(jid types.JID) (*waE2E.Message, error) {
		author, err := p.target(ctx, jid, id, from)
		return p.cli.BuildReaction(jid, author, id, emoji), err
	})
}

// target is [Phone.author] for what cannot be said without it.
func (p *Phone) target(ctx context.Context, chat types.JID, id, from string) (types.JID, error) {
	author, _, err := p.author(ctx, chat, id, from)
	if err == nil && author.IsEmpty() {
		err = fmt.Errorf("%w: %s", ErrUnknownMessage, id)
	}
	return author, err
}

func (p *Phone) revise(ctx context.Context, to string, build func(types.JID) (*waE2E.Message, error)) (string, error) {
	jid, err := p.recipient(ctx, to, SendOptions{})
	if err != nil {
		return "", err
	}
	msg, err := build(jid)
	if err != nil {
		return "", err
	}
	id := p.cli.GenerateMessageID()
	return id, p.sendMessage(ctx, jid, id, msg, false)
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
	entry.Target, entry.TargetFrom, entry.Text = target, p.targetOf(e), text
	return entry, true
}

// targetOf answers the number of the author of the message that another is about. The key speaks of who wrote it.
func (p *Phone) targetOf(e *events.Message) string {
	key := e.Message.GetReactionMessage().GetKey()
	if key == nil {
		key = e.Message.GetProtocolMessage().GetKey()
	}
	if key == nil {
		key = e.Message.GetPollUpdateMessage().GetPollCreationMessageKey()
	}
	author, err := types.ParseJID(key.GetParticipant())
	switch {
	case key.GetFromMe():
		return p.numberOf(e.Info.Sender)
	case err == nil && key.GetParticipant() != "":
		return p.numberOf(author)
	case e.Info.IsGroup:
		return ""
	case e.Info.IsFromMe:
		return p.numberOf(e.Info.Chat)
	default:
		return p.cfg.Phone
	}
}
