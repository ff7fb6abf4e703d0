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

	Description      string `json:"description,omitempty" doc:"A group's description."`
	OwnerID          ChatID `json:"ownerId,omitempty" doc:"Who made the group, if known." example:"5511999990001@c.us"`
	ParticipantCount *int   `json:"participantCount,omitempty" doc:"How many participants the group has; 0 until that is known. Groups only."`
	IsAdmin          *bool  `json:"isAdmin,omitempty" doc:"Whether this account is an admin of the group. Groups only."`
	Announce         *bool  `json:"announce,omitempty" doc:"Whether only admins may send messages. Groups only."`
	Locked           *bool  `json:"locked,omitempty" doc:"Whether only admins may change name, description and picture. Groups only."`

	JoinURL string `json:"joinUrl,omitempty" doc:"Where people without WhatsApp's own link join the group; absent unless one was made and this account is an admin. Groups only." example:"https://wa.example.com/api/groups/join/wj_k7q2m4x5a3bc_nbswy3dpfqqho33snrscc3tfoqqgs3tb"`

	CreatedAt time.Time `json:"createdAt" doc:"When the chat was stored first."`
	UpdatedAt time.Time `json:"updatedAt" doc:"When the chat changed last."`

	// JoinToken is the end of JoinURL, or empty. Set by the store in what it reads, not in events.
	JoinToken JoinToken `json:"-"`
	// Role is our own in a group; RoleNone also while that is not known. Set by the store.
	Role Role `json:"-"`
	// Activity orders lists of chats: when something happened last in the chat. Set by the store.
	Activity time.Time `json:"-"`
	// Heard says that the other side has written. Set by the store, which remembers it when that message is no longer kept.
	Heard bool `json:"-"`
}
