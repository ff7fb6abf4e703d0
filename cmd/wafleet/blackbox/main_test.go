package blackbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience bounds every wait of these tests. It is generous: two busy cores may be all there is.
const patience = 90 * time.Second

// outside is where wafleet's module begins, seen from here.
const outside = "../../.."

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if path, err := built(); err == nil && path != os.Getenv("WAFLEET_BINARY") {
			_ = os.RemoveAll(filepath.Dir(path))
		}
		os.Exit(code)
	}))
}

// built builds wafleet as make build does, so that the two share what is compiled. It is linked once for all tests. WAFLEET_BINARY
// names another one to test.
var built = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("WAFLEET_BINARY"); given != "" {
		return given, nil
	}
	dir, err := os.MkdirTemp("", "wafleet-blackbox")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "wafleet")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./cmd/wafleet")
	cmd.Dir = outside
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return path, fmt.Errorf("build wafleet: %w\n%s", err, out)
	}
	return path, nil
})

func binary(t *testing.T) string {
	t.Helper()
	path, err := built()
	require.NoError(t, err)
	return path
}
