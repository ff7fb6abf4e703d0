package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	// selectDeviceRowsOf is PostgreSQL's, and completed by one tuple for each row.
	selectDeviceRowsOf = `
		SELECT tenant_id, kind, row_key, value, at FROM device_row WHERE (tenant_id, kind, row_key) IN (VALUES %s)`
	selectDeviceRowsTuple = `(CAST(? AS TEXT), CAST(? AS SMALLINT), CAST(? AS BYTEA))`

	// loadDevicesOf is completed by one tuple for each tenant, and yields the device in each of its rows, of which there are few. Kinds stand
	// in the text, where the planner sees them; the limit keeps it from counting for each row again.
	loadDevicesOf = `
		SELECT d.tenant_id, d.jid, d.master_key, d.wrapped_key, d.value, d.counted, d.oldest,
			COALESCE(r.kind, -1), r.row_key, r.value, COALESCE(r.at, 0)
		FROM (
			SELECT *,
				(SELECT COUNT(*) FROM device_row WHERE tenant_id=device.tenant_id AND kind={count}) AS counted,
				COALESCE((SELECT MIN(at) FROM device_row WHERE tenant_id=device.tenant_id AND kind={oldest} AND at>0), 0) AS oldest
			FROM device WHERE tenant_id IN (VALUES %s) LIMIT {most}
		) d LEFT JOIN device_row r ON r.tenant_id=d.tenant_id AND r.kind IN ({rows})`
)

const (
	readerQueue = 4096
	// maxQuestions and maxRowsAsked bound what is read together.
	maxQuestions = 256
	maxRowsAsked = 512
	// maxRowsGathered is how many rows one caller may ask the reader for; who wants more makes a query of its own.
	maxRowsGathered = 32
)

// reader reads devices' rows, together what is wanted at about the same time, over a connection of its own: when a node starts, each of its
// sessions wants a few, and a query costs both sides far more than its rows do. PostgreSQL only: SQLite is not far.
type reader struct {
	*queue[*question]

	db      *sql.DB
	log     *slog.Logger
	timeout time.Duration
}

// question is what one caller wants to read: a device with its baggage, or rows of a device.
type question struct {
	wish

	tenant  tenant.ID
	baggage *tenant.DeviceBaggage // not nil: the device
	kinds   []int16
	keys    [][]byte

	// What was found. The caller may read it once it has its answer.
	device *tenant.LoadedDevice
	rows   []tenant.DeviceRow
}

func newReader(ctx context.Context, db *sql.DB, cfg Config) *reader {
	r := &reader{queue: newQueue[*question](readerQueue, maxQuestions, maxRowsAsked), db: db, log: cfg.Log, timeout: cfg.ReadTimeout}
	r.yields = true
	go r.run(func(all []*question) { r.answer(ctx, all) })
	return r
}

func (r *reader) close() error {
	r.queue.close()
	return r.db.Close()
}

// ask returns when the question is answered, or the time for that is over, the wait behind others' included.
func (r *reader) ask(ctx context.Context, q *question) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	q.size = max(1, len(q.kinds)*len(q.keys))
	return r.await(ctx, q)
}

// answer answers all questions. What fails together is asked one by one, so that one cannot spoil another's.
func (r *reader) answer(ctx context.Context, all []*question) {
	all = staying(all)
	if len(all) == 0 {
		return
	}
	err := r.read(ctx, all)
	if err == nil || len(all) == 1 || unavailable(err) {
		answer(all, err)
		return
	}
	for i := range all {
		r.answer(ctx, all[i:i+1])
	}
}

// read reads what is asked for in one round trip, again if the connection was lost. One that is lost in silence takes half of the time.
func (r *reader) read(ctx context.Context, all []*question) (err error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	for range maxReads {
		once, end := context.WithTimeout(ctx, r.timeout/2)
		err = r.readGuarded(once, all)
		silent := once.Err() != nil && ctx.Err() == nil
		end()
		if err == nil || !silent && !died(err) {
			return err
		}
	}
	return err
}

// readGuarded is readOnce; a panic becomes an error, so that it costs one caller and not the reader.
func (r *reader) readGuarded(ctx context.Context, all []*question) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = panicked(ctx, r.log, "reading", reason)
		}
	}()
	return r.readOnce(ctx, all)
}

func (r *reader) readOnce(ctx context.Context, all []*question) (err error) {
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	devices := map[string]map[tenant.ID][]*question{} // by the text of the query
	rows := map[deviceRowKey][]*question{}
	for _, q := range all {
		q.device, q.rows = nil, nil
		if q.baggage != nil {
			text := loadDevicesText(q.baggage)
			if devices[text] == nil {
				devices[text] = map[tenant.ID][]*question{}
			}
			devices[text][q.tenant] = append(devices[text][q.tenant], q)
		}
		for _, kind := range q.kinds {
			for _, key := range q.keys {
				name := deviceRowKey{q.tenant, kind, string(key)}
				if asked := rows[name]; len(asked) == 0 || asked[len(asked)-1] != q { // a key that is named twice is one
					rows[name] = append(asked, q)
				}
			}
		}
	}
	statements := deviceRowLookUps(rows)
	for text, asked := range devices {
		statements = append(statements, deviceLookUps(text, asked)...)
	}
	return pipeline(ctx, conn, statements)
}

// deviceRowKey names a row of a device.
type deviceRowKey struct {
	tenant tenant.ID
	kind   int16
	key    string
}

func (k deviceRowKey) values() []any { return []any{string(k.tenant), k.kind, []byte(k.key)} }

func deviceRowLookUps(asked map[deviceRowKey][]*question) []statement {
	names := slices.Collect(maps.Keys(asked))
	return lookUpsAs("read device rows", selectDeviceRowsOf, selectDeviceRowsTuple, names, deviceRowKey.values, func(row dbutil.Scannable) error {
		var id tenant.ID
		var found tenant.DeviceRow
		if err := row.Scan(&id, &found.Kind, &found.Key, &found.Value, &found.At); err != nil {
			return err
		}
		for _, q := range asked[deviceRowKey{id, found.Kind, string(found.Key)}] {
			q.rows = append(q.rows, found)
		}
		return nil
	})
}

// loadDevicesText is loadDevicesOf for what is wanted along with the devices.
func loadDevicesText(want *tenant.DeviceBaggage) string {
	kinds := make([]string, len(want.Rows))
	for i, kind := range want.Rows {
		kinds[i] = strconv.Itoa(int(kind))
	}
	return strings.NewReplacer(
		"{most}", strconv.Itoa(maxTuples), "{count}", strconv.Itoa(int(want.Count)), "{oldest}", strconv.Itoa(int(want.Oldest)), "{rows}", strings.Join(kinds, ", "),
	).Replace(loadDevicesOf)
}

func deviceLookUps(text string, asked map[tenant.ID][]*question) []statement {
	return lookUps("load devices", text, slices.Collect(maps.Keys(asked)), tenantValue, func(row dbutil.Scannable) error {
		var id tenant.ID
		var d tenant.LoadedDevice
		var r tenant.DeviceRow
		var oldest int64
		err := row.Scan(&id, &d.JID, &d.MasterKey, &d.WrappedKey, &d.Value, &d.Count, &oldest, &r.Kind, &r.Key, &r.Value, &r.At)
		if err != nil {
			return err
		}
		d.Oldest = fromMillis(oldest)
		for _, q := range asked[id] {
			if q.device == nil {
				own := d
				own.Rows = []tenant.DeviceRow{}
				q.device = &own
			}
			if r.Kind >= 0 { // else a device without rows
				q.device.Rows = append(q.device.Rows, r)
			}
		}
		return nil
	})
}
