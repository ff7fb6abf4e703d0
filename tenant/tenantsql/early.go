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
)

// early is an edit, a deletion or a reaction, also while it waits for its message.
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
		surplus, err := collect(ctx, b.tx, scanInt, selectEarlyAge, string(id), maxEarly)
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

// catchUp applies what waits for a message that has come.
func (b *batch) catchUp(ctx context.Context, id tenant.ID, m *tenant.Message) error {
	h, err := b.head(ctx, id)
	if err != nil || h.early == 0 {
		return err
	}
	waiting, err := collect(ctx, b.tx, scanEarly, selectEarly, string(id), string(m.ID))
	if err != nil {
		return fmt.Errorf("find what waits: %w", err)
	}
	for i := range waiting {
		e := &waiting[i]
		key := *e
		if err = b.resolveEarly(ctx, id, e); err != nil {
			return err
		}
		if e.chat != m.ChatID || e.sender != m.SenderID {
			continue // another member's message of the same id
		}
		if m.Type == tenant.TypeUnsupported && e.kind == earlyEdit {
			continue // waits for the content, too
		}
		_, err = b.exec(ctx, id, deleteEarly, string(key.message), string(key.chat), string(key.sender), key.kind, string(key.by))
		if err != nil {
			return fmt.Errorf("take what waits: %w", err)
		}
		row, err := scanMessageRow(b.row(ctx, id, selectMessageByKey, string(m.ChatID), string(m.ID), string(m.SenderID)))
		if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		if _, err = b.reviseRow(ctx, id, row, e); err != nil {
			return err
		}
		*m = row.message
	}
	if len(waiting) == 0 {
		return nil
	}
	return b.countEarly(ctx, id, h)
}
