package tenant

import (
	"context"
	"errors"
	"time"
)

// ErrDeviceNotFound says that the tenant has no linked device.
var ErrDeviceNotFound = errors.New("device not found")

// Device is a tenant's linked device as it is kept. Package session/devicestore encrypts and decrypts it; to the store it is
// bytes.
type Device struct {
	JID string // WhatsApp's own notation
	// MasterKey names the key that WrappedKey is encrypted by.
	MasterKey string
	// WrappedKey is the key of Value and of all rows.
	WrappedKey []byte
	// Value holds the device's credentials.
	Value []byte
}

// DeviceRow is one thing that a device keeps beside its credentials: a key, a ratchet, a secret.
type DeviceRow struct {
	Kind  int16
	Key   []byte // at most a few hundred bytes
	Value []byte // nil deletes the row
	// At is when a row that ages was made, in Unix milliseconds; 0 for those that do not age.
	At int64
	// IfNew leaves a row alone that is there already.
	IfNew bool
}

// DeviceBaggage is what is wanted along with a device: what a session asks for at each login.
type DeviceBaggage struct {
	Rows   []int16 // the kinds of which all rows are wanted
	Count  int16   // the kind whose rows are counted
	Oldest int16   // the kind whose oldest row is looked for
}

// LoadedDevice is a device with its baggage.
type LoadedDevice struct {
	Device

	Rows   []DeviceRow // in no order
	Count  int
	Oldest time.Time // zero if no row of that kind ages
}

// DeviceScan asks for rows of one kind by their keys.
type DeviceScan struct {
	Kind int16
	// From and Before bound the keys; a nil Before does not.
	From, Before []byte
	// MadeBefore, when not zero, leaves out rows that do not age, or are not older.
	MadeBefore time.Time
	Limit      int // 0: all
}

// EventHash names an event that WhatsApp delivered, by its ciphertext.
type EventHash [32]byte

// SettleEvent says that the commit holds what came of an event that the tenant's device has decrypted. The device's store keeps the
// plaintext of an event until then: what is decrypted once cannot be decrypted again.
type SettleEvent struct{ Hash EventHash }

func (SettleEvent) isChange() {}

// DeviceRider is a device's store that has rows to be written with the next commit of its tenant, whoever makes it. So what a
// message moved and the record that it became are stored together or not at all.
type DeviceRider interface {
	// Prepare is called by whoever is about to commit, so that the committer finds ready what takes time to make. It returns how many rows
	// there are.
	Prepare() int
	// Board returns what is to be written, each row once; settled are the events whose records the same commit holds. Without whole,
	// what came of later events may wait for their records. landed, if not nil, is called when the commit has succeeded, and not at
	// all when it has not, or when nobody knows. Called by the committer, which has no more than one commit under way.
	Board(settled []EventHash, whole bool) (rows []DeviceRow, landed func())
}

// DeviceStore keeps linked devices, one for each tenant. Every method returns an error that wraps ErrUnavailable while the database
// cannot be reached.
type DeviceStore interface {
	// Device returns the tenant's device. Returns ErrDeviceNotFound.
	Device(ctx context.Context, id ID) (Device, error)
	// LoadDevice returns the tenant's device and, as of the same moment, its baggage. Returns ErrDeviceNotFound.
	LoadDevice(ctx context.Context, id ID, want DeviceBaggage) (LoadedDevice, error)
	// PutDevice stores the device in place of the one that is there; the rows stay. Returns ErrNotFound when the tenant is gone.
	PutDevice(ctx context.Context, id ID, d Device) error
	// DeleteDevice destroys the device's key, and then deletes its rows in small steps. No error if there is none.
	DeleteDevice(ctx context.Context, id ID) error

	// DeviceRows returns the rows of these kinds that have one of these keys, in no order, each once. Others may get the same bytes: they are
	// not to be changed, and neither are kinds and keys.
	DeviceRows(ctx context.Context, id ID, kinds []int16, keys ...[]byte) ([]DeviceRow, error)
	// ScanDeviceRows returns rows in the order of their keys.
	ScanDeviceRows(ctx context.Context, id ID, scan DeviceScan) ([]DeviceRow, error)
	// CountDeviceRows counts the rows of one kind.
	CountDeviceRows(ctx context.Context, id ID, kind int16) (int, error)
	// AgeDeviceRows deletes up to limit rows that were made before a time, and returns how many those were.
	AgeDeviceRows(ctx context.Context, id ID, kind int16, before time.Time, limit int) (int, error)

	// RideDevice lets a rider's rows be written with all commits of the tenant, until leave, which returns when no commit is under
	// way that has rows of the rider's.
	RideDevice(id ID, rider DeviceRider) (leave func())
	// FlushDevice commits all that the tenant's riders have. Returns ErrNotFound when the tenant is gone.
	FlushDevice(ctx context.Context, id ID) error

	// DeviceKeys counts the devices by the master keys that their keys are encrypted by, of all tenants.
	DeviceKeys(ctx context.Context) (map[string]int, error)
	// DevicesWrappedBy returns up to limit tenants whose devices' keys are encrypted by that master key.
	DevicesWrappedBy(ctx context.Context, master string, limit int) ([]ID, error)
	// RewrapDevice replaces the encrypted key of a device, if it is the one that it was thought to be.
	RewrapDevice(ctx context.Context, id ID, was, now Device) error
}
