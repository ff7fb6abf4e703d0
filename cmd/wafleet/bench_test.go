package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBenchmarksReport runs the commands with little to do: what they print is what others read.
func TestBenchmarksReport(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"bench", "idle", "--sessions=5", "--settle=10ms", "--json"},
		{"bench", "inbound", "--sessions=5", "--messages=10", "--json"},
	} {
		p := start(t, nil, args...)
		require.Equal(t, exitOK, p.wait(), p.errors())
		var report struct {
			Benchmark string           `json:"benchmark"`
			Engine    string           `json:"engine"`
			Sessions  int              `json:"sessions"`
			Variants  []map[string]any `json:"variants"`
			Reference string           `json:"reference"`
		}
		require.NoError(t, json.Unmarshal([]byte(p.out()), &report), p.out())
		require.Equal(t, args[1], report.Benchmark)
		require.Equal(t, "SQLite", report.Engine)
		require.Equal(t, 5, report.Sessions)
		require.GreaterOrEqual(t, len(report.Variants), 2)
		require.NotEmpty(t, report.Reference)
	}
}

func TestBenchmarksRefuseWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	code, _, errs := runHere(t.Context(), "bench", "inbound", "--database=mysql://here")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "database must be sqlite or postgres://")
	code, _, errs = runHere(t.Context(), "bench", "inbound", "--sessions=10", "--messages=5")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "at least one per session")
}
