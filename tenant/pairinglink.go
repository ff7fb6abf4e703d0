package tenant

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"regexp"
	"time"
)

// PairingLinkID names a pairing link: the tenant's ID and six characters more, as a [KeyID] is made.
type PairingLinkID string

const (
	linkIDLength     = idLength + 6
	linkSecretLength = 32 // 160 bits
)

// MaxPairingLinks is how many links a tenant may have that can still be used. Of those that cannot, as many are remembered.
const MaxPairingLinks = 50

var linkPattern = regexp.MustCompile(`^wp_([a-z2-7]{18})_([a-z2-7]{32})$`)

// Tenant is the tenant that the link belongs to, or "" when its id is malformed.
func (id PairingLinkID) Tenant() ID {
	if len(id) != linkIDLength {
		return ""
	}
	return ID(id[:idLength])
}

// ParsePairingLinkID checks the form of a link's id that came from outside. Returns ErrPairingLinkNotFound.
func ParsePairingLinkID(s string) (PairingLinkID, error) {
	if len(s) != linkIDLength || !idPattern.MatchString(s[:idLength]) {
		return "", ErrPairingLinkNotFound
	}
	return PairingLinkID(s), nil
}

// PairingToken is the last part of a pairing link's address, wp_<link id>_<160 random bits>: whoever has it may link an account to
// the tenant. It prints as its id alone; [PairingToken.Reveal] shows it.
type PairingToken struct {
	id     PairingLinkID
	secret string
}

// NewPairingToken makes a random token for a tenant.
func NewPairingToken(id ID) PairingToken {
	return PairingToken{id: PairingLinkID(string(id) + randomText(linkIDLength-idLength)), secret: randomText(linkSecretLength)}
}

// ParsePairingToken checks the form of a token that came from outside. Returns ErrPairingLinkNotFound.
func ParsePairingToken(s string) (PairingToken, error) {
	parts := linkPattern.FindStringSubmatch(s)
	if parts == nil {
		return PairingToken{}, fmt.Errorf("%w: malformed", ErrPairingLinkNotFound)
	}
	return PairingToken{id: PairingLinkID(parts[1]), secret: parts[2]}, nil
}

// ID is the public part of the token.
func (t PairingToken) ID() PairingLinkID { return t.id }

// Hash is what is stored of the token. Its secret is random, so a slow hash would add nothing.
func (t PairingToken) Hash() [sha256.Size]byte { return sha256.Sum256([]byte(t.secret)) }

// Reveal is the whole token, to be shown once to whoever asked for it.
func (t PairingToken) Reveal() string { return "wp_" + string(t.id) + "_" + t.secret }

// String hides the secret.
func (t PairingToken) String() string { return "wp_" + string(t.id) + "_***" }

// GoString hides the secret from %#v too.
func (t PairingToken) GoString() string { return t.String() }

// LogValue hides the secret from logs.
func (t PairingToken) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText hides the secret from encoders.
func (t PairingToken) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// PairingLink is what is kept of a pairing link.
type PairingLink struct {
	ID        PairingLinkID
	Phone     string // the number that the page makes a code for, in digits; empty: it asks
	ReturnURL string // where the page leads when the account is linked; empty: nowhere
	CreatedAt time.Time
	ExpiresAt time.Time
	UsedAt    *time.Time // an account was linked by it
	RevokedAt *time.Time
	Hash      [sha256.Size]byte
}

// NewPairingLink is what making a pairing link takes. The caller has checked it.
type NewPairingLink struct {
	Phone     string
	ReturnURL string
	ExpiresAt time.Time
}

// LinkState says whether a pairing link can be used.
type LinkState string

// The states of a pairing link. Only an active one can be used; none of the others becomes active again.
const (
	LinkActive  LinkState = "active"
	LinkUsed    LinkState = "used"
	LinkExpired LinkState = "expired"
	LinkRevoked LinkState = "revoked"
)

// State is the link's state at that time.
func (l *PairingLink) State(at time.Time) LinkState {
	switch {
	case l.UsedAt != nil:
		return LinkUsed
	case l.RevokedAt != nil:
		return LinkRevoked
	case !at.Before(l.ExpiresAt):
		return LinkExpired
	default:
		return LinkActive
	}
}

// Admits says whether the token is the link's. Returns ErrPairingLinkNotFound.
func (l *PairingLink) Admits(t PairingToken) error {
	hash := t.Hash()
	if t.id != l.ID || subtle.ConstantTimeCompare(hash[:], l.Hash[:]) != 1 {
		return fmt.Errorf("%w: another secret", ErrPairingLinkNotFound)
	}
	return nil
}

// UsePairingLinks says that an account is being linked by these links, which are used up thereby, or with Undo that it was not
// linked after all. Links that are gone, and for Undo those that are not used, are left.
type UsePairingLinks struct {
	IDs  []PairingLinkID
	Undo bool
}

func (UsePairingLinks) isChange() {}
