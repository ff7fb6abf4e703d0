package tenant

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"time"
)

// AdminRole is what an operator's key may do.
type AdminRole string

// The roles. Each may do what those after it may.
const (
	RoleOwner    AdminRole = "owner"    // everything, admin keys included
	RoleOperator AdminRole = "operator" // everything but admin keys
	RoleViewer   AdminRole = "viewer"   // look at what is no secret
)

// Covers says whether a key of this role may do what needs that one.
func (r AdminRole) Covers(needed AdminRole) bool {
	rank := func(role AdminRole) int {
		switch role {
		case RoleOwner:
			return 3 //nolint:mnd // the order of the roles
		case RoleOperator:
			return 2 //nolint:mnd // likewise
		case RoleViewer:
			return 1
		}
		return 0
	}
	return rank(r) > 0 && rank(r) >= rank(needed)
}

// AdminKeyID names a key of the operator's: twelve random characters.
type AdminKeyID string

// ParseAdminKeyID checks the form of an admin key's id that came from outside. Returns ErrKeyNotFound.
func ParseAdminKeyID(s string) (AdminKeyID, error) {
	if !idPattern.MatchString(s) {
		return "", ErrKeyNotFound
	}
	return AdminKeyID(s), nil
}

// AdminKey is what is kept of a key of the operator's. The secret itself is shown once and never stored.
type AdminKey struct {
	ID         AdminKeyID `json:"id" doc:"The key's id; the audit log names who acted by it." example:"m3x7q2k4a5cb"`
	Label      string     `json:"label,omitempty" doc:"Whose key it is." example:"on call"`
	Role       AdminRole  `json:"role" enum:"owner,operator,viewer" doc:"What the key may do." example:"operator"`
	CreatedAt  time.Time  `json:"createdAt" doc:"When the key was made."`
	ExpiresAt  *time.Time `json:"expiresAt,omitempty" doc:"When the key stops working by itself."`
	RevokedAt  *time.Time `json:"revokedAt,omitempty" doc:"When the key was revoked."`
	LastUsedAt *time.Time `json:"lastUsedAt,omitempty" doc:"When the key was used last, to the minute; absent before its first use."`
	// Hash is the SHA-256 of the secret.
	Hash [sha256.Size]byte `json:"-"`
}

// NewAdminKey is what creating a key of the operator's takes.
type NewAdminKey struct {
	Label     string
	Role      AdminRole
	ExpiresAt *time.Time // nil: until revoked
}

// AdminSecret is a whole key of the operator's, wfa_<key id>_<secret>. It prints as its id alone; Reveal shows it.
type AdminSecret struct{ secretText }

const adminPrefix = "wfa"

var adminPattern = regexp.MustCompile(`^wfa_([a-z2-7]{12})_([a-z2-7]{40})$`)

// NewAdminSecret makes a random key.
func NewAdminSecret() AdminSecret {
	return AdminSecret{secretText{adminPrefix, randomText(idLength), randomText(secretLength)}}
}

// ParseAdminSecret checks the form of an admin key that came from outside. Returns ErrInvalidKey.
func ParseAdminSecret(s string) (AdminSecret, error) {
	parts := adminPattern.FindStringSubmatch(s)
	if parts == nil {
		return AdminSecret{}, fmt.Errorf("%w: malformed", ErrInvalidKey)
	}
	return AdminSecret{secretText{adminPrefix, parts[1], parts[2]}}, nil
}

// ID is the public part of the key.
func (s AdminSecret) ID() AdminKeyID { return AdminKeyID(s.id) }

// Admits says whether the secret belongs to this key and the key may be used at that time. Returns ErrInvalidKey.
func (k *AdminKey) Admits(s AdminSecret, at time.Time) error {
	return s.admits(string(k.ID), &k.Hash, k.RevokedAt, k.ExpiresAt, at)
}
