package tenantsql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"go.mau.fi/util/dbutil"
)

// statement is one of several that go to the database at a time.
type statement struct {
	doing string // for errors
	query string
	args  []any

	read func(dbutil.Scannable) error // is called with each row; nil if the statement yields none
	took func(rows int64) error       // is called with how many rows it changed; may be nil
}

func (s *statement) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", s.doing, err)
}

// transaction is one of the committer's.
type transaction interface {
	dbutil.Execable

	// together runs statements in their order, with as few waits for the database as the engine allows. It stops at the first error.
	together(ctx context.Context, all []statement) error
	Commit() error
	Rollback() error
}

// beginSQLite begins a transaction whose statements run one by one: SQLite is not far.
func beginSQLite(ctx context.Context, writer *dbutil.Database) (transaction, error) {
	tx, err := writer.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	return oneByOne{tx}, nil
}

type oneByOne struct{ *dbutil.LoggingTxn }

func (t oneByOne) together(ctx context.Context, all []statement) error {
	for i := range all {
		s := &all[i]
		var err error
		if s.read != nil {
			_, err = collect(ctx, t, func(row dbutil.Scannable) (struct{}, error) { return struct{}{}, s.read(row) }, s.query, s.args...)
		} else {
			var result sql.Result
			var rows int64
			if result, err = t.ExecContext(ctx, s.query, s.args...); err == nil && s.took != nil {
				if rows, err = result.RowsAffected(); err == nil {
					err = s.took(rows)
				}
			}
		}
		if err != nil {
			return s.wrap(err)
		}
	}
	return nil
}

// beginPostgres begins a transaction that sends statements in one piece (the protocol's pipeline mode).
func beginPostgres(ctx context.Context, writer *dbutil.Database) (transaction, error) {
	conn, err := writer.RawDB.Conn(ctx)
	if err != nil {
		return nil, err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &pipelined{Tx: tx, conn: conn}, nil
}

type pipelined struct {
	*sql.Tx

	conn *sql.Conn // the transaction's
}

// QueryContext implements [dbutil.Execable].
func (t *pipelined) QueryContext(ctx context.Context, query string, args ...any) (dbutil.Rows, error) {
	return t.Tx.QueryContext(ctx, query, args...) //nolint:rowserrcheck // by whoever reads them
}

// Commit commits, and gives the connection back.
func (t *pipelined) Commit() error {
	defer func() { _ = t.conn.Close() }()
	return t.Tx.Commit()
}

// Rollback rolls back, and gives the connection back.
func (t *pipelined) Rollback() error {
	defer func() { _ = t.conn.Close() }()
	return t.Tx.Rollback()
}

func (t *pipelined) together(ctx context.Context, all []statement) error { return pipeline(ctx, t.conn, all) }

// pipeline runs statements in their order over a connection to PostgreSQL, and waits for them once. It stops at the first error.
func pipeline(ctx context.Context, on *sql.Conn, all []statement) error {
	if len(all) == 0 {
		return nil
	}
	var failed error // is not Raw's: what the server refuses says nothing against the connection
	err := on.Raw(func(driver any) error {
		conn, ok := driver.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("postgres: driver's connection is a %T", driver)
		}
		batch := &pgx.Batch{}
		for i := range all {
			batch.Queue(all[i].query, all[i].args...)
		}
		answers := conn.Conn().SendBatch(ctx, batch)
		for i := range all {
			if failed = all[i].wrap(all[i].receive(answers)); failed != nil {
				break
			}
		}
		if err := answers.Close(); failed == nil {
			failed = err
		}
		return nil
	})
	if err != nil {
		return err
	}
	return failed
}

// receive reads one statement's answer.
func (s *statement) receive(answers pgx.BatchResults) error {
	if s.read == nil {
		tag, err := answers.Exec()
		if err == nil && s.took != nil {
			err = s.took(tag.RowsAffected())
		}
		return err
	}
	rows, err := answers.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err = s.read(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// maxTuples bounds the rows of one statement. Together with tuples in powers of two it bounds the number of texts, too: the drivers
// keep each prepared.
const maxTuples = 64

// manyWrites makes the statements that write many rows: text is completed by their tuples, in as few pieces as may be.
func manyWrites[T any](doing, text, tuple string, items []T, values func(T) []any) []statement {
	return pieces(doing, text, tuple, ", ", items, values)
}

func pieces[T any](doing, text, tuple, between string, items []T, values func(T) []any) (all []statement) {
	for len(items) > 0 {
		size := maxTuples
		for size > len(items) {
			size /= 2
		}
		var args []any
		for _, item := range items[:size] {
			args = append(args, values(item)...)
		}
		all = append(all, statement{doing: doing, query: fmt.Sprintf(text, tuples(tuple, between, size)), args: args})
		items = items[size:]
	}
	return all
}

// lookUps makes the statements that look many keys up: text is completed by tuples of them. The number of tuples is a power of two, the
// last key filling the rest.
func lookUps[K any](doing, text string, keys []K, values func(K) []any, read func(dbutil.Scannable) error) (all []statement) {
	if len(keys) == 0 {
		return nil
	}
	return lookUpsAs(doing, text, questionMarks(len(values(keys[0]))), keys, values, read)
}

// questionMarks is a tuple of n parameters.
func questionMarks(n int) string { return "(?" + strings.Repeat(", ?", n-1) + ")" }

// lookUpsAs is lookUps with the form of a tuple, for keys that are not all texts.
func lookUpsAs[K any](doing, text, tuple string, keys []K, values func(K) []any, read func(dbutil.Scannable) error) (all []statement) {
	for chunk := range slices.Chunk(keys, maxTuples) {
		size := powerOfTwo(len(chunk))
		var args []any
		for i := range size {
			args = append(args, values(chunk[min(i, len(chunk)-1)])...)
		}
		all = append(all, statement{doing: doing, query: fmt.Sprintf(text, tuples(tuple, ", ", size)), args: args, read: read})
	}
	return all
}

// tuples repeats a tuple, with its question marks numbered as parameters.
func tuples(tuple, between string, n int) string {
	var text strings.Builder
	parts := strings.Split(tuple, "?")
	for i, parameter := 0, 1; i < n; i++ {
		if i > 0 {
			text.WriteString(between)
		}
		for j, part := range parts {
			text.WriteString(part)
			if j < len(parts)-1 {
				text.WriteString("$" + strconv.Itoa(parameter))
				parameter++
			}
		}
	}
	return text.String()
}
