package tenantsql_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// export is a tenant that is gone, to be imported.
func export(t *testing.T, store *tenantsql.Store) (tenant.ID, []tenant.Rows) {
	t.Helper()
	h, _ := tenanttest.Furnish(t, store, "")
	all := tenanttest.Export(t, store, h.ID())
	tenanttest.Delete(t, store, h.ID())
	return h.ID(), all
}

func TestAnImportWhoseBeginningIsUnknownIsAskedFor(t *testing.T) {
	t.Parallel()
	between, url := newProxy(t, tenanttest.Postgres(t).URL(t))
	store := tenanttest.Open(t, tenantsql.Config{URL: url})
	id, all := export(t, store)
	between.loseCommit.Store(1)
	require.Equal(t, id, tenanttest.Import(t, store, id, all).ID)
	require.Equal(t, tenanttest.Settled(all), tenanttest.Settled(tenanttest.Export(t, store, id)))

	between.loseCommit.Store(1)
	_, err := store.Import(t.Context(), id)
	require.ErrorIs(t, err, tenant.ErrExists, "what lives stays")
}

func TestAnImportWhoseBeginningStaysUnknownIsUndone(t *testing.T) {
	t.Parallel()
	between, url := newProxy(t, tenanttest.Postgres(t).URL(t))
	store := tenanttest.Open(t, tenantsql.Config{URL: url})
	id, all := export(t, store)
	between.thenDown.Store(true)
	between.loseCommit.Store(1)
	_, err := store.Import(t.Context(), id)
	require.ErrorIs(t, err, tenant.ErrUnavailable)
	require.ErrorIs(t, err, tenant.ErrOutcomeUnknown)
	between.down.Store(false)
	require.Eventually(t, func() bool { return len(rowsOf(t, store, id)) == 0 }, time.Minute, 5*time.Millisecond)
	tenanttest.Import(t, store, id, all)
}

func TestAnImportWhoseCallerLeavesAtItsBeginningIsUndone(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			id, all := export(t, store)
			first, letFirst := hold(t, store)
			<-first
			second, letSecond := hold(t, store)
			queued(t, store, 1)
			impatient, leave := context.WithCancel(t.Context())
			left := make(chan error, 1)
			go func() {
				_, err := store.Import(impatient, id)
				left <- err
			}()
			queued(t, store, 2)
			close(letFirst)
			<-second // and the reservation is in the same transaction
			leave()
			require.ErrorIs(t, <-left, tenant.ErrOutcomeUnknown)
			close(letSecond)
			var in tenant.Incoming
			require.Eventually(t, func() bool { // what was reserved may be there for a moment
				var err error
				in, err = store.Import(t.Context(), id)
				return err == nil
			}, time.Minute, time.Millisecond)
			require.NoError(t, in.Abandon(t.Context()))
			tenanttest.Import(t, store, id, all)
		})
	}
}

// TestAnImportIsAbandonedWhenTheDatabaseIsBack, and need not wait for the node to start again.
func TestAnImportIsAbandonedWhenTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	between, url := newProxy(t, tenanttest.Postgres(t).URL(t))
	store := tenanttest.Open(t, tenantsql.Config{URL: url})
	id, all := export(t, store)
	in, err := store.Import(t.Context(), id)
	require.NoError(t, err)
	between.down.Store(true)
	between.cut()
	impatient, leave := context.WithCancel(t.Context())
	leave()
	require.ErrorIs(t, in.Abandon(impatient), context.Canceled)
	require.Error(t, store.Ping(t.Context()))
	between.down.Store(false)
	require.Eventually(t, func() bool { return len(rowsOf(t, store, id)) == 0 }, time.Minute, 5*time.Millisecond)
	tenanttest.Import(t, store, id, all)
}

// TestWhatIsAbandonedTwiceIsNotTheNextImport: the first attempt has deleted everything, but its answer is lost.
func TestWhatIsAbandonedTwiceIsNotTheNextImport(t *testing.T) {
	t.Parallel()
	between, url := newProxy(t, tenanttest.Postgres(t).URL(t))
	store := tenanttest.Open(t, tenantsql.Config{URL: url})
	id, all := export(t, store)
	in, err := store.Import(t.Context(), id)
	require.NoError(t, err)
	between.loseCommit.Store(1)
	abandoned := make(chan error, 1)
	go func() { abandoned <- in.Abandon(t.Context()) }()
	require.Eventually(t, func() bool { return len(rowsOf(t, store, id)) == 0 }, time.Minute, 5*time.Millisecond)
	importWhile(t, store, id, all, abandoned)
}

// TestWhatIsDeletedTwiceIsNotTheNextImport is the same of a deletion.
func TestWhatIsDeletedTwiceIsNotTheNextImport(t *testing.T) {
	t.Parallel()
	between, url := newProxy(t, tenanttest.Postgres(t).URL(t))
	store := tenanttest.Open(t, tenantsql.Config{URL: url})
	h, _ := tenanttest.Furnish(t, store, "")
	all := tenanttest.Export(t, store, h.ID())
	between.loseCommit.Store(2) // the first one deletes the tenant, the second what it owned
	deleted := make(chan error, 1)
	go func() {
		_, err := store.Delete(t.Context(), h.ID(), tenant.DeviceNone)
		deleted <- err
	}()
	require.Eventually(t, func() bool { return len(rowsOf(t, store, h.ID())) == 0 }, time.Minute, 5*time.Millisecond)
	importWhile(t, store, h.ID(), all, deleted)
}

// importWhile imports a tenant, half of it before something else has ended.
func importWhile(t *testing.T, store *tenantsql.Store, id tenant.ID, all []tenant.Rows, ended <-chan error) {
	t.Helper()
	next, err := store.Import(t.Context(), id)
	require.NoError(t, err)
	half := len(all) / 2
	for _, rows := range all[:half] {
		require.NoError(t, next.Put(t.Context(), rows))
	}
	require.NoError(t, <-ended)
	for _, rows := range all[half:] {
		require.NoError(t, next.Put(t.Context(), rows))
	}
	_, err = next.Finish(t.Context(), tenanttest.Stay)
	require.NoError(t, err)
	require.Equal(t, tenanttest.Settled(all), tenanttest.Settled(tenanttest.Export(t, store, id)))
}

func TestADeletionWhoseAnswerIsLostIsAskedFor(t *testing.T) {
	t.Parallel()
	between, url := newProxy(t, tenanttest.Postgres(t).URL(t))
	store := tenanttest.Open(t, tenantsql.Config{URL: url})
	h, _ := tenanttest.Furnish(t, store, "")
	between.loseCommit.Store(1)
	tenanttest.Delete(t, store, h.ID())
	require.Empty(t, rowsOf(t, store, h.ID()))
}

// TestADeletionThatIsStillBeingCommittedIsWaitedFor has the server busy with a COMMIT whose connection is lost.
func TestADeletionThatIsStillBeingCommittedIsWaitedFor(t *testing.T) {
	t.Parallel()
	direct := tenanttest.Postgres(t).URL(t)
	between, url := newProxy(t, direct)
	store := tenanttest.Open(t, tenantsql.Config{URL: url})
	h, _ := tenanttest.Furnish(t, store, "")
	beside := tenanttest.Dawdle(t, direct, "UPDATE ON tenant", "NEW.deleted_at > 0")
	waiting := func(kind string) {
		t.Helper()
		require.Eventually(t, func() bool {
			var n int
			err := beside.QueryRow(t.Context(), `
				SELECT COUNT(*) FROM pg_locks WHERE locktype=$1 AND NOT granted AND pid IN
					(SELECT pid FROM pg_stat_activity WHERE datname=current_database())`, kind).Scan(&n)
			return err == nil && n > 0
		}, time.Minute, 5*time.Millisecond)
	}
	deleted := make(chan error, 1)
	go func() {
		_, err := store.Delete(t.Context(), h.ID(), tenant.DeviceNone)
		deleted <- err
	}()
	waiting("advisory") // the COMMIT
	between.cut()
	waiting("transactionid") // who asks what came of it
	_, err := store.Get(t.Context(), h.ID())
	require.NoError(t, err, "nobody sees it yet")
	require.NoError(t, beside.Close(t.Context()))
	require.NoError(t, <-deleted)
	require.Empty(t, rowsOf(t, store, h.ID()))
}
