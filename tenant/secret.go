package tenant

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"time"
)

// secretText is a key as its holder has it: <prefix>_<id>_<secret>. It prints as its id alone; Reveal shows it.
type secretText struct{ prefix, id, secret string }

// Hash is what is stored of the key. The secret has 200 random bits, so a slow hash would add nothing.
func (s secretText) Hash() [sha256.Size]byte { return sha256.Sum256([]byte(s.secret)) }

// Reveal is the whole key, to be shown once to whoever asked for it.
func (s secretText) Reveal() string { return s.prefix + "_" + s.id + "_" + s.secret }

// String hides the secret.
func (s secretText) String() string { return s.prefix + "_" + s.id + "_***" }

// GoString hides the secret from %#v too.
func (s secretText) GoString() string { return s.String() }

// LogValue hides the secret from logs.
func (s secretText) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret from encoders.
func (s secretText) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// admits says whether the key may be used of which that is stored. Returns ErrInvalidKey.
func (s secretText) admits(id string, hash *[sha256.Size]byte, revoked, expires *time.Time, at time.Time) error {
	given := s.Hash()
	switch {
	case s.id != id || subtle.ConstantTimeCompare(given[:], hash[:]) != 1:
		return fmt.Errorf("%w: no such key", ErrInvalidKey)
	case revoked != nil:
		return fmt.Errorf("%w: revoked", ErrInvalidKey)
	case expires != nil && !at.Before(*expires):
		return fmt.Errorf("%w: expired", ErrInvalidKey)
	default:
		return nil
	}
}
