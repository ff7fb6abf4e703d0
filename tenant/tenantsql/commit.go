package tenantsql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	// maxBatchChanges bounds a transaction where callers bring many changes each.
	maxBatchChanges = 4096
	// maxConflicts is how often a transaction is run again that lost against another writer.
	maxConflicts = 8
)

// job is what one caller wants to have done in a transaction.
type job struct {
	// apply does it. It may be called again after a transaction that failed, and starts from nothing then.
	apply func(context.Context, *batch) error
	// size is how many changes it makes.
	size int
	// left is closed when the caller no longer waits; a job that was not begun by then is dropped.
	left <-chan struct{}
	// reply gets the outcome, once; buffered, since the caller may have left.
	reply chan error
}

// committer owns all transactions that change what tenants own.
//
//	callers ──▶ queue ──▶ gather ──▶ BEGIN · apply each · flush · COMMIT ──▶ answer each, wake watchers
type committer struct {
	store    *Store
	db       *dbutil.Database
	log      *slog.Logger
	metrics  Metrics
	timeout  time.Duration
	maxBatch int

	queue chan *job
	stop  chan struct{} // closed by close: no more jobs are taken
	ended chan struct{} // closed by run: all jobs taken have been answered

	// heads holds what was committed last of tenants, so that a commit need not read it. Touched by run alone. Whenever a
	// transaction fails, or its outcome is unknown, what it touched is forgotten.
	heads *lru.Cache[tenant.ID, head]
}

func newCommitter(ctx context.Context, s *Store, cfg Config) *committer {
	heads, _ := lru.New[tenant.ID, head](defaultHeads) // fails for sizes below 1 only
	c := &committer{
		store: s, db: s.writer, log: cfg.Log, metrics: cfg.Metrics,
		timeout: cfg.CommitTimeout, maxBatch: cfg.MaxBatch,
		queue: make(chan *job, cfg.QueueSize),
		stop:  make(chan struct{}),
		ended: make(chan struct{}),
		heads: heads,
	}
	go c.run(ctx)
	return c
}

// close refuses new jobs and waits until those taken are done.
func (c *committer) close() {
	close(c.stop)
	<-c.ended
}

// do queues a job and waits for its outcome. After an error it is unknown what was done, unless apply returned it.
func (c *committer) do(ctx context.Context, size int, apply func(context.Context, *batch) error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	j := &job{apply: apply, size: size, left: ctx.Done(), reply: make(chan error, 1)}
	select {
	case <-c.stop:
		return tenant.ErrClosed
	default:
	}
	select {
	case c.queue <- j:
	case <-c.stop:
		return tenant.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-j.reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.ended:
	}
	select { // it was answered just before the end, or came too late to be taken
	case err := <-j.reply:
		return err
	default:
		return tenant.ErrClosed
	}
}

func (c *committer) run(ctx context.Context) {
	defer close(c.ended)
	for {
		select {
		case j := <-c.queue:
			c.commit(ctx, c.gather(j))
			continue
		case <-c.stop:
		}
		for {
			select {
			case j := <-c.queue:
				c.commit(ctx, c.gather(j))
			default:
				return
			}
		}
	}
}

// gather takes what is queued, without waiting for more.
func (c *committer) gather(first *job) []*job {
	jobs := []*job{first}
	changes := first.size
	for len(jobs) < c.maxBatch && changes < maxBatchChanges {
		select {
		case j := <-c.queue:
			jobs = append(jobs, j)
			changes += j.size
		default:
			c.metrics.QueueLength(0)
			return jobs
		}
	}
	c.metrics.QueueLength(len(c.queue))
	return jobs
}

// commit answers all jobs. A job that makes the transaction fail is told so, and the others are run again without it.
func (c *committer) commit(ctx context.Context, jobs []*job) {
	for conflicts := 0; ; {
		jobs = waiting(jobs)
		if len(jobs) == 0 {
			return
		}
		culprit, err := c.transact(ctx, jobs)
		switch {
		case err == nil:
			return
		case worthRetrying(err) && conflicts < maxConflicts:
			conflicts++
		case unavailable(err) || errors.Is(err, errFenced):
			c.metrics.Failure("unavailable")
			c.log.WarnContext(ctx, "commit failed", slog.Int("callers", len(jobs)), slog.Any("error", err))
			if !errors.Is(err, tenant.ErrUnavailable) {
				err = fmt.Errorf("%w: %w", tenant.ErrUnavailable, err)
			}
			answer(jobs, err)
			return
		case culprit >= 0:
			c.metrics.Failure("rejected")
			answer(jobs[culprit:culprit+1], judged(err))
			jobs = append(jobs[:culprit:culprit], jobs[culprit+1:]...)
		case len(jobs) == 1:
			c.metrics.Failure("rejected")
			answer(jobs, judged(err))
			return
		default: // it failed as a whole: halve it until the one that is to blame stands alone
			c.commit(ctx, jobs[:len(jobs)/2])
			jobs = jobs[len(jobs)/2:]
		}
	}
}

// waiting leaves out the jobs whose callers have left.
func waiting(jobs []*job) []*job {
	kept := jobs[:0:0]
	for _, j := range jobs {
		select {
		case <-j.left:
			j.reply <- context.Canceled // nobody reads it
		default:
			kept = append(kept, j)
		}
	}
	return kept
}

func answer(jobs []*job, err error) {
	for _, j := range jobs {
		j.reply <- err
	}
}

// transact runs jobs in one transaction. When it succeeds it has answered them. When it fails it has answered none, and culprit
// is the index of the job that failed, or -1.
func (c *committer) transact(ctx context.Context, jobs []*job) (culprit int, err error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	culprit = -1
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return culprit, fmt.Errorf("begin: %w", err)
	}
	b := newBatch(tx, c.heads, start)
	committed := false
	defer func() {
		if committed {
			return
		}
		_ = tx.Rollback() // the connection may be gone; the transaction is, too, then
		for id := range b.heads {
			c.heads.Remove(id)
		}
	}()

	outcomes := make([]error, len(jobs))
	for i, j := range jobs {
		before := b.writes
		err = c.guard(ctx, j, b)
		if err == nil {
			continue
		}
		if before != b.writes || !harmless(err) {
			return i, err
		}
		outcomes[i] = err
	}
	if b.writes > 0 {
		if err = b.flush(ctx); err != nil {
			return culprit, err
		}
		if err = tx.Commit(); err != nil {
			c.announceKeys(ctx, b) // they may have changed
			return culprit, fmt.Errorf("%w: %w", errUnknown, err)
		}
		committed = true
		c.publish(ctx, b)
	}
	c.metrics.Batch(len(jobs), time.Since(start))
	for i, j := range jobs {
		j.reply <- outcomes[i]
	}
	return culprit, nil
}

// harmless says whether a job that wrote nothing may fail like this without the others noticing.
func harmless(err error) bool {
	for _, known := range []error{tenant.ErrChatNotFound, tenant.ErrNotFound, tenant.ErrKeyNotFound} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// guard applies a job; a panic becomes an error, so that it costs one caller and not the committer.
func (c *committer) guard(ctx context.Context, j *job, b *batch) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			c.log.ErrorContext(ctx, "panic in commit", slog.Any("panic", reason), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("%w: %v", errPanic, reason)
		}
	}()
	return j.apply(ctx, b)
}

// publish tells the world what is committed.
func (c *committer) publish(ctx context.Context, b *batch) {
	for id, h := range b.heads {
		if !h.moved {
			continue
		}
		c.heads.Add(id, h.next())
	}
	for id := range b.deleted {
		c.heads.Remove(id)
	}
	c.announceKeys(ctx, b)
	c.store.watchers.wake(maps.Keys(b.grown))
}

func (c *committer) announceKeys(ctx context.Context, b *batch) {
	for _, key := range b.keys {
		if !c.store.keys.offer(key) {
			c.log.ErrorContext(ctx, "nobody reads which keys changed", slog.String("key", string(key)))
		}
	}
}
