package gate

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime/debug"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/store"
)

// DefaultMaxHold is how long a send may keep the gate while it waits for prekeys.
const DefaultMaxHold = 30 * time.Second

var (
	// ErrMoved is what a write answers when its session was moved by another writer after it had been read. It is
	// context.Canceled too, which whatsmeow takes for "not now". Nothing was written, and nothing was sent.
	ErrMoved = fmt.Errorf("session moved since it was read: %w", context.Canceled)
	// ErrPanic is what DoDecryptionTxn answers when its function panicked.
	ErrPanic = errors.New("decryption panicked")
)

// Hooks are told what the gate had to do. They are called without locks and must not block; nil ones are skipped.
type Hooks struct {
	// Panic gets a panic of a decryption, with its stack. The value may hold private data: count it, log it with care.
	Panic func(value any, stack []byte)
	// Conflict means that a write was refused because the session had moved since it was read.
	Conflict func()
	// Expired means that a send lost the gate because it waited too long for the network.
	Expired func()
}

// Option changes a detail of [Wrap].
type Option func(*Gate)

// WithHooks sets the hooks.
func WithHooks(h Hooks) Option { return func(g *Gate) { g.hooks = h } }

// WithMaxHold replaces [DefaultMaxHold].
func WithMaxHold(d time.Duration) Option { return func(g *Gate) { g.maxHold = d } }

// Gate is the gate of one device. Safe for concurrent use.
type Gate struct {
	// token holds one value while the gate is free. A channel, since waiting must end with a context.
	token   chan struct{}
	seed    maphash.Seed
	maxHold time.Duration
	hooks   Hooks

	readsMu sync.Mutex
	reads   *reads // nil until the first read outside a hold
}

// Wrap puts a new gate in front of dev's session store and event buffer. A device that has one already keeps it, and
// the options are ignored. The device must have its stores; see [Gate.Attach] for those that get them by pairing.
func Wrap(dev *store.Device, opts ...Option) *Gate {
	if s, ok := dev.Sessions.(*sessions); ok {
		return s.gate
	}
	g := &Gate{token: make(chan struct{}, 1), seed: maphash.MakeSeed(), maxHold: DefaultMaxHold}
	g.token <- struct{}{}
	for _, opt := range opts {
		opt(g)
	}
	g.Attach(dev)
	return g
}

// Attach puts the gate in front of whatever stores dev has now, if it is not there. Needed again whenever the container
// replaced them: sqlstore does so in the first PutDevice, that is during pairing.
func (g *Gate) Attach(dev *store.Device) {
	if s, ok := dev.Sessions.(*sessions); dev.Sessions != nil && (!ok || s.gate != g) {
		dev.Sessions = &sessions{gate: g, inner: dev.Sessions}
	}
	if b, ok := dev.EventBuffer.(*buffer); dev.EventBuffer != nil && (!ok || b.gate != g) {
		dev.EventBuffer = &buffer{EventBuffer: dev.EventBuffer, gate: g}
	}
}

// Send runs fn, which sends messages with the context it is given. The sessions it uses are held from reading to
// writing, see the package comment; the gate is free again when Send returns, however fn ended. [ErrMoved] means that
// the gate was lost while waiting for the network: nothing went out, and the send should be tried again with the same id.
func (g *Gate) Send(ctx context.Context, fn func(ctx context.Context) error) error {
	if h := g.holdIn(ctx); h != nil {
		return fn(ctx) // the outer Send releases
	}
	h := &hold{gate: g}
	defer h.finish()
	err := fn(context.WithValue(ctx, holdKey{g}, h))
	if err != nil && h.wasRefused() && !errors.Is(err, ErrMoved) {
		err = fmt.Errorf("%w: %w", err, ErrMoved) // whatsmeow's peer messages format the cause away
	}
	return err
}

// Idle tells whether nobody holds the gate at this moment; for tests and reports.
func (g *Gate) Idle() bool { return len(g.token) == 1 }

func (g *Gate) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for the session gate: %w", err)
	}
	select {
	case <-g.token:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the session gate: %w", ctx.Err())
	}
}

func (g *Gate) unlock() { g.token <- struct{}{} }

// locked runs op while the gate is held: by the hold in ctx, or for the time of op.
func (g *Gate) locked(ctx context.Context, op func() error) error {
	if h := g.holdIn(ctx); h != nil && h.pin() {
		defer h.unpin()
		return op()
	}
	if err := g.lock(ctx); err != nil {
		return err
	}
	defer g.unlock()
	return op()
}

func (g *Gate) conflict() error {
	if g.hooks.Conflict != nil {
		g.hooks.Conflict()
	}
	return ErrMoved
}

// guard turns a panic of fn into an error before the transaction around it can leak.
func (g *Gate) guard(fn func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		defer func() {
			if v := recover(); v != nil {
				if g.hooks.Panic != nil {
					g.hooks.Panic(v, debug.Stack())
				}
				err = fmt.Errorf("%w: %T", ErrPanic, v) // not the value: it may quote the message
			}
		}()
		return fn(ctx)
	}
}

// holdKey is per gate: one context may pass through the gates of several devices.
type holdKey struct{ gate *Gate }

// holdIn answers the hold that ctx carries, if it has not ended.
func (g *Gate) holdIn(ctx context.Context) *hold {
	h, ok := ctx.Value(holdKey{g}).(*hold)
	if !ok || h.ended() {
		return nil
	}
	return h
}
