package memstore

import (
	"context"
	"encoding/binary"
	"errors"

	"go.mau.fi/util/random"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// ErrForeignDevice means that a store was asked to keep another device than its own.
var ErrForeignDevice = errors.New("store belongs to another device")

// NewDevice makes a companion with a store of its own, ready to be paired.
func NewDevice(limits Limits) *store.Device {
	s := New(limits)
	identity := keys.NewKeyPair()
	dev := &store.Device{
		Log:            waLog.Noop,
		NoiseKey:       keys.NewKeyPair(),
		IdentityKey:    identity,
		SignedPreKey:   identity.CreateSignedPreKey(1),
		RegistrationID: binary.BigEndian.Uint32(random.Bytes(4)),
		AdvSecretKey:   random.Bytes(32),
		Container:      s,
		Initialized:    true,
	}
	dev.SetAllStores(s)
	dev.LIDs = s
	return dev
}

// NewPrimary makes the primary device (0) of the account with this number. It logs in without pairing, once the server
// knows its public keys; put the LID it answers into the device with [SetLID].
func NewPrimary(phone, name string, limits Limits) *store.Device {
	dev := NewDevice(limits)
	id := types.NewJID(phone, types.DefaultUserServer)
	dev.ID = &id
	dev.PushName = name
	dev.Platform = "android"
	// A phone signs others and is signed by nobody; whatsmeow only wants the lengths to be right.
	dev.Account = &waAdv.ADVSignedDeviceIdentity{
		Details:             []byte{},
		AccountSignature:    make([]byte, 64),
		AccountSignatureKey: make([]byte, 32),
		DeviceSignature:     make([]byte, 64),
	}
	return dev
}

// SetLID tells a primary device its LID.
func SetLID(ctx context.Context, dev *store.Device, lid types.JID) error {
	dev.LID = lid
	return dev.LIDs.PutLIDMapping(ctx, lid.ToNonAD(), dev.ID.ToNonAD())
}

// PutDevice has nothing to write: the device is in memory already.
func (s *Store) PutDevice(_ context.Context, dev *store.Device) error {
	if dev.Container != store.DeviceContainer(s) {
		return ErrForeignDevice
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = true
	return nil
}

// DeleteDevice forgets everything.
func (s *Store) DeleteDevice(context.Context, *store.Device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleted = true
	s.identities, s.sessions, s.senderKeys, s.preKeys = nil, nil, nil, nil
	s.syncKeys, s.versions, s.coming, s.macs, s.contacts, s.settings, s.tokens, s.nctSalt = nil, nil, nil, nil, nil, nil, nil, nil
	s.lidToPN, s.pnToLID = nil, nil
	s.buffered = aged[[32]byte, bufferedEvent]{limit: s.limits.BufferedEvents}
	s.secrets = aged[secretID, []byte]{limit: s.limits.MessageSecrets}
	s.outgoing = aged[outgoingID, outgoingEvent]{limit: s.limits.OutgoingEvents}
	return nil
}

// Saved tells whether the device was saved and not deleted since, that is whether it is paired.
func (s *Store) Saved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved && !s.deleted
}
