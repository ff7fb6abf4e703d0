package bench

import (
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/metrics"
	"github.com/wafleet/wafleet/tenant"
)

// scraped is what a scrape tells of a node's collectors after fill.
func scraped(t *testing.T, fill func(m *metrics.Metrics)) families {
	t.Helper()
	reg := prometheus.NewRegistry()
	fill(metrics.New(reg))
	node := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	t.Cleanup(node.Close)
	told, err := readMetrics(t.Context(), &caller{base: node.URL, http: node.Client()})
	require.NoError(t, err)
	return told
}

// TestWrongSeriesFail shows each thing that may be wrong with what a node tells of its tenants.
func TestWrongSeriesFail(t *testing.T) {
	t.Parallel()
	all := []resident{{id: "aaaaaaaaaaaa"}, {id: "bbbbbbbbbbbb"}}
	twice := func(m *metrics.Metrics, ids ...tenant.ID) {
		for _, id := range ids {
			m.HTTP.Request(string(id), "2xx")
			m.HTTP.Request(string(id), "4xx")
		}
	}
	for name, c := range map[string]struct {
		fill  func(m *metrics.Metrics)
		fault string
	}{
		"all is well":       {func(m *metrics.Metrics) { twice(m, all[0].id, all[1].id) }, ""},
		"one is missing":    {func(m *metrics.Metrics) { twice(m, all[0].id) }, "tenant 1 has 0 series"},
		"one has one more":  {func(m *metrics.Metrics) { twice(m, all[0].id, all[1].id); m.HTTP.Stream(string(all[1].id), 1) }, "tenant 1 has 3 series"},
		"one was forgotten": {func(m *metrics.Metrics) { twice(m, all[0].id, all[1].id, "cccccccccccc") }, "1 tenants that do not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faulty(t, checkSeries(scraped(t, c.fill), all, seriesEach), c.fault)
		})
	}
}

func faulty(t *testing.T, err error, fault string) {
	t.Helper()
	if fault == "" {
		require.NoError(t, err)
		return
	}
	require.ErrorIs(t, err, ErrCounts)
	require.ErrorContains(t, err, fault)
}

// TestWrongSessionsFail shows each thing that may be wrong with what a node tells of its sessions.
func TestWrongSessionsFail(t *testing.T) {
	t.Parallel()
	online := func(m *metrics.Metrics, ids ...string) {
		for _, id := range ids {
			m.Fleet.SessionState(id, "", "online", true)
			m.Fleet.ConnectAttempt("online")
		}
	}
	for name, c := range map[string]struct {
		fill  func(m *metrics.Metrics)
		fault string
	}{
		"all is well":        {func(m *metrics.Metrics) { online(m, "a", "b") }, ""},
		"one tried again":    {func(m *metrics.Metrics) { online(m, "a", "b"); m.Fleet.ConnectAttempt("failed") }, ""},
		"one is missing":     {func(m *metrics.Metrics) { online(m, "a") }, "not 2"},
		"one is too many":    {func(m *metrics.Metrics) { online(m, "a", "b", "c") }, "tell of 3"},
		"one is not online":  {func(m *metrics.Metrics) { online(m, "a", "b"); m.Fleet.SessionState("b", "online", "backoff", false) }, "tell of 1"},
		"one came twice":     {func(m *metrics.Metrics) { online(m, "a", "b"); m.Fleet.ConnectAttempt("online") }, ""},
		"a commit failed":    {func(m *metrics.Metrics) { online(m, "a", "b"); m.Commit.Failure("rejected") }, "1 transactions failed"},
		"one has left a row": {func(m *metrics.Metrics) { online(m, "a", "b"); m.Fleet.Undecryptable("gone") }, "3 tenants with series"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faulty(t, checkOnline(scraped(t, c.fill), 2), c.fault)
		})
	}
}

// TestQuantilesOfNativeHistograms holds quantiles to the values that were observed: they are a bucket's width too large at most.
func TestQuantilesOfNativeHistograms(t *testing.T) {
	t.Parallel()
	told := scraped(t, func(m *metrics.Metrics) {
		for i := range 1000 {
			m.Commit.Batch(3, time.Duration(i+1)*time.Millisecond)
		}
	})
	h := told.histogram("wafleet_commit_duration_seconds")
	width := math.Exp2(math.Exp2(-float64(h.GetSchema())))
	for q, exact := range map[float64]float64{0.01: 0.010, 0.5: 0.5, 0.99: 0.99, 1: 1} {
		got := quantile(h, q)
		require.GreaterOrEqual(t, got, exact*(1-1e-9), "%v", q)
		require.LessOrEqual(t, got, exact*width*(1+1e-9), "%v", q)
	}
	require.Zero(t, quantile(nil, 0.99))
	commits := commitsIn(told)
	require.EqualValues(t, 1000, commits.Transactions)
	require.EqualValues(t, 3000, commits.Callers)
	require.InEpsilon(t, 990, commits.P99MS, width-1)
}

func TestAScrapeThatIsRefusedFails(t *testing.T) {
	t.Parallel()
	node := httptest.NewServer(http.NotFoundHandler())
	defer node.Close()
	_, err := measureScrapes(t.Context(), &caller{base: node.URL, http: node.Client()}, formText, 1)
	require.ErrorIs(t, err, ErrWorker)
}
