package devicestore

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/wafleet/wafleet/tenant"
)

var (
	// ErrMasterKey says that a text is no master key, or no list of them.
	ErrMasterKey = errors.New("not a master key: 32 random bytes in base64, as openssl rand -base64 32 makes them")
	// ErrUnknownMasterKey says that a device's key is encrypted by a master key that the keyring lacks.
	ErrUnknownMasterKey = errors.New("the device's key is encrypted by a master key that was not given")
	// errSpoiled says that something is not what was encrypted: changed, in another's place, or of another key.
	errSpoiled = errors.New("encrypted data is spoiled, or of another key")
)

// keySize is the size of all keys, in bytes.
const keySize = chacha20poly1305.KeySize

// Keyring holds the master keys. The first encrypts the keys of devices; the others decrypt those that it has not encrypted anew yet.
type Keyring struct{ keys []masterKey }

type masterKey struct {
	name string
	aead cipher.AEAD
}

// ParseKeyring reads master keys, each of 32 bytes in base64, with white space or commas between them. Its errors quote nothing.
func ParseKeyring(text string) (*Keyring, error) {
	ring := &Keyring{}
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r <= ' ' }) {
		raw, err := decodeKey(word)
		if err != nil {
			return nil, err
		}
		aead, err := chacha20poly1305.NewX(raw)
		if err != nil {
			return nil, ErrMasterKey
		}
		ring.keys = append(ring.keys, masterKey{nameOf(raw), aead})
	}
	if len(ring.keys) == 0 {
		return nil, ErrMasterKey
	}
	return ring, nil
}

func decodeKey(word string) ([]byte, error) {
	word = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(word, "="))
	raw, err := base64.RawStdEncoding.DecodeString(word)
	if err != nil || len(raw) != keySize {
		return nil, ErrMasterKey
	}
	return raw, nil
}

// NewMasterKey makes a master key, as text.
func NewMasterKey() string {
	raw := make([]byte, keySize)
	_, _ = rand.Read(raw) // never fails
	return base64.StdEncoding.EncodeToString(raw)
}

// nameOf is what a master key is called in the database: a fingerprint, which says nothing about the key.
func nameOf(raw []byte) string {
	sum := sha256.Sum256(append([]byte("wafleet master key\x00"), raw...))
	return hex.EncodeToString(sum[:6])
}

// Names are the names of the keys, as the database has them; the first one's first.
func (k *Keyring) Names() []string {
	names := make([]string, len(k.keys))
	for i, key := range k.keys {
		names[i] = key.name
	}
	return names
}

// String shows no keys.
func (k *Keyring) String() string { return "master keys " + strings.Join(k.Names(), ", ") }

// wrap encrypts a device's key by the first master key.
func (k *Keyring) wrap(id tenant.ID, key []byte) (master string, wrapped []byte) {
	first := k.keys[0]
	return first.name, seal(first.aead, key, wrapping(id))
}

// unwrap decrypts a device's key. Returns ErrUnknownMasterKey, errSpoiled.
func (k *Keyring) unwrap(id tenant.ID, master string, wrapped []byte) ([]byte, error) {
	for _, key := range k.keys {
		if key.name == master {
			return open(key.aead, wrapped, wrapping(id))
		}
	}
	return nil, fmt.Errorf("%w: its name is %s", ErrUnknownMasterKey, master)
}

// wrapping is what a wrapped key is bound to.
func wrapping(id tenant.ID) []byte { return []byte("wafleet device key 1\x00" + string(id)) }

// seal encrypts; the nonce stands in front.
func seal(aead cipher.AEAD, plain, bound []byte) []byte {
	sealed := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	_, _ = rand.Read(sealed) // never fails
	return aead.Seal(sealed, sealed, plain, bound)
}

func open(aead cipher.AEAD, sealed, bound []byte) ([]byte, error) {
	if len(sealed) < aead.NonceSize() {
		return nil, errSpoiled
	}
	plain, err := aead.Open([]byte{}, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], bound)
	if err != nil {
		return nil, errSpoiled
	}
	return plain, nil
}
