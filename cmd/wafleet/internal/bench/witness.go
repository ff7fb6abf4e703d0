package bench

import (
	"slices"
	"sync"
	"time"

	"github.com/wafleet/wafleet/session/wasim/relay"
)

// witness counts what the simulator sees of the companions under test.
type witness struct {
	mu       sync.Mutex
	waiting  map[messageKey]int       // messages that were queued: how often each was acknowledged
	acked    int                      // of waiting, at least once
	came     map[messageKey]time.Time // when the first copy was written to the companion's socket
	taken    []time.Duration          // from then to the acknowledgement, of each message
	online   map[string]bool          // companions that opened their queue
	tally    tally
	progress chan struct{} // buffered 1: something was acknowledged or came online
}

type messageKey struct{ phone, id string }

// tally is what happened to the messages of one variant.
type tally struct {
	Queued       int       `json:"queued"`
	Acknowledged int       `json:"acknowledged"`
	Twice        int       `json:"twice"`      // acknowledgements of what was acknowledged already
	Unexpected   int       `json:"unexpected"` // of what nobody queued
	Retries      int       `json:"retries"`    // retry receipts: the device could not decrypt
	Refused      int       `json:"refused"`    // acknowledgements with an error
	Dropped      int       `json:"dropped"`    // by the simulator: its queue was full
	First        time.Time `json:"first"`
	Last         time.Time `json:"last"`
	Latency      Latency   `json:"latency"` // filled in when all is acknowledged
}

func newWitness() *witness {
	return &witness{
		waiting: make(map[messageKey]int), came: make(map[messageKey]time.Time), online: make(map[string]bool),
		progress: make(chan struct{}, 1),
	}
}

// expect says that a message lies in a companion's queue.
func (w *witness) expect(phone, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting[messageKey{phone, id}] = 0
}

// see is called by the relay for all that happens.
func (w *witness) see(o relay.Observation) {
	if o.Device == 0 { // phones, whose side is not measured
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch o.Kind { //nolint:exhaustive // the rest is of no interest here
	case relay.Activated:
		w.online[o.Phone] = true
	case relay.RetryRequested:
		w.tally.Retries++
	case relay.Refused:
		w.tally.Refused++
	case relay.Dropped:
		w.tally.Dropped++
	case relay.Delivered:
		if key := (messageKey{o.Phone, o.ID}); o.Tag == "message" && w.came[key].IsZero() {
			w.came[key] = o.At
		}
		return
	case relay.Acknowledged:
		if o.Tag != "message" {
			return
		}
		w.acknowledged(messageKey{o.Phone, o.ID}, o.At)
	default:
		return
	}
	select {
	case w.progress <- struct{}{}:
	default: // whoever waits is woken already
	}
}

// acknowledged is for who holds the lock.
func (w *witness) acknowledged(key messageKey, at time.Time) {
	times, known := w.waiting[key]
	switch {
	case !known:
		w.tally.Unexpected++
		return
	case times > 0:
		w.tally.Twice++
	default:
		w.acked++
		if came := w.came[key]; !came.IsZero() { // the socket may be faster than whoever tells of it
			w.taken = append(w.taken, max(0, at.Sub(came)))
		}
	}
	w.waiting[key]++
	if w.tally.First.IsZero() || at.Before(w.tally.First) {
		w.tally.First = at
	}
	if at.After(w.tally.Last) {
		w.tally.Last = at
	}
}

func (w *witness) counts() (t tally, online int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t = w.tally
	t.Queued, t.Acknowledged = len(w.waiting), w.acked
	return t, len(w.online)
}

// latency is how long the messages took from the socket to their acknowledgement.
func (w *witness) latency() Latency {
	w.mu.Lock()
	defer w.mu.Unlock()
	return latencyOf(w.taken)
}

// Latency is how long something took, in milliseconds.
type Latency struct {
	P50MS float64 `json:"p50Ms"`
	P99MS float64 `json:"p99Ms"`
}

func latencyOf(taken []time.Duration) Latency {
	if len(taken) == 0 {
		return Latency{}
	}
	taken = slices.Sorted(slices.Values(taken))
	at := func(percent int) float64 { return milliseconds(taken[(len(taken)-1)*percent/100]) }
	return Latency{P50MS: at(50), P99MS: at(99)}
}
