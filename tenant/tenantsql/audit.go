package tenantsql

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

// The audit log is the operator's: it is read over all tenants, and outlives them.
const (
	auditColumns = `audit_id, at, actor, role, operation, tenant_id, resource, status, code, client, request_id, detail`

	insertAudit = `
		INSERT INTO audit (at, actor, role, operation, tenant_id, resource, status, code, client, request_id, detail)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING audit_id`

	// endAudit fills in what is not known yet. An outcome is never changed.
	endAudit = `
		UPDATE audit SET status=$2, code=$3, detail=$4,
			tenant_id=CASE WHEN tenant_id='' THEN $5 ELSE tenant_id END,
			resource=CASE WHEN resource='' THEN $6 ELSE resource END
		WHERE audit_id=$1 AND status=0`

	// selectAudit is completed by what the entries are to be like.
	selectAudit = `SELECT ` + auditColumns + ` FROM audit WHERE (at, audit_id) < ($1, $2)%s ORDER BY at DESC, audit_id DESC LIMIT $3`

	trimAudit = `
		DELETE FROM audit WHERE audit_id IN (SELECT audit_id FROM audit WHERE at < $1 ORDER BY at, audit_id LIMIT $2)`
)

func scanAudit(row dbutil.Scannable) (tenant.AuditEntry, error) {
	var e tenant.AuditEntry
	var at int64
	var detail string
	err := row.Scan(&e.ID, &at, &e.Actor, &e.Role, &e.Operation, &e.Tenant, &e.Resource, &e.Status, &e.Code, &e.Client, &e.RequestID,
		&detail)
	if err != nil {
		return e, err
	}
	e.At = fromMillis(at)
	if detail != "" {
		if err = json.Unmarshal([]byte(detail), &e.Detail); err != nil {
			return e, fmt.Errorf("decode detail: %w", err)
		}
	}
	return e, nil
}

func encodeDetail(detail map[string]string) (string, error) {
	clean := make(map[string]string, len(detail))
	for key, value := range detail {
		clean[tenant.CleanText(key)] = tenant.CleanText(value)
	}
	return encodeMetadata(clean)
}

// audit writes an entry of the audit log, in the transaction at hand.
func (b *batch) audit(ctx context.Context, e *tenant.AuditEntry) (int64, error) {
	detail, err := encodeDetail(e.Detail)
	if err != nil {
		return 0, err
	}
	b.writes++
	id, err := scanInt(b.tx.QueryRowContext(ctx, insertAudit, b.now.UnixMilli(), tenant.CleanText(e.Actor), string(e.Role),
		e.Operation, string(e.Tenant), tenant.CleanText(e.Resource), e.Status, e.Code, e.Client, tenant.CleanText(e.RequestID), detail))
	if err != nil {
		return 0, fmt.Errorf("write audit log: %w", err)
	}
	return id, nil
}

// BeginAudit stores the entry of an action that is about to be done, and returns its number.
func (s *Store) BeginAudit(ctx context.Context, e tenant.AuditEntry) (int64, error) {
	var id int64
	err := s.committer.do(ctx, 1, func(ctx context.Context, b *batch) (err error) {
		id, err = b.audit(ctx, &e)
		return err
	})
	if err != nil {
		return 0, s.wrap(ctx, "begin audit", err)
	}
	return id, nil
}

// EndAudit notes what came of the action.
func (s *Store) EndAudit(ctx context.Context, id int64, o tenant.AuditOutcome) error {
	detail, err := encodeDetail(o.Detail)
	if err != nil {
		return fmt.Errorf("end audit: %w", err)
	}
	err = s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		_, err := b.execBare(ctx, endAudit, id, o.Status, o.Code, detail, string(o.Tenant), tenant.CleanText(o.Resource))
		return err
	})
	return s.wrap(ctx, "end audit", err)
}

// Audit returns entries, newest first. Returns ErrInvalidCursor.
func (s *Store) Audit(ctx context.Context, q tenant.AuditQuery) (tenant.AuditPage, error) {
	before, number := farFuture, int64(0)
	if !q.To.IsZero() {
		before = q.To.UnixMilli() // with the number 0: exclusive
	}
	if q.Cursor != "" {
		at, id, err := tenant.ParseAuditCursor(q.Cursor)
		if err != nil {
			return tenant.AuditPage{}, err
		}
		if at.UnixMilli() < before {
			before, number = at.UnixMilli(), id
		}
	}
	args := []any{before, number, q.Limit + 1}
	var filter strings.Builder
	add := func(condition string, arg any) {
		args = append(args, arg)
		filter.WriteString(" AND " + condition + "$" + strconv.Itoa(len(args)))
	}
	if q.Tenant != "" {
		add("tenant_id=", string(q.Tenant))
	}
	if q.Actor != "" {
		add("actor=", q.Actor)
	}
	if q.Operation != "" {
		add("operation=", q.Operation)
	}
	if !q.From.IsZero() {
		add("at>=", q.From.UnixMilli())
	}
	var found []tenant.AuditEntry
	err := s.read(ctx, func(ctx context.Context, on dbutil.Execable) (err error) {
		found, err = collect(ctx, on, scanAudit, fmt.Sprintf(selectAudit, filter.String()), args...)
		return err
	})
	if err != nil {
		return tenant.AuditPage{}, s.wrap(ctx, "read audit log", err)
	}
	page := tenant.AuditPage{Entries: found}
	if len(found) > q.Limit {
		page.Entries = found[:q.Limit]
		page.Next = found[q.Limit-1].Cursor()
	}
	return page, nil
}

// TrimAudit deletes up to limit entries that are older, and says how many.
func (s *Store) TrimAudit(ctx context.Context, before time.Time, limit int) (int64, error) {
	var gone int64
	err := s.committer.do(ctx, limit, func(ctx context.Context, b *batch) (err error) {
		gone, err = b.execBare(ctx, trimAudit, before.UnixMilli(), limit)
		return err
	})
	if err != nil {
		return 0, s.wrap(ctx, "trim audit log", err)
	}
	return gone, nil
}
