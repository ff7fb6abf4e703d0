package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
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
	require.Regexp(t, `^wafleet \S+\ncommit \S+ of .+\ngo1\S+ \S+/\S+, whatsmeow v0\.\S+\n$`, out)

	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"dev", "--help"}, {"admin", "pair", "--help"}} {
		code, out, errs := runHere(t.Context(), args...)
		require.Equal(t, exitOK, code, errs)
		require.Contains(t, out, "Usage: wafleet")
		require.NotContains(t, out, "${")
		require.True(t, len(args) > 1 || strings.Contains(out, "Exit codes: 0"), out)
	}
}

func TestOnlyJoinedErrorsAreSeveralFaults(t *testing.T) {
	t.Parallel()
	two := errors.Join(errors.New("one"), fmt.Errorf("two: %w", errors.Join(errors.New("a"), errors.New("b"))))
	for text, c := range map[string]struct {
		err  error
		code int
	}{
		"wafleet: plain\n":                         {errors.New("plain"), exitFault},
		"wafleet: dial:; \tfirst; \tsecond\n":      {errors.New("dial:\n\tfirst\n\tsecond"), exitFault},
		"wafleet: alone\n":                         {errors.Join(nil, errors.New("alone")), exitFault},
		"wafleet: a and b\n":                       {fmt.Errorf("%w and %w", errors.New("a"), errors.New("b")), exitFault},
		"wafleet: 2 faults:\n  one\n  two: a; b\n": {usageError{two}, exitUsage},
	} {
		var out bytes.Buffer
		require.Equal(t, c.code, report(&out, c.err))
		require.Equal(t, text, out.String())
	}
}

func TestADatabaseThatIsNotThereIsOneSentence(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	for database, want := range map[string]string{
		"postgres://nobody@127.0.0.1:1/x":          "cannot be reached",
		"sqlite:" + filepath.Join(missing, "x.db"): "there is no folder " + missing,
	} {
		p := start(t, nil, "serve", "--listen=127.0.0.1:0", "--database="+database)
		require.Equal(t, exitFault, p.Exit(), p.Errors())
		errs := p.Errors()
		require.Contains(t, errs, want)
		sentence := errs[strings.LastIndex(errs, "wafleet: "):]
		require.Equal(t, 1, strings.Count(sentence, "\n"), sentence)
		require.LessOrEqual(t, strings.Count(sentence, "connection refused"), 1, sentence)
		require.NotContains(t, sentence, "faults")
	}
	require.NoDirExists(t, missing)
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
