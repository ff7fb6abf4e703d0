package tenant

import "time"

// MutedForever stands for a mute without an end: 2242-03-16T12:56:32Z. WhatsApp has a mark for it instead of a time.
func MutedForever() time.Time { return time.Unix(1<<33, 0).UTC() }

// MarkUnread marks a chat as unread: the account's owner did so on another device. A chat whose messages are unread anyhow, or
// that is not stored, is left.
type MarkUnread struct{ ChatID ChatID }

// ClearChat deletes the messages of a chat up to a time, here alone: they were deleted on another device of the account. A chat
// that is not stored is left. No event tells of the messages.
type ClearChat struct {
	ID    ChatID
	Until time.Time
	// Drop deletes the chat, too, unless it has messages that are newer; chat.deleted is journalled then.
	Drop bool
}

func (MarkUnread) isChange() {}
func (ClearChat) isChange()  {}

// ChatCounts is how many chats a tenant has.
type ChatCounts struct{ Groups, Direct int }
