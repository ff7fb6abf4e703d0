package devicestore

import (
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// array gives sqlstore's arrays to PostgreSQL in the text form of the protocol, which every driver passes on as it is.
type array struct{ values any }

func wrapArray(values any) interface {
	driver.Valuer
	sql.Scanner
} {
	return array{values}
}

// Value implements [driver.Valuer].
func (a array) Value() (driver.Value, error) {
	switch values := a.values.(type) {
	case []string:
		return literal(values, func(s string) string { return s }), nil
	case [][]byte:
		return literal(values, func(b []byte) string { return `\x` + hex.EncodeToString(b) }), nil
	default:
		return nil, fmt.Errorf("array of %T is not supported", a.values)
	}
}

// Scan implements [sql.Scanner]. sqlstore reads no arrays.
func (array) Scan(any) error { return errors.New("arrays are not read") }

func literal[T any](values []T, text func(T) string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	quoted := make([]string, 0, len(values))
	for _, v := range values {
		quoted = append(quoted, `"`+escape.Replace(text(v))+`"`)
	}
	return "{" + strings.Join(quoted, ",") + "}"
}
