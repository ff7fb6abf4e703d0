package tenant

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Cursors are opaque to those who carry them: base64 of the list's kind, and of what its order is made of. The kind keeps a
// cursor of one list from being taken for another's.
const (
	cursorChat    = "chat"
	cursorMessage = "message"
	cursorTenant  = "tenant"
	// The operator's lists.
	cursorAudit    = "audit"
	cursorDeletion = "deletion"
	cursorUsage    = "usage"
)

// Cursor names the chat's place in a list of chats: the next page starts behind it.
func (c *Chat) Cursor() string {
	return encodeCursor(cursorChat, strconv.FormatInt(c.Activity.UnixMilli(), 10), string(c.ID))
}

// ParseChatCursor reads what [Chat.Cursor] made. Returns ErrInvalidCursor.
func ParseChatCursor(s string) (activity time.Time, id ChatID, err error) {
	parts, err := decodeCursor(cursorChat, s)
	if err != nil {
		return time.Time{}, "", err
	}
	ms, err := cursorNumber(parts[0])
	if err != nil {
		return time.Time{}, "", err
	}
	return time.UnixMilli(ms).UTC(), ChatID(parts[1]), nil
}

// Cursor names the message's place in its chat: the next page holds what is older.
func (m *Message) Cursor() string {
	return encodeCursor(cursorMessage, strconv.FormatInt(m.Timestamp.UnixMilli(), 10), strconv.FormatInt(m.Ord, 10))
}

// ParseMessageCursor reads what [Message.Cursor] made. Returns ErrInvalidCursor.
func ParseMessageCursor(s string) (at time.Time, ord int64, err error) {
	return parseTimeCursor(cursorMessage, s)
}

// parseTimeCursor reads a cursor of a list that is ordered by a time and a number.
func parseTimeCursor(kind, s string) (at time.Time, number int64, err error) {
	parts, err := decodeCursor(kind, s)
	if err != nil {
		return time.Time{}, 0, err
	}
	ms, err := cursorNumber(parts[0])
	if err != nil {
		return time.Time{}, 0, err
	}
	if number, err = cursorNumber(parts[1]); err != nil {
		return time.Time{}, 0, err
	}
	return time.UnixMilli(ms).UTC(), number, nil
}

// Cursor names the tenant's place in the list of tenants.
func (id ID) Cursor() string { return encodeCursor(cursorTenant, string(id), "") }

// ParseIDCursor reads what [ID.Cursor] made. Returns ErrInvalidCursor.
func ParseIDCursor(s string) (ID, error) {
	parts, err := decodeCursor(cursorTenant, s)
	if err != nil {
		return "", err
	}
	id, err := ParseID(parts[0])
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalidCursor, err)
	}
	return id, nil
}

func encodeCursor(kind, a, b string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(kind + "|" + a + "|" + b))
}

func decodeCursor(kind, s string) ([2]string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || base64.RawURLEncoding.EncodeToString(raw) != s { // it passes over line breaks, and bits that are left over
		return [2]string{}, fmt.Errorf("%w: not base64", ErrInvalidCursor)
	}
	parts := strings.SplitN(string(raw), "|", 3)
	if len(parts) != 3 || parts[0] != kind || CleanText(string(raw)) != string(raw) {
		return [2]string{}, fmt.Errorf("%w: not of a %s", ErrInvalidCursor, kind)
	}
	return [2]string{parts[1], parts[2]}, nil
}

func cursorNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: not a number", ErrInvalidCursor)
	}
	return n, nil
}
