package session

import (
	"context"
	"fmt"
	"time"

	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// Typing is what the other side of a chat sees of what we are doing.
type Typing string

// The ways of typing.
const (
	TypingComposing Typing = "composing"
	TypingRecording Typing = "recording"
	TypingPaused    Typing = "paused"
)

// maxRead bounds the messages that one call marks as read at WhatsApp, maxReceipt those of one receipt.
const maxRead, maxReceipt = 1000, 256

// MarkRead tells WhatsApp that the unread messages of a chat were read, up to the newest 1,000, and counts the chat as read.
//
// Returns [tenant.ErrChatNotFound], *[OfflineError], *[UncertainError] and ErrStopping.
func (f *Fleet) MarkRead(ctx context.Context, id tenant.ID, chat tenant.ChatID) (err error) {
	defer f.watch.contain("mark_read", &err)
	h := f.cfg.Store.Tenant(id)
	stored, err := h.Chat(ctx, chat)
	if err != nil {
		return fmt.Errorf("find chat: %w", err)
	}
	c, err := f.reach(ctx, id)
	if err != nil || stored.UnreadCount == 0 {
		return err
	}
	bySender, err := unread(ctx, h, &stored)
	if err != nil {
		return fmt.Errorf("find unread messages: %w", err)
	}
	err = c.tell(ctx, func(ctx context.Context) error {
		to, err := c.address(ctx, stored.ID)
		if err != nil {
			return err
		}
		for sender, ids := range bySender {
			from, err := c.address(ctx, sender)
			if err != nil {
				return err
			}
			for len(ids) > 0 {
				n := min(len(ids), maxReceipt)
				if err = c.cli.MarkRead(ctx, ids[:n], time.Now(), to, from); err != nil {
					return err
				}
				ids = ids[n:]
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err = h.Commit(ctx, tenant.MarkRead{ChatID: stored.ID}); err != nil {
		return fmt.Errorf("store that the chat was read: %w", err)
	}
	return nil
}

// unread are the ids of a chat's unread messages by sender: the newest of others, as many as are counted as unread.
func unread(ctx context.Context, h tenant.Handle, chat *tenant.Chat) (map[tenant.ChatID][]types.MessageID, error) {
	bySender := map[tenant.ChatID][]types.MessageID{}
	page, err := h.Messages(ctx, chat.ID, tenant.MessageQuery{Limit: maxRead})
	if err != nil {
		return nil, err
	}
	left := chat.UnreadCount
	for i := range page.Messages {
		m := &page.Messages[i]
		if m.FromMe {
			continue
		}
		if left--; left < 0 {
			break
		}
		bySender[m.SenderID] = append(bySender[m.SenderID], types.MessageID(m.ID))
	}
	return bySender, nil
}

// ShowTyping shows the other side of a chat that we are typing, recording, or not any more. Errors as of [Fleet.MarkRead].
func (f *Fleet) ShowTyping(ctx context.Context, id tenant.ID, chat tenant.ChatID, state Typing) (err error) {
	defer f.watch.contain("typing", &err)
	stored, err := f.cfg.Store.Tenant(id).Chat(ctx, chat)
	if err != nil {
		return fmt.Errorf("find chat: %w", err)
	}
	c, err := f.reach(ctx, id)
	if err != nil {
		return err
	}
	return c.tell(ctx, func(ctx context.Context) error {
		to, err := c.address(ctx, stored.ID)
		if err != nil {
			return err
		}
		presence, media := types.ChatPresenceComposing, types.ChatPresenceMediaText
		switch state {
		case TypingRecording:
			media = types.ChatPresenceMediaAudio
		case TypingPaused:
			presence = types.ChatPresencePaused
		case TypingComposing:
		}
		return c.cli.SendChatPresence(ctx, to, presence, media)
	})
}

// tell sends WhatsApp what it does not answer. Returns *OfflineError, *UncertainError.
func (c *conn) tell(ctx context.Context, send func(context.Context) error) error {
	if !c.sends.enter() {
		return c.offline()
	}
	defer c.sends.leave()
	ctx, cancel := context.WithTimeout(ctx, c.actor.fleet.pace.LookupTimeout)
	defer cancel()
	if err := send(ctx); err != nil {
		c.log.WarnContext(ctx, "WhatsApp was not told", "error", redact(err.Error()))
		return &UncertainError{Err: err}
	}
	return nil
}

// address is how WhatsApp names a chat or a person: by the LID, if it is known.
func (c *conn) address(ctx context.Context, id tenant.ChatID) (types.JID, error) {
	if id.Phone() == "" {
		return jidOf(id), nil
	}
	lids, err := c.actor.handle.LIDs(ctx, []tenant.ChatID{id})
	if err != nil {
		return types.EmptyJID, fmt.Errorf("find the hidden id: %w", err)
	}
	if lid, ok := lids[id]; ok {
		return jidOf(lid), nil
	}
	return jidOf(id), nil
}
