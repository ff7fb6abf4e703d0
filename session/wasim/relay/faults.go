package relay

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// FaultKind says what goes wrong.
type FaultKind string

// The faults. "Connections" are those of matching devices, see [Fault].
const (
	FaultDrop           FaultKind = "drop"            // TCP is cut without a word
	FaultStall          FaultKind = "stall"           // the connection stays, but nothing is read any more and nothing written
	FaultStreamError    FaultKind = "stream-error"    // <stream:error code=Code>; 401 as device_removed (the device stays registered), 409 as replaced
	FaultConnectFailure FaultKind = "connect-failure" // the next logins are answered <failure reason=Code>; default 503
	FaultSlow           FaultKind = "slow"            // queued stanzas are delivered with Delay before each; default 100 ms
	FaultDuplicate      FaultKind = "duplicate"       // messages are delivered twice, one right behind the other
	FaultReorder        FaultKind = "reorder"         // two neighbouring messages change places
	FaultNack           FaultKind = "nack"            // messages of matching senders are refused: <ack error=Code>; default 479
	FaultFirstContact   FaultKind = "first-contact"   // messages to users who never wrote to the sender need a privacy token: <ack error=Code>, default 463
	FaultSilence        FaultKind = "silence"         // messages of matching devices to their own phone are lost: not acknowledged, not delivered
	FaultMedia          FaultKind = "media"           // downloads of files are answered with HTTP status Code; default 404
	FaultPasskey        FaultKind = "passkey"         // companions that phones link are asked for the account's passkey, and are not linked
)

// Fault is something that goes wrong from now on.
//
// It hits companion devices only, unless Primary is set: a phone would not survive a 401. Phone "" means all accounts, and for
// connect-failure also companions that are not paired yet. Device, if set, narrows it to one device of the phone. Downloads say nothing of
// who asks: media hits everybody's and takes neither.
//
// Count is how often it strikes. 0 means for drop, stall and stream-error every matching connection open now and none to come, for slow, silence and
// first-contact until ClearFaults, for the others once. A number counts connections (open ones first, then those that become active), logins,
// stanzas or downloads. A negative one means until ClearFaults.
//
// A refused message was not accepted: nobody gets it, and its sender may send the same id again. Peer messages and repetitions asked for by a
// retry receipt are not refused.
type Fault struct {
	Kind    FaultKind
	Phone   string
	Primary bool
	Device  uint16
	Code    int
	Count   int
	Delay   time.Duration
}

const (
	maxFaults     = 1000
	defaultDelay  = 100 * time.Millisecond
	reorderWindow = time.Second // a message waits so long for a neighbour
	forever       = -1
)

type faults struct {
	count atomic.Int64 // of rules: without any nobody takes the lock
	mu    sync.Mutex
	rules []*Fault
}

// Fault makes something go wrong. Errors: ErrInvalidFault, ErrUnknownAccount.
func (s *Server) Fault(f Fault) error {
	now := false
	switch f.Kind {
	case FaultDrop, FaultStall, FaultStreamError:
		now = true
	case FaultConnectFailure:
		f.Code = defaultTo(f.Code, 503)
		f.Count = defaultTo(f.Count, 1)
	case FaultDuplicate, FaultReorder, FaultPasskey:
		f.Count = defaultTo(f.Count, 1)
	case FaultNack:
		f.Code, f.Count = defaultTo(f.Code, 479), defaultTo(f.Count, 1)
	case FaultSilence:
		f.Count = defaultTo(f.Count, forever)
	case FaultFirstContact:
		f.Code, f.Count = defaultTo(f.Code, 463), defaultTo(f.Count, forever)
	case FaultMedia:
		f.Code, f.Count = defaultTo(f.Code, 404), defaultTo(f.Count, 1)
		if f.Phone != "" || f.Device != 0 || f.Code < 400 || f.Code > 599 {
			return fmt.Errorf("%w: media takes no phone and no device, and a code from 400 to 599", ErrInvalidFault)
		}
	case FaultSlow:
		f.Count = defaultTo(f.Count, forever)
		if f.Delay == 0 {
			f.Delay = defaultDelay
		}
	default:
		return fmt.Errorf("%w: unknown kind", ErrInvalidFault)
	}
	if f.Code < 0 || f.Code > 999 || f.Delay < 0 || f.Delay > time.Minute {
		return fmt.Errorf("%w: code must be 0 to 999, delay at most a minute", ErrInvalidFault)
	}
	if f.Phone != "" && s.account(f.Phone) == nil {
		return fmt.Errorf("%w: %s", ErrUnknownAccount, redact(f.Phone))
	}
	if now {
		if f.Count = s.strike(f); f.Count == 0 {
			return nil
		}
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if len(s.faults.rules) >= maxFaults {
		return fmt.Errorf("%w: too many are armed", ErrInvalidFault)
	}
	s.faults.rules = append(s.faults.rules, &f)
	s.faults.count.Store(int64(len(s.faults.rules)))
	return nil
}

func defaultTo(n, value int) int {
	if n == 0 {
		return value
	}
	return n
}

// ClearFaults ends all faults that are still to strike. Connections stalled already stay so until their clients leave.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.rules = nil
	s.faults.count.Store(0)
}

// strike hits the open connections, and returns how often the fault may strike later.
func (s *Server) strike(f Fault) (left int) {
	left = f.Count
	s.mu.RLock()
	var hit []*conn
	for c := range s.conns {
		hit = append(hit, c)
	}
	s.mu.RUnlock()
	for _, c := range hit {
		d := c.device()
		if d == nil || !f.hits(d.acct.phone, d.id) || c.isEnded() {
			continue
		}
		if f.Count > 0 && left == 0 {
			break
		}
		c.suffer(f)
		if f.Count > 0 {
			left--
		}
	}
	return left
}

// hits says whether the fault is meant for a device.
func (f *Fault) hits(phone string, id uint16) bool {
	return (f.Phone == "" || f.Phone == phone) && (f.Primary || id != 0) && (f.Device == 0 || f.Device == id)
}

// suffer does to a connection what happens to connections.
func (c *conn) suffer(f Fault) {
	switch f.Kind {
	case FaultStall:
		c.stalled.Store(true)
	case FaultStreamError:
		switch f.Code {
		case 0:
			c.streamError("")
		case 401:
			c.streamError("401", node{Tag: "conflict", Attrs: attrs{"type": "device_removed"}})
		case 409:
			c.streamError("", node{Tag: "conflict", Attrs: attrs{"type": "replaced"}})
		default:
			c.streamError(strconv.Itoa(f.Code))
		}
	case FaultDrop, FaultConnectFailure, FaultSlow, FaultDuplicate, FaultReorder, FaultNack, FaultFirstContact, FaultSilence, FaultMedia,
		FaultPasskey:
		c.cut()
	}
}

// take finds a rule that strikes and counts it.
func (fs *faults) take(phone string, id uint16, kinds ...FaultKind) (Fault, bool) {
	if fs.count.Load() == 0 {
		return Fault{}, false
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for i, f := range fs.rules {
		if !slices.Contains(kinds, f.Kind) || !f.hits(phone, id) {
			continue
		}
		if f.Count > 0 {
			if f.Count--; f.Count == 0 {
				fs.rules = slices.Delete(fs.rules, i, i+1)
				fs.count.Store(int64(len(fs.rules)))
			}
		}
		return *f, true
	}
	return Fault{}, false
}

func (fs *faults) armed() int { return int(fs.count.Load()) }

// refusal says whether a login is to be refused.
func (fs *faults) refusal(phone string, id uint16) (code int, ok bool) {
	f, ok := fs.take(phone, id, FaultConnectFailure)
	return f.Code, ok
}

// onActive strikes a connection that has just become active.
func (fs *faults) onActive(c *conn) {
	if f, ok := fs.take(c.dev.acct.phone, c.dev.id, FaultDrop, FaultStall, FaultStreamError); ok {
		c.suffer(f)
	}
}

// nack says whether a message is to be refused, and with what code.
func (fs *faults) nack(c *conn, n *node) (code string, refused bool) {
	if fs.count.Load() == 0 || has(n, "enc") && !hasSenderKey(n) {
		return "", false
	}
	f, refused := fs.take(c.dev.acct.phone, c.dev.id, FaultNack)
	return strconv.Itoa(f.Code), refused
}

// hasSenderKey tells a message to a group from what is for one device.
func hasSenderKey(n *node) bool {
	return slices.ContainsFunc(n.GetChildrenByTag("enc"), func(enc node) bool { return str(&enc, "type") == "skmsg" })
}

// media says whether a download is to fail, and with what status.
func (fs *faults) media() (status int, ok bool) {
	f, ok := fs.take("", 1, FaultMedia)
	return f.Code, ok
}

func (fs *faults) delay(c *conn) time.Duration {
	f, _ := fs.take(c.dev.acct.phone, c.dev.id, FaultSlow)
	return f.Delay
}

// copies is how often a stanza is to be written.
func (fs *faults) copies(c *conn, n *node) int {
	if n.Tag != "message" {
		return 1
	}
	if _, ok := fs.take(c.dev.acct.phone, c.dev.id, FaultDuplicate); ok {
		return 2
	}
	return 1
}

// expects says whether a rule waits to strike, without counting it.
func (fs *faults) expects(phone string, id uint16, kind FaultKind) bool {
	if fs.count.Load() == 0 {
		return false
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return slices.ContainsFunc(fs.rules, func(f *Fault) bool { return f.Kind == kind && f.hits(phone, id) })
}

// reorder swaps the next message with the one behind it, if a fault wants that. The device's lock is held. False means to wait for a
// neighbour: the sweeper looks again.
func (q *queue) reorder(c *conn) bool {
	fs, d := &c.s.faults, c.dev
	if q.items[q.next].node.Tag != "message" || !fs.expects(d.acct.phone, d.id, FaultReorder) {
		c.held.Store(false)
		return true
	}
	for i := q.next + 1; i < len(q.items); i++ {
		if q.items[i].node.Tag != "message" {
			continue
		}
		if _, ok := fs.take(d.acct.phone, d.id, FaultReorder); ok {
			q.items[q.next], q.items[i] = q.items[i], q.items[q.next]
		}
		q.heldSince = time.Time{}
		c.held.Store(false)
		return true
	}
	if q.heldSince.IsZero() {
		q.heldSince = time.Now()
	}
	if time.Since(q.heldSince) > reorderWindow {
		q.heldSince = time.Time{}
		c.held.Store(false)
		return true
	}
	c.held.Store(true)
	return false
}
