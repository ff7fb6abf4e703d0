package tenant

import (
	"context"
	"errors"
)

// ErrContactNotFound says that nothing is known of the person.
var ErrContactNotFound = errors.New("contact not found")

// EventContactUpdated is journalled when a contact is new or is called otherwise, or is blocked or not any more. Data: Contact.
const EventContactUpdated EventType = "contact.updated"

// Contact is a person whose name is known, or whom the account blocks.
type Contact struct {
	ID        ChatID `json:"id" doc:"The person's id: …@c.us, or …@lid while the phone number is unknown." example:"5511999990001@c.us"`
	LID       ChatID `json:"lid,omitempty" doc:"The person's hidden id, once known." example:"104857600000001@lid"`
	Phone     string `json:"phone,omitempty" doc:"The phone number in digits, once known." example:"5511999990001"`
	Name      string `json:"name,omitempty" doc:"The name in the account's own address book." example:"Ana Silva"`
	PushName  string `json:"pushName,omitempty" doc:"The name that the person gave themselves." example:"Ana"`
	IsBlocked bool   `json:"isBlocked" doc:"Whether the account has blocked the person."`

	// SortName is what lists are ordered by. Set by the store.
	SortName string `json:"-"`
}

// ContactQuery asks for contacts. The zero value asks for none.
type ContactQuery struct {
	Limit  int
	Cursor string // opaque, made by [Contact.Cursor]; empty for the first page
	Search string // part of a name or of the phone number, case-insensitive
}

// Contacts is one page of contacts, by name.
type Contacts struct {
	Contacts []Contact
	Next     string // cursor of the next page; empty on the last
}

// ContactReader reads a tenant's contacts. It is a part of [Handle].
type ContactReader interface {
	// Contacts returns contacts in the order of their names. Returns ErrInvalidCursor.
	Contacts(ctx context.Context, q ContactQuery) (Contacts, error)
	// Contact returns what is known of a person with whom there is a chat, or whose name is known. Returns ErrContactNotFound.
	Contact(ctx context.Context, id ChatID) (Contact, error)
	// Blocked returns the persons whom the account blocks, in the order of their ids.
	Blocked(ctx context.Context) ([]ChatID, error)
}

// SetBlocked says that the account has blocked a person, or does not block them any more.
type SetBlocked struct {
	ID      ChatID
	Blocked bool
}

// SetBlocklist says whom the account blocks: these and nobody else.
type SetBlocklist struct{ IDs []ChatID }

func (SetBlocked) isChange()   {}
func (SetBlocklist) isChange() {}

const cursorContact = "contact"

// Cursor names the contact's place in a list of contacts: the next page starts behind it.
func (c *Contact) Cursor() string { return encodeCursor(cursorContact, string(c.ID), c.SortName) }

// ParseContactCursor reads what [Contact.Cursor] made. Returns ErrInvalidCursor.
func ParseContactCursor(s string) (id ChatID, sortName string, err error) {
	parts, err := decodeCursor(cursorContact, s)
	return ChatID(parts[0]), parts[1], err
}
