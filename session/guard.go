package session

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/wafleet/wafleet/metrics"
)

// watch contains panics of one tenant's code: they are logged, counted, and go no further.
type watch struct {
	log     *slog.Logger
	metrics *metrics.Fleet
}

// contain is deferred by whatever runs a tenant's code. where is a fixed word. A panic becomes ErrPanicked in *err, unless err
// is nil. The panic's value is not logged: it may quote a message.
func (w *watch) contain(where string, err *error) {
	if v := recover(); v != nil {
		w.report(where, v)
		if err != nil {
			*err = fmt.Errorf("%s: %w", where, ErrPanicked)
		}
	}
}

func (w *watch) report(where string, v any) {
	w.metrics.Panic(where)
	kind := fmt.Sprintf("%T", v)
	if e, ok := v.(interface{ RuntimeError() }); ok { // index out of range and its like quote no content
		kind = fmt.Sprint(e)
	}
	w.log.Error("panic contained", "where", where, "panic", kind, "stack", string(debug.Stack()))
}

// group owns goroutines that come and go. Once it is closed it starts no more.
type group struct {
	watch *watch

	mu     sync.Mutex
	n      int
	closed bool
	empty  chan struct{} // made by close; closed when the last has ended
}

// run starts fn in a goroutine of the group, unless the group is closed. where names it if it panics.
func (g *group) run(where string, fn func()) bool {
	if !g.enter() {
		return false
	}
	go func() {
		defer g.leave()
		defer g.watch.contain(where, nil)
		fn()
	}()
	return true
}

// enter counts the caller's own goroutine in until leave, unless the group is closed.
func (g *group) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.n++
	return true
}

func (g *group) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.n == 0 && g.empty != nil {
		close(g.empty)
	}
}

func (g *group) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// close lets nobody in any more. The channel is closed when all have left.
func (g *group) close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.empty == nil {
		g.empty = make(chan struct{})
		if g.n == 0 {
			close(g.empty)
		}
	}
	return g.empty
}

// await waits for a channel to be closed or for the context.
func await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
