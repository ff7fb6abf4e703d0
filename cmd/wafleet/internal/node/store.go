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
	"github.com/wafleet/wafleet/session/devicestore"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
)

// folderMode keeps the embedded database, which holds the devices' keys, from other users.
const folderMode = 0o700

// openStore opens the database and brings it up to date.
func openStore(ctx context.Context, c config.Config, log *slog.Logger, batches tenantsql.Metrics) (*tenantsql.Store, *devicestore.Store, error) {
	address := c.DatabaseURL()
	if err := folder(c); err != nil {
		return nil, nil, err
	}
	store, err := tenantsql.Open(ctx, tenantsql.Config{URL: address, Log: log, Metrics: batches})
	if err != nil {
		return nil, nil, explain(config.Database(address), err)
	}
	devices, err := migrate(ctx, store, log)
	if err != nil {
		return nil, nil, errors.Join(explain(config.Database(address), err), store.Close())
	}
	return store, devices, nil
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

func migrate(ctx context.Context, store *tenantsql.Store, log *slog.Logger) (*devicestore.Store, error) {
	devices := devicestore.New(store.Database(), store, log)
	if err := store.Migrate(ctx, devices.Upgrade); err != nil {
		return nil, err
	}
	return devices, nil
}

// explain says in one sentence what is wrong with the database, and what to look at.
func explain(database config.Database, err error) error {
	switch {
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
	store, _, err := openStore(ctx, c, log, nil)
	if err != nil {
		return err
	}
	if err = store.Close(); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}
