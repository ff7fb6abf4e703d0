package tenant

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"regexp"
	"strings"
)

// ID names a tenant: twelve lower-case base32 characters (60 random bits), made by [NewID]. It is not a secret, carries no
// meaning, and never changes.
type ID string

// idLength is the length of an ID in characters. API keys start with the tenant's ID, see key.go.
const idLength = 12

var idPattern = regexp.MustCompile(`^[a-z2-7]{12}$`)

// NewID makes a random ID.
func NewID() ID { return ID(randomText(idLength)) }

// ParseID checks the form of an ID that came from outside. Returns ErrInvalidID.
func ParseID(s string) (ID, error) {
	if !idPattern.MatchString(s) {
		return "", fmt.Errorf("%w: %d characters", ErrInvalidID, len(s))
	}
	return ID(s), nil
}

// randomText returns n characters of lower-case base32, five random bits each.
func randomText(n int) string {
	raw := make([]byte, (n*5+7)/8)
	_, _ = rand.Read(raw) // never fails: crypto/rand crashes the process instead
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw)
	return strings.ToLower(text[:n])
}

type contextKey struct{}

// NewContext returns a context that carries the tenant an authenticated request acts for.
func NewContext(ctx context.Context, id ID) context.Context {
	return context.WithValue(ctx, contextKey{}, id)
}

// FromContext returns the tenant of an authenticated request. Its absence is an error, never an empty ID, so that a forgotten
// middleware fails closed. Returns ErrNoTenant.
func FromContext(ctx context.Context) (ID, error) {
	id, ok := ctx.Value(contextKey{}).(ID)
	if !ok || id == "" {
		return "", ErrNoTenant
	}
	return id, nil
}
