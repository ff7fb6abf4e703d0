package tenant

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"regexp"
	"time"
)

// KeyID names an API key: the tenant's ID and six characters more. That it starts with the tenant's ID lets a key be found by
// (tenant, key), as everything else is.
type KeyID string

const (
	keyIDLength  = idLength + 6
	secretLength = 40 // 200 bits
)

var keyPattern = regexp.MustCompile(`^wf_([a-z2-7]{18})_([a-z2-7]{40})$`)

// Tenant is the tenant that the key belongs to, or "" when the key's id is malformed.
func (id KeyID) Tenant() ID {
	if len(id) != keyIDLength {
		return ""
	}
	return ID(id[:idLength])
}

// ParseKeyID checks the form of a key's id that came from outside. Returns ErrKeyNotFound.
func ParseKeyID(s string) (KeyID, error) {
	if len(s) != keyIDLength || !idPattern.MatchString(s[:idLength]) {
		return "", ErrKeyNotFound
	}
	return KeyID(s), nil
}

// Key is what is kept of an API key. The secret itself is shown once, when the key is made, and never stored.
type Key struct {
	ID        KeyID      `json:"id" doc:"The key's id; the API key starts with it." example:"k7q2m4x5a3bcp6t2ya"`
	Label     string     `json:"label,omitempty" doc:"What the operator calls the key." example:"production"`
	CreatedAt time.Time  `json:"createdAt" doc:"When the key was made."`
	ExpiresAt *time.Time `json:"expiresAt,omitempty" doc:"When the key stops working by itself."`
	RevokedAt *time.Time `json:"revokedAt,omitempty" doc:"When the key was revoked."`
	// Hash is the SHA-256 of the secret. The secret has 200 random bits, so a slow hash would add nothing.
	Hash [sha256.Size]byte `json:"-"`
}

// Secret is a whole API key, wf_<key id>_<secret>. It prints as its id alone; [Secret.Reveal] shows it.
type Secret struct {
	id     KeyID
	secret string
}

// NewSecret makes a random API key for a tenant.
func NewSecret(id ID) Secret {
	return Secret{id: KeyID(string(id) + randomText(keyIDLength-idLength)), secret: randomText(secretLength)}
}

// ParseSecret checks the form of an API key that came from outside. Returns ErrInvalidKey.
func ParseSecret(s string) (Secret, error) {
	parts := keyPattern.FindStringSubmatch(s)
	if parts == nil {
		return Secret{}, fmt.Errorf("%w: malformed", ErrInvalidKey)
	}
	return Secret{id: KeyID(parts[1]), secret: parts[2]}, nil
}

// ID is the public part of the key.
func (s Secret) ID() KeyID { return s.id }

// Hash is what is stored of the key.
func (s Secret) Hash() [sha256.Size]byte { return sha256.Sum256([]byte(s.secret)) }

// Reveal is the whole key, to be shown once to whoever asked for it.
func (s Secret) Reveal() string { return "wf_" + string(s.id) + "_" + s.secret }

// String hides the secret.
func (s Secret) String() string { return "wf_" + string(s.id) + "_***" }

// GoString hides the secret from %#v too.
func (s Secret) GoString() string { return s.String() }

// LogValue hides the secret from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Admits says whether the secret belongs to this key and the key may be used at that time. Returns ErrInvalidKey.
func (k *Key) Admits(s Secret, at time.Time) error {
	hash := s.Hash()
	switch {
	case s.id != k.ID || subtle.ConstantTimeCompare(hash[:], k.Hash[:]) != 1:
		return fmt.Errorf("%w: no such key", ErrInvalidKey)
	case k.RevokedAt != nil:
		return fmt.Errorf("%w: revoked", ErrInvalidKey)
	case k.ExpiresAt != nil && !at.Before(*k.ExpiresAt):
		return fmt.Errorf("%w: expired", ErrInvalidKey)
	default:
		return nil
	}
}
