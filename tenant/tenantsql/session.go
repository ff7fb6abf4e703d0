package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	sessionColumns = `
		COALESCE(s.device, ''), COALESCE(s.lid, ''), COALESCE(s.wanted, FALSE), COALESCE(s.state, ''), COALESCE(s.ready, FALSE),
		COALESCE(s.reason, ''), COALESCE(s.message, ''), COALESCE(s.action, ''), COALESCE(s.until_at, 0),
		COALESCE(s.paired_at, 0), COALESCE(s.reachout_since, 0), COALESCE(s.reachout_until, 0), COALESCE(s.reachout_cause, '')`

	// selectSession yields a row for each tenant that exists, whether it has a session or not.
	selectSession = `
		SELECT t.tenant_id, ` + sessionColumns + `
		FROM tenant t LEFT JOIN session s ON s.tenant_id=t.tenant_id
		WHERE t.tenant_id=$1 AND t.deleted_at=0`

	// selectLinked looks over all tenants: it is how a node learns which sessions there are.
	selectLinked = `
		SELECT s.tenant_id, ` + sessionColumns + `,
			EXISTS (SELECT 1 FROM message m WHERE m.tenant_id=s.tenant_id AND m.status = 0 AND m.from_me)
		FROM session s WHERE s.tenant_id > $1 AND s.device <> '' ORDER BY s.tenant_id LIMIT $2`

	// upsertSessions is completed by one tuple for each session.
	upsertSessions = `
		INSERT INTO session (
			tenant_id, device, lid, wanted, state, ready, reason, message, action, until_at, paired_at, updated_at,
			reachout_since, reachout_until, reachout_cause
		) VALUES %s
		ON CONFLICT (tenant_id) DO UPDATE SET
			device=excluded.device, lid=excluded.lid, wanted=excluded.wanted, state=excluded.state, ready=excluded.ready,
			reason=excluded.reason, message=excluded.message, action=excluded.action, until_at=excluded.until_at,
			paired_at=excluded.paired_at, updated_at=excluded.updated_at, reachout_since=excluded.reachout_since,
			reachout_until=excluded.reachout_until, reachout_cause=excluded.reachout_cause`
	upsertSessionsTuple = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
)

// linkedChunk is how many sessions are read at a time when a node starts.
const linkedChunk = 500

func scanLinked(row dbutil.Scannable) (tenant.Linked, error) {
	var pending bool
	l, err := scanSession(row, &pending)
	l.Pending = pending
	return l, err
}

// scanSession scans sessionColumns behind a tenant's id, and what comes behind them.
func scanSession(row dbutil.Scannable, rest ...any) (tenant.Linked, error) {
	var l tenant.Linked
	var until, paired, since, lifted int64
	s := &l.Session
	err := row.Scan(append([]any{
		&l.ID, &s.Device, &s.LID, &s.Wanted, &s.Status.State, &s.Status.Ready, &s.Status.Reason, &s.Status.Message, &s.Status.Action, &until,
		&paired, &since, &lifted, &s.Reachout.Cause,
	}, rest...)...)
	s.Reachout.Since, s.Reachout.Until = fromMillis(since), fromMillis(lifted)
	s.Until, s.PairedAt = fromMillis(until), fromMillis(paired)
	return l, err
}

// Session returns the session's row; the zero Session when the tenant was never paired. Returns ErrNotFound.
func (h *handle) Session(ctx context.Context) (tenant.Session, error) {
	found, err := row(ctx, h, func(row dbutil.Scannable) (tenant.Linked, error) { return scanSession(row) }, selectSession)
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

// cleanSession makes a row storable, as it will be read again.
func cleanSession(s tenant.Session) tenant.Session {
	s.Device, s.LID = tenant.CleanText(s.Device), cleanID(s.LID)
	for _, text := range []*string{&s.Status.State, &s.Status.Reason, &s.Status.Message, &s.Status.Action} {
		*text = tenant.CleanText(*text)
	}
	s.Until, s.PairedAt = fromMillis(millis(s.Until)), fromMillis(millis(s.PairedAt))
	s.Status.Reachout = nil
	lock := &s.Reachout
	lock.Cause = tenant.CleanText(lock.Cause)
	lock.Since, lock.Until = fromMillis(millis(lock.Since)), fromMillis(millis(lock.Until))
	return s
}

// sessionWrites writes sessions.
func (b *batch) sessionWrites(sessions map[tenant.ID]tenant.Session) []statement {
	return manyWrites("write sessions", upsertSessions, upsertSessionsTuple, slices.Sorted(maps.Keys(sessions)), func(id tenant.ID) []any {
		s := sessions[id]
		return []any{
			string(id), s.Device, string(s.LID), s.Wanted, s.Status.State, s.Status.Ready, s.Status.Reason, s.Status.Message, s.Status.Action,
			millis(s.Until), millis(s.PairedAt), b.now.UnixMilli(), millis(s.Reachout.Since), millis(s.Reachout.Until), s.Reachout.Cause,
		}
	})
}

// writeSession has a session written.
func (b *batch) writeSession(ctx context.Context, id tenant.ID, s tenant.Session) error {
	if _, err := b.touch(ctx, id); err != nil {
		return err
	}
	if b.unwritten.sessions == nil {
		b.unwritten.sessions = map[tenant.ID]tenant.Session{}
	}
	b.unwritten.sessions[id] = s
	b.sessions[id] = s
	return nil
}

// session is the tenant's as it will be after what the batch has done so far. Returns ErrNotFound.
func (b *batch) session(ctx context.Context, id tenant.ID) (tenant.Session, error) {
	if s, known := b.sessions[id]; known {
		return s, nil
	}
	stored, err := scanSession(b.rowBeside(ctx, id, selectSession))
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.Session{}, tenant.ErrNotFound
	}
	if err != nil {
		return tenant.Session{}, fmt.Errorf("read: %w", err)
	}
	b.sessions[id] = stored.Session
	return stored.Session, nil
}

func (b *batch) setSession(ctx context.Context, id tenant.ID, c tenant.SetSession) error {
	next := cleanSession(c.Session)
	stored, err := b.session(ctx, id)
	if err != nil || stored == next {
		return err
	}
	if err = b.writeSession(ctx, id, next); err != nil {
		return err
	}
	before, status, lock := stored.Status, &next.Status, &next.Reachout
	if before.State == status.State && before.Reason == status.Reason && before.Ready == status.Ready && stored.Reachout == *lock {
		return nil
	}
	if !lock.Until.IsZero() {
		status.Reachout = lock
	}
	return b.emit(ctx, id, tenant.EventSessionStatus, status)
}
