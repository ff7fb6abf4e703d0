package tenant

import "time"

// ChatType tells groups from persons (client API v2 §5).
type ChatType string

// The chat types.
const (
	ChatGroup  ChatType = "group"
	ChatDirect ChatType = "direct"
)

// Chat is a conversation, as the API shows it. Members that belong to groups alone are absent on direct chats.
type Chat struct {
	ID            ChatID     `json:"id" doc:"The chat's id: …@c.us for a person, …@g.us for a group, …@lid while a person's phone number is unknown." example:"5511999990001@c.us"`
	Type          ChatType   `json:"type" enum:"group,direct" doc:"Whether the chat is a group or a person." example:"direct"`
	Name          string     `json:"name" doc:"The group's subject, or the person's name as far as it is known, else the phone number." example:"Ana"`
	LID           string     `json:"lid,omitempty" doc:"The person's hidden id, once known." example:"104857600000001@lid"`
	Phone         string     `json:"phone,omitempty" doc:"The person's phone number in digits, once known." example:"5511999990001"`
	UnreadCount   int        `json:"unreadCount" doc:"Messages received since the chat was last read." example:"2"`
	LastMessageAt *time.Time `json:"lastMessageAt,omitempty" doc:"When the newest message was sent."`
	LastMessage   *Message   `json:"lastMessage,omitempty" doc:"The newest message."`
	Archived      bool       `json:"archived" doc:"Whether the chat is archived."`
	Pinned        bool       `json:"pinned" doc:"Whether the chat is pinned."`
	MutedUntil    *time.Time `json:"mutedUntil,omitempty" doc:"Until when the chat is muted."`
	CreatedAt     time.Time  `json:"createdAt" doc:"When the chat was stored first."`
	UpdatedAt     time.Time  `json:"updatedAt" doc:"When the chat changed last."`

	// Activity orders lists of chats: when something happened last in the chat. Set by the store.
	Activity time.Time `json:"-"`
}
