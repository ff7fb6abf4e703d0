package config_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/config"
	"github.com/wafleet/wafleet/tenant"
)

var update = flag.Bool("update", false, "write docs/CONFIGURING.md")

const document = "../../../../docs/CONFIGURING.md"

const preamble = `# Configuring

<!-- Written by go test ./cmd/wafleet/internal/config -run Document -update. Do not edit. -->

A node runs without any configuration. What is set comes from a file (` + "`--config`, `WAFLEET_CONFIG`" + `), from the environment, and from flags,
which win in that order. One name serves for all three: ` + "`drain` in the file is `WAFLEET_DRAIN` in the environment and `--drain`" + ` on the command
line. An unknown setting in the file is a fault, and all faults are told at once, before anything starts. ` + "`wafleet serve --print-config`" + `
writes the file with its comments. Changes count from the next start.

Secrets are better set by environment or file than by flag: others on the machine see flags.

`

// TestTheDocumentTellsEverySetting compares docs/CONFIGURING.md with the settings and the example file.
func TestTheDocumentTellsEverySetting(t *testing.T) {
	t.Parallel()
	got := describe(t)
	if *update {
		require.NoError(t, os.WriteFile(document, []byte(got), 0o600))
	}
	want, err := os.ReadFile(document)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run make golden and review the diff")
}

// describe makes a section of each setting: what the comment in the example file says, or the help where there is none.
func describe(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(preamble)
	defaults := map[string]string{}
	require.NoError(t, yaml.Unmarshal([]byte(config.Example), &defaults))
	comments := comments()
	for _, s := range config.Settings() {
		value := "none"
		if defaults[s.Name] != "" {
			value = "`" + defaults[s.Name] + "`"
		}
		fmt.Fprintf(&b, "## `%s`\n\n%s\n\nEnvironment `%s`, default %s.\n\n", s.Name, cmp.Or(comments[s.Name], s.Usage), s.Env(), value)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// comments are the comments of the example file, by the setting that each stands above.
func comments() map[string]string {
	said := map[string]string{}
	var text []string
	for line := range strings.Lines(config.Example) {
		line = strings.TrimSpace(line)
		comment, isComment := strings.CutPrefix(line, "#")
		name, _, isSetting := strings.Cut(line, ":")
		switch {
		case isComment:
			text = append(text, strings.TrimSpace(comment))
		case isSetting && len(text) > 0:
			said[name] = strings.Join(text, "\n")
			text = nil
		case line == "":
			text = nil
		}
	}
	return said
}

// TestEveryFieldIsASetting: what the struct has can be set, and nothing else.
func TestEveryFieldIsASetting(t *testing.T) {
	t.Parallel()
	fields := reflect.TypeFor[config.Config]().NumField() - 1 + reflect.TypeFor[tenant.Limits]().NumField()
	require.Len(t, config.Settings(), fields, "a setting for each field of Config")
}
