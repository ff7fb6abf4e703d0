package devicestore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/google/uuid"
	"go.mau.fi/util/dbutil"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/store/sqlstore/upgrades"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// Store implements [session.Devices].
type Store struct {
	db      *dbutil.Database
	devices *sqlstore.Container
	tenants tenant.Store
	log     *slog.Logger
}

var _ session.Devices = (*Store)(nil)

// versionTable is where sqlstore notes the version of its tables.
const versionTable = "whatsmeow_version"

// setArrays sets a process global of sqlstore's, which its queries read without a lock.
var setArrays = sync.OnceFunc(func() { //nolint:gochecknoglobals // guards a global of sqlstore's
	sqlstore.PostgresArrayWrapper = wrapArray
})

// New makes a store on the database that the tenants lie in.
func New(db *dbutil.Database, tenants tenant.Store, log *slog.Logger) *Store {
	setArrays()
	child := db.Child(versionTable, upgrades.Table, nil)
	return &Store{db: child, devices: sqlstore.NewWithWrappedDB(child, nil), tenants: tenants, log: log}
}

// Upgrade brings the tables up to date. The caller sees to it that nobody else does so at the same time.
func (s *Store) Upgrade(ctx context.Context) error {
	if err := s.devices.Upgrade(ctx); err != nil {
		return fmt.Errorf("upgrade device tables: %w", err)
	}
	return nil
}

// owner marks a device's row as the tenant's. The column is one that only whatsmeow's Messenger mode has a use for.
func owner(id tenant.ID) uuid.UUID {
	sum := sha256.Sum256([]byte("wafleet device of tenant " + id))
	return uuid.UUID(sum[:16])
}

// New implements [session.Devices].
func (s *Store) New(_ context.Context, id tenant.ID) (*store.Device, error) {
	dev := s.devices.NewDevice()
	dev.FacebookUUID = owner(id)
	newGuard(s, id).attach(dev)
	return dev, nil
}

// Load implements [session.Devices]. Returns session.ErrNotPaired, tenant.ErrUnavailable.
func (s *Store) Load(ctx context.Context, id tenant.ID, jid types.JID) (*store.Device, error) {
	dev, err := s.devices.GetDevice(ctx, jid)
	switch {
	case errors.Is(err, sqlstore.ErrInvalidLength):
		return nil, fmt.Errorf("read device: %w", err)
	case err != nil:
		return nil, fmt.Errorf("read device: %w: %w", tenant.ErrUnavailable, err)
	case dev == nil:
		return nil, session.ErrNotPaired
	case dev.FacebookUUID != owner(id):
		s.log.WarnContext(ctx, "device belongs to another tenant now", "tenant", string(id))
		return nil, session.ErrNotPaired
	}
	newGuard(s, id).attach(dev)
	return dev, nil
}

const (
	deleteDevice = `DELETE FROM whatsmeow_device WHERE jid=$1`
	// deleteOwnDevice leaves a device alone that belongs to another tenant by now.
	deleteOwnDevice = deleteDevice + ` AND facebook_uuid=$2`
	// deleteTokens: the one table of a device's that has no foreign key to it.
	deleteTokens = `DELETE FROM whatsmeow_privacy_tokens WHERE our_jid=$1
		AND NOT EXISTS (SELECT 1 FROM whatsmeow_device WHERE jid=$1)`
)

// Delete implements [session.Devices].
func (s *Store) Delete(ctx context.Context, id tenant.ID, jid types.JID) error {
	err := s.db.DoTxn(ctx, nil, func(ctx context.Context) error {
		if _, err := s.db.Exec(ctx, deleteOwnDevice, jid, owner(id).String()); err != nil {
			return err
		}
		_, err := s.db.Exec(ctx, deleteTokens, jid)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete device: %w: %w", tenant.ErrUnavailable, err)
	}
	return nil
}

// save stores a device. The first time it replaces what lies under its JID: WhatsApp has just given the JID to this device,
// so whatever had it before is unlinked.
func (s *Store) save(ctx context.Context, dev *store.Device) error {
	if dev.Initialized || dev.ID == nil {
		return s.devices.PutDevice(ctx, dev)
	}
	return s.db.DoTxn(ctx, nil, func(ctx context.Context) error {
		if _, err := s.db.Exec(ctx, deleteDevice, *dev.ID); err != nil {
			return err
		}
		if _, err := s.db.Exec(ctx, deleteTokens, *dev.ID); err != nil {
			return err
		}
		return s.devices.PutDevice(ctx, dev)
	})
}
