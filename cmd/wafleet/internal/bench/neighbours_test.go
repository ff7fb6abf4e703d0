package bench_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/bench"
)

func TestNeighbours(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine string, o bench.Options) {
		t.Helper()
		report, err := bench.Neighbours(t.Context(), bench.NeighboursOptions{Options: o, Limit: 1, Phase: time.Second})
		require.NoError(t, err)
		m := members(t, report)
		require.Equal(t, "neighbours", m["benchmark"])
		require.Equal(t, engine, m["engine"])
		require.Len(t, report.Operations, 3)
		for _, op := range report.Operations {
			require.Positive(t, op.Alone.Count, op.Name)
			require.Positive(t, op.Beside.P99, op.Name)
			require.Positive(t, op.P99, op.Name)
		}
		require.Greater(t, report.Noisy.Refused, report.Noisy.Accepted)
		requireTable(t, &report, "p99 ratio")
	})
	_, err := bench.Neighbours(t.Context(), bench.NeighboursOptions{Options: small(t), Phase: time.Second})
	require.ErrorIs(t, err, bench.ErrOptions)
}
