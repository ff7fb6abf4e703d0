package node

import (
	"context"
	"errors"
	"fmt"
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
	if path, embedded := strings.CutPrefix(address, "sqlite:"); embedded {
		if err := os.MkdirAll(filepath.Dir(strings.TrimPrefix(path, "//")), folderMode); err != nil {
			return nil, nil, fmt.Errorf("folder of the embedded database: %w", err)
		}
	}
	store, err := tenantsql.Open(ctx, tenantsql.Config{URL: address, Log: log, Metrics: batches})
	if err != nil {
		return nil, nil, fmt.Errorf("database %s: %w", config.Database(address), err)
	}
	devices, err := migrate(ctx, store, log)
	if err != nil {
		return nil, nil, errors.Join(explain(config.Database(address), err), store.Close())
	}
	return store, devices, nil
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
		return fmt.Errorf("the database %s cannot be reached: is it running, and are address and password right? (%w)", database, err)
	case errors.Is(err, tenantsql.ErrNewerDatabase):
		return fmt.Errorf("the database %s belongs to a newer wafleet: run that version, or restore a backup (%w)", database, err)
	default:
		return fmt.Errorf("database %s: %w", database, err)
	}
}

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
