package session

import (
	"context"
	"sync"
	"time"

	"go.mau.fi/libsignal/protocol"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

// whatsmeow handles one stanza at a time, and a handler that waits until its message is stored makes each wait for a commit of its
// own. So a message is noted and its handler answers "not now": whatsmeow then acknowledges nothing and goes on to the next, while what was noted
// before is being committed, together. What is committed the session acknowledges itself, as whatsmeow would have.
//
//	handler ──▶ add ──▶ noted ──▶ flush: one commit of all that is noted ──▶ acknowledge each
//
// The order of a session's stanzas is kept: they are committed in it, and whatever else a stanza brings (a receipt, a notification)
// takes its place in the same row and waits there. When something cannot be stored, neither is what came behind it, nothing of that is
// acknowledged, and the connection ends: WhatsApp delivers it again. So it does with what is noted when a connection is closed.

// Bounds of what one session has noted and not acknowledged; a handler that comes to one waits.
const (
	maxNoted     = 256     // stanzas
	maxNotedSize = 4 << 20 // bytes of what was encrypted; a single one may be larger
	// maxArrivals bounds the stanzas that are remembered until they are handled: whatsmeow's own queue holds as many.
	maxArrivals = 2048
)

// noted is a stanza's part of a commit.
type noted struct {
	changes []tenant.Change
	instead func() []tenant.Change // see [conn.commit]
	size    int
	done    func(stored bool) // called once, in order
}

// pipeline is what a connection has noted. One goroutine commits it, which lives while there is something to commit.
type pipeline struct {
	mu      sync.Mutex
	waiting []*noted
	count   int // of stanzas that are not done yet, waiting or being committed
	size    int // of the same
	running bool
	closed  bool          // something was not stored: nothing is any more
	room    chan struct{} // closed when there may be room again; nil if nobody waits for it
}

// add notes a stanza's part. It waits while there is no room. False if nothing is stored any more; done is not called then.
func (c *conn) add(n *noted) bool {
	p := &c.pipeline
	for {
		p.mu.Lock()
		switch {
		case p.closed:
			p.mu.Unlock()
			return false
		case p.count == 0 || p.count < maxNoted && p.size+n.size <= maxNotedSize:
			p.waiting = append(p.waiting, n)
			p.count++
			p.size += n.size
			start := !p.running
			p.running = true
			p.mu.Unlock()
			if start && !c.work.run("commit", c.flush) {
				c.abandon() // the connection is being closed
			}
			return true
		}
		if p.room == nil {
			p.room = make(chan struct{})
		}
		room := p.room
		p.mu.Unlock()
		if await(c.ctx, room) != nil {
			return false
		}
	}
}

// flush commits what is noted until there is nothing more.
func (c *conn) flush() {
	finished := false
	defer func() {
		if !finished { // a panic, which is contained further up
			c.end(outcome{state: Backoff, reason: lostFault})
			c.abandon()
		}
	}()
	p := &c.pipeline
	for {
		p.mu.Lock()
		batch := p.waiting
		p.waiting = nil
		if len(batch) == 0 {
			p.running = false
			p.mu.Unlock()
			finished = true
			return
		}
		p.mu.Unlock()
		stored := c.commitAll(batch)
		for i, n := range batch {
			n.done(i < stored)
		}
		if stored < len(batch) {
			c.abandon()
			finished = true
			return
		}
		c.tidy()
		p.release(batch)
	}
}

// release makes room.
func (p *pipeline) release(batch []*noted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range batch {
		p.count--
		p.size -= n.size
	}
	p.wake()
}

// isIdle says whether all that was noted is stored.
func (p *pipeline) isIdle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count == 0
}

// wake is for who holds the lock.
func (p *pipeline) wake() {
	if p.room != nil {
		close(p.room)
		p.room = nil
	}
}

// abandon gives up what waits, and whatever comes.
func (c *conn) abandon() {
	p := &c.pipeline
	p.mu.Lock()
	left := p.waiting
	p.waiting, p.closed, p.running = nil, true, false
	p.wake()
	p.mu.Unlock()
	for _, n := range left {
		n.done(false)
	}
}

// commitAll commits in one transaction, and returns how many of the batch are stored: the first so many.
func (c *conn) commitAll(batch []*noted) (stored int) {
	if len(batch) > 1 {
		var all []tenant.Change
		for _, n := range batch {
			all = append(all, n.changes...)
		}
		if len(all) == 0 {
			return len(batch)
		}
		err := c.put(c.ctx, all)
		if err == nil {
			return len(batch)
		}
		if !c.refuses(c.ctx, err) {
			return 0
		}
	}
	// By itself, so that what is refused holds up nothing else.
	for i, n := range batch {
		if !c.commit(c.ctx, n.changes, n.instead) {
			return i
		}
	}
	return len(batch)
}

// inOrder stores what a stanza says behind what the session has noted, and waits for it. False if it may not be acknowledged.
func (c *conn) inOrder(changes []tenant.Change, instead func() []tenant.Change) bool {
	if len(changes) == 0 && c.pipeline.isIdle() {
		return true
	}
	answer := make(chan bool, 1) // buffered: the waiter may have left
	n := &noted{changes: changes, instead: instead, done: func(stored bool) { answer <- stored }}
	if !c.add(n) {
		return false
	}
	select {
	case stored := <-answer:
		return stored
	case <-c.ctx.Done():
		return false
	}
}

// note stores a message without waiting, if that can be: then the handler must say no, and the session acknowledges it when it is
// stored. It cannot be if the stanza is not done with this message, or whatsmeow has more to do with it.
//
// What the decryption moved must be in changes, see [EventKeeper]: a device store that has it elsewhere wants to be told by whatsmeow.
func (c *conn) note(evt *events.Message, came *arrival, changes []tenant.Change, instead func() []tenant.Change) (taken bool) {
	_, settles := settled(changes)
	if came == nil || !settles || came.handled != came.parts || evt.Info.Category == categoryPeer || evt.UnavailableRequestID != "" || c.broken.Load() {
		return false
	}
	info := evt.Info
	return c.add(&noted{changes: changes, instead: instead, size: came.size, done: func(stored bool) {
		// What came along with the message, its secret or a sender key, whatsmeow has stored before the handler was asked.
		if stored && c.ctx.Err() == nil && !c.broken.Load() {
			c.acknowledge(&info, came.node)
		}
	}})
}

// continues says whether a message merely brings the key by which the other part of its stanza is encrypted. Then the handler may say yes at
// once: what the decryption moved goes with that other part's commit, and what is not stored of this one, the other says again. If
// the other part comes to nothing, the device store makes all of it durable before whatsmeow acknowledges, or [conn.oversee] does.
func (c *conn) continues(evt *events.Message, came *arrival, changes []tenant.Change) bool {
	hash, settles := settled(changes)
	keeper, keeps := c.stop.(EventKeeper)
	if !keeps || !settles || came == nil || came.handled != 1 || !came.distributes || evt.RawMessage.GetSenderKeyDistributionMessage() == nil {
		return false
	}
	if !evt.Info.IsGroup {
		return false // whatsmeow passes the other part over, and acknowledges
	}
	for _, change := range changes {
		switch change.(type) {
		case tenant.SettleEvent, tenant.LinkIDs, tenant.PutContact:
		default:
			return false
		}
	}
	keeper.Continue(hash)
	return true
}

// settled is the event that changes settle.
func settled(changes []tenant.Change) (hash tenant.EventHash, ok bool) {
	for _, change := range changes {
		if settle, is := change.(tenant.SettleEvent); is {
			return settle.Hash, true
		}
	}
	return hash, false
}

// acknowledge does what whatsmeow does when a handler has taken a message.
func (c *conn) acknowledge(info *types.MessageInfo, node *waBinary.Node) {
	defer c.actor.watch.contain("acknowledge", nil)
	inner := c.cli.DangerousInternals() //nolint:staticcheck // nothing else acknowledges
	inner.SendMessageReceipt(c.ctx, info, node)
}

// tidyEvery is how often the device store deletes what is old. whatsmeow would have it do so at once, behind the first message that its
// handler has taken; but when a node starts, and all its sessions take in what waited for them, there is more urgent work. So whatsmeow's own
// calls come to nothing, see [decryptions].
const (
	tidyEvery = 12 * time.Hour
	tidyAfter = 10 * time.Minute
)

// tidier is a device store's part that deletes what is old.
type tidier interface {
	DeleteOldBufferedHashes(ctx context.Context) error
}

func (c *conn) tidy() {
	last, now := &c.actor.tidied, time.Now()
	if last.Load() == 0 {
		last.Store(now.Add(tidyAfter + jitter(tidyAfter) - tidyEvery).UnixMilli())
	}
	if now.Sub(time.UnixMilli(last.Load())) > tidyEvery {
		last.Store(now.UnixMilli())
		c.work.run("tidy", func() { _ = c.old.DeleteOldBufferedHashes(c.ctx) }) // what fails, the device store tells
	}
}

// arrival is a message stanza that has come in.
type arrival struct {
	node  *waBinary.Node // its attributes alone
	parts int            // how many things are encrypted in it
	size  int            // of them, in bytes
	// distributes says that it has two parts: the first for this device alone, and the second for a group.
	distributes bool
	handled     int // how many parts have been handled
}

// arrivals are the message stanzas that came in and were not handled yet, in their order. The handler of an event does not get the
// stanza, without which nothing can be acknowledged.
type arrivals struct {
	mu    sync.Mutex
	queue []arrival
}

// arrive notes a stanza.
func (a *arrivals) arrive(node *waBinary.Node) {
	next := arrival{node: &waBinary.Node{Tag: node.Tag, Attrs: node.Attrs}}
	for _, child := range node.GetChildren() {
		if child.Tag != "enc" {
			continue
		}
		content, _ := child.Content.([]byte)
		next.parts++
		next.size += len(content)
		next.distributes = next.parts == 2 && child.AttrGetter().OptionalString("type") == "skmsg" && isSenderKeyMessage(content)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) >= maxArrivals {
		a.queue = a.queue[1:]
	}
	a.queue = append(a.queue, next)
}

// isSenderKeyMessage says whether whatsmeow will get as far as to decrypt what is encrypted for a group.
func isSenderKeyMessage(content []byte) bool {
	_, err := protocol.NewSenderKeyMessageFromBytes(content, store.SignalProtobufSerializer.SenderKeyMessage)
	return err == nil
}

// take returns the stanza that a message came in, with this message counted as handled. Those before it are forgotten: they were handled,
// and no event told of them. Nil if it is not known, e.g. because the message came inside of another.
func (a *arrivals) take(info *types.MessageInfo) *arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.queue {
		if !a.queue[i].brought(info) {
			continue
		}
		a.queue[i].handled++
		one := a.queue[i]
		if one.handled >= one.parts {
			i++
		}
		if a.queue = a.queue[i:]; len(a.queue) == 0 {
			a.queue = nil // most sessions have nothing to do most of the time
		}
		return &one
	}
	return nil
}

// brought says whether a stanza is the one that a message came in.
func (a *arrival) brought(info *types.MessageInfo) bool {
	attrs := a.node.AttrGetter()
	if attrs.OptionalString("id") != info.ID {
		return false
	}
	from, author := attrs.OptionalJIDOrEmpty("from"), attrs.OptionalJIDOrEmpty("participant")
	if author.IsEmpty() {
		return !info.IsGroup && from == info.Sender
	}
	return author == info.Sender && from == info.Chat
}
