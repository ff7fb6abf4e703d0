package phone

import (
	"context"
	"fmt"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// MarkRead sends a read receipt for messages that came from a phone number, or in a group (…@g.us) from those who sent them, as far as
// the phone remembers. Errors as of [Phone.SendText]; ErrUnknownMessage for one of a group that is not remembered.
func (p *Phone) MarkRead(ctx context.Context, chat string, ids []string) error {
	jid, err := p.chat(chat)
	if err != nil {
		return err
	}
	if jid.Server == types.GroupServer {
		return p.markReadInGroup(ctx, jid, ids)
	}
	if known := p.chatOf(jid, ids); !known.IsEmpty() {
		jid = known // answered in the namespace it came in
	} else if lid, err := p.cli.Store.LIDs.GetLIDForPN(ctx, jid); err == nil && !lid.IsEmpty() {
		jid = lid
	}
	if err = p.markRead(ctx, jid, jid, ids); err != nil {
		return fmt.Errorf("mark read: %w", err)
	}
	return nil
}

// markReadInGroup sends one receipt to each of the authors.
func (p *Phone) markReadInGroup(ctx context.Context, group types.JID, ids []string) error {
	byAuthor := make(map[types.JID][]string)
	for _, id := range ids {
		found := false
		for _, known := range p.sent.all(id) {
			if known.chat == group && !known.from.IsEmpty() && !p.isOwn(known.from) {
				author := known.from.ToNonAD()
				byAuthor[author], found = append(byAuthor[author], id), true
			}
		}
		if !found {
			return fmt.Errorf("mark read: %w: %s", ErrUnknownMessage, id)
		}
	}
	for author, list := range byAuthor {
		if err := p.markRead(ctx, group, author, list); err != nil {
			return fmt.Errorf("mark read: %w", err)
		}
	}
	return nil
}

func (p *Phone) markRead(ctx context.Context, chat, author types.JID, ids []types.MessageID) error {
	return p.persist(ctx, func(ctx context.Context) error {
		return p.cli.MarkRead(ctx, ids, time.Now(), chat, author)
	})
}

// chatOf answers how the chat of the first of these messages was addressed, if the phone remembers it.
func (p *Phone) chatOf(chat types.JID, ids []types.MessageID) types.JID {
	if len(ids) == 0 {
		return types.EmptyJID
	}
	known, _ := p.find(chat, ids[0], "")
	if known.chatName != p.numberOf(chat) {
		return types.EmptyJID
	}
	return known.chat
}
