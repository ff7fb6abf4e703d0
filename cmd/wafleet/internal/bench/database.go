package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// scratch makes an empty database for one variant, and the way to be rid of it, which works after ctx has ended, too.
func (r *run) scratch(ctx context.Context, variant string) (databaseURL string, drop func() error, err error) {
	if engineOf(r.Database) == engineSQLite {
		// the file goes with the folder
		return "sqlite:" + filepath.Join(r.dir, variant+".db"), func() error { return nil }, nil
	}
	server, err := url.Parse(r.Database)
	if err != nil {
		return "", nil, fmt.Errorf("%w: database: not a URL", ErrOptions) // the error would show the password
	}
	name := "wafleet_bench_" + strings.ToLower(rand.Text()[:12])
	if err = administer(ctx, r.Database, "CREATE DATABASE "+name); err != nil {
		return "", nil, fmt.Errorf("create a database: %w", err)
	}
	server.Path = "/" + name
	return server.String(), func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
		defer cancel()
		if err := administer(ctx, r.Database, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			return fmt.Errorf("drop database %s: %w", name, err)
		}
		return nil
	}, nil
}

const dropTimeout = 30 * time.Second

// analyze gives PostgreSQL the statistics that its autovacuum makes within minutes; without them its plans are those for empty tables.
func (r *run) analyze(ctx context.Context, databaseURL string) error {
	if engineOf(r.Database) == engineSQLite {
		return nil
	}
	if err := administer(ctx, databaseURL, "ANALYZE"); err != nil {
		return fmt.Errorf("analyze: %w", err)
	}
	return nil
}

func administer(ctx context.Context, databaseURL, statement string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return err // pgx redacts the password
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, statement)
	return err
}
