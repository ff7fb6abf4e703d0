package devicestore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/tenant"
)

// owner is how earlier versions marked a device's row as the tenant's, in a column that only whatsmeow's Messenger mode has a use for.
func owner(id tenant.ID) string {
	sum := sha256.Sum256([]byte("wafleet device of tenant " + id))
	return uuid.UUID(sum[:16]).String()
}

// importsAtOnce bounds the devices that are held in memory while they are moved.
const importsAtOnce = 8

// Import moves devices over from whatsmeow's own store, which earlier versions used: those that tenants are linked with. It goes one way,
// before any session runs; a device is moved whole or not at all, and one that was moved is not found again. What was moved is deleted.
func (s *Store) Import(ctx context.Context, from tenant.LegacyDevices) error {
	has, err := from.HasLegacyDevices(ctx)
	if err != nil || !has {
		return err
	}
	work, bounded := errgroup.WithContext(ctx)
	work.SetLimit(importsAtOnce)
	moved := make(chan struct{}, importsAtOnce)
	total := make(chan int, 1)
	go func() { // ends when moved is closed
		n := 0
		for range moved {
			n++
		}
		total <- n
	}()
	for linked, listing := range s.tenants.Linked(ctx) {
		if listing != nil {
			err = listing
			break
		}
		work.Go(func() error {
			done, err := s.importOne(bounded, from, linked.ID, linked.Session.Device)
			if done {
				moved <- struct{}{}
			}
			return err
		})
	}
	err = errors.Join(err, work.Wait())
	close(moved)
	if n := <-total; n > 0 {
		s.log.InfoContext(ctx, "devices of an earlier version were moved over", slog.Int("devices", n))
	}
	if err != nil {
		return err
	}
	return from.ForgetLegacyDevices(ctx)
}

func (s *Store) importOne(ctx context.Context, from tenant.LegacyDevices, id tenant.ID, jid string) (moved bool, err error) {
	legacy, err := from.LegacyDevice(ctx, jid, owner(id))
	if errors.Is(err, tenant.ErrDeviceNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	d := s.newDevice(id)
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	if err = d.takeKey(key); err != nil {
		return false, err
	}
	stored, err := d.sealLegacy(legacy)
	if err != nil {
		return false, fmt.Errorf("tenant %s: %w", id, err)
	}
	rows := make([]tenant.DeviceRow, 0, len(legacy.Rows[tenant.LegacySessions]))
	for row, v := range legacyRows(legacy) {
		rows = append(rows, tenant.DeviceRow{Kind: row.kind, Key: []byte(row.key), Value: d.sealedFor(row, v.value), At: v.at})
	}
	if err = from.MoveDevice(ctx, id, stored, rows, jid, owner(id)); err != nil {
		return false, fmt.Errorf("tenant %s: %w", id, err)
	}
	return true, nil
}

func (d *device) sealedFor(row rowID, value []byte) []byte {
	if row.kind == kindDoneEvent {
		return []byte{}
	}
	return d.sealer.seal(row, value)
}

// sealLegacy encrypts the credentials.
func (d *device) sealLegacy(l *tenant.LegacyDevice) (tenant.Device, error) {
	account := &waAdv.ADVSignedDeviceIdentity{
		Details: l.AccountDetails, AccountSignature: l.AccountSignature, AccountSignatureKey: l.AccountSignatureKey,
		DeviceSignature: l.DeviceSignature,
	}
	lid := l.LID
	if parsed, err := types.ParseJID(lid); err != nil || parsed.IsEmpty() {
		lid = "" // sqlstore writes that there is none in ways of its own
	}
	plain, err := (&credentials{
		JID: l.JID, LID: lid, RegistrationID: l.RegistrationID, NoiseKey: l.NoiseKey, IdentityKey: l.IdentityKey,
		SignedPreKey: l.SignedPreKey, SignedPreKeyID: l.SignedPreKeyID, SignedPreKeySignature: l.SignedPreKeySignature,
		AdvSecretKey: l.AdvSecretKey, Platform: l.Platform, BusinessName: l.BusinessName, PushName: l.PushName,
		LIDMigrationTimestamp: l.LIDMigrationTimestamp, CompanionMetaNonce: l.CompanionMetaNonce,
	}).encode(account)
	if err != nil {
		return tenant.Device{}, err
	}
	stored := tenant.Device{JID: l.JID, Value: d.sealer.seal(rowID{kind: kindCredentials}, plain)}
	stored.MasterKey, stored.WrappedKey = d.store.keys.wrap(d.id, d.key)
	return stored, nil
}

// legacyRows are the rows of a device in our form, each key once.
func legacyRows(l *tenant.LegacyDevice) map[rowID]version {
	rows := make(map[rowID]version)
	now := time.Now()
	put := func(kind int16, key string, value []byte, at int64) {
		rows[rowID{kind, key}] = version{value: value, at: at}
	}
	for _, r := range l.Rows[tenant.LegacyIdentities] {
		put(kindIdentity, keyOf(r.Texts[0]), r.Bytes[0], 0)
	}
	for _, r := range l.Rows[tenant.LegacySessions] {
		put(kindSession, keyOf(r.Texts[0]), r.Bytes[0], 0)
	}
	next := uint32(1)
	for _, r := range l.Rows[tenant.LegacyPreKeys] {
		id := uint32(r.Numbers[0]) //nolint:gosec // the table has ids of 24 bits
		kind := kindFreshPreKey
		if r.Numbers[1] != 0 {
			kind = kindPreKey
		}
		put(kind, preKeyName(id), r.Bytes[0], 0)
		next = max(next, id+1)
	}
	put(kindSingle, nextPreKey, binary.BigEndian.AppendUint32(nil, next), 0)
	for _, r := range l.Rows[tenant.LegacySenderKeys] {
		put(kindSenderKey, keyOf(r.Texts[1], r.Texts[0]), r.Bytes[0], 0)
	}
	for _, r := range l.Rows[tenant.LegacyStateKeys] {
		value := encodeSyncKey(store.AppStateSyncKey{Data: r.Bytes[1], Fingerprint: r.Bytes[2], Timestamp: r.Numbers[0]})
		put(kindStateKey, keyOf(string(r.Bytes[0])), value, 0)
	}
	for _, r := range l.Rows[tenant.LegacyStateVersions] {
		put(kindStateVersion, keyOf(r.Texts[0]), numbered(uint64(r.Numbers[0]), r.Bytes[0]), 0) //nolint:gosec // as it was
	}
	for _, r := range l.Rows[tenant.LegacyStateMACs] { // later versions replace earlier ones
		put(kindStateMAC, keyOf(r.Texts[0], string(r.Bytes[0])), numbered(uint64(r.Numbers[0]), r.Bytes[1]), 0) //nolint:gosec // as it was
	}
	for _, r := range l.Rows[tenant.LegacySecrets] {
		put(kindMessageSecret, keyOf(r.Texts[0], r.Texts[1], r.Texts[2]), r.Bytes[0], now.UnixMilli())
	}
	for _, r := range l.Rows[tenant.LegacyTokens] {
		t := store.PrivacyToken{Token: r.Bytes[0], Timestamp: time.Unix(r.Numbers[0], 0)}
		if r.Numbers[1] != 0 {
			t.SenderTimestamp = time.Unix(r.Numbers[1], 0)
		}
		put(kindPrivacyToken, keyOf(r.Texts[0]), encodeToken(&t), tokenAge(&t))
	}
	for _, r := range l.Rows[tenant.LegacyEvents] {
		kind, value := kindDoneEvent, []byte(nil)
		if r.Bytes[1] != nil {
			kind, value = kindEvent, numbered(uint64(r.Numbers[0]), r.Bytes[1]) //nolint:gosec // as it was
		}
		put(kind, string(r.Bytes[0]), value, max(1, r.Numbers[1]))
	}
	for _, r := range l.Rows[tenant.LegacySalt] {
		put(kindSingle, nctSalt, r.Bytes[0], 0)
	}
	return rows
}
