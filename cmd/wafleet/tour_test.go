package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// startsDev is the line of a tour that the test does in its own way, since ports are scarce.
const startsDev = "go run ./cmd/wafleet dev"

// blocks are the lines of the sh blocks of a document below these headings, or below all; one that ends with a backslash goes on.
func blocks(t *testing.T, path string, headings ...string) []string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var lines []string
	reading, inside, whole := len(headings) == 0, false, ""
	for text := range strings.Lines(string(raw)) {
		text = strings.TrimRight(text, " \n")
		heading, is := strings.CutPrefix(text, "## ")
		switch {
		case is && !inside && len(headings) > 0:
			reading = false
			for _, wanted := range headings {
				reading = reading || heading == wanted
			}
		case strings.HasPrefix(text, "```"):
			inside = reading && text == "```sh"
		case inside && text != "":
			rest, goesOn := strings.CutSuffix(text, `\`)
			whole += rest
			if !goesOn {
				lines = append(lines, whole)
				whole = ""
			}
		}
	}
	return lines
}

// refused is the comment of a line that is to be refused.
var refused = regexp.MustCompile(`# (\d{3}) ([A-Z_]+)$`)

// mark begins the output of a line.
const mark = "====== line "

// walk runs lines one after the other in one shell, as somebody types them, and returns what each printed. What go run builds for
// users is this test's own binary.
func walk(t *testing.T, folder string, lines []string) []string {
	t.Helper()
	bin := t.TempDir()
	self, err := filepath.Abs(os.Args[0])
	require.NoError(t, err)
	shim := "#!/bin/sh\n[ \"$1 $2\" = 'run ./cmd/wafleet' ] || { echo \"go $*: not a part of the tour\" >&2; exit 2; }\n" +
		"shift 2\n" + asProgram + "=1 exec '" + self + "' \"$@\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "go"), []byte(shim), 0o700))
	script := []string{"set -eu"}
	for i, text := range lines {
		script = append(script, fmt.Sprintf("echo; echo '%s%d'", mark, i), text)
	}
	path := filepath.Join(bin, "tour")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(script, "\n")+"\n"), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", path)
	cmd.Dir = folder
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GORACE=exitcode=0"}
	raw, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", raw)
	var printed []string
	for _, part := range strings.Split(string(raw), "\n"+mark)[1:] {
		_, out, _ := strings.Cut(part, "\n")
		printed = append(printed, strings.TrimSpace(out))
	}
	require.Len(t, printed, len(lines), "%s", raw)
	return printed
}

// TestToursRunAsTheyStand runs what README.md and docs/OPERATING.md tell the reader to type, on a wafleet dev of their own.
func TestToursRunAsTheyStand(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"curl", "jq", "openssl"} {
		installed(t, name)
	}
	const root = "../.."
	for name, tour := range map[string]struct {
		lines []string
		says  map[string]string // what follows the beginning of a line
	}{
		"README": {
			blocks(t, root+"/README.md", "A five-minute tour", "An operator's tour"),
			map[string]string{
				`curl -s -H "X-API-Key: $WAFLEET_API_KEY" "$WAFLEET_URL/api/chats/$ANA`: "Hello from API",
				"wafleet admin pairing-link":                    `/pair/wp_\S+$`,
				"wafleet admin limits show":                     `coldChatsPerDay +50 +200 +tenant`,
				"wafleet admin sessions":                        `(?m)^\w+ +\w+ +\S+ +- +5511977770000`,
				"wafleet admin usage":                           `customer-4711 +1 +\d+ +1 `,
				"wafleet admin audit":                           "suspend-tenant",
				"curl -s $WAFLEET_URL/metrics":                  "wafleet_session_up",
				"wafleet backup":                                "a verified copy",
				"wafleet admin export":                          "exported and suspended ",
				"wafleet admin import":                          "Bike shop",
				"wafleet admin tenants delete $TENANT --yes":    `deleted \w+\n`,
				"wafleet admin deletions $TENANT":               `device +unlinked`,
				"until curl -s -H \"X-API-Key: $KEY\" $WAFLEET": "^{\"ready\":true}$",
			},
		},
		"Operating": {
			blocks(t, root+"/docs/OPERATING.md"),
			map[string]string{
				"admin -X PATCH -d '{\"metadata":                        `"plan":"basic"`,
				"admin -X POST $WAFLEET_URL/admin/tenants/$TENANT/susp": "suspendedAt",
				"admin -d '{\"overlapSeconds":                           `"apiKey":"wf_`,
				"admin \"$WAFLEET_URL/admin/usage":                      "^tenantId,externalId",
				"admin \"$WAFLEET_URL/admin/audit?operation":            `"delete-tenant"`,
				"admin $WAFLEET_URL/admin/deletions":                    `"apiKeys":2`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder, lines := t.TempDir(), tour.lines
			if lines[0] == startsDev {
				lines = lines[1:]
			}
			startDev(t, filepath.Join(folder, "wafleet-dev"))
			printed := walk(t, folder, lines)
			told := map[string]bool{}
			for i, text := range lines {
				if want := refused.FindStringSubmatch(text); want != nil {
					require.Contains(t, printed[i], `"status":`+want[1], text)
					require.Contains(t, printed[i], want[2], text)
					continue
				}
				for out := range strings.Lines(printed[i]) {
					requireNoProblem(t, text, out)
				}
				for beginning, says := range tour.says {
					if strings.HasPrefix(text, beginning) {
						told[beginning] = true
						require.Regexp(t, says, printed[i], text)
					}
				}
			}
			require.Len(t, told, len(tour.says), "a line is not there any more: %v", told)
		})
	}
}
