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
		{"bench", "inbound", "--sessions=5", "--messages=10", "--groups", "--json"},
		{"bench", "send", "--messages=5", "--json"},
	} {
		p := start(t, nil, args...)
		require.Equal(t, exitOK, p.Exit(), p.Errors())
		var report struct {
			Benchmark string           `json:"benchmark"`
			Engine    string           `json:"engine"`
			Sessions  int              `json:"sessions"`
			Variants  []map[string]any `json:"variants"`
			Reference string           `json:"reference"`
		}
		require.NoError(t, json.Unmarshal([]byte(p.Out()), &report), p.Out())
		require.Equal(t, args[1], report.Benchmark)
		require.Equal(t, "SQLite", report.Engine)
		require.Equal(t, map[bool]int{true: 1, false: 5}[args[1] == "send"], report.Sessions)
		require.GreaterOrEqual(t, len(report.Variants), 2)
		require.NotEmpty(t, report.Reference)
	}
}

// TestBenchmarksOfScaleReport runs those that take numbers of tenants.
func TestBenchmarksOfScaleReport(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "bench", "fleet", "--tenants=5", "--settle=10ms", "--connects-per-second=100", "--json")
	require.Equal(t, exitOK, p.Exit(), p.Errors())
	var fleet struct {
		Benchmark string           `json:"benchmark"`
		Sessions  int              `json:"sessions"`
		Connects  float64          `json:"connectsPerSecond"`
		Variants  []map[string]any `json:"variants"`
		Reference string           `json:"reference"`
	}
	require.NoError(t, json.Unmarshal([]byte(p.Out()), &fleet), p.Out())
	require.Equal(t, "fleet", fleet.Benchmark)
	require.Equal(t, 5, fleet.Sessions)
	require.InDelta(t, 100, fleet.Connects, 0)
	require.Len(t, fleet.Variants, 2)
	require.Contains(t, fleet.Variants[1]["node"], "commits")
	require.NotEmpty(t, fleet.Reference)

	p = start(t, nil, "bench", "tenants", "--tenants=2,6", "--requests=2", "--json")
	require.Equal(t, exitOK, p.Exit(), p.Errors())
	var tenants struct {
		Benchmark string           `json:"benchmark"`
		Sizes     []map[string]any `json:"sizes"`
		Reference string           `json:"reference"`
	}
	require.NoError(t, json.Unmarshal([]byte(p.Out()), &tenants), p.Out())
	require.Equal(t, "tenants", tenants.Benchmark)
	require.Len(t, tenants.Sizes, 2)
	require.InDelta(t, 6, tenants.Sizes[1]["tenants"], 0)
	require.Contains(t, tenants.Sizes[1], "scrapeText")
	require.NotEmpty(t, tenants.Reference)
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
