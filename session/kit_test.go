package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/metrics"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/devicestore"
	"github.com/wafleet/wafleet/session/transport"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

func TestMain(m *testing.M) {
	session.Configure()
	// Pings often enough for a test to miss one. Before any client, as with all globals of whatsmeow's.
	whatsmeow.KeepAliveIntervalMin, whatsmeow.KeepAliveIntervalMax = 2*time.Second, 3*time.Second
	whatsmeow.KeepAliveResponseDeadline = 4 * time.Second
	// whatsmeow: a connection that is closed while frames come in leaves its reader waiting for somebody to take the next one.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete"))
}

const deadline = 60 * time.Second

// within bounds what a test waits for.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), deadline, errors.New("the test waited too long"))
	t.Cleanup(cancel)
	return ctx
}

// eachEngine runs a test on every database there is.
func eachEngine(t *testing.T, test func(t *testing.T, engine tenanttest.Engine)) {
	t.Helper()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			test(t, engine)
		})
	}
}

func sqlite() tenanttest.Engine { return tenanttest.Engines()[0] }

func testLog(t *testing.T) *slog.Logger {
	t.Helper()
	if os.Getenv("SESSION_TEST_LOG") == "" { //nolint:forbidigo // tests are told in no other way
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

var lastNumber atomic.Int64

// number is a phone number that no other test has.
func number() string { return fmt.Sprintf("5521%09d", 900_000_000+lastNumber.Add(1)) }

// world is a simulated WhatsApp and a store, and the node that runs on them at the moment.
type world struct {
	t       *testing.T
	sim     *wasim.Simulator
	store   *tenantsql.Store
	devices *devicestore.Store
	clients *transport.Clients
	reg     *prometheus.Registry
	pace    session.Pace
	limits  tenant.Limits // of all tenants
	book    *tenant.LimitBook
	// wrap lets a test stand between the fleet and its store.
	wrap func(tenant.Store) tenant.Store
	// wrapRows lets a test stand between devices and their rows.
	wrapRows func(tenant.DeviceStore) tenant.DeviceStore
	// wrapDevices lets a test stand between the fleet and its devices.
	wrapDevices func(session.Devices) session.Devices

	nonsense bool // comes from WhatsApp, and is answered in kind

	fleet *session.Fleet
	stop  context.CancelFunc
	ended chan error
}

// slowly makes backoffs last long enough to be seen.
func slowly(w *world) {
	w.pace.BackoffMin, w.pace.BackoffMax = 400*time.Millisecond, 500*time.Millisecond
}

func newWorld(t *testing.T, engine tenanttest.Engine, change ...func(*world)) *world {
	t.Helper()
	return newWorldOn(t, engine, relay.Config{}, change...)
}

// newWorldOn is newWorld with another WhatsApp.
func newWorldOn(t *testing.T, engine tenanttest.Engine, server relay.Config, change ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, pace: session.Pace{
		BackoffMin: 20 * time.Millisecond, BackoffMax: 200 * time.Millisecond, LoginGrace: 3 * time.Second,
		Calm: 50 * time.Millisecond, Connects: 500, Burst: 500,
	}}
	var err error
	w.sim, err = wasim.Start(t.Context(), wasim.Config{Log: testLog(t).With("part", "wasim"), Relay: server})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), deadline)
		defer cancel()
		require.NoError(t, w.sim.Close(ctx))
		for _, v := range w.sim.Relay().Stats().Violations {
			require.True(t, w.nonsense && (v.Rule == "receipt" || v.Rule == "ack"), "a client broke the protocol: %+v", v)
		}
	})
	w.store = engine.Open(t)
	w.clients, err = transport.NewClients(w.sim.Endpoint())
	require.NoError(t, err)
	t.Cleanup(w.clients.Close)
	for _, fn := range change {
		fn(w)
	}
	ring, err := devicestore.ParseKeyring(devicestore.NewMasterKey())
	require.NoError(t, err)
	var rows tenant.DeviceStore = w.store
	if w.wrapRows != nil {
		rows = w.wrapRows(rows)
	}
	w.devices = devicestore.New(rows, w.wrapped(), ring, testLog(t))
	w.start()
	t.Cleanup(w.halt)
	return w
}

func (w *world) wrapped() tenant.Store {
	if w.wrap != nil {
		return w.wrap(w.store)
	}
	return w.store
}

// start starts a node.
func (w *world) start() {
	w.t.Helper()
	w.reg = prometheus.NewRegistry()
	var devices session.Devices = w.devices
	if w.wrapDevices != nil {
		devices = w.wrapDevices(devices)
	}
	w.book = tenant.NewLimitBook(w.store, w.limits)
	require.NoError(w.t, w.book.Load(within(w.t)))
	collected := metrics.New(w.reg)
	fleet, err := session.New(session.Config{
		Store: w.wrapped(), Devices: devices, Clients: w.clients, Metrics: collected.Fleet,
		Log: testLog(w.t), Pace: w.pace, Limits: w.book, Limited: collected.Limits,
	})
	require.NoError(w.t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(w.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- fleet.Run(ctx) }()
	w.fleet, w.stop, w.ended = fleet, stop, ended
	select {
	case <-fleet.Started():
	case <-within(w.t).Done():
		require.Fail(w.t, "the fleet did not start")
	}
}

// halt stops the node, if one runs.
func (w *world) halt() {
	w.t.Helper()
	if w.fleet == nil {
		return
	}
	w.stop()
	require.NoError(w.t, <-w.ended)
	w.fleet = nil
}

func (w *world) restart() {
	w.t.Helper()
	w.halt()
	w.start()
}

// anew restarts the node at another pace: one that is too short for a busy machine holds only where something must fail.
func (w *world) anew(change func(*session.Pace), all ...*customer) {
	w.t.Helper()
	w.halt()
	change(&w.pace)
	w.start()
	for _, c := range all {
		c.until(session.Online)
	}
}

func (w *world) phone(cfg wasim.PhoneConfig) *phone.Phone {
	w.t.Helper()
	if cfg.Phone == "" {
		cfg.Phone = number()
	}
	if cfg.History == nil {
		cfg.History = []phone.Chat{}
	}
	p, err := w.sim.AddPhone(within(w.t), cfg)
	require.NoError(w.t, err)
	return p
}

// customer is a tenant with its handle.
type customer struct {
	tenant.Handle

	w     *world
	phone *phone.Phone
}

func (w *world) tenant() *customer {
	w.t.Helper()
	made, _, err := w.store.Create(within(w.t), tenant.NewTenant{Name: "Test"})
	require.NoError(w.t, err)
	return &customer{Handle: w.store.Tenant(made.ID), w: w}
}

// paired is a tenant whose session is online on a new phone.
func (w *world) paired(cfg wasim.PhoneConfig) *customer {
	w.t.Helper()
	c := w.tenant()
	c.pair(w.phone(cfg))
	return c
}

func (c *customer) pair(p *phone.Phone) {
	c.w.t.Helper()
	c.phone = p
	ctx := within(c.w.t)
	view, err := c.w.fleet.StartPairing(ctx, c.ID())
	require.NoError(c.w.t, err)
	require.Equal(c.w.t, session.PairingWaiting, view.Phase, view.Message)
	require.NotEmpty(c.w.t, view.QR)
	_, err = p.Scan(ctx, view.QR)
	require.NoError(c.w.t, err)
	c.finished()
}

// finished waits until the pairing has succeeded.
func (c *customer) finished() {
	c.w.t.Helper()
	ctx := within(c.w.t)
	view, err := c.w.fleet.Pairing(ctx, c.ID())
	for err == nil && view.Phase != session.PairingSucceeded && view.Phase != session.PairingFailed {
		view, err = c.w.fleet.PairingChanged(ctx, c.ID(), view.Version)
	}
	require.NoError(c.w.t, err)
	require.Equal(c.w.t, session.PairingSucceeded, view.Phase, view.Reason)
	c.until(session.Online)
}

func (c *customer) view() session.View {
	c.w.t.Helper()
	view, err := c.w.fleet.View(within(c.w.t), c.ID())
	require.NoError(c.w.t, err)
	return view
}

// device is the tenant's device as it is stored: what the node has only in memory is not there.
func (c *customer) device() *store.Device {
	c.w.t.Helper()
	row, err := c.Session(within(c.w.t))
	require.NoError(c.w.t, err)
	jid, err := types.ParseJID(row.Device)
	require.NoError(c.w.t, err)
	dev, err := c.w.devices.Load(within(c.w.t), c.ID(), jid)
	require.NoError(c.w.t, err)
	return dev
}

// until waits for a state.
func (c *customer) until(s session.State) session.View {
	c.w.t.Helper()
	var view session.View
	eventually(c.w.t, func() bool { view = c.view(); return view.State == s },
		func() string { return fmt.Sprintf("want %s, have %+v", s, view) })
	return view
}

// eventually polls a condition that no signal tells of.
func eventually(t *testing.T, ok func() bool, describe ...func() string) {
	t.Helper()
	ctx := within(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			text := "condition never held"
			if len(describe) > 0 {
				text = describe[0]()
			}
			require.Fail(t, text)
		}
	}
}

func (c *customer) chatID(p *phone.Phone) tenant.ChatID { return tenant.PersonID(p.Number()) }

// message waits for a message of that id in the chat that fits.
func (c *customer) message(chat tenant.ChatID, id string, fits func(*tenant.Message) bool) tenant.Message {
	c.w.t.Helper()
	var m tenant.Message
	var err error
	eventually(c.w.t, func() bool {
		m, err = c.Message(within(c.w.t), chat, tenant.MessageID(id), "")
		return err == nil && (fits == nil || fits(&m))
	}, func() string { return fmt.Sprintf("message %s: %v, %+v", id, err, m) })
	return m
}

func is(s tenant.Status) func(*tenant.Message) bool {
	return func(m *tenant.Message) bool { return m.Status == s }
}

// all are the tenant's messages of a chat.
func (c *customer) all(chat tenant.ChatID) []tenant.Message {
	c.w.t.Helper()
	got, err := c.Messages(within(c.w.t), chat, tenant.MessageQuery{Limit: 10_000})
	if errors.Is(err, tenant.ErrChatNotFound) {
		return nil
	}
	require.NoError(c.w.t, err)
	return got.Messages
}

// events are the types of the tenant's journal.
func (c *customer) events(kind tenant.EventType) []tenant.Event {
	c.w.t.Helper()
	got, err := c.Events(within(c.w.t), 0, 10_000)
	require.NoError(c.w.t, err)
	var fit []tenant.Event
	for _, e := range got {
		if e.Type == kind {
			fit = append(fit, e)
		}
	}
	return fit
}

// next waits for the next live event of a kind. A phone tells of its history whenever it likes after pairing.
func next(t *testing.T, live <-chan tenant.Event, kind tenant.EventType) tenant.Event {
	t.Helper()
	ctx := within(t)
	for {
		select {
		case e := <-live:
			if e.Type == kind {
				require.Zero(t, e.Seq)
				return e
			}
		case <-ctx.Done():
			require.FailNow(t, "never told", kind)
		}
	}
}

// send sends a text and requires that WhatsApp acknowledged it.
func (c *customer) send(chat tenant.ChatID, text string) tenant.Message {
	c.w.t.Helper()
	m, err := c.w.fleet.SendText(within(c.w.t), c.ID(), chat, session.TextMessage{Text: text})
	require.NoError(c.w.t, err)
	return m
}

func hasText(text string) func(phone.Entry) bool {
	return func(e phone.Entry) bool { return e.Kind == phone.KindMessage && e.Text == text }
}

// counter collects things from several goroutines.
type counter struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counter) add(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[string]int)
	}
	c.n[key]++
}

func (c *counter) of(key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[key]
}
