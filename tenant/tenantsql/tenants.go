package tenantsql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	// tenantColumns say of a tenant without a session what package session calls one that was never paired.
	tenantColumns = `
		t.tenant_id, COALESCE(t.external_id, ''), t.name, t.metadata, t.suspended_at, t.created_at, t.updated_at,
		` + tenantState
	tenantState = `COALESCE(NULLIF(s.state, ''), 'unpaired')`
	tenantTable = ` FROM tenant t LEFT JOIN session s ON s.tenant_id=t.tenant_id `

	selectTenant = `SELECT ` + tenantColumns + tenantTable + `WHERE t.tenant_id=$1 AND t.deleted_at=0`

	// selectTenantByExternalID is how a tenant is found by those who do not know its id yet.
	selectTenantByExternalID = `SELECT ` + tenantColumns + tenantTable + `WHERE t.external_id=$1 AND t.deleted_at=0`

	// selectTenants is the operator's list of all tenants. It is completed by what they are to be like.
	selectTenants = `
		SELECT ` + tenantColumns + tenantTable + `
		WHERE t.tenant_id > $1 AND t.deleted_at=0%s ORDER BY t.tenant_id LIMIT $2`

	// selectSuspended looks over all tenants: it is how a node learns whom to leave alone.
	selectSuspended = `SELECT tenant_id FROM tenant WHERE tenant_id > $1 AND suspended_at > 0 AND deleted_at=0 ORDER BY tenant_id LIMIT $2`

	insertTenant = `
		INSERT INTO tenant (tenant_id, external_id, name, metadata, folded, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT DO NOTHING`
	insertHead = `INSERT INTO head (tenant_id) VALUES ($1)`

	updateTenant = `
		UPDATE tenant SET external_id=$2, name=$3, metadata=$4, folded=$5, suspended_at=$6, updated_at=$7 WHERE tenant_id=$1`
)

// tenantChunk is how many tenants are read at a time where all are.
const tenantChunk = 500

func scanTenant(row dbutil.Scannable) (tenant.Tenant, error) {
	var t tenant.Tenant
	var metadata string
	var suspended, created, updated int64
	err := row.Scan(&t.ID, &t.ExternalID, &t.Name, &metadata, &suspended, &created, &updated, &t.SessionState)
	if err != nil {
		return t, err
	}
	t.SuspendedAt, t.CreatedAt, t.UpdatedAt = optionalTime(suspended), fromMillis(created), fromMillis(updated)
	if metadata != "" {
		if err = json.Unmarshal([]byte(metadata), &t.Metadata); err != nil {
			return t, fmt.Errorf("decode metadata: %w", err)
		}
	}
	return t, nil
}

// encodeMetadata is the column metadata: sorted by key, or empty.
func encodeMetadata(metadata map[string]string) (string, error) {
	if len(metadata) == 0 {
		return "", nil
	}
	encoded, err := json.Marshal(metadata)
	return string(encoded), err
}

// foldedTenant is the column folded. What is searched for holds no line break, so nothing is found across two of its parts.
func foldedTenant(t *tenant.Tenant) string {
	return fold(t.Name + "\n" + t.ExternalID + "\n" + string(t.ID))
}

// stateOfNobody is the state of a tenant without a session, as tenantState says it.
const stateOfNobody = "unpaired"

// Create makes a tenant, or returns the one that has the same external id already.
func (s *Store) Create(ctx context.Context, n tenant.NewTenant) (tenant.Tenant, bool, error) {
	var made tenant.Tenant
	var created bool
	external := sql.NullString{String: tenant.CleanText(n.ExternalID), Valid: n.ExternalID != ""}
	var metadata map[string]string
	for key, value := range n.Metadata {
		if metadata == nil {
			metadata = make(map[string]string)
		}
		metadata[tenant.CleanText(key)] = tenant.CleanText(value)
	}
	encoded, err := encodeMetadata(metadata)
	if err != nil {
		return tenant.Tenant{}, false, err
	}
	err = s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		made = tenant.Tenant{
			ID: tenant.NewID(), ExternalID: external.String, Name: tenant.CleanText(n.Name), Metadata: metadata,
			SessionState: stateOfNobody, CreatedAt: b.now, UpdatedAt: b.now,
		}
		inserted, err := b.execBare(ctx, insertTenant, string(made.ID), external, made.Name, encoded, foldedTenant(&made),
			b.now.UnixMilli(), b.now.UnixMilli())
		if err != nil {
			return fmt.Errorf("insert tenant: %w", err)
		}
		if created = inserted == 1; !created {
			made, err = scanTenant(b.tx.QueryRowContext(ctx, selectTenantByExternalID, external.String))
			return err
		}
		_, err = b.execBare(ctx, insertHead, string(made.ID))
		return err
	})
	if err != nil {
		return tenant.Tenant{}, false, s.wrap(ctx, "create tenant", err)
	}
	return made, created, nil
}

// Get returns a tenant. Returns ErrNotFound.
func (s *Store) Get(ctx context.Context, id tenant.ID) (tenant.Tenant, error) {
	found, err := row(ctx, &handle{store: s, id: id}, scanTenant, selectTenant)
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.Tenant{}, fmt.Errorf("read tenant: %w", tenant.ErrNotFound)
	}
	if err != nil {
		return tenant.Tenant{}, s.wrap(ctx, "read tenant", err)
	}
	return found, nil
}

// List returns tenants in the order of their ids. Returns ErrInvalidCursor.
func (s *Store) List(ctx context.Context, q tenant.Query) (tenant.Tenants, error) {
	var from tenant.ID
	if q.Cursor != "" {
		var err error
		if from, err = tenant.ParseIDCursor(q.Cursor); err != nil {
			return tenant.Tenants{}, err
		}
	}
	if q.Limit <= 0 {
		return tenant.Tenants{}, nil
	}
	filter, args, err := tenantFilter(&q)
	if err != nil {
		return tenant.Tenants{}, fmt.Errorf("list tenants: %w", err)
	}
	found, err := rows(ctx, &handle{store: s, id: from}, scanTenant, fmt.Sprintf(selectTenants, filter), append([]any{q.Limit + 1}, args...)...)
	if err != nil {
		return tenant.Tenants{}, s.wrap(ctx, "list tenants", err)
	}
	list := tenant.Tenants{Tenants: found}
	if len(found) > q.Limit {
		list.Tenants = found[:q.Limit]
		list.Next = found[q.Limit-1].ID.Cursor()
	}
	return list, nil
}

// tenantFilter is the conditions of a list of tenants; their parameters are numbered from 3 on.
func tenantFilter(q *tenant.Query) (filter string, args []any, err error) {
	var text strings.Builder
	add := func(condition string, arg any) {
		args = append(args, arg)
		text.WriteString(" AND " + strings.ReplaceAll(condition, "?", "$"+strconv.Itoa(len(args)+2)))
	}
	if like := pattern(q.Search); like != "" {
		add(`t.folded LIKE ? ESCAPE '\'`, like)
	}
	if q.State != "" {
		add(tenantState+`=?`, q.State)
	}
	for _, key := range slices.Sorted(maps.Keys(q.Metadata)) {
		pair, err := json.Marshal(map[string]string{key: tenant.CleanText(q.Metadata[key])})
		if err != nil {
			return "", nil, err
		}
		// Keys have no quotes, so the pair stands in the JSON as itself and nothing else does. Unlike LIKE, REPLACE knows capitals.
		add(`REPLACE(t.metadata, ?, '') <> t.metadata`, strings.Trim(string(pair), "{}"))
	}
	if q.Suspended != nil {
		condition := ` AND t.suspended_at=0`
		if *q.Suspended {
			condition = ` AND t.suspended_at>0`
		}
		text.WriteString(condition)
	}
	return text.String(), args, nil
}

// Change changes a tenant. Returns ErrNotFound, ErrExternalIDTaken, ErrMetadataFull.
func (s *Store) Change(ctx context.Context, id tenant.ID, c tenant.Patch) (tenant.Tenant, error) {
	return s.alter(ctx, "change tenant", id, func(ctx context.Context, b *batch, t *tenant.Tenant) error {
		if c.Name != nil {
			t.Name = tenant.CleanText(*c.Name)
		}
		if c.ExternalID != nil {
			t.ExternalID = tenant.CleanText(*c.ExternalID)
			other, err := scanTenant(b.tx.QueryRowContext(ctx, selectTenantByExternalID, t.ExternalID))
			if err == nil && other.ID != id {
				return tenant.ErrExternalIDTaken
			}
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return fmt.Errorf("look for the external id: %w", err)
			}
		}
		t.Metadata = maps.Clone(t.Metadata)
		for key, value := range c.Metadata {
			if value == nil {
				delete(t.Metadata, key)
				continue
			}
			if t.Metadata == nil {
				t.Metadata = make(map[string]string)
			}
			t.Metadata[tenant.CleanText(key)] = tenant.CleanText(*value)
		}
		if len(t.Metadata) > tenant.MaxMetadata {
			return tenant.ErrMetadataFull
		}
		return nil
	})
}

// Suspend shuts a tenant out. Returns ErrNotFound.
func (s *Store) Suspend(ctx context.Context, id tenant.ID) (tenant.Tenant, error) {
	return s.alter(ctx, "suspend tenant", id, func(ctx context.Context, b *batch, t *tenant.Tenant) error {
		if t.SuspendedAt == nil {
			t.SuspendedAt = &b.now
		}
		return b.tellOfKeys(ctx, id)
	})
}

// Resume lets a tenant in again. Returns ErrNotFound.
func (s *Store) Resume(ctx context.Context, id tenant.ID) (tenant.Tenant, error) {
	return s.alter(ctx, "resume tenant", id, func(ctx context.Context, b *batch, t *tenant.Tenant) error {
		t.SuspendedAt = nil
		return b.tellOfKeys(ctx, id)
	})
}

// tellOfKeys makes whoever caches the tenant's keys look again.
func (b *batch) tellOfKeys(ctx context.Context, id tenant.ID) error {
	keys, err := collect(ctx, b.tx, scanString, selectKeyIDs, string(id))
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	for _, key := range keys {
		b.keys = append(b.keys, tenant.KeyID(key))
	}
	return nil
}

// alter lets change alter a tenant's row, and stores it if it did.
func (s *Store) alter(
	ctx context.Context, doing string, id tenant.ID, change func(context.Context, *batch, *tenant.Tenant) error,
) (tenant.Tenant, error) {
	var t tenant.Tenant
	err := s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		before, err := scanTenant(b.row(ctx, id, selectTenant))
		if errors.Is(err, sql.ErrNoRows) {
			return tenant.ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		t = before
		if err = change(ctx, b, &t); err != nil {
			return err
		}
		if t.Name == before.Name && t.ExternalID == before.ExternalID && maps.Equal(t.Metadata, before.Metadata) &&
			(t.SuspendedAt == nil) == (before.SuspendedAt == nil) {
			return nil
		}
		t.UpdatedAt = b.now
		metadata, err := encodeMetadata(t.Metadata)
		if err != nil {
			return err
		}
		_, err = b.exec(ctx, id, updateTenant, sql.NullString{String: t.ExternalID, Valid: t.ExternalID != ""}, t.Name, metadata,
			foldedTenant(&t), optionalMillis(t.SuspendedAt), b.now.UnixMilli())
		return err
	})
	if err != nil {
		return tenant.Tenant{}, s.wrap(ctx, doing, err)
	}
	return t, nil
}

// Suspended yields the tenants that are suspended, in the order of their ids.
func (s *Store) Suspended(ctx context.Context) iter.Seq2[tenant.ID, error] {
	return func(yield func(tenant.ID, error) bool) {
		for from := tenant.ID(""); ; {
			found, err := rows(ctx, &handle{store: s, id: from}, scanString, selectSuspended, tenantChunk)
			if err != nil {
				yield("", s.wrap(ctx, "list suspended tenants", err))
				return
			}
			for _, id := range found {
				if from = tenant.ID(id); !yield(from, nil) {
					return
				}
			}
			if len(found) < tenantChunk {
				return
			}
		}
	}
}
