package session

import (
	"context"
	"sync"
	"time"
)

// rush is while sessions take in what waited for them at WhatsApp: when a node starts, all of them do. What a session looks up after its login
// for the fleet's own sake (its groups, whom it blocks) waits until that is over, or for its patience: messages come first, those of other
// tenants included. What is stored of both is right but for what WhatsApp did not tell of while the session was away.
type rush struct {
	patience time.Duration // also what one session may take of the others'

	mu   sync.Mutex
	busy int
	over chan struct{} // closed and made anew when nobody is busy any more; nil while nobody is
}

// enter counts a session in, until it leaves or its time is up.
func (r *rush) enter() (leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy++; r.over == nil {
		r.over = make(chan struct{})
	}
	out := sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.busy--; r.busy == 0 {
			close(r.over)
			r.over = nil
		}
	})
	timer := time.AfterFunc(r.patience, out)
	return func() {
		timer.Stop()
		out()
	}
}

// wait returns when the rush is over, or patience is.
func (r *rush) wait(ctx context.Context) {
	r.mu.Lock()
	over := r.over
	r.mu.Unlock()
	if over == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	_ = await(ctx, over)
}
