package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/config"
	"github.com/wafleet/wafleet/session/devicestore"
	"github.com/wafleet/wafleet/tenant/tenantsql"
)

var (
	errNoMasterKey = errors.New("no master key is set, which the devices' keys are encrypted by: make one with openssl rand -base64 32, " +
		"keep a copy of it apart from the database's backups, and give it as WAFLEET_MASTER_KEY or with --master-key-file")
	errLostMasterKey = errors.New("it must be given as WAFLEET_MASTER_KEY or with --master-key-file; a new one stands before it")
)

// openDevices opens the store of devices, and moves devices over that an earlier version has stored.
func openDevices(ctx context.Context, store *tenantsql.Store, c *config.Config, log *slog.Logger) (*devicestore.Store, error) {
	text, err := masterKey(ctx, store, c, log)
	if err != nil {
		return nil, err
	}
	ring, err := devicestore.ParseKeyring(text)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	devices := devicestore.New(store, store, ring, log)
	err = devices.Check(ctx)
	if missing, ok := errors.AsType[*devicestore.MissingKeyError](err); ok {
		return nil, fmt.Errorf("%w: %w", missing, errLostMasterKey)
	}
	if err != nil {
		return nil, explain(config.Database(c.DatabaseURL()), err)
	}
	if err = devices.Import(ctx, store); err != nil {
		return nil, fmt.Errorf("move devices over: %w", explain(config.Database(c.DatabaseURL()), err))
	}
	return devices, nil
}

// masterKey is the key that is configured, or the one that lies beside the embedded database. That one is made unless something is
// encrypted already: then it was lost, and another would not help.
func masterKey(ctx context.Context, store *tenantsql.Store, c *config.Config, log *slog.Logger) (string, error) {
	if c.MasterKey != "" {
		return string(c.MasterKey), nil
	}
	path := c.MasterKeyPath()
	if path == "" {
		return "", errNoMasterKey
	}
	raw, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return "", fmt.Errorf("master key: %w", err)
		}
		return string(raw), nil
	}
	used, err := store.DeviceKeys(ctx)
	if err != nil {
		return "", explain(config.Database(c.DatabaseURL()), err)
	}
	if len(used) > 0 {
		name := slices.Min(slices.Collect(maps.Keys(used)))
		return "", fmt.Errorf("%w, and %s is gone: %w", &devicestore.MissingKeyError{Name: name, Devices: used[name]}, path, errLostMasterKey)
	}
	key := devicestore.NewMasterKey()
	if err = keepMasterKey(path, key); err != nil {
		return "", fmt.Errorf("master key: %w", err)
	}
	log.WarnContext(ctx, "made a master key, without which nothing of devices can be read: keep a copy, apart from the database's backups",
		slog.String("file", path))
	return key, nil
}

// keepMasterKey makes the file, for this user alone. It is on the disk, with its name, before anything is encrypted by the key.
func keepMasterKey(path, key string) error {
	const onlyOurs = 0o600
	file, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, onlyOurs)
	if err != nil {
		return err
	}
	_, err = file.WriteString(key + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return SyncFolder(filepath.Dir(path))
}

// SyncFolder makes the names in a folder durable.
func SyncFolder(dir string) error {
	f, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}
