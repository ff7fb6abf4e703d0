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
	selectOverrides = `SELECT name, value FROM limit_override WHERE tenant_id=$1`

	// selectAllOverrides looks over all tenants: it is how a node learns their limits when it starts.
	selectAllOverrides = `
		SELECT o.tenant_id, o.name, o.value FROM limit_override o
		WHERE o.tenant_id IN (SELECT DISTINCT tenant_id FROM limit_override WHERE tenant_id > $1 ORDER BY tenant_id LIMIT $2)
		ORDER BY o.tenant_id, o.name`

	upsertOverride = `
		INSERT INTO limit_override (tenant_id, name, value) VALUES ($1, $2, $3)
		ON CONFLICT (tenant_id, name) DO UPDATE SET value=excluded.value`
	deleteOverride  = `DELETE FROM limit_override WHERE tenant_id=$1 AND name=$2`
	deleteOverrides = `DELETE FROM limit_override WHERE tenant_id=$1`

	selectBudget = `
		SELECT COALESCE(MAX(upload_bytes), 0), COALESCE(MAX(download_bytes), 0) FROM budget WHERE tenant_id=$1 AND day=$2`
	selectColdChats = `SELECT chat_id FROM cold_chat WHERE tenant_id=$1 AND day=$2`

	upsertBudget = `
		INSERT INTO budget (tenant_id, day, upload_bytes, download_bytes) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant_id, day) DO UPDATE SET
			upload_bytes=budget.upload_bytes+excluded.upload_bytes, download_bytes=budget.download_bytes+excluded.download_bytes`
	insertColdChat = `INSERT INTO cold_chat (tenant_id, day, chat_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`

	deleteOldBudgets   = `DELETE FROM budget WHERE tenant_id=$1 AND day < $2`
	deleteOldColdChats = `DELETE FROM cold_chat WHERE tenant_id=$1 AND day < $2`

	selectStored = `SELECT stored FROM head WHERE tenant_id=$1`
)

const (
	// overridesChunk is how many tenants' overrides are read at a time when a node starts.
	overridesChunk = 500
	// budgetDays is how many days of budgets are kept behind the one at hand.
	budgetDays = 1
)

// override is one row.
type override struct {
	tenant tenant.ID
	name   string
	value  int64
}

// Overrides yields the tenants that have overrides, in the order of their ids.
func (s *Store) Overrides(ctx context.Context) iter.Seq2[tenant.Overridden, error] {
	return func(yield func(tenant.Overridden, error) bool) {
		for from := tenant.ID(""); ; {
			found, err := rows(ctx, &handle{store: s, id: from}, func(row dbutil.Scannable) (o override, err error) {
				err = row.Scan(&o.tenant, &o.name, &o.value)
				return o, err
			}, selectAllOverrides, overridesChunk)
			if err != nil {
				yield(tenant.Overridden{}, s.wrap(ctx, "list limits", err))
				return
			}
			tenants := 0
			for len(found) > 0 {
				next := tenant.Overridden{ID: found[0].tenant, Overrides: tenant.Overrides{}}
				for len(found) > 0 && found[0].tenant == next.ID {
					next.Overrides[found[0].name] = found[0].value
					found = found[1:]
				}
				if !yield(next, nil) {
					return
				}
				from = next.ID
				tenants++
			}
			if tenants < overridesChunk {
				return
			}
		}
	}
}

// Overrides returns the tenant's overrides.
func (h *handle) Overrides(ctx context.Context) (tenant.Overrides, error) {
	found, err := rows(ctx, h, scanOverride, selectOverrides)
	if err != nil {
		return nil, h.store.wrap(ctx, "read limits", err)
	}
	return overridesOf(found), nil
}

func scanOverride(row dbutil.Scannable) (o override, err error) {
	err = row.Scan(&o.name, &o.value)
	return o, err
}

func overridesOf(found []override) tenant.Overrides {
	all := make(tenant.Overrides, len(found))
	for _, o := range found {
		all[o.name] = o.value
	}
	return all
}

// SetOverrides changes overrides and returns all. Returns ErrNotFound, ErrInvalidLimit.
func (h *handle) SetOverrides(ctx context.Context, p tenant.LimitPatch) (tenant.Overrides, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	var all tenant.Overrides
	err := h.store.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		if _, err := b.head(ctx, h.id); err != nil {
			return err
		}
		for _, s := range tenant.LimitSettings() {
			value, ok := p[s.Name]
			if !ok {
				continue
			}
			var err error
			if value == nil {
				_, err = b.exec(ctx, h.id, deleteOverride, s.Name)
			} else {
				_, err = b.exec(ctx, h.id, upsertOverride, s.Name, *value)
			}
			if err != nil {
				return fmt.Errorf("write %s: %w", s.Name, err)
			}
		}
		found, err := ask(ctx, b, scanOverride, selectOverrides, string(h.id))
		all = overridesOf(found)
		return err
	})
	if err != nil {
		return nil, h.store.wrap(ctx, "set limits", err)
	}
	return all, nil
}

// Spent returns what the tenant has taken of its budgets of a day.
func (h *handle) Spent(ctx context.Context, d tenant.Day) (tenant.Spent, error) {
	spent, err := row(ctx, h, func(row dbutil.Scannable) (s tenant.Spent, err error) {
		err = row.Scan(&s.UploadBytes, &s.DownloadBytes)
		return s, err
	}, selectBudget, int64(d))
	if err != nil {
		return tenant.Spent{}, h.store.wrap(ctx, "read budget", err)
	}
	cold, err := rows(ctx, h, scanString, selectColdChats, int64(d))
	if err != nil {
		return tenant.Spent{}, h.store.wrap(ctx, "read cold chats", err)
	}
	for _, chat := range cold {
		spent.ColdChats = append(spent.ColdChats, tenant.ChatID(chat))
	}
	return spent, nil
}

// spend takes from the budgets of a day, and lets go of days that are over.
func (b *batch) spend(ctx context.Context, id tenant.ID, s tenant.Spend) error {
	if s.UploadBytes < 0 || s.DownloadBytes < 0 {
		return fmt.Errorf("%w: a budget is given nothing back", errMalformed)
	}
	if s.UploadBytes > 0 || s.DownloadBytes > 0 {
		if _, err := b.exec(ctx, id, upsertBudget, int64(s.Day), s.UploadBytes, s.DownloadBytes); err != nil {
			return fmt.Errorf("take bytes: %w", err)
		}
		if _, err := b.exec(ctx, id, deleteOldBudgets, int64(s.Day)-budgetDays); err != nil {
			return fmt.Errorf("drop old budgets: %w", err)
		}
	}
	if s.ColdChat == "" {
		return nil
	}
	chat, err := b.resolve(ctx, id, cleanID(s.ColdChat))
	if err != nil {
		return err
	}
	if _, err = b.exec(ctx, id, insertColdChat, int64(s.Day), string(chat)); err != nil {
		return fmt.Errorf("take a cold chat: %w", err)
	}
	if _, err = b.exec(ctx, id, deleteOldColdChats, int64(s.Day)-budgetDays); err != nil {
		return fmt.Errorf("drop old cold chats: %w", err)
	}
	return nil
}

// Stored is about how many bytes are kept of the tenant's messages and events. Returns ErrNotFound.
func (h *handle) Stored(ctx context.Context) (int64, error) {
	stored, err := row(ctx, h, scanInt, selectStored)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("read what is stored: %w", tenant.ErrNotFound)
	}
	return stored, h.store.wrap(ctx, "read what is stored", err)
}
