package tenantsql_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/tenant"
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
