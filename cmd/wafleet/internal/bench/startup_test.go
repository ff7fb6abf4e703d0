package bench_test

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/bench"
)

func TestStartup(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine string, o bench.Options) {
		t.Helper()
		report, err := bench.Startup(t.Context(), bench.StartupOptions{Options: o, Settle: 100 * time.Millisecond})
		require.NoError(t, err)
		m := members(t, report)
		require.Equal(t, "fleet", m["benchmark"])
		require.Equal(t, engine, m["engine"])
		require.EqualValues(t, 20, m["sessions"])
		require.Contains(t, m["reference"], "bare whatsmeow")
		require.Len(t, report.Variants, 2)
		for _, v := range report.Variants {
			require.Positive(t, v.OnlineMS, v.Name)
			require.Positive(t, v.PerSecond, v.Name)
			require.GreaterOrEqual(t, v.PerSession.Goroutines, 4.0, "%s: whatsmeow itself runs four", v.Name)
		}
		checkStartedNode(t, &report.Variants[1])
		requireTable(t, &report, "group commit")
		requireProfiles(t, o.Profile, 6, "CPU and heap of the clients, of the node, and of the empty one")
	})
}

func checkStartedNode(t *testing.T, v *bench.StartupVariant) {
	t.Helper()
	require.Equal(t, bench.Node, v.Name)
	require.LessOrEqual(t, v.ServingMS, v.OnlineMS)
	require.NotNil(t, v.Node)
	require.Positive(t, v.Node.Commits.Transactions)
	require.GreaterOrEqual(t, v.Node.Commits.Callers, v.Node.Commits.Transactions)
	require.Positive(t, v.Node.Commits.P50MS)
	require.GreaterOrEqual(t, v.Node.Commits.P99MS, v.Node.Commits.P50MS)
	require.Equal(t, 100, v.Node.List.Count)
	require.Equal(t, 100, v.Node.Deep.Count)
	require.Positive(t, v.Node.Text.P99)
	require.Positive(t, v.Node.Protobuf.P99)
}

func TestStartupOptions(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*bench.StartupOptions){
		"no session":   func(o *bench.StartupOptions) { o.Sessions = 0 },
		"a pace below": func(o *bench.StartupOptions) { o.Connects = -1 },
		"a wait below": func(o *bench.StartupOptions) { o.Settle = -1 },
	} {
		o := bench.StartupOptions{Options: small(t)}
		o.Progress = io.Discard
		spoil(&o)
		_, err := bench.Startup(t.Context(), o)
		require.ErrorIs(t, err, bench.ErrOptions, name)
	}
}
