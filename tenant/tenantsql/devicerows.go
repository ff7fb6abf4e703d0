package tenantsql

import (
	"context"
	"slices"
	"sync"

	"github.com/wafleet/wafleet/tenant"
)

const (
	// The three below are completed by tuples of (tenant, kind, key, …), each key once.
	upsertDeviceRows = `
		INSERT INTO device_row (tenant_id, kind, row_key, value, at) VALUES %s
		ON CONFLICT (tenant_id, kind, row_key) DO UPDATE SET value=excluded.value, at=excluded.at`
	insertDeviceRows = `INSERT INTO device_row (tenant_id, kind, row_key, value, at) VALUES %s ON CONFLICT DO NOTHING`
	deleteDeviceRows = `DELETE FROM device_row WHERE %s`

	insertDeviceTuple = `(?, ?, ?, ?, ?)`
	deleteDeviceTuple = `(tenant_id=? AND kind=? AND row_key=?)`
)

// riders are the devices' stores whose rows go with the commits of their tenants.
type riders struct {
	mu  sync.Mutex
	all map[tenant.ID][]*ride
}

// ride is one rider's.
type ride struct {
	tenant.DeviceRider

	aboard chan struct{} // not nil while a commit is under way that has asked for its rows; closed when that has ended
}

// RideDevice lets a rider's rows be written with all commits of the tenant, until leave.
func (s *Store) RideDevice(id tenant.ID, rider tenant.DeviceRider) (leave func()) {
	r := &ride{DeviceRider: rider}
	s.riders.mu.Lock()
	defer s.riders.mu.Unlock()
	if s.riders.all == nil {
		s.riders.all = make(map[tenant.ID][]*ride)
	}
	s.riders.all[id] = append(s.riders.all[id], r)
	return func() { s.riders.leave(id, r) }
}

func (all *riders) leave(id tenant.ID, r *ride) {
	all.mu.Lock()
	kept := all.all[id][:0:0]
	for _, other := range all.all[id] {
		if other != r {
			kept = append(kept, other)
		}
	}
	if len(kept) == 0 {
		delete(all.all, id)
	} else {
		all.all[id] = kept
	}
	aboard := r.aboard
	all.mu.Unlock()
	if aboard != nil {
		<-aboard
	}
}

// of returns a tenant's riders.
func (all *riders) of(id tenant.ID) []*ride {
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.all[id] // never changed in place
}

// prepare is called by whoever commits. It returns how many rows wait.
func (all *riders) prepare(id tenant.ID) (n int) {
	for _, r := range all.of(id) {
		n += r.Prepare()
	}
	return n
}

// FlushDevice commits what the tenant's riders have. Returns ErrNotFound when the tenant is gone.
func (s *Store) FlushDevice(ctx context.Context, id tenant.ID) error {
	if err := s.commits.enter(ctx, id); err != nil {
		return s.wrap(ctx, "store what a device has", err)
	}
	defer s.commits.leave(id)
	return s.wrap(ctx, "store what a device has", s.committer.do(ctx, 1+s.riders.prepare(id), func(ctx context.Context, b *batch) error {
		b.boarding.of(id).whole = true
		_, err := b.touch(ctx, id)
		return err
	}))
}

// boarding is what a transaction takes along of riders: those of the tenants that it changes.
type boarding struct {
	riders *riders
	lists  map[tenant.ID]*boardingList
	aboard []*ride
	landed []func()
}

// boardingList is which of a tenant's rows a transaction takes along.
type boardingList struct {
	settled []tenant.EventHash
	whole   bool
}

func (b *boarding) of(id tenant.ID) *boardingList {
	list := b.lists[id]
	if list == nil {
		list = &boardingList{}
		if b.lists == nil {
			b.lists = make(map[tenant.ID]*boardingList)
		}
		b.lists[id] = list
	}
	return list
}

// board asks the riders of a tenant for their rows.
func (b *boarding) board(id tenant.ID) (rows []tenant.DeviceRow) {
	if b.riders == nil {
		return nil
	}
	b.riders.mu.Lock()
	all := b.riders.all[id]
	for _, r := range all {
		r.aboard = make(chan struct{})
	}
	b.riders.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	b.aboard = append(b.aboard, all...)
	list := b.of(id)
	for _, r := range all {
		of, landed := r.Board(list.settled, list.whole)
		rows = append(rows, of...)
		if landed != nil {
			b.landed = append(b.landed, landed)
		}
	}
	return rows
}

// arrive tells those aboard that the commit has succeeded.
func (b *boarding) arrive() {
	for _, landed := range b.landed {
		landed()
	}
	b.landed = nil
}

// end lets everybody go who is aboard.
func (b *boarding) end() {
	if len(b.aboard) == 0 {
		return
	}
	b.riders.mu.Lock()
	defer b.riders.mu.Unlock()
	for _, r := range b.aboard {
		close(r.aboard)
		r.aboard = nil
	}
	b.aboard = nil
}

// deviceWrites writes the rows of the riders of all tenants that the transaction changes.
func (b *batch) deviceWrites() []statement {
	type ofTenant struct {
		tenant.DeviceRow

		id tenant.ID
	}
	var put, add, gone []ofTenant
	for id, h := range b.heads {
		if _, deleted := b.deleted[id]; deleted || !h.moved {
			continue
		}
		for _, row := range b.boarding.board(id) {
			switch of := (ofTenant{row, id}); {
			case row.Value == nil:
				gone = append(gone, of)
			case row.IfNew:
				add = append(add, of)
			default:
				put = append(put, of)
			}
		}
	}
	whole := func(r ofTenant) []any { return []any{string(r.id), r.Kind, r.Key, r.Value, r.At} }
	named := func(r ofTenant) []any { return []any{string(r.id), r.Kind, r.Key} }
	return slices.Concat(
		pieces("delete device rows", deleteDeviceRows, deleteDeviceTuple, " OR ", gone, named),
		manyWrites("insert device rows", insertDeviceRows, insertDeviceTuple, add, whole),
		manyWrites("write device rows", upsertDeviceRows, insertDeviceTuple, put, whole),
	)
}
