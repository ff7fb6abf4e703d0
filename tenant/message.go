package tenant

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// MessageID is WhatsApp's id of a message. It is unique for one sender in one chat and nowhere else: a member of a group may
// reuse another's.
type MessageID string

// MessageType is the kind of content a message has.
type MessageType string

// The message types.
const (
	TypeText        MessageType = "text"
	TypeImage       MessageType = "image"
	TypeVideo       MessageType = "video"
	TypeAudio       MessageType = "audio"
	TypeVoice       MessageType = "voice"
	TypeDocument    MessageType = "document"
	TypeSticker     MessageType = "sticker"
	TypeLocation    MessageType = "location"
	TypeContact     MessageType = "contact"
	TypePoll        MessageType = "poll"
	TypeSystem      MessageType = "system"
	TypeUnsupported MessageType = "unsupported"
)

// Status is how far a message has come. Those of our own messages are ordered: a status is only ever replaced by a later one,
// whatever the order in which acks and receipts arrive.
//
//	pending ──▶ sent ──▶ delivered ──▶ read ──▶ played
//	   └──▶ failed
type Status int8

// The statuses, in their order. StatusReceived is that of every message somebody else sent.
const (
	StatusFailed    Status = -1
	StatusPending   Status = 0
	StatusSent      Status = 1
	StatusDelivered Status = 2
	StatusRead      Status = 3
	StatusPlayed    Status = 4
	StatusReceived  Status = 16
)

// String is the status as the API shows it.
func (s Status) String() string {
	switch s {
	case StatusFailed:
		return "failed"
	case StatusPending:
		return "pending"
	case StatusSent:
		return "sent"
	case StatusDelivered:
		return "delivered"
	case StatusRead:
		return "read"
	case StatusPlayed:
		return "played"
	case StatusReceived:
		return "received"
	}
	return fmt.Sprintf("Status(%d)", int8(s))
}

// MarshalText is the status as the API shows it.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Status) UnmarshalText(text []byte) error {
	for _, known := range []Status{StatusFailed, StatusPending, StatusSent, StatusDelivered, StatusRead, StatusPlayed, StatusReceived} {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("unknown message status %q", text)
}

// Supersedes says whether a message of status old becomes s when s is reported: statuses only advance, a message fails only
// while it is pending, and a received message keeps its status.
func (s Status) Supersedes(old Status) bool {
	switch {
	case old == StatusReceived || s == StatusReceived:
		return false
	case s == StatusFailed:
		return old == StatusPending
	case s == StatusPending:
		return false
	default:
		// A failed message that the server has after all is sent.
		return s > old
	}
}

// Message is one message of a chat, as the API shows it.
type Message struct {
	ID         MessageID   `json:"id" doc:"WhatsApp's id of the message; unique for its sender in its chat." example:"3EB0C767D097B7C7C8F5"`
	ChatID     ChatID      `json:"chatId" doc:"The chat it belongs to." example:"5511999990001@c.us"`
	SenderID   ChatID      `json:"senderId" doc:"Who sent it." example:"5511999990001@c.us"`
	SenderName string      `json:"senderName,omitempty" doc:"The name that the sender gave themselves." example:"Ana"`
	FromMe     bool        `json:"fromMe" doc:"Whether this account sent it, from here or from another of its devices."`
	Timestamp  time.Time   `json:"timestamp" doc:"When WhatsApp took the message (to the second)."`
	Type       MessageType `json:"type" enum:"text,image,video,audio,voice,document,sticker,location,contact,poll,system,unsupported" doc:"The kind of content." example:"text"`
	Text       string      `json:"text,omitempty" doc:"The text, or a file's caption." example:"Hello from API"`
	Media      *Media      `json:"media,omitempty" doc:"The file, of messages that are one."`
	ReplyTo    MessageID   `json:"replyTo,omitempty" doc:"The id of the message that this one answers."`
	Mentions   []ChatID    `json:"mentions,omitempty" doc:"Who is mentioned in the text."`
	Status     Status      `json:"status" enum:"pending,sent,delivered,read,played,failed,received" doc:"How far the message has come; received for messages of others." example:"sent"`
	Poll       *Poll       `json:"poll,omitempty" doc:"The question and its votes, of polls."`
	Reactions  []Reaction  `json:"reactions,omitempty" doc:"What people reacted with, one each."`
	EditedAt   *time.Time  `json:"editedAt,omitempty" doc:"When it was edited last."`
	DeletedAt  *time.Time  `json:"deletedAt,omitempty" doc:"When it was deleted for everyone; a deleted message has no content."`

	Location     *Location     `json:"location,omitempty" doc:"The place, of messages that are one."`
	Contacts     []ContactCard `json:"contacts,omitempty" doc:"The contact cards, of messages that are some."`
	Forwarded    bool          `json:"forwarded,omitempty" doc:"Whether it was forwarded."`
	ForwardScore int           `json:"forwardScore,omitempty" doc:"How many times it was forwarded on its way, as its sender counts; WhatsApp calls five and more many." example:"1"`

	// Payload is the message in WhatsApp's own encoding (a waE2E.Message protobuf): what we sent, to send it again under the same
	// id and to answer retries, or what we received: a file, to fetch and decrypt it, and what we could not read (type
	// unsupported). It holds keys and is never shown.
	Payload []byte `json:"-"`
	// Ord orders messages of one chat that share a timestamp: it grows with each message that the tenant stores. Set by the store.
	Ord int64 `json:"-"`
}

// MaxTextLength is the longest text WhatsApp takes, in characters.
const MaxTextLength = 65536

// CleanText makes a text from outside storable on every engine: PostgreSQL takes neither U+0000 nor broken UTF-8. Both become
// U+FFFD.
func CleanText(s string) string {
	if utf8.ValidString(s) && !strings.ContainsRune(s, 0) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
