package api

import (
	"context"
	"net/http"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

const messagePath = "/api/chats/{chatId}/messages/{messageId}"

// registerRevisions registers what is done to messages afterwards (client API v2 §6).
func registerRevisions(d *document, sessions Sessions) {
	h := &revisionHandler{sessions: sessions}
	edited := exampleMessage()
	edited.EditedAt = new(exampleTime())
	tenantOperation(d, &operation{
		id: "edit-message", scope: tenant.ScopeSend, method: http.MethodPatch, path: messagePath, tag: tagMessages, deadline: deadlineAction,
		summary: "Edit a message",
		description: "Replaces the text of a message that this account sent no longer than 15 minutes ago. When WhatsApp does not answer in " +
			"time (504), it may have taken the edit, and nothing has changed here: edit again.",
		problems: append(revisionProblems(), codeEditWindow, codeMessageDeleted, codeNotAText),
		request:  EditMessage{Message: "Hello from API"},
		response: edited,
	}, h.edit)
	tenantOperation(d, &operation{
		id: "delete-message", scope: tenant.ScopeSend, method: http.MethodDelete, path: messagePath, tag: tagMessages, deadline: deadlineAction,
		summary: "Delete a message for everyone",
		description: "Deletes a message that this account sent, of any type, for everyone; in a group whose admin it is, anybody's. It stays in the list, without its content and with " +
			"`deletedAt`; deleting it again changes nothing. When WhatsApp does not answer in time (504), it may have deleted the message, and " +
			"nothing has changed here: delete again.",
		problems: revisionProblems(),
	}, h.delete)
	reacted := exampleMessage()
	reacted.Reactions = []tenant.Reaction{{SenderID: reacted.SenderID, Emoji: "👍", Timestamp: exampleTime()}}
	tenantOperation(d, &operation{
		id: "react-to-message", scope: tenant.ScopeSend, method: http.MethodPut, path: messagePath + "/reactions", tag: tagMessages, deadline: deadlineAction,
		summary:     "React to a message",
		description: "Puts this account's reaction to a message, in the place of the one before.",
		problems:    append(revisionProblems(), codeMessageDeleted),
		request:     React{Emoji: "👍"},
		response:    reacted,
	}, h.react)
	tenantOperation(d, &operation{
		id: "delete-reaction", scope: tenant.ScopeSend, method: http.MethodDelete, path: messagePath + "/reactions", tag: tagMessages, deadline: deadlineAction,
		summary:     "Take a reaction back",
		description: "Takes this account's reaction to a message back, if there is one.",
		problems:    append(revisionProblems(), codeMessageDeleted),
	}, h.unreact)
}

// revisionProblems are those of all that is done to messages.
func revisionProblems() []Code {
	return []Code{codeChatNotFound, codeMessageNotFound, codeForbidden, codeActionRejected, codeGatewayTimeout}
}

// MessagePath is the part of a request that names a message.
type MessagePath struct {
	ChatPath

	MessageID tenant.MessageID `path:"messageId" minLength:"1" maxLength:"128" pattern:"^[!-~]+$" patternDescription:"a message id" doc:"The message's id. Should several messages of the chat share it, the account's own is meant if there is one, else the newest." example:"3EB0C767D097B7C7C8F5"`
	Sender    personIDText     `query:"sender" doc:"Who sent the message, to pick one of several that share the id." example:"5511999990001@c.us"`
}

// ref is the message in our form.
func (p *MessagePath) ref() (session.MessageRef, error) {
	chat, err := p.ChatID.id()
	if err != nil {
		return session.MessageRef{}, err
	}
	ref := session.MessageRef{Chat: chat, ID: p.MessageID}
	if p.Sender != "" {
		if ref.Sender, err = tenant.ParseChatID(string(p.Sender)); err != nil {
			return session.MessageRef{}, invalid("query.sender", err.Error())
		}
	}
	return ref, nil
}

// EditMessage is the body of an edit.
type EditMessage struct {
	Message string `json:"message" minLength:"1" maxLength:"65536" doc:"The new text." example:"Hello from API"`
}

// React is the body of a reaction.
type React struct {
	Emoji string `json:"emoji" minLength:"1" maxLength:"32" doc:"The reaction: one emoji." example:"👍"`
}

// Resolve checks what a schema cannot say.
func (r *React) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	for _, char := range r.Emoji {
		if unicode.IsLetter(char) || unicode.IsSpace(char) || unicode.IsControl(char) {
			return []error{&huma.ErrorDetail{Location: at.With("emoji"), Message: "expected one emoji"}}
		}
	}
	return nil
}

var _ huma.ResolverWithPath = (*React)(nil)

type revisionHandler struct{ sessions Sessions }

type editInput struct {
	MessagePath

	Body EditMessage
}

func (h *revisionHandler) edit(ctx context.Context, t tenant.Handle, in *editInput) (*messageOutput, error) {
	ref, err := in.ref()
	if err != nil {
		return nil, err
	}
	message, err := h.sessions.EditText(ctx, t.ID(), ref, tenant.CleanText(in.Body.Message))
	if err != nil {
		return nil, err
	}
	return &messageOutput{Body: message}, nil
}

type messageInput struct {
	MessagePath
}

func (h *revisionHandler) delete(ctx context.Context, t tenant.Handle, in *messageInput) (*struct{}, error) {
	ref, err := in.ref()
	if err != nil {
		return nil, err
	}
	return nil, h.sessions.DeleteMessage(ctx, t.ID(), ref)
}

type reactInput struct {
	MessagePath

	Body React
}

func (h *revisionHandler) react(ctx context.Context, t tenant.Handle, in *reactInput) (*messageOutput, error) {
	ref, err := in.ref()
	if err != nil {
		return nil, err
	}
	message, err := h.sessions.React(ctx, t.ID(), ref, tenant.CleanText(in.Body.Emoji))
	if err != nil {
		return nil, err
	}
	return &messageOutput{Body: message}, nil
}

func (h *revisionHandler) unreact(ctx context.Context, t tenant.Handle, in *messageInput) (*struct{}, error) {
	ref, err := in.ref()
	if err != nil {
		return nil, err
	}
	_, err = h.sessions.React(ctx, t.ID(), ref, "")
	return nil, err
}
