package blackbox

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/programtest"
)

// start starts wafleet with these arguments and no environment but env. It is killed when the test ends.
func start(t *testing.T, env []string, args ...string) *programtest.Process {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "WAFLEET_MASTER_KEY=" + programtest.MasterKey}, env...)
	p := programtest.Start(t, patience, cmd)
	t.Cleanup(func() {
		p.Kill()
		require.NotContains(t, p.Errors(), "panic:")
	})
	return p
}

// printed waits until a process has printed text and returns the word behind it.
func printed(p *programtest.Process, text string) string {
	var rest string
	p.See("it printed "+text, func(stdout, _ string) bool {
		_, after, found := strings.Cut(stdout, text)
		line, _, whole := strings.Cut(after, "\n")
		rest, _, _ = strings.Cut(strings.TrimSpace(line), " ")
		return found && whole
	})
	return rest
}
