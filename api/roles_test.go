package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// ruledOperation is an operation of a golden document.
type ruledOperation struct {
	method, path string
	OperationID  string           `json:"operationId"`
	Security     []map[string]any `json:"security"`
	Scope        tenant.Scope     `json:"x-scope"` //nolint:tagliatelle // an extension of OpenAPI
	Role         tenant.AdminRole `json:"x-role"`  //nolint:tagliatelle // likewise
}

func operationsIn(t *testing.T, golden string) map[string]ruledOperation {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", golden))
	require.NoError(t, err)
	var document struct {
		Paths map[string]map[string]ruledOperation `json:"paths"`
	}
	require.NoError(t, json.Unmarshal(raw, &document))
	all := make(map[string]ruledOperation)
	for path, item := range document.Paths {
		for method, op := range item {
			op.method, op.path = strings.ToUpper(method), path
			all[op.OperationID] = op
		}
	}
	return all
}

// example fills a path in such a way that it has the right form.
func (o *ruledOperation) example(a *account) string {
	path := o.path
	if o.OperationID == "follow-events" {
		path += "?types=none" // which is refused behind the key; a stream would not end
	}
	return strings.NewReplacer(
		"{tenantId}", string(a.id), "{keyId}", string(a.keyID), "{adminKeyId}", strings.Repeat("a", 12), "{chatId}", ana,
		"{messageId}", "M1", "{contactId}", ana, "{token}", "x",
	).Replace(path)
}

// scopes is which scope each operation of the tenants' API needs. An operation without a row fails.
func scopes() map[tenant.Scope][]string {
	return map[tenant.Scope][]string{
		tenant.ScopeRead: {
			"fetch-history", "follow-events", "get-blocklist", "get-chat", "get-chat-picture", "get-contact", "get-contact-picture", "get-group-invite", "get-group-settings", "get-limits",
			"get-message-media", "get-message-thumbnail", "get-profile", "get-profile-picture", "get-session", "get-status", "list-chats",
			"list-contacts", "list-events", "list-join-requests", "list-media", "list-messages", "list-participants", "open-event-stream",
			"subscribe-presence", "unsubscribe-presence",
		},
		tenant.ScopeSend: {
			"check-numbers", "create-poll", "delete-message", "delete-reaction", "edit-message", "forward-message", "mark-chat-read",
			"react-to-message", "send-message", "set-presence", "show-typing", "vote-in-poll",
		},
		tenant.ScopeManage: {
			"add-participants", "approve-join-requests", "block-contact", "change-chat", "change-group-settings", "create-group",
			"create-join-url", "delete-chat", "delete-group-picture", "delete-join-url", "delete-profile-picture",
			"demote-participants", "describe-group", "join-group", "leave-group", "promote-participants", "reject-join-requests",
			"remove-participants", "rename-group", "reset-group-invite", "set-group-picture", "set-profile-picture", "sync-chats",
			"unblock-contact", "update-profile",
		},
		"": {"get-health", "join-group-by-url"}, // these need no key
	}
}

func TestEveryOperationNeedsItsScope(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	keys := make(map[tenant.Scope]string)
	for _, scope := range tenant.AllScopes() {
		_, secret, err := a.handle.CreateKey(t.Context(), tenant.NewKey{Scopes: tenant.Scopes{scope}})
		require.NoError(t, err)
		keys[scope] = secret.Reveal()
	}
	rows := make(map[string]tenant.Scope)
	for scope, ids := range scopes() {
		for _, id := range ids {
			rows[id] = scope
		}
	}
	for id, op := range operationsIn(t, "openapi.json") {
		needed, taught := rows[id]
		require.True(t, taught, "%s is new: say in the table which scope it needs", id)
		require.Equal(t, needed, op.Scope, id)
		if needed == "" {
			require.Empty(t, op.Security, id)
			continue
		}
		for scope, key := range keys {
			got := n.call(op.method, op.example(a), nil, "X-API-Key", key)
			if scope == needed {
				require.NotContains(t, string(got.body), "INSUFFICIENT_SCOPE", id)
				continue
			}
			got.problem(403, "INSUFFICIENT_SCOPE", "INSUFFICIENT_SCOPE")
			var said struct{ Scope tenant.Scope }
			got.into(&said)
			require.Equal(t, needed, said.Scope, id)
		}
	}
}

// roles is which role each operation of the admin API needs. An operation without a row fails.
func roles() map[tenant.AdminRole][]string {
	return map[tenant.AdminRole][]string{
		tenant.RoleViewer: {
			"get-deletion", "get-tenant", "get-tenant-limits", "get-tenant-session", "get-tenant-usage", "list-audit", "list-deletions", "list-keys", "list-nodes",
			"list-pairing-links", "list-sessions", "list-tenants", "list-usage",
		},
		tenant.RoleOperator: {
			"cancel-export", "cancel-pairing", "change-key", "change-tenant", "change-tenant-limits", "connect-session", "create-key", "create-pairing-link", "create-tenant",
			"delete-tenant",
			"disconnect-session", "export-tenant", "get-pairing", "get-pairing-qr-png", "get-pairing-qr-svg", "import-tenant", "logout-session", "resume-tenant",
			"revoke-key", "revoke-pairing-link", "rotate-key", "start-pairing", "suspend-tenant", "watch-pairing",
		},
		tenant.RoleOwner: {"create-admin-key", "list-admin-keys", "revoke-admin-key", "rotate-admin-key"},
	}
}

// TestEveryAdminOperationNeedsItsRole also looks at what the audit log says of each attempt.
func TestEveryAdminOperationNeedsItsRole(t *testing.T) {
	t.Parallel()
	n := start(t)
	type operator struct{ id, key string }
	keys := make(map[tenant.AdminRole]operator)
	for _, role := range []tenant.AdminRole{tenant.RoleViewer, tenant.RoleOperator, tenant.RoleOwner} {
		key, secret, err := n.store.CreateAdminKey(t.Context(), tenant.NewAdminKey{Role: role})
		require.NoError(t, err)
		keys[role] = operator{string(key.ID), secret.Reveal()}
	}
	rows := make(map[string]tenant.AdminRole)
	for role, ids := range roles() {
		for _, id := range ids {
			rows[id] = role
		}
	}
	for id, op := range operationsIn(t, "admin-openapi.json") {
		needed, taught := rows[id]
		require.True(t, taught, "%s is new: say in the table which role it needs", id)
		require.Equal(t, needed, op.Role, id)
		for role, who := range keys {
			a := n.account() // the one before may be deleted
			got := n.call(op.method, op.example(a), nil, "Authorization", "Bearer "+who.key)
			entries, err := n.store.Audit(t.Context(), tenant.AuditQuery{Page: tenant.Page{Limit: 1}, Operation: id, Actor: who.id})
			require.NoError(t, err)
			covered := role.Covers(needed)
			if !covered {
				got.problem(403, "INSUFFICIENT_ROLE", "INSUFFICIENT_ROLE")
				require.Contains(t, string(got.body), "needs the role "+string(needed), id)
			} else {
				require.NotEqual(t, http.StatusForbidden, got.status, id)
			}
			if covered && op.method == http.MethodGet {
				require.Empty(t, entries.Entries, "%s: reads are not audited", id)
				continue
			}
			require.Len(t, entries.Entries, 1, "%s is in the audit log", id)
			entry := entries.Entries[0]
			require.Equal(t, got.status, entry.Status, id)
			require.Equal(t, role, entry.Role)
			require.Equal(t, got.header.Get("X-Request-Id"), entry.RequestID)
			require.Equal(t, "127.0.0.1", entry.Client)
			if strings.Contains(op.path, "{tenantId}") {
				require.Equal(t, a.id, entry.Tenant, id)
			}
		}
	}
}

func TestTheAuditLogHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	path := "/admin/tenants/" + string(a.id)
	var made struct{ ID, APIKey, AdminKey string }
	secrets := []string{adminKey}
	n.admin(http.MethodPost, path+"/keys", `{"label":"app"}`).is(201).into(&made)
	secrets = append(secrets, strings.Split(made.APIKey, "_")[2])
	n.admin(http.MethodPost, path+"/keys/"+made.ID+"/rotate", `{"overlapSeconds":5}`).is(201).into(&made)
	secrets = append(secrets, strings.Split(made.APIKey, "_")[2])
	n.admin(http.MethodPost, "/admin/keys", `{"role":"operator"}`).is(201).into(&made)
	secrets = append(secrets, strings.Split(made.AdminKey, "_")[2])
	n.call(http.MethodPatch, path, `{"name":"Renamed by them"}`, "Authorization", "Bearer "+made.AdminKey).is(200)
	n.admin(http.MethodDelete, path, nil).is(200)

	all := n.admin(http.MethodGet, "/admin/audit?tenantId="+string(a.id), nil).is(200)
	for _, secret := range secrets {
		require.NotContains(t, string(all.body), secret)
	}
	require.NotContains(t, string(all.body), "Renamed by them")
	var list struct{ Entries []tenant.AuditEntry }
	all.into(&list)
	var said []string
	for _, e := range slices.Backward(list.Entries) {
		said = append(said, e.Operation+" by "+e.Actor)
	}
	require.Equal(t, []string{
		"create-key by environment", "rotate-key by environment", "change-tenant by " + made.ID, "delete-tenant by environment",
		"complete-deletion by node",
	}, said)
	require.Equal(t, map[string]string{"changed": "name"}, list.Entries[2].Detail)
}

func TestASuspendedTenantIsShutOutAtOnce(t *testing.T) {
	t.Parallel()
	n := start(t)
	a, other := n.account(), n.account()
	sock := a.dial("/ws", nil)
	sock.next()
	n.admin(http.MethodPost, "/admin/tenants/"+string(a.id)+"/suspend", nil).is(200)
	sock.closedWith(1008)
	for id, op := range operationsIn(t, "openapi.json") {
		if op.Scope == "" {
			continue
		}
		got := n.call(op.method, op.example(a), nil, "X-API-Key", a.key).problem(403, "TENANT_SUSPENDED", "TENANT_SUSPENDED")
		require.NotContains(t, string(got.body), string(a.id), id)
	}
	other.get("/api/chats").is(200)
	n.fleet.set(func(f *fleet) { f.fail = session.ErrSuspended })
	n.admin(http.MethodPost, "/admin/tenants/"+string(a.id)+"/session/connect", nil).problem(409, "SESSION_SUSPENDED", "SESSION_SUSPENDED")
	n.fleet.set(func(f *fleet) { f.fail = nil })
	n.admin(http.MethodPost, "/admin/tenants/"+string(a.id)+"/resume", nil).is(200)
	a.get("/api/chats").is(200)
}

// unsureSuspender says of each suspension that it does not know whether it is stored.
type unsureSuspender struct {
	tenant.Store

	fails, late bool         // it is not stored at all; it is, when the store comes to it
	queued      func()       // by whom a change has to wait
	away        atomic.Int64 // so many changes find no database
}

func (s *unsureSuspender) Suspend(ctx context.Context, id tenant.ID) (tenant.Tenant, error) {
	store := func() { _, _ = s.Store.Suspend(context.WithoutCancel(ctx), id) }
	switch {
	case s.late:
		s.queued = store
	case !s.fails:
		store()
	}
	return tenant.Tenant{}, fmt.Errorf("%w: %w", tenant.ErrUnavailable, tenant.ErrOutcomeUnknown)
}

func (s *unsureSuspender) Change(ctx context.Context, id tenant.ID, c tenant.Patch) (tenant.Tenant, error) {
	if s.away.Add(-1) >= 0 {
		return tenant.Tenant{}, tenant.ErrUnavailable
	}
	if s.queued != nil {
		s.queued()
	}
	return s.Store.Change(ctx, id, c)
}

// TestASuspensionWhoseOutcomeIsUnknownIsObeyed once it is stored, and only then. What becomes of the keys the store tells.
func TestASuspensionWhoseOutcomeIsUnknownIsObeyed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fails, late bool
		want        session.State
	}{
		"Stored":      {want: session.Stopped},
		"StoredLater": {late: true, want: session.Stopped},
		"NotStored":   {fails: true, want: session.Online},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, func(cfg *api.Config) { cfg.Store = &unsureSuspender{Store: cfg.Store, fails: c.fails, late: c.late} })
			a := n.account()
			n.fleet.set(func(f *fleet) { f.view.State = session.Online })
			n.admin(http.MethodPost, "/admin/tenants/"+string(a.id)+"/suspend", nil).problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
			n.fleet.set(func(f *fleet) { require.Equal(t, c.want, f.view.State) })
			suspended, err := n.store.Get(t.Context(), a.id)
			require.NoError(t, err)
			require.Equal(t, c.fails, suspended.SuspendedAt == nil)
		})
	}
}

// TestASuspensionIsObeyedWhenTheDatabaseIsBack: it may be away for longer than a call lasts.
func TestASuspensionIsObeyedWhenTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	store := &unsureSuspender{}
	store.away.Store(3)
	n := start(t, func(cfg *api.Config) {
		store.Store = cfg.Store
		cfg.Store = store
	})
	a := n.account()
	n.fleet.set(func(f *fleet) { f.view.State = session.Online })
	n.admin(http.MethodPost, "/admin/tenants/"+string(a.id)+"/suspend", nil).problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	require.Eventually(t, func() (rests bool) {
		n.fleet.set(func(f *fleet) { rests = f.view.State == session.Stopped })
		return rests
	}, patience, time.Millisecond)
}

func TestUsageIsCounted(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	a.receive(ana, "M1", "hello")
	for range 3 {
		a.get("/api/chats").is(200)
	}
	a.get("/api/chats/nonsense").is(422)
	require.NoError(t, n.server.Flush(t.Context()))
	require.NoError(t, n.server.Flush(t.Context()), "nothing is counted twice")
	usage := n.admin(http.MethodGet, "/admin/tenants/"+string(a.id)+"/usage", nil).is(200)
	var said struct {
		Total      tenant.Usage
		ActiveDays int
	}
	usage.into(&said)
	require.Equal(t, tenant.Usage{MessagesIn: 1, APICalls: 4}, said.Total)
	require.Equal(t, 1, said.ActiveDays)
	var keys struct{ Keys []tenant.Key }
	n.admin(http.MethodGet, "/admin/tenants/"+string(a.id)+"/keys", nil).is(200).into(&keys)
	require.WithinDuration(t, time.Now(), *keys.Keys[0].LastUsedAt, 2*time.Minute)

	csv := n.call(http.MethodGet, "/admin/usage", nil, "Authorization", "Bearer "+adminKey, "Accept", "text/csv").is(200)
	require.Equal(t, "text/csv; charset=utf-8; header=present", csv.header.Get("Content-Type"))
	require.Equal(t, []string{
		"tenantId,externalId,day,messagesIn,messagesOut,mediaBytesIn,mediaBytesOut,apiCalls,activeDays",
		string(a.id) + ",," + string(tenant.DateOf(time.Now())) + ",1,0,0,0,4,1",
	}, strings.Fields(string(csv.body)))
}

func TestTheAdminAPIHasAnAddressOfItsOwn(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *api.Config) { c.SeparateAdmin = true })
	for _, path := range []string{"/admin/tenants", "/admin/docs", "/admin/openapi.json", "/metrics", "/debug/pprof/"} {
		require.Equal(t, 404, n.bare(path, adminKey), path)
	}
	n.call(http.MethodGet, "/api/health", nil).is(200)
	n.call(http.MethodGet, "/readyz", nil).is(200)

	_, viewer, err := n.store.CreateAdminKey(t.Context(), tenant.NewAdminKey{Role: tenant.RoleViewer})
	require.NoError(t, err)
	admin := httptest.NewServer(n.server.AdminHandler())
	t.Cleanup(admin.Close)
	inside := *n
	inside.url = admin.URL
	for path, want := range map[string]int{
		"/admin/tenants": 200, "/admin/docs": 200, "/metrics": 200, "/livez": 200, "/debug/pprof/": 200, "/debug/pprof/goroutine": 200,
		"/debug/pprof/cmdline": 404, "/api/health": 404, "/openapi.json": 404,
	} {
		require.Equal(t, want, inside.bare(path, adminKey), path)
	}
	require.Equal(t, 401, inside.bare("/debug/pprof/", ""))
	require.Equal(t, 403, inside.bare("/debug/pprof/heap", viewer.Reveal()), "profiles are no reading for viewers")
	require.Equal(t, 200, inside.bare("/admin/tenants", viewer.Reveal()))
}

// bare is the status that a path answers to an admin key, whether it is documented or not.
func (n *node) bare(path, key string) int {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, n.url+path, nil)
	require.NoError(n.t, err)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := (&http.Client{}).Do(req)
	require.NoError(n.t, err)
	require.NoError(n.t, res.Body.Close())
	return res.StatusCode
}
