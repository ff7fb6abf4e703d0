package tenantsql

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	selectEarly = `
		SELECT chat_id, message_id, sender_id, kind, by_id, at, body, mentions
		FROM early WHERE tenant_id=$1 AND message_id=$2
		ORDER BY at`

	selectEarlyOf = `
		SELECT chat_id, message_id, sender_id, kind, by_id, at, body, mentions
		FROM early WHERE tenant_id=$1 AND (chat_id IN ($2, $3) OR sender_id IN ($2, $3))
		ORDER BY at`

	// upsertEarly keeps the latest of a kind.
	upsertEarly = `
		INSERT INTO early (tenant_id, message_id, chat_id, sender_id, kind, by_id, at, body, mentions, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (tenant_id, message_id, chat_id, sender_id, kind, by_id) DO UPDATE SET
			at=excluded.at, body=excluded.body, mentions=excluded.mentions
		WHERE excluded.at >= early.at`

	deleteEarly = `
		DELETE FROM early
		WHERE tenant_id=$1 AND message_id=$2 AND chat_id=$3 AND sender_id=$4 AND kind=$5 AND by_id=$6`

	deleteOldEarly = `DELETE FROM early WHERE tenant_id=$1 AND created_at < $2`

	// selectEarlyAge is the age of the one behind which there are no more than may be kept.
	selectEarlyAge = `SELECT created_at FROM early WHERE tenant_id=$1 ORDER BY created_at DESC LIMIT 1 OFFSET $2`

	selectEarlyRead = `
		SELECT COALESCE(MAX(at), 0) FROM early WHERE tenant_id=$1 AND message_id='' AND chat_id IN ($2, $3) AND kind='read'`

	deleteEarlyRead = `DELETE FROM early WHERE tenant_id=$1 AND message_id='' AND chat_id IN ($2, $3) AND kind='read'`

	countEarly = `SELECT COUNT(*) FROM early WHERE tenant_id=$1`
)

const (
	// earlyAge is how long a change waits for its message: WhatsApp itself keeps messages that long for who is offline.
	earlyAge = 30 * 24 * time.Hour
	// maxEarly bounds the changes of a tenant that wait; the oldest go first.
	maxEarly = 2000
)

// The kinds of what can happen to a message.
const (
	earlyEdit     = "edit"
	earlyDelete   = "delete"
	earlyReaction = "reaction"
	earlyVote     = "vote"
	earlyStatus   = "status" // of our own message, without its sender; at is the status, so that the furthest is kept
	earlyRead     = "read"   // of a chat, without a message; at is up to when
)

// early is an edit, a deletion, a reaction, a vote, a receipt or a read mark, also while it waits for its message or chat.
type early struct {
	chat     tenant.ChatID
	message  tenant.MessageID
	sender   tenant.ChatID // of the message
	kind     string
	by       tenant.ChatID
	at       time.Time
	body     string
	mentions []tenant.ChatID
	payload  []byte // not kept: only our own edits have one, and those come after their message
}

func scanEarly(row dbutil.Scannable) (e early, err error) {
	var at int64
	var mentions string
	if err = row.Scan(&e.chat, &e.message, &e.sender, &e.kind, &e.by, &at, &e.body, &mentions); err != nil {
		return e, err
	}
	e.at = time.UnixMilli(at).UTC()
	if mentions != "" {
		err = json.Unmarshal([]byte(mentions), &e.mentions)
	}
	return e, err
}

// keepEarly keeps a change until its message comes, and lets go of what has waited too long.
func (b *batch) keepEarly(ctx context.Context, id tenant.ID, e *early) error {
	delete(b.quiet, idKey{id, e.message})
	h, err := b.touch(ctx, id)
	if err != nil {
		return err
	}
	mentions, err := encodeMentions(e.mentions)
	if err != nil {
		return err
	}
	_, err = b.exec(ctx, id, upsertEarly, string(e.message), string(e.chat), string(e.sender), e.kind, string(e.by),
		e.at.UnixMilli(), e.body, mentions, b.now.UnixMilli())
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	before := b.now.Add(-earlyAge).UnixMilli()
	if h.early >= maxEarly {
		surplus, err := ask(ctx, b, scanInt, selectEarlyAge, string(id), maxEarly)
		if err != nil {
			return fmt.Errorf("find the oldest: %w", err)
		}
		if len(surplus) > 0 {
			before = max(before, surplus[0]+1)
		}
	}
	if _, err = b.exec(ctx, id, deleteOldEarly, before); err != nil {
		return fmt.Errorf("drop the oldest: %w", err)
	}
	return b.countEarly(ctx, id, h)
}

func (b *batch) countEarly(ctx context.Context, id tenant.ID, h *head) (err error) {
	if h.early, err = scanInt(b.row(ctx, id, countEarly)); err != nil {
		return fmt.Errorf("count: %w", err)
	}
	return nil
}

// earlyReceipt is a status in the form in which it waits.
func earlyReceipt(chat tenant.ChatID, message tenant.MessageID, status tenant.Status) *early {
	return &early{chat: chat, message: message, kind: earlyStatus, at: time.UnixMilli(int64(status))}
}

// catchUpReads is up to when a chat that is made was read before.
func (b *batch) catchUpReads(ctx context.Context, r *chatRow) error {
	h, err := b.head(ctx, r.tenant)
	if err != nil || h.early == 0 {
		return err
	}
	ids := []any{string(r.chat.ID), r.chat.LID}
	var until int64
	if err = b.row(ctx, r.tenant, selectEarlyRead, ids...).Scan(&until); err != nil {
		return fmt.Errorf("find read mark: %w", err)
	}
	if until == 0 {
		return nil
	}
	if _, err = b.exec(ctx, r.tenant, deleteEarlyRead, ids...); err != nil {
		return fmt.Errorf("take read mark: %w", err)
	}
	if err = b.readUpTo(ctx, r, until); err != nil {
		return err
	}
	return b.countEarly(ctx, r.tenant, h)
}

// linkEarly applies what has waited for messages that were there already, under the person's other id.
func (b *batch) linkEarly(ctx context.Context, id tenant.ID, lid, phone tenant.ChatID) error {
	h, err := b.head(ctx, id)
	if err != nil || h.early == 0 {
		return err
	}
	waiting, err := ask(ctx, b, scanEarly, selectEarlyOf, string(id), string(lid), string(phone))
	if err != nil {
		return fmt.Errorf("find what waits: %w", err)
	}
	for i := range waiting {
		e := &waiting[i]
		if err = b.resolveEarly(ctx, id, e); err != nil {
			return err
		}
		var found []tenant.Message
		if e.kind == earlyStatus {
			found, err = ask(ctx, b, scanMessage, selectOwnMessages, string(id), string(e.chat), string(e.message))
		} else {
			found, err = ask(ctx, b, scanMessageWithPayload, selectMessageByKey, string(id), string(e.chat), string(e.message), string(e.sender))
		}
		if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		for i := range found {
			if err = b.catchUp(ctx, id, &found[i]); err != nil {
				return err
			}
		}
	}
	r, err := b.chat(ctx, id, phone)
	if err != nil || !r.exists {
		return err
	}
	return b.catchUpReads(ctx, r)
}

// catchUp applies what waits for a message that has come.
func (b *batch) catchUp(ctx context.Context, id tenant.ID, m *tenant.Message) error {
	h, err := b.head(ctx, id)
	if err != nil || h.early == 0 || b.quiet.has(idKey{id, m.ID}) {
		return err
	}
	waiting, err := ask(ctx, b, scanEarly, selectEarly, string(id), string(m.ID))
	if err != nil {
		return fmt.Errorf("find what waits: %w", err)
	}
	for i := range waiting {
		e := &waiting[i]
		key := *e
		if err = b.resolveEarly(ctx, id, e); err != nil {
			return err
		}
		if e.chat != m.ChatID || e.sender != m.SenderID && (e.kind != earlyStatus || !m.FromMe) {
			continue // another member's message of the same id
		}
		if m.Type == tenant.TypeUnsupported && (e.kind == earlyEdit || e.kind == earlyVote) {
			continue // waits for the content, too
		}
		_, err = b.exec(ctx, id, deleteEarly, string(key.message), string(key.chat), string(key.sender), key.kind, string(key.by))
		if err != nil {
			return fmt.Errorf("take what waits: %w", err)
		}
		if err = b.applyEarly(ctx, id, m, e); err != nil {
			return err
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	return b.countEarly(ctx, id, h)
}

// applyEarly applies one thing that waited to a message that is stored.
func (b *batch) applyEarly(ctx context.Context, id tenant.ID, m *tenant.Message, e *early) error {
	row, err := scanMessageRow(b.row(ctx, id, selectMessageByKey, string(m.ChatID), string(m.ID), string(m.SenderID)))
	if err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	if e.kind == earlyStatus {
		s := tenant.SetStatus{Status: tenant.Status(e.at.UnixMilli())} //nolint:gosec // it was one
		own := ownRow{sender: m.SenderID, status: row.message.Status, sentAt: row.message.Timestamp.UnixMilli()}
		err = b.advance(ctx, rowKey{chatKey{id, m.ChatID}, m.ID, m.SenderID}, &own, s)
		row.message.Status = own.status
		delete(b.own, rowKey{chatKey{id, m.ChatID}, m.ID, ""}) // what was looked up is asked for again
	} else {
		_, err = b.reviseRow(ctx, id, row, e)
	}
	*m = row.message
	return err
}
