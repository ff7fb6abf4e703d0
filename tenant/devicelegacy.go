package tenant

import "context"

// LegacyDevice is what whatsmeow's own store, which earlier versions used, holds of a device. JIDs and addresses are in whatsmeow's
// notation, times in Unix seconds where nothing else is said.
type LegacyDevice struct {
	JID, LID       string
	RegistrationID uint32

	NoiseKey, IdentityKey, SignedPreKey, SignedPreKeySignature, AdvSecretKey []byte
	SignedPreKeyID                                                           uint32

	AccountDetails, AccountSignature, AccountSignatureKey, DeviceSignature []byte

	Platform, BusinessName, PushName, CompanionMetaNonce string
	LIDMigrationTimestamp                                int64

	Rows map[LegacyKind][]LegacyRow
}

// LegacyRow is a row that belongs to a device: what it holds of texts, numbers and bytes, in the order that its kind says.
type LegacyRow struct {
	Texts   [3]string
	Numbers [2]int64
	Bytes   [3][]byte
}

// LegacyKind is which table a row is from.
type LegacyKind string

// The kinds of rows, and what they hold.
const (
	LegacyIdentities    LegacyKind = "identities"     // address; -; key
	LegacySessions      LegacyKind = "sessions"       // address; -; session
	LegacyPreKeys       LegacyKind = "prekeys"        // -; id, 1 if uploaded; private key
	LegacySenderKeys    LegacyKind = "sender keys"    // group, address; -; key
	LegacyStateKeys     LegacyKind = "state keys"     // -; time; id, data, fingerprint
	LegacyStateVersions LegacyKind = "state versions" // name; version; hash
	LegacyStateMACs     LegacyKind = "state macs"     // name; version; index MAC, value MAC. In the order of versions
	LegacySecrets       LegacyKind = "secrets"        // chat, sender, message id; -; secret
	LegacyTokens        LegacyKind = "tokens"         // user; time, time sent or 0; token
	LegacyEvents        LegacyKind = "events"         // -; server's time, time of decryption in ms; hash, plaintext or nil
	LegacySalt          LegacyKind = "salt"           // -; -; salt
)

// LegacyDevices are those that an earlier version has stored.
type LegacyDevices interface {
	// HasLegacyDevices says whether there may be any.
	HasLegacyDevices(ctx context.Context) (bool, error)
	// LegacyDevice reads a device with all that belongs to it. Returns ErrDeviceNotFound when there is none, or it has another owner.
	LegacyDevice(ctx context.Context, jid, owner string) (*LegacyDevice, error)
	// MoveDevice stores a tenant's device with its rows, and in the commit that makes them count takes the device from its owner in
	// the earlier version's tables. Whatever the tenant had before goes. It may be called again after an error.
	MoveDevice(ctx context.Context, id ID, d Device, rows []DeviceRow, jid, owner string) error
	// ForgetLegacyDevices deletes in small steps what is left of devices without an owner.
	ForgetLegacyDevices(ctx context.Context) error
}
