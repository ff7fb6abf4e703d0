package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	selectDevice = `SELECT jid, master_key, wrapped_key, value FROM device WHERE tenant_id=$1`
	upsertDevice = `
		INSERT INTO device (tenant_id, jid, master_key, wrapped_key, value) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (tenant_id) DO UPDATE SET
			jid=excluded.jid, master_key=excluded.master_key, wrapped_key=excluded.wrapped_key, value=excluded.value`
	deleteDevice = `DELETE FROM device WHERE tenant_id=$1`
	rewrapDevice = `UPDATE device SET master_key=$3, wrapped_key=$4 WHERE tenant_id=$1 AND wrapped_key=$2`

	// selectDeviceKeys and selectWrapped are about all tenants: a node asks at its start.
	selectDeviceKeys = `SELECT master_key, COUNT(*) FROM device GROUP BY master_key`
	selectWrapped    = `SELECT tenant_id FROM device WHERE master_key=$1 ORDER BY tenant_id LIMIT $2`

	// selectDeviceRows is completed by parameters for the kinds and the keys.
	selectDeviceRows = `SELECT kind, row_key, value, at FROM device_row WHERE tenant_id=$1 AND kind IN (%s) AND row_key IN (%s)`
	scanDeviceRows   = `
		SELECT row_key, value, at FROM device_row WHERE tenant_id=$1 AND kind=$2 AND row_key>=$3 ORDER BY row_key LIMIT $4`
	scanDeviceRange = `
		SELECT row_key, value, at FROM device_row
		WHERE tenant_id=$1 AND kind=$2 AND row_key>=$3 AND row_key<$5 ORDER BY row_key LIMIT $4`
	scanOldDeviceRows = `
		SELECT row_key, value, at FROM device_row
		WHERE tenant_id=$1 AND kind=$2 AND at>0 AND at<$3 ORDER BY at LIMIT $4`
	countDeviceRows = `SELECT COUNT(*) FROM device_row WHERE tenant_id=$1 AND kind=$2`
	deleteOldRows   = `
		DELETE FROM device_row WHERE tenant_id=$1 AND kind=$2 AND row_key IN (
			SELECT row_key FROM device_row WHERE tenant_id=$1 AND kind=$2 AND at>0 AND at<$3 ORDER BY at LIMIT $4)`
	deleteSomeDeviceRows = `
		DELETE FROM device_row WHERE tenant_id=$1 AND (kind, row_key) IN (
			SELECT kind, row_key FROM device_row WHERE tenant_id=$1 LIMIT $2)`
)

var _ tenant.DeviceStore = (*Store)(nil)

func (s *Store) at(id tenant.ID) *handle { return &handle{store: s, id: id} }

func scanDevice(row dbutil.Scannable) (d tenant.Device, err error) {
	err = row.Scan(&d.JID, &d.MasterKey, &d.WrappedKey, &d.Value)
	return d, err
}

func scanDeviceRow(row dbutil.Scannable) (r tenant.DeviceRow, err error) {
	err = row.Scan(&r.Key, &r.Value, &r.At)
	return r, err
}

func scanKindAndRow(row dbutil.Scannable) (r tenant.DeviceRow, err error) {
	err = row.Scan(&r.Kind, &r.Key, &r.Value, &r.At)
	return r, err
}

// Device returns the tenant's device. Returns ErrDeviceNotFound.
func (s *Store) Device(ctx context.Context, id tenant.ID) (tenant.Device, error) {
	found, err := row(ctx, s.at(id), scanDevice, selectDevice)
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.Device{}, tenant.ErrDeviceNotFound
	}
	return found, s.wrap(ctx, "read device", err)
}

// LoadDevice returns the tenant's device with its baggage.
func (s *Store) LoadDevice(ctx context.Context, id tenant.ID, want tenant.DeviceBaggage) (tenant.LoadedDevice, error) {
	q := &question{tenant: id, baggage: &want}
	ask := s.readAlone
	if s.reader != nil {
		ask = s.reader.ask
	}
	switch err := ask(ctx, q); {
	case err != nil:
		return tenant.LoadedDevice{}, s.wrap(ctx, "load device", err)
	case q.device == nil:
		return tenant.LoadedDevice{}, tenant.ErrDeviceNotFound
	}
	return *q.device, nil
}

// readAlone answers a question for a device where there is no reader.
func (s *Store) readAlone(ctx context.Context, q *question) error {
	return s.read(ctx, func(ctx context.Context, on dbutil.Execable) error {
		q.device = nil
		return oneByOne(ctx, on, deviceLookUps(loadDevicesText(q.baggage), map[tenant.ID][]*question{q.tenant: {q}}))
	})
}

// PutDevice stores the device in place of the one that is there. Returns ErrNotFound when the tenant is gone.
func (s *Store) PutDevice(ctx context.Context, id tenant.ID, d tenant.Device) error {
	return s.wrap(ctx, "store device", s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		_, err := b.exec(ctx, id, upsertDevice, d.JID, d.MasterKey, d.WrappedKey, d.Value)
		return err
	}))
}

// DeleteDevice destroys the device's key, and then deletes its rows in small steps.
func (s *Store) DeleteDevice(ctx context.Context, id tenant.ID) error {
	err := s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		_, err := b.execBare(ctx, deleteDevice, string(id))
		return err
	})
	for gone := int64(deleteChunk); err == nil && gone >= deleteChunk; {
		err = s.committer.do(ctx, deleteChunk, func(ctx context.Context, b *batch) (err error) {
			gone, err = b.execBare(ctx, deleteSomeDeviceRows, string(id), deleteChunk)
			return err
		})
	}
	return s.wrap(ctx, "delete device", err)
}

// maxDeviceKeys bounds the keys that one query names.
const maxDeviceKeys = 256

// DeviceRows returns the rows of these kinds that have one of these keys.
func (s *Store) DeviceRows(ctx context.Context, id tenant.ID, kinds []int16, keys ...[]byte) ([]tenant.DeviceRow, error) {
	if n := len(kinds) * len(keys); s.reader != nil && n > 0 && n <= maxRowsGathered {
		q := &question{tenant: id, kinds: kinds, keys: keys}
		if err := s.reader.ask(ctx, q); err != nil {
			return nil, s.wrap(ctx, "read device rows", err)
		}
		return q.rows, nil
	}
	var all []tenant.DeviceRow
	for len(keys) > 0 {
		n := min(len(keys), maxDeviceKeys)
		found, err := rows(ctx, s.at(id), scanKindAndRow, keyQuery(len(kinds), n), keyArgs(kinds, keys[:n])...)
		if err != nil {
			return nil, s.wrap(ctx, "read device rows", err)
		}
		all = append(all, found...)
		keys = keys[n:]
	}
	return all, nil
}

// keyQuery is the query for so many kinds and keys, of these rounded up to a power of two: the drivers keep each text prepared.
func keyQuery(kinds, n int) string {
	return fmt.Sprintf(selectDeviceRows, parameters(2, kinds), parameters(2+kinds, powerOfTwo(n)))
}

// parameters is a list of n parameters from one on.
func parameters(first, n int) string {
	var list strings.Builder
	for i := range n {
		if i > 0 {
			list.WriteString(", ")
		}
		list.WriteString("$" + strconv.Itoa(first+i))
	}
	return list.String()
}

// keyArgs are the arguments beside the tenant's id; the last key fills what keyQuery rounded up.
func keyArgs(kinds []int16, keys [][]byte) []any {
	args := make([]any, 0, len(kinds)+powerOfTwo(len(keys)))
	for _, kind := range kinds {
		args = append(args, kind)
	}
	for i := range powerOfTwo(len(keys)) {
		args = append(args, keys[min(i, len(keys)-1)])
	}
	return args
}

func powerOfTwo(n int) int {
	size := 1
	for size < n {
		size *= 2
	}
	return size
}

// ScanDeviceRows returns rows in the order of their keys; old ones in the order of their age.
func (s *Store) ScanDeviceRows(ctx context.Context, id tenant.ID, scan tenant.DeviceScan) ([]tenant.DeviceRow, error) {
	const everything = 1 << 40
	limit := everything
	if scan.Limit > 0 {
		limit = scan.Limit
	}
	query, args := scanDeviceRows, []any{scan.Kind, append([]byte{}, scan.From...), limit}
	switch {
	case !scan.MadeBefore.IsZero():
		query, args = scanOldDeviceRows, []any{scan.Kind, scan.MadeBefore.UnixMilli(), limit}
	case scan.Before != nil:
		query, args = scanDeviceRange, append(args, scan.Before)
	}
	found, err := rows(ctx, s.at(id), scanDeviceRow, query, args...)
	if err != nil {
		return nil, s.wrap(ctx, "scan device rows", err)
	}
	for i := range found {
		found[i].Kind = scan.Kind
	}
	return found, nil
}

// CountDeviceRows counts the rows of one kind.
func (s *Store) CountDeviceRows(ctx context.Context, id tenant.ID, kind int16) (int, error) {
	n, err := row(ctx, s.at(id), scanInt, countDeviceRows, kind)
	return int(n), s.wrap(ctx, "count device rows", err)
}

// AgeDeviceRows deletes up to limit rows that were made before a time.
func (s *Store) AgeDeviceRows(ctx context.Context, id tenant.ID, kind int16, before time.Time, limit int) (int, error) {
	var gone int64
	err := s.committer.do(ctx, limit, func(ctx context.Context, b *batch) (err error) {
		gone, err = b.execBare(ctx, deleteOldRows, string(id), kind, before.UnixMilli(), limit)
		return err
	})
	if err != nil {
		return 0, s.wrap(ctx, "delete old device rows", err)
	}
	return int(gone), nil
}

// DeviceKeys counts the devices by master key.
func (s *Store) DeviceKeys(ctx context.Context) (map[string]int, error) {
	type used struct {
		master string
		n      int
	}
	var all []used
	err := s.read(ctx, func(ctx context.Context, on dbutil.Execable) (err error) {
		all, err = collect(ctx, on, func(row dbutil.Scannable) (u used, err error) {
			err = row.Scan(&u.master, &u.n)
			return u, err
		}, selectDeviceKeys)
		return err
	})
	count := make(map[string]int, len(all))
	for _, u := range all {
		count[u.master] = u.n
	}
	return count, s.wrap(ctx, "count devices by master key", err)
}

// DevicesWrappedBy returns tenants whose devices' keys are encrypted by that master key.
func (s *Store) DevicesWrappedBy(ctx context.Context, master string, limit int) (ids []tenant.ID, err error) {
	err = s.read(ctx, func(ctx context.Context, on dbutil.Execable) (err error) {
		ids, err = collect(ctx, on, func(row dbutil.Scannable) (id tenant.ID, err error) {
			err = row.Scan(&id)
			return id, err
		}, selectWrapped, master, limit)
		return err
	})
	return ids, s.wrap(ctx, "list devices by master key", err)
}

// RewrapDevice replaces the encrypted key of a device, if it is the one that it was thought to be.
func (s *Store) RewrapDevice(ctx context.Context, id tenant.ID, was, now tenant.Device) error {
	return s.wrap(ctx, "encrypt device key anew", s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		_, err := b.execBare(ctx, rewrapDevice, string(id), was.WrappedKey, now.MasterKey, now.WrappedKey)
		return err
	}))
}
