package relay

import (
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
)

// Stats is a picture of the relay. Maps are the caller's.
type Stats struct {
	Accounts    int
	Connections int // all, also those in the handshake
	Unpaired    int // of them companions waiting to be paired
	Active      int // of them devices whose stanzas flow
	Groups      int

	Received map[string]int64 // stanzas from clients by tag
	Sent     map[string]int64 // stanzas to clients by tag

	Unacknowledged        int            // stanzas in all queues
	UnacknowledgedByPhone map[string]int // without phones that have none
	Messages              int            // of Unacknowledged, messages
	Queues                map[string]int // length by device, as "phone:device"; without empty ones

	Dropped     int64          // stanzas lost because a queue was full
	CutSlow     int64          // connections cut because the client did not read
	StrayAcks   int64          // acknowledgements of nothing in the queue, as after a duplicate
	UnknownIQs  map[string]int // requests answered with 501, by "namespace type child"
	Violations  []Violation    // what clients did against the protocol, the first thousand
	Blobs       int
	BlobBytes   int64
	FaultsArmed int
}

// Violation is one thing a client did that the real server would take amiss. Tests assert that there are none.
type Violation struct {
	Phone  string // "" when not logged in
	Device uint16
	Rule   string
	Detail string
}

const (
	maxViolations = 1000
	maxUnknown    = 200
)

type violations struct {
	mu   sync.Mutex
	list []Violation
}

func (c *conn) violate(rule, detail string) {
	phone, id := c.name()
	c.s.log.Warn("protocol violation by client", "rule", rule, "detail", detail)
	v := &c.s.violations
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.list) < maxViolations {
		v.list = append(v.list, Violation{Phone: phone, Device: id, Rule: rule, Detail: detail})
	}
}

// bad records a violation that is answered with 400.
func (c *conn) bad(rule, detail string) *iqError {
	c.violate(rule, detail)
	return errBadRequest
}

// tags are the stanzas counted by name; any other counts as "other", so that clients cannot make the table grow.
func tags() [12]string {
	return [12]string{
		"iq", "message", "receipt", "ack", "notification", "presence", "chatstate", "ib", "call", "success", "failure", "stream:error",
	}
}

type tagCounter struct{ n [13]atomic.Int64 }

func (t *tagCounter) add(tag string) {
	for i, name := range tags() {
		if name == tag {
			t.n[i].Add(1)
			return
		}
	}
	t.n[len(t.n)-1].Add(1)
}

func (t *tagCounter) read() map[string]int64 {
	out := make(map[string]int64)
	for i, name := range tags() {
		if v := t.n[i].Load(); v > 0 {
			out[name] = v
		}
	}
	if v := t.n[len(t.n)-1].Load(); v > 0 {
		out["other"] = v
	}
	return out
}

type rates struct {
	received, sent tagCounter
	mu             sync.Mutex
	unknown        map[string]int
}

func (r *rates) unknownIQ(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unknown == nil {
		r.unknown = make(map[string]int)
	}
	if _, known := r.unknown[what]; known || len(r.unknown) < maxUnknown {
		r.unknown[what]++
	}
}

// Stats takes the picture. It walks all accounts, with one short lock each: not for every request.
func (s *Server) Stats() Stats {
	st := Stats{
		Received: s.rate.received.read(), Sent: s.rate.sent.read(),
		UnacknowledgedByPhone: make(map[string]int), Queues: make(map[string]int),
		Dropped: s.dropped.Load(), CutSlow: s.cut.Load(), StrayAcks: s.strayAcks.Load(), FaultsArmed: s.faults.armed(),
	}
	s.mu.RLock()
	st.Accounts, st.Connections, st.Groups = len(s.accounts), len(s.conns), len(s.groups)
	accounts := make([]*account, 0, len(s.accounts))
	for _, a := range s.accounts {
		accounts = append(accounts, a)
	}
	waiting := make(map[*pairing]struct{})
	for _, p := range s.refs {
		waiting[p] = struct{}{}
	}
	st.Unpaired = len(waiting)
	s.mu.RUnlock()
	for _, a := range accounts {
		for _, d := range a.all() {
			d.mu.Lock()
			n := len(d.queue.items)
			for _, e := range d.queue.items {
				if e.node.Tag == "message" {
					st.Messages++
				}
			}
			if d.active {
				st.Active++
			}
			d.mu.Unlock()
			if n > 0 {
				st.Unacknowledged += n
				st.UnacknowledgedByPhone[a.phone] += n
				st.Queues[a.phone+":"+strconv.Itoa(int(d.id))] = n
			}
		}
	}
	s.rate.mu.Lock()
	st.UnknownIQs = maps.Clone(s.rate.unknown)
	s.rate.mu.Unlock()
	s.violations.mu.Lock()
	st.Violations = append(st.Violations, s.violations.list...)
	s.violations.mu.Unlock()
	st.Blobs, st.BlobBytes = s.blobs.stat()
	return st
}
