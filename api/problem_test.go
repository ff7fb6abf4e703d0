package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// TestBadInput holds, for every kind of bad input, the status and the words that are answered. Nothing of it is stored.
func TestBadInput(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	stranger := n.account()
	stranger.receive(bia, "THEIRS", "not yours")
	a.receive(ana, "M1", "hello")
	send := "/api/chats/" + ana + "/messages"
	const (
		post, get, del = http.MethodPost, http.MethodGet, http.MethodDelete
		invalid, code  = "Validation error", "VALIDATION_ERROR"
	)
	for _, c := range []struct {
		name         string
		method, path string
		body         any
		headers      []string
		status       int
		text, code   string
	}{
		{"malformed JSON", post, send, `{"message":`, nil, 400, "MALFORMED_JSON", "MALFORMED_JSON"},
		{"trailing JSON", post, send, `{"message":"a"} x`, nil, 400, "MALFORMED_JSON", "MALFORMED_JSON"},
		{"no body", post, send, "", nil, 400, "BAD_REQUEST", "BAD_REQUEST"},
		{"null body", post, send, `null`, nil, 422, invalid, code},
		{"a list", post, send, `[]`, nil, 422, invalid, code},
		{"unknown field", post, send, `{"message":"a","colour":"red"}`, nil, 422, invalid, code},
		{"other spelling of a field", post, send, `{"Message":"a"}`, nil, 422, invalid, code},
		{"missing field", post, send, `{}`, nil, 422, invalid, code},
		{"wrong type", post, send, `{"message":7}`, nil, 422, invalid, code},
		{"null field", post, send, `{"message":null}`, nil, 422, invalid, code},
		{"text that is not UTF-8", post, send, "{\"message\":\"a\xff\"}", nil, 400, "MALFORMED_JSON", "MALFORMED_JSON"},
		{"zero byte in a text", post, send, `{"message":"a\u0000b"}`, nil, 422, invalid, code},
		{"half of a surrogate pair", post, send, `{"message":"a\ud83d"}`, nil, 422, invalid, code},
		{"halves of surrogate pairs the wrong way round", post, send, `{"message":"\ude00\ud83d"}`, nil, 422, invalid, code},
		{"white space alone", post, send, `{"message":" \n\t\u00a0"}`, nil, 422, invalid, code},
		{"empty text", post, send, `{"message":""}`, nil, 422, invalid, code},
		{"over-long text", post, send, map[string]string{"message": strings.Repeat("ä", tenant.MaxTextLength+1)}, nil, 422, invalid, code},
		{"mention that is no person", post, send, `{"message":"a","mentions":["` + group + `"]}`, nil, 422, invalid, code},
		{"replyTo with a control character", post, send, `{"message":"a","replyTo":"A\u0000B"}`, nil, 422, invalid, code},
		{"body over the limit", post, send, `{"message":"` + strings.Repeat("a", 1<<20) + `"}`, nil, 413, "PAYLOAD_TOO_LARGE", "PAYLOAD_TOO_LARGE"},
		{"chunked body over the limit", post, send, io.MultiReader(strings.NewReader(strings.Repeat("a", 2<<20))), nil, 413, "PAYLOAD_TOO_LARGE", "PAYLOAD_TOO_LARGE"},
		{"wrong content type", post, send, `message=a`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "UNSUPPORTED_MEDIA_TYPE", "UNSUPPORTED_MEDIA_TYPE"},
		{"multipart without end", post, send, "--x", []string{"Content-Type", "multipart/form-data; boundary=x"}, 400, "BAD_REQUEST", "BAD_REQUEST"},
		{"multipart of another kind", post, send, "--x--", []string{"Content-Type", "multipart/mixed; boundary=x"}, 415, "UNSUPPORTED_MEDIA_TYPE", "UNSUPPORTED_MEDIA_TYPE"},
		{"multipart where it is not taken", post, "/admin/tenants", "--x--", []string{"Authorization", "Bearer " + adminKey, "Content-Type", "multipart/form-data; boundary=x"}, 415, "UNSUPPORTED_MEDIA_TYPE", "UNSUPPORTED_MEDIA_TYPE"},
		{"nonsense content type", post, send, `{}`, []string{"Content-Type", ";+;"}, 415, "UNSUPPORTED_MEDIA_TYPE", "UNSUPPORTED_MEDIA_TYPE"},
		{"compressed body", post, send, `{}`, []string{"Content-Encoding", "gzip"}, 415, "UNSUPPORTED_MEDIA_TYPE", "UNSUPPORTED_MEDIA_TYPE"},
		{"chat id without server", get, "/api/chats/5511999990001", nil, nil, 422, invalid, code},
		{"chat id of another server", get, "/api/chats/5511999990001@example.com", nil, nil, 422, invalid, code},
		{"chat id with letters", del, "/api/chats/abc@c.us", nil, nil, 422, invalid, code},
		{"chat id with a zero byte", get, "/api/chats/%00@c.us", nil, nil, 422, invalid, code},
		{"chat id with a slash", get, "/api/chats/1%2F2@c.us", nil, nil, 422, invalid, code},
		{"chat id too long", get, "/api/chats/" + strings.Repeat("1", 33) + "@c.us", nil, nil, 422, invalid, code},
		{"send to a chat id of another form", post, "/api/chats/x/messages", `{"message":"a"}`, nil, 422, invalid, code},
		{"unknown chat", get, "/api/chats/" + bia, nil, nil, 404, "Chat not found", "CHAT_NOT_FOUND"},
		{"delete of an unknown chat", del, "/api/chats/" + bia, nil, nil, 404, "Chat not found", "CHAT_NOT_FOUND"},
		{"messages of an unknown chat", get, "/api/chats/" + bia + "/messages", nil, nil, 404, "Chat not found", "CHAT_NOT_FOUND"},
		{"limit zero", get, "/api/chats?limit=0", nil, nil, 422, invalid, code},
		{"limit too large", get, send + "?limit=1001", nil, nil, 422, invalid, code},
		{"limit that is no number", get, send + "?limit=many", nil, nil, 422, invalid, code},
		{"limit that overflows", get, send + "?limit=99999999999999999999", nil, nil, 422, invalid, code},
		{"cursor of nobody", get, "/api/chats?cursor=x", nil, nil, 422, invalid, code},
		{"cursor of messages of nobody", get, send + "?cursor=%00%ff", nil, nil, 422, invalid, code},
		{"before that is no time", get, send + "?before=yesterday", nil, nil, 422, invalid, code},
		{"type that is none", get, "/api/chats?type=channel", nil, nil, 422, invalid, code},
		{"archived that is no boolean", get, "/api/chats?archived=perhaps", nil, nil, 422, invalid, code},
		{"unknown query parameter", get, "/api/chats?colour=red", nil, nil, 422, invalid, code},
		{"key in the query of a REST call", get, "/api/chats?apiKey=" + a.key, nil, nil, 422, invalid, code},
		{"bad escape in the query", get, "/api/chats?limit=%zz", nil, nil, 400, "BAD_REQUEST", "BAD_REQUEST"},
		{"bad escape in the name of a parameter", get, "/api/chats?%z=1", nil, nil, 400, "BAD_REQUEST", "BAD_REQUEST"},
		{"repeated parameter", get, "/api/chats?limit=1&limit=2", nil, nil, 422, invalid, code},
		{"repeated list", get, "/api/events?types=message.sent&types=message.received", nil, nil, 422, invalid, code},
		{"negative after", get, "/api/events?after=-1", nil, nil, 422, invalid, code},
		{"negative since", get, "/ws?since=-1", nil, nil, 422, invalid, code},
		{"no upgrade", get, "/ws", nil, nil, 426, "UPGRADE_REQUIRED", "UPGRADE_REQUIRED"},
		{"unknown route", get, "/api/nothing", nil, nil, 404, "NOT_FOUND", "NOT_FOUND"},
		{"unclean route", get, "/api//chats", nil, nil, 404, "NOT_FOUND", "NOT_FOUND"},
		{"dots in the route", get, "/api/chats/../status", nil, nil, 404, "NOT_FOUND", "NOT_FOUND"},
		{"trailing slash", get, "/api/chats/", nil, nil, 404, "NOT_FOUND", "NOT_FOUND"},
		{"unknown method", http.MethodPut, "/api/chats", "{}", nil, 405, "METHOD_NOT_ALLOWED", "METHOD_NOT_ALLOWED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			at := *a.node
			at.t = t
			got := at.call(c.method, c.path, c.body, append([]string{"X-API-Key", a.key}, c.headers...)...)
			got.problem(c.status, c.text, c.code)
			require.NotContains(t, string(got.body), "goroutine")
			if c.status == 422 {
				var p struct {
					Errors []struct{ Message, Location string }
				}
				got.into(&p)
				require.NotEmpty(t, p.Errors)
				require.NotEmpty(t, p.Errors[0].Location)
				require.NotContains(t, string(got.body), a.key)
				if strings.Contains(c.name, "surrogate") || strings.HasPrefix(c.name, "white") || strings.HasPrefix(c.name, "zero byte") {
					require.Equal(t, "body.message", p.Errors[0].Location)
				}
			}
		})
	}
	t.Cleanup(func() {
		require.Zero(t, n.fleet.sent.Load(), "something was sent")
		require.NotContains(t, n.logs.String(), `"status":500`)
	})
}

func TestTheMethodsOfARouteAreListed(t *testing.T) {
	t.Parallel()
	n := start(t)
	allow := n.call(http.MethodPut, "/api/chats/"+ana, nil).problem(405, "METHOD_NOT_ALLOWED", "METHOD_NOT_ALLOWED").header.Get("Allow")
	require.Equal(t, "DELETE, GET, HEAD, PATCH", allow)
}

func TestEveryInvalidFieldIsListed(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	var p struct {
		Errors []struct{ Location, Message string }
	}
	a.send(http.MethodPost, "/api/chats/x/messages", `{"colour":"red","replyTo":""}`).is(422).into(&p)
	locations := map[string]bool{}
	for _, e := range p.Errors {
		locations[e.Location] = true
	}
	require.Equal(t, map[string]bool{"path.chatId": true, "body": true, "body.colour": true, "body.replyTo": true}, locations)
}

// TestRequestsThatCannotBeReadAreProblemsToo holds what net/http refuses by itself.
func TestRequestsThatCannotBeReadAreProblemsToo(t *testing.T) {
	t.Parallel()
	n := start(t)
	for name, c := range map[string]struct {
		raw    string
		status int
	}{
		"control character in a header": {"GET /api/health HTTP/1.1\r\nHost: x\r\nX-API-Key: a\x01b\r\n\r\n", 400},
		"zero byte in a header":         {"GET /api/chats HTTP/1.1\r\nHost: x\r\nX-API-Key: a\x00b\r\n\r\n", 400},
		"bad escape in the path":        {"GET /api/chats/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"no host":                       {"GET /api/health HTTP/1.1\r\n\r\n", 400},
		"headers too long":              {"GET /api/health HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", 431},
		"space in a header's name":      {"GET /api/health HTTP/1.1\r\nHost: x\r\nBad Name: a\r\n\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := n.raw(t, c.raw)
			text := "BAD_REQUEST"
			if c.status == 431 {
				text = "REQUEST_HEADER_FIELDS_TOO_LARGE"
			}
			got.problem(c.status, text, text)
			require.Equal(t, fmt.Sprintf("%d %s", c.status, http.StatusText(c.status)), got.line)
			require.Contains(t, string(got.body), `"title":"`+http.StatusText(c.status)+`"`)
		})
	}
	n.call(http.MethodGet, "/api/health", nil, "X-Request-Id", "a b").is(200)
	n.raw(t, "GET /api/chats HTTP/1.1\r\nHost: x\r\nX-API-Key: \xff\xfe\r\nConnection: close\r\n\r\n").problem(403, "Invalid API key", "INVALID_API_KEY")
}

func TestABodyThatEndsEarlyIsTheClientsFault(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *api.Config) { c.Limits.BodyTimeout = time.Second })
	a := n.account()
	head := "POST /api/chats/" + ana + "/messages HTTP/1.1\r\nHost: x\r\nX-API-Key: " + a.key + "\r\nContent-Type: application/json\r\n"
	n.raw(t, head+"Content-Length: 100\r\n\r\n{\"message\"").problem(408, "REQUEST_TIMEOUT", "REQUEST_TIMEOUT")
	n.raw(t, head+"Transfer-Encoding: chunked\r\n\r\nzz\r\n").problem(400, "BAD_REQUEST", "BAD_REQUEST")
}

func TestErrorsOfTheDomain(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	path := "/api/chats/" + ana + "/messages"
	pending := tenant.Message{ID: "PENDING1"}
	for name, c := range map[string]struct {
		err        error
		status     int
		text, code string
		contains   string
	}{
		"offline":     {&session.OfflineError{View: session.View{State: session.Backoff, Message: "Lost it.", Until: time.Now().Add(90 * time.Second)}}, 503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE", "Lost it."},
		"reconnects":  {&session.OfflineError{View: session.View{State: session.Backoff, Message: "Lost it.", Action: "Nothing: it comes back."}}, 503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE", `Lost it."`},
		"unanswered":  {&session.UnansweredError{Message: pending, Err: context.DeadlineExceeded}, 504, "GATEWAY_TIMEOUT", "GATEWAY_TIMEOUT", `"messageId":"PENDING1","messageStatus":"pending"`},
		"rejected":    {&session.RejectedError{Message: pending, Code: 479}, 409, "MESSAGE_REJECTED", "MESSAGE_REJECTED", "479"},
		"no chat":     {tenant.ErrChatNotFound, 404, "Chat not found", "CHAT_NOT_FOUND", ""},
		"no original": {tenant.ErrMessageNotFound, 404, "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND", ""},
		"no database": {tenant.ErrUnavailable, 503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE", ""},
		"stopping":    {session.ErrStopping, 503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE", ""},
		"tenant gone": {tenant.ErrNotFound, 403, "Invalid API key", "INVALID_API_KEY", ""},
		"unknown":     {errors.New("secret detail 42"), 500, "INTERNAL_ERROR", "INTERNAL_ERROR", "Internal error."},
		"panicked":    {session.ErrPanicked, 500, "INTERNAL_ERROR", "INTERNAL_ERROR", "Internal error."},
	} {
		n.fleet.set(func(f *fleet) { f.sendErr = c.err })
		got := a.send(http.MethodPost, path, `{"message":"a"}`).problem(c.status, c.text, c.code)
		require.Contains(t, string(got.body), c.contains, name)
		require.NotContains(t, string(got.body), "secret detail", name)
		if name == "offline" {
			require.Equal(t, "90", got.header.Get("Retry-After"))
		}
	}
	require.Contains(t, n.logs.String(), "secret detail 42", "what the client is not told is logged")
}

func TestAPanicIsAnsweredAndCountedAndTheProcessLives(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	n.fleet.set(func(f *fleet) { f.panics = true })
	a.get("/api/status").problem(500, "INTERNAL_ERROR", "INTERNAL_ERROR")
	n.fleet.set(func(f *fleet) { f.panics = false })
	a.get("/api/status").is(200)
	require.Contains(t, string(n.call(http.MethodGet, "/metrics", nil).body), "wafleet_http_panics_total 1")
}

func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *api.Config) { c.Limits.KeyCacheTTL = time.Hour })
	a := n.account()
	b := n.account()
	a.get("/api/chats").is(200)
	require.NoError(t, n.store.Close())
	a.get("/api/chats").problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	b.get("/api/chats").problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE") // the key itself cannot be checked
	a.get("/ws").problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	n.call(http.MethodGet, "/readyz", nil).problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	n.call(http.MethodGet, "/livez", nil).is(200)
	n.call(http.MethodGet, "/api/health", nil).is(200)
}
