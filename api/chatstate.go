package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// chatSettings is the part of [Sessions] that changes chats.
type chatSettings interface {
	// ChangeChat archives, pins or mutes a chat and returns it as it is now. Returns tenant.ErrChatNotFound,
	// *session.OfflineError, tenant.ErrUnavailable, *session.UncertainError, *session.RefusedError, and *session.PartlyError
	// around one of them.
	ChangeChat(ctx context.Context, id tenant.ID, chat tenant.ChatID, change session.ChatChange) (tenant.Chat, error)
}

// registerChatState registers how a chat is shown on the account's devices.
func registerChatState(d *document, sessions Sessions) {
	h := &chatStateHandler{sessions: sessions}
	changed := exampleChat()
	changed.Pinned, changed.MutedUntil = true, new(exampleMute())
	tenantOperation(d, &operation{
		id: "change-chat", scope: tenant.ScopeManage, method: http.MethodPatch, path: "/api/chats/{chatId}", tag: tagChats, deadline: deadlineAction,
		summary: "Archive, pin or mute a chat",
		description: "Changes how the chat is shown on all of the account's devices. Members that are absent stay as they are; at least one must " +
			"be there. Archiving a chat unpins it, as WhatsApp does. When WhatsApp does not answer in time (504), it may have taken the " +
			"change, and nothing has changed here, unless the answer says so: ask again.\n\n" +
			"What is changed on another device comes as `chat.updated`. A chat stays archived when messages come. A chat that is deleted or " +
			"cleared on another device is deleted or cleared here, up to the message that was its last one there.",
		problems: []Code{codeChatNotFound, codeActionRejected, codeGatewayTimeout},
		request:  map[string]any{"archived": false, "pinned": true, "mutedUntil": exampleMute()},
		response: changed,
	}, h.change)
}

func exampleMute() time.Time { return time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC) }

// ChangeChat is the body of PATCH /api/chats/{chatId}.
type ChangeChat struct {
	Archived   *bool        `json:"archived,omitempty" doc:"Whether the chat is archived." example:"false"`
	Pinned     *bool        `json:"pinned,omitempty" doc:"Whether the chat is pinned. Pinning takes a chat out of the archive, and archiving unpins it." example:"true"`
	MutedUntil nullableTime `json:"mutedUntil,omitzero" doc:"Until when the chat is muted; null for not at all. From the year 2100 on it is muted for ever, which is shown as 2242-03-16T12:56:32Z."`
}

// nullableTime is a time that may be absent, or null.
type nullableTime struct {
	set  bool
	time time.Time // zero: null
}

var (
	_ huma.SchemaProvider = nullableTime{}
	_ json.Unmarshaler    = (*nullableTime)(nil)
)

// Schema is that of a time.
func (nullableTime) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Nullable: true, Examples: []any{exampleMute()}}
}

// UnmarshalJSON reads a time or null.
func (t *nullableTime) UnmarshalJSON(raw []byte) error {
	t.set = true
	if bytes.Equal(raw, []byte("null")) {
		return nil
	}
	return json.Unmarshal(raw, &t.time)
}

// MarshalJSON writes a time or null.
func (t nullableTime) MarshalJSON() ([]byte, error) {
	if t.time.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.time)
}

// Resolve checks what a schema cannot say.
func (b *ChangeChat) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	var faults []error
	if b.Archived == nil && b.Pinned == nil && !b.MutedUntil.set {
		faults = append(faults, &huma.ErrorDetail{Location: at.String(), Message: "expected at least one of archived, pinned and mutedUntil"})
	}
	if b.Archived != nil && b.Pinned != nil && *b.Archived && *b.Pinned {
		faults = append(faults, &huma.ErrorDetail{Location: at.With("pinned"), Message: "expected false: an archived chat cannot be pinned"})
	}
	if b.MutedUntil.set && !b.MutedUntil.time.IsZero() && !b.MutedUntil.time.After(time.Now()) {
		faults = append(faults, &huma.ErrorDetail{Location: at.With("mutedUntil"), Message: "expected a time in the future"})
	}
	return faults
}

var _ huma.ResolverWithPath = (*ChangeChat)(nil)

type chatStateHandler struct{ sessions Sessions }

type changeChatInput struct {
	ChatPath

	Body ChangeChat
}

func (h *chatStateHandler) change(ctx context.Context, t tenant.Handle, in *changeChatInput) (*chatOutput, error) {
	id, err := in.ChatID.id()
	if err != nil {
		return nil, err
	}
	change := session.ChatChange{Archived: in.Body.Archived, Pinned: in.Body.Pinned}
	if in.Body.MutedUntil.set {
		change.MutedUntil = &in.Body.MutedUntil.time
	}
	chat, err := h.sessions.ChangeChat(ctx, t.ID(), id, change)
	if err != nil {
		return nil, err
	}
	return &chatOutput{Body: chat}, nil
}

// partlyProblem says what was done before it failed.
func partlyProblem(e *session.PartlyError, forTenant bool) *Problem {
	p := problemOf(e.Err, forTenant)
	return p.because("This was done: " + strings.Join(e.Done, ", ") + ". This was not: " + strings.Join(e.Left, ", ") + ". " + p.Detail)
}
