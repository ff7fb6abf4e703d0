package tenant

import "time"

// Change is one thing that a commit does to a tenant. The set is closed: the store knows how to apply each, and which events
// of the journal follow from it. Applying a change twice is the same as applying it once, so that whatever WhatsApp delivers
// again, or whoever retries after an unknown outcome, does no harm.
//
// Chat and sender ids in changes may be LIDs or phone numbers, whichever was at hand: the store resolves a LID to the phone
// number's id where the pair is known, in the same transaction.
type Change interface{ isChange() }

// PutMessage stores a message and makes or touches its chat. A message that is stored already (same chat, sender, id) is left as
// it is, except that a placeholder (TypeUnsupported) is replaced when the content comes.
type PutMessage struct {
	Message Message
	// Live says that the message happens now: it is counted as unread when somebody else sent it, and journalled as
	// message.received or message.sent. History is stored without events of its own.
	Live bool
	// ChatName names the chat if it has no name yet, e.g. a group's subject. Optional.
	ChatName string
	// Spend is what the message takes from the tenant's budgets, if it is stored first by this commit.
	Spend Spend
}

// SetPayload replaces the payload of a stored message, and nothing else: a file has moved at WhatsApp. A message that is not
// stored, or holds no file, is left.
type SetPayload struct {
	ChatID    ChatID
	SenderID  ChatID
	MessageID MessageID
	Payload   []byte
}

// SetStatus advances the status of our own messages (see [Status.Supersedes]) and journals message.status for each that moved.
type SetStatus struct {
	ChatID     ChatID
	MessageIDs []MessageID
	Status     Status
	// Timestamp, when not zero, becomes the message's: the server's clock is the one that counts.
	Timestamp time.Time
}

// LinkIDs says that a LID and a phone number are the same person. The person's chats become one, under the phone number's id;
// the LID's id stays an alias that every read and every later change resolves.
type LinkIDs struct {
	LID, Phone ChatID // …@lid and …@c.us
}

// PutContact names a person, and journals contact.updated if the person was called otherwise. Empty members leave what is known.
type PutContact struct {
	ID       ChatID
	PushName string // the name that the person gave themselves
	Name     string // the name in the account's own address book
	// Quiet journals nothing of it: it is one of the many that come with a history, or with the whole address book.
	Quiet bool
}

// PutChat makes a chat known or changes it. Nil members leave what is known.
type PutChat struct {
	ID       ChatID
	Name     *string
	Unread   *int
	Archived *bool
	Pinned   *bool
	Muted    *time.Time // zero: not muted
	// Activity is when something happened last in the chat, for history of which no message was stored.
	Activity time.Time
	// IfStored leaves a chat that is not stored: what is said of it is what goes without saying.
	IfStored bool
}

// MarkRead sets a chat's unread count to zero: the account read it, here or elsewhere. With Until, messages that are newer stay
// unread.
type MarkRead struct {
	ChatID ChatID
	Until  time.Time // zero: all
}

// DeleteChat deletes a chat and its messages here; WhatsApp is not told (client API v2 §5). Commit returns ErrChatNotFound when
// there is none.
type DeleteChat struct{ ID ChatID }

// SetSession stores the session's row. It journals session.status when State, Reason, Ready or Reachout differ from what is stored.
type SetSession struct{ Session Session }

func (PutMessage) isChange() {}
func (SetPayload) isChange() {}
func (SetStatus) isChange()  {}
func (LinkIDs) isChange()    {}
func (PutContact) isChange() {}
func (PutChat) isChange()    {}
func (MarkRead) isChange()   {}
func (DeleteChat) isChange() {}
func (SetSession) isChange() {}

// Result is what a commit did.
type Result struct {
	// Head is the seq of the newest event of the tenant's journal after the commit.
	Head int64
	// Messages holds, for each PutMessage in order, the message as it is stored now: under the canonical ids, and with what an
	// earlier commit had stored if it was there already.
	Messages []Message
	// Fresh says, for each PutMessage in order, whether this commit stored the message first.
	Fresh []bool
	// Revised says, for each EditMessage, RevokeMessage, React and CastVote in order, whether a message changed by it.
	Revised []bool
	// Missed holds the groups of which more has happened than is stored: WhatsApp has to be asked.
	Missed []ChatID
	// Unopened counts the votes that their polls' secrets did not open: they are dropped.
	Unopened int
}

// Session is a tenant's link to WhatsApp as it is kept over restarts.
type Session struct {
	// Device is the JID of the linked device, WhatsApp's own notation, or "" when none is linked.
	Device string
	// LID is the account's own hidden id (…@lid), or "".
	LID ChatID
	// Wanted says that the session should be online: false after the operator disconnected it.
	Wanted bool
	// Status is the last state that was made known; see package session for the states.
	Status SessionStatus
	// Until is when a temporary ban ends, or zero.
	Until time.Time
	// PairedAt is when the device was linked, or zero.
	PairedAt time.Time
	// Reachout is WhatsApp's reach-out time lock of the account; the zero value when there is none.
	Reachout ReachoutLock
}
