package tenant

import (
	"context"
	"iter"
)

// Store keeps all tenants. Implementations are safe for concurrent use. Every method returns an error that wraps
// ErrUnavailable while the database cannot be reached.
type Store interface {
	// Tenant is the handle of one tenant. It does no I/O: whether the tenant exists shows in the first call.
	Tenant(id ID) Handle

	// Create makes a tenant, or returns the one that has the same external id already (created is false then).
	Create(ctx context.Context, n NewTenant) (t Tenant, created bool, err error)
	// Get returns a tenant. Returns ErrNotFound.
	Get(ctx context.Context, id ID) (Tenant, error)
	// List returns tenants in the order of their ids. Returns ErrInvalidCursor.
	List(ctx context.Context, page Page) (Tenants, error)
	// Delete removes a tenant with all that it owns. Returns ErrNotFound.
	Delete(ctx context.Context, id ID) error

	// Key returns the key that an API key names, whatever its state; the caller asks [Key.Admits]. Returns ErrInvalidKey.
	Key(ctx context.Context, id KeyID) (Key, error)
	// KeysChanged wakes whoever caches keys: it receives the id of each key that was revoked or changed on this node, and of
	// none twice. The channel is closed with the store.
	KeysChanged() <-chan KeyID

	// Linked yields the tenants that have a linked device, with their session rows, for the start of a node.
	Linked(ctx context.Context) iter.Seq2[Linked, error]

	// Ping says whether the database answers.
	Ping(ctx context.Context) error
}

// Linked is a tenant that has a linked device.
type Linked struct {
	ID      ID
	Session Session
}

// Handle is one tenant's part of the store. Reads of ids resolve aliases: a chat is found by its LID, too, once the pair is
// known, and is answered under its canonical id.
type Handle interface {
	ID() ID

	// Commit makes the changes durable together, in their order, with the events that follow from them. Many callers' commits
	// share one transaction. After an error nothing is known to be stored, and the same call may be made again. Returns
	// ErrNotFound when the tenant is gone, ErrChatNotFound, ErrUnavailable.
	Commit(ctx context.Context, changes ...Change) (Result, error)

	// Chats yields chats by newest activity, with their last messages. Returns ErrInvalidCursor before the first element.
	Chats(ctx context.Context, q ChatQuery) iter.Seq2[Chat, error]
	// Chat returns a chat with its last message. Returns ErrChatNotFound.
	Chat(ctx context.Context, id ChatID) (Chat, error)
	// Messages returns messages of a chat, newest first. Returns ErrChatNotFound, ErrInvalidCursor.
	Messages(ctx context.Context, id ChatID, q MessageQuery) (Messages, error)
	// Message returns the message of that id: our own if there is one, else the newest of those that share the id; a sender, if
	// given, picks. The payload is loaded. Returns ErrChatNotFound, ErrMessageNotFound.
	Message(ctx context.Context, chat ChatID, id MessageID, sender ChatID) (Message, error)
	// Pending returns our own messages that WhatsApp has not acknowledged, oldest first, with payloads.
	Pending(ctx context.Context, limit int) ([]Message, error)

	// Events returns up to limit events after seq, oldest first.
	Events(ctx context.Context, after int64, limit int) ([]Event, error)
	// Bounds returns the journal's oldest kept seq (1 if empty) and its newest (0 if empty).
	Bounds(ctx context.Context) (oldest, latest int64, err error)
	// Watch returns a channel that receives after the journal has grown. Wakes are coalesced: whoever is woken reads Events until
	// there are no more. Stop releases it.
	Watch() (wake <-chan struct{}, stop func())

	// Resolve returns the canonical id of a chat or person: the phone number's, once the pair is known. No error if nothing is known.
	Resolve(ctx context.Context, id ChatID) (ChatID, error)
	// LIDs returns the LIDs known for phone-number ids.
	LIDs(ctx context.Context, phones []ChatID) (map[ChatID]ChatID, error)

	// Session returns the session's row; the zero Session when the tenant was never paired. Returns ErrNotFound.
	Session(ctx context.Context) (Session, error)

	// CreateKey makes an API key. The secret is returned here and nowhere else. Returns ErrNotFound.
	CreateKey(ctx context.Context, n NewKey) (Key, Secret, error)
	// Keys returns the tenant's keys, newest first. Returns ErrNotFound.
	Keys(ctx context.Context) ([]Key, error)
	// RevokeKey ends a key at once. Revoking a revoked key changes nothing. Returns ErrKeyNotFound.
	RevokeKey(ctx context.Context, id KeyID) error
}

// Page asks for a part of a list. Limit is the caller's, who checked it.
type Page struct {
	Limit  int
	Cursor string // opaque; empty for the first page
}

// Tenants is one page of tenants.
type Tenants struct {
	Tenants []Tenant
	Next    string // cursor of the next page; empty on the last
}

// ChatQuery asks for chats. The zero value asks for all of them.
type ChatQuery struct {
	Limit    int    // 0: all
	Cursor   string // opaque, made by [Chat.Cursor]; empty for the first page
	Type     ChatType
	Archived *bool
	Search   string // part of the name or of the phone number, case-insensitive
}

// MessageQuery asks for messages of a chat.
type MessageQuery struct {
	Limit  int
	Cursor string // opaque, made by [Message.Cursor]; empty for the newest
	// Before and After, when not zero, bound the timestamps (exclusive).
	Before, After int64 // unix milliseconds
	Search        string
}

// Messages is one page of messages, newest first.
type Messages struct {
	Messages []Message
	Next     string // cursor of the next page; empty on the last
}
