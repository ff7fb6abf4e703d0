package api

import (
	"context"
	"net/http"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// registerAttention registers what the other side of a chat sees of what the account is doing.
func registerAttention(d *document, sessions Sessions) {
	h := &attentionHandler{sessions: sessions}
	tenantOperation(d, &operation{
		id: "mark-chat-read", scope: tenant.ScopeSend, method: http.MethodPost, path: "/api/chats/{chatId}/read", tag: tagChats, deadline: deadlineAction,
		summary:     "Mark a chat as read",
		description: "Tells the senders of the chat's unread messages that they were read, up to the newest 1,000, and sets `unreadCount` to 0.",
		problems:    []Code{codeChatNotFound, codeGatewayTimeout},
	}, h.read)
	tenantOperation(d, &operation{
		id: "show-typing", scope: tenant.ScopeSend, method: http.MethodPost, path: "/api/chats/{chatId}/typing", tag: tagChats, deadline: deadlineAction,
		summary: "Show that you are typing",
		description: "Shows the other side that this account is typing or recording. It fades after some seconds, with `paused`, and with the " +
			"next message.",
		problems: []Code{codeChatNotFound, codeGatewayTimeout},
		request:  ShowTyping{State: session.TypingComposing},
	}, h.typing)
}

// ShowTyping is the body of POST …/typing.
type ShowTyping struct {
	State session.Typing `json:"state" enum:"composing,recording,paused" doc:"What the account is doing." example:"composing"`
}

type attentionHandler struct{ sessions Sessions }

func (h *attentionHandler) read(ctx context.Context, t tenant.Handle, in *chatInput) (*struct{}, error) {
	id, err := in.ChatID.id()
	if err != nil {
		return nil, err
	}
	return nil, h.sessions.MarkRead(ctx, t.ID(), id)
}

type typingInput struct {
	ChatPath

	Body ShowTyping
}

func (h *attentionHandler) typing(ctx context.Context, t tenant.Handle, in *typingInput) (*struct{}, error) {
	id, err := in.ChatID.id()
	if err != nil {
		return nil, err
	}
	return nil, h.sessions.ShowTyping(ctx, t.ID(), id, in.Body.State)
}
