package bench

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"

	"go.mau.fi/util/dbutil"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/store/sqlstore/upgrades"
	"go.mau.fi/whatsmeow/util/keys"
	waLog "go.mau.fi/whatsmeow/util/log"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/session/wasim/memstore"
	"github.com/wafleet/wafleet/tenant/tenantsql"
)

// linked is a device that the simulator knows, with the private halves of its prekeys.
type linked struct {
	device  *store.Device
	prekeys []*keys.PreKey
}

// linkAll makes keys for all devices and registers them with the simulator.
func (p plan) linkAll(
	ctx context.Context, say func(string), blank func(ctx context.Context, i int) (*store.Device, error),
) ([]linked, error) {
	all := make([]linked, p.Sessions)
	steps := newSteps(p.Sessions, say, "devices linked")
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(2 * runtime.NumCPU())
	for i := range all {
		work.Go(func() error {
			dev, err := blank(ctx, i)
			if err != nil {
				return err
			}
			primary, err := adopt(dev)
			if err != nil {
				return err
			}
			prekeys, err := newPreKeys(ctx, dev)
			if err != nil {
				return err
			}
			if err = link(ctx, p.Control, accountNumber(p.First, i), dev, primary, prekeys); err != nil {
				return err
			}
			all[i] = linked{dev, prekeys}
			steps.one()
			return nil
		})
	}
	return all, work.Wait()
}

// newPreKeys asks the device's store for one-time keys; one that has no store before it is saved gets keys that must be stored, too.
func newPreKeys(ctx context.Context, dev *store.Device) ([]*keys.PreKey, error) {
	if dev.PreKeys != nil {
		prekeys, err := dev.PreKeys.GetOrGenPreKeys(ctx, preKeysEach)
		if err != nil {
			return nil, err
		}
		return prekeys, dev.PreKeys.MarkPreKeysAsUploaded(ctx, prekeys[len(prekeys)-1].KeyID)
	}
	prekeys := make([]*keys.PreKey, preKeysEach)
	for i := range prekeys {
		prekeys[i] = keys.NewPreKey(uint32(i) + 1)
	}
	return prekeys, nil
}

// memorySource has its devices in this process, so that one and the same process must prepare and connect.
type memorySource struct {
	plan plan
	all  []linked
}

func (m *memorySource) prepare(ctx context.Context, say func(string)) (err error) {
	m.all, err = m.plan.linkAll(ctx, say, func(context.Context, int) (*store.Device, error) {
		return memstore.NewDevice(memstore.Limits{PreKeys: preKeysEach}), nil
	})
	return err
}

func (*memorySource) start(context.Context) error { return nil }

func (m *memorySource) devices(context.Context) ([]*store.Device, error) {
	devices := make([]*store.Device, len(m.all))
	for i, l := range m.all {
		devices[i] = l.device
	}
	return devices, nil
}

func (*memorySource) close() error { return nil }

// sqlSource is whatsmeow's sqlstore in a database that is opened as the fleet opens its own: the same pool, the same durability.
type sqlSource struct {
	plan plan
	log  *slog.Logger

	db        *tenantsql.Store
	container *sqlstore.Container
}

func (s *sqlSource) start(ctx context.Context) (err error) {
	if s.db, err = tenantsql.Open(ctx, tenantsql.Config{URL: s.plan.Database, Log: s.log}); err != nil {
		return fmt.Errorf("database: %w", err)
	}
	s.container = containerOn(s.db.Database())
	if err = s.container.Upgrade(ctx); err != nil {
		return fmt.Errorf("sqlstore: %w", err)
	}
	return nil
}

// containerOn is sqlstore on a pool that others share.
func containerOn(db *dbutil.Database) *sqlstore.Container {
	return sqlstore.NewWithWrappedDB(db.Child("whatsmeow_version", upgrades.Table, dbutil.NoopLogger), waLog.Noop)
}

func (s *sqlSource) prepare(ctx context.Context, say func(string)) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	all, err := s.plan.linkAll(ctx, say, func(context.Context, int) (*store.Device, error) {
		return s.container.NewDevice(), nil
	})
	if err != nil {
		return err
	}
	return saveDevices(ctx, s.db.Database(), all)
}

// putPreKeys stores the keys of one device at once, marked as uploaded; sqlstore itself would need a statement for each.
const putPreKeys = `INSERT INTO whatsmeow_pre_keys (jid, key_id, key, uploaded) VALUES `

// saveDevices stores devices in one transaction.
func saveDevices(ctx context.Context, db *dbutil.Database, all []linked) error {
	err := db.DoTxn(ctx, nil, func(ctx context.Context) error {
		for _, l := range all {
			if err := l.device.Save(ctx); err != nil {
				return err
			}
			rows, args := make([]string, len(l.prekeys)), make([]any, 1, 1+2*len(l.prekeys))
			args[0] = l.device.ID
			for i, k := range l.prekeys {
				args = append(args, k.KeyID, k.Priv[:])
				rows[i] = fmt.Sprintf("($1, $%d, $%d, true)", len(args)-1, len(args))
			}
			if _, err := db.Exec(ctx, putPreKeys+strings.Join(rows, ", "), args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store devices: %w", err)
	}
	return nil
}

func (s *sqlSource) devices(ctx context.Context) ([]*store.Device, error) {
	return s.container.GetAllDevices(ctx)
}

func (s *sqlSource) close() error {
	if s.db == nil {
		return nil
	}
	return s.db.Close()
}
