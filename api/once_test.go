package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

const onceKey = "Idempotency-Key"

func (a *answer) id() tenant.MessageID {
	a.t.Helper()
	var m tenant.Message
	a.is(http.StatusCreated).into(&m)
	return m.ID
}

func TestAKeyedRequestSendsOnce(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	a.receive(ana, "IN1", "hello")
	a.receive(group, "IN2", "hello")
	chat := "/api/chats/" + ana
	for name, tc := range map[string]struct{ path, body, same, other string }{
		"text": {
			chat + "/messages", `{"message":"a","mentions":["` + ana + `"]}`, ` {"mentions" : ["` + ana + `"], "forwarded":false, "message":"\u0061"}`,
			`{"message":"b"}`,
		},
		"place":   {chat + "/messages", `{"location":{"latitude":1.50,"longitude":2}}`, `{"location":{"longitude":2,"latitude":1.5}}`, `{"location":{"latitude":1,"longitude":2}}`},
		"contact": {chat + "/messages", `{"contact":{"name":"J","phone":"5511999990003"}}`, `{"contact":{"phone":"5511999990003","name":"J"}}`, `{"message":"J"}`},
		"forward": {chat + "/messages/IN1/forward", `{"to":"` + bia + `"}`, ` {"to":"` + bia + `"}`, `{"to":"` + ana + `"}`},
		"poll": {
			"/api/chats/" + group + "/poll", `{"question":"?","options":["x","y"]}`, `{"options":["x","y"],"question":"?","multiple":false}`,
			`{"question":"?","options":["y","x"]}`,
		},
	} {
		first := a.send("POST", tc.path, tc.body, onceKey, name).id()
		require.Equal(t, first, a.send("POST", tc.path, tc.same, onceKey, name).id(), name)
		require.Equal(t, first, a.send("POST", strings.Replace(tc.path, "@", "%40", 1), tc.body, onceKey, name).id(), "%s: spellings of the path", name)
		a.send("POST", tc.path, tc.other, onceKey, name).problem(422, "Validation error", "IDEMPOTENCY_KEY_REUSED")
		require.NotEqual(t, first, a.send("POST", tc.path, tc.body, onceKey, name+"2").id(), name)
		require.NotEqual(t, first, a.send("POST", tc.path, tc.body).id(), "%s without a key", name)
	}
	a.send("POST", "/api/chats/"+bia+"/messages", `{"message":"a","mentions":["`+ana+`"]}`, onceKey, "text").
		problem(422, "Validation error", "IDEMPOTENCY_KEY_REUSED")
	a.send("POST", chat+"/messages/IN1/forward?sender="+ana, `{"to":"`+bia+`"}`, onceKey, "forward").
		problem(422, "Validation error", "IDEMPOTENCY_KEY_REUSED")
	b := a.node.account()
	require.NotEmpty(t, b.send("POST", chat+"/messages", `{"message":"b"}`, onceKey, "text").id(), "keys are each tenant's own")
}

func TestAKeyedUploadSendsOnce(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	post := func(key string, fields ...field) *answer {
		body, contentType := form(t, fields...) // its boundary is another each time
		return a.send("POST", "/api/chats/"+ana+"/messages", body, "Content-Type", contentType, onceKey, key)
	}
	file := field{"file", "a.pdf", "application/pdf", "%PDF-1"}
	first := post("k", file, field{name: "caption", value: "May"}).id()
	require.Equal(t, first, post("k", field{name: "caption", value: "May"}, file).id())
	other := file
	for _, change := range []func(){
		func() { other.value = "%PDF-2" }, func() { other.fileName = "b.pdf" }, func() { other.contentType = "text/plain" },
	} {
		other = file
		change()
		post("k", other, field{name: "caption", value: "May"}).problem(422, "Validation error", "IDEMPOTENCY_KEY_REUSED")
	}
	post("k", file).problem(422, "Validation error", "IDEMPOTENCY_KEY_REUSED")
	a.send("POST", "/api/chats/"+ana+"/messages", `{"message":"May"}`, onceKey, "k").problem(422, "Validation error", "IDEMPOTENCY_KEY_REUSED")
	post("a key", file).problem(422, "Validation error", "VALIDATION_ERROR")
}

func TestKeysHaveAForm(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	path, body := "/api/chats/"+ana+"/messages", `{"message":"a"}`
	for _, bad := range []string{"a b", strings.Repeat("x", 256), "é", "a\tb"} {
		got := a.send("POST", path, body, onceKey, bad).problem(422, "Validation error", "VALIDATION_ERROR")
		require.Contains(t, string(got.body), "header.Idempotency-Key")
		require.NotContains(t, a.logs.String(), "idempotency")
	}
	for _, good := range []string{`"8e03978e-40d5-43dd-bc93-6894a57f9324"`, "x", strings.Repeat("~", 255)} {
		a.send("POST", path, body, onceKey, good).is(201)
	}
	a.call("POST", path, body, onceKey, "a b").problem(401, "Missing API key", "MISSING_API_KEY")
	a.get("/api/chats").is(200)
	// What was refused leaves no key behind.
	a.send("POST", path, `{"message":""}`, onceKey, "k").problem(422, "Validation error", "VALIDATION_ERROR")
	a.fleet.set(func(f *fleet) { f.sendErr = session.ErrStopping })
	a.send("POST", path, body, onceKey, "k").problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	a.fleet.set(func(f *fleet) { f.sendErr = nil })
	require.NotEmpty(t, a.send("POST", path, body, onceKey, "k").id())
}

func TestWhatAKeyStandsForIsSaid(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	path, body := "/api/chats/"+ana+"/messages", `{"message":"a"}`
	a.fleet.set(func(f *fleet) {
		f.sendErr = &session.OfflineError{View: session.View{State: session.Backoff}, Pending: "M1"}
	})
	got := a.send("POST", path, body, onceKey, "k").problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	var said struct {
		MessageID     string `json:"messageId"`
		MessageStatus string `json:"messageStatus"`
		Detail        string `json:"detail"`
	}
	require.NoError(t, json.Unmarshal(got.body, &said))
	require.Equal(t, []string{"M1", "pending"}, []string{said.MessageID, said.MessageStatus})
	require.Contains(t, said.Detail, "The message is stored")
	a.fleet.set(func(f *fleet) { f.sendErr = &session.RejectedError{Message: tenant.Message{ID: "M1"}} })
	got = a.send("POST", path, body, onceKey, "k").problem(409, "MESSAGE_REJECTED", "MESSAGE_REJECTED")
	require.NotContains(t, string(got.body), "code 0")
	require.Contains(t, string(got.body), "another key")
}
