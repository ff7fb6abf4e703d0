// Package programtest is what tests of a program from outside share: its process, a client that calls it, a file that it writes. It
// imports none of ours.
package programtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// MasterKey is what tests encrypt by, unless they say otherwise.
const MasterKey = "d2FmbGVldCB0ZXN0cyBlbmNyeXB0IGJ5IHRoaXMga2U="

// Process is a running program.
type Process struct {
	Cmd  *exec.Cmd
	Done chan struct{} // closed when it has ended and both streams are read

	t        *testing.T
	patience time.Duration // bounds every wait

	mu     sync.Mutex
	grew   chan struct{} // closed and made anew whenever out or err grow
	stdout bytes.Buffer
	stderr bytes.Buffer
}

// Start starts a program. It is killed when the test ends.
func Start(t *testing.T, patience time.Duration, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Cmd: cmd, Done: make(chan struct{}), t: t, patience: patience, grew: make(chan struct{})}
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var streams sync.WaitGroup
	streams.Go(func() { p.read(stdout, &p.stdout) })
	streams.Go(func() { p.read(stderr, &p.stderr) })
	go func() { // ends with the process, which Cleanup kills and waits for
		streams.Wait()
		_ = cmd.Wait()
		close(p.Done)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s\nstdout:\n%s\nstderr:\n%s", strings.Join(cmd.Args, " "), Tail(p.Out()), Tail(p.Errors()))
		}
	})
	return p
}

func (p *Process) read(r io.Reader, into *bytes.Buffer) {
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

// Out is what it has written to its standard output so far.
func (p *Process) Out() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stdout.String()
}

// Errors is what it has written to its standard error so far.
func (p *Process) Errors() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// Kill ends the process as kill -9 does, and waits for the end.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	<-p.Done
}

// Term asks the process to stop and returns its exit code.
func (p *Process) Term() int {
	p.t.Helper()
	require.NoError(p.t, p.Cmd.Process.Signal(syscall.SIGTERM))
	return p.Exit()
}

// Exit waits for the end of the process and returns its exit code.
func (p *Process) Exit() int {
	p.t.Helper()
	late := time.NewTimer(p.patience)
	defer late.Stop()
	select {
	case <-p.Done:
		return p.Cmd.ProcessState.ExitCode()
	case <-p.t.Context().Done():
	case <-late.C:
	}
	require.FailNow(p.t, "the process does not end")
	return 0
}

// See waits until look finds something in what the process has written so far.
func (p *Process) See(what string, look func(stdout, stderr string) bool) {
	p.t.Helper()
	late := time.NewTimer(p.patience)
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
		case <-p.Done:
			if look(p.Out(), p.Errors()) {
				return
			}
			require.FailNow(p.t, "the process ended before "+what, Tail(p.Errors()))
		case <-late.C:
			require.FailNow(p.t, "never seen of the process: "+what)
		}
	}
}

// Logged waits for a log record with that message and returns it.
func (p *Process) Logged(message string) (record map[string]any) {
	p.t.Helper()
	p.See("it logged "+message, func(_, stderr string) bool {
		for line := range strings.Lines(stderr) {
			record = nil
			if json.Unmarshal([]byte(line), &record) == nil && record["msg"] == message {
				return true
			}
		}
		return false
	})
	return record
}

// Printed waits until stdout holds text, and returns all of stdout.
func (p *Process) Printed(text string) (out string) {
	p.t.Helper()
	p.See("it printed "+text, func(stdout, _ string) bool {
		out = stdout
		return strings.Contains(stdout, text)
	})
	return out
}

// Tail is the end of a long text.
func Tail(s string) string {
	const most = 16 << 10
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

// Client calls a server. It follows no redirects, and its idle connections end with the test.
func Client(t *testing.T, patience time.Duration) *http.Client {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck // net/http's own promise
	transport.MaxIdleConnsPerHost = 32
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ReadEnv reads a file of NAME=value lines.
func ReadEnv(t *testing.T, path string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	env := make(map[string]string)
	for line := range strings.Lines(string(raw)) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), "="); found && !strings.HasPrefix(name, "#") {
			env[name] = value
		}
	}
	return env
}
