package blackbox

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// engines are the databases that a node runs on. Each call makes an empty one that goes with the test.
func engines() map[string]func(t *testing.T) string {
	return map[string]func(t *testing.T) string{"SQLite": sqlite, "PostgreSQL": postgres}
}

func sqlite(t *testing.T) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "wafleet.db")
}

var databases atomic.Int64

func postgres(t *testing.T) string {
	t.Helper()
	server := os.Getenv("TEST_DATABASE_URL")
	if server == "" {
		t.Skip("TEST_DATABASE_URL is not set; make test sets it")
	}
	name := fmt.Sprintf("blackbox_%d_%d", time.Now().UnixNano(), databases.Add(1))
	execute(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { execute(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	u, err := url.Parse(server)
	require.NoError(t, err)
	u.Path = "/" + name
	return u.String()
}

func execute(t *testing.T, server, statement string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // in Cleanup the test's own has ended
	conn, err := pgx.Connect(ctx, server)
	require.NoError(t, err)
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	require.NoError(t, err)
}
