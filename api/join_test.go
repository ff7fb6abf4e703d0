package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

const joins = "/api/groups/join/"

// invites stands between the server and the fleet: it says what a group's link is, and counts who asks.
type invites struct {
	*fleet

	link  atomic.Value // string
	fail  atomic.Value // error, in a box: atomic.Value takes one type
	asked atomic.Int64
}

type box struct{ error }

func (i *invites) GroupInvite(ctx context.Context, id tenant.ID, chat tenant.ChatID, reset bool) (string, error) {
	i.asked.Add(1)
	if fail, ok := i.fail.Load().(box); ok && fail.error != nil {
		return "", fail.error
	}
	if link, ok := i.link.Load().(string); ok {
		return link, nil
	}
	return i.fleet.GroupInvite(ctx, id, chat, reset)
}

// joinable is an account that is an admin of a group, and who answers for its link.
func joinable(t *testing.T, options ...config) (*account, *invites) {
	t.Helper()
	asked := &invites{}
	a := start(t, append([]config{func(c *api.Config) {
		asked.fleet = c.Sessions.(*fleet)
		c.Sessions = asked
		c.PublicURL = "https://wa.example.com/"
		c.Limits.JoinCacheTTL = time.Nanosecond
		c.Limits.JoinBurst = 1000
	}}, options...)...).account()
	_, _, err := asked.CreateGroup(t.Context(), a.id, "Família", nil)
	require.NoError(t, err)
	return a, asked
}

// made makes a join URL and returns its path.
func (a *account) made() string {
	a.t.Helper()
	var out struct{ JoinURL string }
	a.send("POST", "/api/chats/"+group+"/join-url", nil).is(201).into(&out)
	path, ok := strings.CutPrefix(out.JoinURL, "https://wa.example.com")
	require.True(a.t, ok, out.JoinURL)
	return path
}

func TestAJoinURLLeadsToTheGroupsLink(t *testing.T) {
	t.Parallel()
	a, asked := joinable(t)
	var chat tenant.Chat
	a.get("/api/chats/" + group).is(200).into(&chat)
	require.Empty(t, chat.JoinURL)
	path := a.made()
	require.Regexp(t, `^/api/groups/join/wj_[a-z2-7]{12}_[a-z2-7]{32}$`, path)
	a.get("/api/chats/" + group).is(200).into(&chat)
	require.Equal(t, "https://wa.example.com"+path, chat.JoinURL)
	require.Contains(t, string(a.get("/api/chats").is(200).body), `"joinUrl":"https://wa.example.com`+path)

	got := a.call(http.MethodGet, path, nil).is(http.StatusFound)
	require.Equal(t, "https://chat.whatsapp.com/THEFIRSTCODE", got.header.Get("Location"))
	require.Equal(t, "no-referrer", got.header.Get("Referrer-Policy"))
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
	require.Empty(t, got.body)
	a.call(http.MethodHead, path, nil)
	for _, page := range []string{"text/html,application/xhtml+xml,*/*;q=0.8", "*/*", "application/json;q=0", "nonsense/"} {
		a.call(http.MethodGet, path, nil, "Accept", page).is(http.StatusFound)
	}
	got = a.call(http.MethodGet, path, nil, "Accept", "text/plain, application/json").is(http.StatusOK)
	require.JSONEq(t, `{"url":"https://chat.whatsapp.com/THEFIRSTCODE","group":{"name":"Família"}}`, string(got.body))
	require.Equal(t, "Accept", got.header.Get("Vary"))

	// The link is reset: the address stays.
	asked.link.Store("https://chat.whatsapp.com/ANOTHERCODE")
	require.Equal(t, "https://chat.whatsapp.com/ANOTHERCODE", a.call(http.MethodGet, path, nil).is(http.StatusFound).header.Get("Location"))
	for _, secret := range []string{string(a.id), path, "THEFIRSTCODE"} {
		for line := range strings.SplitSeq(a.logs.String(), "\n") {
			if strings.Contains(line, "join-group-by-url") || strings.Contains(line, "/api/groups/join/") {
				require.NotContains(t, line, secret)
			}
		}
	}
}

func TestAJoinURLEnds(t *testing.T) {
	t.Parallel()
	a, asked := joinable(t)
	first := a.made()
	second := a.made()
	require.NotEqual(t, first, second)
	a.call(http.MethodGet, second, nil).is(http.StatusFound)
	gone := []string{first, joins + "x", joins + "wj_aaaaaaaaaaaa_" + strings.Repeat("a", 32), joins + string(tenant.NewJoinToken(a.id)), joins + "%00", joins + strings.Repeat("a", 90)}
	bodies := map[string]bool{}
	for _, path := range gone {
		got := a.call(http.MethodGet, path, nil, "X-Request-Id", "the-same").problem(404, "JOIN_URL_NOT_FOUND", "JOIN_URL_NOT_FOUND")
		bodies[string(got.body)] = true
	}
	require.Len(t, bodies, 1, "all are told the same")
	a.call(http.MethodGet, second+"?x=1", nil).problem(422, "Validation error", "VALIDATION_ERROR")

	require.Empty(t, a.send("DELETE", "/api/chats/"+group+"/join-url", nil).is(204).body)
	a.send("DELETE", "/api/chats/"+group+"/join-url", nil).is(204)
	a.call(http.MethodGet, second, nil).problem(404, "JOIN_URL_NOT_FOUND", "JOIN_URL_NOT_FOUND")
	var chat tenant.Chat
	a.get("/api/chats/" + group).is(200).into(&chat)
	require.Empty(t, chat.JoinURL)

	third := a.made()
	asked.fail.Store(box{session.ErrNotAdmin})
	a.call(http.MethodGet, third, nil).problem(404, "JOIN_URL_NOT_FOUND", "JOIN_URL_NOT_FOUND")
	asked.fail.Store(box{})
	a.call(http.MethodGet, third, nil).is(http.StatusFound)
	_, err := a.handle.Commit(t.Context(), tenant.ChangeGroup{ID: group, Self: ownID, Demoted: []tenant.ChatID{ownID}})
	require.NoError(t, err)
	a.get("/api/chats/" + group).is(200).into(&chat)
	require.Empty(t, chat.JoinURL, "only admins see it")
	tenanttest.Delete(t, a.store, a.id)
	a.call(http.MethodGet, third, nil).problem(404, "JOIN_URL_NOT_FOUND", "JOIN_URL_NOT_FOUND")
}

func TestJoinURLsOfASessionThatIsAway(t *testing.T) {
	t.Parallel()
	const other = tenant.ChatID("120363000000000002@g.us") // whose link was never told
	a, asked := joinable(t)
	for name, err := range map[string]error{
		"offline": &session.OfflineError{View: session.View{State: session.Backoff, Message: "secret of the tenant"}}, "silent": &session.UncertainError{Err: errors.New("late")},
		"refused": &session.RefusedError{Code: 500}, "stopping": session.ErrStopping, "panicked": session.ErrPanicked,
	} {
		asked.fail.Store(box{})
		path := a.made()
		asked.fail.Store(box{err})
		require.Equal(t, "https://chat.whatsapp.com/THEFIRSTCODE", a.call(http.MethodGet, path, nil).is(http.StatusFound).header.Get("Location"), name)
		token := tenant.NewJoinToken(a.id)
		_, err := a.handle.Commit(t.Context(), tenant.PutChat{ID: other}, tenant.SetJoinToken{ChatID: other, Token: token})
		require.NoError(t, err)
		got := a.call(http.MethodGet, joins+string(token), nil).problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
		require.NotContains(t, string(got.body), "secret", name)
	}
	for status, err := range map[int]error{403: session.ErrNotAdmin, 503: &session.OfflineError{View: session.View{State: session.Backoff}}, 504: &session.UncertainError{Err: errors.New("late")}} {
		asked.fail.Store(box{err})
		a.send("POST", "/api/chats/"+group+"/join-url", nil).is(status)
	}
	for _, method := range []string{"POST", "DELETE"} {
		a.send(method, "/api/chats/"+ana+"/join-url", nil).problem(400, "NOT_A_GROUP", "NOT_A_GROUP")
		asked.fail.Store(box{})
		a.send(method, "/api/chats/120363000000000009@g.us/join-url", nil).problem(404, "Chat not found", "CHAT_NOT_FOUND")
	}
}

func TestJoinURLsAskWhatsAppOnceForMany(t *testing.T) {
	t.Parallel()
	a, asked := joinable(t, func(c *api.Config) { c.Limits.JoinCacheTTL = time.Hour })
	path := a.made()
	for range 20 {
		a.call(http.MethodGet, path, nil).is(http.StatusFound)
	}
	require.EqualValues(t, 1, asked.asked.Load(), "making it asked already")
	a.send("POST", "/api/chats/"+group+"/invite/reset", nil).is(200)
	require.Equal(t, "https://chat.whatsapp.com/ANOTHERCODE", a.call(http.MethodGet, path, nil).is(http.StatusFound).header.Get("Location"), "a reset is followed at once")
}

func TestJoinURLsHaveAPaceForEachAddress(t *testing.T) {
	t.Parallel()
	a, _ := joinable(t, func(c *api.Config) {
		c.Limits.JoinBurst, c.Limits.JoinEvery = 2, time.Hour
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	path := a.made()
	follow := func(forwarded string) *answer {
		return a.call(http.MethodGet, path, nil, "X-Forwarded-For", forwarded)
	}
	for _, same := range [][3]string{
		{"203.0.113.1", "203.0.113.1, 10.1.2.3", "1.1.1.1, 203.0.113.1"},                                                 // what stands before was written by whoever liked to
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2::3"},                                                   // one network
		{"::ffff:203.0.113.7", "203.0.113.7", "nonsense, 203.0.113.7"},                                                   // one address
		{"10.9.9.9", "10.9.9.9, 10.1.1.1", "10.9.9.9"}, {"", "nonsense", ","}, {"x, 10.5.5.5", "y,10.5.5.5", "10.5.5.5"}, // proxies all the way
	} {
		follow(same[0]).is(http.StatusFound)
		follow(same[1]).is(http.StatusFound)
		got := follow(same[2]).problem(429, "TOO_MANY_REQUESTS", "TOO_MANY_REQUESTS")
		require.Regexp(t, "^(3[56][0-9]{2})$", got.header.Get("Retry-After"))
	}
	follow("2001:db8:1:3::1").is(http.StatusFound)
	require.Equal(t, 429, a.call(http.MethodGet, joins+"x", nil, "X-Forwarded-For", "203.0.113.1").status, "guessing is paced, too")
}

func TestNobodyIsBelievedWhereNoProxyIsTrusted(t *testing.T) {
	t.Parallel()
	a, _ := joinable(t, func(c *api.Config) { c.Limits.JoinBurst, c.Limits.JoinEvery = 1, time.Hour })
	path := a.made()
	a.call(http.MethodGet, path, nil, "X-Forwarded-For", "203.0.113.1").is(http.StatusFound)
	a.call(http.MethodGet, path, nil, "X-Forwarded-For", "203.0.113.2").is(http.StatusTooManyRequests)
}

func TestAJoinURLWithoutAPublicURL(t *testing.T) {
	t.Parallel()
	a, _ := joinable(t, func(c *api.Config) { c.PublicURL = "" })
	var out struct{ JoinURL string }
	a.send("POST", "/api/chats/"+group+"/join-url", nil).is(201).into(&out)
	require.True(t, strings.HasPrefix(out.JoinURL, a.url+joins), out.JoinURL)
}
