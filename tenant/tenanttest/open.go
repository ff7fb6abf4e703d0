// Package tenanttest is the test kit of the stores: a suite that each of them must pass, and stores for the tests of others.
package tenanttest

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
)

// DatabaseURLVariable names the environment variable that makes tests run on PostgreSQL, too: the URL of any database on a
// server where databases may be created.
const DatabaseURLVariable = "TEST_DATABASE_URL"

// Engine is a database engine that tests can run on.
type Engine struct {
	Name string
	// URL makes an empty database, which goes with the test, and returns its URL.
	URL func(tb testing.TB) string
}

// Open returns a migrated store on a database of its own.
func (e Engine) Open(tb testing.TB) *tenantsql.Store {
	tb.Helper()
	return Open(tb, tenantsql.Config{URL: e.URL(tb)})
}

// Engines returns SQLite and, where there is one, PostgreSQL: run what must work on both as a subtest of each.
func Engines() []Engine {
	engines := []Engine{{Name: "SQLite", URL: SQLiteURL}}
	if server := os.Getenv(DatabaseURLVariable); server != "" { //nolint:forbidigo // tests are told in no other way
		engines = append(engines, Engine{Name: "PostgreSQL", URL: func(tb testing.TB) string {
			tb.Helper()
			return postgresURL(tb, server)
		}})
	}
	return engines
}

// Postgres is the engine of that name. Without one the test is skipped.
func Postgres(tb testing.TB) Engine {
	tb.Helper()
	engines := Engines()
	if len(engines) == 1 {
		tb.Skip("no PostgreSQL: " + DatabaseURLVariable + " is not set; make test sets it")
	}
	return engines[1]
}

// OpenSQLite returns a migrated store on a new SQLite file.
func OpenSQLite(tb testing.TB) *tenantsql.Store {
	tb.Helper()
	return Open(tb, tenantsql.Config{URL: SQLiteURL(tb)})
}

// Open opens and migrates a store, which is closed with the test.
func Open(tb testing.TB, cfg tenantsql.Config) *tenantsql.Store {
	tb.Helper()
	store, err := tenantsql.Open(tb.Context(), cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, store.Close()) })
	require.NoError(tb, store.Migrate(tb.Context()))
	return store
}

// NewTenant makes a tenant and returns its handle.
func NewTenant(tb testing.TB, store tenant.Store) tenant.Handle {
	tb.Helper()
	made, _, err := store.Create(tb.Context(), tenant.NewTenant{Name: "Padaria do João"})
	require.NoError(tb, err)
	return store.Tenant(made.ID)
}

// SQLiteURL is the URL of a file that does not exist yet.
func SQLiteURL(tb testing.TB) string {
	tb.Helper()
	return "sqlite:" + filepath.Join(tb.TempDir(), "wafleet.db")
}

func postgresURL(tb testing.TB, server string) string {
	tb.Helper()
	name := "wafleet_test_" + strings.ToLower(rand.Text())
	onServer(tb.Context(), tb, server, "CREATE DATABASE "+name)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), time.Minute)
		defer cancel()
		onServer(ctx, tb, server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	})
	u, err := url.Parse(server)
	require.NoError(tb, err)
	u.Path = "/" + name
	return u.String()
}

func onServer(ctx context.Context, tb testing.TB, server, statement string) {
	tb.Helper()
	conn, err := pgx.Connect(ctx, server)
	require.NoError(tb, err)
	_, err = conn.Exec(ctx, statement)
	require.NoError(tb, err)
	require.NoError(tb, conn.Close(ctx))
}

// Delete deletes a tenant and returns the record, which is complete.
func Delete(tb testing.TB, store tenant.Store, id tenant.ID) tenant.Deletion {
	tb.Helper()
	record, err := store.Delete(tb.Context(), id, tenant.DeviceNone)
	require.NoError(tb, err)
	require.NotNil(tb, record.CompletedAt)
	return record
}
