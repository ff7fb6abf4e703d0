package blackbox

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// process is a running wafleet.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and both streams are read

	mu     sync.Mutex
	grew   chan struct{} // closed and made anew whenever out or err grow
	stdout bytes.Buffer
	stderr bytes.Buffer
}

// masterKey is what tests encrypt by, unless they say otherwise.
const masterKey = "d2FmbGVldCB0ZXN0cyBlbmNyeXB0IGJ5IHRoaXMga2U="

// start starts wafleet with these arguments and no environment but env. It is killed when the test ends.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, done: make(chan struct{}), grew: make(chan struct{})}
	p.cmd = exec.Command(binary(t), args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "WAFLEET_MASTER_KEY=" + masterKey}, env...)
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	var streams sync.WaitGroup
	streams.Go(func() { p.read(stdout, &p.stdout) })
	streams.Go(func() { p.read(stderr, &p.stderr) })
	go func() { // ends with the process, which Cleanup kills and waits for
		streams.Wait()
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		require.NotContains(t, p.stderr.String(), "panic:")
		if t.Failed() {
			t.Logf("wafleet %s\nstdout:\n%s\nstderr:\n%s", strings.Join(args, " "), tail(p.stdout.String()), tail(p.stderr.String()))
		}
	})
	return p
}

func tail(s string) string {
	const most = 16 << 10
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

func (p *process) read(r io.Reader, into *bytes.Buffer) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		p.mu.Lock()
		into.Write(line)
		close(p.grew)
		p.grew = make(chan struct{})
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// wait waits until look finds something in what the process has written so far.
func (p *process) wait(what string, look func(stdout, stderr string) bool) {
	p.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		p.mu.Lock()
		out, errs, grew := p.stdout.String(), p.stderr.String(), p.grew
		p.mu.Unlock()
		if look(out, errs) {
			return
		}
		select {
		case <-grew:
		case <-p.done:
			require.FailNow(p.t, "the process ended before "+what, tail(errs))
		case <-late.C:
			require.FailNow(p.t, "never seen of the process: "+what)
		}
	}
}

// logged waits for a log record with that message and returns one of its fields.
func (p *process) logged(message, field string) string {
	p.t.Helper()
	var value string
	p.wait("it logged "+message, func(_, stderr string) bool {
		for line := range strings.Lines(stderr) {
			var record map[string]any
			if json.Unmarshal([]byte(line), &record) == nil && record["msg"] == message {
				value, _ = record[field].(string)
				return true
			}
		}
		return false
	})
	return value
}

// printed waits until stdout holds text and returns the word behind it.
func (p *process) printed(text string) string {
	p.t.Helper()
	var rest string
	p.wait("it printed "+text, func(stdout, _ string) bool {
		_, after, found := strings.Cut(stdout, text)
		line, _, whole := strings.Cut(after, "\n")
		rest, _, _ = strings.Cut(strings.TrimSpace(line), " ")
		return found && whole
	})
	return rest
}
