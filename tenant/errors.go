package tenant

import "errors"

// Errors of the domain. Stores wrap them; callers match with [errors.Is].
var (
	// ErrInvalidID says that a tenant's id is not of the form NewID makes.
	ErrInvalidID = errors.New("tenant id is malformed")
	// ErrNoTenant says that a context carries no tenant: the request was not authenticated.
	ErrNoTenant = errors.New("no tenant in context")
	// ErrNotFound says that no such tenant exists.
	ErrNotFound = errors.New("tenant not found")
	// ErrKeyNotFound says that no such API key exists.
	ErrKeyNotFound = errors.New("api key not found")
	// ErrInvalidKey says that an API key is malformed, unknown, revoked, expired, or that its secret does not match. One error
	// for all, so that a stranger learns nothing from the difference.
	ErrInvalidKey = errors.New("api key is invalid")
	// ErrInvalidChatID says that a chat id has none of the forms of [ParseChatID].
	ErrInvalidChatID = errors.New("chat id is malformed")
	// ErrChatNotFound says that the tenant has no such chat.
	ErrChatNotFound = errors.New("chat not found")
	// ErrMessageNotFound says that the chat has no such message.
	ErrMessageNotFound = errors.New("message not found")
	// ErrNoMedia says that the message has no file, or no small picture of it.
	ErrNoMedia = errors.New("message has no file")
	// ErrInvalidCursor says that a paging cursor was not made by us for this list.
	ErrInvalidCursor = errors.New("cursor is malformed")
	// ErrUnavailable says that the store cannot be reached for now. Nothing was changed, or it is not known whether it was;
	// the same call may be made again.
	ErrUnavailable = errors.New("store is unavailable")
	// ErrRefused says that the store will never take the change, because of what is in it. Only this error permits to give the
	// change up: any other may be the store's own trouble, and the same call may succeed once that is mended.
	ErrRefused = errors.New("change is refused")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store is closed")
)
