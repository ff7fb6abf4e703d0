package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"golang.org/x/time/rate"

	"github.com/wafleet/wafleet/session/gate"
)

// A message that cannot be decrypted may be had from the phone. whatsmeow asks for it in the middle of its queue and waits for the
// answer, for up to 75 s: strangers could stop a tenant with it. So its own requests are refused, before they reach the network, and
// the session asks instead: beside the queue, without waiting, and only so often.

// Bounds of what is asked of one tenant's phone.
const (
	pleasWaiting = 32              // at a time; others are left out
	pleasOfOne   = 4               // of them messages of one sender, so that a stranger does not take all places
	pleasBurst   = 32              // in a row
	pleaEvery    = 2 * time.Second // after that
	pleasKnown   = 256             // messages asked for already that are remembered
)

// plea is one message to ask the phone for.
type plea struct {
	chat, sender types.JID
	id           types.MessageID
}

// pleas are what the phone is asked for. They outlive connections, as budgets must.
type pleas struct {
	budget *rate.Limiter

	mu      sync.Mutex
	waiting []plea
	asked   map[plea]struct{}
	order   []plea // of asked, the oldest first
	running bool
}

func newPleas() *pleas {
	return &pleas{budget: rate.NewLimiter(rate.Every(pleaEvery), pleasBurst), asked: make(map[plea]struct{})}
}

// add notes a message to ask for. False if it was asked for already, or is one too many. start says that nobody asks yet.
func (p *pleas) add(next plea) (start, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, again := p.asked[next]; again || len(p.waiting) >= pleasWaiting {
		return false, false
	}
	same := 0
	for _, other := range p.waiting {
		if other.sender.User == next.sender.User {
			same++
		}
	}
	if same >= pleasOfOne {
		return false, false
	}
	p.asked[next] = struct{}{}
	if p.order = append(p.order, next); len(p.order) > pleasKnown {
		delete(p.asked, p.order[0])
		p.order = p.order[1:]
	}
	p.waiting = append(p.waiting, next)
	start = !p.running
	p.running = true
	return start, true
}

// next is what to ask for; false, when there is nothing, ends the asking.
func (p *pleas) next() (plea, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		p.running, p.waiting = false, nil
		return plea{}, false
	}
	next := p.waiting[0]
	p.waiting = p.waiting[1:]
	return next, true
}

// stop ends the asking with the connection. What waits is dropped: its sender was asked as well.
func (p *pleas) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running, p.waiting = false, nil
}

// answer asks for what waits until there is nothing more, or ctx ends. Whoever was told to start calls it.
func (p *pleas) answer(ctx context.Context, ask func(plea)) {
	finished := false
	defer func() {
		if !finished { // else somebody may have begun anew
			p.stop()
		}
	}()
	for {
		next, ok := p.next()
		if !ok {
			finished = true
			return
		}
		if p.budget.Wait(ctx) != nil {
			return
		}
		ask(next)
	}
}

// plead asks the phone for a message, soon, if that is within bounds.
func (c *conn) plead(evt *events.UndecryptableMessage) {
	p := c.actor.pleas
	start, ok := p.add(plea{chat: evt.Info.Chat, sender: evt.Info.Sender.ToNonAD(), id: evt.Info.ID})
	if !ok {
		return
	}
	if start && !c.work.run("plead", c.answerPleas) {
		p.stop()
	}
}

func (c *conn) answerPleas() {
	c.actor.pleas.answer(c.ctx, func(next plea) {
		if err := c.askForMessage(next); err != nil {
			c.log.Debug("phone was not asked for a message", "error", redact(err.Error()))
		}
	})
}

// askForMessage asks the phone for one message. It does not wait for WhatsApp, which would hold up the tenant's sends.
func (c *conn) askForMessage(p plea) error {
	if !c.sends.enter() {
		return c.offline()
	}
	defer c.sends.leave()
	ctx, cancel := context.WithTimeout(c.ctx, c.actor.fleet.pace.LookupTimeout)
	defer cancel()
	wire := c.cli.BuildUnavailableMessageRequest(p.chat, p.sender, p.id)
	inner := c.cli.DangerousInternals() //nolint:staticcheck // what is not dangerous waits, and lets nobody else send meanwhile
	return c.gate.Send(ctx, func(ctx context.Context) error {
		_, err := inner.SendPeerMessage(ctx, c.jid.ToNonAD(), types.MessageID(newMessageID()), wire, new(whatsmeow.MessageDebugTimings))
		if errors.Is(err, gate.ErrMoved) {
			return err
		}
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		return nil
	})
}

// byItself marks the context of what whatsmeow does on a stanza that came in.
type byItself struct{}

// errPleadElsewhere is what whatsmeow's own requests get. It is no [context.Canceled]: the stanza is done with.
var errPleadElsewhere = errors.New("the phone is asked by the session")

// pleaSeam refuses whatsmeow's own messages to the phone. The first thing that they need of the device is whether it has a session with it.
// Nothing else asks that on a stanza but decryptions, which are marked, and the phone's own requests to repeat a message; see repeats.
type pleaSeam struct {
	store.SessionStore

	dev  *store.Device
	conn *conn
}

// HasSession implements [store.SessionStore].
func (s *pleaSeam) HasSession(ctx context.Context, address string) (bool, error) {
	if ctx.Value(byItself{}) == true && s.isPhone(address) && !s.conn.repeats.CompareAndSwap(true, false) {
		return false, errPleadElsewhere
	}
	return s.SessionStore.HasSession(ctx, address)
}

func (s *pleaSeam) isPhone(address string) bool {
	lid, pn := s.dev.GetLID().ToNonAD(), s.dev.GetJID().ToNonAD()
	return address == lid.SignalAddress().String() || address == pn.SignalAddress().String()
}

// decryptions marks them for a [pleaSeam]. What is old the session deletes, see [conn.tidy].
type decryptions struct{ store.EventBuffer }

// DeleteOldBufferedHashes implements [store.EventBuffer].
func (decryptions) DeleteOldBufferedHashes(context.Context) error { return nil }

// DoDecryptionTxn implements [store.EventBuffer].
func (d decryptions) DoDecryptionTxn(ctx context.Context, fn func(context.Context) error) error {
	return d.EventBuffer.DoDecryptionTxn(ctx, func(ctx context.Context) error {
		return fn(context.WithValue(ctx, byItself{}, false))
	})
}

// beforeRepeat hears that whatsmeow is about to repeat a message for one of its recipients' devices.
func (c *conn) beforeRepeat(to *events.Receipt, _ types.MessageID, _ int, _ *waE2E.Message) bool {
	if to.IsFromMe && to.Sender.Device == 0 {
		c.repeats.Store(true)
	}
	return true
}
