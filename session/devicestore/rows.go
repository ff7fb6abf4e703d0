package devicestore

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"github.com/wafleet/wafleet/tenant"
)

// The kinds of rows. They are stored: a number never changes its meaning.
const (
	kindIdentity      int16 = 1 // address → the other's public identity key
	kindSession       int16 = 2 // address → ratchet
	kindPreKey        int16 = 3 // id, 4 bytes → private key of a prekey that WhatsApp has
	kindFreshPreKey   int16 = 4 // the same, not uploaded yet
	kindSenderKey     int16 = 5 // address, group → sender key
	kindStateKey      int16 = 6 // id → key of the app state
	kindStateVersion  int16 = 7 // collection → version, hash
	kindStateMAC      int16 = 8 // collection, index MAC → version, value MAC
	kindMessageSecret int16 = 9 // chat, sender, message id → secret. Ages
	kindPrivacyToken  int16 = 10
	kindSingle        int16 = 11 // things of which there is one
	kindEvent         int16 = 12 // ciphertext's hash → plaintext of an event whose record is not committed. Ages
	kindDoneEvent     int16 = 13 // ciphertext's hash → nothing. Ages
	kindOutgoing      int16 = 14 // chat, message id → plaintext of what was sent. Ages
	// kindCredentials is the kind that a device's credentials are sealed for; they lie elsewhere.
	kindCredentials int16 = 0
)

// cached says whether rows of a kind are read again and again.
func cached(kind int16) bool {
	switch kind {
	case kindIdentity, kindSession, kindSenderKey, kindStateKey, kindStateVersion, kindSingle, kindPrivacyToken:
		return true
	default:
		return false
	}
}

// rowID names a row of a device.
type rowID struct {
	kind int16
	key  string
}

// maxKey bounds keys, in bytes: senders choose message ids, and an index takes only so much.
const maxKey = 240

// keyOf makes one key of several parts. Those that have the first parts in common lie side by side.
func keyOf(parts ...string) string {
	key := parts[0]
	if len(parts) > 1 {
		key = strings.Join(parts, "\x00")
	}
	if len(key) <= maxKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "\xff" + string(sum[:])
}

// after is the first key behind all that begin with prefix.
func after(prefix string) []byte {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// sealer encrypts a device's rows.
type sealer struct {
	id   tenant.ID
	aead cipher.AEAD
}

// bound is what a row's value is authenticated with.
func (s *sealer) bound(row rowID) []byte {
	bound := make([]byte, 0, 4+len(s.id)+len(row.key))
	bound = append(bound, 1) // of the format
	bound = append(bound, s.id...)
	bound = append(bound, 0)
	bound = binary.BigEndian.AppendUint16(bound, uint16(row.kind)) //nolint:gosec // of ours
	return append(bound, row.key...)
}

func (s *sealer) seal(row rowID, plain []byte) []byte { return seal(s.aead, plain, s.bound(row)) }

func (s *sealer) open(row rowID, sealed []byte) ([]byte, error) {
	if row.kind == kindDoneEvent {
		return sealed, nil
	}
	return open(s.aead, sealed, s.bound(row))
}
