package tenantsql

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/migrations"
	"github.com/wafleet/wafleet/tenant"
)

// What a tenant takes along is all that lies in these tables. A test holds them to the schema: a migration that adds a table with a
// tenant_id adds it to one of the lists, too. Columns come along by themselves.

// heldTables are those that show a tenant to others: they are written last, in one commit. They are small.
func heldTables() []string { return []string{"tenant", "api_key", "session", "device", "head"} }

// movedTables are the others. Nobody looks into them for a tenant that has no row in the table tenant.
func movedTables() []string {
	return []string{
		"contact", "lid_map", "chat", "message", "early", "group_info", "participant", "join_url", "idempotency", "usage_day",
		"device_row", "limit_override", "budget", "cold_chat", "journal",
	}
}

// stayingTables have a tenant_id, and speak of the node: what its operators did, and addresses of its pages.
func stayingTables() []string { return []string{"audit", "deletion", "pairing_link"} }

const (
	selectColumnsSQLite = `SELECT name, lower(type) FROM pragma_table_info($1) ORDER BY cid`

	selectColumnsPostgres = `
		SELECT column_name, data_type FROM information_schema.columns
		WHERE table_schema=current_schema() AND table_name=$1 ORDER BY ordinal_position`
)

// column is a column of a table, as the engine declares it.
type column struct {
	name string
	kind kind
}

// kind is the type of a column's values in [tenant.Rows].
type kind string

const (
	kindText  kind = "text"
	kindInt   kind = "int"
	kindFloat kind = "float"
	kindBool  kind = "bool"
	kindBytes kind = "bytes"
)

// kindOf reads a declared type. Both engines are given the same declarations.
func kindOf(declared string) (kind, error) {
	switch strings.ToLower(declared) {
	case "text":
		return kindText, nil
	case "bigint", "integer", "smallint":
		return kindInt, nil
	case "double precision":
		return kindFloat, nil
	case "boolean":
		return kindBool, nil
	case "bytea":
		return kindBytes, nil
	default:
		return "", fmt.Errorf("type %s of a column is not known", declared)
	}
}

// fits says whether a value can be stored in such a column.
func (k kind) fits(value any) bool {
	switch value.(type) {
	case nil:
		return true // whether it may be absent is the engine's to say
	case string:
		return k == kindText
	case int64:
		return k == kindInt
	case float64:
		return k == kindFloat
	case bool:
		return k == kindBool
	case []byte:
		return k == kindBytes
	}
	return false
}

// portable turns what the driver says into the same on both engines.
func (k kind) portable(value any) (any, error) {
	switch v := value.(type) {
	case []byte:
		switch {
		case k == kindText:
			value = string(v)
		case v == nil:
			value = []byte{} // empty, which is not absent
		}
	case int64:
		switch k { //nolint:exhaustive // the others are as they are
		case kindBool:
			value = v != 0
		case kindFloat:
			value = float64(v)
		}
	}
	if text, ok := value.(string); ok {
		value = tenant.CleanText(text)
	}
	if !k.fits(value) {
		return nil, fmt.Errorf("a %T in a column of type %s", value, k)
	}
	return value, nil
}

// columns are the columns of a table of ours, in their order.
func (s *Store) columns(ctx context.Context, on dbutil.Execable, table string) ([]column, error) {
	query := selectColumnsPostgres
	if s.db.Dialect == dbutil.SQLite {
		query = selectColumnsSQLite
	}
	found, err := collect(ctx, on, func(row dbutil.Scannable) (c column, err error) {
		var declared string
		if err = row.Scan(&c.name, &declared); err != nil {
			return c, err
		}
		c.kind, err = kindOf(declared)
		return c, err
	}, query, table)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("there is no table %s", table)
	}
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", table, err)
	}
	return found, nil
}

func names(columns []column) []string {
	list := make([]string, 0, len(columns))
	for _, c := range columns {
		list = append(list, c.name)
	}
	return list
}

// oldestSchema is the oldest version whose rows are still right. Columns that a migration adds with a default are filled by it; a
// migration that changes what rows mean raises this number to its own.
const oldestSchema = 13

// Schema implements [tenant.Mover].
func (*Store) Schema() (current, oldest int) { return len(migrations.Table()), oldestSchema }

// moves says whether a tenant takes the table along, and whether it is written last.
func moves(table string) (known, held bool) {
	held = slices.Contains(heldTables(), table)
	return held || slices.Contains(movedTables(), table), held
}
