package tenanttest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

// everyDay is a period that holds all days of the checks.
const (
	firstDay tenant.Date = "2026-01-01"
	lastDay  tenant.Date = "2099-12-31"
)

// usedBy is the sum of what a tenant used.
func usedBy(t tester, h tenant.Handle) (sum tenant.Usage) {
	t.Helper()
	days, err := h.Usage(t.Context(), firstDay, lastDay)
	require.NoError(t, err)
	for _, day := range days {
		sum.Add(day.Usage)
	}
	return sum
}

func usageChecks() []check {
	return []check{
		{"CountsMessagesOnce", func(t tester, s tenant.Store) {
			h, other := NewTenant(t, s), NewTenant(t, s)
			for range 2 { // delivered again
				commit(t, h, live(received("A", ana, "hello", 0)), live(own("B", ana, "hi", 1)), live(received("C", beto, "hello", 2)))
			}
			commit(t, h, history(received("OLD", ana, "long ago", -100)))
			commit(t, other, live(own("A", ana, "hi", 0)))
			require.Equal(t, tenant.Usage{MessagesIn: 2, MessagesOut: 1}, usedBy(t, h))
			require.Equal(t, tenant.Usage{MessagesOut: 1}, usedBy(t, other))
			days, err := h.Usage(t.Context(), tenant.DateOf(time.Now().Add(-24*time.Hour)), tenant.DateOf(time.Now()))
			require.NoError(t, err)
			require.NotEmpty(t, days)
			days, err = h.Usage(t.Context(), firstDay, firstDay)
			require.NoError(t, err)
			require.Empty(t, days)
		}},
		{"AddsWhatWasCountedElsewhereOnce", func(t tester, s tenant.Store) {
			h, gone := NewTenant(t, s), NewTenant(t, s)
			Delete(t, s, gone.ID())
			key, _, err := h.CreateKey(t.Context(), tenant.NewKey{})
			require.NoError(t, err)
			admin, _, err := s.CreateAdminKey(t.Context(), tenant.NewAdminKey{Role: tenant.RoleViewer})
			require.NoError(t, err)
			at := noon().Add(90 * time.Second)
			some := tenant.Metering{
				Mark: "run 1", Usage: []tenant.MeteredUsage{
					{Tenant: h.ID(), Day: "2026-11-21", Usage: tenant.Usage{APICalls: 2, MediaBytesOut: 100}},
					{Tenant: h.ID(), Day: "2026-11-22", Usage: tenant.Usage{APICalls: 3, MediaBytesIn: 7}},
					{Tenant: gone.ID(), Day: "2026-11-22", Usage: tenant.Usage{APICalls: 9}},
				},
				Keys: map[tenant.KeyID]time.Time{key.ID: at}, AdminKeys: map[tenant.AdminKeyID]time.Time{admin.ID: at},
			}
			for range 3 { // its answer was lost
				require.NoError(t, s.AddUsage(t.Context(), some))
			}
			require.Equal(t, tenant.Usage{APICalls: 5, MediaBytesOut: 100, MediaBytesIn: 7}, usedBy(t, h))
			require.Equal(t, tenant.Usage{}, usedBy(t, gone))
			some.Mark = "run 2"
			some.Keys[key.ID] = at.Add(-time.Hour)
			require.NoError(t, s.AddUsage(t.Context(), some))
			require.Equal(t, tenant.Usage{APICalls: 10, MediaBytesOut: 200, MediaBytesIn: 14}, usedBy(t, h))
			key, err = s.Key(t.Context(), key.ID)
			require.NoError(t, err)
			require.Equal(t, noon().Add(time.Minute), *key.LastUsedAt, "to the minute, and never back")
			admin, err = s.AdminKey(t.Context(), admin.ID)
			require.NoError(t, err)
			require.Equal(t, noon().Add(time.Minute), *admin.LastUsedAt)
		}},
		{"IsListedOverAllTenants", listsUsage},
	}
}

func listsUsage(t tester, s tenant.Store) {
	one := provision(t, s, tenant.NewTenant{Name: "One", ExternalID: "c-1"})
	two := provision(t, s, tenant.NewTenant{Name: "Two"})
	provision(t, s, tenant.NewTenant{Name: "Idle"})
	var some []tenant.MeteredUsage
	for _, day := range []tenant.Date{"2026-11-20", "2026-11-21", "2026-11-22"} {
		for _, id := range []tenant.ID{one.ID, two.ID} {
			some = append(some, tenant.MeteredUsage{Tenant: id, Day: day, Usage: tenant.Usage{APICalls: 1, MessagesIn: 2}})
		}
	}
	require.NoError(t, s.AddUsage(t.Context(), tenant.Metering{Mark: "m", Usage: some}))
	all := func(q tenant.UsageQuery) (lines []tenant.UsageLine) {
		for q.Limit = 2; ; {
			page, err := s.Usage(t.Context(), q)
			require.NoError(t, err)
			lines = append(lines, page.Lines...)
			if q.Cursor = page.Next; q.Cursor == "" {
				return lines
			}
		}
	}
	require.Len(t, all(tenant.UsageQuery{From: firstDay, To: lastDay}), 6)
	days := all(tenant.UsageQuery{From: "2026-11-21", To: "2026-11-22"})
	require.Len(t, days, 4)
	for _, line := range days {
		require.EqualValues(t, 1, line.ActiveDays)
		require.EqualValues(t, 1, line.APICalls)
	}
	totals := all(tenant.UsageQuery{From: "2026-11-21", To: lastDay, PerTenant: true})
	require.ElementsMatch(t, []tenant.UsageLine{
		{Tenant: one.ID, ExternalID: "c-1", Usage: tenant.Usage{APICalls: 2, MessagesIn: 4}, ActiveDays: 2},
		{Tenant: two.ID, Usage: tenant.Usage{APICalls: 2, MessagesIn: 4}, ActiveDays: 2},
	}, totals)
	_, err := s.Usage(t.Context(), tenant.UsageQuery{Page: tenant.Page{Limit: 1, Cursor: chatCursor()}})
	require.ErrorIs(t, err, tenant.ErrInvalidCursor)
}
