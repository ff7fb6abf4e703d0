package relay

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// entry is one stanza for one device, from its acceptance until the device acknowledged it.
type entry struct {
	seq  uint64
	node node
	peer string // phone number of who caused it
}

// queue is a device's ordered list of unacknowledged stanzas. next is the first one not written on the present connection; a new connection
// starts again at the first. The device's lock guards it.
type queue struct {
	items []*entry
	next  int
	seq   uint64
	// what was waiting at the activation of the connection: it is marked as offline, counted, and followed by a notice
	offlineLast uint64 // seq of the last of them
	offlineSent int
	offlineOwed bool      // the notice is still to come
	heldSince   time.Time // since when a message waits for a neighbour to change places with
}

// deliver puts a stanza into the queue of a device and wakes its writer. A full queue loses the stanza: it is counted and observed, as
// nothing that was acknowledged to a sender may vanish unseen.
func (s *Server) deliver(d *device, n node, peer string) {
	d.mu.Lock()
	if d.removed {
		d.mu.Unlock()
		return
	}
	if len(d.queue.items) >= s.cfg.MaxQueuePerDevice {
		d.mu.Unlock()
		s.dropped.Add(1)
		s.log.Warn("queue of a device is full, stanza dropped", "phone", redact(d.acct.phone), "device", d.id, "tag", n.Tag)
		s.emit(Observation{
			Kind: Dropped, Phone: d.acct.phone, Device: d.id,
			Tag: n.Tag, Type: str(&n, "type"), ID: str(&n, "id"), Peer: peer, Group: groupIn(&n),
		})
		return
	}
	d.queue.seq++
	d.queue.items = append(d.queue.items, &entry{seq: d.queue.seq, node: n, peer: peer})
	var c *conn
	if d.active {
		c = d.conn
	}
	d.mu.Unlock()
	if c != nil {
		c.kick()
	}
}

// activate answers a connection that asks for the queue, and lets the queue flow on it: behind the answer, which the client takes for the
// end of its login, comes the notice of what is coming, then the stanzas, then that it was all. Who sees the answer finds the device active.
func (d *device) activate(c *conn, answer node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c.send(answer)
	if d.conn != c || d.active {
		return
	}
	q := &d.queue
	q.offlineSent, q.offlineLast, q.offlineOwed = 0, 0, true
	count := map[string]int{}
	for _, e := range q.items {
		q.offlineLast = max(q.offlineLast, e.seq)
		count[e.node.Tag]++
	}
	if total := len(q.items); total > 0 {
		c.send(el("ib", attrs{"from": types.ServerJID}, node{Tag: "offline_preview", Attrs: attrs{
			"count": strconv.Itoa(total), "message": strconv.Itoa(count["message"]), "receipt": strconv.Itoa(count["receipt"]),
			"notification": strconv.Itoa(count["notification"]), "appdata": "0",
		}}))
	}
	d.active = true // only now: both must lie before the first stanza
	c.kick()
}

// deactivate holds the queue back without ending the connection.
func (d *device) deactivate(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == c {
		d.active = false
	}
}

// rewind makes everything unacknowledged due again, for a new connection.
func (q *queue) rewind() {
	q.next, q.offlineOwed, q.heldSince = 0, false, time.Time{}
}

// pull is the next stanza to write to c: one of the queue (e is set), or the notice that the offline ones are through. None while
// something else is to go out before it, as what activate has just sent.
func (d *device) pull(c *conn) (n node, e *entry, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != c || !d.active || c.owes() {
		return node{}, nil, false
	}
	q := &d.queue
	if q.offlineOwed && (q.next >= len(q.items) || q.items[q.next].seq > q.offlineLast) {
		q.offlineOwed = false
		return el("ib", attrs{"from": types.ServerJID},
			node{Tag: "offline", Attrs: attrs{"count": strconv.Itoa(q.offlineSent)}}), nil, true
	}
	// All before next are written and not acknowledged: with too many of them the rest waits for acknowledgements.
	if q.next >= len(q.items) || q.next >= c.s.cfg.MaxInFlight || !q.reorder(c) {
		return node{}, nil, false
	}
	e = q.items[q.next]
	q.next++
	n = e.node
	if e.seq <= q.offlineLast {
		q.offlineSent++
		n.Attrs = maps.Clone(n.Attrs)
		n.Attrs["offline"] = strconv.Itoa(q.offlineSent)
	}
	return n, e, true
}

// holdsBack tells whether stanzas wait, as they do when too many are unacknowledged.
func (d *device) holdsBack() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queue.next < len(d.queue.items)
}

// acknowledge takes the stanza a device acknowledged off its queue: the oldest that fits, also if it was written on an earlier connection only.
func (d *device) acknowledge(fits func(*node) bool) (*entry, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := &d.queue
	for i, e := range q.items {
		if !fits(&e.node) {
			continue
		}
		q.items = slices.Delete(q.items, i, i+1)
		if i < q.next {
			q.next--
		}
		return e, true
	}
	return nil, false
}
