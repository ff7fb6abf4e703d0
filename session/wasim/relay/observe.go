package relay

import "time"

// Kind says what an [Observation] saw.
type Kind string

// What can be observed.
const (
	Accepted       Kind = "accepted"        // a message was taken from its sender: it lies in every queue and is about to be acknowledged
	Repeated       Kind = "repeated"        // a sender sent a message id again; acknowledged again, delivered no second time
	Delivered      Kind = "delivered"       // a stanza was written to a device's socket (again, after a reconnect)
	Acknowledged   Kind = "acknowledged"    // a device acknowledged a stanza: it left the queue
	ReceiptSent    Kind = "receipt"         // a device sent a receipt (delivery, read, sender, …)
	RetryRequested Kind = "retry"           // a device sent a retry receipt: it could not decrypt
	Refused        Kind = "refused"         // a device acknowledged a message with an error code
	Dropped        Kind = "dropped"         // a stanza found a device's queue full and was lost
	LoggedIn       Kind = "logged-in"       // a device logged in
	Activated      Kind = "activated"       // a device asked for its queue
	Gone           Kind = "gone"            // a device's connection ended
	Paired         Kind = "paired"          // a companion was stored
	Unlinked       Kind = "unlinked"        // a companion was removed
	LoginRefused   Kind = "login-refused"   // a login was answered with a failure, its reason in Code
	PreKeysFetched Kind = "prekeys-fetched" // one bundle of the device was handed out; Code is 1 with and 0 without a one-time key
)

// Observation is one thing the relay did or saw. Phone and Device name the device it happened to.
type Observation struct {
	Kind   Kind
	Phone  string
	Device uint16
	Tag    string // message, receipt or notification
	Type   string // type attribute of the stanza; of receipts "" means delivered
	ID     string // id of the stanza; for receipts of the message
	Peer   string // phone number of the other side, if there is one
	Group  string // id of the group it happened in, if it did
	Code   int
	At     time.Time
}

// Observe calls fn for everything that happens from now on, until stop. fn is called outside all locks, on the goroutine of the connection
// that caused it, possibly several at once: it must be quick and may call the Server's methods.
func (s *Server) Observe(fn func(Observation)) (stop func()) {
	o := &observer{fn: fn}
	s.observersMu.Lock()
	defer s.observersMu.Unlock()
	s.setObservers(append(s.observerList(), o))
	return func() {
		s.observersMu.Lock()
		defer s.observersMu.Unlock()
		var rest []*observer
		for _, other := range s.observerList() {
			if other != o {
				rest = append(rest, other)
			}
		}
		s.setObservers(rest)
	}
}

type observer struct{ fn func(Observation) }

// observerList is a copy: emit reads the stored slice without a lock.
func (s *Server) observerList() []*observer {
	if list := s.observers.Load(); list != nil {
		return append([]*observer(nil), *list...)
	}
	return nil
}

func (s *Server) setObservers(list []*observer) { s.observers.Store(&list) }

func (s *Server) emit(o Observation) {
	list := s.observers.Load()
	if list == nil || len(*list) == 0 {
		return
	}
	o.At = time.Now()
	for _, each := range *list {
		each.fn(o)
	}
}
