package wasim_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/session/gate"
	"github.com/wafleet/wafleet/session/transport"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/memstore"
	"github.com/wafleet/wafleet/session/wasim/phone"
)

// A whatsmeow client that disconnects while a frame comes in leaves its read pump behind: it hands the frame over without
// looking whether anybody takes it. Nothing outside can end it.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete"))
}

const deadline = 60 * time.Second

// within bounds what a test waits for: a failed assertion instead of a test that hangs.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), deadline, errors.New("the test waited too long"))
	t.Cleanup(cancel)
	return ctx
}

func startSim(t *testing.T) *wasim.Simulator {
	t.Helper()
	sim, err := wasim.Start(t.Context(), wasim.Config{})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), deadline)
		defer cancel()
		require.NoError(t, sim.Close(ctx))
		require.Empty(t, sim.Relay().Stats().Violations, "a client broke the protocol")
	})
	return sim
}

var lastNumber atomic.Int64

// number answers a phone number that no other test has.
func number() string { return fmt.Sprintf("5511%09d", 900_000_000+lastNumber.Add(1)) }

func addPhone(t *testing.T, sim *wasim.Simulator, cfg wasim.PhoneConfig) *phone.Phone {
	t.Helper()
	if cfg.Phone == "" {
		cfg.Phone = number()
	}
	p, err := sim.AddPhone(within(t), cfg)
	require.NoError(t, err)
	return p
}

// isMessage matches a message with this text.
func isMessage(text string) func(phone.Entry) bool {
	return func(e phone.Entry) bool { return e.Kind == phone.KindMessage && e.Text == text }
}

func isReceipt(kind, id string) func(phone.Entry) bool {
	return func(e phone.Entry) bool {
		if e.Kind != phone.KindReceipt || e.Receipt != kind {
			return false
		}
		return slices.Contains(e.IDs, id)
	}
}

// companion is a linked device: a plain whatsmeow client, with a gate unless told otherwise.
type companion struct {
	t    *testing.T
	sim  *wasim.Simulator
	cli  *whatsmeow.Client
	dev  *store.Device
	gate *gate.Gate

	qr        chan string
	connected chan struct{}
	ended     chan any // LoggedOut, StreamReplaced, PairError
	named     chan string
	out       atomic.Bool // logged out: the server closes the connection

	mu       sync.Mutex
	messages []*events.Message
	receipts []*events.Receipt
	history  []*waHistorySync.HistorySync
	failed   []*events.UndecryptableMessage
	synced   map[appstate.WAPatchName]int // how often each collection of the app state was fetched
	changed  chan struct{}
}

// slowSessions takes the time of a database between a read and what is done with it.
type slowSessions struct{ store.SessionStore }

func (s slowSessions) GetManySessions(ctx context.Context, addresses []string) (map[string][]byte, error) {
	found, err := s.SessionStore.GetManySessions(ctx, addresses)
	timer := time.NewTimer(time.Millisecond)
	defer timer.Stop()
	<-timer.C
	return found, err
}

func newCompanion(t *testing.T, sim *wasim.Simulator, gated bool) *companion {
	t.Helper()
	clients, err := transport.NewClients(sim.Endpoint())
	require.NoError(t, err)
	c := &companion{
		t: t, sim: sim, dev: memstore.NewDevice(memstore.Limits{}),
		qr: make(chan string, 8), connected: make(chan struct{}, 8), ended: make(chan any, 8), named: make(chan string, 8),
		synced: make(map[appstate.WAPatchName]int), changed: make(chan struct{}),
	}
	c.dev.Sessions = slowSessions{c.dev.Sessions}
	newClient := whatsmeow.NewClient
	if gated {
		c.gate, newClient = gate.Wrap(c.dev), gate.NewClient
	}
	c.cli = newClient(c.dev, nil)
	clients.Apply(c.cli)
	c.cli.SynchronousAck = true
	c.cli.EmitAppStateEventsOnFullSync = true
	c.cli.EnableDecryptedEventBuffer = true
	c.cli.ManualHistorySyncDownload = true // whatsmeow's own loop outlives the client by a minute
	wire, endWire := context.WithCancel(context.WithoutCancel(t.Context()))
	c.cli.BackgroundEventCtx = wire
	c.cli.SetMaxParallelRetryReceiptHandling(1)
	c.cli.SetForceActiveDeliveryReceipts(true)
	c.cli.AddEventHandler(c.handle)
	t.Cleanup(func() {
		// Disconnect races with a closing by the server inside whatsmeow, so never both.
		if c.out.Load() {
			require.Eventually(t, func() bool { return !c.cli.IsConnected() }, deadline, 10*time.Millisecond)
		} else {
			c.cli.Disconnect()
		}
		endWire() // not earlier: whatsmeow races with itself when a context ends during Disconnect
		clients.Close()
	})
	return c
}

func (c *companion) handle(evt any) {
	switch e := evt.(type) {
	case *events.QR:
		c.qr <- e.Codes[0]
	case *events.Connected:
		c.connected <- struct{}{}
	case *events.LoggedOut:
		c.out.Store(true)
		c.ended <- e
	case *events.StreamReplaced, *events.PairError:
		c.ended <- e
	case *events.AppStateSyncComplete:
		c.note(func() { c.synced[e.Name]++ })
	case *events.PushNameSetting:
		c.named <- e.Action.GetName()
	case *events.Message:
		if notice := e.Message.GetProtocolMessage().GetHistorySyncNotification(); notice != nil {
			blob, err := c.cli.DownloadHistorySync(c.t.Context(), notice, true)
			if err != nil {
				c.t.Errorf("history: %v", err)
				return
			}
			c.note(func() { c.history = append(c.history, blob) })
			return
		}
		c.note(func() { c.messages = append(c.messages, e) })
	case *events.Receipt:
		c.note(func() { c.receipts = append(c.receipts, e) })
	case *events.UndecryptableMessage:
		c.note(func() { c.failed = append(c.failed, e) })
	}
}

func (c *companion) note(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// wait waits until ok, called with the lock held, is satisfied.
func (c *companion) wait(ctx context.Context, ok func() bool) error {
	for {
		c.mu.Lock()
		done, changed := ok(), c.changed
		c.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *companion) connect(ctx context.Context) {
	c.t.Helper()
	require.NoError(c.t, c.cli.Connect())
	if c.dev.ID != nil {
		c.awaitConnected(ctx)
	}
}

func (c *companion) awaitConnected(ctx context.Context) {
	c.t.Helper()
	select {
	case <-c.connected:
	case e := <-c.ended:
		c.t.Fatalf("instead of connecting: %#v", e)
	case <-ctx.Done():
		c.t.Fatal(context.Cause(ctx))
	}
}

// awaitSynced waits for the whole first sync, as every test that pairs must. A device that is logged out in the middle of it is
// deleted under whatsmeow's own hands, and the fetch of a collection hears of no end: it outlives the client, and tries again.
func (c *companion) awaitSynced(ctx context.Context) {
	c.t.Helper()
	require.NoError(c.t, c.wait(ctx, func() bool { return len(c.history) == 3 && len(c.synced) == len(appstate.AllPatchNames) }))
}

func (c *companion) code(ctx context.Context) string {
	c.t.Helper()
	select {
	case code := <-c.qr:
		return code
	case <-ctx.Done():
		c.t.Fatal(context.Cause(ctx))
		return ""
	}
}

// link pairs a companion with p by QR and waits until it is logged in and has its first sync.
func link(ctx context.Context, t *testing.T, sim *wasim.Simulator, p *phone.Phone, gated bool) *companion {
	t.Helper()
	c := newCompanion(t, sim, gated)
	c.connect(ctx)
	_, err := p.Scan(ctx, c.code(ctx))
	require.NoError(t, err)
	c.awaitConnected(ctx)
	c.awaitSynced(ctx)
	return c
}

// send sends a text, again with the same id if need be.
func (c *companion) send(ctx context.Context, to, id, text string) error {
	for {
		err := c.sendOnce(ctx, to, id, text)
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.Canceled) && !errors.Is(err, whatsmeow.ErrMessageTimedOut) {
			return err
		}
	}
}

func (c *companion) sendOnce(ctx context.Context, to, id, text string) error {
	once := func(ctx context.Context) error {
		_, err := c.cli.SendMessage(ctx, types.NewJID(to, types.DefaultUserServer),
			&waE2E.Message{Conversation: new(text)}, whatsmeow.SendRequestExtra{ID: id, Timeout: 20 * time.Second})
		return err
	}
	if c.gate == nil {
		return once(ctx)
	}
	return c.gate.Send(ctx, once)
}
