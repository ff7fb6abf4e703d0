package api

import (
	"context"
	"net/http"

	"github.com/wafleet/wafleet/tenant"
)

// HistorySessions is what sessions do with the history that phones keep.
type HistorySessions interface {
	// FetchHistory returns the newest messages of a chat, newest first; those that are not stored are asked of the phone and stored
	// as they come. Returns tenant.ErrChatNotFound, *session.OfflineError, and *session.HistoryError around
	// *session.OfflineError, session.ErrPhoneSilent, session.ErrTransfer, *session.UncertainError, *session.RefusedError or
	// the context's error.
	FetchHistory(ctx context.Context, id tenant.ID, chat tenant.ChatID, limit int) ([]tenant.Message, error)
}

// registerHistory registers the fetching of messages from WhatsApp (client API v2 §6).
func registerHistory(d *document, sessions HistorySessions) {
	h := &historyHandler{sessions: sessions}
	tenantOperation(d, &operation{
		id: "fetch-history", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/whatsapp/messages/{chatId}", tag: tagMessages, deadline: deadlineMulti,
		summary: "Fetch messages of a chat from WhatsApp",
		description: "The newest messages of a chat as the account's phone has them, up to `limit`, newest first. WhatsApp keeps no history " +
			"itself: as long as fewer than `limit` messages of the chat are stored here, the phone is asked for those that are older than the oldest " +
			"one, 50 at a time, until there are enough or the phone has no more. What comes is stored, without events and without " +
			"doubles; `history.progress` on `/ws` tells how far it is. Calls for the same chat share one run.\n\n" +
			"A phone answers only while it is on and connected. When it does not (504 `PHONE_SILENT`), or something else ends the run, what had come " +
			"by then stays stored, `received` says how many that were, and the next call goes on from there. A person who has no chat yet is looked up on " +
			"WhatsApp first: 404 when the number is not registered. For a chat of which no message is stored the phone is asked for what is older than " +
			"now, which some phones do not answer.",
		problems: []Code{codeChatNotFound, codeActionRejected, codeTransfer, codePhoneSilent, codeGatewayTimeout},
		response: History{Messages: []tenant.Message{exampleMessage()}},
	}, h.fetch)
}

// History is the answer of GET /api/whatsapp/messages/{chatId}.
type History struct {
	Messages []tenant.Message `json:"messages" nullable:"false" doc:"Newest first."`
}

type historyOutput struct {
	Body History
}

type historyInput struct {
	ChatPath

	Limit int `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"The most messages to return."`
}

type historyHandler struct{ sessions HistorySessions }

func (h *historyHandler) fetch(ctx context.Context, t tenant.Handle, in *historyInput) (*historyOutput, error) {
	id, err := in.ChatID.id()
	if err != nil {
		return nil, err
	}
	found, err := h.sessions.FetchHistory(ctx, t.ID(), id, in.Limit)
	if err != nil {
		return nil, err
	}
	if found == nil {
		found = []tenant.Message{}
	}
	return &historyOutput{Body: History{Messages: found}}, nil
}
