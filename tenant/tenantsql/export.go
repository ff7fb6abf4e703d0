package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	// exportBytes is about what a piece of an export takes, exportRows the most rows of one.
	exportBytes = 256 << 10
	exportRows  = 500
)

// errExportSlow says that the database did not yield the next rows in time.
var errExportSlow = fmt.Errorf("%w: reading takes too long", tenant.ErrUnavailable)

// Export implements [tenant.Mover]. It reads in one transaction, which sees one moment.
func (s *Store) Export(ctx context.Context, id tenant.ID, emit func(tenant.Rows) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e := &exporter{store: s, id: id, emit: emit, slow: time.AfterFunc(s.readTimeout, func() { cancel(errExportSlow) })}
	defer e.slow.Stop()
	err := e.run(ctx)
	switch {
	case err == nil:
		return nil
	case e.refused != nil:
		return e.refused
	default:
		return s.wrap(ctx, "export tenant", err)
	}
}

// exporter is one export.
type exporter struct {
	store *Store
	id    tenant.ID
	emit  func(tenant.Rows) error
	// slow ends the transaction. It runs while we wait for the database, and not while emit takes its time.
	slow    *time.Timer
	refused error // what emit said
}

func (e *exporter) run(ctx context.Context) error {
	// The statements that the two engines begin such a transaction with differ; what it sees does not.
	tx, err := e.store.db.BeginTx(ctx, &dbutil.TxnOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	if _, err = scanTenant(tx.QueryRowContext(ctx, selectTenant, string(e.id))); errors.Is(err, sql.ErrNoRows) {
		return tenant.ErrNotFound
	} else if err != nil {
		return err
	}
	for _, table := range append(heldTables(), movedTables()...) {
		if err = e.table(ctx, tx, table); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
	}
	return nil
}

// table gives all rows of a table.
func (e *exporter) table(ctx context.Context, tx dbutil.Execable, table string) (err error) {
	columns, err := e.store.columns(ctx, tx, table)
	if err != nil {
		return err
	}
	// Names of tables and columns are our schema's.
	found, err := tx.QueryContext(ctx, "SELECT "+strings.Join(names(columns), ", ")+" FROM "+table+" WHERE tenant_id=$1", string(e.id))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	piece := tenant.Rows{Table: table, Columns: names(columns)}
	size := 0
	for found.Next() {
		values, bytes, err := scanPortable(found, columns)
		if err != nil {
			return err
		}
		piece.Values = append(piece.Values, values)
		if size += bytes; size < exportBytes && len(piece.Values) < exportRows {
			continue
		}
		if err = e.give(piece); err != nil {
			return err
		}
		piece.Values, size = nil, 0
	}
	if err = found.Err(); err != nil {
		return err
	}
	return e.give(piece)
}

// give hands a piece to whoever exports, in their own time.
func (e *exporter) give(piece tenant.Rows) error {
	if len(piece.Values) == 0 {
		return nil
	}
	e.slow.Stop()
	e.refused = e.emit(piece)
	e.slow.Reset(e.store.readTimeout)
	return e.refused
}

// scanPortable reads a row, and says about how large it is in bytes.
func scanPortable(row dbutil.Scannable, columns []column) (values []any, size int, err error) {
	values = make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	if err = row.Scan(into...); err != nil {
		return nil, 0, err
	}
	for i, c := range columns {
		if values[i], err = c.kind.portable(values[i]); err != nil {
			return nil, 0, fmt.Errorf("column %s: %w", c.name, err)
		}
		const word = 8
		switch v := values[i].(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		}
		size += word
	}
	return values, size, nil
}
