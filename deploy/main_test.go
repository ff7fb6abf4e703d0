package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience bounds every wait of these tests. It is generous: two busy cores may be all there is.
const patience = 60 * time.Second

// root is the module's folder, seen from here.
const root = ".."

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if folder != "" {
			_ = os.RemoveAll(folder)
		}
		os.Exit(code)
	}))
}

// folder is where the binary is, once it is built.
var folder string

// built builds wafleet as make build does, so that the two share what is compiled.
var built = sync.OnceValues(func() (string, error) {
	var err error
	if folder, err = os.MkdirTemp("", "wafleet-deploy"); err != nil {
		return "", err
	}
	path := filepath.Join(folder, "wafleet")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./cmd/wafleet")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return path, fmt.Errorf("build wafleet: %w\n%s", err, out)
	}
	return path, nil
})

// tool is the path of a program of a Debian package. In CI it must be there; elsewhere the test is skipped without it.
func tool(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		require.Empty(t, os.Getenv("WAFLEET_CI"), "%s is not installed (Debian: %s)", name, debian)
		t.Skipf("%s is not installed (Debian: %s)", name, debian)
	}
	return path
}

// command runs a program to its end and returns what it printed.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
	return string(out)
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(raw)
}
