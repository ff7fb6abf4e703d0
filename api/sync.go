package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// synchronizer is the part of [Sessions] that takes over what WhatsApp has.
type synchronizer interface {
	// SyncChats takes groups, contacts and settings over and counts the chats. Callers at the same time share one run. Returns
	// *session.OfflineError, *session.SyncError.
	SyncChats(ctx context.Context, id tenant.ID) (session.SyncResult, error)
}

// registerSync registers what takes over all that WhatsApp has (client API v2 §5).
func registerSync(d *document, sessions Sessions) {
	h := &syncHandler{sessions: sessions}
	tenantOperation(d, &operation{
		id: "sync-chats", scope: tenant.ScopeManage, method: http.MethodPost, path: "/api/chats/sync", tag: tagChats, deadline: deadlineMulti,
		summary: "Synchronize all chats",
		description: "Takes the account's groups, the names of its contacts and the settings of its chats (archived, pinned, muted) over from " +
			"WhatsApp, and counts the chats that are stored then. It is not needed in normal operation: what changes comes by itself. Calls at " +
			"the same time share one run, which goes on when its callers leave; `/ws` tells how far it has come (`sync.progress`). " +
			"When WhatsApp is too slow (504), or the account was linked a moment ago and its phone has not sent the keys to its settings yet (503), the " +
			"answer says what is done; that is stored.",
		problems: []Code{codeGatewayTimeout},
		response: SyncedChats{Groups: 12, Direct: 45, Total: 57, DurationMs: 2310},
	}, h.sync)
}

// SyncedChats is the answer of POST /api/chats/sync.
type SyncedChats struct {
	Groups     int   `json:"groups" doc:"How many groups are stored now." example:"12"`
	Direct     int   `json:"direct" doc:"How many chats with persons are stored now." example:"45"`
	Total      int   `json:"total" doc:"How many chats are stored now." example:"57"`
	DurationMs int64 `json:"durationMs" doc:"How long it took, in milliseconds." example:"2310"`
}

type syncHandler struct{ sessions Sessions }

type syncOutput struct {
	Body SyncedChats
}

func (h *syncHandler) sync(ctx context.Context, t tenant.Handle, _ *struct{}) (*syncOutput, error) {
	result, err := h.sessions.SyncChats(ctx, t.ID())
	if err != nil {
		return nil, err
	}
	return &syncOutput{Body: SyncedChats{
		Groups: result.Groups, Direct: result.Direct, Total: result.Groups + result.Direct, DurationMs: result.Took.Milliseconds(),
	}}, nil
}

// syncProblem says how far a synchronisation has come.
func syncProblem(e *session.SyncError) *Problem {
	p := newProblem(codeGatewayTimeout)
	if offline, ok := errors.AsType[*session.OfflineError](e.Err); ok {
		p = offlineProblem(offline)
	} else if errors.Is(e.Err, session.ErrNoStateKey) {
		p = stateKeyProblem()
	} else if errors.Is(e.Err, tenant.ErrUnavailable) || errors.Is(e.Err, tenant.ErrNotFound) {
		p = newProblem(codeUnavailable)
	}
	done := "Nothing is synchronized yet"
	if len(e.Done) > 0 {
		done = "These are synchronized: " + strings.Join(e.Done, ", ")
	}
	if len(e.Left) > 0 {
		done += "; these are not: " + strings.Join(e.Left, ", ")
	}
	return p.because(p.Detail + " " + done + ". Call again to go on.")
}

// stateKeyWait is how long the phone takes as a rule to share its keys after it was linked.
const stateKeyWait = 5 * time.Second

// stateKeyProblem says that the account's settings cannot be read yet.
func stateKeyProblem() *Problem {
	p := newProblem(codeUnavailable).because("The keys to the account's settings have not come from its phone yet. It sends them soon after it was linked, " +
		"if it is on and connected to the internet; try again in a while.")
	p.retryAfter = stateKeyWait
	return p
}
