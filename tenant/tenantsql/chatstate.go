package tenantsql

import (
	"context"
	"fmt"
	"math"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	countNewer = `
		SELECT COUNT(*) FROM message WHERE (tenant_id || '/' || chat_id)=($1 || '/' || $2) AND sent_at > $3 AND NOT from_me`

	// countTold counts what was counted as unread when it came.
	countTold = `
		SELECT COUNT(*) FROM message
		WHERE (tenant_id || '/' || chat_id)=($1 || '/' || $2) AND sent_at > $3 AND sent_at <= $4 AND NOT from_me AND told`

	deleteOlderMessages = `DELETE FROM message WHERE (tenant_id || '/' || chat_id)=($1 || '/' || $2) AND sent_at <= $3`

	countChats = `SELECT kind, COUNT(*) FROM chat WHERE tenant_id=$1 GROUP BY kind`
)

// wholeSecond is the last moment of a time's second, in ms: WhatsApp's own times have seconds.
func wholeSecond(ms int64) int64 { return ms - ms%1000 + 999 }

// markRead marks a chat as read, up to a time if there is one. Of a chat that is not stored it is remembered, since its messages may come.
func (b *batch) markRead(ctx context.Context, id tenant.ID, m tenant.MarkRead) error {
	r, err := b.storedChat(ctx, id, m.ChatID)
	if err != nil {
		return err
	}
	until := wholeSecond(m.Until.UnixMilli())
	switch {
	case m.Until.IsZero() && r == nil:
		return nil
	case m.Until.IsZero():
		if r.chat.UnreadCount == 0 {
			return nil
		}
		r.readUntil = max(r.readUntil, r.lastSentAt-1) // another message of that second may come
		return b.setUnread(ctx, r, 0)
	case r == nil:
		chatID, err := b.resolve(ctx, id, cleanID(m.ChatID))
		if err != nil {
			return err
		}
		return b.keepEarly(ctx, id, &early{chat: chatID, kind: earlyRead, at: time.UnixMilli(until)})
	}
	return b.readUpTo(ctx, r, until)
}

// readUpTo marks a chat as read up to a time in ms.
func (b *batch) readUpTo(ctx context.Context, r *chatRow, until int64) error {
	if until <= r.readUntil {
		if until < r.lastSentAt {
			return nil
		}
		return b.setUnread(ctx, r, 0) // no message is newer: what is unread was marked so by hand, and now as read
	}
	from := r.readUntil
	r.readUntil = until
	if r.chat.UnreadCount == 0 {
		return b.changed(ctx, r)
	}
	unread, err := b.stillUnread(ctx, r, from)
	if err != nil {
		return err
	}
	if unread == r.chat.UnreadCount {
		return b.changed(ctx, r)
	}
	return b.setUnread(ctx, r, unread)
}

// stillUnread is how many messages are unread when the mark has moved on from a time: without those that it passed, at least those that
// were told of since, and at most those that lie behind it, since a history may have named a number of its own.
func (b *batch) stillUnread(ctx context.Context, r *chatRow, from int64) (int, error) {
	var newer, passed, told int
	err := b.row(ctx, r.tenant, countNewer, string(r.chat.ID), r.readUntil).Scan(&newer)
	if err == nil {
		err = b.row(ctx, r.tenant, countTold, string(r.chat.ID), from, r.readUntil).Scan(&passed)
	}
	if err == nil {
		err = b.row(ctx, r.tenant, countTold, string(r.chat.ID), r.readUntil, int64(math.MaxInt64)).Scan(&told)
	}
	if err != nil {
		return 0, fmt.Errorf("count unread messages: %w", err)
	}
	return min(newer, max(told, r.chat.UnreadCount-passed)), nil
}

func (b *batch) markUnread(ctx context.Context, id tenant.ID, m tenant.MarkUnread) error {
	r, err := b.storedChat(ctx, id, m.ChatID)
	if err != nil || r == nil {
		return err
	}
	return b.setUnread(ctx, r, max(1, r.chat.UnreadCount))
}

func (b *batch) setUnread(ctx context.Context, r *chatRow, unread int) error {
	if r.chat.UnreadCount == unread {
		return nil
	}
	before := r.look()
	r.chat.UnreadCount = unread
	if err := b.changed(ctx, r); err != nil {
		return err
	}
	return b.announce(ctx, r, before)
}

// storedChat is a chat, or nil if there is none.
func (b *batch) storedChat(ctx context.Context, id tenant.ID, chatID tenant.ChatID) (*chatRow, error) {
	chatID, err := b.resolve(ctx, id, cleanID(chatID))
	if err != nil {
		return nil, err
	}
	r, err := b.chat(ctx, id, chatID)
	if err != nil || !r.exists {
		return nil, err
	}
	return r, nil
}

func (b *batch) clearChat(ctx context.Context, id tenant.ID, c tenant.ClearChat) error {
	r, err := b.storedChat(ctx, id, c.ID)
	if err != nil || r == nil {
		return err
	}
	until := wholeSecond(c.Until.UnixMilli())
	if c.Drop && r.lastSentAt <= until {
		return b.deleteChat(ctx, id, tenant.DeleteChat{ID: r.chat.ID})
	}
	if err = b.lightenBy(ctx, id, selectOlderWeight, string(r.chat.ID), until); err != nil {
		return err
	}
	gone, err := b.move(ctx, id, deleteOlderMessages, string(r.chat.ID), until)
	if err != nil {
		return fmt.Errorf("delete messages: %w", err)
	}
	if gone > 0 {
		if err = b.reorder(ctx, id, r.chat.ID); err != nil {
			return err
		}
	}
	return b.markRead(ctx, id, tenant.MarkRead{ChatID: r.chat.ID, Until: c.Until})
}

// CountChats counts the chats.
func (h *handle) CountChats(ctx context.Context) (tenant.ChatCounts, error) {
	type count struct {
		kind string
		n    int
	}
	found, err := rows(ctx, h, func(row dbutil.Scannable) (c count, err error) {
		return c, row.Scan(&c.kind, &c.n)
	}, countChats)
	var counts tenant.ChatCounts
	if err != nil {
		return counts, h.store.wrap(ctx, "count chats", err)
	}
	for _, c := range found {
		if tenant.ChatType(c.kind) == tenant.ChatGroup {
			counts.Groups += c.n
		} else {
			counts.Direct += c.n
		}
	}
	return counts, nil
}
