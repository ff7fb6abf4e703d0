package relay

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"go.mau.fi/whatsmeow/types"
)

var errStream = errors.New("stream")

// conn is one client's connection. Its reading goroutine handles its stanzas one after another, which keeps a sender's order.
type conn struct {
	s  *Server
	ws *websocket.Conn

	// set by the reader before the first stanza, then constant; dev under mu, as faults look for it
	static [32]byte
	in     cipher.AEAD
	dev    *device  // nil for a companion that is not paired yet
	pair   *pairing // nil for a device

	inCount    uint32                // reader only
	subscribed map[*account]struct{} // reader only
	last       atomic.Int64
	stalled    atomic.Bool // by a fault: nothing is read any more, nothing written
	held       atomic.Bool // the writer waits for a neighbour to swap with

	mu       sync.Mutex
	out      []node // answers and whatever is not queued, before the device's queue
	writing  bool   // a writer runs
	again    bool   // it has to look once more
	ended    bool   // the last stanza is in out; nothing may follow, nothing is handled
	closed   bool   // no writer may start
	sealer   cipher.AEAD
	outCount uint32 // writer only
	done     chan struct{}
}

func newConn(s *Server, ws *websocket.Conn) *conn {
	c := &conn{s: s, ws: ws, done: make(chan struct{})}
	c.last.Store(time.Now().UnixNano())
	return c
}

// run is the life of a connection: handshake, login, stanzas, and the tidying up behind it.
func (c *conn) run() {
	defer c.finish()
	defer func() { // a stanza that we cannot bear must not end everybody's connection
		if r := recover(); r != nil {
			c.s.log.Error("handling a stanza panicked", "panic", r, "stack", string(debug.Stack()))
			c.violate("panic", fmt.Sprint(r))
		}
	}()
	d := deframer{limit: c.s.cfg.MaxFrame}
	frames, err := c.handshake(&d)
	if err != nil {
		c.s.log.Debug("handshake failed", "error", err)
		return
	}
	for {
		for _, frame := range frames {
			if err = c.handle(frame); err != nil {
				c.violate("frame", err.Error())
				return
			}
		}
		if frames, err = c.read(&d); err != nil {
			return
		}
	}
}

// read waits for the next message. The sweeper and cut close the socket under it; no context, since each would cost a timer or a goroutine.
func (c *conn) read(d *deframer) ([][]byte, error) {
	kind, msg, err := c.ws.Read(context.Background())
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	c.last.Store(time.Now().UnixNano())
	if kind != websocket.MessageBinary {
		return nil, fmt.Errorf("%w: text message", errStream)
	}
	return d.push(msg)
}

// next waits for one whole frame of the handshake.
func (c *conn) next(d *deframer, frames [][]byte) (frame []byte, rest [][]byte, err error) {
	for len(frames) == 0 {
		if frames, err = c.read(d); err != nil {
			return nil, nil, err
		}
	}
	return frames[0], frames[1:], nil
}

// handshake authenticates the client and logs it in. It returns the frames that came behind the client's last one.
func (c *conn) handshake(d *deframer) ([][]byte, error) {
	hello, rest, err := c.next(d, nil)
	if err != nil {
		return nil, err
	}
	n, err := newNoise(d.header)
	if err != nil {
		return nil, err
	}
	answer, err := n.hello(hello, c.s.id)
	if err != nil {
		return nil, err
	}
	if err = c.writeFrame(append(make([]byte, frameLengthSize), answer...)); err != nil {
		return nil, err
	}
	fin, rest, err := c.next(d, rest)
	if err != nil {
		return nil, err
	}
	static, hail, err := n.finish(fin)
	if err != nil {
		return nil, err
	}
	c.static = static
	in, out, err := n.split()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.in, c.sealer = in, out
	c.mu.Unlock()
	c.s.keep(c)
	if hail.GetDevicePairingData() != nil {
		c.register(hail)
	} else {
		c.login(hail)
	}
	return rest, nil
}

// handle takes one frame of the transport.
func (c *conn) handle(frame []byte) error {
	plain, err := c.in.Open(nil, nonce(c.inCount), frame, nil)
	if err != nil {
		return fmt.Errorf("decrypt frame: %w", err)
	}
	c.inCount++
	if c.stalled.Load() || c.isEnded() {
		return nil // swallowed, as if it were lost on the way
	}
	n, err := unpack(plain, c.s.cfg.MaxFrame)
	if err != nil {
		return err
	}
	c.s.rate.received.add(n.Tag)
	if c.dev == nil {
		c.unpairedStanza(n)
		return nil
	}
	switch n.Tag {
	case "iq":
		c.onIQ(n)
	case "message":
		c.onMessage(n)
	case "receipt":
		c.onReceipt(n)
	case "ack":
		c.onAck(n)
	case "presence":
		c.onPresence(n)
	case "notification":
		c.onNotification(n)
	case "chatstate":
		c.onChatstate(n)
	case "ib":
		// unified_session, offline_batch: nothing to answer
	case "call":
		c.send(node{Tag: "ack", Attrs: attrs{"class": "call", "id": str(n, "id"), "from": n.Attrs["to"]}})
	default:
		c.violate("unknown-tag", n.Tag)
	}
	return nil
}

func (c *conn) isEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended || c.closed
}

// send writes a stanza that is not queued: lost when the connection is.
func (c *conn) send(n node) {
	c.mu.Lock()
	if c.ended || c.closed {
		c.mu.Unlock()
		return
	}
	if len(c.out) >= c.s.cfg.MaxOutbound {
		c.mu.Unlock()
		c.s.cut.Add(1)
		c.s.log.Warn("client does not read, connection cut")
		c.cut()
		return
	}
	c.out = append(c.out, n)
	c.startWriter()
	c.mu.Unlock()
}

// end sends the last stanza of a connection and closes the socket after a grace: closed at once, the client may lose the stanza.
func (c *conn) end(n node, grace time.Duration) {
	c.mu.Lock()
	if c.ended || c.closed {
		c.mu.Unlock()
		return
	}
	c.out = append(c.out, n)
	c.ended = true
	c.startWriter()
	c.mu.Unlock()
	c.s.closeAt(c, time.Now().Add(grace))
}

// kick makes the writer look at the device's queue.
func (c *conn) kick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.startWriter()
	}
}

// startWriter is for who holds the lock. The reader counts in the server's group until closed is set, so that the group cannot be at zero.
func (c *conn) startWriter() {
	c.again = true
	if c.writing || c.sealer == nil {
		return
	}
	c.writing = true
	c.s.wg.Go(c.write)
}

// write writes what is there and ends: an idle connection has no writer.
func (c *conn) write() {
	for {
		n, e, more := c.pull()
		if !more {
			return
		}
		if err := c.deliver(n, e); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				c.s.cut.Add(1)
				c.s.log.Warn("client does not read, connection cut")
			}
			c.mu.Lock()
			c.writing = false
			c.mu.Unlock()
			c.cut()
			return
		}
		if c.abrupt() {
			c.cut()
		}
	}
}

// pull is the next stanza to write; none means that the writer is over.
func (c *conn) pull() (n node, e *entry, more bool) {
	for {
		c.mu.Lock()
		if c.closed || c.stalled.Load() {
			c.writing = false
			c.mu.Unlock()
			return node{}, nil, false
		}
		c.again = false
		if len(c.out) > 0 {
			n = c.out[0]
			c.out[0] = node{}
			if c.out = c.out[1:]; len(c.out) == 0 {
				c.out = nil // lets a burst's array go
			}
			c.mu.Unlock()
			return n, nil, true
		}
		ended := c.ended
		c.mu.Unlock()
		if c.dev != nil && !ended {
			var ok bool
			if n, e, ok = c.dev.pull(c); ok {
				return n, e, true
			}
		}
		c.mu.Lock()
		if !c.again {
			c.writing = false
			c.mu.Unlock()
			return node{}, nil, false
		}
		c.mu.Unlock()
	}
}

// owes tells whether something was sent that the writer has not taken yet. The device's lock may be held, never the other way round.
func (c *conn) owes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.out) > 0
}

// deliver writes one stanza, with what the faults do to it.
func (c *conn) deliver(n node, e *entry) error {
	times := 1
	if e != nil {
		if !c.pause(c.s.faults.delay(c)) {
			return errStream
		}
		times = c.s.faults.copies(c, &n)
	}
	for range times {
		if err := c.writeNode(n); err != nil {
			return err
		}
	}
	if e != nil {
		c.s.emit(Observation{
			Kind: Delivered, Phone: c.dev.acct.phone, Device: c.dev.id,
			Tag: n.Tag, Type: str(&n, "type"), ID: str(&n, "id"), Peer: e.peer, Group: groupIn(&n),
		})
	}
	return nil
}

// abrupt says whether the last stanza is out and the socket is to be closed right behind it: the fault that loses stanzas.
func (c *conn) abrupt() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended && len(c.out) == 0 && c.s.cfg.CloseGrace < 0
}

// pause waits, unless the connection ends.
func (c *conn) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.done:
		return false
	}
}

func (c *conn) writeNode(n node) error {
	plain, err := marshal(n)
	if err != nil {
		return err
	}
	frame := make([]byte, frameLengthSize, frameLengthSize+len(plain)+c.sealer.Overhead())
	frame = c.sealer.Seal(frame, nonce(c.outCount), plain, nil)
	c.outCount++
	c.s.rate.sent.add(n.Tag)
	return c.writeFrame(frame)
}

// writeFrame writes one whole frame as one message: clients cannot put a split one together.
func (c *conn) writeFrame(frame []byte) error {
	if err := putLength(frame); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.s.cfg.WriteTimeout)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageBinary, frame); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// cut closes the socket without a word; the reader does the rest.
func (c *conn) cut() { _ = c.ws.CloseNow() }

// finish runs when the reader ends, whatever ended it.
func (c *conn) finish() {
	c.mu.Lock()
	c.closed = true
	c.out = nil
	close(c.done)
	c.mu.Unlock()
	c.cut()
	c.s.forget(c)
	if c.pair != nil {
		c.s.dropPairing(c.pair)
	}
	if c.dev == nil {
		return
	}
	d := c.dev
	d.mu.Lock()
	mine := d.conn == c
	if mine {
		d.conn, d.active = nil, false
		d.queue.rewind()
	}
	d.mu.Unlock()
	c.leavePresence()
	if mine {
		c.s.emit(Observation{Kind: Gone, Phone: d.acct.phone, Device: d.id})
	}
}

func (c *conn) streamError(code string, children ...node) {
	a := attrs{}
	if code != "" {
		a["code"] = code
	}
	c.end(el("stream:error", a, children...), c.s.cfg.CloseGrace)
}

// failure refuses a login.
func (c *conn) failure(reason int, a attrs) {
	if a == nil {
		a = attrs{}
	}
	a["reason"] = strconv.Itoa(reason)
	c.end(node{Tag: "failure", Attrs: a}, c.s.cfg.FailureGrace)
}

// name is the device for logs and violations.
func (c *conn) name() (phone string, device uint16) {
	if c.dev == nil {
		return "", 0
	}
	return c.dev.acct.phone, c.dev.id
}

func fromServer(kind string) attrs { return attrs{"from": types.ServerJID, "type": kind} }

// device is the device for goroutines other than the connection's own.
func (c *conn) device() *device {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dev
}
