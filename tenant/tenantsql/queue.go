package tenantsql

import (
	"context"
	"errors"
	"runtime"

	"github.com/wafleet/wafleet/tenant"
)

// queue takes what callers want to have done, for one goroutine that does together what has piled up. So nobody waits for company while
// there is little to do, and much costs little.
//
//	callers ──▶ queue ──▶ gather ──▶ do ──▶ answer each
type queue[W waiter] struct {
	waiting chan W
	stop    chan struct{} // closed by close: no more are taken
	ended   chan struct{} // closed by run: all that were taken have been answered
	most    int           // that are done together
	size    int           // that they may have together, but for the last one
	// yields says that whoever is ready to run comes first, since some of them may be about to join: where doing it is so quick that little
	// piles up meanwhile. That waits for nothing while there is little to do.
	yields bool
}

// wish is the part of a [waiter] that the queue needs to know of.
type wish struct {
	size int
	// left is closed when the caller no longer waits.
	left <-chan struct{}
	// reply gets the outcome, once; buffered, since the caller may have left.
	reply chan error
}

// waiter is what waits in a queue: what embeds a wish.
type waiter interface{ is() *wish }

func (w *wish) is() *wish { return w }

// errLeft says that the caller left while its wish may be under way.
var errLeft = errors.New("left before the answer")

func newQueue[W waiter](length, most, size int) *queue[W] {
	return &queue[W]{
		waiting: make(chan W, length), stop: make(chan struct{}), ended: make(chan struct{}), most: most, size: size,
	}
}

// close refuses what comes from now on, and waits until what was taken is done.
func (q *queue[W]) close() {
	close(q.stop)
	<-q.ended
}

// closing says whether close was called.
func (q *queue[W]) closing() bool {
	select {
	case <-q.stop:
		return true
	default:
		return false
	}
}

// await puts something in the queue and waits for its outcome. After errLeft what was asked for may still be done.
func (q *queue[W]) await(ctx context.Context, w W) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	mine := w.is()
	mine.left, mine.reply = ctx.Done(), make(chan error, 1)
	if q.closing() {
		return tenant.ErrClosed
	}
	select {
	case q.waiting <- w:
	case <-q.stop:
		return tenant.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-mine.reply:
		return err
	case <-ctx.Done():
		return errors.Join(errLeft, context.Cause(ctx))
	case <-q.ended:
	}
	select { // it was answered just before the end, or came too late to be taken
	case err := <-mine.reply:
		return err
	default:
		return tenant.ErrClosed
	}
}

// run has what waits done, until close was called and nothing waits. do answers all that it is given.
func (q *queue[W]) run(do func([]W)) {
	defer close(q.ended)
	for {
		select {
		case w := <-q.waiting:
			if q.yields {
				runtime.Gosched()
			}
			do(q.gather(w))
			continue
		case <-q.stop:
		}
		for {
			select {
			case w := <-q.waiting:
				do(q.gather(w))
			default:
				return
			}
		}
	}
}

// gather takes what waits, without waiting for more.
func (q *queue[W]) gather(first W) []W {
	together := []W{first}
	for size := first.is().size; len(together) < q.most && size < q.size; {
		select {
		case w := <-q.waiting:
			together = append(together, w)
			size += w.is().size
		default:
			return together
		}
	}
	return together
}

// staying leaves out those whose callers have left.
func staying[W waiter](all []W) []W {
	kept := all[:0:0]
	for _, w := range all {
		select {
		case <-w.is().left:
			w.is().reply <- context.Canceled // nobody reads it
		default:
			kept = append(kept, w)
		}
	}
	return kept
}

// answer tells all of them the same.
func answer[W waiter](all []W, err error) {
	for _, w := range all {
		w.is().reply <- err
	}
}
