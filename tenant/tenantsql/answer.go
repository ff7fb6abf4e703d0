package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	selectAnswer = `
		SELECT request, chat_id, sender_id, message_id, created_at FROM idempotency WHERE tenant_id=$1 AND idem_key=$2`

	// upsertAnswer replaces a key that is too old to count.
	upsertAnswer = `
		INSERT INTO idempotency (tenant_id, idem_key, request, chat_id, sender_id, message_id, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (tenant_id, idem_key) DO UPDATE SET
			request=excluded.request, chat_id=excluded.chat_id, sender_id=excluded.sender_id, message_id=excluded.message_id,
			created_at=excluded.created_at`

	deleteOldAnswers = `
		DELETE FROM idempotency WHERE tenant_id=$1 AND idem_key IN (
			SELECT idem_key FROM idempotency WHERE tenant_id=$1 AND created_at <= $2 ORDER BY created_at LIMIT $3)`

	deleteSomeAnswers = `
		DELETE FROM idempotency WHERE tenant_id=$1 AND idem_key IN (SELECT idem_key FROM idempotency WHERE tenant_id=$1 LIMIT $2)`
)

// oldAnswersChunk is how many keys that are too old go with each that comes: more than one, so that they become fewer.
const oldAnswersChunk = 8

// storedAnswer is an answer with its age.
type storedAnswer struct {
	tenant.Answer

	at time.Time
}

func scanAnswer(row dbutil.Scannable) (a storedAnswer, err error) {
	var at int64
	err = row.Scan(&a.Request, &a.ChatID, &a.SenderID, &a.MessageID, &at)
	a.at = fromMillis(at)
	return a, err
}

func (a *storedAnswer) counts(now time.Time) bool { return now.Sub(a.at) < tenant.AnswerAge }

// keepAnswer keeps what an idempotency key stands for, and lets go of some that are too old. It refuses before it writes.
func (b *batch) keepAnswer(ctx context.Context, id tenant.ID, k tenant.KeepAnswer) error {
	key := tenant.CleanText(k.Key)
	if key == "" || len(k.Answer.Request) == 0 || k.Answer.MessageID == "" {
		return fmt.Errorf("%w: an idempotency key without its answer", errMalformed)
	}
	chatID, err := b.resolve(ctx, id, cleanID(k.Answer.ChatID))
	if err != nil {
		return err
	}
	sender, err := b.resolve(ctx, id, cleanID(k.Answer.SenderID))
	if err != nil {
		return err
	}
	message := tenant.CleanText(string(k.Answer.MessageID))
	switch stored, err := scanAnswer(b.rowBeside(ctx, id, selectAnswer, key)); {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case !stored.counts(b.now):
	case string(stored.MessageID) == message:
		return nil // made again
	default:
		return tenant.ErrKeyTaken
	}
	at := b.now
	if !k.At.IsZero() {
		at = k.At
	}
	if _, err = b.beside(ctx, id, deleteOldAnswers, b.now.Add(-tenant.AnswerAge).UnixMilli(), oldAnswersChunk); err != nil {
		return fmt.Errorf("drop the oldest: %w", err)
	}
	_, err = b.beside(ctx, id, upsertAnswer, key, k.Answer.Request, string(chatID), string(sender), message, at.UnixMilli())
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return nil
}

// Answer returns what an idempotency key stands for. Returns ErrAnswerNotFound.
func (h *handle) Answer(ctx context.Context, key string) (tenant.Answer, error) {
	found, err := row(ctx, h, scanAnswer, selectAnswer, tenant.CleanText(key))
	if errors.Is(err, sql.ErrNoRows) || err == nil && !found.counts(time.Now()) {
		return tenant.Answer{}, tenant.ErrAnswerNotFound
	}
	if err != nil {
		return tenant.Answer{}, h.store.wrap(ctx, "read idempotency key", err)
	}
	return found.Answer, nil
}
