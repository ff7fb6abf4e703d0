package devicestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/tenant"
)

// MissingKeyError says that the keyring lacks a master key that devices' keys are encrypted by.
type MissingKeyError struct {
	Name    string // of the master key
	Devices int
}

// Error names the key.
func (e *MissingKeyError) Error() string {
	return fmt.Sprintf("the keys of %d devices are encrypted by the master key %s, which was not given", e.Devices, e.Name)
}

// Unwrap is ErrUnknownMasterKey.
func (*MissingKeyError) Unwrap() error { return ErrUnknownMasterKey }

// Check asks whether the keyring has all master keys that there are. Returns *MissingKeyError, tenant.ErrUnavailable.
func (s *Store) Check(ctx context.Context) error {
	used, err := s.rows.DeviceKeys(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if !slices.Contains(s.keys.Names(), name) {
			return &MissingKeyError{Name: name, Devices: used[name]}
		}
	}
	return nil
}

const (
	rewrapPage   = 512
	rewrapAtOnce = 64 // so that they share commits
)

// Rewrap encrypts all devices' keys by the keyring's first key that are encrypted by another. When it has, the others can be left out. It
// may run beside everything else, and be run again.
func (s *Store) Rewrap(ctx context.Context) error {
	names := s.keys.Names()
	for _, old := range names[1:] {
		n, err := s.rewrapFrom(ctx, old)
		switch {
		case err != nil && ctx.Err() == nil:
			s.log.WarnContext(ctx, "devices' keys could not be encrypted by the new master key; this goes on at the next start",
				slog.String("master_key", old), slog.Any("error", err))
			return err
		case err != nil:
			return err
		}
		s.log.InfoContext(ctx, "no device's key is encrypted by this master key any more: it can be left out",
			slog.String("master_key", old), slog.Int("devices", n))
	}
	return nil
}

// rewrapFrom goes on past a key that cannot be read: it is of no use to its own tenant, and must not keep the others' back.
func (s *Store) rewrapFrom(ctx context.Context, old string) (n int, err error) {
	var mu sync.Mutex
	spoiled := map[tenant.ID]error{}
	for {
		ids, err := s.rows.DevicesWrappedBy(ctx, old, rewrapPage+len(spoiled))
		if err != nil {
			return n, err
		}
		ids = slices.DeleteFunc(ids, func(id tenant.ID) bool { return spoiled[id] != nil })
		if len(ids) == 0 {
			return n - len(spoiled), errors.Join(slices.Collect(maps.Values(spoiled))...)
		}
		work, ctx := errgroup.WithContext(ctx)
		work.SetLimit(rewrapAtOnce)
		for _, id := range ids {
			work.Go(func() error {
				err := s.rewrap(ctx, id, old)
				if errors.Is(err, errSpoiled) {
					mu.Lock()
					defer mu.Unlock()
					spoiled[id] = err
					return nil
				}
				return err
			})
		}
		if err = work.Wait(); err != nil {
			return n, err
		}
		n += len(ids)
	}
}

func (s *Store) rewrap(ctx context.Context, id tenant.ID, old string) error {
	was, err := s.rows.Device(ctx, id)
	if err != nil || was.MasterKey != old {
		return ignoreGone(err)
	}
	key, err := s.keys.unwrap(id, was.MasterKey, was.WrappedKey)
	if err != nil {
		return fmt.Errorf("tenant %s: %w", id, err)
	}
	now := was
	now.MasterKey, now.WrappedKey = s.keys.wrap(id, key)
	return s.rows.RewrapDevice(ctx, id, was, now)
}

// ignoreGone forgives that a device was deleted meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, tenant.ErrDeviceNotFound) {
		return nil
	}
	return err
}
