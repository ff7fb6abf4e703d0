package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// PeopleSessions is what the API needs of the fleet about people and about the account itself. Every method returns
// *session.OfflineError, *session.UncertainError and *session.RefusedError.
type PeopleSessions interface {
	// CheckNumbers asks which phone numbers are registered. Returns *session.LimitError.
	CheckNumbers(ctx context.Context, id tenant.ID, phones []string) ([]session.NumberCheck, error)
	// Blocklist returns whom the account blocks, also while the session is offline.
	Blocklist(ctx context.Context, id tenant.ID) ([]tenant.ChatID, error)
	// Block blocks a person or ends it. Returns session.ErrNotOnWhatsApp.
	Block(ctx context.Context, id tenant.ID, who tenant.ChatID, block bool) error

	// Profile returns what others see of the account.
	Profile(ctx context.Context, id tenant.ID) (session.Profile, error)
	// SetProfile changes that, and returns what it is now.
	SetProfile(ctx context.Context, id tenant.ID, change session.ProfileChange) (session.Profile, error)
	// Picture fetches a profile picture. Returns session.ErrNoPicture, session.ErrPictureHidden, session.ErrTransfer,
	// session.ErrMediaDamaged.
	Picture(ctx context.Context, id tenant.ID, q session.PictureQuery) (session.Picture, error)
	// SetPicture changes the account's own picture and returns its id. Returns avatar.ErrFormat, avatar.ErrDimensions.
	SetPicture(ctx context.Context, id tenant.ID, file []byte) (string, error)
	// RemovePicture removes it.
	RemovePicture(ctx context.Context, id tenant.ID) error

	// ShowPresence shows the account as there, or not. Returns session.ErrNoName.
	ShowPresence(ctx context.Context, id tenant.ID, available bool) error
	// WatchPresence asks for somebody's presence, in live events.
	WatchPresence(ctx context.Context, id tenant.ID, who tenant.ChatID) error
	// UnwatchPresence ends that.
	UnwatchPresence(ctx context.Context, id tenant.ID, who tenant.ChatID) error
}

const (
	tagContacts = "Contacts"
	tagProfile  = "Profile"
)

type peopleHandler struct{ sessions Sessions }

// registerPeople registers the operations on contacts and the block list.
func registerPeople(d *document, sessions Sessions) {
	h := &peopleHandler{sessions: sessions}
	tenantOperation(d, &operation{
		id: "list-contacts", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/contacts", tag: tagContacts,
		summary: "List contacts",
		description: "Persons whose name is known, and those whom the account blocks, from the local database, in the order of their names. Pass " +
			"`nextCursor` as `cursor` for the next page, until there is none. A change is told by the event `contact.updated`, except for " +
			"names that come with a history or with the whole address book.",
		response: ContactList{Contacts: []tenant.Contact{exampleContact()}},
	}, listContacts)
	tenantOperation(d, &operation{
		id: "get-contact", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/contacts/{contactId}", tag: tagContacts,
		summary:     "Get a contact",
		description: "A person whose name is known, or with whom there is a chat.",
		problems:    []Code{codeContactNotFound},
		response:    exampleContact(),
	}, getContact)
	tenantOperation(d, &operation{
		id: "check-numbers", scope: tenant.ScopeSend, method: http.MethodPost, path: "/api/contacts/check", tag: tagContacts, deadline: deadlineAction,
		summary: "Check whether phone numbers are on WhatsApp",
		description: "Asks WhatsApp, which blocks accounts that check too many numbers: so each tenant may check so many in an hour only, and is " +
			"answered 429 beyond that, with the limit's name and `Retry-After`. The `id` is what to write to: WhatsApp may know the number in " +
			"another form (Brazil's ninth digit).",
		problems: []Code{codeActionRejected, codeGatewayTimeout},
		request:  CheckNumbers{Phones: []phoneText{"+5511999990001"}},
		response: CheckedNumbers{Results: []CheckedNumber{
			{Phone: "+5511999990001", Registered: true, ID: "5511999990001@c.us", LID: "104857600000001@lid"},
		}},
	}, h.check)
	tenantOperation(d, &operation{
		id: "get-blocklist", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/blocklist", tag: tagContacts, deadline: deadlineAction,
		summary: "List whom the account blocks",
		description: "The stored list. While the session is online it follows WhatsApp's, also what is done on the phone; while it is offline it is " +
			"as it was last.",
		problems: []Code{codeActionRejected, codeGatewayTimeout},
		response: BlockedContacts{Contacts: []tenant.ChatID{"5511999990001@c.us"}},
	}, h.blocklist)
	for _, change := range []struct {
		id, method, summary, description string
		block                            bool
	}{
		{
			"block-contact", http.MethodPut, "Block a person",
			"Their messages and calls do not come any more, and they do not see when the account is there.", true,
		},
		{"unblock-contact", http.MethodDelete, "Unblock a person", "Who is not blocked stays so.", false},
	} {
		tenantOperation(d, &operation{
			id: change.id, scope: tenant.ScopeManage, method: change.method, path: "/api/blocklist/{contactId}", tag: tagContacts, deadline: deadlineAction,
			summary: change.summary, description: change.description,
			problems: []Code{codeNotOnWhatsApp, codeActionRejected, codeGatewayTimeout},
		}, h.block(change.block))
	}
}

// ContactPath is the part of a request that names a person. Exported because Huma looks only into exported embedded fields.
type ContactPath struct {
	ContactID personIDText `path:"contactId" doc:"The person's id: …@c.us. …@lid and …@s.whatsapp.net name a person, too." example:"5511999990001@c.us"`
}

// id is the person's id in our form.
func (p *ContactPath) id() (tenant.ChatID, error) {
	id, err := tenant.ParseChatID(string(p.ContactID))
	if err != nil {
		return "", invalid("path.contactId", err.Error())
	}
	return id, nil
}

func exampleContact() tenant.Contact {
	return tenant.Contact{
		ID: "5511999990001@c.us", LID: "104857600000001@lid", Phone: "5511999990001", Name: "Ana Silva", PushName: "Ana",
	}
}

// ContactList is the answer of GET /api/contacts.
type ContactList struct {
	Contacts   []tenant.Contact `json:"contacts" nullable:"false" doc:"In the order of their names."`
	NextCursor string           `json:"nextCursor,omitempty" doc:"Where the next page starts; absent on the last."`
}

type contactListOutput struct {
	Body ContactList
}

type listContactsInput struct {
	Search string `query:"q" maxLength:"200" doc:"Part of a name or of the phone number, in any case." example:"ana"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Contacts in a page."`
	Cursor string `query:"cursor" maxLength:"2000" doc:"nextCursor of the page before."`
}

func listContacts(ctx context.Context, t tenant.Handle, in *listContactsInput) (*contactListOutput, error) {
	page, err := t.Contacts(ctx, tenant.ContactQuery{Limit: in.Limit, Cursor: in.Cursor, Search: tenant.CleanText(in.Search)})
	if err != nil {
		return nil, err
	}
	if page.Contacts == nil {
		page.Contacts = []tenant.Contact{}
	}
	return &contactListOutput{Body: ContactList{Contacts: page.Contacts, NextCursor: page.Next}}, nil
}

type contactOutput struct {
	Body tenant.Contact
}

type contactInput struct {
	ContactPath
}

func getContact(ctx context.Context, t tenant.Handle, in *contactInput) (*contactOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	contact, err := t.Contact(ctx, id)
	if err != nil {
		return nil, err
	}
	return &contactOutput{Body: contact}, nil
}

// phoneText is a phone number as it comes from outside.
type phoneText string

// Schema is the form of a phone number (ITU-T E.164).
func (phoneText) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Pattern: `^\+?[1-9][0-9]{4,14}$`, MaxLength: new(16),
		PatternDescription: "a phone number in international form such as +5511999990001",
	}
}

// CheckNumbers is the body of POST /api/contacts/check.
type CheckNumbers struct {
	Phones []phoneText `json:"phones" minItems:"1" maxItems:"50" nullable:"false" doc:"Phone numbers in international form, with or without +." example:"+5511999990001"`
}

// CheckedNumbers is the answer to it.
type CheckedNumbers struct {
	Results []CheckedNumber `json:"results" nullable:"false" doc:"In the order of the numbers."`
}

// CheckedNumber is what WhatsApp says about a phone number.
type CheckedNumber struct {
	Phone      string        `json:"phone" doc:"The number as you wrote it." example:"+5511999990001"`
	Registered bool          `json:"registered" doc:"Whether it is on WhatsApp." example:"true"`
	ID         tenant.ChatID `json:"id,omitempty" doc:"The id to write to, if it is." example:"5511999990001@c.us"`
	LID        tenant.ChatID `json:"lid,omitempty" doc:"The person's hidden id, if WhatsApp tells it." example:"104857600000001@lid"`
}

type checkInput struct {
	Body CheckNumbers
}

type checkOutput struct {
	Body CheckedNumbers
}

func (h *peopleHandler) check(ctx context.Context, t tenant.Handle, in *checkInput) (*checkOutput, error) {
	phones := make([]string, 0, len(in.Body.Phones))
	for _, phone := range in.Body.Phones {
		phones = append(phones, string(phone))
	}
	checks, err := h.sessions.CheckNumbers(ctx, t.ID(), phones)
	if err != nil {
		return nil, err
	}
	out := &checkOutput{Body: CheckedNumbers{Results: make([]CheckedNumber, 0, len(checks))}}
	for _, c := range checks {
		out.Body.Results = append(out.Body.Results, CheckedNumber(c))
	}
	return out, nil
}

// BlockedContacts is the answer of GET /api/blocklist.
type BlockedContacts struct {
	Contacts []tenant.ChatID `json:"contacts" nullable:"false" doc:"Ids of those whom the account blocks." example:"5511999990001@c.us"`
}

type blocklistOutput struct {
	Body BlockedContacts
}

func (h *peopleHandler) blocklist(ctx context.Context, t tenant.Handle, _ *struct{}) (*blocklistOutput, error) {
	ids, err := h.sessions.Blocklist(ctx, t.ID())
	if err != nil {
		return nil, err
	}
	if ids == nil {
		ids = []tenant.ChatID{}
	}
	return &blocklistOutput{Body: BlockedContacts{Contacts: ids}}, nil
}

func (h *peopleHandler) block(block bool) func(context.Context, tenant.Handle, *contactInput) (*struct{}, error) {
	return func(ctx context.Context, t tenant.Handle, in *contactInput) (*struct{}, error) {
		id, err := in.id()
		if err != nil {
			return nil, err
		}
		return nil, h.sessions.Block(ctx, t.ID(), id, block)
	}
}
