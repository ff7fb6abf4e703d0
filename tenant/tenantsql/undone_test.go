package tenantsql //nolint:testpackage // what a driver's error means is inside

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"go.mau.fi/util/dbutil"
	"modernc.org/sqlite"
)

// failed runs statements on connections to one SQLite file, and returns what the last says. Each names its connection first.
func failed(t *testing.T, statements ...string) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "undone.db")
	conns := make(map[byte]*sql.DB)
	for i, each := range statements {
		db, known := conns[each[0]]
		if !known {
			var err error
			db, err = sql.Open("sqlite", path+"?_pragma=journal_mode(wal)&_pragma=foreign_keys(1)&_pragma=max_page_count(20)")
			require.NoError(t, err)
			db.SetMaxOpenConns(1)
			defer func() { require.NoError(t, db.Close()) }()
			conns[each[0]] = db
		}
		_, err := db.ExecContext(t.Context(), each[2:])
		if i == len(statements)-1 {
			require.Error(t, err)
			return err
		}
		require.NoError(t, err, each)
	}
	return nil
}

// spoiled is what SQLite says about a file that is none of its own.
func spoiled(t *testing.T) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spoiled.db")
	require.NoError(t, os.WriteFile(path, []byte("this is the beginning of something else altogether"), 0o600))
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, err = db.ExecContext(t.Context(), "CREATE TABLE t (x)")
	return err
}

func TestWhatAFailedCommitSaysOfWhatIsStored(t *testing.T) {
	t.Parallel()
	postgres := func(code string) error { return &pgconn.PgError{Severity: "ERROR", Code: code} }
	for name, c := range map[string]struct {
		err  error
		code int // of SQLite's
		want bool
	}{
		"SQLiteFull": {failed(t, "a CREATE TABLE t (x)", "a INSERT INTO t VALUES (zeroblob(1<<20))"), 13, true},
		"SQLiteBusy": {failed(t, "a CREATE TABLE t (x)", "a BEGIN IMMEDIATE", "b BEGIN IMMEDIATE"), 5, true},
		"SQLiteBusySnapshot": {failed(t, "a CREATE TABLE t (x)", "a INSERT INTO t VALUES (1)",
			"b BEGIN", "b CREATE TEMP TABLE seen AS SELECT x FROM t", "a INSERT INTO t VALUES (2)", "b INSERT INTO t VALUES (3)"), 5 | 2<<8, true},
		"SQLiteSpoiled": {spoiled(t), 26, false},

		"PostgresForeignKey":    {postgres("23503"), 0, true}, // a constraint that waits for COMMIT
		"PostgresUnique":        {postgres("23505"), 0, true},
		"PostgresSerialization": {postgres("40001"), 0, true},
		"PostgresDeadlock":      {postgres("40P01"), 0, true},
		"PostgresUnknown":       {postgres("40003"), 0, false},
		"PostgresTerminated":    {postgres("57P01"), 0, false},
		"PostgresCrashed":       {postgres("57P02"), 0, false},
		"PostgresCancelled":     {postgres("57014"), 0, false}, // it may have waited for a standby, with all committed here
		"PostgresConnection":    {postgres("08006"), 0, false},
		"PostgresDiskFull":      {postgres("53100"), 0, false},
		"PostgresIO":            {postgres("58030"), 0, false},
		"PostgresInternal":      {postgres("XX000"), 0, false},
		"PostgresOdd":           {postgres("23"), 0, false},
		"LostWhileReading":      {io.ErrUnexpectedEOF, 0, false},
		"LostBetween":           {io.EOF, 0, false},
		"LostByReset":           {&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, 0, false},
		"LostWhileWriting":      {&net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}, 0, false},
		"LostConnection":        {driver.ErrBadConn, 0, false},
		"ClosedConnection":      {pgconn.ErrConnClosed, 0, false},
		"TooLate":               {context.DeadlineExceeded, 0, false},
		"Cancelled":             {context.Canceled, 0, false},
		"OverAlready":           {sql.ErrTxDone, 0, false},
		"DatabaseLibrary":       {dbutil.ErrTxnCommit, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.code != 0 {
				var refused *sqlite.Error
				require.ErrorAs(t, c.err, &refused)
				require.Equal(t, c.code, refused.Code(), c.err)
			}
			require.Equal(t, c.want, undone(c.err), c.err)
			require.Equal(t, c.want, undone(fmt.Errorf("commit: %w", c.err)), "wrapped")
		})
	}
}
