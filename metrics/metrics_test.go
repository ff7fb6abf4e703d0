package metrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/metrics"
)

// exercise uses every collector once on behalf of a tenant.
func exercise(m *metrics.Metrics, tenant string) {
	m.Fleet.SessionState(tenant, "", "connecting", false)
	m.Fleet.SessionState(tenant, "connecting", "online", true)
	m.Fleet.ConnectAttempt("online")
	m.Fleet.BreakerOpen(true)
	m.Fleet.Disconnected(tenant, "lost")
	m.Fleet.Message(tenant, "in", "text")
	m.Fleet.SendDuration(tenant, time.Millisecond)
	m.Fleet.Undecryptable(tenant)
	m.Fleet.Panic("translate")
	m.HTTP.Request(tenant, "2xx")
	m.HTTP.Duration("list-chats", time.Millisecond)
	m.HTTP.Stream(tenant, 1)
	m.HTTP.Panic()
	m.Commit.Batch(3, time.Millisecond)
	m.Commit.QueueLength(1)
	m.Commit.Failure("unavailable")
	m.Limits.Refused(tenant, "sends")
	m.Limits.Deleted(tenant, 3, 4)
	m.Limits.Reachout(tenant, true)
}

func TestNamesFollowPrometheusConventions(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	metrics.BuildInfo(reg, "v1.2.3", "abcdef")
	exercise(metrics.New(reg), "k7q2m4x5a3bc")

	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Len(t, families, 21)
}

func TestForgettingATenantLeavesNoSeriesOfIt(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := metrics.New(reg)
	exercise(m, "gone")
	exercise(m, "stays")

	m.Fleet.SessionState("gone", "online", "", false)
	m.Forget("gone")

	tenants := map[string]int{}
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "tenant" {
					tenants[label.GetValue()]++
				}
			}
		}
	}
	require.Equal(t, map[string]int{"stays": 11}, tenants)
}

func TestSessionsAreCountedByState(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := metrics.New(reg)
	m.Fleet.SessionState("a", "", "online", true)
	m.Fleet.SessionState("b", "", "online", true)
	m.Fleet.SessionState("b", "online", "backoff", false)

	got := map[string]float64{}
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				got[family.GetName()+"/"+label.GetValue()] = metric.GetGauge().GetValue()
			}
		}
	}
	require.InDelta(t, 1, got["wafleet_sessions/online"], 0)
	require.InDelta(t, 1, got["wafleet_sessions/backoff"], 0)
	require.InDelta(t, 1, got["wafleet_session_up/a"], 0)
	require.InDelta(t, 0, got["wafleet_session_up/b"], 0)
}

func TestBuildInfoTellsTheToolchain(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	metrics.BuildInfo(reg, "v1.2.3", "abcdef")
	families, err := reg.Gather()
	require.NoError(t, err)
	labels := map[string]string{}
	for _, label := range families[0].GetMetric()[0].GetLabel() {
		labels[label.GetName()] = label.GetValue()
	}
	require.Equal(t, map[string]string{"version": "v1.2.3", "revision": "abcdef", "goversion": runtime.Version()}, labels)
}

// manyTenants fills all series of so many tenants.
func manyTenants(m *metrics.Metrics, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("tenant%06d", i))
		exercise(m, ids[i])
	}
	return ids
}

// BenchmarkScrape answers a scrape of all series that tenants can have, of ten thousand.
func BenchmarkScrape(b *testing.B) {
	reg := prometheus.NewRegistry()
	manyTenants(metrics.New(reg), 10_000)
	scrape := promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true})
	for b.Loop() {
		ask := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/metrics", http.NoBody)
		ask.Header = http.Header{"Accept": {"application/openmetrics-text;version=1.0.0"}, "Accept-Encoding": {"gzip"}}
		answer := httptest.NewRecorder()
		scrape.ServeHTTP(answer, ask)
		require.Equal(b, http.StatusOK, answer.Code)
	}
}

// BenchmarkForget forgets one of ten thousand tenants, and exercises it again.
func BenchmarkForget(b *testing.B) {
	m := metrics.New(prometheus.NewRegistry())
	ids := manyTenants(m, 10_000)
	for i := 0; b.Loop(); i++ {
		m.Forget(ids[i%len(ids)])
		exercise(m, ids[i%len(ids)])
	}
}
