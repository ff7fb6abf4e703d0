package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// operate runs an admin command to its end.
func (w *world) operate(code int, args ...string) (stdout, stderr string) {
	w.t.Helper()
	p := start(w.t, []string{"WAFLEET_URL=" + w.base, "WAFLEET_ADMIN_KEY=" + adminKey}, append([]string{"admin"}, args...)...)
	require.Equal(w.t, code, p.Exit(), "%v: %s", args, p.Errors())
	return p.Out(), p.Errors()
}

func TestAdminCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteDatabase(t))
	out, _ := w.operate(exitOK, "--json", "tenants", "create", "Shop\x1b[2J", "--external-id", "e1")
	var made tenant.Tenant
	require.NoError(t, json.Unmarshal([]byte(out), &made))
	out, _ = w.operate(exitOK, "tenants", "list")
	require.Contains(t, out, string(made.ID))
	require.NotContains(t, out, "\x1b", "a name cannot steer the terminal")
	require.Contains(t, out, made.CreatedAt.UTC().Format(time.RFC3339))
	w.operate(exitOK, "tenants", "show", string(made.ID))
	_, problem := w.operate(exitFault, "tenants", "show", "nobodysthere")
	require.Contains(t, problem, "404")
	_, problem = w.operate(exitFault, "tenants", "show", "NOBODY")
	require.Contains(t, problem, "path.tenantId: ")
	require.NotContains(t, problem, `"errors"`)

	key, _ := w.operate(exitOK, "keys", "create", string(made.ID), "--label", "first", "--expires", "1h")
	key = strings.TrimSpace(key)
	newClient(t, w.base, map[string]string{"X-API-Key": key}).call(200, "GET", "/api/status", "")
	out, _ = w.operate(exitOK, "keys", "list", string(made.ID))
	require.Contains(t, out, "first")
	w.operate(exitOK, "keys", "revoke", string(made.ID), strings.Split(key, "_")[1])
	newClient(t, w.base, map[string]string{"X-API-Key": key}).call(403, "GET", "/api/status", "")

	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte(adminKey+"\n"), 0o600))
	p := start(t, nil, "admin", "--url", w.base, "--admin-key-file", file, "session", "show", string(made.ID))
	require.Equal(t, exitOK, p.Exit(), p.Errors())
	require.Contains(t, p.Out(), string(session.Unpaired))
	_, problem = w.operate(exitFault, "session", "connect", string(made.ID))
	require.Contains(t, problem, "pair one first")

	_, problem = w.operate(exitFault, "tenants", "delete", string(made.ID))
	require.Contains(t, problem, "nothing was deleted")
	w.operate(exitOK, "tenants", "delete", "--yes", string(made.ID))
	w.operate(exitFault, "tenants", "show", string(made.ID))
}

func TestPairsFromTheTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteDatabase(t))
	env := []string{"WAFLEET_URL=" + w.base, "WAFLEET_ADMIN_KEY=" + adminKey}

	t.Run("ByQR", func(t *testing.T) {
		t.Parallel()
		c := w.unpaired("Shop")
		p := start(t, env, "admin", "pair", c.id)
		qr := p.shown("QR ")
		_, err := c.Scan(t.Context(), qr)
		require.NoError(t, err)
		require.Equal(t, exitOK, p.Exit(), p.Errors())
		require.Contains(t, p.Out(), c.Number())
		c.online()
	})
	t.Run("ByCode", func(t *testing.T) {
		t.Parallel()
		c := w.unpaired("Shop")
		p := start(t, env, "admin", "pair", c.id, "--phone", c.Number())
		code := p.shown("    ")
		_, err := c.Link(t.Context(), code)
		require.NoError(t, err)
		require.Equal(t, exitOK, p.Exit(), p.Errors())
		c.online()
	})
	t.Run("ByAProgram", func(t *testing.T) {
		t.Parallel()
		c := w.unpaired("Shop")
		p := start(t, env, "admin", "pair", c.id, "--phone", c.Number(), "--no-wait")
		require.Equal(t, exitOK, p.Exit(), p.Errors())
		require.Regexp(t, `^\S{4}-\S{4}\n$`, p.Out())
		_, err := c.Link(t.Context(), strings.TrimSpace(p.Out()))
		require.NoError(t, err)
		c.online()
		p = start(t, env, "admin", "pair", w.unpaired("Bar").id, "--no-wait")
		require.Equal(t, exitOK, p.Exit(), p.Errors())
		require.Regexp(t, `^\S*2@\S+\n$`, p.Out())
	})
	t.Run("Cancelled", func(t *testing.T) {
		t.Parallel()
		c := w.unpaired("Shop")
		p := start(t, env, "admin", "pair", c.id)
		p.shown("QR ")
		require.Equal(t, exitFault, p.Term())
		require.Contains(t, p.Errors(), "cancelled")
	})
	t.Run("PairedAlready", func(t *testing.T) {
		t.Parallel()
		c := w.customer("Shop")
		p := start(t, env, "admin", "pair", c.id)
		require.Equal(t, exitFault, p.Exit())
		require.Contains(t, p.Errors(), "409")
	})
}

// shown waits for a line of stderr that begins so, and returns the rest of it.
func (p *process) shown(prefix string) string {
	p.t.Helper()
	var found string
	until(p.t, "a line "+prefix, func() bool {
		for line := range strings.Lines(p.Errors()) {
			if rest, ok := strings.CutPrefix(line, prefix); ok && strings.HasSuffix(line, "\n") {
				found = strings.TrimSpace(rest)
				return found != ""
			}
		}
		return false
	})
	return found
}

func TestQRCodesTakeEachOthersPlace(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	screen := &pairingScreen{w: &out, terminal: true}
	screen.show(api.PairingInfo{Phase: session.PairingWaiting, QR: "2@first"})
	first := out.String()
	require.Contains(t, first, "█")
	require.NotContains(t, first, "\x1b")
	screen.show(api.PairingInfo{Phase: session.PairingWaiting, QR: "2@first"})
	require.Equal(t, first, out.String(), "the same is not drawn again")
	screen.show(api.PairingInfo{Phase: session.PairingWaiting, QR: "2@second"})
	require.Contains(t, out.String(), "\x1b[J")
}

func TestATerminalTooSmallForAQRCodeNamesTheWaysOut(t *testing.T) {
	t.Parallel()
	waiting := api.PairingInfo{Phase: session.PairingWaiting, QR: "2@first"}
	columns, rows := 200, 100
	screen := &pairingScreen{terminal: true, picture: "http://node/qr.png", size: func() (int, int) { return columns, rows }}
	whole := screen.text(&waiting)
	require.Contains(t, whole, "█")
	rows = strings.Count(whole, "\n") + 1
	require.Equal(t, whole, screen.text(&waiting), "it just fits")
	for _, tooSmall := range [][2]int{{200, rows - 1}, {20, 100}} {
		columns, rows = tooSmall[0], tooSmall[1]
		text := screen.text(&waiting)
		require.NotContains(t, text, "█")
		for _, way := range []string{"larger", "--phone", "http://node/qr.png"} {
			require.Contains(t, text, way)
		}
	}
	require.NotContains(t, screen.text(&api.PairingInfo{Phase: session.PairingWaiting, Code: "ABCD-EFGH"}), "larger")
}

// TestANodeThatForgotThePairingIsAskedForTheSession plays a node that starts anew while a pairing is under way.
func TestANodeThatForgotThePairingIsAskedForTheSession(t *testing.T) {
	t.Parallel()
	for device, want := range map[string]int{"": exitFault, "5511988880000:1@s.whatsapp.net": exitOK} {
		mux := http.NewServeMux()
		answer := func(pattern string, status int, v any) {
			raw, err := json.Marshal(v)
			require.NoError(t, err)
			mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				_, _ = w.Write(raw)
			})
		}
		const path = "/admin/tenants/k7q2m4x5a3bc/session"
		answer("POST "+path+"/pair", http.StatusOK, api.PairingInfo{Phase: session.PairingWaiting, QR: "2@first"})
		answer("GET "+path+"/pair/events", http.StatusNotFound, map[string]any{"status": 404, "code": "NO_PAIRING", "detail": "No pairing."})
		answer("GET "+path, http.StatusOK, api.SessionInfo{State: session.Unpaired, Device: device})
		node := httptest.NewServer(mux)
		t.Cleanup(node.Close)
		code, out, errs := runHere(t.Context(), "admin", "--url", node.URL, "--admin-key", adminKey, "pair", "k7q2m4x5a3bc")
		require.Equal(t, want, code, errs)
		if want == exitFault {
			require.Contains(t, errs, "the session is unpaired")
		} else {
			require.Contains(t, out, device)
		}
	}
}

// TestTheOperatorLooksAndChangesFromTheTerminal goes through what a tenant's life needs beside creating and pairing.
func TestTheOperatorLooksAndChangesFromTheTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteDatabase(t))
	shop := w.customer("Shop")
	says := func(want string, args ...string) string {
		t.Helper()
		out, _ := w.tool(exitOK, args...)
		require.Regexp(t, want, out, args)
		return out
	}
	id := func(args ...string) string { return strings.TrimSpace(says(`^[a-z2-7]{12}\n$`, args...)) }

	bar := id("tenants", "create", "Bike bar", "--external-id=4711", "--metadata=plan=pro", "--metadata=note=a;b=c", "--quiet")
	require.Equal(t, bar, id("tenants", "list", "--search=bike", "--metadata=plan=pro", "--quiet"))
	says(bar+` +Corner bar .* unpaired +-\n`, "tenants", "update", bar, "--name=Corner bar", "--external-id=", "--metadata=plan=free", "--forget=note")
	out := says("", "--json", "tenants", "show", bar)
	var told tenant.Tenant
	require.NoError(t, json.Unmarshal([]byte(out), &told))
	require.Equal(t, map[string]string{"plan": "free"}, told.Metadata)
	require.Empty(t, told.ExternalID)
	_, refused := w.tool(exitFault, "tenants", "update", bar)
	require.Contains(t, refused, "at least one")
	says("suspended", "tenants", "suspend", bar)
	require.Equal(t, bar, id("tenants", "list", "--suspended", "-q"))
	require.Equal(t, shop.id, id("tenants", "list", "--no-suspended", "-q"))
	require.Equal(t, shop.id, id("tenants", "list", "--state=online", "-q"))

	says(`coldChatsPerDay +200 +200 +default\n`, "limits", "show", shop.id)
	says(`(?s)sendBurst +none +200 +tenant\n.*coldChatsPerDay +3 +200 +tenant\n.*\ncoldChats +3\n`, "limits", "set", shop.id, "coldChatsPerDay=3", "sendBurst=0")
	says(`coldChatsPerDay +200 +200 +default\n`, "limits", "set", shop.id, "coldChatsPerDay=default")
	_, refused = w.tool(exitUsage, "limits", "set", shop.id, "coldChatsPerDay", "sendBurst=many", "nothing=1")
	for _, fault := range []string{"3 faults", `"coldChatsPerDay" is not`, `"sendBurst=many" is not`, "no such limit"} {
		require.Contains(t, refused, fault)
	}

	key := strings.Split(strings.TrimSpace(says("^wf_", "keys", "create", shop.id, "--scope=read,send", "--expires=1h")), "_")[1]
	says(key+` +till +read +\S+ +- +- +-\n`, "keys", "update", shop.id, key, "--label=till", "--scope=read", "--forever")
	says(key+` +till +read +\S+ +\d\S+ +- +-\n`, "keys", "update", shop.id, key, "--expires=2h")
	_, refused = w.tool(exitUsage, "keys", "update", shop.id, key, "--expires=2h", "--forever")
	require.Contains(t, refused, "can't be used together")

	says(shop.id+` +online `, "sessions")
	out = says("TENANT", "sessions", "--state=conflict")
	require.NotContains(t, out, shop.id)
	_, refused = w.tool(exitFault, "sessions", "--state=asleep")
	require.Contains(t, refused, "query.state")
	says(`sqlite +1 +1 online`, "nodes")

	says("deleted "+bar, "tenants", "delete", "--yes", bar)
	says(bar+` +none +\d\S+ +\d\S+ +0\n`, "deletions")
	says(`(?s)deleted `+bar+`.*heads +1`, "deletions", bar)
	_, refused = w.tool(exitFault, "deletions", shop.id)
	require.Contains(t, refused, "404")
}
