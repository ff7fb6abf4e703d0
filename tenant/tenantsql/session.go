package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	sessionColumns = `
		COALESCE(s.device, ''), COALESCE(s.lid, ''), COALESCE(s.wanted, FALSE), COALESCE(s.state, ''), COALESCE(s.ready, FALSE),
		COALESCE(s.reason, ''), COALESCE(s.message, ''), COALESCE(s.action, ''), COALESCE(s.until_at, 0),
		COALESCE(s.paired_at, 0)`

	// selectSession yields a row for each tenant that exists, whether it has a session or not.
	selectSession = `
		SELECT t.tenant_id, ` + sessionColumns + `
		FROM tenant t LEFT JOIN session s ON s.tenant_id=t.tenant_id
		WHERE t.tenant_id=$1 AND t.deleted_at=0`

	// selectLinked looks over all tenants: it is how a node learns which sessions there are.
	selectLinked = `
		SELECT s.tenant_id, ` + sessionColumns + `
		FROM session s WHERE s.tenant_id > $1 AND s.device <> '' ORDER BY s.tenant_id LIMIT $2`

	upsertSession = `
		INSERT INTO session (
			tenant_id, device, lid, wanted, state, ready, reason, message, action, until_at, paired_at, updated_at
		) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (tenant_id) DO UPDATE SET
			device=excluded.device, lid=excluded.lid, wanted=excluded.wanted, state=excluded.state, ready=excluded.ready,
			reason=excluded.reason, message=excluded.message, action=excluded.action, until_at=excluded.until_at,
			paired_at=excluded.paired_at, updated_at=excluded.updated_at`
)

// linkedChunk is how many sessions are read at a time when a node starts.
const linkedChunk = 500

func scanLinked(row dbutil.Scannable) (tenant.Linked, error) {
	var l tenant.Linked
	var until, paired int64
	s := &l.Session
	err := row.Scan(&l.ID, &s.Device, &s.LID, &s.Wanted, &s.Status.State, &s.Status.Ready, &s.Status.Reason, &s.Status.Message,
		&s.Status.Action, &until, &paired)
	s.Until, s.PairedAt = fromMillis(until), fromMillis(paired)
	return l, err
}

// Session returns the session's row; the zero Session when the tenant was never paired. Returns ErrNotFound.
func (h *handle) Session(ctx context.Context) (tenant.Session, error) {
	found, err := row(ctx, h, scanLinked, selectSession)
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.Session{}, fmt.Errorf("read session: %w", tenant.ErrNotFound)
	}
	if err != nil {
		return tenant.Session{}, h.store.wrap(ctx, "read session", err)
	}
	return found.Session, nil
}

// Linked yields the tenants that have a linked device, in the order of their ids.
func (s *Store) Linked(ctx context.Context) iter.Seq2[tenant.Linked, error] {
	return func(yield func(tenant.Linked, error) bool) {
		for from := tenant.ID(""); ; {
			found, err := rows(ctx, &handle{store: s, id: from}, scanLinked, selectLinked, linkedChunk)
			if err != nil {
				yield(tenant.Linked{}, s.wrap(ctx, "list linked sessions", err))
				return
			}
			for _, linked := range found {
				if !yield(linked, nil) {
					return
				}
				from = linked.ID
			}
			if len(found) < linkedChunk {
				return
			}
		}
	}
}

func (b *batch) setSession(ctx context.Context, id tenant.ID, c tenant.SetSession) error {
	next := c.Session
	next.Device, next.LID = tenant.CleanText(next.Device), cleanID(next.LID)
	status := &next.Status
	for _, text := range []*string{&status.State, &status.Reason, &status.Message, &status.Action} {
		*text = tenant.CleanText(*text)
	}
	next.Until, next.PairedAt = fromMillis(millis(next.Until)), fromMillis(millis(next.PairedAt))
	stored, err := scanLinked(b.row(ctx, id, selectSession))
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if stored.Session == next {
		return nil
	}
	if _, err = b.exec(ctx, id, upsertSession, next.Device, string(next.LID), next.Wanted, status.State, status.Ready,
		status.Reason, status.Message, status.Action, millis(next.Until), millis(next.PairedAt), b.now.UnixMilli()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	before := stored.Session.Status
	if before.State == status.State && before.Reason == status.Reason && before.Ready == status.Ready {
		return nil
	}
	return b.emit(ctx, id, tenant.EventSessionStatus, status)
}
