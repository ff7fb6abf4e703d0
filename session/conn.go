package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/session/gate"
	"github.com/wafleet/wafleet/tenant"
)

// conn is one connection to WhatsApp: a whatsmeow client that connects once, on a device that was loaded for it. The next
// attempt is another conn. So what whatsmeow caches without a bound goes with the connection, a device store that has failed
// is never used again, and a goroutine of whatsmeow's that is late finds its store closed.
type conn struct {
	actor   *actor
	gen     int
	pairing bool // the device is not linked yet
	log     *slog.Logger
	ctx     context.Context //nolint:containedctx // the connection's life: whatsmeow's callbacks get none
	cancel  context.CancelCauseFunc

	// Set by open before whatsmeow connects, read-only afterwards.
	cli  *whatsmeow.Client
	dev  *store.Device
	stop FailStop // nil if the device store is none
	gate *gate.Gate
	old  tidier // of the device
	me   account
	jid  types.JID // of the device
	name string
	lid  tenant.ChatID // as the login told; read after online is closed

	dialling chan struct{} // closed when the fields above are set and whatsmeow begins to connect
	opened   chan struct{} // closed when open has returned
	online   chan struct{} // closed when WhatsApp has let the session in
	over     chan struct{} // closed by the first end
	draining atomic.Bool   // sends under way may finish
	leaving  atomic.Bool   // we are logging out ourselves
	away     atomic.Bool   // WhatsApp said that its server is not available
	broken   atomic.Bool   // the device store has failed
	repeats  atomic.Bool   // whatsmeow is about to repeat a message for the phone; see pleaSeam

	onlineOnce sync.Once
	caughtUp   func() // says that what waited at WhatsApp has come in; once
	sends      group  // sends under way
	work       group  // handlers under way, histories, app state

	mu     sync.Mutex
	ended  outcome
	told   bool
	jobs   jobs
	met    *seen
	blocks blocks

	arrivals arrivals
	pipeline pipeline

	reuploads  reuploads
	groupReads groupReads
	state      stateAccess
	backfills  *backfills
}

// outcome is how a connection ended: the state it leads to, and why.
type outcome struct {
	state  State
	reason reason
	until  time.Time
}

var (
	errHungUp      = errors.New("the connection was closed")
	errDialTimeout = errors.New("WhatsApp did not accept the connection in time")
)

func (a *actor) newConn(pairing bool) *conn {
	a.gen++
	c := &conn{
		actor: a, gen: a.gen, pairing: pairing, log: a.log,
		dialling: make(chan struct{}), opened: make(chan struct{}), online: make(chan struct{}), over: make(chan struct{}),
		me: account{lid: a.row.LID}, caughtUp: func() {}, state: newStateAccess(), backfills: newBackfills(),
	}
	c.ctx, c.cancel = context.WithCancelCause(a.life)
	c.sends.watch, c.work.watch = &a.watch, &a.watch
	if jid, err := types.ParseJID(a.row.Device); err == nil && !pairing {
		c.me.id = tenant.PersonID(jid.User)
	}
	return c
}

// end says how the connection ended. The first word counts, but a terminal one replaces a passing one.
func (c *conn) end(o outcome) {
	c.mu.Lock()
	first := !c.told
	if first || o.state.ends() && !c.ended.state.ends() {
		c.ended, c.told = o, true
	}
	c.mu.Unlock()
	if first {
		close(c.over)
	}
	c.actor.post(func() { c.actor.ended(c) })
}

// verdict is how the connection ended; lost, if it never said.
func (c *conn) verdict() outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.told {
		return outcome{state: Backoff, reason: lostConnection}
	}
	return c.ended
}

// open brings the connection online, or ends it.
func (c *conn) open() {
	pace, metrics := c.actor.fleet.pace, c.actor.fleet.cfg.Metrics
	leave, err := c.turn()
	if err != nil {
		return // hung up while waiting
	}
	way := verdictNone
	defer func() { leave(way) }()
	if !c.pairing {
		c.caughtUp = c.actor.fleet.rush.enter()
	}
	if err = c.build(); err != nil {
		c.end(c.unbuilt(err))
		return
	}
	if err = c.dial(pace.DialTimeout); err != nil {
		if c.ctx.Err() == nil || errors.Is(context.Cause(c.ctx), errDialTimeout) {
			way = verdictFailed
			metrics.ConnectAttempt("failed")
			c.log.Warn("connect failed", "error", redact(err.Error()))
			why := lostDial
			if c.pairing {
				why = pairConnect
			}
			c.end(outcome{state: Backoff, reason: why})
		}
		return
	}
	if c.pairing {
		return // the rest is told by events
	}
	timer := time.NewTimer(pace.LoginTimeout)
	defer timer.Stop()
	select {
	case <-c.online:
		way = verdictReached
		metrics.ConnectAttempt("online")
		c.actor.post(func() { c.actor.loggedIn(c) })
	case <-c.over:
		way = verdictFailed
		if o := c.verdict(); o.state.ends() && o.state != Outdated {
			way = verdictReached // WhatsApp answered; it is this session that it does not want
			metrics.ConnectAttempt("refused")
		} else {
			metrics.ConnectAttempt("failed")
		}
	case <-timer.C:
		way = verdictFailed
		metrics.ConnectAttempt("failed")
		c.end(outcome{state: Backoff, reason: lostLogin})
	case <-c.ctx.Done():
	}
}

// turn waits for the fleet's pace. Pairings do not wait behind the others: somebody is looking.
func (c *conn) turn() (leave func(verdict), err error) {
	if c.pairing {
		return func(verdict) {}, nil
	}
	return c.actor.fleet.pacer.enter(c.ctx, c.actor.id)
}

// unbuilt is where it leads when there is no client to connect with.
func (c *conn) unbuilt(err error) outcome {
	switch {
	case c.ctx.Err() != nil:
		return outcome{state: Backoff, reason: lostConnection}
	case errors.Is(err, ErrNotPaired):
		c.log.Warn("the session's device is not there")
		return outcome{state: LoggedOut, reason: outNoDevice}
	case errors.Is(err, tenant.ErrUnavailable):
		c.log.Warn("device could not be loaded", "error", err)
		return outcome{state: Backoff, reason: lostStore}
	default:
		c.log.Error("device could not be loaded", "error", err)
		return outcome{state: Backoff, reason: reasonBrokenDevice}
	}
}

// build loads the device and makes the client.
func (c *conn) build() error {
	if err := callStore(c.ctx, c.actor.fleet.pace.StoreTimeout, c.load); err != nil {
		return fmt.Errorf("load device: %w", err)
	}
	c.name = c.dev.PushName
	cli := gate.NewClient(c.dev, clientLog{log: c.log, incoming: c.overhear, outgoing: c.oversee})
	c.actor.fleet.cfg.Clients.Apply(cli)
	cli.EnableAutoReconnect = false
	cli.DisableLoginAutoReconnect = true
	cli.SynchronousAck = true
	cli.EnableDecryptedEventBuffer = true
	cli.ManualHistorySyncDownload = true
	cli.DisableManualHistorySyncReceipt = true
	cli.EmitAppStateEventsOnFullSync = true
	cli.BackgroundEventCtx = c.ctx
	cli.SetMaxParallelRetryReceiptHandling(1)
	cli.GetMessageForRetry = c.messageForRetry
	cli.PreRetryCallback = c.beforeRepeat
	if c.pairing {
		cli.PrePairCallback = func(jid types.JID, _, _ string) bool { return c.actor.claim(c, jid) }
	}
	cli.AddEventHandlerWithSuccessStatus(c.handle)
	c.cli = cli
	return nil
}

func (c *conn) load(ctx context.Context) error {
	devices, id := c.actor.fleet.cfg.Devices, c.actor.id
	if c.pairing {
		dev, err := devices.New(ctx, id)
		if err == nil {
			c.take(dev)
		}
		return err
	}
	jid, err := types.ParseJID(c.actor.view.Load().Device)
	if err != nil {
		return fmt.Errorf("read the device's JID: %w", err)
	}
	dev, err := devices.Load(ctx, id, jid)
	if err != nil {
		return err
	}
	c.take(dev)
	c.jid = jid
	if lid, ok := chatID(dev.LID); ok {
		c.me.lid = lid
	}
	c.old = dev.EventBuffer
	// Below the gate, which knows its own.
	dev.Sessions, dev.EventBuffer = &pleaSeam{SessionStore: dev.Sessions, dev: dev, conn: c}, decryptions{dev.EventBuffer}
	metrics := c.actor.fleet.cfg.Metrics
	c.gate = gate.Wrap(dev, gate.WithHooks(gate.Hooks{
		Panic:    func(v any, _ []byte) { c.actor.watch.report("decrypt", v) },
		Conflict: func() { metrics.Panic("session_conflict") },
	}))
	if later, ok := c.stop.(Later); ok {
		dev.Sessions = &flushing{dev.Sessions, later}
	}
	if c.stop != nil {
		c.stop.OnFailure(func(err error) {
			c.broken.Store(true)
			c.log.WarnContext(c.ctx, "device store failed", "error", err)
			c.end(outcome{state: Backoff, reason: lostStore})
		})
	}
	c.state.store = dev.AppState
	dev.AppState = &stateSeam{AppStateStore: dev.AppState, ask: c.fetchState}
	return nil
}

// take makes dev the connection's device.
func (c *conn) take(dev *store.Device) {
	c.dev = dev
	c.stop, _ = dev.Container.(FailStop)
	dev.Container = keeper{dev.Container}
}

// keeper leaves the deleting of devices to the session. whatsmeow deletes a device that was logged out beside everything that
// still uses it, and empties the fields that those read.
type keeper struct{ store.DeviceContainer }

// errKept is what whatsmeow gets instead.
var errKept = errors.New("devices are deleted by the session")

// DeleteDevice implements [store.DeviceContainer].
func (keeper) DeleteDevice(context.Context, *store.Device) error { return errKept }

// dial opens the connection. Its context lives as long as the connection does, so the deadline cancels it only while dialling.
func (c *conn) dial(timeout time.Duration) error {
	timer := time.AfterFunc(timeout, func() { c.cancel(errDialTimeout) })
	defer timer.Stop()
	close(c.dialling)
	if err := c.cli.ConnectContext(context.WithValue(c.ctx, byItself{}, true)); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// close ends the connection and returns when nothing of it is left. While draining, sends under way may finish first. parted is
// called earlier, as soon as the connection can neither reach WhatsApp nor its device any more, when the rest may take long:
// whatsmeow waits for the answer to a handshake for 20 seconds, whatever becomes of the context.
func (c *conn) close(parted func()) {
	idle := c.sends.close()
	if c.draining.Load() {
		_ = await(c.actor.life, idle)
	}
	select {
	case <-c.opened:
	default:
		c.cancel(errHungUp) // still connecting
		select {
		case <-c.opened:
		case <-c.dialling:
			if c.stop != nil {
				c.stop.Close()
				parted()
			}
			<-c.opened
		}
	}
	c.caughtUp()
	jobs := c.work.close()
	if c.cli != nil {
		// Disconnect alone takes the socket's hook away without a lock, while the reader may be calling it because the other
		// side closes just now. Resetting leaves the hook; there is no automatic reconnect to follow.
		c.cli.ResetConnection()
		c.cli.Disconnect()
	}
	c.cancel(errHungUp)
	<-idle
	<-jobs
	if c.stop != nil {
		c.stop.Close()
	}
}

// handle takes whatsmeow's events, several at once. What it returns decides whether a stanza is acknowledged: false leaves it
// with WhatsApp until the next connection.
func (c *conn) handle(evt any) (done bool) {
	if !c.work.enter() {
		return false
	}
	defer c.work.leave()
	defer func() {
		if v := recover(); v != nil { // whatsmeow would recover it too, and acknowledge
			c.actor.watch.report("handle", v)
			done = false
		}
	}()
	if c.pairing {
		c.pairEvent(evt)
	}
	if ok, mine := c.inbound(evt); mine {
		// whatsmeow stores what came along with a message (its secret, a sender key) before we are asked, and only logs it when
		// that fails. Then the stanza must come again; what is stored of it already is not stored twice.
		return ok && !c.broken.Load()
	}
	c.lifecycle(evt)
	return true
}

// lifecycle takes what whatsmeow tells about the connection itself.
func (c *conn) lifecycle(evt any) {
	lost := func(why reason) {
		if c.pairing {
			why = pairConnect
		}
		c.end(outcome{state: Backoff, reason: why})
	}
	switch evt := evt.(type) {
	case *events.Connected:
		c.onlineOnce.Do(func() {
			c.lid, _ = chatID(c.dev.LID) // whatsmeow may have learned it from the login
			close(c.online)
		})
	case *events.OfflineSyncCompleted:
		c.caughtUp()
	case *events.Disconnected:
		if c.away.Load() {
			lost(lostServer)
		} else {
			lost(lostConnection)
		}
	case *events.KeepAliveTimeout:
		if evt.ErrorCount >= c.actor.fleet.pace.MissedPings {
			lost(lostPing)
		}
	case *events.StreamReplaced:
		c.end(outcome{state: Conflict, reason: reasonReplaced})
	case *events.LoggedOut:
		c.end(outcome{state: LoggedOut, reason: c.outBecause(evt)})
	case *events.TemporaryBan:
		wait := evt.Expire
		if wait <= 0 {
			wait = c.actor.fleet.pace.BanRetry
		}
		c.log.Warn("account is banned for a time", "code", int(evt.Code), "duration", evt.Expire)
		c.end(outcome{state: Banned, reason: reasonBanned, until: time.Now().Add(wait).UTC()})
	case *events.ClientOutdated:
		wait := jitter(2 * c.actor.fleet.pace.OutdatedRetry)
		c.end(outcome{state: Outdated, reason: reasonOutdated, until: time.Now().Add(wait)})
	case *events.StreamError:
		c.log.Warn("stream error", "code", redact(evt.Code))
		lost(lostStream)
	case *events.MediaRetry:
		c.reuploads.answered(evt)
	case *events.ConnectFailure:
		c.log.Warn("connection refused", "code", int(evt.Reason))
		lost(lostRefused)
	}
}

// overhear notes what whatsmeow tells in no event: it leaves errors of the server's own to the disconnect that follows.
func (c *conn) overhear(node *waBinary.Node) {
	switch node.Tag {
	case "message":
		c.arrivals.arrive(node)
	case "iq":
		c.state.overhear(node)
	case "stream:error", "failure":
		attrs := node.AttrGetter()
		if code := cmp.Or(attrs.OptionalString("code"), attrs.OptionalString("reason")); code == "503" || code == "500" {
			c.away.Store(true)
		}
	}
}

// oversee makes what the device has written durable before whatsmeow gives up a message without having asked our handler: one that cannot be
// decrypted, that decrypts to nonsense, or whose handling panics. An earlier part of its stanza may have brought a key.
func (c *conn) oversee(node *waBinary.Node) {
	givesUp := node.Tag == "ack" && node.Attrs["class"] == "message" || node.Tag == "receipt" && node.Attrs["type"] == "retry"
	if !givesUp || c.pairing {
		return
	}
	if later, ok := c.stop.(Later); ok && later.Flush(c.ctx) != nil {
		<-c.ctx.Done() // then nothing leaves any more; a device that has failed ends its connection
	}
}

func (c *conn) outBecause(evt *events.LoggedOut) reason {
	switch {
	case c.leaving.Load():
		return outByOperator
	case evt.OnConnect && evt.Reason == events.ConnectFailureMainDeviceGone:
		return outMainGone
	case evt.OnConnect && evt.Reason == events.ConnectFailureUnknownLogout:
		return outUnknown
	default:
		return outByPhone
	}
}

// logout unlinks the device at WhatsApp. False if WhatsApp did not confirm it.
func (c *conn) logout(ctx context.Context) bool {
	if !c.sends.enter() {
		return false
	}
	defer c.sends.leave()
	c.leaving.Store(true)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.actor.fleet.pace.LookupTimeout)
	defer cancel()
	// Not Client.Logout, which also disconnects; see close.
	_, err := c.cli.DangerousInternals().SendIQ(ctx, whatsmeow.DangerousInfoQuery{ //nolint:staticcheck // the only way to send a query
		Namespace: "md", Type: "set", To: types.ServerJID,
		Content: []waBinary.Node{{
			Tag:   "remove-companion-device",
			Attrs: waBinary.Attrs{"jid": c.jid, "reason": "user_initiated"},
		}},
	})
	if err != nil && c.verdict().state != LoggedOut {
		c.log.WarnContext(ctx, "log out", "error", redact(err.Error()))
		return false
	}
	return true
}
