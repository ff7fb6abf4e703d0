package tenantsql_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// impatient opens a store that does not wait for another node to go, patient one that does.
func impatient(t *testing.T, url string) *tenantsql.Store {
	t.Helper()
	return claimant(t, url, 50*time.Millisecond)
}

func patient(t *testing.T, url string) *tenantsql.Store {
	t.Helper()
	return claimant(t, url, time.Minute)
}

func claimant(t *testing.T, url string, patience time.Duration) *tenantsql.Store {
	t.Helper()
	store, err := tenantsql.Open(t.Context(), tenantsql.Config{URL: url, ClaimPatience: patience})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func claim(t *testing.T, store *tenantsql.Store, holder string) *tenantsql.Claim {
	t.Helper()
	claimed, err := store.Claim(t.Context(), holder, func(ctx context.Context) error { return store.Migrate(ctx) })
	require.NoError(t, err)
	t.Cleanup(claimed.Release)
	return claimed
}

// lost waits until a node knows that another has taken its database.
func lost(t *testing.T, claimed *tenantsql.Claim) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	select {
	case <-claimed.Lost():
	case <-deadline.C:
		require.FailNow(t, "the node does not notice")
	}
}

func TestADatabaseTakesOneNode(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			url := engine.URL(t)
			first := impatient(t, url)
			held := claim(t, first, "ada, process 1")
			h := tenanttest.NewTenant(t, first)

			second := impatient(t, url)
			prepared := false
			_, err := second.Claim(t.Context(), "bob, process 2", func(context.Context) error {
				prepared = true
				return nil
			})
			var other *tenantsql.ClaimedError
			require.ErrorAs(t, err, &other)
			require.Equal(t, "ada, process 1", other.Holder)
			require.WithinDuration(t, time.Now(), other.Since, time.Hour)
			require.False(t, prepared, "the other node's database is not migrated under it")
			_, err = first.Tenant(h.ID()).Commit(t.Context(), message("one"))
			require.NoError(t, err)

			held.Release()
			third := patient(t, url) // PostgreSQL may take a moment to notice that the connection of the lock is gone
			claim(t, third, "bob, process 3")
			_, err = third.Tenant(h.ID()).Commit(t.Context(), message("two"))
			require.NoError(t, err)
			_, err = first.Tenant(h.ID()).Commit(t.Context(), message("three"))
			require.ErrorIs(t, err, tenant.ErrUnavailable, "a node that let go writes no more")
			lost(t, held)
			require.Equal(t, 2, journalOf(t, h))
		})
	}
}

func TestANodeWhoseLockFailsToBeMadeSaysSo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := impatient(t, "sqlite:"+filepath.Join(dir, "wafleet.db"))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "wafleet.db-node"), 0o700))
	_, err := store.Claim(t.Context(), "ada", func(ctx context.Context) error { return store.Migrate(ctx) })
	require.ErrorContains(t, err, "lock file")
}

func TestTwoNamesOfOneFileAreOneDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := impatient(t, "sqlite:"+filepath.Join(dir, "wafleet.db"))
	claim(t, first, "ada, process 1")
	require.NoError(t, os.Symlink(filepath.Join(dir, "wafleet.db"), filepath.Join(dir, "alias.db")))
	second := impatient(t, "sqlite:"+filepath.Join(dir, "alias.db"))
	_, err := second.Claim(t.Context(), "bob", func(ctx context.Context) error { return second.Migrate(ctx) })
	require.ErrorContains(t, err, "ada, process 1")
}

func TestANodeThatWasCutOff(t *testing.T) {
	t.Parallel()
	engine := tenanttest.Postgres(t)

	t.Run("AndNobodyCame", func(t *testing.T) {
		t.Parallel()
		wire, through := newProxy(t, engine.URL(t))
		store := impatient(t, through)
		held := claim(t, store, "ada, process 1")
		h := tenanttest.NewTenant(t, store)
		for n := range 3 {
			wire.cut()
			require.Eventually(t, func() bool {
				_, err := h.Commit(t.Context(), message(strings.Repeat("x", n+1)))
				return err == nil
			}, time.Minute, time.Millisecond)
		}
		select {
		case <-held.Lost():
			require.FailNow(t, "the node believes that another came")
		default:
		}
	})

	t.Run("AndAnotherCame", func(t *testing.T) {
		t.Parallel()
		url := engine.URL(t)
		wire, through := newProxy(t, url)
		store := impatient(t, through)
		held := claim(t, store, "ada, process 1")
		h := tenanttest.NewTenant(t, store)
		wire.down.Store(true)
		wire.cut()

		other := patient(t, url)
		claim(t, other, "bob, process 2")
		_, err := other.Tenant(h.ID()).Commit(t.Context(), message("theirs"))
		require.NoError(t, err)

		wire.down.Store(false)
		lost(t, held) // without having written anything
		_, err = h.Commit(t.Context(), message("ours"))
		require.ErrorIs(t, err, tenant.ErrUnavailable)
		require.Equal(t, 1, journalOf(t, other.Tenant(h.ID())))
	})
}
