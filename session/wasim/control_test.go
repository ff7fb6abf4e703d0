package wasim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"

	"github.com/wafleet/wafleet/session/transport"
	"github.com/wafleet/wafleet/session/wasim"
)

// call makes a call of the control API and answers status and body.
func call(ctx context.Context, t *testing.T, sim *wasim.Simulator, method, path, body string, header ...string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, sim.ControlURL()+path, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	if len(raw) == 0 {
		return resp.StatusCode, nil
	}
	if resp.Header.Get("Content-Type") != "application/json" {
		return resp.StatusCode, map[string]any{"raw": string(raw)}
	}
	var answer map[string]any
	require.NoError(t, json.Unmarshal(raw, &answer), "%s", raw)
	return resp.StatusCode, answer
}

// The whole story over HTTP: accounts, pairing by QR and by code, messages, receipts, unlinking.
func TestTheControlAPITellsTheWholeStory(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ok := func(wantStatus int, method, path, body string) map[string]any {
		t.Helper()
		status, answer := call(ctx, t, sim, method, path, body)
		require.Equal(t, wantStatus, status, "%s %s: %v", method, path, answer)
		return answer
	}
	ana, echo := number(), number()
	made := ok(201, "POST", "/accounts", fmt.Sprintf(`{"phone":"+%s","name":"Ana","history":[]}`, ana))
	require.Equal(t, ana, made["phone"])
	require.Equal(t, true, made["online"])
	ok(201, "POST", "/accounts", fmt.Sprintf(`{"phone":%q,"name":"Echo","autoreply":"You said: {text}"}`, echo))
	require.Len(t, ok(200, "GET", "/accounts", "")["accounts"], 2)

	// A client that knows nothing but GET /info.
	endpoint, key, err := transport.FetchSimulator(ctx, sim.ControlURL())
	require.NoError(t, err)
	require.Equal(t, sim.RootKey(), key)
	require.NoError(t, transport.TrustRoot(key))
	require.Equal(t, sim.Endpoint().WebSocketAddr, endpoint.WebSocketAddr)

	c := newCompanion(t, sim, true)
	c.connect(ctx)
	qr, err := json.Marshal(c.code(ctx))
	require.NoError(t, err)
	require.InDelta(t, 1, ok(200, "POST", "/accounts/+"+ana+"/scan", fmt.Sprintf(`{"qr":%s}`, qr))["device"], 0)
	c.awaitConnected(ctx)
	c.awaitSynced(ctx)

	byCode := newCompanion(t, sim, true)
	byCode.connect(ctx)
	byCode.code(ctx)
	code, err := byCode.cli.PairPhone(ctx, ana, true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	require.NoError(t, err)
	require.InDelta(t, 2, ok(200, "POST", "/accounts/"+ana+"/link", fmt.Sprintf(`{"code":%q}`, strings.ToLower(code)))["device"], 0)
	byCode.awaitConnected(ctx)
	byCode.awaitSynced(ctx)

	sent := ok(200, "POST", "/accounts/"+ana+"/send", fmt.Sprintf(`{"to":"+%s","text":"hello","via":"pn"}`, echo))
	require.NotEmpty(t, sent["id"])
	var after float64
	seen := map[string]bool{}
	var answerID string
	for !seen["message"] || !seen["delivered"] || !seen["read"] {
		answer := ok(200, "GET", fmt.Sprintf("/accounts/%s/inbox?after=%d&wait=20s", ana, int(after)), "")
		require.Greater(t, answer["next"], after, "the wait ended without an entry")
		after, _ = answer["next"].(float64)
		entries, _ := answer["entries"].([]any)
		for _, raw := range entries {
			e, _ := raw.(map[string]any)
			if e["kind"] == "message" && e["text"] == "You said: hello" {
				seen["message"] = true
				answerID, _ = e["ids"].([]any)[0].(string)
			}
			if receipt, isReceipt := e["receipt"].(string); isReceipt && e["ids"].([]any)[0] == sent["id"] {
				seen[receipt] = true
			}
		}
	}
	ok(204, "POST", "/accounts/"+ana+"/read", fmt.Sprintf(`{"chat":%q,"ids":[%q]}`, echo, answerID))
	reply := ok(200, "POST", "/accounts/"+ana+"/send", fmt.Sprintf(`{"to":%q,"text":"thanks","replyTo":%q}`, echo, answerID))
	require.NotEmpty(t, reply["id"])

	ok(204, "POST", "/faults", fmt.Sprintf(`{"kind":"duplicate","phone":"+%s","count":1}`, ana))
	ok(204, "DELETE", "/faults", "")
	ok(204, "POST", "/accounts/"+ana+"/reachout", `{"until":"2126-01-01T00:00:00Z"}`)
	ok(204, "POST", "/accounts/"+ana+"/reachout", `{}`)
	ok(204, "POST", "/accounts/"+ana+"/unlink", `{"device":2}`)
	select {
	case <-byCode.ended:
	case <-ctx.Done():
		t.Fatal("not logged out")
	}
	stats := ok(200, "GET", "/stats", "")
	require.InDelta(t, 2, stats["accounts"], 0)
	require.Contains(t, ok(200, "GET", "/", "")["raw"], "/accounts/{phone}/inbox")
}

func TestTheControlAPIRefusesWithASentence(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ana := addPhone(t, sim, wasim.PhoneConfig{}).Number()
	huge := `{"phone":"` + strings.Repeat("1", 5<<20) + `"}`
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code               string
	}{
		"UnknownPath":     {"GET", "/nothing", "", 404, "NOT_FOUND"},
		"WrongMethod":     {"PUT", "/accounts", "", 405, "METHOD_NOT_ALLOWED"},
		"MalformedJSON":   {"POST", "/accounts", `{"phone":`, 400, "BAD_REQUEST"},
		"UnknownField":    {"POST", "/accounts", `{"phone":"+5511999","nickname":"x"}`, 400, "BAD_REQUEST"},
		"WrongType":       {"POST", "/accounts", `{"phone":5511999}`, 400, "BAD_REQUEST"},
		"EmptyBody":       {"POST", "/accounts", ``, 400, "BAD_REQUEST"},
		"Trailing":        {"POST", "/accounts", `{"phone":"+5511999"} {}`, 400, "BAD_REQUEST"},
		"TooLarge":        {"POST", "/accounts", huge, 413, "TOO_LARGE"},
		"BadNumber":       {"POST", "/accounts", `{"phone":"+0123"}`, 400, "BAD_NUMBER"},
		"BadHistory":      {"POST", "/accounts", `{"phone":"+5511999","history":[{"phone":"x"}]}`, 400, "BAD_REQUEST"},
		"Exists":          {"POST", "/accounts", fmt.Sprintf(`{"phone":"+%s"}`, ana), 409, "ACCOUNT_EXISTS"},
		"UnknownAccount":  {"GET", "/accounts/+5511000000/inbox", "", 404, "UNKNOWN_ACCOUNT"},
		"NotANumber":      {"GET", "/accounts/me/inbox", "", 400, "BAD_NUMBER"},
		"BadAfter":        {"GET", "/accounts/" + ana + "/inbox?after=-1", "", 400, "BAD_REQUEST"},
		"BadWait":         {"GET", "/accounts/" + ana + "/inbox?wait=long", "", 400, "BAD_REQUEST"},
		"BadQR":           {"POST", "/accounts/" + ana + "/scan", `{"qr":"x"}`, 400, "BAD_QR"},
		"StaleQR":         {"POST", "/accounts/" + ana + "/scan", fmt.Sprintf(`{"qr":"2@gone,%[1]s,%[1]s,%[1]s,0"}`, strings.Repeat("A", 43)+"="), 502, "REFUSED"},
		"BadCode":         {"POST", "/accounts/" + ana + "/link", `{"code":"0000"}`, 400, "BAD_CODE"},
		"NoText":          {"POST", "/accounts/" + ana + "/send", `{"to":"+5511999"}`, 400, "BAD_REQUEST"},
		"NoPoll":          {"POST", "/accounts/" + ana + "/send", `{"to":"+5511999","poll":"x"}`, 400, "BAD_REQUEST"},
		"TwoRevisions":    {"POST", "/accounts/" + ana + "/send", `{"to":"+5511999","edit":{"id":"A","text":"x"},"delete":{"id":"A"}}`, 400, "BAD_REQUEST"},
		"TextAndReaction": {"POST", "/accounts/" + ana + "/send", `{"to":"+5511999","text":"x","reaction":{"id":"A","emoji":"x"}}`, 400, "BAD_REQUEST"},
		"EditToNothing":   {"POST", "/accounts/" + ana + "/send", `{"to":"+5511999","edit":{"id":"A"}}`, 400, "BAD_REQUEST"},
		"DeleteNothing":   {"POST", "/accounts/" + ana + "/send", `{"to":"+5511999","delete":{}}`, 400, "BAD_REQUEST"},
		"EditOfAStranger": {"POST", "/accounts/" + ana + "/send", `{"to":"+5511000000","edit":{"id":"A","text":"x"}}`, 404, "UNKNOWN_USER"},
		"StrangeTyping":   {"POST", "/accounts/" + ana + "/typing", `{"to":"+5511999","state":"dancing"}`, 400, "BAD_REQUEST"},
		"UnknownUser":     {"POST", "/accounts/" + ana + "/send", `{"to":"+5511000000","text":"x"}`, 404, "UNKNOWN_USER"},
		"UnlinkNone":      {"POST", "/accounts/" + ana + "/unlink", `{"device":7}`, 404, "UNKNOWN_DEVICE"},
		"UnlinkThePhone":  {"POST", "/accounts/" + ana + "/unlink", `{}`, 400, "BAD_REQUEST"},
		"NoIDs":           {"POST", "/accounts/" + ana + "/read", `{"chat":"+5511999","ids":[]}`, 400, "BAD_REQUEST"},
		"UnknownFault":    {"POST", "/faults", `{"kind":"earthquake"}`, 400, "BAD_FAULT"},
		"FaultOfStranger": {"POST", "/faults", `{"kind":"drop","phone":"+5511000000"}`, 404, "UNKNOWN_ACCOUNT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, answer := call(within(t), t, sim, c.method, c.path, c.body)
			require.Equal(t, c.status, status, "%v", answer)
			require.Equal(t, c.code, answer["code"])
			sentence, _ := answer["error"].(string)
			require.NotEmpty(t, sentence)
			require.Equal(t, byte('.'), sentence[len(sentence)-1], sentence)
		})
	}
	t.Run("ABrowsersPage", func(t *testing.T) {
		t.Parallel()
		status, answer := call(within(t), t, sim, "POST", "/accounts", `{}`, "Origin", "https://example.com")
		require.Equal(t, 403, status, "%v", answer)
	})
}

func TestAnEmptyInboxIsWaitedFor(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ana := addPhone(t, sim, wasim.PhoneConfig{})
	status, answer := call(ctx, t, sim, "GET", "/accounts/"+ana.Number()+"/inbox?wait=10ms", "")
	require.Equal(t, 200, status)
	require.Empty(t, answer["entries"])
	require.InDelta(t, 0, answer["next"], 0)
}

func TestCloseEndsWhatWaits(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	sim, err := wasim.Start(ctx, wasim.Config{})
	require.NoError(t, err)
	ana, err := sim.AddPhone(ctx, wasim.PhoneConfig{Phone: number()})
	require.NoError(t, err)
	waiting := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, sim.ControlURL()+"/accounts/"+ana.Number()+"/inbox?wait=60", http.NoBody)
		if err == nil {
			var resp *http.Response
			if resp, err = (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req); err == nil {
				_, err = io.Copy(new(bytes.Buffer), resp.Body)
				_ = resp.Body.Close()
			}
		}
		waiting <- err
	}()
	linking := make(chan error, 1)
	go func() { _, err := ana.Link(ctx, "ABCD-EFGH"); linking <- err }() // nobody asks for it
	require.NoError(t, sim.Close(ctx))
	require.NoError(t, sim.Close(ctx), "a second Close")
	select {
	case <-waiting:
	case <-ctx.Done():
		t.Fatal("a request outlived Close")
	}
	require.Error(t, <-linking)
	_, err = sim.AddPhone(ctx, wasim.PhoneConfig{Phone: number()})
	require.ErrorIs(t, err, wasim.ErrClosed)
}

func TestTheSimulatorListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	for _, cfg := range []wasim.Config{{Listen: "0.0.0.0:0"}, {WhatsAppListen: "0.0.0.0:0"}} {
		_, err := wasim.Start(t.Context(), cfg)
		require.ErrorIs(t, err, transport.ErrNotLoopback)
	}
}
