package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/node"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/programtest"
)

// asProgram makes the test binary be wafleet: tests start it as a process of its own, which can be killed.
const asProgram = "WAFLEET_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	flag.DurationVar(&patience, "patience", patience, "how long tests wait for what must happen")
	node.Prepare()
	// whatsmeow: a connection that is closed while frames come in leaves its reader waiting for somebody to take the next one.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete"))
}

// patience bounds every wait of these tests. It is generous: with the race detector on two busy cores, things take their time.
var patience = 60 * time.Second

// installed is the path of a program of the Debian package with its name. In CI it must be there; elsewhere the test is skipped without it.
func installed(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		require.Empty(t, os.Getenv("WAFLEET_CI"), "%s is not installed", name)
		t.Skip(name + " is not installed")
	}
	return path
}

// process is a running wafleet.
type process struct {
	*programtest.Process

	t *testing.T
	// loses says that another node takes the database, which no node may say that it was not done to.
	loses bool
}

// databaseTaken is what a node says whose database another has taken.
const databaseTaken = "another node has taken the database"

// start starts wafleet with these arguments and no environment but env. It is killed when the test ends.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append([]string{
		asProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GORACE=exitcode=0", "WAFLEET_MASTER_KEY=" + programtest.MasterKey,
	}, env...)
	p := &process{t: t, Process: programtest.Start(t, patience, cmd)}
	t.Cleanup(func() {
		p.Kill()
		for _, race := range races(p.Errors()) {
			t.Error(race)
		}
		if !p.loses && strings.Contains(p.Errors(), databaseTaken) {
			t.Error("a node says that its database was taken, which nobody did")
		}
	})
	return p
}

// races are the reports of the race detector in what a process wrote, without those about whatsmeow's socket: it clears a callback
// while its reader may be calling it, which the reader stands.
func races(stderr string) []string {
	const begin, line = "WARNING: DATA RACE", "=================="
	var list []string
	for _, report := range strings.Split(stderr, begin)[1:] {
		report, _, _ = strings.Cut(report, line)
		accesses, ours := 0, false
		lines := strings.Split(report, "\n")
		for i, at := range lines[:len(lines)-1] {
			if strings.Contains(at, " by goroutine ") || strings.Contains(at, " by main goroutine") {
				accesses++
				ours = ours || !strings.Contains(lines[i+1], "go.mau.fi/whatsmeow/socket.")
			}
		}
		if accesses == 0 || ours {
			list = append(list, begin+report)
		}
	}
	return list
}

// newTimeout is a channel that is closed after d. Its timer ends with the test.
func newTimeout(t *testing.T, d time.Duration) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx.Done()
}

// answer is what an HTTP call got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// into decodes the body.
func (a answer) into(t *testing.T, out any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(a.body, out), "%s", a)
}

// client calls a node with fixed headers. Its own transport: a test's idle connections end with it.
type client struct {
	t      *testing.T
	base   string
	header map[string]string
	http   *http.Client
}

func newClient(t *testing.T, base string, header map[string]string) *client {
	t.Helper()
	return &client{t: t, base: base, header: header, http: programtest.Client(t, patience)}
}

// try makes a call; body is JSON text, or empty for none. Safe for concurrent use.
func (c *client) try(method, path, body string) (answer, error) {
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for name, value := range c.header {
		req.Header.Set(name, value)
	}
	switch {
	case req.Header.Get("Content-Type") != "":
	case strings.HasPrefix(body, "--"+formBoundary):
		req.Header.Set("Content-Type", "multipart/form-data; boundary="+formBoundary)
	case body != "":
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	var whole io.Reader = resp.Body
	if resp.Header.Get("Content-Type") == "text/event-stream" {
		whole = io.LimitReader(whole, 1) // it has no end
	}
	got, err := io.ReadAll(whole)
	return answer{status: resp.StatusCode, header: resp.Header, body: got}, err
}

// call makes a call that must be answered with that status.
func (c *client) call(want int, method, path, body string) answer {
	c.t.Helper()
	got, err := c.try(method, path, body)
	require.NoError(c.t, err)
	require.Equal(c.t, want, got.status, "%s %s: %s", method, path, got.body)
	return got
}

// until calls fn until it answers true. It paces itself by a ticker: use it only for what no event tells of.
func until(t *testing.T, what string, fn func() bool) {
	t.Helper()
	late := newTimeout(t, patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !fn() {
		select {
		case <-tick.C:
		case <-late:
			require.FailNow(t, "never happened: "+what)
		}
	}
}

// testContext is for Cleanup, where the test's own context has ended.
func testContext() context.Context {
	return context.Background()
}
