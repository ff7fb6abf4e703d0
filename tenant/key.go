package tenant

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"time"
)

// KeyID names an API key: the tenant's ID and six characters more. That it starts with the tenant's ID lets a key be found by
// (tenant, key), as everything else is.
type KeyID string

const (
	keyIDLength  = idLength + 6
	secretLength = 40 // 200 bits
	keyPrefix    = "wf"
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
	ID         KeyID      `json:"id" doc:"The key's id; the API key starts with it." example:"k7q2m4x5a3bcp6t2ya"`
	Label      string     `json:"label,omitempty" doc:"What the operator calls the key." example:"production"`
	Scopes     Scopes     `json:"scopes" enum:"read,send,manage" nullable:"false" doc:"What the key may do."`
	CreatedAt  time.Time  `json:"createdAt" doc:"When the key was made."`
	ExpiresAt  *time.Time `json:"expiresAt,omitempty" doc:"When the key stops working by itself."`
	RevokedAt  *time.Time `json:"revokedAt,omitempty" doc:"When the key was revoked."`
	LastUsedAt *time.Time `json:"lastUsedAt,omitempty" doc:"When the key was used last, to the minute; absent before its first use."`
	// Hash is the SHA-256 of the secret.
	Hash [sha256.Size]byte `json:"-"`
	// Suspended says that the key's tenant is.
	Suspended bool `json:"-"`
}

// NewKey is what creating an API key takes.
type NewKey struct {
	Label     string
	ExpiresAt *time.Time // nil: until revoked
	Scopes    Scopes     // nil: all
}

// KeyChange is what is to be changed of an API key. Nil members leave what is there.
type KeyChange struct {
	Label     *string
	ExpiresAt *time.Time // zero: until revoked
	Scopes    Scopes
}

// Rotation is how an API key is to be followed by another.
type Rotation struct {
	// Overlap is how long the old key goes on working; it never works longer than it would have.
	Overlap time.Duration
	// ExpiresAt is when the new key stops working by itself; nil: until revoked. It takes none from the old key, whose own may be that
	// of a rotation before.
	ExpiresAt *time.Time
}

// Old is when a key that was to expire then expires once it has a successor.
func (r *Rotation) Old(now time.Time, expires *time.Time) time.Time {
	end := now.Add(r.Overlap)
	if expires != nil && expires.Before(end) {
		return *expires
	}
	return end
}

// Secret is a whole API key, wf_<key id>_<secret>. It prints as its id alone; Reveal shows it.
type Secret struct{ secretText }

// NewSecret makes a random API key for a tenant.
func NewSecret(id ID) Secret {
	return Secret{secretText{keyPrefix, string(id) + randomText(keyIDLength-idLength), randomText(secretLength)}}
}

// ParseSecret checks the form of an API key that came from outside. Returns ErrInvalidKey.
func ParseSecret(s string) (Secret, error) {
	parts := keyPattern.FindStringSubmatch(s)
	if parts == nil {
		return Secret{}, fmt.Errorf("%w: malformed", ErrInvalidKey)
	}
	return Secret{secretText{keyPrefix, parts[1], parts[2]}}, nil
}

// ID is the public part of the key.
func (s Secret) ID() KeyID { return KeyID(s.id) }

// Admits says whether the secret belongs to this key and the key may be used at that time. Returns ErrInvalidKey, ErrSuspended.
func (k *Key) Admits(s Secret, at time.Time) error {
	if err := s.admits(string(k.ID), &k.Hash, k.RevokedAt, k.ExpiresAt, at); err != nil {
		return err
	}
	if k.Suspended {
		return ErrSuspended
	}
	return nil
}
