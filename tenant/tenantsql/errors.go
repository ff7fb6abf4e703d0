package tenantsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"go.mau.fi/util/dbutil"
	"modernc.org/sqlite"

	"github.com/wafleet/wafleet/tenant"
)

var (
	// errFenced says that another writer moved a tenant's head since we read it.
	errFenced = errors.New("tenant's head was moved by another writer")
	// errPanic says that applying a change, or reading, panicked.
	errPanic = errors.New("panic in the store")
)

// wrap turns what a driver said into the domain's errors, and says what we were doing. ctx is the caller's: if it is done, that
// is the reason.
func (s *Store) wrap(ctx context.Context, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && errors.Is(err, tenant.ErrOutcomeUnknown):
		return fmt.Errorf("%s: %w: %w", doing, tenant.ErrOutcomeUnknown, context.Cause(ctx))
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", doing, context.Cause(ctx))
	case s.closing():
		return fmt.Errorf("%s: %w", doing, tenant.ErrClosed)
	case errors.Is(err, tenant.ErrUnavailable):
		return fmt.Errorf("%s: %w", doing, err)
	case unavailable(err):
		return fmt.Errorf("%s: %w: %w", doing, tenant.ErrUnavailable, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// unavailable says whether an error means that the database cannot be used for now, as opposed to a statement that it refused.
func unavailable(err error) bool {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return postgresUnavailable(refused.Code)
	}
	if refused, ok := errors.AsType[*sqlite.Error](err); ok {
		return sqliteUnavailable(refused.Code())
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return true
	}
	for _, gone := range []error{
		tenant.ErrUnavailable, errWriterBusy, context.DeadlineExceeded, context.Canceled, driver.ErrBadConn, sql.ErrConnDone,
		sql.ErrTxDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, pgconn.ErrConnClosed, dbutil.ErrTxnBegin, dbutil.ErrTxnCommit,
	} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return pgconn.SafeToRetry(err)
}

// judged marks an error that the change itself has caused. What is not known to be the change's fault is not marked: a table that
// is gone, a corrupt file, a lost privilege hit every change alike.
func judged(err error) error {
	if !refused(err) || errors.Is(err, tenant.ErrRefused) {
		return err
	}
	return fmt.Errorf("%w: %w", tenant.ErrRefused, err)
}

func refused(err error) bool {
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok && len(answer.Code) == 5 {
		switch answer.Code[:2] {
		case "22", "23", "54": // data, constraint, limit exceeded
			return true
		}
		return false
	}
	if answer, ok := errors.AsType[*sqlite.Error](err); ok {
		const tooBig, constraint, mismatch = 18, 19, 20
		switch answer.Code() & 0xff {
		case tooBig, constraint, mismatch:
			return true
		}
		return false
	}
	if _, ok := errors.AsType[*json.MarshalerError](err); ok {
		return true
	}
	return errors.Is(err, errMalformed) || errors.Is(err, errPanic)
}

// postgresUnavailable judges by SQLSTATE.
func postgresUnavailable(code string) bool {
	if len(code) != 5 {
		return false
	}
	switch code[:2] {
	case "08", // connection
		"28", // credentials: wrong for now, e.g. while they are rotated
		"3D", // no such database
		"53", // disk full, out of memory, too many connections
		"57", // cancelled, shut down, starting up
		"58": // I/O
		return true
	}
	return code == "25006" || // read only: a standby, before or after a failover
		code == "55P03" || // lock not available
		conflict(code)
}

// conflict says whether a transaction lost against another and may win when it is run again.
func conflict(code string) bool { return code == "40001" || code == "40P01" }

// undone says whether what COMMIT failed with means that nothing was stored; otherwise that is not known. SQLite appends to its log before it
// commits: no room for that, or somebody else at work, leaves the file as it was. PostgreSQL aborts what it refuses.
func undone(err error) bool {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return len(refused.Code) == 5 && (refused.Code[:2] == "23" || conflict(refused.Code))
	}
	if refused, ok := errors.AsType[*sqlite.Error](err); ok {
		const busy, full = 5, 13
		return refused.Code()&0xff == busy || refused.Code()&0xff == full
	}
	return false
}

// died says whether an error means that the connection was lost: the next one may well work.
func died(err error) bool {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refused.Code == "57P01" // terminated by the administrator, or shut down
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return false
	}
	for _, gone := range []error{
		driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, pgconn.ErrConnClosed, syscall.ECONNRESET, syscall.EPIPE,
	} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

// worthRetrying says whether running the transaction again at once may succeed.
func worthRetrying(err error) bool {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return conflict(refused.Code) || refused.Code == "23505" // a second writer's row, where our cache knew of none
	}
	return errors.Is(err, errFenced) || died(err) && !errors.Is(err, tenant.ErrOutcomeUnknown)
}
