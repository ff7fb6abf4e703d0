package tenantsql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/migrations"
	"github.com/wafleet/wafleet/tenant"
)

// The defaults of Config.
const (
	defaultPoolSize      = 16
	defaultMaxBatch      = 256
	defaultQueueSize     = 4096
	defaultHeads         = 20_000
	defaultReadTimeout   = 10 * time.Second
	defaultCommitTimeout = 15 * time.Second
	defaultClaimPatience = 5 * time.Second
)

// Metrics is what the committer reports. *metrics.Commit has these methods.
type Metrics interface {
	// Batch observes a transaction that size callers shared.
	Batch(size int, d time.Duration)
	// QueueLength says how many callers wait.
	QueueLength(n int)
	// Failure counts a transaction that failed; cause is "unavailable" or "rejected".
	Failure(cause string)
}

// noMetrics is for those who do not measure.
type noMetrics struct{}

// Batch does nothing.
func (noMetrics) Batch(int, time.Duration) {}

// QueueLength does nothing.
func (noMetrics) QueueLength(int) {}

// Failure does nothing.
func (noMetrics) Failure(string) {}

// Config says how to open a store. Zero means the default, except for URL.
type Config struct {
	// URL is sqlite:/path/to/file.db or postgres://….
	URL     string
	Log     *slog.Logger // default: discard
	Metrics Metrics      // default: none

	// PoolSize is the most connections to the database, beside the committer's own and, on PostgreSQL, one for reading devices' rows.
	PoolSize int
	// MaxBatch is the most callers that share one transaction.
	MaxBatch int
	// QueueSize is the most callers that wait for the committer before Commit itself blocks.
	QueueSize int
	// ReadTimeout bounds each query, CommitTimeout each transaction of the committer.
	ReadTimeout, CommitTimeout time.Duration
	// ClaimPatience is how long Claim waits for the node before: a server needs a moment to notice that a process was killed.
	ClaimPatience time.Duration
}

func (c Config) withDefaults() Config {
	c.PoolSize = cmp.Or(c.PoolSize, defaultPoolSize)
	c.MaxBatch = cmp.Or(c.MaxBatch, defaultMaxBatch)
	c.QueueSize = cmp.Or(c.QueueSize, defaultQueueSize)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, defaultReadTimeout)
	c.CommitTimeout = cmp.Or(c.CommitTimeout, defaultCommitTimeout)
	c.ClaimPatience = cmp.Or(c.ClaimPatience, defaultClaimPatience)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	return c
}

// Store implements tenant.Store. Close it.
type Store struct {
	url         string
	log         *slog.Logger
	readTimeout time.Duration

	claimPatience time.Duration

	db     *dbutil.Database // everybody's
	pool   *pgxpool.Pool    // what db runs on; nil on SQLite
	writer *dbutil.Database // the committer's single connection

	committer *committer
	reader    *reader               // nil on SQLite
	claim     atomic.Pointer[Claim] // nil without one: tools and tests have their databases for themselves
	watchers  watchers
	riders    riders
	// commits and reads bound what one tenant has of the committer and of the pool.
	commits, reads shares
	keys           keyFeed

	// ctx ends when Close has begun and the committer is done; the goroutines below live no longer.
	ctx    context.Context //nolint:containedctx // the lifetime of background work, which no caller owns
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	begin  sync.Mutex // held to start a task, and by Close to end that
	closed func() error
}

// Open opens a store. It does not ask whether the database answers (see Ping), and does not change it (see Migrate).
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	s := &Store{url: cfg.URL, log: cfg.Log, readTimeout: cfg.ReadTimeout, claimPatience: cfg.ClaimPatience}
	var shared, writer, reading *sql.DB
	var dialect string
	var err error
	switch scheme, _, _ := strings.Cut(cfg.URL, ":"); scheme {
	case "sqlite":
		dialect = "sqlite"
		shared, writer, err = openSQLite(sqlitePath(cfg.URL), cfg.PoolSize)
	case "postgres", "postgresql":
		dialect = "pgx"
		s.pool, shared, writer, reading, err = openPostgres(ctx, cfg.URL, cfg.PoolSize)
	default:
		err = errors.New("database url: neither sqlite:… nor postgres://…")
	}
	if err != nil {
		return nil, err
	}
	if s.db, err = dbutil.NewWithDB(shared, dialect); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s.db.VersionTable = migrations.VersionTable
	s.db.UpgradeTable = migrations.Table()
	if s.writer, err = dbutil.NewWithDB(writer, dialect); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s.commits.most, s.reads.most = commitShare, readShare(cfg.PoolSize)
	s.keys.init()
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.committer = newCommitter(context.WithoutCancel(ctx), s, cfg)
	if reading != nil {
		s.reader = newReader(context.WithoutCancel(ctx), reading, cfg)
	}
	s.closed = sync.OnceValue(s.close)
	return s, nil
}

// Database is the pool, for others that live in the same database, e.g. whatsmeow's sqlstore: give them a Child of it.
func (s *Store) Database() *dbutil.Database { return s.db }

// Close ends the store: what is queued is committed, what comes later is refused with ErrClosed. It returns when all is at rest.
func (s *Store) Close() error { return s.closed() }

func (s *Store) close() error {
	s.committer.close()
	s.begin.Lock()
	s.cancel()
	s.begin.Unlock()
	s.tasks.Wait()
	s.keys.close()
	err := errors.Join(s.writer.Close(), s.db.Close())
	if s.reader != nil {
		err = errors.Join(err, s.reader.close())
	}
	if s.pool != nil {
		s.pool.Close()
	}
	return err
}

// background runs a task that Close waits for. After Close it runs at once, and finds the store closed.
func (s *Store) background(task func()) {
	s.begin.Lock()
	defer s.begin.Unlock()
	if s.ctx.Err() != nil {
		task()
		return
	}
	s.tasks.Go(task)
}

// closing says whether Close was called.
func (s *Store) closing() bool { return s.committer.closing() }

// Ping says whether the database answers. Returns ErrUnavailable, ErrClosed.
func (s *Store) Ping(ctx context.Context) error {
	return s.wrap(ctx, "ping", s.read(ctx, func(ctx context.Context, on dbutil.Execable) error {
		_, err := scanInt(on.QueryRowContext(ctx, "SELECT 1"))
		return err
	}))
}

// Tenant is the handle of one tenant.
func (s *Store) Tenant(id tenant.ID) tenant.Handle { return &handle{store: s, id: id, shares: true} }

// handle is one tenant's part of the store. Its methods stand with the tables that they read.
type handle struct {
	store *Store
	id    tenant.ID
	// shares says that its reads count against the tenant's share: it is what the tenant asks, not the operator.
	shares bool
}

// ID is the tenant.
func (h *handle) ID() tenant.ID { return h.id }

var _ tenant.Handle = (*handle)(nil)

// maxReads is how often a query is made whose connection was lost: the pool may hold others that were lost with it.
const maxReads = 4

// rows runs a query of one tenant, whose id is the query's first parameter, and scans all that it yields.
func rows[T any](
	ctx context.Context, h *handle, scan func(dbutil.Scannable) (T, error), query string, args ...any,
) ([]T, error) {
	var found []T
	err := h.read(ctx, func(ctx context.Context, on dbutil.Execable) (err error) {
		found, err = collect(ctx, on, scan, query, append([]any{string(h.id)}, args...)...)
		return err
	})
	return found, err
}

// row runs a query of one tenant that yields at most one row. Returns sql.ErrNoRows.
func row[T any](
	ctx context.Context, h *handle, scan func(dbutil.Scannable) (T, error), query string, args ...any,
) (T, error) {
	var found T
	err := h.read(ctx, func(ctx context.Context, on dbutil.Execable) (err error) {
		found, err = scan(on.QueryRowContext(ctx, query, append([]any{string(h.id)}, args...)...))
		return err
	})
	return found, err
}

// read runs a query of the tenant's, within its share of the pool.
func (h *handle) read(ctx context.Context, query func(context.Context, dbutil.Execable) error) error {
	if h.shares {
		if err := h.store.reads.enter(ctx, h.id); err != nil {
			return err
		}
		defer h.store.reads.leave(h.id)
	}
	return h.store.read(ctx, query)
}

// read runs a query with a deadline, again if its connection was lost.
func (s *Store) read(ctx context.Context, query func(context.Context, dbutil.Execable) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.readTimeout)
	defer cancel()
	var err error
	for range maxReads {
		if err = query(ctx, s.db.Execable(ctx)); err == nil || !died(err) {
			return err
		}
	}
	return err
}

// collect runs a query and scans all that it yields.
func collect[T any](
	ctx context.Context, on dbutil.Execable, scan func(dbutil.Scannable) (T, error), query string, args ...any,
) (all []T, err error) {
	found, err := on.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for found.Next() {
		item, scanErr := scan(found)
		if scanErr != nil {
			return nil, scanErr
		}
		all = append(all, item)
	}
	return all, found.Err()
}

func scanString(row dbutil.Scannable) (s string, err error) {
	err = row.Scan(&s)
	return s, err
}

func scanInt(row dbutil.Scannable) (n int64, err error) {
	err = row.Scan(&n)
	return n, err
}

// Times are stored as Unix milliseconds, 0 where there is none.

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func optionalMillis(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return millis(*t)
}

func optionalTime(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

// fold is the form in which texts are compared when somebody searches.
func fold(s string) string { return strings.ToLower(s) }

// pattern is the LIKE pattern for a text in any place; empty for an empty text.
func pattern(search string) string {
	if search == "" {
		return ""
	}
	escaped := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(fold(tenant.CleanText(search)))
	return "%" + escaped + "%"
}
