package tenantsql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// TestEveryTableOfATenantMoves fails when a migration adds a table with a tenant_id: say in schema.go whether a tenant takes it along.
func TestEveryTableOfATenantMoves(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			require.ElementsMatch(t, tablesOf(t, store), tenantsql.TablesOfTenants())
			for _, table := range tenantsql.TablesOfTenants() {
				require.NoError(t, store.KnowsTypes(t.Context(), table), "a type that exports do not know")
			}
			h, _ := tenanttest.Furnish(t, store, "")
			var moved []string
			for _, rows := range tenanttest.Export(t, store, h.ID()) {
				require.NotEmpty(t, rows.Values)
				moved = append(moved, rows.Table)
			}
			require.ElementsMatch(t, tenantsql.MovedTables(), moved, "tenanttest.Furnish makes something of everything")
		})
	}
}

func TestTenantsMoveBetweenEngines(t *testing.T) {
	t.Parallel()
	for _, from := range tenanttest.Engines() {
		for _, to := range tenanttest.Engines() {
			t.Run(from.Name+"To"+to.Name, func(t *testing.T) {
				t.Parallel()
				source, target := from.Open(t), to.Open(t)
				h, _ := tenanttest.Furnish(t, source, "customer-4711")
				changes := make([]tenant.Change, 0, 1200)
				for i := range cap(changes) {
					m := tenant.Message{
						ID: tenant.MessageID(fmt.Sprint("M", i)), ChatID: "5511999990001@c.us", SenderID: "5511999990001@c.us",
						Text: strings.Repeat("longer than a piece ", 50), Type: tenant.TypeText, Status: tenant.StatusReceived,
					}
					changes = append(changes, tenant.PutMessage{Message: m, Live: i%2 == 0})
				}
				_, err := h.Commit(t.Context(), changes...)
				require.NoError(t, err)
				pieces := 0
				require.NoError(t, source.Export(t.Context(), h.ID(), func(rows tenant.Rows) error {
					require.LessOrEqual(t, len(rows.Values), 500)
					pieces++
					return nil
				}))
				require.Greater(t, pieces, 15, "in pieces")
				all := tenanttest.Export(t, source, h.ID())
				tenanttest.Import(t, target, h.ID(), all)
				require.Equal(t, tenanttest.Settled(all), tenanttest.Settled(tenanttest.Export(t, target, h.ID())))
			})
		}
	}
}

// TestAnExportSeesOneMoment: what is committed while it runs is not part of it.
func TestAnExportSeesOneMoment(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			h, _ := tenanttest.Furnish(t, store, "")
			before := tenanttest.Export(t, store, h.ID())
			first := true
			var during []tenant.Rows
			require.NoError(t, store.Export(t.Context(), h.ID(), func(rows tenant.Rows) error {
				if first {
					first = false
					_, err := h.Commit(t.Context(), message("LATER"))
					require.NoError(t, err, "nobody waits for an export")
				}
				during = append(during, rows)
				return nil
			}))
			require.Equal(t, before, during)
		})
	}
}

// TestAnImportThatWasCutShortLeavesNothing: by the process's end, and by whoever imports.
func TestAnImportThatWasCutShortLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			url := engine.URL(t)
			store := tenanttest.Open(t, tenantsql.Config{URL: url})
			h, _ := tenanttest.Furnish(t, store, "")
			all := tenanttest.Export(t, store, h.ID())
			record := tenanttest.Delete(t, store, h.ID())
			begin := func() tenant.Incoming {
				in, err := store.Import(t.Context(), h.ID())
				require.NoError(t, err)
				for _, rows := range all {
					require.NoError(t, in.Put(t.Context(), rows))
				}
				require.NotEmpty(t, rowsOf(t, store, h.ID()))
				return in
			}
			require.NoError(t, begin().Abandon(t.Context()))
			require.Empty(t, rowsOf(t, store, h.ID()))
			after, err := store.Deletion(t.Context(), h.ID())
			require.NoError(t, err)
			require.Equal(t, record, after, "the record is of what the tenant had")

			begin() // and the process ends
			next := tenanttest.Open(t, tenantsql.Config{URL: url})
			require.Eventually(t, func() bool { return len(rowsOf(t, next, h.ID())) == 0 }, time.Minute, 5*time.Millisecond)
			tenanttest.Import(t, next, h.ID(), all)
		})
	}
}

// TestAnImportWhoseEndIsUnknownIsWholeOrNothing: whoever imports leaves while the last commit is under way, and takes it for failed.
func TestAnImportWhoseEndIsUnknownIsWholeOrNothing(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			source, target := engine.Open(t), engine.Open(t)
			h, _ := tenanttest.Furnish(t, source, "")
			all := tenanttest.Export(t, source, h.ID())
			in, err := target.Import(t.Context(), h.ID())
			require.NoError(t, err)
			for _, rows := range all {
				require.NoError(t, in.Put(t.Context(), rows))
			}
			impatient, leave := context.WithCancel(t.Context())
			left := make(chan struct{})
			ended := make(chan error, 1)
			go func() {
				_, err := in.Finish(impatient, func(s tenant.Session) tenant.Session {
					leave()
					<-left
					return s
				})
				ended <- err
			}()
			require.ErrorIs(t, <-ended, tenant.ErrOutcomeUnknown)
			close(left)
			require.NoError(t, in.Abandon(t.Context()))
			require.Equal(t, tenanttest.Settled(all), tenanttest.Settled(tenanttest.Export(t, target, h.ID())))
		})
	}
}

func TestAnArrivedSessionIsWhatItsFleetSays(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			source, target := engine.Open(t), engine.Open(t)
			h, _ := tenanttest.Furnish(t, source, "")
			in, err := target.Import(t.Context(), h.ID())
			require.NoError(t, err)
			for _, rows := range tenanttest.Export(t, source, h.ID()) {
				require.NoError(t, in.Put(t.Context(), rows))
			}
			_, err = in.Finish(t.Context(), func(s tenant.Session) tenant.Session {
				require.True(t, s.Wanted)
				s.Wanted, s.Status = false, tenant.SessionStatus{State: "stopped", Reason: "imported"}
				return s
			})
			require.NoError(t, err)
			row, err := target.Tenant(h.ID()).Session(t.Context())
			require.NoError(t, err)
			require.False(t, row.Wanted)
			require.Equal(t, "imported", row.Status.Reason)
			require.NotEmpty(t, row.Device)
		})
	}
}

func TestAnExportThatNobodyTakesEnds(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			h, _ := tenanttest.Furnish(t, store, "")
			errLeft := errors.New("the client left")
			for range 40 { // more than there are connections
				require.Equal(t, errLeft, store.Export(t.Context(), h.ID(), func(tenant.Rows) error { return errLeft }))
			}
		})
	}
}
