package tenant

import "time"

// Edits, deletions, reactions and votes are about a message, which its chat, id and sender name. One that comes before its message is
// kept for a while and applied when the message comes; of two of the same kind the later counts, in whatever order they come.

// EditMessage replaces a message's text and journals message.edited. Only the sender edits: whoever calls knows that it was them.
type EditMessage struct {
	ChatID   ChatID
	ID       MessageID
	SenderID ChatID
	Text     string
	Mentions []ChatID
	// At is when it was edited, to the millisecond; edits are ordered by it.
	At time.Time
	// Payload replaces the message's, if it is one of ours.
	Payload []byte
}

// RevokeMessage deletes a message for everyone: its content goes, and message.deleted is journalled. By is who deletes; other
// than the sender can only be in a group, whose admins may.
type RevokeMessage struct {
	ChatID   ChatID
	ID       MessageID
	SenderID ChatID
	By       ChatID
	At       time.Time
}

// React puts By's reaction to a message in the place of the one before, or takes it back if Emoji is empty, and journals
// message.reaction.
type React struct {
	ChatID   ChatID
	ID       MessageID
	SenderID ChatID
	By       ChatID
	Emoji    string
	At       time.Time
}

func (EditMessage) isChange()   {}
func (RevokeMessage) isChange() {}
func (React) isChange()         {}

// The events of what happens to messages afterwards.
const (
	EventMessageEdited   EventType = "message.edited"   // data: Message
	EventMessageDeleted  EventType = "message.deleted"  // data: Message, which has no content any more
	EventMessageReaction EventType = "message.reaction" // data: MessageReaction
)

// Reaction is what somebody answered a message with.
type Reaction struct {
	SenderID  ChatID    `json:"senderId" doc:"Who reacted." example:"5511999990001@c.us"`
	Emoji     string    `json:"emoji" doc:"The reaction." example:"👍"`
	Timestamp time.Time `json:"timestamp" doc:"When they reacted."`
}

// MessageReaction is the data of EventMessageReaction.
type MessageReaction struct {
	ID              MessageID `json:"id" doc:"The message that somebody reacted to." example:"3EB0C767D097B7C7C8F5"`
	ChatID          ChatID    `json:"chatId" doc:"Its chat." example:"5511999990001@c.us"`
	MessageSenderID ChatID    `json:"messageSenderId" doc:"Who sent the message."`
	SenderID        ChatID    `json:"senderId" doc:"Who reacted." example:"5511999990001@c.us"`
	Emoji           string    `json:"emoji" doc:"The reaction; empty when it was taken back." example:"👍"`
	Timestamp       time.Time `json:"timestamp" doc:"When they reacted."`
}

// EditWindow is how long after it was sent WhatsApp lets a message be edited (client API v2 §6).
const EditWindow = 15 * time.Minute
