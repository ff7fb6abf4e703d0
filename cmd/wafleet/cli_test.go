package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/config"
)

// runHere runs the program in this process, for what ends by itself.
func runHere(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, program{Args: args, Getenv: func(string) string { return "" }, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
	return code, out.String(), errs.String()
}

func TestPrintsWithoutStarting(t *testing.T) {
	t.Parallel()
	code, out, _ := runHere(t.Context(), "serve", "--print-config")
	require.Equal(t, exitOK, code)
	require.Equal(t, config.Example, out)

	code, out, _ = runHere(t.Context(), "version")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "wafleet ")

	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"dev", "--help"}, {"admin", "pair", "--help"}} {
		code, out, errs := runHere(t.Context(), args...)
		require.Equal(t, exitOK, code, errs)
		require.Contains(t, out, "Usage: wafleet")
		require.NotContains(t, out, "${")
	}
}

func TestServeHasAFlagForEverySetting(t *testing.T) {
	t.Parallel()
	var names []string
	_, help, _ := runHere(t.Context(), "serve", "--help")
	for _, s := range config.Settings() {
		names = append(names, s.Name)
		require.Contains(t, help, "--"+s.Name+"=")
		require.Contains(t, help, "$"+s.Env())
	}
	slices.Sort(names)
	require.Len(t, slices.Compact(names), len(config.Settings()))
}
