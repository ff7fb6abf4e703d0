package session

import (
	"context"
	"sync"

	"github.com/wafleet/wafleet/tenant"
)

// outbox knows which of the tenant's messages are on their way, and stores what became of them. It outlives connections.
type outbox struct {
	mu       sync.Mutex
	underway map[tenant.MessageID]struct{} // being sent, or sent with the news not stored yet
	news     []tenant.SetStatus
	running  bool
}

// take claims a message for sending. False if somebody has it.
func (o *outbox) take(id tenant.MessageID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, taken := o.underway[id]; taken {
		return false
	}
	if o.underway == nil {
		o.underway = make(map[tenant.MessageID]struct{})
	}
	o.underway[id] = struct{}{}
	return true
}

// has says whether somebody has a message.
func (o *outbox) has(id tenant.MessageID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, taken := o.underway[id]
	return taken
}

// release gives a message back that was not acknowledged.
func (o *outbox) release(ids ...tenant.MessageID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		delete(o.underway, id)
	}
	if len(o.underway) == 0 {
		o.underway = nil
	}
}

// maxNews bounds one commit of statuses.
const maxNews = 100

// settled stores what became of a message that was taken, soon and in any case, and releases it then.
func (a *actor) settled(change tenant.SetStatus) {
	o := &a.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	o.news = append(o.news, change)
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
		}
		o.release(ids...)
	}
}
