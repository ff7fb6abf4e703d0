package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/wafleet/wafleet/tenant"
)

// ErrKeyReused says that an idempotency key stands for another request.
var ErrKeyReused = errors.New("idempotency key was used for another request")

// RequestKey is a request's idempotency key, and what tells the request from others.
type RequestKey struct {
	Key     string
	Request [sha256.Size]byte
}

// maxOnce is how often a request looks for its answer: again when another stored one in between.
const maxOnce = 3

// Once sends once, however often it is called with the same key: what send stores is stored with the key in one commit, and whoever
// calls again gets the message as it is now. While it is still pending it is sent again, under its id, and waited for. Callers at the
// same time share the outcome of the first. What fails before the message is stored leaves no key behind.
//
// Returns ErrKeyReused, what send does, and for a message that is stored already [tenant.ErrChatNotFound] and
// [tenant.ErrMessageNotFound] if it was deleted here since, *[OfflineError] with Pending, *[UnansweredError], *[RejectedError].
func (f *Fleet) Once(
	ctx context.Context, id tenant.ID, key RequestKey, send func(context.Context) (tenant.Message, error),
) (tenant.Message, error) {
	for {
		mine, other := f.twins.enter(twinKey{id, key.Key}, key.Request)
		if other == nil {
			return f.first(ctx, id, mine, key, send)
		}
		if other.request != key.Request {
			return tenant.Message{}, ErrKeyReused
		}
		if err := await(ctx, other.done); err != nil {
			return tenant.Message{}, err
		}
		if !other.left {
			return other.msg, other.err
		}
	}
}

// first is Once for the one that others wait for.
func (f *Fleet) first(
	ctx context.Context, id tenant.ID, t *twin, key RequestKey, send func(context.Context) (tenant.Message, error),
) (msg tenant.Message, err error) {
	defer func() {
		t.msg, t.err, t.left = msg, err, err != nil && ctx.Err() != nil
		f.twins.leave(twinKey{id, key.Key}, t)
	}()
	defer f.watch.contain("send", &err)
	h := f.cfg.Store.Tenant(id)
	for range maxOnce {
		switch answer, err := h.Answer(ctx, key.Key); {
		case errors.Is(err, tenant.ErrAnswerNotFound):
		case err != nil:
			return tenant.Message{}, fmt.Errorf("find the answer: %w", err)
		case !bytes.Equal(answer.Request, key.Request[:]):
			return tenant.Message{}, ErrKeyReused
		default:
			return f.goOn(ctx, id, answer)
		}
		msg, err = send(context.WithValue(ctx, requestKey{}, key))
		if !errors.Is(err, tenant.ErrKeyTaken) { // by an earlier call whose caller did not wait for its commit
			return msg, err
		}
	}
	return tenant.Message{}, ErrBusy
}

type requestKey struct{}

// answers is the change that keeps a message as the answer to the request that is under way in ctx, if that has a key.
func answers(ctx context.Context, m *tenant.Message) []tenant.Change {
	key, ok := ctx.Value(requestKey{}).(RequestKey)
	if !ok {
		return nil
	}
	return []tenant.Change{tenant.KeepAnswer{Key: key.Key, Answer: tenant.Answer{
		Request: key.Request[:], ChatID: m.ChatID, SenderID: m.SenderID, MessageID: m.ID,
	}}}
}

// goOn returns a message that an earlier call has stored, once it is no longer pending. Errors are those of [Fleet.Once].
func (f *Fleet) goOn(ctx context.Context, id tenant.ID, answer tenant.Answer) (tenant.Message, error) {
	h := f.cfg.Store.Tenant(id)
	wake, stop := h.Watch() // its status is an event
	defer stop()
	var resent <-chan struct{}
	tried := false
	for {
		// Looked at before the message is: what has left the outbox has its status stored.
		underway := f.underway(id, answer.MessageID)
		msg, err := h.Message(ctx, answer.ChatID, answer.MessageID, answer.SenderID)
		switch {
		case err != nil:
			return tenant.Message{}, fmt.Errorf("find the message: %w", err)
		case msg.Status == tenant.StatusFailed:
			return msg, &RejectedError{Message: msg}
		case msg.Status != tenant.StatusPending:
			return msg, nil
		case tried && !underway:
			return msg, &UnansweredError{Message: msg, Err: ErrNoAnswer}
		}
		c, err := f.reach(ctx, id)
		if err == nil && resent == nil {
			resent, err = c.resendNow() //nolint:contextcheck // what is sent again goes on when the caller leaves
		}
		if offline, ok := errors.AsType[*OfflineError](err); ok {
			offline.Pending = msg.ID
		}
		if err != nil {
			return msg, err
		}
		waiting := resent
		if tried {
			waiting = nil
		}
		select {
		case <-wake:
		case <-waiting:
			tried = true
		case <-ctx.Done():
			return msg, &UnansweredError{Message: msg, Err: context.Cause(ctx)}
		}
	}
}

// underway says whether a message of the tenant's is on its way.
func (f *Fleet) underway(id tenant.ID, message tenant.MessageID) bool {
	a := f.running(id)
	return a != nil && a.outbox.has(message)
}

// resendNow sends what is pending again, oldest first; done is closed when all was tried. It is for who has seen that something is. Returns
// *OfflineError.
func (c *conn) resendNow() (done <-chan struct{}, err error) {
	c.actor.outbox.given.Add(1)
	ended := make(chan struct{})
	if !c.sends.run("resend", func() {
		defer close(ended)
		c.resend()
	}) {
		return nil, c.offline()
	}
	return ended, nil
}

// twins are the requests with an idempotency key that are under way on this node.
type twins struct {
	mu  sync.Mutex
	all map[twinKey]*twin
}

type twinKey struct {
	tenant tenant.ID
	key    string
}

// twin is a request that others with its key wait for. What follows done is written before that is closed.
type twin struct {
	request [sha256.Size]byte
	done    chan struct{}

	msg  tenant.Message
	err  error
	left bool // it gave up waiting, which says nothing to others
}

// enter returns the caller's own request, or the one that is under way already.
func (t *twins) enter(key twinKey, request [sha256.Size]byte) (mine, other *twin) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if other, ok := t.all[key]; ok {
		return nil, other
	}
	if t.all == nil {
		t.all = make(map[twinKey]*twin)
	}
	mine = &twin{request: request, done: make(chan struct{})}
	t.all[key] = mine
	return mine, nil
}

func (t *twins) leave(key twinKey, mine *twin) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, key)
	if len(t.all) == 0 {
		t.all = nil
	}
	close(mine.done)
}
