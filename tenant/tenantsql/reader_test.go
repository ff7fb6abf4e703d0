package tenantsql_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// patience is for what happens in a moment.
const patience = 30 * time.Second

// heldUp is a store on PostgreSQL whose reads of devices' rows wait for release, the first of them at the server.
type heldUp struct {
	*tenantsql.Store

	proxy   *proxy
	ids     []tenant.ID
	release func()
	held    func() (pid int)
	first   chan error
}

// holdUp makes a store with as many devices, and holds up a read of the first one's.
func holdUp(t *testing.T, devices int, cfg tenantsql.Config) *heldUp {
	t.Helper()
	direct := tenanttest.Postgres(t).URL(t)
	p, through := newProxy(t, direct)
	cfg.URL = through
	h := &heldUp{Store: tenanttest.Open(t, cfg), proxy: p, ids: make([]tenant.ID, devices), first: make(chan error, 1)}
	for i := range h.ids {
		h.ids[i] = tenanttest.NewTenant(t, h.Store).ID()
		require.NoError(t, h.PutDevice(t.Context(), h.ids[i], tenant.Device{JID: string(h.ids[i]), WrappedKey: []byte{1}, Value: []byte{1}}))
	}
	require.NoError(t, h.read(t.Context(), h.ids[0])) // so that the statement is prepared
	conn, err := pgx.Connect(t.Context(), direct)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.WithoutCancel(t.Context()))) })
	_, err = conn.Exec(t.Context(), "BEGIN; LOCK TABLE device_row, device IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	h.release = func() {
		_, err := conn.Exec(t.Context(), "ROLLBACK")
		require.NoError(t, err)
	}
	go func() { h.first <- h.read(t.Context(), h.ids[0]) }()
	h.held = func() (pid int) { // of the connection that waits at the server, if one does
		err := conn.QueryRow(t.Context(), "SELECT COALESCE(MAX(pid), 0) FROM pg_locks WHERE NOT granted AND relation='device_row'::regclass").Scan(&pid)
		require.NoError(t, err)
		return pid
	}
	for h.held() == 0 {
		require.NoError(t, t.Context().Err())
	}
	return h
}

// read reads rows, of which there are none.
func (h *heldUp) read(ctx context.Context, id tenant.ID) error {
	found, err := h.DeviceRows(ctx, id, []int16{1}, []byte("k"))
	if err == nil && len(found) != 0 {
		err = fmt.Errorf("found %v", found)
	}
	return err
}

// waiting waits until so many reads wait behind the first.
func (h *heldUp) waiting(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return h.Asked() == n }, patience, time.Millisecond)
}

func TestWhatManyWantToReadOfDevicesIsReadTogether(t *testing.T) {
	t.Parallel()
	const devices = 40
	h := holdUp(t, devices, tenantsql.Config{})
	var group errgroup.Group
	for _, id := range h.ids {
		group.Go(func() error { return h.read(t.Context(), id) })
		group.Go(func() error {
			found, err := h.LoadDevice(t.Context(), id, tenant.DeviceBaggage{Rows: []int16{1}, Count: 2, Oldest: 3})
			if err == nil && found.JID != string(id) {
				err = fmt.Errorf("found %v", found)
			}
			return err
		})
	}
	h.waiting(t, 2*devices)
	before := h.proxy.syncs.Load()
	h.release()
	require.NoError(t, <-h.first)
	require.NoError(t, group.Wait())
	require.LessOrEqual(t, h.proxy.syncs.Load()-before, int64(3), "one to prepare a statement, one to run all")
}

func TestAReadThatIsRefusedCostsOneCaller(t *testing.T) {
	t.Parallel()
	const devices = 8
	h := holdUp(t, devices, tenantsql.Config{})
	var group errgroup.Group
	for _, id := range h.ids {
		group.Go(func() error { return h.read(t.Context(), id) })
	}
	group.Go(func() error {
		if err := h.read(t.Context(), "no\xfftext"); err == nil || errors.Is(err, tenant.ErrUnavailable) {
			return fmt.Errorf("what PostgreSQL refuses was answered by %w", err)
		}
		return nil
	})
	h.waiting(t, devices+1)
	h.release()
	require.NoError(t, <-h.first)
	require.NoError(t, group.Wait())
}

func TestAReadThatPanicsIsAnswered(t *testing.T) {
	t.Parallel()
	err := tenantsql.ReadOfNothing(t.Context())
	require.ErrorContains(t, err, "panic")
	require.NotErrorIs(t, err, tenant.ErrUnavailable)
}

func TestWhoLeavesWhileDevicesAreReadHarmsNobody(t *testing.T) {
	t.Parallel()
	h := holdUp(t, 2, tenantsql.Config{})
	ctx, leave := context.WithCancel(t.Context())
	left, stayed := make(chan error, 1), make(chan error, 1)
	go func() { left <- h.read(ctx, h.ids[1]) }()
	h.waiting(t, 1)
	leave()
	require.ErrorIs(t, <-left, context.Canceled, "is answered while the database is not")
	go func() { stayed <- h.read(t.Context(), h.ids[1]) }()
	h.waiting(t, 2)
	h.release()
	require.NoError(t, <-h.first)
	require.NoError(t, <-stayed)
}

func TestReadsOfDevicesOutliveTheirConnection(t *testing.T) {
	t.Parallel()
	h := holdUp(t, 1, tenantsql.Config{})
	h.proxy.cut()
	h.release()
	require.NoError(t, <-h.first)
	require.NoError(t, h.read(t.Context(), h.ids[0]))
	h.proxy.down.Store(true)
	h.proxy.cut()
	require.ErrorIs(t, h.read(t.Context(), h.ids[0]), tenant.ErrUnavailable)
	h.proxy.down.Store(false)
	require.NoError(t, h.read(t.Context(), h.ids[0]))
	require.NoError(t, h.Close())
	require.ErrorIs(t, h.read(t.Context(), h.ids[0]), tenant.ErrClosed)
}

// TestAReadWhoseConnectionIsSilentIsMadeOverAnother: before those who wait for it have waited too long.
func TestAReadWhoseConnectionIsSilentIsMadeOverAnother(t *testing.T) {
	t.Parallel()
	h := holdUp(t, 1, tenantsql.Config{ReadTimeout: 4 * time.Second})
	before := h.held()
	require.Eventually(t, func() bool { now := h.held(); return now != 0 && now != before }, patience, time.Millisecond)
	h.release()
	require.NoError(t, <-h.first)
}

// TestTheWaitBehindOthersReadsCounts: while a database hangs, everybody gets an answer in the time of one read, those in the queue too.
func TestTheWaitBehindOthersReadsCounts(t *testing.T) {
	t.Parallel()
	h := holdUp(t, 1, tenantsql.Config{ReadTimeout: 2 * time.Second})
	defer h.release()
	const readers = 400 // more than are read together
	var group errgroup.Group
	for range readers {
		group.Go(func() error {
			if err := h.read(t.Context(), h.ids[0]); !errors.Is(err, tenant.ErrUnavailable) {
				return fmt.Errorf("a read of a database that hangs was answered by %w", err)
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.Positive(t, h.Asked(), "they have left the queue behind")
	require.ErrorIs(t, <-h.first, tenant.ErrUnavailable)
}
