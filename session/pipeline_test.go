package session_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// dam holds the commits of received messages up while it is shut, and notes what each of them brought.
type dam struct {
	mu      sync.Mutex
	shut    bool
	opened  chan struct{}
	fails   func(texts []string) error // what becomes of a commit that has passed; nil: it is made
	commits [][]string
}

func (d *dam) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut, d.opened = true, make(chan struct{})
}

func (d *dam) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = false
	close(d.opened)
}

func (d *dam) failing(fails func(texts []string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails = fails
}

func (d *dam) made() [][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.commits)
}

// pass waits while it is shut.
func (d *dam) pass(ctx context.Context) error {
	d.mu.Lock()
	shut, opened := d.shut, d.opened
	d.mu.Unlock()
	if !shut {
		return nil
	}
	select {
	case <-opened:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("commit: %w", context.Cause(ctx))
	}
}

func (d *dam) wrap(s tenant.Store) tenant.Store {
	return &between{s, func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
		var texts []string
		for _, change := range changes {
			if put, ok := change.(tenant.PutMessage); ok && !put.Message.FromMe {
				texts = append(texts, put.Message.Text)
			}
		}
		if len(texts) == 0 {
			return h.Commit(ctx, changes...)
		}
		if err := d.pass(ctx); err != nil {
			return tenant.Result{}, err
		}
		d.mu.Lock()
		fails := d.fails
		d.mu.Unlock()
		if fails != nil {
			if err := fails(texts); err != nil {
				return tenant.Result{}, fmt.Errorf("commit: %w", err)
			}
		}
		result, err := h.Commit(ctx, changes...)
		if err == nil {
			d.mu.Lock()
			d.commits = append(d.commits, texts)
			d.mu.Unlock()
		}
		return result, err
	}}
}

// flood is a session behind a dam, and somebody who writes to it.
type flood struct {
	*customer
	dam

	ana  *phone.Phone
	to   string  // where she writes
	acks counter // by message id
	sent []string
}

func newFlood(t *testing.T, engine tenanttest.Engine, change ...func(*world)) *flood {
	t.Helper()
	f := &flood{}
	w := newWorld(t, engine, append(change, func(w *world) { w.wrap = f.wrap })...)
	f.customer, f.ana = w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	f.to = f.phone.Number()
	t.Cleanup(w.sim.Relay().Observe(func(o relay.Observation) {
		if o.Phone == f.phone.Number() && o.Device != 0 && o.Tag == "message" && o.Kind == relay.Acknowledged {
			f.acks.add(o.ID)
		}
	}))
	f.write(t, "first") // a session begins otherwise than it goes on
	f.settled(t)
	f.close()
	return f
}

// eachFlood is about messages to the account alone, and about those in a group, whose stanzas have two parts.
func eachFlood(t *testing.T, test func(*testing.T, *flood)) {
	t.Helper()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		t.Run("Direct", func(t *testing.T) {
			t.Parallel()
			test(t, newFlood(t, engine))
		})
		t.Run("Group", func(t *testing.T) {
			t.Parallel()
			f := newFlood(t, engine)
			f.open()
			group, _, err := f.ana.CreateGroup(within(t), "Friends", []string{f.phone.Number()})
			require.NoError(t, err)
			f.to = group
			f.write(t, "first of all")
			f.settled(t)
			f.close()
			test(t, f)
		})
	})
}

func (f *flood) write(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		id, err := f.ana.SendText(within(t), f.to, text, phone.SendOptions{})
		require.NoError(t, err)
		f.sent = append(f.sent, id)
	}
}

// noted writes texts and waits until the session has decrypted all of them, and stored none.
func (f *flood) noted(t *testing.T, texts ...string) {
	t.Helper()
	f.write(t, texts...)
	eventually(t, func() bool { return f.w.fleet.Noted(f.ID()) == len(texts) },
		func() string { return fmt.Sprintf("%d of %d noted", f.w.fleet.Noted(f.ID()), len(texts)) })
	f.unacknowledged(t, len(texts))
}

// unacknowledged says that none of the last messages is.
func (f *flood) unacknowledged(t *testing.T, last int) {
	t.Helper()
	for _, id := range f.sent[len(f.sent)-last:] {
		require.Zero(t, f.acks.of(id), "acknowledged before it was stored")
	}
}

// settled waits until all is acknowledged, and says that it is stored once, in its order.
func (f *flood) settled(t *testing.T) {
	t.Helper()
	eventually(t, func() bool {
		return !slices.ContainsFunc(f.sent, func(id string) bool { return f.acks.of(id) == 0 })
	})
	var ids []string
	for _, e := range f.events(tenant.EventMessageReceived) {
		_, id, _ := strings.Cut(string(e.Data), `"id":"`)
		id, _, _ = strings.Cut(id, `"`)
		ids = append(ids, id)
	}
	require.Equal(t, f.sent, ids)
}

func texts(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = "text " + strconv.Itoa(i)
	}
	return all
}

func TestASessionGoesOnWhileItsMessagesAreBeingStored(t *testing.T) {
	t.Parallel()
	eachFlood(t, func(t *testing.T, f *flood) {
		t.Helper()
		before := len(f.made())
		f.noted(t, texts(20)...)
		f.open()
		f.settled(t)
		commits := f.made()[before:]
		require.LessOrEqual(t, len(commits), 2, "one was under way, and all others waited for it")
		require.Equal(t, texts(20), slices.Concat(commits...))
	})
}

func TestWhatCannotBeStoredIsNotAcknowledgedNorIsWhatFollows(t *testing.T) {
	t.Parallel()
	f := newFlood(t, sqlite(), slowly, func(w *world) { w.pace.StoreBlocked = time.Second })
	f.noted(t, texts(10)...)
	f.failing(func([]string) error { return tenant.ErrUnavailable })
	f.open()
	eventually(t, func() bool { return f.view().Reason == "store_unavailable" })
	f.unacknowledged(t, 10)
	f.failing(nil)
	f.until(session.Online)
	f.settled(t)
}

func TestOneOfManyThatIsRefusedHoldsNothingUp(t *testing.T) {
	t.Parallel()
	f := newFlood(t, sqlite())
	f.failing(func(texts []string) error {
		if slices.Contains(texts, "text 5") {
			return tenant.ErrRefused
		}
		return nil
	})
	f.noted(t, texts(10)...)
	f.open()
	f.settled(t)
	for _, m := range f.all(f.chatID(f.ana)) {
		require.Equal(t, string(m.ID) == f.sent[6], m.Type == tenant.TypeUnsupported, m.Text)
	}
	require.Equal(t, session.Online, f.view().State)
}

func TestWhatIsNotedWhenTheNodeStopsComesAgain(t *testing.T) {
	t.Parallel()
	eachFlood(t, func(t *testing.T, f *flood) {
		t.Helper()
		f.noted(t, texts(10)...)
		f.w.halt()
		f.unacknowledged(t, 10)
		f.open()
		f.w.start()
		f.settled(t)
	})
}

func TestWhatIsNotedWhenTheConnectionIsLostComesAgain(t *testing.T) {
	t.Parallel()
	f := newFlood(t, sqlite())
	f.noted(t, texts(10)...)
	f.fault(relay.FaultDrop, 0, 0)
	eventually(t, func() bool { return f.w.fleet.Noted(f.ID()) == 0 || f.view().State != session.Online })
	f.unacknowledged(t, 10)
	f.open()
	f.settled(t)
}

// ageing counts how often something old was to be deleted.
type ageing struct {
	tenant.DeviceStore

	n *atomic.Int64
}

func (a *ageing) AgeDeviceRows(ctx context.Context, id tenant.ID, kind int16, before time.Time, limit int) (int, error) {
	a.n.Add(1)
	return a.DeviceStore.AgeDeviceRows(ctx, id, kind, before, limit)
}

// TestFirstMessagesDeleteNothingOld also of those after which whatsmeow would do so itself: groups' keys and what cannot be decrypted.
func TestFirstMessagesDeleteNothingOld(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	f := newFlood(t, sqlite(), func(w *world) {
		w.wrapRows = func(rows tenant.DeviceStore) tenant.DeviceStore { return &ageing{rows, &n} }
	})
	f.open()
	group, _, err := f.ana.CreateGroup(within(t), "Friends", []string{f.phone.Number()})
	require.NoError(t, err)
	f.to = group
	f.write(t, texts(20)...)
	f.settled(t)
	f.w.halt() // and what was begun is done
	require.Zero(t, n.Load())
}
