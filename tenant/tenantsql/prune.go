package tenantsql

import (
	"context"
	"fmt"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

// What a message and an event count for, in bytes: what they hold, and about what their other columns and their indexes take. The
// texts below compute the same as messageWeight and eventWeight do.
const (
	messageOverhead = 400
	eventOverhead   = 60

	sumMessages = `SUM(octet_length(body) + COALESCE(octet_length(payload), 0) + 400)`

	selectChatWeight = `SELECT COALESCE(` + sumMessages + `, 0) FROM message WHERE tenant_id=$1 AND chat_id=$2`

	selectOlderWeight = `SELECT COALESCE(` + sumMessages + `, 0) FROM message WHERE (tenant_id || '/' || chat_id)=($1 || '/' || $2) AND sent_at <= $3`

	// selectOldChats finds some chats with messages to delete. Those of ours that are still on their way stay.
	selectOldChats = `
		SELECT c.chat_id FROM chat c WHERE c.tenant_id=$1 AND EXISTS (
			SELECT 1 FROM message m WHERE (m.tenant_id || '/' || m.chat_id)=(c.tenant_id || '/' || c.chat_id) AND m.sent_at < $2 AND m.status <> 0)
		LIMIT $3`

	oldMessages = `
		FROM message WHERE (tenant_id || '/' || chat_id)=($1 || '/' || $2) AND sent_at < $3 AND status <> 0 ORDER BY sent_at, ord LIMIT $4`
	selectOldWeight = `
		SELECT COALESCE(SUM(old.weight), 0) FROM (
			SELECT octet_length(body) + COALESCE(octet_length(payload), 0) + 400 AS weight ` + oldMessages + `) old`
	deleteOldMessages = `
		DELETE FROM message WHERE tenant_id=$1 AND chat_id=$2 AND (message_id, sender_id) IN (SELECT message_id, sender_id ` + oldMessages + `)`

	// selectOldEvents reads the journal's oldest part. Events are deleted from its beginning alone, so that it has no holes.
	selectOldEvents = `SELECT seq, created_at, octet_length(data) + 60 FROM journal WHERE tenant_id=$1 ORDER BY seq LIMIT $2`
	deleteEventsTo  = `DELETE FROM journal WHERE tenant_id=$1 AND seq <= $2`

	selectOldest = `
		SELECT COALESCE(MIN((
			SELECT m.sent_at FROM message m WHERE (m.tenant_id || '/' || m.chat_id)=(c.tenant_id || '/' || c.chat_id) ORDER BY m.sent_at, m.ord LIMIT 1)), 0)
		FROM chat c WHERE c.tenant_id=$1`
	selectOldestEvent = `SELECT created_at FROM journal WHERE tenant_id=$1 ORDER BY seq LIMIT 1`
)

func messageWeight(m *tenant.Message) int64 {
	return int64(len(m.Text)+len(m.Payload)) + messageOverhead
}

func eventWeight(data []byte) int64 { return int64(len(data)) + eventOverhead }

// lighten counts what was deleted. It never falls below zero: what a change adds to a message is not counted.
func (h *head) lighten(bytes int64) { h.stored = max(0, h.stored-bytes) }

// lightenBy counts messages of the tenant that are about to be deleted, by a query for their weight.
func (b *batch) lightenBy(ctx context.Context, id tenant.ID, query string, args ...any) error {
	weight, err := scanInt(b.row(ctx, id, query, args...))
	if err != nil {
		return fmt.Errorf("weigh messages: %w", err)
	}
	h, err := b.touch(ctx, id)
	if err == nil {
		h.lighten(weight)
	}
	return err
}

// Prune deletes a few of the oldest messages and events. Returns ErrNotFound.
func (h *handle) Prune(ctx context.Context, p tenant.Prune) (tenant.Pruned, error) {
	var done tenant.Pruned
	if p.Limit <= 0 {
		return done, nil
	}
	chats, events, err := h.old(ctx, p)
	if err != nil || len(chats) == 0 && !events {
		return done, err
	}
	err = h.store.committer.do(ctx, p.Limit, func(ctx context.Context, b *batch) error {
		done = tenant.Pruned{}
		if _, err := b.head(ctx, h.id); err != nil {
			return err
		}
		for _, chat := range chats {
			if done.Messages >= p.Limit {
				break
			}
			if err := b.pruneChat(ctx, h.id, tenant.ChatID(chat), p, &done); err != nil {
				return fmt.Errorf("delete old messages: %w", err)
			}
		}
		if events {
			if err := b.pruneEvents(ctx, h.id, p, &done); err != nil {
				return fmt.Errorf("delete old events: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return tenant.Pruned{}, h.store.wrap(ctx, "prune", err)
	}
	done.More = done.More || len(chats) > 0 // another chat may have some
	return done, nil
}

// old finds chats with messages to delete, and says whether there are events to delete. It only reads: most calls find none.
func (h *handle) old(ctx context.Context, p tenant.Prune) (chats []string, events bool, err error) {
	if !p.MessagesBefore.IsZero() {
		if chats, err = rows(ctx, h, scanString, selectOldChats, p.MessagesBefore.UnixMilli(), pruneChats); err != nil {
			return nil, false, h.store.wrap(ctx, "find old messages", err)
		}
	}
	if !p.EventsBefore.IsZero() {
		first, err := rows(ctx, h, scanInt, selectOldestEvent)
		if err != nil {
			return nil, false, h.store.wrap(ctx, "find old events", err)
		}
		events = len(first) > 0 && first[0] < p.EventsBefore.UnixMilli()
	}
	return chats, events, nil
}

// pruneChats is how many chats one call looks into: each costs a few statements.
const pruneChats = 16

// oldEvent is an event that may go, with its weight.
type oldEvent struct{ seq, at, weight int64 }

func (b *batch) pruneChat(ctx context.Context, id tenant.ID, chat tenant.ChatID, p tenant.Prune, done *tenant.Pruned) error {
	args := []any{string(chat), p.MessagesBefore.UnixMilli(), p.Limit - done.Messages}
	weight, err := scanInt(b.row(ctx, id, selectOldWeight, args...))
	if err != nil || weight == 0 {
		return err
	}
	h, err := b.touch(ctx, id)
	if err != nil {
		return err
	}
	gone, err := b.move(ctx, id, deleteOldMessages, args...)
	if err != nil {
		return err
	}
	h.lighten(weight)
	done.Bytes += weight
	done.Messages += int(gone)
	return b.reorder(ctx, id, chat)
}

func (b *batch) pruneEvents(ctx context.Context, id tenant.ID, p tenant.Prune, done *tenant.Pruned) error {
	oldest, err := ask(ctx, b, func(row dbutil.Scannable) (r oldEvent, err error) {
		err = row.Scan(&r.seq, &r.at, &r.weight)
		return r, err
	}, selectOldEvents, string(id), p.Limit)
	if err != nil {
		return err
	}
	last, n := int64(0), 0
	h, err := b.touch(ctx, id)
	if err != nil {
		return err
	}
	for _, r := range oldest {
		if r.at >= p.EventsBefore.UnixMilli() {
			break
		}
		last = r.seq
		n++
		h.lighten(r.weight)
		done.Bytes += r.weight
	}
	if n == 0 {
		return nil
	}
	if _, err = b.exec(ctx, id, deleteEventsTo, last); err != nil {
		return err
	}
	done.Events += n
	done.More = done.More || n == p.Limit
	return nil
}

// Oldest is when the oldest message or event that is kept was sent or stored.
func (h *handle) Oldest(ctx context.Context) (time.Time, error) {
	message, err := row(ctx, h, scanInt, selectOldest)
	if err != nil {
		return time.Time{}, h.store.wrap(ctx, "find the oldest message", err)
	}
	event, err := rows(ctx, h, scanInt, selectOldestEvent)
	if err != nil {
		return time.Time{}, h.store.wrap(ctx, "find the oldest event", err)
	}
	oldest := message
	if len(event) > 0 && (oldest == 0 || event[0] < oldest) {
		oldest = event[0]
	}
	return fromMillis(oldest), nil
}
