package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	tenantColumns = `tenant_id, COALESCE(external_id, ''), name, created_at, updated_at`

	selectTenant = `SELECT ` + tenantColumns + ` FROM tenant WHERE tenant_id=$1 AND deleted_at=0`

	// selectTenantByExternalID is how a tenant is found by those who do not know its id yet.
	selectTenantByExternalID = `SELECT ` + tenantColumns + ` FROM tenant WHERE external_id=$1 AND deleted_at=0`

	// selectTenants is the operator's list of all tenants.
	selectTenants = `
		SELECT ` + tenantColumns + ` FROM tenant WHERE tenant_id > $1 AND deleted_at=0 ORDER BY tenant_id LIMIT $2`

	insertTenant = `
		INSERT INTO tenant (tenant_id, external_id, name, created_at, updated_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT DO NOTHING`
	insertHead = `INSERT INTO head (tenant_id) VALUES ($1)`

	markDeleted    = `UPDATE tenant SET external_id=NULL, name='', deleted_at=$2 WHERE tenant_id=$1 AND deleted_at=0`
	deleteHead     = `DELETE FROM head WHERE tenant_id=$1`
	deleteSession  = `DELETE FROM session WHERE tenant_id=$1`
	deleteKeys     = `DELETE FROM api_key WHERE tenant_id=$1`
	deleteTenant   = `DELETE FROM tenant WHERE tenant_id=$1`
	selectDeletion = `SELECT tenant_id FROM tenant WHERE deleted_at > 0`

	deleteSomeMessages = `
		DELETE FROM message WHERE tenant_id=$1 AND (chat_id, message_id, sender_id) IN (
			SELECT chat_id, message_id, sender_id FROM message WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeEvents = `
		DELETE FROM journal WHERE tenant_id=$1 AND seq IN (
			SELECT seq FROM journal WHERE tenant_id=$1 ORDER BY seq LIMIT $2)`
	deleteSomeChats = `
		DELETE FROM chat WHERE tenant_id=$1 AND chat_id IN (SELECT chat_id FROM chat WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeContacts = `
		DELETE FROM contact WHERE tenant_id=$1 AND contact_id IN (
			SELECT contact_id FROM contact WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeLIDs = `
		DELETE FROM lid_map WHERE tenant_id=$1 AND lid IN (SELECT lid FROM lid_map WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeEarly = `
		DELETE FROM early WHERE tenant_id=$1 AND (message_id, chat_id, sender_id, kind, by_id) IN (
			SELECT message_id, chat_id, sender_id, kind, by_id FROM early WHERE tenant_id=$1 LIMIT $2)`
)

// deleteChunk is how many rows of a deleted tenant go in one step: the commits of others pass between two of them.
const deleteChunk = 500

func scanTenant(row dbutil.Scannable) (tenant.Tenant, error) {
	var t tenant.Tenant
	var created, updated int64
	err := row.Scan(&t.ID, &t.ExternalID, &t.Name, &created, &updated)
	t.CreatedAt, t.UpdatedAt = fromMillis(created), fromMillis(updated)
	return t, err
}

// Create makes a tenant, or returns the one that has the same external id already.
func (s *Store) Create(ctx context.Context, n tenant.NewTenant) (tenant.Tenant, bool, error) {
	var made tenant.Tenant
	var created bool
	external := sql.NullString{String: tenant.CleanText(n.ExternalID), Valid: n.ExternalID != ""}
	name := tenant.CleanText(n.Name)
	err := s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		made = tenant.Tenant{ID: tenant.NewID(), ExternalID: external.String, Name: name, CreatedAt: b.now, UpdatedAt: b.now}
		inserted, err := b.execBare(ctx, insertTenant, string(made.ID), external, name, b.now.UnixMilli(), b.now.UnixMilli())
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
func (s *Store) List(ctx context.Context, page tenant.Page) (tenant.Tenants, error) {
	var from tenant.ID
	if page.Cursor != "" {
		var err error
		if from, err = tenant.ParseIDCursor(page.Cursor); err != nil {
			return tenant.Tenants{}, err
		}
	}
	if page.Limit <= 0 {
		return tenant.Tenants{}, nil
	}
	found, err := rows(ctx, &handle{store: s, id: from}, scanTenant, selectTenants, page.Limit+1)
	if err != nil {
		return tenant.Tenants{}, s.wrap(ctx, "list tenants", err)
	}
	list := tenant.Tenants{Tenants: found}
	if len(found) > page.Limit {
		list.Tenants = found[:page.Limit]
		list.Next = found[page.Limit-1].ID.Cursor()
	}
	return list, nil
}

// Delete removes a tenant with all that it owns. The tenant is gone for everybody by the first commit; what it owned goes in
// small steps, also when the caller leaves or the process ends. Returns ErrNotFound.
func (s *Store) Delete(ctx context.Context, id tenant.ID) error {
	err := s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		if _, err := b.head(ctx, id); err != nil {
			return err
		}
		keys, err := collect(ctx, b.tx, scanString, selectKeyIDs, string(id))
		if err != nil {
			return fmt.Errorf("read keys: %w", err)
		}
		marked, err := b.execBare(ctx, markDeleted, string(id), b.now.UnixMilli())
		if err != nil {
			return fmt.Errorf("mark: %w", err)
		}
		if marked == 0 {
			return tenant.ErrNotFound
		}
		for _, statement := range []string{deleteHead, deleteSession, deleteKeys} {
			if _, err = b.execBare(ctx, statement, string(id)); err != nil {
				return err
			}
		}
		for _, key := range keys {
			b.keys = append(b.keys, tenant.KeyID(key))
		}
		b.forget(id)
		return nil
	})
	if err != nil {
		return s.wrap(ctx, "delete tenant", err)
	}
	done := make(chan error, 1)
	s.background(func() { done <- s.purge(id) })
	select {
	case err = <-done:
		return s.wrap(ctx, "delete what the tenant owned", err)
	case <-ctx.Done():
		return s.wrap(ctx, "delete what the tenant owned", context.Cause(ctx))
	}
}

// forget drops what the batch keeps of a tenant that it has deleted.
func (b *batch) forget(id tenant.ID) {
	b.deleted[id] = struct{}{}
	delete(b.heads, id)
	b.known.Remove(id)
}

// purge deletes what a deleted tenant owned, and then the tenant's own row.
func (s *Store) purge(id tenant.ID) error {
	for _, statement := range []string{deleteSomeMessages, deleteSomeEvents, deleteSomeChats, deleteSomeContacts, deleteSomeLIDs, deleteSomeEarly} {
		for gone := int64(deleteChunk); gone >= deleteChunk; {
			err := s.committer.do(s.ctx, deleteChunk, func(ctx context.Context, b *batch) (err error) {
				gone, err = b.execBare(ctx, statement, string(id), deleteChunk)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return s.committer.do(s.ctx, 1, func(ctx context.Context, b *batch) error {
		_, err := b.execBare(ctx, deleteTenant, string(id))
		return err
	})
}

// resumeDeletions goes on with the tenants whose deletion was cut short.
func (s *Store) resumeDeletions(ctx context.Context) error {
	var ids []string
	err := s.read(ctx, func(ctx context.Context, on dbutil.Execable) (err error) {
		ids, err = collect(ctx, on, scanString, selectDeletion)
		return err
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	s.background(func() {
		for _, id := range ids {
			if err := s.purge(tenant.ID(id)); err != nil {
				s.log.WarnContext(s.ctx, "deletion will be resumed at the next start", slog.String("tenant", id), slog.Any("error", err))
				return
			}
		}
	})
	return nil
}
