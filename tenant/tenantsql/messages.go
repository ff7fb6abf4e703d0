package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/wafleet/wafleet/tenant"
)

// What goes through a chat's messages in their order names the chat as (tenant_id || '/' || chat_id), as the indexes message_order and
// message_file do: so that these fit nothing else, and a single message is looked up by its key. See migration 15. A tenant's id has no
// slash.

const (
	selectMessages = `
		SELECT ` + messageColumns + `
		FROM message m
		WHERE (m.tenant_id || '/' || m.chat_id)=($1 || '/' || $2)
			AND (m.sent_at, m.ord) < ($3, $4)
			AND m.sent_at > $5
			AND ($6 = '' OR COALESCE(m.folded, lower(m.body)) LIKE $6 ESCAPE '\')
		ORDER BY m.sent_at DESC, m.ord DESC
		LIMIT $7`

	selectMessage = `
		SELECT ` + messageColumns + `, m.payload
		FROM message m
		WHERE m.tenant_id=$1 AND m.chat_id=$2 AND m.message_id=$3 AND ($4 = '' OR m.sender_id = $4)
		ORDER BY m.from_me DESC, m.sent_at DESC, m.ord DESC
		LIMIT 1`

	selectPending = `
		SELECT ` + messageColumns + `, m.payload
		FROM message m
		WHERE m.tenant_id=$1 AND m.status = 0 AND m.from_me
		ORDER BY m.ord
		LIMIT $2`

	selectChatExists = `SELECT COUNT(*) FROM chat WHERE tenant_id=$1 AND chat_id=$2`
)

// Messages returns messages of a chat, newest first. Returns ErrChatNotFound, ErrInvalidCursor.
func (h *handle) Messages(ctx context.Context, id tenant.ChatID, q tenant.MessageQuery) (tenant.Messages, error) {
	beforeAt, beforeOrd := int64(math.MaxInt64), int64(math.MaxInt64)
	if q.Cursor != "" {
		at, ord, err := tenant.ParseMessageCursor(q.Cursor)
		if err != nil {
			return tenant.Messages{}, err
		}
		beforeAt, beforeOrd = at.UnixMilli(), ord
	}
	if q.Before != 0 && q.Before <= beforeAt {
		beforeAt, beforeOrd = q.Before, math.MinInt64
	}
	after := int64(math.MinInt64)
	if q.After != 0 {
		after = q.After
	}
	limit := q.Limit
	if limit <= 0 {
		return tenant.Messages{}, nil
	}
	id, err := h.Resolve(ctx, id)
	if err != nil {
		return tenant.Messages{}, err
	}
	// One more than asked for tells whether there is a next page.
	found, err := rows(ctx, h, scanMessage, selectMessages, string(id), beforeAt, beforeOrd, after, pattern(q.Search), limit+1)
	if err != nil {
		return tenant.Messages{}, h.store.wrap(ctx, "list messages", err)
	}
	if len(found) == 0 {
		return tenant.Messages{}, h.chatExists(ctx, id)
	}
	page := tenant.Messages{Messages: found}
	if len(found) > limit {
		page.Messages = found[:limit]
		page.Next = found[limit-1].Cursor()
	}
	return page, nil
}

// chatExists returns ErrChatNotFound when there is no such chat.
func (h *handle) chatExists(ctx context.Context, id tenant.ChatID) error {
	n, err := row(ctx, h, scanInt, selectChatExists, string(id))
	if err != nil {
		return h.store.wrap(ctx, "read chat", err)
	}
	if n == 0 {
		return fmt.Errorf("read chat: %w", tenant.ErrChatNotFound)
	}
	return nil
}

// Message returns a message by its id: our own if there is one, else the newest. Returns ErrChatNotFound, ErrMessageNotFound.
func (h *handle) Message(
	ctx context.Context, chat tenant.ChatID, id tenant.MessageID, sender tenant.ChatID,
) (tenant.Message, error) {
	chat, err := h.Resolve(ctx, chat)
	if err != nil {
		return tenant.Message{}, err
	}
	if sender, err = h.Resolve(ctx, sender); err != nil {
		return tenant.Message{}, err
	}
	m, err := row(ctx, h, scanMessageWithPayload, selectMessage, string(chat), tenant.CleanText(string(id)), string(sender))
	if errors.Is(err, sql.ErrNoRows) {
		if err = h.chatExists(ctx, chat); err != nil {
			return tenant.Message{}, err
		}
		return tenant.Message{}, fmt.Errorf("read message: %w", tenant.ErrMessageNotFound)
	}
	if err != nil {
		return tenant.Message{}, h.store.wrap(ctx, "read message", err)
	}
	return m, nil
}

// Pending returns our own messages that WhatsApp has not acknowledged, in the order in which they were stored.
func (h *handle) Pending(ctx context.Context, limit int) ([]tenant.Message, error) {
	found, err := rows(ctx, h, scanMessageWithPayload, selectPending, limit)
	if err != nil {
		return nil, h.store.wrap(ctx, "list pending messages", err)
	}
	return found, nil
}
