package session

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

// outbox knows which of the tenant's messages are on their way, and stores what became of them. It outlives connections.
type outbox struct {
	// given counts what may be pending with nobody sending it, clear is the count as of a look that found nothing.
	given, clear atomic.Int64
	// unsure is set by a commit whose outcome is not known: it may still store a message, whenever that is.
	unsure atomic.Bool

	mu       sync.Mutex
	underway map[tenant.MessageID]fate // being sent, or sent with the news not stored yet
	news     []tenant.SetStatus
	running  bool
}

// fate is what became of a message; the zero fate is that of one on its way.
type fate struct {
	status tenant.Status
	at     time.Time // by WhatsApp's clock; zero if it did not say
}

// take claims a message for sending. False if somebody has it.
func (o *outbox) take(id tenant.MessageID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, taken := o.underway[id]; taken {
		return false
	}
	if o.underway == nil {
		o.underway = make(map[tenant.MessageID]fate)
	}
	o.underway[id] = fate{}
	return true
}

// has says whether somebody has a message.
func (o *outbox) has(id tenant.MessageID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, taken := o.underway[id]
	return taken
}

// release gives messages back whose fate is not stored.
func (o *outbox) release(ids ...tenant.MessageID) {
	o.given.Add(1) // first: who looks for pending messages must not pass one over that nobody has
	o.drop(ids)
}

// owes says whether messages may be pending that nobody is sending. Who looks and finds none tells: o.owesNone(seen).
func (o *outbox) owes() (seen int64, may bool) {
	seen = o.given.Load()
	return seen, seen != o.clear.Load() || o.unsure.Load()
}

func (o *outbox) owesNone(seen int64) { o.clear.Store(seen) }

func (o *outbox) drop(ids []tenant.MessageID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		delete(o.underway, id)
	}
	if len(o.underway) == 0 {
		o.underway = nil
	}
}

// unstored is what became of messages as far as it is not stored yet; nil if all of it is. Whoever reads messages looks here first: what has
// left is stored.
func (o *outbox) unstored() fates {
	o.mu.Lock()
	defer o.mu.Unlock()
	var known fates
	for id, came := range o.underway {
		if came.status == tenant.StatusPending {
			continue
		}
		if known == nil {
			known = make(fates)
		}
		known[id] = came
	}
	return known
}

// maxNews bounds one commit of statuses.
const maxNews = 100

// settled stores what became of a message that was taken, soon and in any case, and releases it then.
func (a *actor) settled(change tenant.SetStatus) {
	o := &a.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	o.news = append(o.news, change)
	for _, id := range change.MessageIDs {
		if _, taken := o.underway[id]; taken {
			o.underway[id] = fate{change.Status, change.Timestamp}
		}
	}
	if !o.running {
		// Not started only when the session has come to rest: the message stays pending and goes out again, under its id.
		o.running = a.tasks.run("statuses", a.storeNews)
	}
}

func (a *actor) storeNews() {
	o := &a.outbox
	for {
		o.mu.Lock()
		n := min(len(o.news), maxNews)
		if n == 0 {
			o.running, o.news = false, nil
			o.mu.Unlock()
			return
		}
		batch := o.news[:n:n]
		o.news = o.news[n:]
		o.mu.Unlock()

		changes := make([]tenant.Change, 0, n)
		ids := make([]tenant.MessageID, 0, n)
		for _, s := range batch {
			changes = append(changes, s)
			ids = append(ids, s.MessageIDs...)
		}
		err := retryStore(a.life, a.fleet.pace.StoreTimeout, func(ctx context.Context) (err error) {
			defer a.watch.contain("statuses", &err)
			_, err = a.handle.Commit(ctx, changes...)
			return err
		})
		if err != nil {
			a.log.Warn("statuses of sent messages were not stored", "count", n, "error", err)
			o.release(ids...)
			continue
		}
		o.drop(ids)
	}
}
