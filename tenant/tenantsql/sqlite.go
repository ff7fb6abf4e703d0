package tenantsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"modernc.org/sqlite"
)

// sqliteBusyTimeout is how long SQLite itself waits for another process's transaction, e.g. a migration's.
const sqliteBusyTimeout = 15 * time.Second

// sqliteLockTimeout is how long a writer waits for the writers of this process that came before it. Only a transaction that
// never ends keeps anybody waiting so long.
const sqliteLockTimeout = 30 * time.Second

// errWriterBusy is what waiting for the writers' lock in vain ends with.
var errWriterBusy = errors.New("sqlite: other writers hold the lock")

// openSQLite opens the two pools of a database file: one for everybody, one of a single connection for the committer.
func openSQLite(path string, size int) (shared, writer *sql.DB, err error) {
	if path == "" || strings.Contains(path, ":memory:") {
		return nil, nil, errors.New("sqlite: a file is needed, as in sqlite:/var/lib/wafleet/wafleet.db")
	}
	// The file holds keys: only its owner may read it. SQLite gives its other files the mode of this one.
	file, err := os.OpenFile(filepath.Clean(path), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open database file: %w", err)
	}
	if err = file.Close(); err != nil {
		return nil, nil, fmt.Errorf("open database file: %w", err)
	}

	connector, err := sqlite.NewConnector(sqliteDSN(path))
	if err != nil {
		return nil, nil, fmt.Errorf("sqlite: %w", err)
	}
	locking := lockingConnector{Connector: connector, lock: make(chan struct{}, 1)}
	shared = sql.OpenDB(locking)
	shared.SetMaxOpenConns(size)
	shared.SetMaxIdleConns(size)
	writer = sql.OpenDB(locking)
	writer.SetMaxOpenConns(1)
	writer.SetMaxIdleConns(1)
	return shared, writer, nil
}

// sqliteDSN names the file and the pragmas, which each connection must hear for itself.
func sqliteDSN(path string) string {
	q := url.Values{}
	q.Set("_txlock", "immediate")
	for _, pragma := range []string{
		fmt.Sprintf("busy_timeout(%d)", sqliteBusyTimeout.Milliseconds()), // first: the others may have to wait
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"foreign_keys(ON)",
		"temp_store(MEMORY)",
		"journal_size_limit(67108864)",
	} {
		q.Add("_pragma", pragma)
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

// lockingConnector lets one connection of the process write at a time, in the order in which they asked. SQLite's own waiting
// sleeps between its tries: under load some writer is always unlucky, until it is told SQLITE_BUSY.
type lockingConnector struct {
	driver.Connector

	// lock holds one value while a connection writes. Whoever waits to send is served in order.
	lock chan struct{}
}

// Connect opens a connection that takes its turn.
func (c lockingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := conn.(sqliteConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("sqlite: driver's connection %T lacks methods", conn)
	}
	return &lockingConn{sqliteConn: full, lock: c.lock, statements: newStatements()}, nil
}

// sqliteConn is what the driver's connection can do that database/sql asks for.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// lockingConn holds the writers' lock through each transaction and each single statement that writes. A writing statement that
// is prepared, or run as a query, goes without and waits inside SQLite.
type lockingConn struct {
	sqliteConn

	lock chan struct{}
	tx   *lockingTx // the open transaction, or nil

	// statements are those that are kept prepared. Like tx they need no lock: database/sql uses a connection from one goroutine
	// at a time.
	statements *simplelru.LRU[string, *preparedStatement]
}

func (c *lockingConn) acquire(ctx context.Context) error {
	select {
	case c.lock <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(sqliteLockTimeout)
	defer timer.Stop()
	select {
	case c.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errWriterBusy
	}
}

// BeginTx waits for the lock, and begins a transaction that holds it.
func (c *lockingConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if opts.ReadOnly {
		return c.sqliteConn.BeginTx(ctx, opts)
	}
	if err := c.acquire(ctx); err != nil {
		return nil, err
	}
	tx, err := c.sqliteConn.BeginTx(ctx, opts)
	if err != nil {
		<-c.lock
		return nil, err
	}
	c.tx = &lockingTx{Tx: tx, conn: c, release: sync.OnceFunc(func() { <-c.lock })}
	return c.tx, nil
}

// ExecContext runs a statement, under the lock if it writes and no transaction holds it yet.
func (c *lockingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c.tx == nil && writes(query) {
		if err := c.acquire(ctx); err != nil {
			return nil, err
		}
		defer func() { <-c.lock }()
	}
	return c.exec(ctx, query, args)
}

// Close closes the connection, and gives the lock back should a transaction have been left open.
func (c *lockingConn) Close() error {
	c.statements.Purge()
	err := c.sqliteConn.Close()
	if c.tx != nil {
		c.tx.release()
	}
	return err
}

// lockingTx gives the lock back when the transaction has ended, however it ended.
type lockingTx struct {
	driver.Tx

	conn    *lockingConn
	release func()
}

// Commit commits.
func (t *lockingTx) Commit() error {
	defer t.end()
	return t.Tx.Commit()
}

// Rollback rolls back.
func (t *lockingTx) Rollback() error {
	defer t.end()
	return t.Tx.Rollback()
}

func (t *lockingTx) end() {
	t.conn.tx = nil
	t.release()
}

// writes says whether a statement may change the database.
func writes(query string) bool {
	verb := strings.TrimLeft(query, " \t\r\n(")
	for _, reader := range []string{"SELECT", "PRAGMA", "EXPLAIN"} {
		if len(verb) >= len(reader) && strings.EqualFold(verb[:len(reader)], reader) {
			return false
		}
	}
	return true
}

// sqliteUnavailable says whether an SQLite result code means that the database cannot be used for now.
func sqliteUnavailable(code int) bool {
	const (
		busy, locked, noMemory, readOnly, interrupted, ioError = 5, 6, 7, 8, 9, 10
		full, cannotOpen, protocol                             = 13, 14, 15
	)
	switch code & 0xff { // the rest is detail
	case busy, locked, noMemory, readOnly, interrupted, ioError, full, cannotOpen, protocol:
		return true
	}
	return false
}
