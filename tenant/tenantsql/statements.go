package tenantsql

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"go.mau.fi/util/dbutil"
)

// statement is one of several that go to the database at a time.
type statement struct {
	doing string // for errors
	query string
	args  []any
	// insert, if not nil, stands in place of the query. What is inserted no other statement of the same time depends on.
	insert *insertion

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
	return inTurn{tx}, nil
}

type inTurn struct{ *dbutil.LoggingTxn }

func (t inTurn) together(ctx context.Context, all []statement) error { return oneByOne(ctx, t, all) }

func oneByOne(ctx context.Context, on dbutil.Execable, all []statement) error {
	for _, s := range spelled(all) {
		var err error
		if s.read != nil {
			_, err = collect(ctx, on, func(row dbutil.Scannable) (struct{}, error) { return struct{}{}, s.read(row) }, s.query, s.args...)
		} else {
			var result sql.Result
			var rows int64
			if result, err = on.ExecContext(ctx, s.query, s.args...); err == nil && s.took != nil {
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

func (t *pipelined) together(ctx context.Context, all []statement) error {
	return pipeline(ctx, t.conn, all)
}

// pipeline runs statements in their order over a connection to PostgreSQL, and waits for them once; behind them it inserts, and waits for
// each insertion of many rows. It stops at the first error.
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
		failed = send(ctx, conn.Conn(), all)
		return nil
	})
	return cmp.Or(failed, err)
}

func send(ctx context.Context, conn *pgx.Conn, all []statement) error {
	few, many := split(all)
	if err := sendBatch(ctx, conn, few); err != nil {
		return err
	}
	return insertMany(ctx, conn, many)
}

// insertMany inserts by COPY. After an error the connection is closed: what the driver remembers of the table may be out of date, and nothing
// would tell it.
func insertMany(ctx context.Context, conn *pgx.Conn, all []statement) error {
	for _, s := range all {
		into := s.insert
		_, err := conn.CopyFrom(ctx, pgx.Identifier{into.table}, into.columns, pgx.CopyFromRows(into.rows))
		if err == nil {
			continue
		}
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTimeout)
		defer cancel()
		if ctx.Err() != nil {
			// pgx may have closed the connection without a word, and the server goes on waiting, with the rows that it holds.
			_ = conn.PgConn().CancelRequest(bounded) // the server may be gone
			err = context.Cause(ctx)                 // and not what may look as if trying again would help
		}
		_ = conn.Close(bounded)
		return s.wrap(err)
	}
	return nil
}

func sendBatch(ctx context.Context, conn *pgx.Conn, all []statement) (err error) {
	if len(all) == 0 {
		return nil
	}
	batch := &pgx.Batch{}
	for i := range all {
		batch.Queue(all[i].query, all[i].args...)
	}
	answers := conn.SendBatch(ctx, batch)
	for i := range all {
		if err = all[i].wrap(all[i].receive(answers)); err != nil {
			break
		}
	}
	if closed := answers.Close(); err == nil {
		err = closed
	}
	return err
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

// insertion is rows that are certainly new, of values that are certainly their columns': what the driver cannot encode for COPY looks like a
// server that gives up.
type insertion struct {
	table   string
	columns []string
	rows    [][]any
}

// inserts makes the statement that inserts rows.
func inserts(doing, table string, columns []string, rows [][]any) []statement {
	if len(rows) == 0 {
		return nil
	}
	return []statement{{doing: doing, insert: &insertion{table, columns, rows}}}
}

// spell makes statements of an insertion.
func (s *statement) spell() []statement {
	into := s.insert
	text := "INSERT INTO " + into.table + " (" + strings.Join(into.columns, ", ") + ") VALUES %s"
	return manyWrites(s.doing, text, questionMarks(len(into.columns)), into.rows, func(row []any) []any { return row })
}

// spelled makes statements of insertions.
func spelled(all []statement) []statement {
	spelled := make([]statement, 0, len(all))
	for i := range all {
		if all[i].insert == nil {
			spelled = append(spelled, all[i])
		} else {
			spelled = append(spelled, all[i].spell()...)
		}
	}
	return spelled
}

// farewellTimeout bounds how long a server is told that it is not needed any more.
const farewellTimeout = 2 * time.Second

// manyRows are worth a wait of their own: PostgreSQL's COPY takes rows for half of what it takes for a statement's parameters.
const manyRows = 48

// split takes the insertions of many rows out, and makes statements of the others.
func split(all []statement) (few, many []statement) {
	few = make([]statement, 0, len(all))
	for _, s := range all {
		if s.insert != nil && len(s.insert.rows) >= manyRows {
			many = append(many, s)
		} else {
			few = append(few, s)
		}
	}
	return spelled(few), many
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
