package tenantsql_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// What goes wrong with one caller costs no other.

func TestPanicCostsOneCaller(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			h := tenanttest.NewTenant(t, store)
			var group errgroup.Group
			for n := range 20 {
				group.Go(func() error {
					_, err := h.Commit(t.Context(), message(strconv.Itoa(n)))
					return err
				})
				group.Go(func() error {
					if err := store.Do(t.Context(), func() error { panic("boom") }); err == nil || errors.Is(err, tenant.ErrUnavailable) {
						return fmt.Errorf("panic was answered by %w", err)
					}
					return nil
				})
			}
			require.NoError(t, group.Wait())
			require.Equal(t, 20, journalOf(t, h))
		})
	}
}

func TestRefusedStatementCostsOneCaller(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			h := tenanttest.NewTenant(t, store)
			var group errgroup.Group
			for n := range 20 {
				group.Go(func() error {
					_, err := h.Commit(t.Context(), message(strconv.Itoa(n)))
					return err
				})
				group.Go(func() error {
					err := store.DoStatement(t.Context(), "INSERT INTO head (tenant_id) VALUES (NULL)")
					if !errors.Is(err, tenant.ErrRefused) || errors.Is(err, tenant.ErrUnavailable) {
						return fmt.Errorf("refused statement was answered by %w", err)
					}
					return nil
				})
			}
			require.NoError(t, group.Wait())
			require.Equal(t, 20, journalOf(t, h))
		})
	}
}

// TestManyRowsOfWhichOneIsRefusedCostTheirCaller: many rows go another way to PostgreSQL than few.
func TestManyRowsOfWhichOneIsRefusedCostTheirCaller(t *testing.T) {
	t.Parallel()
	refuse := map[string]string{
		"SQLite": `CREATE TRIGGER refuse BEFORE INSERT ON message WHEN NEW.message_id='bad' BEGIN SELECT RAISE(ABORT, 'bad'); END`,
		"PostgreSQL": `
			CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''bad''; END';
			CREATE TRIGGER refuse BEFORE INSERT ON message FOR EACH ROW WHEN (NEW.message_id='bad') EXECUTE FUNCTION refuse()`,
	}
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			_, err := store.Database().Exec(t.Context(), refuse[engine.Name])
			require.NoError(t, err)
			const rows = 100
			many := func(last string) (all []tenant.Change) {
				for n := range rows - 1 {
					all = append(all, message(strconv.Itoa(n)))
				}
				return append(all, message(last))
			}
			good := []tenant.Handle{tenanttest.NewTenant(t, store), tenanttest.NewTenant(t, store), tenanttest.NewTenant(t, store)}
			bad := tenanttest.NewTenant(t, store)
			var group errgroup.Group
			group.Go(func() error {
				_, err := bad.Commit(t.Context(), many("bad")...)
				if err == nil || errors.Is(err, tenant.ErrUnavailable) || !strings.Contains(err.Error(), "write messages") {
					return fmt.Errorf("a refused row was answered by %w", err)
				}
				return nil
			})
			for _, h := range good {
				group.Go(func() error {
					_, err := h.Commit(t.Context(), many("last")...)
					return err
				})
			}
			require.NoError(t, group.Wait())
			require.Zero(t, journalOf(t, bad))
			for _, h := range good {
				require.Equal(t, rows, journalOf(t, h))
			}
			_, err = bad.Commit(t.Context(), many("last")...)
			require.NoError(t, err)
		})
	}
}

func TestABrokenDatabaseRefusesNothingForGood(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			h := tenanttest.NewTenant(t, store)
			_, err := store.Database().Exec(t.Context(), "ALTER TABLE message RENAME TO message_away")
			require.NoError(t, err)
			_, err = h.Commit(t.Context(), message("1"))
			require.Error(t, err)
			require.NotErrorIs(t, err, tenant.ErrRefused)
			_, err = h.Commit(t.Context(), tenant.PutChat{})
			require.ErrorIs(t, err, tenant.ErrRefused)
		})
	}
}

// TestWhatCannotBeWrittenIsBlamedOnWhoeverWantedIt, and not on who comes next in the same transaction.
func TestWhatCannotBeWrittenIsBlamedOnWhoeverWantedIt(t *testing.T) {
	t.Parallel()
	store := tenanttest.Postgres(t).Open(t) // SQLite's rows have room for anything
	culprit, other := tenanttest.NewTenant(t, store), tenanttest.NewTenant(t, store)
	begun, release := hold(t, store)
	<-begun
	long := tooLong(t)
	refused, accepted, made := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := culprit.Commit(t.Context(), message(long))
		refused <- err
	}()
	queued(t, store, 1)
	go func() {
		_, _, err := store.CreateAdminKey(t.Context(), tenant.NewAdminKey{Label: "innocent", Role: tenant.RoleOwner})
		made <- err
	}()
	queued(t, store, 2)
	go func() {
		_, err := other.Commit(t.Context(), tenant.PutContact{ID: ana, Name: "Ana"})
		accepted <- err
	}()
	queued(t, store, 3)
	close(release)
	require.ErrorIs(t, <-refused, tenant.ErrRefused)
	require.NoError(t, <-made)
	require.NoError(t, <-accepted)
}

// tooLong is an id that is longer than what PostgreSQL can index, however it is packed.
func tooLong(t *testing.T) string {
	t.Helper()
	raw := make([]byte, 6000)
	_, err := rand.Read(raw)
	require.NoError(t, err)
	return hex.EncodeToString(raw)
}

// TestManyRowsThatMeetTheirDeadlineHoldNothing: pgx closes the connection of a COPY that it cannot write on with, and says nothing to the
// server, which would go on waiting for its lock, and hold those that it has.
func TestManyRowsThatMeetTheirDeadlineHoldNothing(t *testing.T) {
	t.Parallel()
	url := tenanttest.Postgres(t).URL(t)
	store := tenanttest.Open(t, tenantsql.Config{URL: url, CommitTimeout: time.Second})
	h := tenanttest.NewTenant(t, store)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.WithoutCancel(t.Context()))) }()
	_, err = conn.Exec(t.Context(), "BEGIN; LOCK TABLE message IN SHARE MODE")
	require.NoError(t, err)
	var all []tenant.Change
	for n := range 400 { // more than the sockets' buffers take
		m, _ := message(strconv.Itoa(n)).(tenant.PutMessage)
		m.Message.Text = strings.Repeat("x", 40_000)
		all = append(all, m)
	}
	_, err = h.Commit(t.Context(), all...)
	require.ErrorIs(t, err, tenant.ErrUnavailable)
	require.Eventually(t, func() bool {
		var waiting int
		err := conn.QueryRow(t.Context(), "SELECT COUNT(*) FROM pg_locks WHERE NOT granted").Scan(&waiting)
		return err == nil && waiting == 0
	}, patience, time.Millisecond)
	_, err = h.Commit(t.Context(), tenant.PutContact{ID: ana, Name: "Ana"})
	require.NoError(t, err, "the tenant's head is free again")
}

// TestManyRowsOfATableThatHasChanged: the driver remembers a table's types for COPY.
func TestManyRowsOfATableThatHasChanged(t *testing.T) {
	t.Parallel()
	store := tenanttest.Open(t, tenantsql.Config{URL: tenanttest.Postgres(t).URL(t)})
	h := tenanttest.NewTenant(t, store)
	many := func(name string) error {
		var all []tenant.Change
		for n := range 100 {
			all = append(all, message(name+strconv.Itoa(n)))
		}
		_, err := h.Commit(t.Context(), all...)
		return err
	}
	require.NoError(t, many("before"))
	_, err := store.Database().Exec(t.Context(), "ALTER TABLE message ALTER COLUMN status TYPE BIGINT")
	require.NoError(t, err)
	if err = many("after"); err != nil { // the first may find out
		require.ErrorIs(t, err, tenant.ErrUnavailable)
		require.NoError(t, many("after"))
	}
	require.Equal(t, 200, journalOf(t, h))
}

// TestAnImportOfWhatDoesNotFitCostsNobodyElse: an import's values are others', and are not looked at for their size.
func TestAnImportOfWhatDoesNotFitCostsNobodyElse(t *testing.T) {
	t.Parallel()
	store := tenanttest.Open(t, tenantsql.Config{URL: tenanttest.Postgres(t).URL(t)})
	h := tenanttest.NewTenant(t, store)
	in, err := store.Import(t.Context(), "foreign")
	require.NoError(t, err)
	rows := tenant.Rows{Table: "device_row", Columns: []string{"tenant_id", "kind", "row_key", "value", "at"}}
	for n := range 100 {
		rows.Values = append(rows.Values, []any{"foreign", int64(700 * n), []byte{byte(n)}, []byte{1}, int64(0)}) // kinds are of 16 bits
	}
	begun, release := make(chan struct{}), make(chan struct{})
	var group errgroup.Group
	group.Go(func() error { return store.Do(t.Context(), func() error { close(begun); <-release; return nil }) })
	<-begun
	var imported error
	group.Go(func() error { imported = in.Put(t.Context(), rows); return nil })
	queued(t, store, 1)
	group.Go(func() error { _, err := h.Commit(t.Context(), message("1")); return err })
	queued(t, store, 2)
	close(release)
	require.NoError(t, group.Wait())
	require.Error(t, imported)
	require.NotErrorIs(t, imported, tenant.ErrUnavailable)
	require.NoError(t, in.Abandon(t.Context()))
}
