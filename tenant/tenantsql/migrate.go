package tenantsql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

// migrationLock is the PostgreSQL advisory lock that migrations are run under: "wafleet" in ASCII.
const migrationLock int64 = 0x77_61_66_6c_65_65_74

// ErrNewerDatabase says that the database was migrated by a newer wafleet, which this one cannot work with.
var ErrNewerDatabase = errors.New("database belongs to a newer wafleet")

// Migrate brings the schema up to date, then runs more, e.g. the migrations of others that live in the same database. Of nodes
// that start at the same time one works and the others wait. The functions must use the context they are given; on SQLite they
// are part of one transaction. Returns ErrNewerDatabase, ErrUnavailable.
func (s *Store) Migrate(ctx context.Context, more ...func(context.Context) error) error {
	run := func(ctx context.Context) error {
		if err := s.db.Upgrade(ctx); err != nil {
			if errors.Is(err, dbutil.ErrUnsupportedDatabaseVersion) {
				return fmt.Errorf("%w: %w", ErrNewerDatabase, err)
			}
			return fmt.Errorf("our schema: %w", err)
		}
		for _, other := range more {
			if err := other(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	locked := s.lockedPostgres
	if s.db.Dialect == dbutil.SQLite {
		locked = s.lockedSQLite
	}
	if err := locked(ctx, run); err != nil {
		return s.wrap(ctx, "migrate", err)
	}
	return s.wrap(ctx, "resume deletions", s.resumeDeletions(ctx))
}

// lockedSQLite makes one transaction of all, begun with the write lock: a second process waits for it to end.
func (s *Store) lockedSQLite(ctx context.Context, run func(context.Context) error) error {
	return s.db.DoTxn(ctx, nil, run)
}

// lockedPostgres holds an advisory lock on a connection that does nothing else. The lock goes with the connection.
func (s *Store) lockedPostgres(ctx context.Context, run func(context.Context) error) error {
	conn, err := directPostgres(ctx, s.url)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // what matters is done, or failed before
	}()
	if _, err = conn.Exec(ctx, "SELECT pg_advisory_lock($1)", migrationLock); err != nil {
		return fmt.Errorf("wait for other migrations: %w", err)
	}
	return run(ctx)
}

var _ tenant.Store = (*Store)(nil)
