package tenantsql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	// reserveTenant makes a row that nobody sees, as if the tenant had been deleted: should the process end, the next start deletes
	// what has come so far. Its name, which is nobody's, tells whose reservation it is. It waits for another whose COMMIT is under way.
	reserveTenant = `
		INSERT INTO tenant (tenant_id, external_id, name, created_at, updated_at, deleted_at) VALUES ($1, NULL, $3, $2, $2, $2)
		ON CONFLICT DO NOTHING`

	selectReservation = `SELECT deleted_at, name FROM tenant WHERE tenant_id=$1`

	selectExternalIDOwner = `SELECT tenant_id FROM tenant WHERE external_id=$1`
)

const (
	// importRows is how many rows are put in one step: the commits of others pass between two of them.
	importRows = 100
	// maxHeld bounds what is kept in memory until the end, in rows: keys, for the most part.
	maxHeld = 20_000
)

// incoming implements [tenant.Incoming].
//
//	Import ──▶ Put … Put ──▶ Finish     the row in tenant counts as deleted until Finish
//	             └──────────▶ Abandon
type incoming struct {
	store   *Store
	id      tenant.ID
	mark    string // of the reservation
	columns map[string][]column
	held    map[string][]tenant.Rows
	heldNow int // rows
	over    bool
}

// Import implements [tenant.Mover].
func (s *Store) Import(ctx context.Context, id tenant.ID) (tenant.Incoming, error) {
	mark := rand.Text()
	err := s.reserve(ctx, id, mark)
	if errors.Is(err, tenant.ErrOutcomeUnknown) {
		if again := s.reserve(ctx, id, mark); again == nil || errors.Is(again, tenant.ErrExists) || errors.Is(again, tenant.ErrLeaving) {
			err = again
		} else { // or the tenant could not come before the next start
			s.background(func() { s.giveUp(id, mark) })
		}
	}
	if err != nil {
		return nil, s.wrap(ctx, "import tenant", err)
	}
	return &incoming{store: s, id: id, mark: mark, columns: map[string][]column{}, held: map[string][]tenant.Rows{}}, nil
}

// reserve keeps a tenant's place for whoever has the mark. Reserving again changes nothing, and tells whether it was done. Returns
// ErrExists, ErrLeaving.
func (s *Store) reserve(ctx context.Context, id tenant.ID, mark string) error {
	var there error
	err := s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		there = nil
		made, err := b.execBare(ctx, reserveTenant, string(id), b.now.UnixMilli(), mark)
		if err != nil || made == 1 {
			return err
		}
		var deleted int64
		var owner string
		if err = b.tx.QueryRowContext(ctx, selectReservation, string(id)).Scan(&deleted, &owner); err != nil {
			return err
		}
		switch {
		case deleted == 0:
			there = tenant.ErrExists
		case owner != mark:
			there = tenant.ErrLeaving
		}
		return nil
	})
	if err != nil {
		return err
	}
	return there
}

// giveUp takes a reservation back, and what was put, waiting for the database if it must. Made again, it is known to be there; what
// came of an attempt before is not, and the place may be somebody else's by now. False: the store was closed before.
func (s *Store) giveUp(id tenant.ID, mark string) bool {
	return s.untilDone("the end of an import", id, func() error {
		err := s.reserve(s.ctx, id, mark)
		switch {
		case errors.Is(err, tenant.ErrExists), errors.Is(err, tenant.ErrLeaving):
			return nil // it is not there, and somebody else's is
		case err != nil:
			return err
		}
		return s.purge(id, mark)
	})
}

// Put implements [tenant.Incoming].
func (in *incoming) Put(ctx context.Context, rows tenant.Rows) error {
	if err := in.check(ctx, &rows); err != nil {
		return in.store.wrap(ctx, "import rows", err)
	}
	if _, held := moves(rows.Table); held {
		if in.heldNow += len(rows.Values); in.heldNow > maxHeld {
			return fmt.Errorf("import rows: %w: more than %d keys", tenant.ErrForeignRows, maxHeld)
		}
		in.held[rows.Table] = append(in.held[rows.Table], rows)
		if rows.Table == "tenant" {
			return in.store.wrap(ctx, "import rows", in.checkExternalID(ctx, &rows))
		}
		return nil
	}
	for some := range slices.Chunk(rows.Values, importRows) {
		err := in.store.committer.do(ctx, len(some), func(ctx context.Context, b *batch) error {
			return insertRows(ctx, b, &tenant.Rows{Table: rows.Table, Columns: rows.Columns, Values: some})
		})
		if err != nil {
			return in.store.wrap(ctx, "import rows", foreign(err))
		}
	}
	return nil
}

// foreign says that it is the rows' fault what the engine refused.
func foreign(err error) error {
	if errors.Is(err, tenant.ErrRefused) {
		return fmt.Errorf("%w: %w", tenant.ErrForeignRows, err)
	}
	return err
}

// check sees to it that rows are the tenant's own and fit the schema. What it has passed may become part of a statement.
func (in *incoming) check(ctx context.Context, rows *tenant.Rows) error {
	if known, _ := moves(rows.Table); !known {
		return fmt.Errorf("%w: unknown table %q", tenant.ErrForeignRows, rows.Table)
	}
	columns, err := in.of(ctx, rows.Table)
	if err != nil {
		return err
	}
	kinds := make([]kind, len(rows.Columns))
	owner := -1
	for i, name := range rows.Columns {
		at := slices.IndexFunc(columns, func(c column) bool { return c.name == name })
		if at < 0 || slices.Contains(rows.Columns[:i], name) {
			return fmt.Errorf("%w: unknown column %q of table %s", tenant.ErrForeignRows, name, rows.Table)
		}
		kinds[i] = columns[at].kind
		if name == "tenant_id" {
			owner = i
		}
	}
	for _, values := range rows.Values {
		if owner < 0 || len(values) != len(kinds) || values[owner] != string(in.id) {
			return fmt.Errorf("%w: a row of table %s is not the tenant's", tenant.ErrForeignRows, rows.Table)
		}
		for i, value := range values {
			if !kinds[i].fits(value) {
				return fmt.Errorf("%w: a %T in column %s of table %s", tenant.ErrForeignRows, value, rows.Columns[i], rows.Table)
			}
		}
	}
	return nil
}

// of are the columns of a table, read once.
func (in *incoming) of(ctx context.Context, table string) ([]column, error) {
	if known, ok := in.columns[table]; ok {
		return known, nil
	}
	var columns []column
	err := in.store.read(ctx, func(ctx context.Context, on dbutil.Execable) (err error) {
		columns, err = in.store.columns(ctx, on, table)
		return err
	})
	if err != nil {
		return nil, err
	}
	in.columns[table] = columns
	return columns, nil
}

// checkExternalID tells early what Finish would find out.
func (in *incoming) checkExternalID(ctx context.Context, rows *tenant.Rows) error {
	return in.store.read(ctx, func(ctx context.Context, on dbutil.Execable) error { return in.ownExternalID(ctx, on, rows) })
}

// ownExternalID sees to it that no other tenant has the external id.
func (in *incoming) ownExternalID(ctx context.Context, on dbutil.Execable, rows *tenant.Rows) error {
	external, ok := value(rows, 0, "external_id").(string)
	if !ok {
		return nil
	}
	owner, err := scanString(on.QueryRowContext(ctx, selectExternalIDOwner, external))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("read external id: %w", err)
	case owner != string(in.id):
		return tenant.ErrExternalIDTaken
	}
	return nil
}

// value is a row's value in a column; nil if there is no such column.
func value(rows *tenant.Rows, row int, column string) any {
	if at := slices.Index(rows.Columns, column); at >= 0 && row < len(rows.Values) {
		return rows.Values[row][at]
	}
	return nil
}

// Finish implements [tenant.Incoming].
func (in *incoming) Finish(ctx context.Context, arrived func(tenant.Session) tenant.Session) (tenant.Tenant, error) {
	for _, table := range []string{"tenant", "head", "session", "device"} {
		count := 0
		for _, rows := range in.held[table] {
			count += len(rows.Values)
		}
		if count > 1 || count == 0 && (table == "tenant" || table == "head") {
			return tenant.Tenant{}, fmt.Errorf("finish import: %w: %d rows of table %s", tenant.ErrForeignRows, count, table)
		}
	}
	var shown tenant.Tenant
	err := in.store.committer.do(ctx, in.heldNow, func(ctx context.Context, b *batch) (err error) {
		shown, err = in.show(ctx, b, arrived)
		return err
	})
	if err != nil {
		return tenant.Tenant{}, in.store.wrap(ctx, "finish import", foreign(err))
	}
	in.over = true
	return shown, nil
}

// show writes the rows that were held back.
func (in *incoming) show(
	ctx context.Context, b *batch, arrived func(tenant.Session) tenant.Session,
) (shown tenant.Tenant, err error) {
	if err = in.ownExternalID(ctx, b.tx, &in.held["tenant"][0]); err != nil {
		return shown, err
	}
	if err = showTenant(ctx, b, &in.held["tenant"][0]); err != nil {
		return shown, err
	}
	for _, table := range heldTables()[1:] {
		for _, rows := range in.held[table] {
			if err = insertRows(ctx, b, &rows); err != nil {
				return shown, err
			}
		}
	}
	if len(in.held["session"]) > 0 {
		stored, err := scanSession(b.row(ctx, in.id, selectSession))
		if err != nil {
			return shown, fmt.Errorf("read session: %w", err)
		}
		next := arrived(stored.Session)
		if err = b.writeSession(ctx, in.id, cleanSession(next)); err != nil {
			return shown, err
		}
	}
	return scanTenant(b.row(ctx, in.id, selectTenant))
}

// showTenant makes the reserved row the tenant's own. Its key stays, since other tables refer to it.
func showTenant(ctx context.Context, b *batch, rows *tenant.Rows) error {
	assignments := []string{}
	args := []any{value(rows, 0, "tenant_id")}
	if !slices.Contains(rows.Columns, "name") {
		assignments = append(assignments, "name=''") // not the reservation's
	}
	for i, name := range rows.Columns {
		stored := rows.Values[0][i]
		switch name {
		case "tenant_id":
			continue
		case "deleted_at":
			stored = int64(0)
		}
		args = append(args, stored)
		assignments = append(assignments, name+"=$"+strconv.Itoa(len(args)))
	}
	changed, err := b.execBare(ctx, "UPDATE tenant SET "+strings.Join(assignments, ", ")+" WHERE tenant_id=$1", args...)
	if err != nil {
		return fmt.Errorf("write tenant: %w", err)
	}
	if changed != 1 {
		return tenant.ErrNotFound // somebody has abandoned the import
	}
	return nil
}

// insertRows writes rows that have been checked.
func insertRows(ctx context.Context, b *batch, rows *tenant.Rows) error {
	text := "INSERT INTO " + rows.Table + " (" + strings.Join(rows.Columns, ", ") + ") VALUES %s"
	b.writes++
	return b.tx.together(ctx, manyWrites("write "+rows.Table, text, questionMarks(len(rows.Columns)), rows.Values, func(values []any) []any { return values }))
}

// Abandon implements [tenant.Incoming].
func (in *incoming) Abandon(ctx context.Context) error {
	if in.over {
		return nil
	}
	in.over = true
	done := make(chan error, 1)
	in.store.background(func() {
		var err error
		if !in.store.giveUp(in.id, in.mark) {
			err = tenant.ErrClosed
		}
		done <- err
	})
	select {
	case err := <-done:
		return in.store.wrap(ctx, "abandon import", err)
	case <-ctx.Done():
		return in.store.wrap(ctx, "abandon import", context.Cause(ctx))
	}
}
