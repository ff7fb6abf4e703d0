package tenantsql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.mau.fi/util/dbutil"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/migrations"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

const ana tenant.ChatID = "5511999990001@c.us"

func message(id string) tenant.Change {
	return tenant.PutMessage{Live: true, Message: tenant.Message{
		ID: tenant.MessageID(id), ChatID: ana, SenderID: ana, Type: tenant.TypeText, Text: "text",
		Timestamp: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Status: tenant.StatusReceived,
	}}
}

// journalOf returns how many events there are, after checking that their numbers have no gap.
func journalOf(t *testing.T, h tenant.Handle) int {
	t.Helper()
	all, err := h.Events(t.Context(), 0, 100_000)
	require.NoError(t, err)
	for i, e := range all {
		require.EqualValues(t, i+1, e.Seq)
	}
	return len(all)
}

func TestTwoWritersOfOneTenant(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			url := engine.URL(t)
			first := tenanttest.Open(t, tenantsql.Config{URL: url})
			second := tenanttest.Open(t, tenantsql.Config{URL: url})
			id := tenanttest.NewTenant(t, first).ID()
			var group errgroup.Group
			for i, store := range []*tenantsql.Store{first, second} {
				for w := range 3 {
					group.Go(func() error {
						for n := range 30 {
							_, err := store.Tenant(id).Commit(t.Context(), message(fmt.Sprint(i, w, n)))
							for tries := 0; tries < 20 && errors.Is(err, tenant.ErrUnavailable); tries++ { // lost too often: the same call may be made again
								_, err = store.Tenant(id).Commit(t.Context(), message(fmt.Sprint(i, w, n)))
							}
							if err != nil {
								return err
							}
						}
						return nil
					})
				}
			}
			require.NoError(t, group.Wait())
			h := first.Tenant(id)
			require.Equal(t, 180, journalOf(t, h))
			chat, err := h.Chat(t.Context(), ana)
			require.NoError(t, err)
			require.Equal(t, 180, chat.UnreadCount)
		})
	}
}

func TestDeletedTenantLeavesNoRow(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			h := tenanttest.NewTenant(t, store)
			other := tenanttest.NewTenant(t, store)
			for _, handle := range []tenant.Handle{h, other} {
				_, _, err := handle.CreateKey(t.Context(), tenant.NewKey{})
				require.NoError(t, err)
				_, err = handle.Commit(t.Context(), message("A"), tenant.LinkIDs{LID: "1@lid", Phone: ana},
					tenant.PutContact{ID: ana, Name: "Ana"}, tenant.SetSession{Session: tenant.Session{Device: "x"}})
				require.NoError(t, err)
			}
			for n := range 3 {
				changes := make([]tenant.Change, 500)
				for i := range changes {
					changes[i] = message(fmt.Sprint(n, i))
				}
				_, err := h.Commit(t.Context(), changes...)
				require.NoError(t, err)
			}
			before := rowsOf(t, store, h.ID())
			require.Len(t, before, 10, "each table that belongs to tenants has rows: %v", before)
			record := tenanttest.Delete(t, store, h.ID())
			require.Empty(t, rowsOf(t, store, h.ID()))
			require.Len(t, rowsOf(t, store, other.ID()), 10)
			rows, deleted := 0, int64(0)
			for table, n := range before {
				if table != "tenant" { // the tenant itself
					rows += n
				}
			}
			for _, n := range record.Deleted {
				deleted += n
			}
			require.EqualValues(t, rows, deleted, "%v were there, %v are counted", before, record.Deleted)
		})
	}
}

// tablesOf are the tables whose rows belong to tenants.
func tablesOf(t *testing.T, store *tenantsql.Store) []string {
	t.Helper()
	catalog := `SELECT table_name FROM information_schema.columns WHERE column_name='tenant_id' AND table_schema='public'`
	if store.Database().Dialect == dbutil.SQLite {
		catalog = `SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type='table' AND c.name='tenant_id'`
	}
	found, err := store.Database().Query(t.Context(), catalog)
	require.NoError(t, err)
	var tables []string
	for found.Next() {
		var name string
		require.NoError(t, found.Scan(&name))
		tables = append(tables, name)
	}
	require.NoError(t, found.Err())
	require.NoError(t, found.Close())
	return tables
}

// rowsOf counts a tenant's rows in all tables that have any.
func rowsOf(t *testing.T, store *tenantsql.Store, id tenant.ID) map[string]int {
	t.Helper()
	tables := tablesOf(t, store)
	counts := map[string]int{}
	for _, table := range tables {
		if table == "audit" || table == "deletion" { // these are to stay: they are the proof
			continue
		}
		var n int
		require.NoError(t, store.Database().QueryRow(t.Context(), "SELECT COUNT(*) FROM "+table+" WHERE tenant_id=$1", string(id)).Scan(&n))
		if n > 0 {
			counts[table] = n
		}
	}
	return counts
}

func TestDeletionIsResumed(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			url := engine.URL(t)
			store := tenanttest.Open(t, tenantsql.Config{URL: url})
			h := tenanttest.NewTenant(t, store)
			_, err := h.Commit(t.Context(), message("A"))
			require.NoError(t, err)
			// As if the process had ended right after the deletion's first commit.
			require.NoError(t, store.DoStatement(t.Context(), "UPDATE tenant SET deleted_at=1 WHERE tenant_id=$1", string(h.ID())))
			require.NoError(t, store.DoStatement(t.Context(), "DELETE FROM head WHERE tenant_id=$1", string(h.ID())))
			_, err = store.Get(t.Context(), h.ID())
			require.ErrorIs(t, err, tenant.ErrNotFound)

			next := tenanttest.Open(t, tenantsql.Config{URL: url})
			require.Eventually(t, func() bool { return len(rowsOf(t, next, h.ID())) == 0 }, time.Minute, 5*time.Millisecond)
		})
	}
}

func TestCloseAnswersEverybody(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			url := engine.URL(t)
			store, err := tenantsql.Open(t.Context(), tenantsql.Config{URL: url})
			require.NoError(t, err)
			require.NoError(t, store.Migrate(t.Context()))
			h := tenanttest.NewTenant(t, store)
			var stored atomic.Int64
			var group errgroup.Group
			begun := make(chan struct{}, 1)
			for w := range 20 {
				group.Go(func() error {
					for n := 0; ; n++ {
						_, err := h.Commit(t.Context(), message(fmt.Sprint(w, n)))
						if errors.Is(err, tenant.ErrClosed) {
							return nil
						}
						if err != nil {
							return err
						}
						stored.Add(1)
						select {
						case begun <- struct{}{}:
						default:
						}
					}
				})
			}
			<-begun
			var closers sync.WaitGroup
			for range 5 {
				closers.Go(func() {
					if err := store.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			closers.Wait()
			require.NoError(t, group.Wait())
			require.ErrorIs(t, store.Ping(t.Context()), tenant.ErrClosed)
			_, err = h.Chat(t.Context(), ana)
			require.ErrorIs(t, err, tenant.ErrClosed)
			_, open := <-store.KeysChanged()
			require.False(t, open)

			again := tenanttest.Open(t, tenantsql.Config{URL: url})
			require.EqualValues(t, stored.Load(), journalOf(t, again.Tenant(h.ID())))
		})
	}
}

// TestWhoComesAsAQueueClosesIsAnswered: also who comes between its last look and its end.
func TestWhoComesAsAQueueClosesIsAnswered(t *testing.T) {
	t.Parallel()
	for range 100_000 { // it is a matter of luck
		if err := tenantsql.AskWhileClosing(t.Context()); err != nil {
			require.ErrorIs(t, err, tenant.ErrClosed)
		}
	}
}

func TestFourMigratorsAtOnce(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			url := engine.URL(t)
			var group errgroup.Group
			var inside, runs atomic.Int64
			for range 4 {
				store, err := tenantsql.Open(t.Context(), tenantsql.Config{URL: url})
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, store.Close()) })
				group.Go(func() error {
					return store.Migrate(t.Context(), func(context.Context) error {
						if inside.Add(1) != 1 {
							return errors.New("two at once")
						}
						runs.Add(1)
						inside.Add(-1)
						return nil
					})
				})
			}
			require.NoError(t, group.Wait())
			require.EqualValues(t, 4, runs.Load())
		})
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			_, err := store.Database().Exec(t.Context(), "UPDATE "+migrations.VersionTable+" SET version=999, compat=999")
			require.NoError(t, err)
			require.ErrorIs(t, store.Migrate(t.Context()), tenantsql.ErrNewerDatabase)
		})
	}
}

func TestFailedMigrationIsReported(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			bad := errors.New("bad")
			require.ErrorIs(t, store.Migrate(t.Context(), func(context.Context) error { return bad }), bad)
			require.NoError(t, store.Migrate(t.Context()), "the lock was given back")
		})
	}
}

func TestBadURLs(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "mysql://x", "sqlite:", "sqlite::memory:", "sqlite:/no/such/folder/x.db", "postgres://u:hush@h:x/y"} {
		_, err := tenantsql.Open(t.Context(), tenantsql.Config{URL: url})
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "hush")
	}
}

func TestPostgresGoneAndBack(t *testing.T) {
	t.Parallel()
	between, url := newProxy(t, tenanttest.Postgres(t).URL(t))
	store := tenanttest.Open(t, tenantsql.Config{URL: url})
	h := tenanttest.NewTenant(t, store)
	_, err := h.Commit(t.Context(), message("before"))
	require.NoError(t, err)

	between.down.Store(true)
	between.cut()
	for range 3 {
		_, err = h.Commit(t.Context(), message("during"))
		require.ErrorIs(t, err, tenant.ErrUnavailable)
		_, err = h.Chat(t.Context(), ana)
		require.ErrorIs(t, err, tenant.ErrUnavailable)
		for _, err = range h.Chats(t.Context(), tenant.ChatQuery{}) {
			require.ErrorIs(t, err, tenant.ErrUnavailable)
		}
		_, _, err = store.Create(t.Context(), tenant.NewTenant{})
		require.ErrorIs(t, err, tenant.ErrUnavailable)
		require.ErrorIs(t, store.Ping(t.Context()), tenant.ErrUnavailable)
		require.ErrorIs(t, store.Migrate(t.Context()), tenant.ErrUnavailable)
	}
	between.down.Store(false)
	_, err = h.Commit(t.Context(), message("after"))
	require.NoError(t, err)
	require.Equal(t, 2, journalOf(t, h))
}

func TestPostgresTerminatesConnections(t *testing.T) {
	t.Parallel()
	url := tenanttest.Postgres(t).URL(t)
	store := tenanttest.Open(t, tenantsql.Config{URL: url})
	h := tenanttest.NewTenant(t, store)
	var group errgroup.Group
	var stored atomic.Int64
	var enough atomic.Bool
	for w := range 10 {
		group.Go(func() error {
			for n := 0; !enough.Load(); {
				_, err := h.Commit(t.Context(), message(fmt.Sprint(w, n)))
				switch {
				case err == nil:
					stored.Add(1)
					n++
				case !errors.Is(err, tenant.ErrUnavailable):
					return err
				}
			}
			return nil
		})
	}
	admin, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	for range 10 {
		_, err = admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname=current_database() AND pid <> pg_backend_pid()`)
		require.NoError(t, err)
		_, err = admin.Exec(t.Context(), "SELECT pg_sleep(0.02)")
		require.NoError(t, err)
	}
	require.NoError(t, admin.Close(t.Context()))
	enough.Store(true)
	require.NoError(t, group.Wait())
	require.EqualValues(t, stored.Load(), journalOf(t, h), "each once, whatever was lost on the way")
}

func TestLostAnswerToCommitDoublesNothing(t *testing.T) {
	t.Parallel()
	between, url := newProxy(t, tenanttest.Postgres(t).URL(t))
	store := tenanttest.Open(t, tenantsql.Config{URL: url})
	h := tenanttest.NewTenant(t, store)
	for n := range 5 {
		between.loseCommit.Store(1)
		changes := []tenant.Change{message(strconv.Itoa(n)), tenant.MarkRead{ChatID: ana}}
		_, err := h.Commit(t.Context(), changes...)
		require.ErrorIs(t, err, tenant.ErrUnavailable)
		require.ErrorIs(t, err, tenant.ErrOutcomeUnknown)
		result, err := h.Commit(t.Context(), changes...)
		require.NoError(t, err)
		require.Equal(t, []bool{false}, result.Fresh, "it was stored after all")
		require.Equal(t, 2*(n+1), journalOf(t, h))
	}
}

func TestSQLiteLockedByAnother(t *testing.T) {
	t.Parallel()
	url := tenanttest.SQLiteURL(t)
	store := tenanttest.Open(t, tenantsql.Config{URL: url, CommitTimeout: 3 * time.Second})
	h := tenanttest.NewTenant(t, store)
	other, err := sql.Open("sqlite", strings.TrimPrefix(url, "sqlite:"))
	require.NoError(t, err)
	defer other.Close()
	conn, err := other.Conn(t.Context())
	require.NoError(t, err)
	_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	require.NoError(t, err)
	_, err = h.Commit(t.Context(), message("A"))
	require.ErrorIs(t, err, tenant.ErrUnavailable)
	require.NotErrorIs(t, err, tenant.ErrOutcomeUnknown, "it never began")
	_, err = h.Keys(t.Context())
	require.NoError(t, err, "reads go on")
	_, err = conn.ExecContext(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	_, err = h.Commit(t.Context(), message("A"))
	require.NoError(t, err)
	require.Equal(t, 1, journalOf(t, h))
}

// hold keeps the committer in a transaction until release is closed.
func hold(t *testing.T, store *tenantsql.Store) (begun, release chan struct{}) {
	t.Helper()
	begun, release = make(chan struct{}), make(chan struct{})
	go func() {
		_ = store.Do(context.WithoutCancel(t.Context()), func() error {
			close(begun)
			<-release
			return nil
		})
	}()
	return begun, release
}

func queued(t *testing.T, store *tenantsql.Store, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return store.Queued() == n }, time.Minute, time.Millisecond)
}

// TestAPanicOfACommitEndsNothing: also one that comes when all changes are applied, or when all is committed.
func TestAPanicOfACommitEndsNothing(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			h, other := tenanttest.NewTenant(t, store), tenanttest.NewTenant(t, store)
			rider := &panicking{}
			leave := store.RideDevice(h.ID(), rider)
			_, err := h.Commit(t.Context(), message("A"))
			require.ErrorIs(t, err, tenant.ErrRefused)
			_, err = other.Commit(t.Context(), message("A"))
			require.NoError(t, err)
			rider.landing = true
			result, err := h.Commit(t.Context(), message("A"))
			require.NoError(t, err)
			require.Equal(t, []bool{true}, result.Fresh)
			leave()
			_, err = h.Commit(t.Context(), message("B"))
			require.NoError(t, err)
			require.Equal(t, 2, journalOf(t, h))
		})
	}
}

// panicking is a device's store with a fault.
type panicking struct{ landing bool }

func (*panicking) Prepare() int { return 1 }

func (p *panicking) Board([]tenant.EventHash, bool) ([]tenant.DeviceRow, func()) {
	if !p.landing {
		panic("boarding")
	}
	return nil, func() { panic("landing") }
}

// TestADeletionWhoseCallerLeavesGoesOn: also if that was while its first commit was under way.
func TestADeletionWhoseCallerLeavesGoesOn(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			h, _ := tenanttest.Furnish(t, store, "")
			first, letFirst := hold(t, store)
			<-first
			second, letSecond := hold(t, store)
			queued(t, store, 1)
			impatient, leave := context.WithCancel(t.Context())
			left := make(chan error, 1)
			go func() {
				_, err := store.Delete(impatient, h.ID(), tenant.DeviceNone)
				left <- err
			}()
			queued(t, store, 2)
			close(letFirst)
			<-second // and the deletion is in the same transaction
			leave()
			require.ErrorIs(t, <-left, tenant.ErrOutcomeUnknown)
			close(letSecond)
			require.Eventually(t, func() bool {
				record, err := store.Deletion(t.Context(), h.ID())
				return err == nil && record.CompletedAt != nil
			}, time.Minute, time.Millisecond)
			require.Empty(t, rowsOf(t, store, h.ID()))
		})
	}
}
