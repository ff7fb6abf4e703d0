package tenant

import (
	"encoding/json"
	"time"
)

// EventType names what happened. The types are stable: consumers switch on them.
type EventType string

// The event types that the journal carries.
const (
	EventMessageReceived EventType = "message.received" // data: Message
	EventMessageSent     EventType = "message.sent"     // data: Message; sent from here or from another device of the account
	EventMessageStatus   EventType = "message.status"   // data: MessageStatus
	EventChatUpdated     EventType = "chat.updated"     // data: Chat, without lastMessage
	EventChatDeleted     EventType = "chat.deleted"     // data: ChatDeleted
	EventSessionStatus   EventType = "session.status"   // data: SessionStatus
)

// Event is one entry of a tenant's journal, and one frame of the WebSocket.
type Event struct {
	Seq       int64           `json:"seq,omitempty" doc:"The event's number in the tenant's journal, from 1, without gaps." example:"41"`
	Type      EventType       `json:"type" doc:"What happened." example:"message.received"`
	Timestamp time.Time       `json:"timestamp" doc:"When it was stored."`
	Data      json.RawMessage `json:"data" doc:"What the type says."`
}

// MessageStatus is the data of EventMessageStatus.
type MessageStatus struct {
	ID     MessageID `json:"id"`
	ChatID ChatID    `json:"chatId"`
	Status Status    `json:"status"`
}

// ChatDeleted is the data of EventChatDeleted. MergedInto is set when the chat was not deleted but turned out to be the same
// person's as another: its messages are there now.
type ChatDeleted struct {
	ID         ChatID `json:"id"`
	MergedInto ChatID `json:"mergedInto,omitempty"`
}

// SessionStatus is the data of EventSessionStatus.
type SessionStatus struct {
	State   string `json:"state"`
	Ready   bool   `json:"ready"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	Action  string `json:"action,omitempty"`
}
