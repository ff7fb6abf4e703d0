package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

type healthOutput struct {
	Body Health
}

// Health is the answer of GET /api/health.
type Health struct {
	Status string `json:"status" enum:"ok" doc:"Always ok: whoever reads this was served." example:"ok"`
}

// registerHealth registers GET /api/health (client API v2 §3: public).
func registerHealth(d *document) {
	register(d, &operation{
		id: "get-health", method: http.MethodGet, path: "/api/health", tag: tagServer, public: true,
		summary:     "Check that the server answers",
		description: "Needs no key and asks nothing of the database or of WhatsApp.",
		response:    Health{Status: "ok"},
	}, func(ctx context.Context, _ *struct{}) (*healthOutput, error) {
		stateOf(ctx).quiet = true
		return &healthOutput{Body: Health{Status: "ok"}}, nil
	})
}

type statusOutput struct {
	Body ServerStatus
}

// ServerStatus is the answer of GET /api/status, to the letter of client API v2 §4.
type ServerStatus struct {
	Ready   bool   `json:"ready" doc:"Whether the server is connected to WhatsApp." example:"true"`
	Message string `json:"message,omitempty" enum:"Server is not connected to WhatsApp" doc:"Why not, when it is not." example:"Server is not connected to WhatsApp"`
}

const notConnected = "Server is not connected to WhatsApp"

type statusHandler struct{ sessions Sessions }

// registerStatus registers GET /api/status and GET /api/session.
func registerStatus(d *document, sessions Sessions) {
	h := &statusHandler{sessions: sessions}
	tenantOperation(d, &operation{
		id: "get-status", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/status", tag: tagServer,
		summary:     "Check whether the account is connected to WhatsApp",
		description: "More about the connection is on `GET /api/session`.",
		response:    ServerStatus{Ready: true},
	}, h.status)
	tenantOperation(d, &operation{
		id: "get-session", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/session", tag: tagServer,
		summary:     "Show the account's connection to WhatsApp",
		description: "The state, why it is so, and what to do about it.",
		response: SessionInfo{
			State: session.Online, Ready: true, Since: exampleTime(), Phone: "5511988880000", Name: "Padaria do João",
		},
	}, h.session)
}

func (h *statusHandler) status(ctx context.Context, t tenant.Handle, _ *struct{}) (*statusOutput, error) {
	view, err := h.sessions.View(ctx, t.ID())
	if err != nil {
		return nil, err
	}
	if view.Ready() {
		return &statusOutput{Body: ServerStatus{Ready: true}}, nil
	}
	return &statusOutput{Body: ServerStatus{Message: notConnected}}, nil
}

type sessionOutput struct {
	Body SessionInfo
}

// SessionInfo is a session as the API shows it.
type SessionInfo struct {
	State   session.State `json:"state" enum:"unpaired,pairing,connecting,online,backoff,logged_out,banned,outdated,conflict,stopped" doc:"What the session is doing." example:"online"`
	Ready   bool          `json:"ready" doc:"Whether it can act on WhatsApp." example:"true"`
	Reason  string        `json:"reason,omitempty" doc:"Why it is in this state, for programs." example:"stream_replaced"`
	Message string        `json:"message,omitempty" doc:"The same as a sentence."`
	Action  string        `json:"action,omitempty" doc:"What to do about it."`
	Since   time.Time     `json:"since" doc:"Since when it is in this state."`
	Until   *time.Time    `json:"until,omitempty" doc:"The end of a ban, or the next attempt to connect."`
	Phone   string        `json:"phone,omitempty" doc:"The account's phone number in digits." example:"5511988880000"`
	LID     string        `json:"lid,omitempty" doc:"The account's hidden id." example:"104857600000009@lid"`
	Name    string        `json:"name,omitempty" doc:"The name that the account gave itself." example:"Padaria do João"`
	// ReachoutLock is absent while there is none.
	ReachoutLock *tenant.ReachoutLock `json:"reachoutLock,omitempty" doc:"WhatsApp's reach-out time lock, while it holds: the account can write only to those who have written to it."`

	Device string `json:"device,omitempty" doc:"The linked device in WhatsApp's notation. Shown to the operator only." example:"5511988880000:12@s.whatsapp.net"`
}

func sessionInfo(v *session.View) SessionInfo {
	info := SessionInfo{
		State: v.State, Ready: v.Ready(), Reason: v.Reason, Message: v.Message, Action: v.Action, Since: v.Since.UTC(),
		Phone: v.Phone, LID: string(v.LID), Name: v.Name, Device: v.Device, ReachoutLock: activeLock(v),
	}
	if !v.Until.IsZero() {
		info.Until = new(v.Until.UTC())
	}
	return info
}

func (h *statusHandler) session(ctx context.Context, t tenant.Handle, _ *struct{}) (*sessionOutput, error) {
	view, err := h.sessions.View(ctx, t.ID())
	if err != nil {
		return nil, err
	}
	view.Device = "" // the operator's business
	return &sessionOutput{Body: sessionInfo(&view)}, nil
}

// exampleTime is the time of all examples.
func exampleTime() time.Time { return time.Date(2026, time.February, 17, 9, 30, 0, 0, time.UTC) }

func exampleMessage() tenant.Message {
	return tenant.Message{
		ID: "3EB0C767D097B7C7C8F5", ChatID: "5511999990001@c.us", SenderID: "5511988880000@c.us", FromMe: true,
		Timestamp: exampleTime(), Type: tenant.TypeText, Text: "Hello from API", Status: tenant.StatusSent,
	}
}

func exampleChat() tenant.Chat {
	return tenant.Chat{
		ID: "5511999990001@c.us", Type: tenant.ChatDirect, Name: "Ana", LID: "104857600000001@lid", Phone: "5511999990001",
		LastMessageAt: new(exampleTime()), LastMessage: new(exampleMessage()), CreatedAt: exampleTime(), UpdatedAt: exampleTime(),
	}
}

// jsonResponse documents a body that is written by hand.
func jsonResponse[T any](schemas huma.Registry) *huma.Response {
	return &huma.Response{
		Description: http.StatusText(http.StatusOK),
		Content:     map[string]*huma.MediaType{jsonType: {Schema: schemaOf[T](schemas)}},
	}
}
