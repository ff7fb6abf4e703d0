package blackbox

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/programtest"
)

// TestGeneratedClientsWork generates clients from what a running node says of itself, and lets programs of customers use them:
// status, chats, a text that is seen, edited and deleted, typed problems, a file there and back.
func TestGeneratedClientsWork(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	start(t, nil, "dev", "--data", data, "--listen", "127.0.0.1:0", "--sim-listen", "127.0.0.1:0", "--log-format", "json").Printed("Ctrl-C ends")
	dev := programtest.ReadEnv(t, filepath.Join(data, "dev.env"))
	env := append(os.Environ(), "WAFLEET_URL="+dev["WAFLEET_URL"], "WAFLEET_API_KEY="+dev["WAFLEET_API_KEY"], "CHAT="+dev["ANA_PHONE"]+"@c.us")
	node := newCaller(t, dev["WAFLEET_URL"], nil)

	t.Run("Go", func(t *testing.T) {
		t.Parallel()
		dir := copied(t, "testdata/go", node)
		generator := strings.TrimSpace(command(t, outside, nil, ".ci/tool", "oapi-codegen"))
		require.NoError(t, os.Mkdir(filepath.Join(dir, "wafleet"), 0o700))
		command(t, dir, nil, generator, "-config", "oapi-codegen.yaml", "-o", "wafleet/client.gen.go", "openapi.json")
		// As the binary is built, so that the standard library is compiled once for both.
		build := append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
		command(t, dir, build, "go", "build", "-trimpath", "-o", "customer", ".")
		require.Equal(t, "done\n", command(t, dir, env, "./customer"))
	})

	t.Run("TypeScript", func(t *testing.T) {
		t.Parallel()
		for _, tool := range []string{"node", "npm"} {
			if _, err := exec.LookPath(tool); err != nil {
				require.Empty(t, os.Getenv("WAFLEET_CI"), "%s is not installed", tool)
				t.Skipf("%s is not installed (Debian: nodejs, npm)", tool)
			}
		}
		const source = "testdata/typescript"
		here, err := filepath.Abs(source)
		require.NoError(t, err)
		modules := strings.TrimSpace(command(t, outside, nil, ".ci/npm", here))
		dir := copied(t, source, node)
		require.NoError(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
		command(t, dir, nil, "node", "node_modules/openapi-typescript/bin/cli.js", "openapi.json", "--output", "wafleet.ts")
		command(t, dir, nil, "node", "node_modules/typescript/bin/tsc")
		require.Equal(t, "done\n", command(t, dir, env, "node", "out/customer.js"))
	})
}

// copied is a copy of a folder, with the node's document in it.
func copied(t *testing.T, folder string, node *caller) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(folder)))
	document := node.must(t, http.StatusOK, http.MethodGet, "/openapi.json", "").body
	require.NoError(t, os.WriteFile(filepath.Join(dir, "openapi.json"), document, 0o600))
	return dir
}

// command runs a program to its end and returns what it printed.
func command(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, env
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), "%s %s\n%s\n%s", name, strings.Join(args, " "), programtest.Tail(out.String()), programtest.Tail(errs.String()))
	return out.String()
}
