package tenantsql

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	postgresConnectTimeout = 5 * time.Second
	postgresName           = "wafleet" // how our connections show in pg_stat_activity
)

// openPostgres makes the pool that our queries share with database/sql, and a connection of its own each for the committer and
// the reader, which must not queue behind others' reads. None connects yet.
func openPostgres(ctx context.Context, url string, size int) (pool *pgxpool.Pool, shared, writer, reader *sql.DB, err error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, nil, nil, nil, fmt.Errorf("database url: %w", err) // pgx redacts the password
	}
	config.MaxConns = int32(min(size, 10_000)) //nolint:gosec // bounded in the same expression
	config.MinConns = 0
	preparePostgres(config.ConnConfig)
	pool, err = pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, nil, nil, fmt.Errorf("database pool: %w", err)
	}
	shared = stdlib.OpenDBFromPool(pool)
	shared.SetMaxOpenConns(size)

	single := func() *sql.DB {
		db := stdlib.OpenDB(*config.ConnConfig.Copy(), stdlib.OptionAfterConnect(preferIndexes))
		db.SetMaxOpenConns(1)
		db.SetMaxIdleConns(1)
		return db
	}
	return pool, shared, single(), single(), nil
}

// preferIndexes has the committer's statements look rows up one by one. All of them name their rows by keys; but PostgreSQL may plan them
// while a table is small or not analysed yet, to read the whole of it, and keeps that plan when it has grown.
func preferIndexes(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "SET enable_seqscan=off; SET enable_hashjoin=off; SET enable_mergejoin=off; SET plan_cache_mode=force_generic_plan")
	return err
}

// directPostgres is a connection outside the pool, for what must hold one session.
func directPostgres(ctx context.Context, url string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	preparePostgres(config)
	return pgx.ConnectConfig(ctx, config)
}

func preparePostgres(config *pgx.ConnConfig) {
	if config.ConnectTimeout == 0 || config.ConnectTimeout > postgresConnectTimeout {
		config.ConnectTimeout = postgresConnectTimeout
	}
	if _, named := config.RuntimeParams["application_name"]; !named {
		config.RuntimeParams["application_name"] = postgresName
	}
}
