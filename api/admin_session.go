package api

import (
	"context"
	"net/http"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

type adminSession struct {
	store    tenant.Store
	sessions Sessions
}

// registerAdminSession registers the operations on a tenant's session.
func registerAdminSession(d *document, store tenant.Store, sessions Sessions) {
	h := &adminSession{store: store, sessions: sessions}
	online := SessionInfo{
		State: session.Online, Ready: true, Since: exampleTime(), Phone: "5511988880000", LID: "104857600000009@lid",
		Name: "Padaria do João", Device: "5511988880000:12@s.whatsapp.net",
	}
	stopped := online
	stopped.State, stopped.Ready = session.Stopped, false
	register(d, &operation{
		id: "get-tenant-session", method: http.MethodGet, path: "/admin/tenants/{tenantId}/session", tag: tagSession,
		summary: "Show a session", problems: []Code{codeTenantNotFound}, response: online,
	}, h.do(sessions.View))
	register(d, &operation{
		id: "connect-session", method: http.MethodPost, path: "/admin/tenants/{tenantId}/session/connect", tag: tagSession,
		deadline: deadlineAction, status: http.StatusOK,
		summary:     "Connect a session",
		description: "Brings a linked session online, whatever ended it: also out of conflict, stopped, outdated or banned.",
		problems:    []Code{codeTenantNotFound, codeNotPaired, codeSessionSuspended, codeExported, codeGatewayTimeout}, response: online,
	}, h.do(sessions.Connect))
	register(d, &operation{
		id: "disconnect-session", method: http.MethodPost, path: "/admin/tenants/{tenantId}/session/disconnect", tag: tagSession,
		deadline: deadlineAction, status: http.StatusOK,
		summary:     "Disconnect a session",
		description: "Takes the session offline until it is connected again, also over restarts. The device stays linked.",
		problems:    []Code{codeTenantNotFound, codeNotPaired, codeGatewayTimeout}, response: stopped,
	}, h.do(sessions.Disconnect))
	register(d, &operation{
		id: "logout-session", method: http.MethodPost, path: "/admin/tenants/{tenantId}/session/logout", tag: tagSession,
		deadline: deadlineAction, status: http.StatusOK,
		summary:     "Log a session out",
		description: "Unlinks the device at WhatsApp, when it is online, and forgets it. The chats stay. It must be paired again.",
		problems:    []Code{codeTenantNotFound, codeNotPaired, codeGatewayTimeout},
		response:    SessionInfo{State: session.LoggedOut, Since: exampleTime(), Reason: "logged_out"},
	}, h.do(sessions.Logout))
}

// do makes a handler of one of the fleet's methods.
func (h *adminSession) do(
	act func(ctx context.Context, id tenant.ID) (session.View, error),
) func(ctx context.Context, in *tenantInput) (*sessionOutput, error) {
	return func(ctx context.Context, in *tenantInput) (*sessionOutput, error) {
		id, err := in.id()
		if err != nil {
			return nil, err
		}
		if _, err := h.store.Get(ctx, id); err != nil {
			return nil, err
		}
		view, err := act(ctx, id)
		if err != nil {
			return nil, err
		}
		return &sessionOutput{Body: sessionInfo(&view)}, nil
	}
}
