package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

// The tables of whatsmeow's own store, as its version 15 has them. A device's rows name it by its JID; the owner stands in a column that
// is of no other use to us.
const (
	legacyTable        = "whatsmeow_device"
	selectLegacyDevice = `
		SELECT jid, COALESCE(lid, ''), registration_id, noise_key, identity_key, signed_pre_key, signed_pre_key_sig, signed_pre_key_id,
			adv_key, adv_details, adv_account_sig, adv_account_sig_key, adv_device_sig,
			platform, business_name, push_name, companion_meta_nonce, lid_migration_ts
		FROM whatsmeow_device WHERE jid=$1 AND facebook_uuid=$2`
	disownLegacyDevice = `UPDATE whatsmeow_device SET facebook_uuid=NULL WHERE jid=$1 AND facebook_uuid=$2`
	selectDisowned     = `SELECT jid FROM whatsmeow_device WHERE facebook_uuid IS NULL`
	deleteLegacyDevice = `DELETE FROM whatsmeow_device WHERE jid=$1`
	// deleteLegacyTokens: the one table without a foreign key.
	deleteLegacyTokens = `DELETE FROM whatsmeow_privacy_tokens WHERE our_jid=$1`

	//nolint:gosec // no credentials
	deleteSomeLegacySecrets = `
		DELETE FROM whatsmeow_message_secrets WHERE our_jid=$1 AND (chat_jid, sender_jid, message_id) IN (
			SELECT chat_jid, sender_jid, message_id FROM whatsmeow_message_secrets WHERE our_jid=$1 LIMIT $2)`
	deleteSomeLegacyEvents = `
		DELETE FROM whatsmeow_event_buffer WHERE our_jid=$1 AND ciphertext_hash IN (
			SELECT ciphertext_hash FROM whatsmeow_event_buffer WHERE our_jid=$1 LIMIT $2)`
	deleteSomeLegacyMACs = `
		DELETE FROM whatsmeow_app_state_mutation_macs WHERE jid=$1 AND (name, version, index_mac) IN (
			SELECT name, version, index_mac FROM whatsmeow_app_state_mutation_macs WHERE jid=$1 LIMIT $2)`
)

// legacyQueries read a device's rows: three texts, two numbers, three values of bytes. See [tenant.LegacyKind].
func legacyQueries() map[tenant.LegacyKind]string {
	return map[tenant.LegacyKind]string{
		tenant.LegacyIdentities: `SELECT their_id, '', '', 0, 0, identity, NULL, NULL FROM whatsmeow_identity_keys WHERE our_jid=$1`,
		tenant.LegacySessions: `
			SELECT their_id, '', '', 0, 0, session, NULL, NULL FROM whatsmeow_sessions WHERE our_jid=$1 AND session IS NOT NULL`,
		tenant.LegacyPreKeys: `
			SELECT '', '', '', key_id, CASE WHEN uploaded THEN 1 ELSE 0 END, key, NULL, NULL FROM whatsmeow_pre_keys WHERE jid=$1`,
		tenant.LegacySenderKeys: `SELECT chat_id, sender_id, '', 0, 0, sender_key, NULL, NULL FROM whatsmeow_sender_keys WHERE our_jid=$1`,
		tenant.LegacyStateKeys: `
			SELECT '', '', '', timestamp, 0, key_id, key_data, fingerprint FROM whatsmeow_app_state_sync_keys WHERE jid=$1`,
		tenant.LegacyStateVersions: `SELECT name, '', '', version, 0, hash, NULL, NULL FROM whatsmeow_app_state_version WHERE jid=$1`,
		tenant.LegacyStateMACs: `
			SELECT name, '', '', version, 0, index_mac, value_mac, NULL
			FROM whatsmeow_app_state_mutation_macs WHERE jid=$1 ORDER BY version`,
		tenant.LegacySecrets: `SELECT chat_jid, sender_jid, message_id, 0, 0, key, NULL, NULL FROM whatsmeow_message_secrets WHERE our_jid=$1`,
		tenant.LegacyTokens: `
			SELECT their_jid, '', '', timestamp, COALESCE(sender_timestamp, 0), token, NULL, NULL
			FROM whatsmeow_privacy_tokens WHERE our_jid=$1`,
		tenant.LegacyEvents: `
			SELECT '', '', '', server_timestamp, insert_timestamp, ciphertext_hash, plaintext, NULL
			FROM whatsmeow_event_buffer WHERE our_jid=$1`,
		tenant.LegacySalt: `SELECT '', '', '', 0, 0, salt, NULL, NULL FROM whatsmeow_nct_salt WHERE our_jid=$1`,
	}
}

var _ tenant.LegacyDevices = (*Store)(nil)

// HasLegacyDevices says whether there may be devices of an earlier version.
func (s *Store) HasLegacyDevices(ctx context.Context) (bool, error) {
	has, err := s.db.TableExists(ctx, legacyTable)
	return has, s.wrap(ctx, "look for devices of an earlier version", err)
}

// LegacyDevice reads a device with all that belongs to it. Returns ErrDeviceNotFound.
func (s *Store) LegacyDevice(ctx context.Context, jid, owner string) (*tenant.LegacyDevice, error) {
	d := &tenant.LegacyDevice{Rows: make(map[tenant.LegacyKind][]tenant.LegacyRow)}
	err := s.read(ctx, func(ctx context.Context, on dbutil.Execable) error {
		return on.QueryRowContext(ctx, selectLegacyDevice, jid, owner).Scan(
			&d.JID, &d.LID, &d.RegistrationID, &d.NoiseKey, &d.IdentityKey, &d.SignedPreKey, &d.SignedPreKeySignature, &d.SignedPreKeyID,
			&d.AdvSecretKey, &d.AccountDetails, &d.AccountSignature, &d.AccountSignatureKey, &d.DeviceSignature,
			&d.Platform, &d.BusinessName, &d.PushName, &d.CompanionMetaNonce, &d.LIDMigrationTimestamp,
		)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, tenant.ErrDeviceNotFound
	}
	if err != nil {
		return nil, s.wrap(ctx, "read device of an earlier version", err)
	}
	for kind, query := range legacyQueries() {
		err = s.read(ctx, func(ctx context.Context, on dbutil.Execable) (err error) {
			d.Rows[kind], err = collect(ctx, on, scanLegacyRow, query, jid)
			return err
		})
		if err != nil {
			return nil, s.wrap(ctx, "read "+string(kind)+" of an earlier version", err)
		}
	}
	return d, nil
}

func scanLegacyRow(row dbutil.Scannable) (r tenant.LegacyRow, err error) {
	err = row.Scan(&r.Texts[0], &r.Texts[1], &r.Texts[2], &r.Numbers[0], &r.Numbers[1], &r.Bytes[0], &r.Bytes[1], &r.Bytes[2])
	return r, err
}

// MoveDevice stores a tenant's device with its rows, and takes it from its owner in the earlier version's tables. The rows, of which there
// may be many, come first: they are noise until the device is there.
func (s *Store) MoveDevice(ctx context.Context, id tenant.ID, d tenant.Device, rows []tenant.DeviceRow, jid, owner string) error {
	if err := s.DeleteDevice(ctx, id); err != nil {
		return err
	}
	for len(rows) > 0 {
		n := min(len(rows), deleteChunk)
		some := rows[:n]
		err := s.committer.do(ctx, n, func(ctx context.Context, b *batch) error {
			b.writes++
			return b.tx.together(ctx, manyWrites("write device rows", upsertDeviceRows, insertDeviceTuple, some, func(r tenant.DeviceRow) []any {
				return []any{string(id), r.Kind, r.Key, r.Value, r.At}
			}))
		})
		if err != nil {
			return s.wrap(ctx, "move device", err)
		}
		rows = rows[n:]
	}
	return s.wrap(ctx, "move device", s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		if _, err := b.exec(ctx, id, upsertDevice, d.JID, d.MasterKey, d.WrappedKey, d.Value); err != nil {
			return err
		}
		_, err := b.execBare(ctx, disownLegacyDevice, jid, owner)
		return err
	}))
}

// ForgetLegacyDevices deletes in small steps what is left of devices without an owner.
func (s *Store) ForgetLegacyDevices(ctx context.Context) error {
	var jids []string
	err := s.read(ctx, func(ctx context.Context, on dbutil.Execable) (err error) {
		jids, err = collect(ctx, on, scanString, selectDisowned)
		return err
	})
	for _, jid := range jids {
		if err == nil {
			err = s.forgetLegacyDevice(ctx, jid)
		}
	}
	return s.wrap(ctx, "delete devices of an earlier version", err)
}

func (s *Store) forgetLegacyDevice(ctx context.Context, jid string) error {
	for _, statement := range []string{deleteSomeLegacySecrets, deleteSomeLegacyEvents, deleteSomeLegacyMACs} {
		for gone := int64(deleteChunk); gone >= deleteChunk; {
			err := s.committer.do(ctx, deleteChunk, func(ctx context.Context, b *batch) (err error) {
				gone, err = b.execBare(ctx, statement, jid, deleteChunk)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		if _, err := b.execBare(ctx, deleteLegacyTokens, jid); err != nil {
			return fmt.Errorf("privacy tokens: %w", err)
		}
		_, err := b.execBare(ctx, deleteLegacyDevice, jid)
		return err
	})
}
