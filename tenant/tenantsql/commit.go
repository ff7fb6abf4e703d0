package tenantsql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
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

// job is what one caller wants to have done in a transaction. Its size is how many changes it makes.
type job struct {
	wish

	// apply does it. It may be called again after a transaction that failed, and starts from nothing then.
	apply func(context.Context, *batch) error
	// tenant and changes are what it will apply, as far as it can be told before; see [batch.lookAhead].
	tenant  tenant.ID
	changes []tenant.Change
}

// committer owns all transactions that change what tenants own.
//
//	callers ──▶ queue ──▶ gather ──▶ BEGIN · apply each · flush · COMMIT ──▶ answer each, wake watchers
type committer struct {
	*queue[*job]

	store   *Store
	db      *dbutil.Database
	begin   func(context.Context, *dbutil.Database) (transaction, error)
	log     *slog.Logger
	metrics Metrics
	timeout time.Duration

	// heads holds what was committed last of tenants, so that a commit need not read it. Touched by run alone. Whenever a
	// transaction fails, or its outcome is unknown, what it touched is forgotten.
	heads *lru.Cache[tenant.ID, head]
}

func newCommitter(ctx context.Context, s *Store, cfg Config) *committer {
	heads, _ := lru.New[tenant.ID, head](defaultHeads) // fails for sizes below 1 only
	c := &committer{
		queue: newQueue[*job](cfg.QueueSize, cfg.MaxBatch, maxBatchChanges),
		store: s, db: s.writer, begin: beginSQLite, log: cfg.Log, metrics: cfg.Metrics, timeout: cfg.CommitTimeout, heads: heads,
	}
	if s.writer.Dialect == dbutil.Postgres {
		c.begin = beginPostgres
	}
	go c.run(func(jobs []*job) {
		c.metrics.QueueLength(len(c.waiting))
		c.commit(ctx, jobs)
	})
	return c
}

// do queues a job and waits for its outcome. After an error it is unknown what was done, unless apply returned it; and apply may still be
// running, so that nothing it writes may be read then.
func (c *committer) do(ctx context.Context, size int, apply func(context.Context, *batch) error) error {
	return c.await(ctx, &job{wish: wish{size: size}, apply: apply})
}

// await is do for a job that says more of itself.
func (c *committer) await(ctx context.Context, j *job) error {
	err := c.queue.await(ctx, j)
	if errors.Is(err, errLeft) {
		return fmt.Errorf("%w: %w", tenant.ErrOutcomeUnknown, context.Cause(ctx))
	}
	return err
}

// commit answers all jobs. A job that makes the transaction fail is told so, and the others are run again without it.
func (c *committer) commit(ctx context.Context, jobs []*job) {
	for conflicts := 0; ; {
		jobs = staying(jobs)
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

// transact runs jobs in one transaction. When it succeeds it has answered them. When it fails it has answered none, and culprit
// is the index of the job that failed, or -1.
func (c *committer) transact(ctx context.Context, jobs []*job) (culprit int, err error) {
	defer func() { // of what is done for all jobs; each job's own part is guarded by itself
		if reason := recover(); reason != nil {
			culprit, err = -1, panicked(ctx, c.log, "commit", reason)
		}
	}()
	return c.transactUnguarded(ctx, jobs)
}

func (c *committer) transactUnguarded(ctx context.Context, jobs []*job) (culprit int, err error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	culprit = -1
	tx, err := c.begin(ctx, c.db)
	if err != nil {
		return culprit, fmt.Errorf("begin: %w", err)
	}
	b := newBatch(tx, c.heads, start)
	b.boarding.riders = &c.store.riders
	defer b.boarding.end()
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

	if err = b.lookAhead(ctx, jobs); err != nil {
		return culprit, err
	}
	outcomes, culprit, err := c.apply(ctx, jobs, b)
	if err != nil {
		return culprit, err
	}
	if b.writes > 0 {
		var last []statement
		if claim := c.store.claim.Load(); claim != nil {
			last = append(last, claim.fence(start))
		}
		if err = b.flush(ctx, last...); err != nil {
			return culprit, err
		}
		if err = tx.Commit(); err != nil {
			c.announceKeys(ctx, b) // they may have changed
			if undone(err) {
				return culprit, fmt.Errorf("commit: %w", err)
			}
			return culprit, fmt.Errorf("%w: %w", tenant.ErrOutcomeUnknown, err)
		}
		committed = true
		c.tell(ctx, b.boarding.arrive)
		c.tell(ctx, func() { c.publish(ctx, b) })
	}
	c.metrics.Batch(len(jobs), time.Since(start))
	for i, j := range jobs {
		j.reply <- outcomes[i]
	}
	return culprit, nil
}

// apply applies all jobs. outcomes are of those that failed without harm to the others; otherwise culprit is as transact's.
func (c *committer) apply(ctx context.Context, jobs []*job, b *batch) (outcomes []error, culprit int, err error) {
	outcomes = make([]error, len(jobs))
	for i, j := range jobs {
		before := b.writes
		err := c.guard(ctx, j, b)
		switch {
		case b.failed != nil:
			return nil, -1, b.failed
		case err == nil:
		case before != b.writes || !harmless(err):
			return nil, i, err
		default:
			outcomes[i] = err
		}
	}
	return outcomes, -1, nil
}

// harmless says whether a job that wrote nothing may fail like this without the others noticing.
func harmless(err error) bool {
	for _, known := range []error{
		tenant.ErrChatNotFound, tenant.ErrNotFound, tenant.ErrKeyNotFound, tenant.ErrKeyTaken, tenant.ErrPairingLinkNotFound,
		tenant.ErrTooManyPairingLinks,
		tenant.ErrExternalIDTaken,
		tenant.ErrMetadataFull, tenant.ErrKeyEnded, tenant.ErrLastOwner,
	} {
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
			err = panicked(ctx, c.log, "commit", reason)
		}
	}()
	return j.apply(ctx, b)
}

// panicked makes an error of a panic. Its value is not logged: it may quote a message.
func panicked(ctx context.Context, log *slog.Logger, doing string, reason any) error {
	kind := fmt.Sprintf("%T", reason)
	if e, ok := reason.(runtime.Error); ok {
		kind = e.Error() // index out of range and its like quote no content
	}
	log.ErrorContext(ctx, "panic in the store", slog.String("doing", doing), slog.String("panic", kind), slog.String("stack", string(debug.Stack())))
	return fmt.Errorf("%w: %s", errPanic, kind)
}

// tell runs what is to be done once a batch is committed. A panic changes nothing about that.
func (c *committer) tell(ctx context.Context, fn func()) {
	defer func() {
		if reason := recover(); reason != nil {
			_ = panicked(ctx, c.log, "commit", reason)
		}
	}()
	fn()
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
