package tenantsql

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5"
)

// nodeLock is the PostgreSQL advisory lock of a database's only node: "wfnode" in ASCII.
const nodeLock int64 = 0x77_66_6e_6f_64_65

// fileLock locks a file beside the database: the system gives it free with the process. Locking the database itself would take
// SQLite's own locks away when the file is closed.
type fileLock struct{ file *flock.Flock }

func newFileLock(url string) (*fileLock, error) {
	path := sqlitePath(url)
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // two names of one file are one database
	}
	return &fileLock{file: flock.New(path+"-node", flock.SetPermissions(0o600))}, nil
}

func (l *fileLock) try(context.Context) (bool, error) {
	taken, err := l.file.TryLock()
	if err != nil {
		return false, fmt.Errorf("lock file: %w", err)
	}
	return taken, nil
}

func (l *fileLock) held(ctx context.Context) { <-ctx.Done() }

// release leaves the file: whoever waits for the lock has opened it already.
func (l *fileLock) release() { _ = l.file.Close() }

// sessionLock is an advisory lock of PostgreSQL on a connection that does nothing else. The lock goes with the connection.
type sessionLock struct {
	url  string
	conn *pgx.Conn
}

func (l *sessionLock) try(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	if l.conn == nil {
		conn, err := l.connect(ctx)
		if err != nil {
			return false, err
		}
		l.conn = conn
	}
	var taken bool
	if err := l.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", nodeLock).Scan(&taken); err != nil {
		l.release() //nolint:contextcheck // see release
		return false, fmt.Errorf("lock: %w", err)
	}
	return taken, nil
}

// connect makes a connection whose end the server notices soon, too, when a machine vanishes.
func (l *sessionLock) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(l.url)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	preparePostgres(config)
	maps.Copy(config.RuntimeParams, map[string]string{ // in seconds
		"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3",
	})
	return pgx.ConnectConfig(ctx, config)
}

// held waits for the connection's end. A connection that only looks alive shows when it is asked.
func (l *sessionLock) held(ctx context.Context) {
	for {
		waiting, cancel := context.WithTimeout(ctx, claimCheck)
		_, err := l.conn.WaitForNotification(waiting)
		cancel()
		if err != nil && (waiting.Err() == nil || ctx.Err() != nil || l.conn.IsClosed()) {
			break
		}
		asking, cancel := context.WithTimeout(ctx, claimTimeout)
		err = l.conn.Ping(asking)
		cancel()
		if err != nil {
			break
		}
	}
	l.release() //nolint:contextcheck // see release
}

// release closes the connection, whoever waited for it and has left: hence the context of its own.
func (l *sessionLock) release() {
	if l.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = l.conn.Close(ctx) // the server notices either way
	l.conn = nil
}

// sqlitePath is the path of a URL sqlite:/path.
func sqlitePath(url string) string {
	_, rest, _ := strings.Cut(url, ":")
	return strings.TrimPrefix(rest, "//")
}
