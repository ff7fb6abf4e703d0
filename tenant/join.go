package tenant

import (
	"fmt"
	"regexp"
)

// JoinToken names a group to people who have no API key: it is the last part of the group's join URL. wj_<tenant>_<160 random bits>;
// that it names the tenant lets it be found by (tenant, token), as everything else is.
type JoinToken string

const joinSecretLength = 32 // 160 bits

var joinPattern = regexp.MustCompile(`^wj_([a-z2-7]{12})_[a-z2-7]{32}$`)

// NewJoinToken makes a random token for a group of a tenant.
func NewJoinToken(id ID) JoinToken {
	return JoinToken("wj_" + string(id) + "_" + randomText(joinSecretLength))
}

// ParseJoinToken checks the form of a token that came from outside. Returns ErrJoinTokenNotFound.
func ParseJoinToken(s string) (JoinToken, error) {
	if !joinPattern.MatchString(s) {
		return "", fmt.Errorf("%w: malformed", ErrJoinTokenNotFound)
	}
	return JoinToken(s), nil
}

// Tenant is the tenant that the token belongs to, or "" when the token is malformed.
func (t JoinToken) Tenant() ID {
	parts := joinPattern.FindStringSubmatch(string(t))
	if parts == nil {
		return ""
	}
	return ID(parts[1])
}

// String is the token as logs may show it: whoever has the whole may join.
func (t JoinToken) String() string { return "wj_" + string(t.Tenant()) + "_…" }

// SetJoinToken gives a group a token in the place of the one before, or takes it away if Token is empty. Commit returns
// ErrChatNotFound when there is no such chat.
type SetJoinToken struct {
	ChatID ChatID
	Token  JoinToken
}

func (SetJoinToken) isChange() {}
