package tenantsql

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	usageColumns = `messages_in, messages_out, media_bytes_in, media_bytes_out, api_calls`

	// addUsage is completed by one tuple for each tenant and day. Tenants that are gone are left out.
	addUsage = `
		INSERT INTO usage_day (tenant_id, day, ` + usageColumns + `)
		SELECT v.column1, v.column2, v.column3, v.column4, v.column5, v.column6, v.column7 FROM (VALUES %s) v
		WHERE EXISTS (SELECT 1 FROM head WHERE head.tenant_id=v.column1)
		ON CONFLICT (tenant_id, day) DO UPDATE SET
			messages_in=usage_day.messages_in+excluded.messages_in, messages_out=usage_day.messages_out+excluded.messages_out,
			media_bytes_in=usage_day.media_bytes_in+excluded.media_bytes_in,
			media_bytes_out=usage_day.media_bytes_out+excluded.media_bytes_out,
			api_calls=usage_day.api_calls+excluded.api_calls`
	addUsageTuple = `(CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT))`

	// markUsage changes nothing when the usage of that mark was added already.
	markUsage = `UPDATE node SET usage_mark=$1 WHERE id=1 AND usage_mark<>$1`

	selectUsage = `SELECT day, ` + usageColumns + ` FROM usage_day WHERE tenant_id=$1 AND day>=$2 AND day<=$3 ORDER BY day`

	usageOfAll = ` FROM usage_day u JOIN tenant t ON t.tenant_id=u.tenant_id AND t.deleted_at=0 `

	// selectDays is the operator's list over all tenants by day, selectTotals the same of whole periods. The latter is grouped by the key of
	// tenant, in whose order it is read, so that a page ends where it is full; it names where to start twice, for either order of joining.
	selectDays = `
		SELECT u.tenant_id, COALESCE(t.external_id, ''), u.day, u.messages_in, u.messages_out, u.media_bytes_in, u.media_bytes_out,
			u.api_calls, 1` + usageOfAll + `
		WHERE (u.tenant_id, u.day) > ($1, $2) AND u.day>=$3 AND u.day<=$4 ORDER BY u.tenant_id, u.day LIMIT $5`
	selectTotals = `
		SELECT t.tenant_id, COALESCE(t.external_id, ''), '', CAST(SUM(u.messages_in) AS BIGINT), CAST(SUM(u.messages_out) AS BIGINT),
			CAST(SUM(u.media_bytes_in) AS BIGINT), CAST(SUM(u.media_bytes_out) AS BIGINT), CAST(SUM(u.api_calls) AS BIGINT),
			COUNT(*)` + usageOfAll + `
		WHERE t.tenant_id > $1 AND u.tenant_id > $1 AND u.day>=$2 AND u.day<=$3
		GROUP BY t.tenant_id ORDER BY t.tenant_id LIMIT $4`
)

// tenantDay names what a tenant used on a day.
type tenantDay struct {
	tenant tenant.ID
	day    tenant.Date
}

// use counts a message that was stored as it happened: in the transaction that stores it, so that a retry counts once.
func (b *batch) use(id tenant.ID, m *tenant.Message) {
	if b.usage == nil {
		b.usage = make(map[tenantDay]tenant.Usage)
	}
	key := tenantDay{id, tenant.DateOf(b.now)}
	used := b.usage[key]
	if m.FromMe {
		used.MessagesOut++
	} else {
		used.MessagesIn++
	}
	b.usage[key] = used
}

func (b *batch) usageWrites(usage map[tenantDay]tenant.Usage) []statement {
	for key := range usage {
		if _, gone := b.deleted[key.tenant]; gone {
			delete(usage, key)
		}
	}
	keys := slices.SortedFunc(maps.Keys(usage), func(x, y tenantDay) int { // in order, so that two writers cannot block each other
		return cmp.Or(cmp.Compare(x.tenant, y.tenant), cmp.Compare(x.day, y.day))
	})
	return manyWrites("write usage", addUsage, addUsageTuple, keys, func(key tenantDay) []any {
		u := usage[key]
		return []any{
			string(key.tenant), string(key.day), u.MessagesIn, u.MessagesOut, u.MediaBytesIn, u.MediaBytesOut, u.APICalls,
		}
	})
}

// AddUsage adds what was counted outside of commits.
func (s *Store) AddUsage(ctx context.Context, m tenant.Metering) error {
	usage := make(map[tenantDay]tenant.Usage, len(m.Usage))
	for _, one := range m.Usage {
		key := tenantDay{one.Tenant, one.Day}
		sum := usage[key]
		sum.Add(one.Usage)
		usage[key] = sum
	}
	size := len(usage) + len(m.Keys) + len(m.AdminKeys)
	err := s.committer.do(ctx, max(1, size), func(ctx context.Context, b *batch) error {
		fresh, err := b.execBare(ctx, markUsage, m.Mark)
		if err != nil || fresh == 0 {
			return err
		}
		return b.tx.together(ctx, slices.Concat(
			b.usageWrites(usage),
			manyWrites("note use of keys", touchKeys, touchKeysTuple, slices.Sorted(maps.Keys(m.Keys)), func(id tenant.KeyID) []any {
				return []any{string(id.Tenant()), string(id), m.Keys[id].Truncate(time.Minute).UnixMilli()}
			}),
			manyWrites("note use of admin keys", touchAdminKeys, touchAdminKeysTuple, slices.Sorted(maps.Keys(m.AdminKeys)), func(id tenant.AdminKeyID) []any {
				return []any{string(id), m.AdminKeys[id].Truncate(time.Minute).UnixMilli()}
			}),
		))
	})
	return s.wrap(ctx, "add usage", err)
}

// Usage returns what the tenant used on the days from first to last, oldest first.
func (h *handle) Usage(ctx context.Context, first, last tenant.Date) ([]tenant.DayUsage, error) {
	days, err := rows(ctx, h, func(row dbutil.Scannable) (d tenant.DayUsage, err error) {
		err = row.Scan(&d.Day, &d.MessagesIn, &d.MessagesOut, &d.MediaBytesIn, &d.MediaBytesOut, &d.APICalls)
		return d, err
	}, selectUsage, string(first), string(last))
	return days, h.store.wrap(ctx, "read usage", err)
}

// Usage returns what all tenants used. Returns ErrInvalidCursor.
func (s *Store) Usage(ctx context.Context, q tenant.UsageQuery) (tenant.UsagePage, error) {
	var from tenant.ID
	var after tenant.Date
	if q.Cursor != "" {
		var err error
		if from, after, err = tenant.ParseUsageCursor(q.Cursor); err != nil {
			return tenant.UsagePage{}, err
		}
	}
	query, args := selectDays, []any{string(after), string(q.From), string(q.To), q.Limit + 1}
	if q.PerTenant {
		query, args = selectTotals, args[1:]
	}
	found, err := rows(ctx, &handle{store: s, id: from}, func(row dbutil.Scannable) (u tenant.UsageLine, err error) {
		err = row.Scan(&u.Tenant, &u.ExternalID, &u.Day, &u.MessagesIn, &u.MessagesOut, &u.MediaBytesIn, &u.MediaBytesOut, &u.APICalls,
			&u.ActiveDays)
		return u, err
	}, query, args...)
	if err != nil {
		return tenant.UsagePage{}, s.wrap(ctx, "read usage", err)
	}
	page := tenant.UsagePage{Lines: found}
	if len(found) > q.Limit {
		page.Lines = found[:q.Limit]
		page.Next = found[q.Limit-1].Cursor()
	}
	return page, nil
}
