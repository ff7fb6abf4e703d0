package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/config"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
)

// folderMode keeps the embedded database, which holds the devices' keys, from other users.
const folderMode = 0o700

// openStore opens the database. Nothing is asked of it yet.
func openStore(ctx context.Context, c config.Config, log *slog.Logger, batches tenantsql.Metrics) (*tenantsql.Store, error) {
	address := c.DatabaseURL()
	if err := folder(c); err != nil {
		return nil, err
	}
	store, err := tenantsql.Open(ctx, tenantsql.Config{URL: address, Log: log, Metrics: batches})
	if err != nil {
		return nil, explain(config.Database(address), err)
	}
	return store, nil
}

// claim makes this node the database's only one, and brings the database up to date.
func (n *node) claim(ctx context.Context) (err error) {
	n.claimed, err = n.store.Claim(ctx, holder(), func(ctx context.Context) error { return n.store.Migrate(ctx) })
	return explain(config.Database(n.config.DatabaseURL()), err)
}

// holder is what people know this process by.
func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s, process %d", host, os.Getpid())
}

// folder makes the data folder. The folder of a database that was named must be there: a typing error makes no empty database.
func folder(c config.Config) error {
	if c.Database == "" {
		if err := os.MkdirAll(c.Data, folderMode); err != nil {
			return fmt.Errorf("folder of the embedded database: %w", err)
		}
		return nil
	}
	path, embedded := strings.CutPrefix(string(c.Database), "sqlite:")
	if !embedded {
		return nil
	}
	path, _, _ = strings.Cut(strings.TrimPrefix(path, "//"), "?")
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || (err == nil && !info.IsDir()) {
		return fmt.Errorf("there is no folder %s for the database: make it, or name another file with --database", dir)
	} else if err != nil {
		return fmt.Errorf("folder of the database: %w", err)
	}
	return nil
}

// explain says in one sentence what is wrong with the database, and what to look at.
func explain(database config.Database, err error) error {
	claimed, other := errors.AsType[*tenantsql.ClaimedError](err)
	switch {
	case err == nil:
		return nil
	case other:
		return fmt.Errorf("database %s: %w: stop it first, a database takes one node", database, claimed)
	case errors.Is(err, tenant.ErrUnavailable):
		return fmt.Errorf("the database %s cannot be reached: is it running, and are address and password right? (%w)", database, firstCauseError{err})
	case errors.Is(err, tenantsql.ErrNewerDatabase):
		return fmt.Errorf("the database %s belongs to a newer wafleet: run that version, or restore a backup (%w)", database, err)
	default:
		return fmt.Errorf("database %s: %w", database, err)
	}
}

// firstCauseError cuts the text of an error that lists, on lines of their own, how it went with each address of the database: mostly
// the same again.
type firstCauseError struct{ error }

// Error is the first line, and the second if the first one announces it.
func (e firstCauseError) Error() string {
	first, rest, _ := strings.Cut(e.error.Error(), "\n")
	first = strings.TrimSpace(first)
	if next, _, _ := strings.Cut(strings.TrimLeft(rest, "\r\n\t "), "\n"); strings.HasSuffix(first, ":") && next != "" {
		first += " " + strings.TrimSpace(next)
	}
	return first
}

// Unwrap is the whole error.
func (e firstCauseError) Unwrap() error { return e.error }

// Migrate brings the database up to date and closes it.
func Migrate(ctx context.Context, c config.Config, log *slog.Logger) error {
	setGlobals()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	store, err := openStore(ctx, c, log, nil)
	if err != nil {
		return err
	}
	err = explain(config.Database(c.DatabaseURL()), store.Migrate(ctx))
	if closing := store.Close(); closing != nil {
		err = errors.Join(err, fmt.Errorf("close the database: %w", closing))
	}
	return err
}
