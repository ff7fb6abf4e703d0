package deploy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// running is a program that runs until the test ends.
type running struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and what it wrote is read
	said bytes.Buffer  // to be read after done
}

// start starts a program and waits until it has written a line with that text.
func start(t *testing.T, until, name string, args ...string) *running {
	t.Helper()
	p := &running{done: make(chan struct{})}
	p.cmd = exec.Command(name, args...)
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	p.cmd.Stdout, p.cmd.Stderr = w, w
	require.NoError(t, p.cmd.Start())
	require.NoError(t, w.Close())
	seen := make(chan struct{})
	go func() { // ends with the process, which Cleanup kills and waits for
		defer close(p.done)
		found := false
		for lines := bufio.NewScanner(r); lines.Scan(); {
			p.said.Write(append(lines.Bytes(), '\n'))
			if !found && strings.Contains(lines.Text(), until) {
				found = true
				close(seen)
			}
		}
		_ = p.cmd.Wait()
		_ = r.Close()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			said := p.said.String()
			t.Logf("%s\n%s", name, said[max(0, len(said)-4096):])
		}
	})
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-seen:
	case <-p.done:
		require.FailNow(t, name+" ended", p.said.String())
	case <-late.C:
		require.FailNow(t, name+" never said: "+until)
	}
	return p
}

// call asks over HTTP; body may be empty.
func call(ctx context.Context, method, address, body string, headers map[string]string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Close = true
	req.Header.Set("Content-Type", "application/json")
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, raw, err
}

// startDev starts wafleet dev and returns what its dev.env says.
func startDev(t *testing.T) map[string]string {
	t.Helper()
	binary, err := built()
	require.NoError(t, err)
	data := t.TempDir()
	start(t, "Ctrl-C ends it.", binary, "dev", "--data", data, "--listen", "127.0.0.1:0", "--sim-listen", "127.0.0.1:0", "--log-format", "json")
	values := map[string]string{}
	for line := range strings.Lines(read(t, filepath.Join(data, "dev.env"))) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[name] = value
		}
	}
	return values
}

// startPrometheus starts a Prometheus on the rules and the config of this folder, on another target and in a hurry.
func startPrometheus(t *testing.T, target string, features ...string) (address string) {
	t.Helper()
	dir := t.TempDir()
	config := strings.NewReplacer("wafleet:8080", target, "15s", "500ms").Replace(read(t, "prometheus/prometheus.yml"))
	require.Contains(t, config, target)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600))
	require.NoError(t, os.CopyFS(filepath.Join(dir, "rules"), os.DirFS("helm/wafleet/rules")))

	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address = free.Addr().String()
	require.NoError(t, free.Close())
	args := []string{
		"--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", address,
	}
	start(t, "ready to receive web requests", tool(t, "prometheus", "prometheus"), append(args, features...)...)
	return "http://" + address
}

// ask evaluates an expression and returns the values, without those that are no numbers.
func ask(ctx context.Context, server, expr string) ([]float64, error) {
	status, raw, err := call(ctx, http.MethodGet, server+"/api/v1/query?query="+url.QueryEscape(expr), "", nil)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("%s: %d: %s", expr, status, raw)
	}
	if err = json.Unmarshal(raw, &answer); err != nil {
		return nil, err
	}
	var values []float64
	for _, result := range answer.Data.Result {
		text, _ := result.Value[1].(string)
		if value, err := strconv.ParseFloat(text, 64); err == nil && value == value { //nolint:gocritic // it is no NaN
			values = append(values, value)
		}
	}
	return values, nil
}

// strangers are who never wrote to the tenant, who may write to one of them a day.
func strangers() []string { return []string{"5511900000001", "5511900000002"} }

// restrict gives the tenant limits that its traffic does not keep to.
func restrict(t *testing.T, dev map[string]string) {
	t.Helper()
	admin := map[string]string{"Authorization": "Bearer " + dev["WAFLEET_ADMIN_KEY"]}
	status, raw, err := call(t.Context(), http.MethodPatch, dev["WAFLEET_URL"]+"/admin/tenants/"+dev["WAFLEET_TENANT"]+"/limits",
		`{"coldChatsPerDay":1,"requestsPerSecond":40,"requestBurst":10}`, admin)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, "%s", raw)
	for _, number := range strangers() {
		status, raw, err = call(t.Context(), http.MethodPost, dev["WASIM_URL"]+"/accounts", `{"phone":"`+number+`","name":"Stranger"}`, nil)
		require.NoError(t, err)
		require.Equal(t, 2, status/100, "%s", raw)
	}
}

// traffic sends as the tenant, also beyond its limits, and breaks the connection now and then, until ctx ends. After a few seconds WhatsApp
// sets its reach-out lock.
func traffic(ctx context.Context, dev map[string]string) {
	key := map[string]string{"X-API-Key": dev["WAFLEET_API_KEY"]}
	const burst, locks = 10, 20
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, number := range append(strangers(), dev["ANA_PHONE"]) {
			_, _, _ = call(ctx, http.MethodPost, dev["WAFLEET_URL"]+"/api/chats/"+number+"@c.us/messages", `{"message":"Fresh bread!"}`, key)
		}
		_, _, _ = call(ctx, http.MethodGet, dev["WAFLEET_URL"]+"/api/chats", "", key)
		for range burst {
			_, _, _ = call(ctx, http.MethodGet, dev["WAFLEET_URL"]+"/api/status", "", key)
		}
		if n == locks {
			body := `{"until":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`
			_, _, _ = call(ctx, http.MethodPost, dev["WASIM_URL"]+"/accounts/"+dev["SHOP_PHONE"]+"/reachout", body, nil)
		}
		if n%10 == 5 {
			_, _, _ = call(ctx, http.MethodPost, dev["WASIM_URL"]+"/faults", `{"kind":"drop","phone":"`+dev["SHOP_PHONE"]+`"}`, nil)
		}
	}
}

// silent are metrics whose causes this test does not produce: nothing panics, and all can be decrypted.
var silent = regexp.MustCompile(`wafleet_(panics|undecryptable_messages)_total`)

// TestEveryPanelShowsSomething lets real Prometheus servers, one with native histograms and one without, scrape a node under
// traffic, and asks them what the dashboards ask. What stands in for series that are not there ("or vector(0)") does not count.
func TestEveryPanelShowsSomething(t *testing.T) {
	t.Parallel()
	tool(t, "prometheus", "prometheus")
	dev := startDev(t)
	restrict(t, dev)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); traffic(ctx, dev) }()
	t.Cleanup(func() { cancel(); <-done })
	target := strings.TrimPrefix(dev["WAFLEET_URL"], "http://")
	servers := map[string]string{
		"classic": startPrometheus(t, target),
		"native":  startPrometheus(t, target, "--enable-feature=native-histograms"),
	}
	requireOnlyDocumented(t, dev["WAFLEET_URL"])
	binary, err := built()
	require.NoError(t, err)
	require.Equal(t, "ready\n", command(t, binary, "health", "--url", dev["WAFLEET_URL"]), "what the image's health check runs")

	fill := strings.NewReplacer("$__rate_interval", "20s", "$__range", "1m", "$node", ".*", "$tenant", dev["WAFLEET_TENANT"])
	deadline := time.Now().Add(patience)
	for kind, server := range servers {
		for _, d := range readDashboards(t) {
			for _, p := range d.Panels {
				for _, query := range p.Targets {
					expr := fill.Replace(query.Expr)
					if !silent.MatchString(expr) {
						expr = strings.ReplaceAll(expr, " or vector(0)", "")
					}
					requireData(t, deadline, server, expr, kind+": "+d.Title+": "+p.Title)
				}
			}
		}
		for _, file := range readRules(t) {
			for _, group := range file.Groups {
				for _, rule := range group.Rules {
					if rule.Record != "" {
						requireData(t, deadline, server, rule.Record, kind+": recorded")
					}
				}
			}
		}
	}
}

func requireData(t *testing.T, deadline time.Time, server, expr, what string) {
	t.Helper()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		values, err := ask(t.Context(), server, expr)
		require.NoError(t, err, what)
		if len(values) > 0 {
			return
		}
		require.True(t, time.Now().Before(deadline), "%s shows nothing: %s", what, expr)
		<-tick.C
	}
}

// requireOnlyDocumented says that a running node shows no metric of wafleet's that docs/METRICS.md does not have.
func requireOnlyDocumented(t *testing.T, node string) {
	t.Helper()
	status, raw, err := call(t.Context(), http.MethodGet, node+"/metrics", "", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	document := read(t, root+"/docs/METRICS.md")
	found := regexp.MustCompile(`(?m)^# TYPE (wafleet_\w+) `).FindAllSubmatch(raw, -1)
	require.Greater(t, len(found), 10)
	for _, name := range found {
		require.Contains(t, document, "| `"+string(name[1])+"` |")
	}
}
