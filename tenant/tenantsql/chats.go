package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	selectChatFull = `
		SELECT ` + chatColumns + `, ` + messageColumns + `, COALESCE(j.token, '')
		FROM chat c
		LEFT JOIN join_url j ON j.tenant_id=c.tenant_id AND j.chat_id=c.chat_id
		` + joinGroup + `
		LEFT JOIN message m ON (m.tenant_id || '/' || m.chat_id)=(c.tenant_id || '/' || c.chat_id) AND m.sent_at=c.last_sent_at AND m.ord=c.last_ord
		WHERE c.tenant_id=$1`

	selectChat = selectChatFull + ` AND c.chat_id=$2`

	selectChats = selectChatFull + `
			AND (c.activity, c.chat_id) < ($2, $3)
			AND ($4 = '' OR c.kind = $4)
			AND ($5 < 0 OR c.archived = ($5 = 1))
			AND ($6 = '' OR c.folded LIKE $6 ESCAPE '\')
		ORDER BY c.activity DESC, c.chat_id DESC
		LIMIT $7`
)

// chatChunk is how many chats are read at a time: a consumer may be slow, and must hold no connection meanwhile.
const chatChunk = 250

// Chats yields chats by newest activity, with their last messages.
//
// They are read in pieces. Without a limit no chat is missed for having moved to the top between two pieces: what did comes
// last.
func (h *handle) Chats(ctx context.Context, q tenant.ChatQuery) iter.Seq2[tenant.Chat, error] {
	return func(yield func(tenant.Chat, error) bool) {
		from, limit := top(), math.MaxInt
		if q.Cursor != "" {
			activity, id, err := tenant.ParseChatCursor(q.Cursor)
			if err != nil {
				yield(tenant.Chat{}, err)
				return
			}
			from = chatPlace{activity.UnixMilli(), id}
		}
		if q.Limit > 0 {
			limit = q.Limit
		}
		var first *chatPlace
		seen := map[tenant.ChatID]struct{}{}
		for chat, err := range h.chatsBelow(ctx, q, from, limit) {
			if !yield(chat, err) || err != nil {
				return
			}
			if first == nil {
				first = new(placeOf(&chat))
			}
			seen[chat.ID] = struct{}{}
		}
		if q.Limit <= 0 && len(seen) > chatChunk { // not a page, and not read at once
			h.missedChats(ctx, q, *first, seen)(yield)
		}
	}
}

// missedChats yields the chats that came to be above a place while the list was read, and so were not seen.
func (h *handle) missedChats(
	ctx context.Context, q tenant.ChatQuery, above chatPlace, seen map[tenant.ChatID]struct{},
) iter.Seq2[tenant.Chat, error] {
	return func(yield func(tenant.Chat, error) bool) {
		for chat, err := range h.chatsBelow(ctx, q, top(), math.MaxInt) {
			if err == nil && !placeOf(&chat).above(above) {
				return
			}
			if _, known := seen[chat.ID]; known {
				continue
			}
			if !yield(chat, err) || err != nil {
				return
			}
		}
	}
}

// chatsBelow yields up to limit chats from a place on.
func (h *handle) chatsBelow(ctx context.Context, q tenant.ChatQuery, from chatPlace, limit int) iter.Seq2[tenant.Chat, error] {
	return func(yield func(tenant.Chat, error) bool) {
		for limit > 0 {
			size := min(limit, chatChunk)
			chats, err := h.chats(ctx, q, from, size)
			if err != nil {
				yield(tenant.Chat{}, err)
				return
			}
			for i := range chats {
				from = placeOf(&chats[i])
				if !yield(chats[i], nil) {
					return
				}
			}
			if len(chats) < size {
				return
			}
			limit -= size
		}
	}
}

// chatPlace is a place in the list of chats.
type chatPlace struct {
	activity int64
	id       tenant.ChatID
}

// top is above every chat.
func top() chatPlace { return chatPlace{activity: math.MaxInt64} }

func placeOf(c *tenant.Chat) chatPlace { return chatPlace{c.Activity.UnixMilli(), c.ID} }

func (p chatPlace) above(other chatPlace) bool {
	return p.activity > other.activity || p.activity == other.activity && p.id > other.id
}

// chats reads one piece of the list.
func (h *handle) chats(ctx context.Context, q tenant.ChatQuery, from chatPlace, limit int) ([]tenant.Chat, error) {
	archived := -1
	if q.Archived != nil {
		archived = 0
		if *q.Archived {
			archived = 1
		}
	}
	found, err := rows(ctx, h, scanChat, selectChats,
		from.activity, string(from.id), string(q.Type), archived, pattern(q.Search), limit)
	if err != nil {
		return nil, h.store.wrap(ctx, "list chats", err)
	}
	return found, nil
}

// Chat returns a chat with its last message. Returns ErrChatNotFound.
func (h *handle) Chat(ctx context.Context, id tenant.ChatID) (tenant.Chat, error) {
	id, err := h.Resolve(ctx, id)
	if err != nil {
		return tenant.Chat{}, err
	}
	chat, err := row(ctx, h, scanChat, selectChat, string(id))
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.Chat{}, fmt.Errorf("read chat: %w", tenant.ErrChatNotFound)
	}
	if err != nil {
		return tenant.Chat{}, h.store.wrap(ctx, "read chat", err)
	}
	return chat, nil
}

func scanChat(row dbutil.Scannable) (tenant.Chat, error) {
	var r chatRow
	var m messageRow
	if err := r.scan(row, append(m.targets(), &r.chat.JoinToken)...); err != nil {
		return tenant.Chat{}, err
	}
	if m.message.ID != "" {
		message, err := m.done()
		if err != nil {
			return tenant.Chat{}, err
		}
		r.chat.LastMessage = &message
	}
	return r.chat, nil
}
