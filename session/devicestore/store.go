package devicestore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
	waLog "go.mau.fi/whatsmeow/util/log"
	"golang.org/x/crypto/chacha20poly1305"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// Store implements [session.Devices].
type Store struct {
	rows    tenant.DeviceStore
	tenants tenant.Store
	keys    *Keyring
	log     *slog.Logger

	cache    *cache
	loadings atomic.Uint64
}

var _ session.Devices = (*Store)(nil)

// New makes a store of devices. LIDs are looked up in tenants.
func New(rows tenant.DeviceStore, tenants tenant.Store, ring *Keyring, log *slog.Logger) *Store {
	return &Store{rows: rows, tenants: tenants, keys: ring, log: log, cache: newCache()}
}

// errNoJID is whatsmeow's mistake.
var errNoJID = errors.New("a device is to be stored that has no JID")

// credentials are what a device is known by at WhatsApp, as they are stored.
type credentials struct {
	JID                   string `json:"jid"`
	LID                   string `json:"lid,omitempty"`
	RegistrationID        uint32 `json:"registrationId"`
	NoiseKey              []byte `json:"noiseKey"`
	IdentityKey           []byte `json:"identityKey"`
	SignedPreKey          []byte `json:"signedPreKey"`
	SignedPreKeyID        uint32 `json:"signedPreKeyId"`
	SignedPreKeySignature []byte `json:"signedPreKeySignature"`
	// PublicKeys are those of the three above, 32 bytes each: making one takes as long as a query. Devices of earlier versions have none.
	PublicKeys            []byte `json:"publicKeys,omitempty"`
	AdvSecretKey          []byte `json:"advSecretKey"`
	Account               []byte `json:"account"` // protobuf ADVSignedDeviceIdentity
	Platform              string `json:"platform,omitempty"`
	BusinessName          string `json:"businessName,omitempty"`
	PushName              string `json:"pushName,omitempty"`
	LIDMigrationTimestamp int64  `json:"lidMigrationTimestamp,omitempty"`
	CompanionMetaNonce    string `json:"companionMetaNonce,omitempty"`
}

func encodeCredentials(dev *store.Device) ([]byte, error) {
	c := credentials{
		JID: dev.ID.String(), RegistrationID: dev.RegistrationID,
		NoiseKey: dev.NoiseKey.Priv[:], IdentityKey: dev.IdentityKey.Priv[:],
		SignedPreKey: dev.SignedPreKey.Priv[:], SignedPreKeyID: dev.SignedPreKey.KeyID, SignedPreKeySignature: dev.SignedPreKey.Signature[:],
		PublicKeys:   slices.Concat(dev.NoiseKey.Pub[:], dev.IdentityKey.Pub[:], dev.SignedPreKey.Pub[:]),
		AdvSecretKey: dev.AdvSecretKey,
		Platform:     dev.Platform, BusinessName: dev.BusinessName, PushName: dev.PushName,
		LIDMigrationTimestamp: dev.LIDMigrationTimestamp, CompanionMetaNonce: dev.CompanionMetaNonce,
	}
	if !dev.LID.IsEmpty() {
		c.LID = dev.LID.String()
	}
	return c.encode(dev.Account)
}

func (c *credentials) encode(account *waAdv.ADVSignedDeviceIdentity) (_ []byte, err error) {
	if c.Account, err = proto.Marshal(account); err != nil {
		return nil, fmt.Errorf("encode account: %w", err)
	}
	return json.Marshal(c)
}

// decode makes a device of its credentials. Returns errSpoiled.
func (c *credentials) decode() (*store.Device, error) {
	if len(c.NoiseKey) != 32 || len(c.IdentityKey) != 32 || len(c.SignedPreKey) != 32 || len(c.SignedPreKeySignature) != 64 {
		return nil, errSpoiled
	}
	jid, err := types.ParseJID(c.JID)
	if err != nil {
		return nil, fmt.Errorf("%w: JID: %w", errSpoiled, err)
	}
	noise, identity, signed := c.keyPairs()
	dev := &store.Device{
		Log: waLog.Noop, ID: &jid, RegistrationID: c.RegistrationID, Account: &waAdv.ADVSignedDeviceIdentity{},
		NoiseKey: noise, IdentityKey: identity,
		SignedPreKey: &keys.PreKey{
			KeyPair: *signed, KeyID: c.SignedPreKeyID, Signature: (*[64]byte)(c.SignedPreKeySignature),
		},
		AdvSecretKey: c.AdvSecretKey, Platform: c.Platform, BusinessName: c.BusinessName, PushName: c.PushName,
		LIDMigrationTimestamp: c.LIDMigrationTimestamp, CompanionMetaNonce: c.CompanionMetaNonce,
	}
	if c.LID != "" {
		if dev.LID, err = types.ParseJID(c.LID); err != nil {
			return nil, fmt.Errorf("%w: LID: %w", errSpoiled, err)
		}
	}
	if err = proto.Unmarshal(c.Account, dev.Account); err != nil {
		return nil, fmt.Errorf("%w: account: %w", errSpoiled, err)
	}
	return dev, nil
}

func (c *credentials) keyPairs() (noise, identity, signed *keys.KeyPair) {
	const size = 32
	if len(c.PublicKeys) != 3*size {
		return keyPair(c.NoiseKey), keyPair(c.IdentityKey), keyPair(c.SignedPreKey)
	}
	pair := func(i int, private []byte) *keys.KeyPair {
		return &keys.KeyPair{Priv: (*[size]byte)(private), Pub: (*[size]byte)(c.PublicKeys[i*size:])}
	}
	return pair(0, c.NoiseKey), pair(1, c.IdentityKey), pair(2, c.SignedPreKey)
}

func keyPair(private []byte) *keys.KeyPair { return keys.NewKeyPairFromPrivateKey([32]byte(private)) }

// New implements [session.Devices].
func (s *Store) New(_ context.Context, id tenant.ID) (*store.Device, error) {
	identity := keys.NewKeyPair()
	secret := make([]byte, keySize+4)
	_, _ = rand.Read(secret) // never fails
	dev := &store.Device{
		Log:            waLog.Noop,
		NoiseKey:       keys.NewKeyPair(),
		IdentityKey:    identity,
		SignedPreKey:   identity.CreateSignedPreKey(1),
		RegistrationID: binary.BigEndian.Uint32(secret[keySize:]),
		AdvSecretKey:   secret[:keySize:keySize],
	}
	d := s.newDevice(id)
	dev.LIDs, dev.Container = d.lids, d
	return dev, nil
}

// Load implements [session.Devices]. Returns session.ErrNotPaired, tenant.ErrUnavailable, ErrUnknownMasterKey.
func (s *Store) Load(ctx context.Context, id tenant.ID, jid types.JID) (*store.Device, error) {
	stored, err := s.rows.LoadDevice(ctx, id, baggage)
	switch {
	case errors.Is(err, tenant.ErrDeviceNotFound):
		return nil, session.ErrNotPaired
	case err != nil:
		return nil, err
	case stored.JID != jid.String():
		s.log.WarnContext(ctx, "another device is stored than the session's", "tenant", string(id))
		return nil, session.ErrNotPaired
	}
	d := s.newDevice(id)
	dev, err := d.unseal(stored.Device)
	if err != nil {
		return nil, fmt.Errorf("read device: %w", err)
	}
	if err = d.unpack(&stored); err != nil {
		return nil, fmt.Errorf("read device: %w", err)
	}
	d.name(dev)
	d.attach(dev)
	return dev, nil
}

// baggage is what whatsmeow and the session ask for whenever a session logs in: one query in place of six.
var baggage = tenant.DeviceBaggage{ //nolint:gochecknoglobals // does not change
	Rows: []int16{kindEvent, kindStateKey, kindSingle}, Count: kindPreKey, Oldest: kindPrivacyToken,
}

// unpack takes what was loaded along with the device. Nobody else has d yet.
func (d *device) unpack(loaded *tenant.LoadedDevice) error {
	d.preKeys, d.preKeysKnown = loaded.Count, true
	d.oldestToken, d.oldestTokenKnown = loaded.Oldest, true
	of := make(map[int16][]tenant.DeviceRow)
	for _, r := range loaded.Rows {
		of[r.Kind] = append(of[r.Kind], r)
	}
	if err := d.unpackEvents(of[kindEvent]); err != nil {
		return err
	}
	found, err := d.opened(of[kindStateKey])
	if err != nil {
		return err
	}
	if d.stateKeys.all, err = d.sortedKeys(found); err != nil {
		return err
	}
	d.stateKeys.known = true
	if found, err = d.opened(of[kindSingle]); err != nil {
		return err
	}
	d.remember(kindSingle, [][]byte{[]byte(nctSalt)}, found, d.overlay.writes)
	return nil
}

// name notes the addresses of the device, by number and by LID.
func (d *device) name(dev *store.Device) {
	d.own.Store(&[]string{dev.ID.SignalAddress().String(), dev.LID.SignalAddress().String()})
}

// unseal decrypts the device's credentials, and takes its key.
func (d *device) unseal(stored tenant.Device) (*store.Device, error) {
	key, err := d.store.keys.unwrap(d.id, stored.MasterKey, stored.WrappedKey)
	if err != nil {
		return nil, err
	}
	if err = d.takeKey(key); err != nil {
		return nil, err
	}
	plain, err := d.sealer.open(rowID{kind: kindCredentials}, stored.Value)
	if err != nil {
		return nil, err
	}
	var c credentials
	if err = json.Unmarshal(plain, &c); err != nil {
		return nil, errSpoiled
	}
	return c.decode()
}

func (d *device) takeKey(key []byte) error {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return errSpoiled
	}
	d.key, d.sealer = key, &sealer{d.id, aead}
	return nil
}

// Delete implements [session.Devices].
func (s *Store) Delete(ctx context.Context, id tenant.ID, jid types.JID) error {
	stored, err := s.rows.Device(ctx, id)
	if errors.Is(err, tenant.ErrDeviceNotFound) {
		return s.rows.DeleteDevice(ctx, id) // its rows may be there, after a deletion that was cut short
	}
	if err != nil || stored.JID != jid.String() {
		return err
	}
	return s.rows.DeleteDevice(ctx, id)
}

// save stores the credentials. The first time the device gets a key, and whatever another one has left is deleted.
func (d *device) save(ctx context.Context, dev *store.Device) error {
	if dev.ID == nil {
		return errNoJID
	}
	plain, err := encodeCredentials(dev)
	if err != nil {
		return err
	}
	if !dev.Initialized {
		if err = d.store.rows.DeleteDevice(ctx, d.id); err != nil {
			return err
		}
		key := make([]byte, keySize)
		_, _ = rand.Read(key) // never fails
		if err = d.takeKey(key); err != nil {
			return err
		}
	}
	stored := tenant.Device{JID: dev.ID.String(), Value: d.sealer.seal(rowID{kind: kindCredentials}, plain)}
	stored.MasterKey, stored.WrappedKey = d.store.keys.wrap(d.id, d.key)
	if err = d.store.rows.PutDevice(ctx, d.id, stored); err != nil {
		return err
	}
	d.name(dev)
	if !dev.Initialized {
		d.attach(dev)
	}
	return nil
}
