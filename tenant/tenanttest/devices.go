package tenanttest

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/tenant"
)

// DeviceStore is a store that keeps devices, too.
type DeviceStore interface {
	tenant.Store
	tenant.DeviceStore
}

// ExerciseDevices checks that a store keeps devices as package tenant says. newStore returns an empty store, which goes with the test.
func ExerciseDevices(t *testing.T, newStore func(t *testing.T) DeviceStore) {
	t.Helper()
	for name, check := range map[string]func(t tester, store DeviceStore){
		"ADeviceIsStoredReplacedAndDeleted":       deviceIsKept,
		"ADeviceIsLoadedWithItsBaggage":           deviceIsLoadedWithBaggage,
		"RowsAreReadByKeyAndInOrder":              rowsAreRead,
		"ManyReadAtOnceAndEachGetsItsOwn":         manyRead,
		"RowsAreTheTenantsOwn":                    rowsAreOwn,
		"RidersRowsGoWithTheTenantsCommits":       ridersGoAlong,
		"ACommitThatFailsLandsNothing":            failedCommitsLandNothing,
		"WhoeverLeavesHasNoCommitUnderWay":        leavingWaits,
		"OldRowsGoInSteps":                        oldRowsGo,
		"KeysAreReplacedUnlessTheyChanged":        keysAreReplaced,
		"ADeletedTenantHasNoDeviceAndTakesNoRows": deletedTenantsTakeNothing,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(tester{t}, newStore(t))
		})
	}
}

// cargo is a rider with rows for one commit after the other.
type cargo struct {
	mu       sync.Mutex
	rows     []tenant.DeviceRow
	settled  []tenant.EventHash
	whole    bool
	boarded  int
	prepared int
	landed   int
	onBoard  func()
}

// Prepare implements [tenant.DeviceRider].
func (c *cargo) Prepare() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prepared++
	return len(c.rows)
}

// Board implements [tenant.DeviceRider].
func (c *cargo) Board(settled []tenant.EventHash, whole bool) ([]tenant.DeviceRow, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boarded++
	c.settled, c.whole = settled, whole
	if c.onBoard != nil {
		c.onBoard()
	}
	return c.rows, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.landed++
	}
}

func (c *cargo) carry(rows ...tenant.DeviceRow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows = rows
}

func (c *cargo) counts() (boarded, landed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boarded, c.landed
}

func put(kind int16, key, value string) tenant.DeviceRow {
	return tenant.DeviceRow{Kind: kind, Key: []byte(key), Value: []byte(value)}
}

// write stores rows of a tenant.
func write(t tester, store DeviceStore, id tenant.ID, rows ...tenant.DeviceRow) {
	t.Helper()
	leave := store.RideDevice(id, &cargo{rows: rows})
	defer leave()
	require.NoError(t, store.FlushDevice(t.Context(), id))
}

// stored is what the store has of rows, as text.
func stored(t tester, store DeviceStore, id tenant.ID, kind int16, keys ...string) map[string]string {
	t.Helper()
	names := make([][]byte, len(keys))
	for i, key := range keys {
		names[i] = []byte(key)
	}
	rows, err := store.DeviceRows(t.Context(), id, []int16{kind}, names...)
	require.NoError(t, err)
	found := make(map[string]string, len(rows))
	for _, r := range rows {
		require.Equal(t, kind, r.Kind)
		found[string(r.Key)] = string(r.Value)
	}
	return found
}

func deviceIsKept(t tester, store DeviceStore) {
	ctx, id := t.Context(), NewTenant(t, store).ID()
	_, err := store.Device(ctx, id)
	require.ErrorIs(t, err, tenant.ErrDeviceNotFound)
	require.NoError(t, store.DeleteDevice(ctx, id))
	for n := range 2 {
		d := tenant.Device{JID: fmt.Sprint("jid ", n), MasterKey: "m", WrappedKey: []byte{0, 1, byte(n)}, Value: []byte{0xff, 0, byte(n)}}
		require.NoError(t, store.PutDevice(ctx, id, d))
		found, err := store.Device(ctx, id)
		require.NoError(t, err)
		require.Equal(t, d, found)
	}
	rows := make([]tenant.DeviceRow, 1201)
	for i := range rows {
		rows[i] = put(int16(i%3), strconv.Itoa(i), "x")
	}
	write(t, store, id, rows...)
	require.NoError(t, store.DeleteDevice(ctx, id))
	for kind := range int16(3) {
		n, err := store.CountDeviceRows(ctx, id, kind)
		require.NoError(t, err)
		require.Zero(t, n)
	}
	_, err = store.Device(ctx, id)
	require.ErrorIs(t, err, tenant.ErrDeviceNotFound)
	require.ErrorIs(t, store.PutDevice(ctx, tenant.NewID(), tenant.Device{WrappedKey: []byte{1}, Value: []byte{1}}), tenant.ErrNotFound)
}

func deviceIsLoadedWithBaggage(t tester, store DeviceStore) {
	ctx, id, other := t.Context(), NewTenant(t, store).ID(), NewTenant(t, store).ID()
	want := tenant.DeviceBaggage{Rows: []int16{1, 2, 5}, Count: 3, Oldest: 4}
	_, err := store.LoadDevice(ctx, id, want)
	require.ErrorIs(t, err, tenant.ErrDeviceNotFound)
	d := tenant.Device{JID: "jid", MasterKey: "m", WrappedKey: []byte{0, 1}, Value: []byte{0xff, 0}}
	require.NoError(t, store.PutDevice(ctx, id, d))
	require.NoError(t, store.PutDevice(ctx, other, d))
	write(t, store, other, put(1, "other", "x"), put(3, "other", "x"), tenant.DeviceRow{Kind: 4, Key: []byte("other"), Value: []byte("x"), At: 1})
	found, err := store.LoadDevice(ctx, id, want)
	require.NoError(t, err)
	require.Equal(t, tenant.LoadedDevice{Device: d, Rows: []tenant.DeviceRow{}}, found)

	aged := func(name string, at int64) tenant.DeviceRow {
		return tenant.DeviceRow{Kind: 4, Key: []byte(name), Value: []byte("x"), At: at}
	}
	one, two := put(1, "one", "x"), put(2, "two", "y")
	two.At = 7
	write(t, store, id, one, two, put(3, "a", "x"), put(3, "b", "x"), aged("never", 0), aged("later", 9000), aged("first", 8000))
	found, err = store.LoadDevice(ctx, id, want)
	require.NoError(t, err)
	require.Equal(t, d, found.Device)
	require.Equal(t, 2, found.Count)
	require.Equal(t, time.UnixMilli(8000).UTC(), found.Oldest)
	require.ElementsMatch(t, []tenant.DeviceRow{one, two}, found.Rows)
}

func rowsAreRead(t tester, store DeviceStore) {
	ctx, id := t.Context(), NewTenant(t, store).ID()
	var names []string
	var rows []tenant.DeviceRow
	for i := range 300 {
		names = append(names, fmt.Sprintf("%03d", i))
		rows = append(rows, put(1, names[i], "value "+names[i]))
	}
	write(t, store, id, append(rows, put(2, "000", "of another kind"), tenant.DeviceRow{Kind: 1, Key: []byte{0xff, 0}, Value: []byte{}})...)
	require.Len(t, stored(t, store, id, 1, append(names, "none")...), len(names))
	require.Equal(t, map[string]string{"007": "value 007"}, stored(t, store, id, 1, "007", "none"))
	require.Equal(t, map[string]string{"\xff\x00": ""}, stored(t, store, id, 1, "\xff\x00"))
	require.Empty(t, stored(t, store, id, 3, "007"))
	twice, err := store.DeviceRows(ctx, id, []int16{1, 1}, []byte("007"), []byte("007"))
	require.NoError(t, err)
	require.Equal(t, []tenant.DeviceRow{put(1, "007", "value 007")}, twice)
	require.Empty(t, stored(t, store, id, 1))

	write(t, store, id, put(3, "007", "of another kind"), put(4, "007", "of none that is asked for"))
	both, err := store.DeviceRows(t.Context(), id, []int16{1, 3}, []byte("007"), []byte("008"))
	require.NoError(t, err)
	require.ElementsMatch(t, []tenant.DeviceRow{put(1, "007", "value 007"), put(1, "008", "value 008"), put(3, "007", "of another kind")}, both)
	n, err := store.CountDeviceRows(ctx, id, 1)
	require.NoError(t, err)
	require.Equal(t, 301, n)
	for want, scan := range map[string]tenant.DeviceScan{
		"290…ff":   {Kind: 1, From: []byte("290")},
		"290…292":  {Kind: 1, From: []byte("290"), Limit: 3},
		"010…019":  {Kind: 1, From: []byte("01"), Before: []byte("02")},
		"000…000":  {Kind: 2},
		"nothing…": {Kind: 9},
	} {
		found, err := store.ScanDeviceRows(ctx, id, scan)
		require.NoError(t, err)
		text := "nothing…"
		if len(found) > 0 {
			text = fmt.Sprintf("%s…%.3s", found[0].Key, bytes.ReplaceAll(found[len(found)-1].Key, []byte{0xff, 0}, []byte("ff")))
		}
		require.Equal(t, want, text)
	}
	write(t, store, id, put(1, "000", "new"), tenant.DeviceRow{Kind: 1, Key: []byte("001")},
		tenant.DeviceRow{Kind: 1, Key: []byte("002"), Value: []byte("too late"), IfNew: true},
		tenant.DeviceRow{Kind: 1, Key: []byte("500"), Value: []byte("in time"), IfNew: true})
	require.Equal(t, map[string]string{"000": "new", "002": "value 002", "500": "in time"}, stored(t, store, id, 1, "000", "001", "002", "500"))
}

func manyRead(t tester, store DeviceStore) {
	ctx := t.Context()
	ids := make([]tenant.ID, 24)
	for i := range ids {
		ids[i] = NewTenant(t, store).ID()
		if i%4 == 0 {
			continue // has no device
		}
		require.NoError(t, store.PutDevice(ctx, ids[i], tenant.Device{JID: string(ids[i]), WrappedKey: []byte(ids[i]), Value: []byte(ids[i])}))
		write(t, store, ids[i], put(1, "k", string(ids[i])), put(2, "k", string(ids[i])), put(2, "l", string(ids[i])))
	}
	own := func(id tenant.ID, found []tenant.DeviceRow, n int, err error) error {
		for _, r := range found {
			if string(r.Value) != string(id) {
				return fmt.Errorf("%s got %q", id, r.Value)
			}
		}
		if err != nil || len(found) != n {
			return fmt.Errorf("of %s there were %v, %w", id, found, err)
		}
		return nil
	}
	load := func(id tenant.ID, exists bool, want tenant.DeviceBaggage, count int) error {
		found, err := store.LoadDevice(ctx, id, want)
		switch {
		case !exists && errors.Is(err, tenant.ErrDeviceNotFound):
			return nil
		case !exists || err != nil || found.JID != string(id) || found.Count != count:
			return fmt.Errorf("of the device of %s there was %v, %w", id, found, err)
		}
		return own(id, found.Rows, 3-count, err)
	}
	read := func(id tenant.ID, exists bool, kinds []int16, rows int, keys ...[]byte) error {
		found, err := store.DeviceRows(ctx, id, kinds, keys...)
		if !exists {
			rows = 0
		}
		return own(id, found, rows, err)
	}
	var group errgroup.Group
	for range 4 {
		for i, id := range ids {
			exists := i%4 != 0
			group.Go(func() error { return load(id, exists, tenant.DeviceBaggage{Rows: []int16{1}, Count: 2, Oldest: 3}, 2) })
			group.Go(func() error { return load(id, exists, tenant.DeviceBaggage{Rows: []int16{2}, Count: 1, Oldest: 3}, 1) })
			group.Go(func() error { return read(id, exists, []int16{1}, 1, []byte("k")) })
			group.Go(func() error { return read(id, exists, []int16{1, 2}, 3, []byte("l"), []byte("none"), []byte("k")) })
		}
	}
	require.NoError(t, group.Wait())
}

func rowsAreOwn(t tester, store DeviceStore) {
	ctx, one, other := t.Context(), NewTenant(t, store).ID(), NewTenant(t, store).ID()
	for _, id := range []tenant.ID{one, other} {
		require.NoError(t, store.PutDevice(ctx, id, tenant.Device{JID: "the same", WrappedKey: []byte(id), Value: []byte(id)}))
		write(t, store, id, tenant.DeviceRow{Kind: 1, Key: []byte("k"), Value: []byte(id), At: 1})
	}
	require.Equal(t, map[string]string{"k": string(one)}, stored(t, store, one, 1, "k"))
	write(t, store, one, tenant.DeviceRow{Kind: 1, Key: []byte("k")})
	gone, err := store.AgeDeviceRows(ctx, one, 1, time.Now(), 10)
	require.NoError(t, err)
	require.Zero(t, gone)
	require.NoError(t, store.DeleteDevice(ctx, one))
	require.Equal(t, map[string]string{"k": string(other)}, stored(t, store, other, 1, "k"))
	found, err := store.Device(ctx, other)
	require.NoError(t, err)
	require.Equal(t, []byte(other), found.Value)
}

func ridersGoAlong(t tester, store DeviceStore) {
	ctx, h, other := t.Context(), NewTenant(t, store), NewTenant(t, store)
	c := &cargo{}
	leave := store.RideDevice(h.ID(), c)
	c.carry(put(1, "k", "one"))
	_, err := other.Commit(ctx, tenant.PutContact{ID: ana, PushName: "Ana"})
	require.NoError(t, err)
	boarded, _ := c.counts()
	require.Zero(t, boarded, "another tenant's commit")

	hash := tenant.EventHash{7}
	_, err = h.Commit(ctx, tenant.PutContact{ID: ana, PushName: "Ana"}, tenant.SettleEvent{Hash: hash})
	require.NoError(t, err)
	boarded, landed := c.counts()
	require.Equal(t, [2]int{1, 1}, [2]int{boarded, landed})
	require.Equal(t, []tenant.EventHash{hash}, c.settled)
	require.False(t, c.whole)
	require.Positive(t, c.prepared)
	require.Equal(t, map[string]string{"k": "one"}, stored(t, store, h.ID(), 1, "k"))

	c.carry(put(1, "k", "two"))
	require.NoError(t, store.FlushDevice(ctx, h.ID()))
	require.True(t, c.whole)
	require.Empty(t, c.settled)
	require.Equal(t, map[string]string{"k": "two"}, stored(t, store, h.ID(), 1, "k"))

	leave()
	c.carry(put(1, "k", "three"))
	require.NoError(t, store.FlushDevice(ctx, h.ID()))
	require.Equal(t, map[string]string{"k": "two"}, stored(t, store, h.ID(), 1, "k"))
	leave()
}

func failedCommitsLandNothing(t tester, store DeviceStore) {
	ctx, h := t.Context(), NewTenant(t, store)
	c := &cargo{}
	c.carry(put(1, "k", "one"))
	defer store.RideDevice(h.ID(), c)()
	_, err := h.Commit(ctx, tenant.PutContact{ID: ana, PushName: "Ana"}, tenant.DeleteChat{ID: beto})
	require.ErrorIs(t, err, tenant.ErrChatNotFound)
	_, landed := c.counts()
	require.Zero(t, landed)
	require.Empty(t, stored(t, store, h.ID(), 1, "k"))
}

// leavingWaits: whoever loads the device next reads what is there, and nothing more comes.
func leavingWaits(t tester, store DeviceStore) {
	ctx, h := t.Context(), NewTenant(t, store)
	c := &cargo{}
	boarding, release := make(chan struct{}), make(chan struct{})
	c.onBoard = sync.OnceFunc(func() { close(boarding); <-release })
	c.rows = []tenant.DeviceRow{put(1, "k", "one")}
	leave := store.RideDevice(h.ID(), c)
	flushed, left := make(chan error, 1), make(chan struct{})
	go func() { flushed <- store.FlushDevice(ctx, h.ID()) }()
	<-boarding
	go func() { leave(); close(left) }()
	select {
	case <-left:
		require.Fail(t, "left in the middle of a commit")
	case <-time.After(30 * time.Millisecond): //nolint:forbidigo // that nothing happens has no signal
	}
	close(release)
	<-left
	require.Equal(t, map[string]string{"k": "one"}, stored(t, store, h.ID(), 1, "k"))
	require.NoError(t, <-flushed)
}

func oldRowsGo(t tester, store DeviceStore) {
	ctx, id := t.Context(), NewTenant(t, store).ID()
	var rows []tenant.DeviceRow
	for i := range 12 {
		r := put(1, strconv.Itoa(i), "x")
		r.At = int64(i) // the first does not age
		rows = append(rows, r)
	}
	write(t, store, id, rows...)
	old, err := store.ScanDeviceRows(ctx, id, tenant.DeviceScan{Kind: 1, MadeBefore: time.UnixMilli(4)})
	require.NoError(t, err)
	require.Len(t, old, 3)
	for _, want := range []int{5, 4, 0} {
		gone, err := store.AgeDeviceRows(ctx, id, 1, time.UnixMilli(10), 5)
		require.NoError(t, err)
		require.Equal(t, want, gone)
	}
	require.Len(t, stored(t, store, id, 1, "0", "1", "9", "10", "11"), 3)
}

func keysAreReplaced(t tester, store DeviceStore) {
	ctx := t.Context()
	ids := make([]tenant.ID, 3)
	for i := range ids {
		ids[i] = NewTenant(t, store).ID()
		require.NoError(t, store.PutDevice(ctx, ids[i], tenant.Device{JID: "j", MasterKey: "old", WrappedKey: []byte{byte(i)}, Value: []byte{9}}))
	}
	some, err := store.DevicesWrappedBy(ctx, "old", 2)
	require.NoError(t, err)
	require.Len(t, some, 2)
	now := tenant.Device{MasterKey: "new", WrappedKey: []byte{7}}
	require.NoError(t, store.RewrapDevice(ctx, ids[0], tenant.Device{WrappedKey: []byte{0}}, now))
	require.NoError(t, store.RewrapDevice(ctx, ids[1], tenant.Device{WrappedKey: []byte{0}}, now), "it has changed")
	count, err := store.DeviceKeys(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"old": 2, "new": 1}, count)
	found, err := store.Device(ctx, ids[0])
	require.NoError(t, err)
	require.Equal(t, tenant.Device{JID: "j", MasterKey: "new", WrappedKey: []byte{7}, Value: []byte{9}}, found)
}

func deletedTenantsTakeNothing(t tester, store DeviceStore) {
	ctx, id := t.Context(), NewTenant(t, store).ID()
	require.NoError(t, store.PutDevice(ctx, id, tenant.Device{JID: "j", WrappedKey: []byte{1}, Value: []byte{1}}))
	write(t, store, id, put(1, "k", "x"))
	c := &cargo{rows: []tenant.DeviceRow{put(1, "k", "late")}}
	defer store.RideDevice(id, c)()
	Delete(t, store, id)
	_, err := store.Device(ctx, id)
	require.ErrorIs(t, err, tenant.ErrDeviceNotFound)
	require.ErrorIs(t, store.FlushDevice(ctx, id), tenant.ErrNotFound)
	require.Empty(t, stored(t, store, id, 1, "k"))
}
