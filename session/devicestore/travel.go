package devicestore

import (
	"context"
	"fmt"
	"slices"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

var _ session.Traveller = (*Store)(nil)

// The columns of the one row of a device that only this node can read: its key, encrypted by a master key of the node's. All else is
// encrypted by that key, and travels as it is.
const (
	deviceTable     = "device"
	columnMasterKey = "master_key"
	columnKey       = "wrapped_key"
)

// Leaving implements [session.Traveller]: the key of the device leaves as it is, without a master key's name. Whoever has the rows then has
// the device.
func (s *Store) Leaving(_ context.Context, id tenant.ID, rows tenant.Rows) (tenant.Rows, error) {
	return rewrap(rows, func(master string, key []byte) (string, []byte, error) {
		plain, err := s.keys.unwrap(id, master, key)
		return "", plain, err
	})
}

// Arriving implements [session.Traveller]: the key of the device is encrypted by this node's master key.
func (s *Store) Arriving(_ context.Context, id tenant.ID, rows tenant.Rows) (tenant.Rows, error) {
	return rewrap(rows, func(master string, key []byte) (string, []byte, error) {
		if master != "" || len(key) != keySize {
			return "", nil, tenant.ErrForeignRows
		}
		name, wrapped := s.keys.wrap(id, key)
		return name, wrapped, nil
	})
}

// Credentials implements [session.Traveller].
func (*Store) Credentials(rows tenant.Rows) bool {
	return rows.Table == deviceTable && len(rows.Values) > 0
}

// rewrap changes how the keys of devices are encrypted, in rows of its own.
func rewrap(rows tenant.Rows, change func(master string, key []byte) (string, []byte, error)) (tenant.Rows, error) {
	if rows.Table != deviceTable {
		return rows, nil
	}
	master, key := slices.Index(rows.Columns, columnMasterKey), slices.Index(rows.Columns, columnKey)
	changed := tenant.Rows{Table: rows.Table, Columns: rows.Columns}
	for _, row := range rows.Values {
		if master < 0 || key < 0 || len(row) != len(rows.Columns) {
			return rows, fmt.Errorf("rows of devices: %w", tenant.ErrForeignRows)
		}
		name, isText := row[master].(string)
		sealed, isBytes := row[key].([]byte)
		if !isText || !isBytes {
			return rows, fmt.Errorf("rows of devices: %w", tenant.ErrForeignRows)
		}
		name, sealed, err := change(name, sealed)
		if err != nil {
			return rows, fmt.Errorf("key of the device: %w", err)
		}
		own := slices.Clone(row)
		own[master], own[key] = name, sealed
		changed.Values = append(changed.Values, own)
	}
	return changed, nil
}
