package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// limits starts the server with the node's default limits.
func limits(l tenant.Limits) config {
	return func(c *api.Config) { c.TenantLimits = tenant.NewLimitBook(c.Store, l) }
}

// limitedBy asserts that a limit is used up, and returns after how many seconds to come again.
func (a *answer) limitedBy(limit string) string {
	a.t.Helper()
	var p struct{ Limit string }
	a.problem(http.StatusTooManyRequests, "RATE_LIMITED", "RATE_LIMITED").into(&p)
	require.Equal(a.t, limit, p.Limit)
	return a.header.Get("Retry-After")
}

func TestRequestsBeyondTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	n := start(t, limits(tenant.Limits{RequestsPerSecond: 1, RequestBurst: 3}))
	a, other := n.account(), n.account()
	got := a.get("/api/chats").is(http.StatusOK)
	require.Equal(t, `"requests";q=3;w=3`, got.header.Get("RateLimit-Policy"))
	require.Regexp(t, `^"requests";r=[0-2];t=[1-3]$`, got.header.Get("RateLimit"))
	got = beyond(func() *answer { return a.get("/api/chats") })
	require.Equal(t, "1", got.limitedBy("requests"))
	require.Regexp(t, `^"requests";r=0;t=3$`, got.header.Get("RateLimit"))
	path := "/api/chats/" + ana + "/messages"
	beyond(func() *answer { return a.send(http.MethodPost, path, `not even JSON`) }).limitedBy("requests")
	beyond(func() *answer {
		return a.send(http.MethodPost, path, strings.NewReader(strings.Repeat("x", 1<<20)))
	}).limitedBy("requests")
	other.get("/api/chats").is(http.StatusOK)
	require.Contains(t, string(n.call(http.MethodGet, "/metrics", nil).body), `wafleet_rate_limited_total{limit="requests",tenant="`+string(a.id)+`"}`)
	n.call(http.MethodGet, "/api/chats", nil, "X-API-Key", strings.Replace(a.key, "wf_", "wf_x", 1)).is(http.StatusForbidden)
}

// beyond makes requests until one is beyond a pace: on a slow machine that gives some back meanwhile.
func beyond(request func() *answer) *answer {
	const most = 1000
	got := request()
	for n := 1; n < most && got.status != http.StatusTooManyRequests; n++ {
		got = request()
	}
	return got
}

func TestRequestsUnderWayAreBounded(t *testing.T) {
	t.Parallel()
	n := start(t, limits(tenant.Limits{ConcurrentRequests: 1}))
	a, other := n.account(), n.account()
	hold := make(chan struct{})
	entered := n.fleet.holdViews(hold)
	done := make(chan *answer)
	go func() { done <- a.get("/api/status") }()
	<-entered
	a.get("/api/chats").limitedBy("concurrentRequests")
	a.get("/api/events?wait=0").limitedBy("concurrentRequests")
	other.get("/api/chats").is(http.StatusOK)
	close(hold)
	(<-done).is(http.StatusOK)
	go func() { done <- a.get("/api/events?wait=60") }()
	a.hasStreams(1)
	a.get("/api/chats").is(http.StatusOK)
	a.receive(ana, "M1", "hello")
	(<-done).is(http.StatusOK)
}

func TestLimitsOfATenantAreChangedAtOnce(t *testing.T) {
	t.Parallel()
	n := start(t, limits(tenant.Limits{ColdChatsPerDay: 200, EventStreams: 32}))
	a, other := n.account(), n.account()
	path := "/admin/tenants/" + string(a.id) + "/limits"
	type value struct {
		Value, Default int64
		Source         string
	}
	var shown struct{ Limits map[string]value }
	n.admin(http.MethodGet, path, nil).is(http.StatusOK).into(&shown)
	require.Len(t, shown.Limits, len(tenant.LimitSettings()))
	require.Equal(t, value{200, 200, "default"}, shown.Limits["coldChatsPerDay"])

	n.admin(http.MethodPatch, path, `{"coldChatsPerDay":50,"requestsPerSecond":1,"requestBurst":1}`).is(http.StatusOK).into(&shown)
	require.Equal(t, value{50, 200, "tenant"}, shown.Limits["coldChatsPerDay"])
	beyond(func() *answer { return a.get("/api/chats") }).limitedBy("requests")
	other.get("/api/chats").is(http.StatusOK)
	n.admin(http.MethodPatch, path, `{"requestsPerSecond":null,"requestBurst":null}`).is(http.StatusOK).into(&shown)
	require.Equal(t, value{0, 0, "default"}, shown.Limits["requestsPerSecond"])
	require.Equal(t, value{50, 200, "tenant"}, shown.Limits["coldChatsPerDay"], "others stay")

	n.fleet.set(func(f *fleet) {
		f.usage = session.Usage{ColdChatsToday: 20, StoredBytes: 7, Day: tenant.DayOf(time.Unix(0, 0))}
		f.view.Reachout = tenant.ReachoutLock{Since: time.Now(), Until: time.Now().Add(time.Hour), Cause: tenant.ReachoutNotified}
	})
	var mine struct {
		Limits       map[string]int64
		Remaining    map[string]int64
		StoredBytes  int64
		ResetsAt     time.Time
		ReachoutLock struct{ Cause string }
	}
	a.get("/api/limits").is(http.StatusOK).into(&mine)
	require.EqualValues(t, 50, mine.Limits["coldChatsPerDay"])
	require.Equal(t, map[string]int64{"coldChats": 30, "eventStreams": 32}, mine.Remaining, "what has no limit is absent")
	require.EqualValues(t, 7, mine.StoredBytes)
	require.Equal(t, time.Unix(86_400, 0).UTC(), mine.ResetsAt)
	require.Equal(t, "notified", mine.ReachoutLock.Cause)
	var info struct{ ReachoutLock *tenant.ReachoutLock }
	a.get("/api/session").is(http.StatusOK).into(&info)
	require.NotNil(t, info.ReachoutLock)

	for _, wrong := range []string{`{"coldChatsPerDay":-1}`, `{"coldChatsPerDay":1.5}`, `{"coldChats":1}`, `{"coldChatsPerDay":100001}`, `[]`} {
		n.admin(http.MethodPatch, path, wrong).is(http.StatusUnprocessableEntity)
	}
	n.admin(http.MethodPatch, "/admin/tenants/"+string(tenant.NewID())+"/limits", `{"coldChatsPerDay":1}`).is(http.StatusNotFound)
	all, err := a.handle.Overrides(t.Context())
	require.NoError(t, err)
	require.Equal(t, tenant.Overrides{"coldChatsPerDay": 50}, all)
}

// TestFilesAreRefusedBeforeTheyCome has a file refused of which only the head was sent.
func TestFilesAreRefusedBeforeTheyCome(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	n.fleet.set(func(f *fleet) { f.noFiles = &session.LimitError{Limit: session.LimitStorage, After: time.Minute} })
	got := n.raw(t, "POST /api/chats/"+ana+"/messages HTTP/1.1\r\nHost: x\r\nX-API-Key: "+a.key+
		"\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 50000000\r\n\r\n")
	got.limitedBy("storage")
	require.Contains(t, string(n.call(http.MethodGet, "/metrics", nil).body), `wafleet_rate_limited_total{limit="storage",tenant="`+string(a.id)+`"} 1`)
}

func TestWhatASendMeetsIsSaid(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	for _, limit := range []string{session.LimitColdChats, session.LimitReachout, session.LimitSends, session.LimitConcurrentSends, session.LimitStorage} {
		n.fleet.set(func(f *fleet) { f.sendErr = &session.LimitError{Limit: limit, After: 90 * time.Second} })
		got := a.send(http.MethodPost, "/api/chats/"+ana+"/messages", `{"message":"hi"}`)
		require.Equal(t, "90", got.limitedBy(limit))
	}
	n.admin(http.MethodDelete, "/admin/tenants/"+string(a.id), nil).is(http.StatusOK)
	require.NotContains(t, string(n.call(http.MethodGet, "/metrics", nil).body), string(a.id))
}

// TestLimitsThatMayBeStoredAreAskedFor has a change whose outcome is not known hold all the same, once that is known.
func TestLimitsThatMayBeStoredAreAskedFor(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	store := &unsureStore{LimitStore: n.store}
	book := tenant.NewLimitBook(store, tenant.Limits{})
	err := book.Set(t.Context(), a.id, tenant.LimitPatch{"eventStreams": new(int64(5))})
	require.ErrorIs(t, err, tenant.ErrOutcomeUnknown)
	require.Zero(t, book.Of(a.id).EventStreams)
	book.Settle(t.Context())
	require.EqualValues(t, 5, book.Of(a.id).EventStreams)
}
