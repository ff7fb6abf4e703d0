package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/programtest"
	"github.com/wafleet/wafleet/tenant"
)

// devEnd is the last line that dev prints about what to try.
const devEnd = "Ctrl-C ends it."

func startDev(t *testing.T, data string) (p *process, printed string) {
	t.Helper()
	p = start(t, nil, "dev", "--data", data, "--listen", "127.0.0.1:0", "--sim-listen", "127.0.0.1:0", "--log-format", "json")
	return p, p.Printed(devEnd)
}

// shell runs a line as a user's shell would.
func shell(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
	require.NoError(t, err, "%s\n%s", line, out)
	return string(out)
}

// requireNoProblem says that an answer is not an error, of the node or of the simulator.
func requireNoProblem(t *testing.T, line, out string) {
	t.Helper()
	var answer map[string]any
	if json.Unmarshal([]byte(out), &answer) == nil {
		require.NotContains(t, answer, "error", "%s\n%s", line, out)
	}
	require.NotContains(t, out, "404 page not found", line)
}

func curlLines(printed string) []string {
	var lines []string
	for line := range strings.Lines(printed) {
		if strings.HasPrefix(line, "curl ") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

func readDevEnv(t *testing.T, data string) map[string]string {
	t.Helper()
	path := filepath.Join(data, "dev.env")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	return programtest.ReadEnv(t, path)
}

func TestWhatDevPrintsWorksAsPrinted(t *testing.T) {
	t.Parallel()
	installed(t, "curl")
	data := filepath.Join(t.TempDir(), "data")
	p, printed := startDev(t, data)
	outputs := make(map[string]string)
	for _, line := range curlLines(printed) {
		out := shell(t, line)
		requireNoProblem(t, line, out)
		outputs[line] = out
	}
	require.GreaterOrEqual(t, len(outputs), 12)
	some := func(part string) {
		for _, out := range outputs {
			if strings.Contains(out, part) {
				return
			}
		}
		require.Fail(t, "no answer holds "+part)
	}
	for _, part := range []string{
		`"ready":true`, "Do you have bread rolls left?", "Fresh bread at five!", "Your cake is ready.", "Yes, twenty.", "Padaria do João",
		"message.sent", "Bread for Sunday", "How many rolls for Sunday?", `"state":"online"`, "wafleet_session_up",
	} {
		some(part)
	}

	values := readDevEnv(t, data)
	for _, name := range []string{
		"WAFLEET_URL", "WAFLEET_API_KEY", "WAFLEET_ADMIN_KEY", "WASIM_URL", "SHOP_PHONE", "ANA_PHONE", "BRUNO_PHONE", "GROUP_CHAT", "WAFLEET_TENANT",
	} {
		require.NotEmpty(t, values[name], name)
	}
	shop := newClient(t, values["WAFLEET_URL"], map[string]string{"X-API-Key": values["WAFLEET_API_KEY"]})
	for _, contact := range []string{"ANA_PHONE", "BRUNO_PHONE"} {
		until(t, contact+" answers", func() bool {
			got, err := shop.try(http.MethodGet, "/api/chats/"+values[contact]+"@c.us/messages", "")
			return err == nil && strings.Contains(string(got.body), " here")
		})
	}
	until(t, "both answer in the group, and Bruno writes by himself", func() bool {
		got, err := shop.try(http.MethodGet, "/api/chats/"+values["GROUP_CHAT"]+"/messages", "")
		said := ""
		if err == nil {
			said = string(got.body)
		}
		return strings.Contains(said, "Ana here. You wrote: Ten each?") && strings.Contains(said, "Bruno here, got it: Ten each?") &&
			strings.Contains(said, "I bring butter.")
	})
	// Variables do for whoever writes a script.
	out := shell(t, "set -a; . "+filepath.Join(data, "dev.env")+`; curl -s -H "X-API-Key: $WAFLEET_API_KEY" "$WAFLEET_URL/api/chats/$ANA_PHONE@c.us"`)
	require.Contains(t, out, "Ana")
	for _, page := range []string{"/docs", "/admin/docs", "/openapi.json", "/metrics"} {
		newClient(t, values["WAFLEET_URL"], nil).call(http.StatusOK, http.MethodGet, page, "")
	}
	require.Zero(t, p.Term(), p.Errors())
}

func TestDevGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	first, _ := startDev(t, data)
	before := readDevEnv(t, data)
	chat := "/api/chats/" + before["ANA_PHONE"] + "@c.us"
	shop := newClient(t, before["WAFLEET_URL"], map[string]string{"X-API-Key": before["WAFLEET_API_KEY"]})
	shop.call(http.StatusCreated, http.MethodPost, chat+"/messages", textBody("remember me"))
	count := func(c *client) int {
		var list struct{ Messages []tenant.Message }
		c.call(http.StatusOK, http.MethodGet, chat+"/messages", "").into(t, &list)
		return len(list.Messages)
	}
	group := "/api/chats/" + before["GROUP_CHAT"]
	inGroup := func(c *client) int {
		var list struct{ Messages []tenant.Message }
		c.call(http.StatusOK, http.MethodGet, group+"/messages", "").into(t, &list)
		return len(list.Messages)
	}
	const brunosAnswer = 1 // Ana's question is answered at once
	until(t, "Bruno answers in the group", func() bool { return inGroup(shop) == 1+brunosAnswer })
	const history, sent, answered = 2, 1, 1
	until(t, "Ana answers", func() bool { return count(shop) == history+sent+answered })
	first.Kill() // the hardest way to stop

	second, _ := startDev(t, data)
	after := readDevEnv(t, data)
	for _, name := range []string{"WAFLEET_API_KEY", "WAFLEET_ADMIN_KEY", "WAFLEET_TENANT", "ANA_PHONE", "BRUNO_PHONE", "SHOP_PHONE", "GROUP_CHAT"} {
		require.Equal(t, before[name], after[name], name)
	}
	again := newClient(t, after["WAFLEET_URL"], map[string]string{"X-API-Key": after["WAFLEET_API_KEY"]})
	require.Equal(t, history+sent+answered, count(again), "chats are still there, and nothing came twice")
	require.Equal(t, 1+brunosAnswer, inGroup(again))
	again.call(http.StatusCreated, http.MethodPost, chat+"/messages", textBody("and again"))
	until(t, "Ana answers again", func() bool { return count(again) == history+2*(sent+answered) })
	until(t, "both are read", func() bool {
		var list struct{ Messages []tenant.Message }
		again.call(http.StatusOK, http.MethodGet, chat+"/messages?limit=2", "").into(t, &list)
		for _, m := range list.Messages {
			if m.FromMe && m.Status != tenant.StatusRead {
				return false
			}
		}
		return true
	})
	require.Zero(t, second.Term(), second.Errors())
	require.Contains(t, second.Out(), "\nstopped; what was stored is in "+data+"\n")
	require.NotContains(t, second.Errors(), "simulated WhatsApp", "that is nothing to warn of here")
}

func TestSimulatorAlone(t *testing.T) {
	t.Parallel()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	p := start(t, nil, "sim", "--listen", "127.0.0.1:0", "--ca-file", ca, "--log-format", "json")
	out := p.Printed("curl -s ")
	for line := range strings.Lines(out) {
		if _, command, ok := strings.Cut(line, "curl "); ok {
			require.Contains(t, shell(t, "curl "+command), "noiseRootKey")
		}
	}
	raw, err := os.ReadFile(ca)
	require.NoError(t, err)
	require.Contains(t, string(raw), "BEGIN CERTIFICATE")
	require.Contains(t, out, "wss://127.0.0.1:")
	require.Zero(t, p.Term())
}
