package tenant

import (
	"fmt"
	"strings"
)

// ChatID names a chat (client API v2 §5): <digits>@g.us a group, <digits>@c.us a person by phone number, <digits>@lid a person
// whose phone number is not known yet (WhatsApp's hidden id). A person's chat id also names the person: as sender, as
// participant, as contact.
type ChatID string

// The servers of a ChatID.
const (
	serverGroup  = "@g.us"
	serverPerson = "@c.us"
	serverHidden = "@lid"
	// serverWhatsApp is what WhatsApp itself writes for serverPerson. Accepted, never given out.
	serverWhatsApp = "@s.whatsapp.net"
)

// ParseChatID reads a chat id that came from outside, in any form that WhatsApp or the API uses, and returns it in ours.
// Returns ErrInvalidChatID.
func ParseChatID(s string) (ChatID, error) {
	user, server, found := strings.Cut(s, "@")
	if !found {
		return "", fmt.Errorf("%w: no server part", ErrInvalidChatID)
	}
	server = "@" + server
	switch server {
	case serverWhatsApp:
		server = serverPerson
	case serverPerson, serverHidden:
	case serverGroup:
		// Groups made before 2021 are <creator's number>-<unix time>@g.us.
		if creator, unix, old := strings.Cut(user, "-"); old && isDigits(creator) && isDigits(unix) {
			return ChatID(user + server), nil
		}
	default:
		return "", fmt.Errorf("%w: server part is none of @c.us, @g.us, @lid", ErrInvalidChatID)
	}
	if !isDigits(user) {
		return "", fmt.Errorf("%w: not digits before the server part", ErrInvalidChatID)
	}
	return ChatID(user + server), nil
}

// maxUserLength is the longest user part: group ids have 18 digits, LIDs 15, phone numbers at most 15 (ITU-T E.164).
const maxUserLength = 32

func isDigits(s string) bool {
	if s == "" || len(s) > maxUserLength {
		return false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// PersonID is the chat id of a phone number in digits.
func PersonID(digits string) ChatID { return ChatID(digits + serverPerson) }

// HiddenID is the chat id of a LID's user part.
func HiddenID(user string) ChatID { return ChatID(user + serverHidden) }

// GroupID is the chat id of a group's user part.
func GroupID(user string) ChatID { return ChatID(user + serverGroup) }

// User is the part before the @.
func (id ChatID) User() string {
	user, _, _ := strings.Cut(string(id), "@")
	return user
}

// IsGroup says whether the id names a group.
func (id ChatID) IsGroup() bool { return strings.HasSuffix(string(id), serverGroup) }

// IsHidden says whether the id names a person by LID.
func (id ChatID) IsHidden() bool { return strings.HasSuffix(string(id), serverHidden) }

// Phone is the phone number in digits, or "" when the id has none.
func (id ChatID) Phone() string {
	if strings.HasSuffix(string(id), serverPerson) {
		return id.User()
	}
	return ""
}

// Type is the chat's type.
func (id ChatID) Type() ChatType {
	if id.IsGroup() {
		return ChatGroup
	}
	return ChatDirect
}

// Redacted is the id as logs may show it: a person is shown by the last two digits only.
func (id ChatID) Redacted() string {
	user, server, _ := strings.Cut(string(id), "@")
	if id.IsGroup() || len(user) <= 2 {
		return string(id)
	}
	return "…" + user[len(user)-2:] + "@" + server
}
