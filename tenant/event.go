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
	ID     MessageID `json:"id" doc:"The message." example:"3EB0C767D097B7C7C8F5"`
	ChatID ChatID    `json:"chatId" doc:"Its chat." example:"5511999990001@c.us"`
	Status Status    `json:"status" enum:"pending,sent,delivered,read,played,failed,received" doc:"How far it has come." example:"delivered"`
}

// ChatDeleted is the data of EventChatDeleted. MergedInto is set when the chat was not deleted but turned out to be the same
// person's as another: its messages are there now.
type ChatDeleted struct {
	ID         ChatID `json:"id" doc:"The chat that is gone." example:"104857600000001@lid"`
	MergedInto ChatID `json:"mergedInto,omitempty" doc:"The chat that has its messages now, if it was the same person's." example:"5511999990001@c.us"`
}

// SessionStatus is the data of EventSessionStatus.
type SessionStatus struct {
	State   string `json:"state" enum:"unpaired,pairing,connecting,online,backoff,logged_out,banned,outdated,conflict,stopped" doc:"What the session is doing." example:"online"`
	Ready   bool   `json:"ready" doc:"Whether the account can send." example:"true"`
	Reason  string `json:"reason,omitempty" doc:"Why it is so, for programs."`
	Message string `json:"message,omitempty" doc:"Why it is so, as a sentence."`
	Action  string `json:"action,omitempty" doc:"What to do about it."`
	// Reachout is set in events alone, by the store.
	Reachout *ReachoutLock `json:"reachoutLock,omitempty" doc:"WhatsApp's reach-out time lock, while there is one: the account can write only to those who have written to it."`
}
