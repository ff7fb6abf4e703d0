// Package phone is a simulated phone: the primary device (0) of an account, and at the same time a contact of others.
//
// It is an unmodified whatsmeow client on a store in memory, with the little that whatsmeow leaves to a real phone: it
// links companions by QR and by pairing code, gives them the app-state key and their first history, and answers what
// they ask of their phone. It knows the server by protocol alone. Its sessions stand behind a gate, so that it loses
// nothing when both sides send at once.
//
// A Phone owns all its goroutines: one keeps the connection, one answers companions, one uploads files again, one answers messages (with
// Autoreply), and one per pairing in progress. [Phone.Close] ends them and waits.
package phone

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/session/gate"
	"github.com/wafleet/wafleet/session/wasim/memstore"
)

// queueSize bounds what waits for an owned worker. The handler of incoming messages waits when the autoreply queue is
// full: the server keeps the rest.
const queueSize = 256

// staleAfter is how long a connection may leave pings unanswered before the phone gives it up.
const staleAfter = 45 * time.Second

// Phone is one simulated phone. Safe for concurrent use.
type Phone struct {
	cfg  Config
	cli  *whatsmeow.Client
	gate *gate.Gate
	lid  types.JID

	inbox   *inbox
	sent    *sentMessages
	devices *devices
	links   *links

	ctx  context.Context //nolint:containedctx // the phone's life: event handlers get no context of their own
	stop context.CancelFunc
	// wire is the connection's context. It ends after the last disconnect: whatsmeow races with itself when a connection
	// is told to disconnect while its context ends.
	wire    context.Context //nolint:containedctx // as above
	endWire context.CancelFunc
	wg      sync.WaitGroup

	lost      chan struct{} // buffered 1: the connection is of no use any more
	connected chan struct{} // buffered 1: login is complete
	peerWork  chan *events.Message
	replies   chan *events.Message
	lostFiles chan *waBinary.Node // companions' requests for files that the server has dropped
	dropped   droppedFiles
	chats     *chatStates

	mu     sync.Mutex
	online chan struct{} // closed while logged in; replaced when the connection is lost
	isOn   bool
	gone   error // set once: the server does not want this phone any more
	named  bool  // the push name has been put into the app state
	name   string
	power  power
}

// Start registers the phone, connects it, and answers once it is logged in; ctx bounds this alone.
func Start(ctx context.Context, cfg Config) (*Phone, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	dev := memstore.NewPrimary(cfg.Phone, cfg.Name, memstore.Limits{})
	p := &Phone{
		cfg:       cfg,
		name:      cfg.Name,
		inbox:     newInbox(cfg.InboxSize),
		devices:   newDevices(),
		links:     newLinks(),
		lost:      make(chan struct{}, 1),
		connected: make(chan struct{}, 1),
		peerWork:  make(chan *events.Message, queueSize),
		replies:   make(chan *events.Message, queueSize),
		lostFiles: make(chan *waBinary.Node, queueSize),
		online:    make(chan struct{}),
		chats:     newChatStates(),
	}
	p.sent = newSentMessages(p.numberOf)
	p.gate = gate.Wrap(dev)
	if p.lid, err = cfg.Register(ctx, accountOf(dev)); err != nil {
		return nil, fmt.Errorf("register phone: %w", err)
	}
	p.lid = p.lid.ToNonAD()
	if err = memstore.SetLID(ctx, dev, p.lid); err != nil {
		return nil, fmt.Errorf("register phone: %w", err)
	}
	if err = p.makeSyncKey(ctx, dev); err != nil {
		return nil, err
	}
	p.ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	p.wire, p.endWire = context.WithCancel(context.WithoutCancel(ctx))
	p.cli = gate.NewClient(dev, newClientLog(cfg.Log, p.tap))
	p.configure()
	p.wg.Go(p.keepConnected)
	p.wg.Go(p.answerCompanions)
	p.wg.Go(p.bringFilesBack)
	if cfg.AutoRead {
		p.wg.Go(p.answerMessages)
	}
	if err = p.WaitOnline(ctx); err != nil {
		p.Close()
		return nil, fmt.Errorf("connect phone: %w", err)
	}
	if err = p.publishName(ctx); err != nil {
		cfg.Log.DebugContext(ctx, "push name not published", "error", redactText(err.Error())) // again at the first pairing
	}
	return p, nil
}

func (p *Phone) configure() {
	p.cfg.Clients.Apply(p.cli)
	p.cli.EnableAutoReconnect = false
	p.cli.DisableLoginAutoReconnect = true
	p.cli.SynchronousAck = true
	p.cli.EnableDecryptedEventBuffer = true
	p.cli.BackgroundEventCtx = p.wire
	p.cli.EmitAppStateEventsOnFullSync = true
	p.cli.SetForceActiveDeliveryReceipts(true) // a phone in its owner's hand, also before the presence is out
	p.cli.SetMaxParallelRetryReceiptHandling(1)
	p.cli.GetMessageForRetry = p.sent.forRetry
	p.cli.AddEventHandlerWithSuccessStatus(p.handle)
}

// inner is whatsmeow's own way into a client, for what only a phone does.
func (p *Phone) inner() *whatsmeow.DangerousInternalClient {
	return p.cli.DangerousInternals() //nolint:staticcheck // deprecated as a warning, not to be replaced
}

// Number is the phone's number, digits only.
func (p *Phone) Number() string { return p.cfg.Phone }

// LID is the phone's hidden id, without a device.
func (p *Phone) LID() types.JID { return p.lid }

// Online tells whether the phone is logged in at this moment.
func (p *Phone) Online() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.isOn
}

// Close disconnects the phone and waits for all its work.
func (p *Phone) Close() {
	p.stop()
	p.wg.Wait() // keepConnected disconnects
	p.endWire()
	p.inbox.close()
}

// keepConnected is the loop that owns the connection.
func (p *Phone) keepConnected() {
	defer p.cli.Disconnect()
	backoff := p.cfg.MinBackoff
	for p.waitSwitchedOn() {
		if p.session() {
			backoff = p.cfg.MinBackoff
		}
		p.setOnline(false)
		p.cli.Disconnect()
		if p.goneErr() != nil {
			return
		}
		if !sleep(p.ctx, backoff/2+rand.N(backoff)) { //nolint:gosec // jitter
			return
		}
		backoff = min(2*backoff, p.cfg.MaxBackoff)
	}
}

// session is one connection from dialling to its loss. It tells whether the login succeeded.
func (p *Phone) session() bool {
	drain(p.lost)
	drain(p.connected)
	// The context lives as long as the connection; the handshake has time limits of its own.
	if err := p.cli.ConnectContext(p.wire); err != nil {
		p.cfg.Log.Debug("connect failed", "error", redactText(err.Error()))
		return false
	}
	timer := time.NewTimer(p.cfg.ConnectTimeout)
	defer timer.Stop()
	select {
	case <-p.connected:
	case <-p.lost:
		return false
	case <-timer.C:
		p.cfg.Log.Debug("login timed out")
		return false
	case <-p.ctx.Done():
		return false
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.SendTimeout)
	err := p.cli.SendPresence(ctx, types.PresenceAvailable)
	cancel()
	if err != nil {
		p.cfg.Log.Debug("presence failed", "error", redactText(err.Error()))
		return false
	}
	off := p.switchedOff()
	if off == nil {
		return true
	}
	p.setOnline(true)
	select {
	case <-p.lost:
	case <-off:
	case <-p.ctx.Done():
	}
	return true
}

func (p *Phone) setOnline(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && !p.isOn:
		close(p.online)
	case !on && p.isOn:
		p.online = make(chan struct{})
	}
	p.isOn = on
}

// WaitOnline waits until the phone is logged in. Errors: ErrClosed, ErrUnlinked, or why ctx ended.
func (p *Phone) WaitOnline(ctx context.Context) error {
	p.mu.Lock()
	online, gone := p.online, p.gone
	p.mu.Unlock()
	if gone != nil {
		return gone
	}
	select {
	case <-online:
		return nil
	case <-p.ctx.Done():
		return p.endErr()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end gives the phone up: the server refuses it for good.
func (p *Phone) end(why error) {
	p.mu.Lock()
	if p.gone == nil {
		p.gone = why
	}
	p.mu.Unlock()
	p.stop()
}

func (p *Phone) goneErr() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

func (p *Phone) endErr() error {
	if err := p.goneErr(); err != nil {
		return err
	}
	return ErrClosed
}

// own makes a context that ends with the phone as well as with ctx.
func (p *Phone) own(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.ctx, func() { cancel(p.endErr()) })
	return ctx, func() { stop(); cancel(context.Canceled) }
}

func drain(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sleep waits; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// isTemporary tells whether an attempt to send may have failed for want of a connection, so that it is made again.
func isTemporary(err error) bool {
	var lost *whatsmeow.DisconnectedError
	return errors.As(err, &lost) ||
		errors.Is(err, whatsmeow.ErrNotConnected) ||
		errors.Is(err, whatsmeow.ErrMessageTimedOut) ||
		errors.Is(err, whatsmeow.ErrIQTimedOut) ||
		errors.Is(err, whatsmeow.ErrNotLoggedIn) ||
		errors.Is(err, context.Canceled) || // the gate was lost; that of the caller is looked at before
		errors.Is(err, context.DeadlineExceeded) || // one attempt's
		isSocketError(err)
}
