package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// ContentSessions is what the API needs of the fleet to send what is neither a text nor a file.
type ContentSessions interface {
	OnceSessions

	// SendLocation sends a place and returns the stored message. Errors as of SendText.
	SendLocation(ctx context.Context, id tenant.ID, chat tenant.ChatID, m *session.LocationMessage) (tenant.Message, error)
	// SendContact sends a contact card and returns the stored message. Errors as of SendText.
	SendContact(ctx context.Context, id tenant.ID, chat tenant.ChatID, m *session.CardMessage) (tenant.Message, error)
	// Forward sends a stored message to a chat, marked as forwarded. Returns what SendText does; before that
	// tenant.ErrMessageNotFound, session.ErrDeleted, session.ErrNotForwardable.
	Forward(ctx context.Context, id tenant.ID, ref session.MessageRef, chat tenant.ChatID) (tenant.Message, error)
}

// registerContents registers what is done with messages of all kinds of content.
func registerContents(d *document, sessions ContentSessions) {
	h := &contentHandler{sessions: sessions}
	forwarded := exampleMessage()
	forwarded.Forwarded, forwarded.ForwardScore = true, 1
	tenantOperation(d, &operation{
		id: "forward-message", scope: tenant.ScopeSend, method: http.MethodPost, path: messagePath + "/forward", tag: tagMessages, deadline: deadlineAction,
		status: http.StatusCreated, once: true,
		summary: "Forward a message",
		description: "Sends a stored message to a chat, marked as forwarded: texts, places, contact cards, and files, which are not transferred " +
			"again but referred to where they lie at WhatsApp. Quotes and mentions are left behind. Polls, files that are shown once only " +
			"and messages of unsupported types cannot be forwarded (422). A time-out is that of sending a message.",
		problems: []Code{
			codeChatNotFound, codeMessageNotFound, codeForbidden, codeMessageDeleted, codeMessageRejected, codeNotForwardable, codeGatewayTimeout,
		},
		request:  ForwardMessage{To: "5511999990001@c.us"},
		response: forwarded,
	}, h.forward)
	listed := exampleMessage()
	listed.Type, listed.Text = tenant.TypeImage, "See?"
	listed.Media = &tenant.Media{MimeType: "image/jpeg", Size: 48213, SHA256: strings.Repeat("9f86d081", 8), Width: 1280, Height: 720}
	listed.Locate()
	tenantOperation(d, &operation{
		id: "list-media", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/chats/{chatId}/media", tag: tagMessages,
		summary: "List the files of a chat",
		description: "The messages of a chat that are files, newest first, from the local database. Pass `nextCursor` as `cursor` for older " +
			"ones, until there is none.",
		problems: []Code{codeChatNotFound},
		response: MessageList{Messages: []tenant.Message{listed}},
	}, listMedia)
}

type contentHandler struct{ sessions ContentSessions }

// ForwardMessage is the body of a forward.
type ForwardMessage struct {
	To chatIDText `json:"to" doc:"The chat that it goes to. A person who has no chat yet is looked up on WhatsApp." example:"5511999990001@c.us"`
}

type forwardInput struct {
	MessagePath

	Body ForwardMessage
}

func (h *contentHandler) forward(ctx context.Context, t tenant.Handle, in *forwardInput) (*messageOutput, error) {
	ref, err := in.ref()
	if err != nil {
		return nil, err
	}
	to, err := in.Body.To.id()
	if err != nil {
		return nil, invalid("body.to", err.Error())
	}
	message, err := sendOnce(ctx, h.sessions, t.ID(), in.Body, func(ctx context.Context) (tenant.Message, error) {
		return h.sessions.Forward(ctx, t.ID(), ref, to)
	})
	if err != nil {
		return nil, err
	}
	return &messageOutput{Body: message}, nil
}

type listMediaInput struct {
	ChatPath

	Type   tenant.MessageType `query:"type" enum:"image,video,audio,voice,document,sticker" doc:"Only files of this type."`
	Limit  int                `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Messages in a page."`
	Cursor string             `query:"cursor" maxLength:"500" doc:"nextCursor of the page before."`
}

func listMedia(ctx context.Context, t tenant.Handle, in *listMediaInput) (*messageListOutput, error) {
	id, err := in.ChatID.id()
	if err != nil {
		return nil, err
	}
	page, err := t.Media(ctx, id, tenant.MediaQuery{Limit: in.Limit, Cursor: in.Cursor, Type: in.Type})
	if err != nil {
		return nil, err
	}
	if page.Messages == nil {
		page.Messages = []tenant.Message{}
	}
	return &messageListOutput{Body: MessageList{Messages: page.Messages, NextCursor: page.Next}}, nil
}

// SendLocation is a place to send.
type SendLocation struct {
	Latitude  float64 `json:"latitude" minimum:"-90" maximum:"90" doc:"In degrees, north of the equator." example:"-23.561414"`
	Longitude float64 `json:"longitude" minimum:"-180" maximum:"180" doc:"In degrees, east of Greenwich." example:"-46.655881"`
	Name      string  `json:"name,omitempty" maxLength:"200" doc:"What the place is called." example:"MASP"`
	Address   string  `json:"address,omitempty" maxLength:"200" doc:"Where the place is, in words." example:"Av. Paulista 1578, São Paulo"`
}

// SendContact is a contact card to send.
type SendContact struct {
	Name  string `json:"name" minLength:"1" maxLength:"200" doc:"What the person is called." example:"João"`
	Phone string `json:"phone,omitempty" pattern:"^\\+?[0-9]{7,15}$" patternDescription:"a phone number in international form" doc:"The person's number, with its country code: a card is written with it. Either phone or vcard." example:"5511999990003"`
	VCard string `json:"vcard,omitempty" minLength:"1" maxLength:"65536" doc:"The whole card (one vCard), instead of phone. At most 65536 bytes." example:"BEGIN:VCARD\nVERSION:3.0\nFN:João\nTEL;waid=5511999990003:+5511999990003\nEND:VCARD"`
}

// Resolve checks what a schema cannot say of a place.
func (l *SendLocation) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	return append(nulFault(at.With("name"), l.Name), nulFault(at.With("address"), l.Address)...)
}

// Resolve checks what a schema cannot say of a contact card.
func (c *SendContact) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	faults := nulFault(at.With("vcard"), c.VCard)
	if fault := textFault(c.Name); fault != "" {
		faults = append(faults, fieldFault(at.With("name"), fault))
	}
	switch {
	case c.Phone != "" && c.VCard != "", c.Phone == "" && c.VCard == "":
		faults = append(faults, fieldFault(at.String(), "expected either phone or vcard"))
	case c.VCard != "" && (!session.IsVCard(c.VCard) || len(c.VCard) > session.MaxVCard):
		faults = append(faults, fieldFault(at.With("vcard"), "expected one vCard of at most 65536 bytes, from BEGIN:VCARD to END:VCARD"))
	}
	return faults
}

var (
	_ huma.ResolverWithPath = (*SendLocation)(nil)
	_ huma.ResolverWithPath = (*SendContact)(nil)
)

func fieldFault(location, message string) error {
	return &huma.ErrorDetail{Location: location, Message: message}
}

func nulFault(location, text string) []error {
	if strings.ContainsRune(text, 0) {
		return []error{fieldFault(location, "expected a text without the character U+0000")}
	}
	return nil
}

// choiceFaults says whether a body has exactly one content, and no more than goes with it.
func (b *SendMessage) choiceFaults(at *huma.PathBuffer) []error {
	var given []string
	for _, content := range []struct {
		name string
		is   bool
	}{{"message", b.Message != nil}, {"location", b.Location != nil}, {"contact", b.Contact != nil}} {
		if content.is {
			given = append(given, content.name)
		}
	}
	const choice = "expected exactly one of message, location, contact"
	var faults []error
	switch {
	case len(given) == 0:
		faults = append(faults, fieldFault(at.String(), choice))
	case len(given) > 1:
		for _, name := range given {
			faults = append(faults, fieldFault(at.With(name), choice))
		}
	case b.Message == nil && len(b.Mentions) > 0:
		faults = append(faults, fieldFault(at.With("mentions"), "expected with message only"))
	}
	return faults
}

// sendContent sends what a body has instead of a text.
func (h *messageHandler) sendContent(ctx context.Context, id tenant.ID, chat tenant.ChatID, b *SendMessage) (tenant.Message, error) {
	if place := b.Location; place != nil {
		return h.sessions.SendLocation(ctx, id, chat, &session.LocationMessage{
			Location: tenant.Location{
				Latitude: place.Latitude, Longitude: place.Longitude, Name: place.Name, Address: place.Address,
			},
			ReplyTo: b.ReplyTo, Forwarded: b.Forwarded,
		})
	}
	return h.sessions.SendContact(ctx, id, chat, &session.CardMessage{
		Name: b.Contact.Name, Phone: strings.TrimPrefix(b.Contact.Phone, "+"), VCard: b.Contact.VCard,
		ReplyTo: b.ReplyTo, Forwarded: b.Forwarded,
	})
}
