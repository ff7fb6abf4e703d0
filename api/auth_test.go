package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/tenant"
)

func TestKeysOfTenants(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	a.get("/api/chats").is(200)
	for _, path := range []string{"/api/chats", "/api/status", "/ws", "/api/chats/nonsense", "/api/chats?colour=red"} {
		n.call(http.MethodGet, path, nil).problem(401, "Missing API key", "MISSING_API_KEY")
		for _, bad := range []string{
			"nonsense", a.key + "x", strings.ToUpper(a.key), a.key[:len(a.key)-1] + "2" + "2", "wf_" + strings.Repeat("a", 18) + "_" + strings.Repeat("b", 40),
			a.key[:22] + strings.Repeat("a", 40), "é", "Bearer " + a.key,
		} {
			n.call(http.MethodGet, path, nil, "X-API-Key", bad).problem(403, "Invalid API key", "INVALID_API_KEY")
		}
	}
	n.call(http.MethodPost, "/api/chats/x/messages", "{nonsense").problem(401, "Missing API key", "MISSING_API_KEY")
	n.call(http.MethodGet, "/ws?apiKey=nonsense", nil).problem(403, "Invalid API key", "INVALID_API_KEY")
	n.call(http.MethodGet, "/ws?apiKey="+a.key, nil).problem(426, "UPGRADE_REQUIRED", "UPGRADE_REQUIRED")
	n.call(http.MethodGet, "/admin/tenants", nil, "Authorization", "Bearer "+a.key).problem(403, "Invalid API key", "INVALID_API_KEY")
}

func TestARevokedKeyEndsAtOnce(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *api.Config) { c.Limits.KeyCacheTTL = time.Hour }) // not the cache's time is what ends it
	a := n.account()
	a.get("/api/chats").is(200)
	n.admin(http.MethodDelete, fmt.Sprintf("/admin/tenants/%s/keys/%s", a.id, a.keyID), nil).is(204)
	a.get("/api/chats").problem(403, "Invalid API key", "INVALID_API_KEY")

	// Revoked beside the API, e.g. by the command line: the store says so.
	b := n.account()
	b.get("/api/chats").is(200)
	require.NoError(t, b.handle.RevokeKey(t.Context(), b.keyID))
	require.Eventually(t, func() bool { return b.get("/api/chats").status == 403 }, patience, 10*time.Millisecond)
}

func TestAnExpiredKeyEndsByItself(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *api.Config) { c.Limits.KeyCacheTTL = time.Hour })
	a := n.account()
	_, secret, err := a.handle.CreateKey(t.Context(), tenant.NewKey{ExpiresAt: new(time.Now().Add(5 * time.Second))})
	require.NoError(t, err)
	a.key = secret.Reveal()
	a.get("/api/chats").is(200)
	require.Eventually(t, func() bool { return a.get("/api/chats").status == 403 }, patience, 20*time.Millisecond)
}

// brokenStore cannot look keys up.
type brokenStore struct {
	tenant.Store

	err error
}

func (s *brokenStore) Key(context.Context, tenant.KeyID) (tenant.Key, error) {
	return tenant.Key{}, s.err
}

func TestANodeThatCannotCheckKeysSaysSo(t *testing.T) {
	t.Parallel()
	broken := &brokenStore{err: errors.New("no such table: api_key")}
	n := start(t, func(c *api.Config) {
		broken.Store = c.Store
		c.Store = broken
	})
	a := n.account()
	a.get("/api/chats").problem(500, "Server misconfigured", "SERVER_MISCONFIGURED")
	require.Contains(t, n.logs.String(), "no such table")
}

func TestKeysOfTheOperator(t *testing.T) {
	t.Parallel()
	n := start(t)
	got := n.call(http.MethodGet, "/admin/tenants", nil).problem(401, "Missing API key", "MISSING_API_KEY")
	require.Equal(t, "Bearer", got.header.Get("WWW-Authenticate"))
	n.call(http.MethodGet, "/admin/tenants", nil, "Authorization", "Basic eDp5").problem(401, "Missing API key", "MISSING_API_KEY")
	n.call(http.MethodGet, "/admin/tenants", nil, "Authorization", "Bearer x").problem(403, "Invalid API key", "INVALID_API_KEY")
	n.call(http.MethodGet, "/admin/tenants", nil, "X-API-Key", adminKey).problem(401, "Missing API key", "MISSING_API_KEY")
	n.call(http.MethodGet, "/admin/tenants", nil, "Authorization", "bearer "+adminKey).is(200)

	closed := start(t, func(c *api.Config) { c.AdminKey = api.NewAdminKey("") })
	closed.call(http.MethodGet, "/admin/tenants", nil, "Authorization", "Bearer ").problem(500, "Server misconfigured", "SERVER_MISCONFIGURED")
	closed.call(http.MethodGet, "/admin/openapi.json", nil).is(200)
}

// TestLogsHoldNoSecrets holds that neither keys nor query strings nor numbers of people reach the log.
func TestLogsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	a.receive(ana, "M1", "very private")
	a.get("/api/chats/" + ana)
	a.get("/api/chats/" + ana + "/messages?q=private")
	a.get("/api/chats?q=5511999990001")
	a.get("/api/chats?apiKey=" + a.key)
	a.send(http.MethodPost, "/api/chats/"+ana+"/messages", `{"message":"very private"}`)
	a.send(http.MethodPost, "/api/chats/"+ana+"/messages", `{"message":"very private",}`)
	n.call(http.MethodGet, "/ws?apiKey="+a.key, nil)
	n.call(http.MethodGet, "/nothing/"+ana+"?apiKey="+a.key, nil)
	n.admin(http.MethodPost, fmt.Sprintf("/admin/tenants/%s/session/pair", a.id), `{"method":"code","phone":"5511999990001"}`)
	n.raw(t, "GET /api/chats HTTP/1.1\r\nHost: x\r\nX-API-Key: "+a.key+"\x01\r\n\r\n")
	logged := n.logs.String()
	_, secret, _ := strings.Cut(a.key[3:], "_")
	for _, private := range []string{secret, adminKey, "private", "5511999990001", "apiKey="} {
		require.NotContains(t, logged, private)
	}
	require.Contains(t, logged, `"route":"/api/chats/{chatId}/messages"`)
	require.Contains(t, logged, `"tenant":"`+string(a.id)+`"`)
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	n := start(t)
	made := n.call(http.MethodGet, "/api/health", nil).header.Get("X-Request-Id")
	require.Regexp(t, `^[0-9a-f]{16}$`, made)
	require.Equal(t, "mine-1.2_X", n.call(http.MethodGet, "/nothing", nil, "X-Request-Id", "mine-1.2_X").header.Get("X-Request-Id"))
	for _, bad := range []string{"a b", "ä", strings.Repeat("a", 65), `a"b`} {
		require.Regexp(t, `^[0-9a-f]{16}$`, n.call(http.MethodGet, "/nothing", nil, "X-Request-Id", bad).header.Get("X-Request-Id"))
	}
}

func TestRequestsAreCountedByTenant(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	a.get("/api/chats").is(200)
	a.get("/api/chats/" + ana).is(404)
	n.call(http.MethodGet, "/api/chats", nil).is(401)
	scrape := n.call(http.MethodGet, "/metrics", nil, "Accept", "application/openmetrics-text; version=1.0.0").is(200)
	require.Contains(t, scrape.header.Get("Content-Type"), "application/openmetrics-text")
	text := string(scrape.body)
	require.Contains(t, text, fmt.Sprintf(`wafleet_api_requests_total{status="2xx",tenant="%s"} 1`, a.id))
	require.Contains(t, text, fmt.Sprintf(`wafleet_api_requests_total{status="4xx",tenant="%s"} 1`, a.id))
	require.Contains(t, text, `wafleet_http_request_duration_seconds_count{operation="list-chats"} 2`)
}
