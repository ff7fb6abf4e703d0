package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

type messageHandler struct{ sessions Sessions }

// registerMessages registers the operations on messages (client API v2 §6).
func registerMessages(d *document, sessions Sessions) {
	h := &messageHandler{sessions: sessions}
	tenantOperation(d, &operation{
		id: "list-messages", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/chats/{chatId}/messages", tag: tagMessages,
		summary: "List messages of a chat",
		description: "Messages from the local database, newest first, whatever the state of the connection. Pass `nextCursor` as `cursor` " +
			"for older ones, until there is none.",
		problems: []Code{codeChatNotFound},
		response: MessageList{Messages: []tenant.Message{exampleMessage()}},
	}, listMessages)
	tenantOperation(d, &operation{
		id: "send-message", scope: tenant.ScopeSend, method: http.MethodPost, path: "/api/chats/{chatId}/messages", tag: tagMessages,
		deadline: deadlineAction, status: http.StatusCreated,
		summary: "Send a message",
		files:   (&uploads{server: d.server, sessions: sessions}).take,
		once:    true,
		description: "Sends a text, a place or a contact card (JSON: exactly one of `message`, `location`, `contact`) or a file (multipart/form-data) and answers with the stored message once WhatsApp has it. A person who has no chat yet is looked up on " +
			"WhatsApp first: 404 when the number is not registered. When WhatsApp does not answer in time, the message stays stored as " +
			"`pending`, goes out again under the same id, and the answer is 504 with its `messageId`.",
		problems: []Code{codeChatNotFound, codeMessageNotFound, codeForbidden, codeMessageRejected, codeTransfer, codeGatewayTimeout},
		request:  SendMessage{Message: new("Hello from API")},
		response: exampleMessage(),
	}, h.send)
}

// MessageList is the answer of GET …/messages.
type MessageList struct {
	Messages   []tenant.Message `json:"messages" nullable:"false" doc:"Newest first."`
	NextCursor string           `json:"nextCursor,omitempty" doc:"Where older messages start; absent on the last page."`
}

type messageListOutput struct {
	Body MessageList
}

type listMessagesInput struct {
	ChatPath

	Limit  int       `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Messages in a page."`
	Cursor string    `query:"cursor" maxLength:"500" doc:"nextCursor of the page before."`
	Before time.Time `query:"before" doc:"Only messages sent before this time." example:"2026-02-17T09:30:00Z"`
	After  time.Time `query:"after" doc:"Only messages sent after this time." example:"2026-02-16T00:00:00Z"`
	Search string    `query:"q" maxLength:"200" doc:"Part of the text, in any case." example:"invoice"`
}

func listMessages(ctx context.Context, t tenant.Handle, in *listMessagesInput) (*messageListOutput, error) {
	id, err := in.ChatID.id()
	if err != nil {
		return nil, err
	}
	page, err := t.Messages(ctx, id, tenant.MessageQuery{
		Limit: in.Limit, Cursor: in.Cursor, Before: unixMilli(in.Before), After: unixMilli(in.After),
		Search: tenant.CleanText(in.Search),
	})
	if err != nil {
		return nil, err
	}
	if page.Messages == nil {
		page.Messages = []tenant.Message{}
	}
	return &messageListOutput{Body: MessageList{Messages: page.Messages, NextCursor: page.Next}}, nil
}

// unixMilli is the time in milliseconds; 0, which asks for no bound, when there is none.
func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// SendMessage is the body of a send: a text, a place or a contact card.
type SendMessage struct {
	Message  *string          `json:"message,omitempty" nullable:"false" minLength:"1" maxLength:"65536" doc:"The text." example:"Hello from API"`
	ReplyTo  tenant.MessageID `json:"replyTo,omitempty" minLength:"1" maxLength:"128" pattern:"^[!-~]+$" patternDescription:"a message id" doc:"The id of a message of the same chat that this one answers." example:"3EB0C767D097B7C7C8F5"`
	Mentions []personIDText   `json:"mentions,omitempty" maxItems:"1024" nullable:"false" doc:"Who is mentioned; write @ and the number into the text, too." example:"5511999990001@c.us"`

	Location  *SendLocation `json:"location,omitempty" nullable:"false" doc:"A place, instead of a text."`
	Contact   *SendContact  `json:"contact,omitempty" nullable:"false" doc:"A contact card, instead of a text."`
	Forwarded bool          `json:"forwarded,omitempty" doc:"Marks the message as forwarded."`
}

type sendInput struct {
	ChatPath

	Body SendMessage
}

type messageOutput struct {
	Body tenant.Message
}

func (h *messageHandler) send(ctx context.Context, t tenant.Handle, in *sendInput) (*messageOutput, error) {
	chat, err := in.ChatID.id()
	if err != nil {
		return nil, err
	}
	mentions, err := personIDs(in.Body.Mentions)
	if err != nil {
		return nil, invalid("body.mentions", err.Error())
	}
	message, err := sendOnce(ctx, h.sessions, t.ID(), in.Body, func(ctx context.Context) (tenant.Message, error) {
		if in.Body.Message == nil {
			return h.sendContent(ctx, t.ID(), chat, &in.Body)
		}
		return h.sessions.SendText(ctx, t.ID(), chat, session.TextMessage{
			Text: tenant.CleanText(*in.Body.Message), ReplyTo: in.Body.ReplyTo, Mentions: mentions, Forwarded: in.Body.Forwarded,
		})
	})
	if err != nil {
		return nil, err
	}
	return &messageOutput{Body: message}, nil
}

var _ huma.SchemaProvider = personIDText("")
