package devicestore

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/wafleet/wafleet/tenant"
)

// overlay is what a device has written that is not known to be in the database. The device's mutex guards it.
//
// Events are numbered as they are decrypted, and a row remembers of which event its value is: so what earlier events moved can be
// written while later ones wait for their records. A row has one value for each of them, at most.
type overlay struct {
	rows   map[rowID][]version // the newest last; never empty
	events map[tenant.EventHash]*event
	number uint64            // of the event that was decrypted last
	writes uint64            // counts changes
	taken  *tenant.EventHash // the event that was decrypted last, or found here, until TakeEvent
	// continued is an event whose stanza goes on, until the event is cleared.
	continued *tenant.EventHash
	asked     []tenant.EventHash // that GetBufferedEvent did not know, and whose decryption has not begun
}

// version is what a row was at one time.
type version struct {
	value  []byte // nil: deleted
	at     int64
	ifNew  bool
	number uint64 // of the event
	write  uint64
	sealed []byte // value, encrypted, or nil: not yet
}

// txn is what a transaction has written so far. It belongs to the goroutine that runs it.
type txn struct {
	rows  map[rowID]version
	event *event
	hash  tenant.EventHash
}

type inTxn struct{}

func txnOf(ctx context.Context) *txn {
	t, _ := ctx.Value(inTxn{}).(*txn)
	return t
}

// put writes a row: in memory, until something is committed.
func (d *device) put(ctx context.Context, row rowID, v version) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Canceled, context.Cause(ctx))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	switch row.kind {
	case kindPreKey:
		d.preKeysKnown = false
	case kindPrivacyToken:
		d.oldestTokenKnown = false
	}
	if t := txnOf(ctx); t != nil {
		if before, again := t.rows[row]; !again || !v.ifNew || before.value == nil {
			t.rows[row] = v
		}
		return nil
	}
	d.overlay.put(row, v)
	return nil
}

func (d *device) putValue(ctx context.Context, row rowID, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return d.put(ctx, row, version{value: value})
}

func (d *device) remove(ctx context.Context, row rowID) error { return d.put(ctx, row, version{}) }

func (o *overlay) put(row rowID, v version) {
	if o.rows == nil {
		o.rows = make(map[rowID][]version)
	}
	all := o.rows[row]
	if v.ifNew && len(all) > 0 {
		if all[len(all)-1].value != nil {
			return
		}
		v.ifNew = false // it was deleted before
	}
	o.writes++
	v.number, v.write = o.number, o.writes
	if n := len(all); n > 0 && all[n-1].number == v.number {
		all[n-1] = v
	} else {
		all = append(all, v)
	}
	o.rows[row] = all
}

// peek looks a row up in memory. ok is false if only the database knows; writes is then what read takes.
func (d *device) peek(ctx context.Context, row rowID) (value []byte, ok bool, writes uint64, err error) {
	if ctx.Err() != nil {
		return nil, false, 0, fmt.Errorf("%w: %w", context.Canceled, context.Cause(ctx))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err = d.usable(); err != nil {
		return nil, false, 0, err
	}
	if t := txnOf(ctx); t != nil {
		if v, found := t.rows[row]; found && !v.ifNew {
			return v.value, true, 0, nil
		}
	}
	if all := d.overlay.rows[row]; len(all) > 0 && !all[len(all)-1].ifNew {
		return all[len(all)-1].value, true, 0, nil
	}
	if cached(row.kind) {
		if value, ok = d.store.cache.get(cacheKey{d.number, row}); ok {
			return value, true, 0, nil
		}
	}
	return nil, false, d.overlay.writes, nil
}

// perhaps is what a row will be if the database has none.
func (d *device) perhaps(ctx context.Context, row rowID) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := txnOf(ctx); t != nil {
		if v, found := t.rows[row]; found {
			return v.value
		}
	}
	if all := d.overlay.rows[row]; len(all) > 0 {
		return all[len(all)-1].value
	}
	return nil
}

// get reads a row; nil if there is none.
func (d *device) get(ctx context.Context, kind int16, key string) ([]byte, error) {
	row := rowID{kind, key}
	value, ok, _, err := d.peek(ctx, row)
	if ok || err != nil {
		return value, err
	}
	found, err := d.getMany(ctx, kind, []string{key})
	return found[key], err
}

// getMany reads rows; those that there are not are missing.
func (d *device) getMany(ctx context.Context, kind int16, keys []string) (map[string][]byte, error) {
	found := make(map[string][]byte, len(keys))
	var missing [][]byte
	var before uint64
	for _, key := range keys {
		value, ok, writes, err := d.peek(ctx, rowID{kind, key})
		switch {
		case err != nil:
			return nil, err
		case !ok:
			if len(missing) == 0 {
				before = writes
			}
			missing = append(missing, []byte(key))
		case value != nil:
			found[key] = value
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	kinds := []int16{kind}
	identities := d.besides(ctx, kind, missing)
	if len(identities) > 0 {
		kinds = append(kinds, kindIdentity)
	}
	all, err := answer(ctx, d, func() (map[int16]map[string][]byte, error) { return d.read(ctx, kinds, missing) })
	if err != nil {
		return nil, err
	}
	stored := all[kind]
	d.remember(kind, missing, stored, before)
	d.remember(kindIdentity, identities, all[kindIdentity], before)
	for _, key := range missing {
		value := stored[string(key)]
		if value == nil {
			value = d.perhaps(ctx, rowID{kind, string(key)})
		}
		if value != nil {
			found[string(key)] = value
		}
	}
	return found, nil
}

// besides are those of the addresses whose identities are read along with their ratchets: who needs one asks for the other next.
func (d *device) besides(ctx context.Context, kind int16, addresses [][]byte) [][]byte {
	if kind != kindSession {
		return nil
	}
	var unknown [][]byte
	for _, address := range addresses {
		if _, ok, _, err := d.peek(ctx, rowID{kindIdentity, string(address)}); !ok && err == nil {
			unknown = append(unknown, address)
		}
	}
	return unknown
}

// read reads rows from the database, by their kinds.
func (d *device) read(ctx context.Context, kinds []int16, keys [][]byte) (map[int16]map[string][]byte, error) {
	rows, err := d.store.rows.DeviceRows(ctx, d.id, kinds, keys...)
	if err != nil {
		return nil, err
	}
	found := make(map[int16]map[string][]byte, len(kinds))
	for _, kind := range kinds {
		of := slices.DeleteFunc(slices.Clone(rows), func(r tenant.DeviceRow) bool { return r.Kind != kind })
		if found[kind], err = d.opened(of); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// opened decrypts rows of one kind.
func (d *device) opened(rows []tenant.DeviceRow) (map[string][]byte, error) {
	found := make(map[string][]byte, len(rows))
	for _, r := range rows {
		row := rowID{r.Kind, string(r.Key)}
		plain, err := d.sealer.open(row, r.Value)
		if err != nil {
			return nil, fmt.Errorf("row of kind %d: %w", r.Kind, err)
		}
		found[row.key] = plain
	}
	return found, nil
}

// remember caches what was read, unless something was written since: then it may be old.
func (d *device) remember(kind int16, keys [][]byte, stored map[string][]byte, before uint64) {
	if !cached(kind) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.overlay.writes != before {
		return
	}
	for _, key := range keys {
		d.store.cache.add(cacheKey{d.number, rowID{kind, string(key)}}, stored[string(key)])
	}
}

// scan reads all rows of one kind whose keys begin with prefix.
func (d *device) scan(ctx context.Context, kind int16, prefix string) (map[string][]byte, error) {
	d.mu.Lock()
	written := make(map[string][]byte) // before the database is asked: it may be there by then, or not
	for row, all := range d.overlay.rows {
		if row.kind == kind && strings.HasPrefix(row.key, prefix) {
			written[row.key] = all[len(all)-1].value
		}
	}
	if t := txnOf(ctx); t != nil {
		for row, v := range t.rows {
			if row.kind == kind && strings.HasPrefix(row.key, prefix) {
				written[row.key] = v.value
			}
		}
	}
	d.mu.Unlock()
	found, err := answer(ctx, d, func() (map[string][]byte, error) {
		rows, err := d.store.rows.ScanDeviceRows(ctx, d.id, tenant.DeviceScan{Kind: kind, From: []byte(prefix), Before: after(prefix)})
		if err != nil {
			return nil, err
		}
		return d.opened(rows)
	})
	if err != nil {
		return nil, err
	}
	maps.Copy(found, written)
	maps.DeleteFunc(found, func(_ string, value []byte) bool { return value == nil })
	return found, nil
}

// removeAll deletes all rows of one kind whose keys begin with prefix.
func (d *device) removeAll(ctx context.Context, kind int16, prefix string) error {
	found, err := d.scan(ctx, kind, prefix)
	if err != nil {
		return err
	}
	for key := range found {
		if err = d.remove(ctx, rowID{kind, key}); err != nil {
			return err
		}
	}
	return nil
}

// later marks contexts of writes that do not wait.
type later struct{}

// Later implements [session.Later].
func (*device) Later(ctx context.Context) context.Context {
	return context.WithValue(ctx, later{}, true)
}

// Flush implements [session.Later].
func (d *device) Flush(ctx context.Context) error { return d.flush(ctx) }

// flush returns when all that was written is durable. Inside a transaction it does nothing: whoever ends that does.
func (d *device) flush(ctx context.Context) error {
	if txnOf(ctx) != nil || ctx.Value(later{}) != nil {
		return nil
	}
	d.mu.Lock()
	err, pending := d.usable(), d.overlay.pending()
	d.mu.Unlock()
	if err != nil || !pending {
		return err
	}
	return d.do(ctx, func() error { return d.store.rows.FlushDevice(ctx, d.id) })
}

// pending says whether something is not in the database. What merely makes a plaintext go may wait.
func (o *overlay) pending() bool {
	if len(o.rows) > 0 {
		return true
	}
	for _, e := range o.events {
		if !e.stored {
			return true
		}
	}
	return false
}

// transact runs fn, whose writes count when it has succeeded.
func (d *device) transact(ctx context.Context, fn func(context.Context) error) error {
	if txnOf(ctx) != nil {
		return fn(ctx)
	}
	t := &txn{rows: make(map[rowID]version)}
	if err := fn(context.WithValue(ctx, inTxn{}, t)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	if t.event != nil {
		d.overlay.number++
		t.event.number = d.overlay.number
		if d.overlay.events == nil {
			d.overlay.events = make(map[tenant.EventHash]*event)
		}
		d.overlay.events[t.hash] = t.event
		d.overlay.taken = &t.hash
	}
	for row, v := range t.rows {
		d.overlay.put(row, v)
	}
	return nil
}

// Together implements [session.Together].
func (d *device) Together(ctx context.Context, fn func(context.Context) error) error {
	if err := d.transact(ctx, fn); err != nil {
		return err
	}
	return d.flush(ctx)
}

// Prepare implements [tenant.DeviceRider]: it encrypts.
func (d *device) Prepare() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	for row, all := range d.overlay.rows {
		d.sealVersion(row, &all[len(all)-1])
	}
	return len(d.overlay.rows)
}

func (d *device) sealVersion(row rowID, v *version) {
	if v.value != nil && v.sealed == nil {
		v.sealed = d.sealer.seal(row, v.value)
	}
}

// Board implements [tenant.DeviceRider].
func (d *device) Board(settled []tenant.EventHash, whole bool) (rows []tenant.DeviceRow, landed func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.usable() != nil || len(d.overlay.rows) == 0 && len(d.overlay.events) == 0 {
		return nil, nil
	}
	upTo := uint64(math.MaxUint64)
	if !whole {
		upTo = d.overlay.ready(settled)
	}
	taken := make(map[rowID]uint64, len(d.overlay.rows))
	for row, all := range d.overlay.rows {
		n := len(all) - 1
		for n >= 0 && all[n].number > upTo {
			n--
		}
		if n < 0 {
			continue
		}
		v := &all[n]
		d.sealVersion(row, v)
		rows = append(rows, tenant.DeviceRow{Kind: row.kind, Key: []byte(row.key), Value: v.sealed, At: v.at, IfNew: v.ifNew})
		taken[row] = v.write
	}
	events, done := d.boardEvents(settled, upTo)
	rows = append(rows, events...)
	if len(rows) == 0 {
		return nil, nil
	}
	return rows, func() { d.landed(taken, done) }
}

// landed forgets what is in the database by now.
func (d *device) landed(taken map[rowID]uint64, events func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for row, write := range taken {
		all := d.overlay.rows[row]
		n := slices.IndexFunc(all, func(v version) bool { return v.write > write })
		if n < 0 {
			n = len(all)
		}
		if n == len(all) && n > 0 {
			d.keep(row, all[n-1])
		}
		if n == len(all) {
			delete(d.overlay.rows, row)
		} else if n > 0 {
			d.overlay.rows[row] = slices.Clone(all[n:])
		}
	}
	events()
}

// keep caches what was written; d.mu is held.
func (d *device) keep(row rowID, v version) {
	if cached(row.kind) && !v.ifNew {
		d.store.cache.add(cacheKey{d.number, row}, v.value)
	}
}
