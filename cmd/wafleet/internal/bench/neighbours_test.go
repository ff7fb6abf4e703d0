package bench_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/bench"
)

func TestNeighbours(t *testing.T) {
	t.Parallel()
	for engine, database := range engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			o := small(t)
			o.Database = database
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
			var table bytes.Buffer
			require.NoError(t, report.WriteTable(&table))
			require.Contains(t, table.String(), "p99 ratio")
			requireEmpty(t, o.Folder)
		})
	}
	_, err := bench.Neighbours(t.Context(), bench.NeighboursOptions{Options: small(t), Phase: time.Second})
	require.ErrorIs(t, err, bench.ErrOptions)
}
