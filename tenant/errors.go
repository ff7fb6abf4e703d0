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
	// ErrSuspended says that the operator has suspended the tenant.
	ErrSuspended = errors.New("tenant is suspended")
	// ErrExternalIDTaken says that another tenant has the external id.
	ErrExternalIDTaken = errors.New("external id belongs to another tenant")
	// ErrMetadataFull says that a tenant would have more than MaxMetadata keys of metadata.
	ErrMetadataFull = errors.New("too many keys of metadata")
	// ErrKeyEnded says that a key was revoked or has expired: nothing of it can be changed any more.
	ErrKeyEnded = errors.New("api key has ended")
	// ErrLastOwner says that nobody could manage admin keys any more.
	ErrLastOwner = errors.New("the last owner's key")
	// ErrDeletionNotFound says that no tenant of that id was deleted.
	ErrDeletionNotFound = errors.New("deletion not found")
	// ErrInvalidChatID says that a chat id has none of the forms of [ParseChatID].
	ErrInvalidChatID = errors.New("chat id is malformed")
	// ErrChatNotFound says that the tenant has no such chat.
	ErrChatNotFound = errors.New("chat not found")
	// ErrMessageNotFound says that the chat has no such message.
	ErrMessageNotFound = errors.New("message not found")
	// ErrJoinTokenNotFound says that a token of a join URL is malformed, unknown or revoked: one error for all.
	ErrJoinTokenNotFound = errors.New("join token not found")
	// ErrPairingLinkNotFound says that a pairing link's token or id is malformed or unknown: one error for all.
	ErrPairingLinkNotFound = errors.New("pairing link not found")
	// ErrTooManyPairingLinks says that the tenant has MaxPairingLinks that can be used.
	ErrTooManyPairingLinks = errors.New("too many pairing links")
	// ErrNoMedia says that the message has no file, or no small picture of it.
	ErrNoMedia = errors.New("message has no file")
	// ErrInvalidCursor says that a paging cursor was not made by us for this list.
	ErrInvalidCursor = errors.New("cursor is malformed")
	// ErrUnavailable says that the store cannot be reached for now. Nothing was changed, or it is not known whether it was;
	// the same call may be made again.
	ErrUnavailable = errors.New("store is unavailable")
	// ErrOutcomeUnknown says, along with ErrUnavailable or the context's error, that a change may have been stored or not. Without
	// it nothing was. Making the same change again tells.
	ErrOutcomeUnknown = errors.New("outcome of the commit is unknown")
	// ErrRefused says that the store will never take the change, because of what is in it. Only this error permits to give the
	// change up: any other may be the store's own trouble, and the same call may succeed once that is mended.
	ErrRefused = errors.New("change is refused")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store is closed")
)
