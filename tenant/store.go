package tenant

import (
	"context"
	"iter"
	"time"
)

// Store keeps all tenants. Implementations are safe for concurrent use. Every method returns an error that wraps
// ErrUnavailable while the database cannot be reached.
type Store interface {
	Operators
	Auditor
	Meter
	Mover

	// Tenant is the handle of one tenant. It does no I/O: whether the tenant exists shows in the first call.
	Tenant(id ID) Handle

	// Create makes a tenant, or returns the one that has the same external id already (created is false then).
	Create(ctx context.Context, n NewTenant) (t Tenant, created bool, err error)
	// Get returns a tenant. Returns ErrNotFound.
	Get(ctx context.Context, id ID) (Tenant, error)
	// List returns tenants in the order of their ids. Returns ErrInvalidCursor.
	List(ctx context.Context, q Query) (Tenants, error)
	// Change changes a tenant. Returns ErrNotFound, ErrExternalIDTaken, ErrMetadataFull.
	Change(ctx context.Context, id ID, c Patch) (Tenant, error)
	// Suspend shuts a tenant out, and says so to whoever caches its keys; Resume lets it in again. Doing it twice changes nothing.
	// Returns ErrNotFound.
	Suspend(ctx context.Context, id ID) (Tenant, error)
	Resume(ctx context.Context, id ID) (Tenant, error)
	// Suspended yields the tenants that are suspended.
	Suspended(ctx context.Context) iter.Seq2[ID, error]
	// Delete removes a tenant with all that it owns, and counts it. The tenant is gone for everybody when it returns; what it owned
	// goes on going if ctx ends before, also after a restart: then the record is not complete. Returns ErrNotFound.
	Delete(ctx context.Context, id ID, device DeviceFate) (Deletion, error)
	// Gone says whether there is no such tenant, or none any more. Unlike Get it waits for a commit that deletes it and whose outcome is not
	// known, and so tells it.
	Gone(ctx context.Context, id ID) (bool, error)
	// Deletion returns the record of a tenant's deletion. Returns ErrDeletionNotFound.
	Deletion(ctx context.Context, id ID) (Deletion, error)
	// Deletions returns the records of deletions, newest first. Returns ErrInvalidCursor.
	Deletions(ctx context.Context, page Page) (Deletions, error)

	// Key returns the key that an API key names, whatever its state; the caller asks [Key.Admits]. Returns ErrInvalidKey.
	Key(ctx context.Context, id KeyID) (Key, error)
	// KeysChanged wakes whoever caches keys: it receives the id of each key that was revoked or changed on this node, and of
	// none twice. The channel is closed with the store.
	KeysChanged() <-chan KeyID

	// Overrides yields the tenants that have limits of their own.
	Overrides(ctx context.Context) iter.Seq2[Overridden, error]

	// Linked yields the tenants that have a linked device, with their session rows, for the start of a node.
	Linked(ctx context.Context) iter.Seq2[Linked, error]

	// Ping says whether the database answers.
	Ping(ctx context.Context) error
}

// Operators keeps the operator's own keys.
type Operators interface {
	// CreateAdminKey makes a key. The secret is returned here and nowhere else.
	CreateAdminKey(ctx context.Context, n NewAdminKey) (AdminKey, AdminSecret, error)
	// AdminKey returns a key, whatever its state; the caller asks [AdminKey.Admits]. Returns ErrKeyNotFound.
	AdminKey(ctx context.Context, id AdminKeyID) (AdminKey, error)
	// AdminKeys returns all keys, newest first.
	AdminKeys(ctx context.Context) ([]AdminKey, error)
	// RevokeAdminKey ends a key at once. Revoking a revoked key changes nothing. With keepOwner the last owner's key that works is
	// left. Returns ErrKeyNotFound, ErrLastOwner.
	RevokeAdminKey(ctx context.Context, id AdminKeyID, keepOwner bool) error
	// RotateAdminKey makes the successor of a key, as [Handle.RotateKey] does. Returns ErrKeyNotFound, ErrKeyEnded.
	RotateAdminKey(ctx context.Context, id AdminKeyID, r Rotation) (old, made AdminKey, secret AdminSecret, err error)
}

// Auditor keeps the audit log.
type Auditor interface {
	// BeginAudit stores the entry of an action that is about to be done, and returns its number. ID and At are the store's.
	BeginAudit(ctx context.Context, e AuditEntry) (int64, error)
	// EndAudit notes what came of the action. It is done once: a second outcome changes nothing.
	EndAudit(ctx context.Context, id int64, o AuditOutcome) error
	// Audit returns entries, newest first. Returns ErrInvalidCursor.
	Audit(ctx context.Context, q AuditQuery) (AuditPage, error)
	// TrimAudit deletes up to limit entries that are older, and says how many.
	TrimAudit(ctx context.Context, before time.Time, limit int) (int64, error)
}

// Meter keeps what tenants used. Messages are counted by the commits that store them.
type Meter interface {
	// AddUsage adds what was counted outside of commits. What belongs to a tenant that is gone is dropped.
	AddUsage(ctx context.Context, m Metering) error
	// Usage returns what all tenants used. Returns ErrInvalidCursor.
	Usage(ctx context.Context, q UsageQuery) (UsagePage, error)
}

// Linked is a tenant that has a linked device.
type Linked struct {
	ID      ID
	Session Session
	Pending bool // there are messages that [Handle.Pending] returns
}

// Handle is one tenant's part of the store. Reads of ids resolve aliases: a chat is found by its LID, too, once the pair is
// known, and is answered under its canonical id.
type Handle interface {
	ContactReader
	LimitHandle

	ID() ID

	// Commit makes the changes durable together, in their order, with the events that follow from them. Many callers' commits
	// share one transaction. After an error nothing is known to be stored, and the same call may be made again. Returns
	// ErrNotFound when the tenant is gone, ErrChatNotFound, ErrKeyTaken, ErrUnavailable.
	Commit(ctx context.Context, changes ...Change) (Result, error)

	// Chats yields chats by newest activity, with their last messages. Returns ErrInvalidCursor before the first element.
	Chats(ctx context.Context, q ChatQuery) iter.Seq2[Chat, error]
	// Chat returns a chat with its last message. Returns ErrChatNotFound.
	Chat(ctx context.Context, id ChatID) (Chat, error)
	// CountChats counts the chats.
	CountChats(ctx context.Context) (ChatCounts, error)
	// Messages returns messages of a chat, newest first. Returns ErrChatNotFound, ErrInvalidCursor.
	Messages(ctx context.Context, id ChatID, q MessageQuery) (Messages, error)
	// Message returns the message of that id: our own if there is one, else the newest of those that share the id; a sender, if
	// given, picks. The payload is loaded. Returns ErrChatNotFound, ErrMessageNotFound.
	Message(ctx context.Context, chat ChatID, id MessageID, sender ChatID) (Message, error)
	// Media returns the messages of a chat that are files, newest first. Returns ErrChatNotFound, ErrInvalidCursor.
	Media(ctx context.Context, id ChatID, q MediaQuery) (Messages, error)
	// JoinChat returns the chat that a token of a join URL names. Returns ErrJoinTokenNotFound.
	JoinChat(ctx context.Context, token JoinToken) (Chat, error)
	// Pending returns our own messages that WhatsApp has not acknowledged, oldest first, with payloads.
	Pending(ctx context.Context, limit int) ([]Message, error)

	// Answer returns what an idempotency key stands for. Returns ErrAnswerNotFound.
	Answer(ctx context.Context, key string) (Answer, error)

	// Group returns what is known of a group. One that is not known has Rev 0.
	Group(ctx context.Context, id ChatID) (Group, error)
	// Groups returns all groups that are known, without names and descriptions.
	Groups(ctx context.Context) ([]Group, error)
	// Participants returns the members of a group, admins first; none of a group that is not known.
	Participants(ctx context.Context, id ChatID) ([]Participant, error)

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
	// ChangeKey changes a key that has not ended. Returns ErrKeyNotFound, ErrKeyEnded.
	ChangeKey(ctx context.Context, id KeyID, c KeyChange) (Key, error)
	// RotateKey makes the successor of a key, with its label and scopes. The old key ends after the overlap. The secret is returned
	// here and nowhere else. Returns ErrKeyNotFound, ErrKeyEnded.
	RotateKey(ctx context.Context, id KeyID, r Rotation) (old, made Key, secret Secret, err error)

	// Usage returns what the tenant used on the days from first to last, oldest first.
	Usage(ctx context.Context, first, last Date) ([]DayUsage, error)

	PairingLinkStore
}

// PairingLinkStore keeps a tenant's pairing links.
type PairingLinkStore interface {
	// CreatePairingLink makes a pairing link. The token is returned here and nowhere else. Returns ErrNotFound,
	// ErrTooManyPairingLinks.
	CreatePairingLink(ctx context.Context, n NewPairingLink) (PairingLink, PairingToken, error)
	// PairingLinks returns the tenant's links, newest first. Returns ErrNotFound.
	PairingLinks(ctx context.Context) ([]PairingLink, error)
	// PairingLink returns a link, whatever its state. Returns ErrPairingLinkNotFound.
	PairingLink(ctx context.Context, id PairingLinkID) (PairingLink, error)
	// RevokePairingLink ends a link. One that was used or revoked stays as it is. Returns ErrPairingLinkNotFound.
	RevokePairingLink(ctx context.Context, id PairingLinkID) error
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
