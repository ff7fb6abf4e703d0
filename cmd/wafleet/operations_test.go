package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime/multipart"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/programtest"
	"github.com/wafleet/wafleet/session/wasim/phone"
)

// called is the statuses that each operation has answered, by operationId.
type called map[string]map[int]bool

// check makes a call and holds its answer to the operation's documentation.
func (c called) check(t *testing.T, o *operation, caller *client, what, path, body string) answer {
	t.Helper()
	got, err := caller.try(o.method, path, body)
	require.NoError(t, err, "%s, %s", o.OperationID, what)
	where := fmt.Sprintf("%s, %s: %s %s: %s", o.OperationID, what, o.method, path, programtest.Tail(got.String()))
	require.True(t, o.documented(got.status), "status is not documented: %s", where)
	require.NotEqual(t, http.StatusInternalServerError, got.status, where)
	require.NotContains(t, string(got.body), "goroutine ", where)
	require.NotEmpty(t, got.header.Get("X-Request-Id"), where)
	if got.status >= http.StatusBadRequest {
		requireProblem(t, got, where)
	} else if len(got.body) > 0 {
		media, _, _ := strings.Cut(got.header.Get("Content-Type"), ";")
		if _, whatever := o.Responses[strconv.Itoa(got.status)].Content["*/*"]; !whatever {
			require.Contains(t, o.Responses[strconv.Itoa(got.status)].Content, media, where)
		}
	}
	if c[o.OperationID] == nil {
		c[o.OperationID] = make(map[int]bool)
	}
	c[o.OperationID][got.status] = true
	return got
}

func requireProblem(t *testing.T, got answer, where string) {
	t.Helper()
	require.Equal(t, "application/problem+json", got.header.Get("Content-Type"), where)
	var problem struct {
		Status int    `json:"status"`
		Title  string `json:"title"`
		Error  string `json:"error"`
		Code   string `json:"code"`
	}
	require.NoError(t, json.Unmarshal(got.body, &problem), where)
	require.Equal(t, got.status, problem.Status, where)
	require.NotEmpty(t, problem.Title, where)
	require.NotEmpty(t, problem.Error, where)
	require.NotEmpty(t, problem.Code, where)
	require.NotContains(t, string(got.body), "$schema", where)
	if got.status == http.StatusServiceUnavailable || got.status == http.StatusTooManyRequests {
		require.NotEmpty(t, got.header.Get("Retry-After"), where)
	}
}

// script is the calls that every operation answers well, in an order in which they work. Values in braces are ids. What begins
// with inGroup is called on a group and on the poll that was made in it.
type scripted struct {
	id, body, query string
	want            int
}

const inGroup = "group:"

func script() []scripted {
	return []scripted{
		{"get-health", "", "", 200},
		{"get-status", "", "", 200},
		{"get-session", "", "", 200},
		{"get-limits", "", "", 200},
		{"list-chats", "", "", 200},
		{"list-chats", "", "?limit=1&type=direct&archived=false&q=Ana", 200},
		{"get-chat", "", "", 200},
		{"list-messages", "", "?limit=1&after=2020-01-01T00:00:00Z&q=hello", 200},
		{"get-message-media", "", "", 200},
		{"get-message-thumbnail", "", "", 200},
		{"send-message", `{"message":"hi"}`, "", 201},
		{"send-message", `{"message":"hi","replyTo":"{messageId}","mentions":["{chatId}"]}`, "", 201},
		{"send-message", `{"location":{"latitude":-23.5,"longitude":-46.6,"name":"MASP"},"forwarded":true}`, "", 201},
		{"send-message", `{"contact":{"name":"João","phone":"5511999990003"}}`, "", 201},
		{"forward-message", `{"to":"{chatId}"}`, "", 201},
		{"list-media", "", "?type=image&limit=1", 200},
		{"send-message", `{"message":"hi"}`, "", 201},
		{"edit-message", `{"message":"hello again"}`, "", 200},
		{"react-to-message", `{"emoji":"👍"}`, "", 200},
		{"delete-reaction", "", "", 204},
		{"delete-message", "", "", 204},
		{"delete-message", "", "", 204},
		{"edit-message", `{"message":"hello again"}`, "", 409},
		{"create-poll", `{"question":"Lunch?","options":["noon","one"]}`, "", 400},
		{inGroup + "create-poll", `{"question":"Lunch?","options":["noon","one"]}`, "", 201},
		{inGroup + "vote-in-poll", `{"options":["noon"]}`, "", 200},
		{inGroup + "vote-in-poll", `{"options":["noon","one"]}`, "", 422},
		{inGroup + "vote-in-poll", `{"options":[]}`, "", 200},
		{"forward-message", `{"to":"{chatId}"}`, "", 409},
		{"mark-chat-read", "", "", 204},
		{"change-chat", `{"archived":false,"pinned":true,"mutedUntil":"2099-01-01T00:00:00Z"}`, "", 200},
		{"change-chat", `{"mutedUntil":null}`, "", 200},
		{"sync-chats", "", "", 200},
		{"show-typing", `{"state":"composing"}`, "", 204},
		{"list-contacts", "", "?limit=1&q=ana", 200},
		{"get-contact", "", "", 200},
		{"get-contact-picture", "", "?preview=true", 200},
		{"get-chat-picture", "", "?preview=true", 200},
		{"check-numbers", `{"phones":["+5511000000000"]}`, "", 200},
		{"block-contact", "", "", 204},
		{"get-blocklist", "", "", 200},
		{"unblock-contact", "", "", 204},
		{"update-profile", `{"name":"Shop","about":"open"}`, "", 200},
		{"get-profile", "", "", 200},
		{"get-profile-picture", "", "", 404},
		{"set-profile-picture", formOf(string(aPicture())), "", 200},
		{"get-profile-picture", "", "", 200},
		{"delete-profile-picture", "", "", 204},
		{"set-presence", `{"state":"unavailable"}`, "", 204},
		{"subscribe-presence", "", "", 204},
		{"unsubscribe-presence", "", "", 204},
		{"fetch-history", "", "?limit=500", 200},
		{"fetch-history", "", "?limit=501", 422},
		{"list-events", "", "?after=0&limit=5&types=message.received&wait=1", 200},
		{"follow-events", "", "?after=0&types=message.received", 200},
		{"open-event-stream", "", "", 426},
		{"delete-chat", "", "", 204},
		{"delete-chat", "", "", 404},
		{"get-chat", "", "", 404},
		{"list-messages", "", "", 404},
	}
}

// groupScript is the calls on a group, which the first makes.
func groupScript() []scripted {
	const them = `{"participants":["{friendId}"]}`
	return []scripted{
		{"create-group", `{"name":"Family","participants":["{friendId}"]}`, "", 201},
		{"list-participants", "", "", 200},
		{"add-participants", them, "", 200},
		{"promote-participants", them, "", 200},
		{"demote-participants", them, "", 200},
		{"rename-group", `{"name":"Clan"}`, "", 200},
		{"describe-group", `{"description":"All of us"}`, "", 200},
		{"delete-group-picture", "", "", 204},
		{"get-chat-picture", "", "", 404},
		{"get-group-settings", "", "", 200},
		{"change-group-settings", `{"announce":true,"locked":true,"joinApproval":true,"memberAdd":"admins"}`, "", 200},
		{"get-group-invite", "", "", 200},
		{"create-join-url", "", "", 201},
		{"join-group-by-url", "", "", 302},
		{"reset-group-invite", "", "", 200},
		{"join-group-by-url", "", "", 302},
		{"delete-join-url", "", "", 204},
		{"join-group-by-url", "", "", 404},
		{"list-join-requests", "", "", 200},
		{"approve-join-requests", them, "", 200},
		{"reject-join-requests", them, "", 200},
		{"remove-participants", them, "", 200},
		{"join-group", `{"invite":"{invite}"}`, "", 200},
		{"leave-group", "", "", 204},
		{"leave-group", "", "", 403},
		{"create-join-url", "", "", 403},
		{"rename-group", `{"name":"Clan"}`, "", 403},
		{"list-participants", "", "", 200},
	}
}

// groups runs the calls on a group.
func groups(t *testing.T, seen called, byID map[string]*operation, c *customer, friend *person) {
	t.Helper()
	values := map[string]string{"friendId": string(friend.chatID())}
	for _, step := range groupScript() {
		o := byID[step.id]
		require.NotNil(t, o, "no operation %s", step.id)
		body := step.body
		for name, value := range values {
			body = strings.ReplaceAll(body, "{"+name+"}", value)
		}
		got := seen.check(t, o, c.api, "well", o.fill(t, values)+step.query, body)
		require.Equal(t, step.want, got.status, "%s: %s", step.id, got)
		var said struct {
			ID      string `json:"id"`
			Link    string `json:"link"`
			JoinURL string `json:"joinUrl"`
		}
		if step.id == "create-group" || step.id == "reset-group-invite" || step.id == "create-join-url" && got.status == http.StatusCreated {
			require.NoError(t, json.Unmarshal(got.body, &said))
			for name, value := range map[string]string{"chatId": said.ID, "invite": said.Link, "token": said.JoinURL[strings.LastIndex(said.JoinURL, "/")+1:]} {
				if value != "" {
					values[name] = value
				}
			}
		}
	}
	setPicture(t, seen, byID["set-group-picture"], c, friend)
}

// setPicture gives a new group a picture.
func setPicture(t *testing.T, seen called, o *operation, c *customer, friend *person) {
	t.Helper()
	var made struct {
		ID string `json:"id"`
	}
	body := fmt.Sprintf(`{"name":"Pictured","participants":[%q]}`, friend.chatID())
	c.api.call(http.StatusCreated, http.MethodPost, "/api/groups/create", body).into(t, &made)
	var text bytes.Buffer
	w := multipart.NewWriter(&text)
	part, err := w.CreateFormFile("file", "a.jpg")
	require.NoError(t, err)
	_, err = part.Write(aPicture())
	require.NoError(t, err)
	require.NoError(t, w.Close())
	caller := *c.api
	caller.header = maps.Clone(c.api.header)
	caller.header["Content-Type"] = w.FormDataContentType()
	got := seen.check(t, o, &caller, "well", o.fill(t, map[string]string{"chatId": made.ID}), text.String())
	require.Equal(t, http.StatusOK, got.status, got.String())
}

// adminScript goes on where script ends; it ends with the tenant.
func adminScript(number string) []scripted {
	return []scripted{
		{"create-tenant", `{"name":"Another","externalId":"another"}`, "", 201},
		{"create-tenant", `{"name":"Again","externalId":"another"}`, "", 200},
		{"list-tenants", "", "", 200},
		{"list-tenants", "", "?limit=1", 200},
		{"list-tenants", "", "?q=anoth&metadata=a=b&state=unpaired&suspended=false", 200},
		{"list-tenants", "", "?metadata=nonsense", 422},
		{"get-tenant", "", "", 200},
		{"change-tenant", `{"name":"Shop again","metadata":{"plan":"pro","old":null}}`, "", 200},
		{"change-tenant", `{"externalId":"another"}`, "", 409},
		{"change-tenant", `{"metadata":{"a b":"c"}}`, "", 422},
		{"change-tenant", `{}`, "", 422},
		{"suspend-tenant", "", "", 200},
		{"connect-session", "", "", 409},
		{"resume-tenant", "", "", 200},
		{"list-sessions", "", "?limit=1", 200},
		{"list-nodes", "", "", 200},
		{"get-tenant-usage", "", "", 200},
		{"get-tenant-usage", "", "?format=csv&from=2026-01-01&to=2026-12-31", 200},
		{"get-tenant-usage", "", "?from=2026-01-02&to=2026-01-01", 422},
		{"list-usage", "", "?per=tenant", 200},
		{"list-usage", "", "?format=csv&limit=1", 200},
		{"list-audit", "", "?limit=1&operation=create-tenant", 200},
		{"list-audit", "", "?cursor=nonsense", 422},
		{"create-admin-key", `{"label":"on call","role":"viewer"}`, "", 201},
		{"create-admin-key", `{"label":"on call","role":"king"}`, "", 422},
		{"list-admin-keys", "", "", 200},
		{"rotate-admin-key", `{"overlapSeconds":0}`, "", 201},
		{"rotate-admin-key", `{}`, "", 409},
		{"revoke-admin-key", "", "", 204},
		{"create-key", `{"label":"another"}`, "", 201},
		{"create-key", `{"scopes":["read"]}`, "", 201},
		{"create-key", `{"scopes":["fly"]}`, "", 422},
		{"change-key", `{"label":"third","expiresAt":null,"scopes":["read","send"]}`, "", 200},
		{"rotate-key", `{"overlapSeconds":60}`, "", 201},
		{"create-key", `{"expiresAt":"2020-01-01T00:00:00Z"}`, "", 422},
		{"list-keys", "", "", 200},
		{"get-tenant-limits", "", "", 200},
		{"change-tenant-limits", `{"coldChatsPerDay":50,"requestBurst":null}`, "", 200},
		{"change-tenant-limits", `{}`, "", 200},
		{"change-tenant-limits", `{"coldChatsPerDay":-1}`, "", 422},
		{"change-tenant-limits", `{"coldChats":1}`, "", 422},
		{"get-tenant-session", "", "", 200},
		{"watch-pairing", "", "", 200}, // of the pairing that is over
		{"start-pairing", `{"method":"qr"}`, "", 409},
		{"disconnect-session", "", "", 200},
		{"connect-session", "", "", 200},
		{"export-tenant", "", "", 200},
		{"connect-session", "", "", 409},
		{"cancel-export", "", "", 200},
		{"import-tenant", "{file}", "", 409},
		{"logout-session", "", "", 200},
		{"logout-session", "", "", 409},
		{"connect-session", "", "", 409},
		{"disconnect-session", "", "", 409},
		{"start-pairing", `{"method":"qr"}`, "", 200},
		{"start-pairing", `{"method":"qr"}`, "", 200},
		{"get-pairing", "", "", 200},
		{"get-pairing-qr-png", "", "", 200},
		{"get-pairing-qr-svg", "", "", 200},
		{"cancel-pairing", "", "", 204},
		{"cancel-pairing", "", "", 404},
		{"start-pairing", `{"method":"code","phone":"` + number + `"}`, "", 200},
		{"start-pairing", `{"method":"code"}`, "", 422},
		{"get-pairing-qr-png", "", "", 404},
		{"cancel-pairing", "", "", 204},
		{"create-pairing-link", `{"expiresInMs":60000,"phone":"+` + number + `","returnUrl":"https://shop.example.com/done"}`, "", 201},
		{"create-pairing-link", `{"expiresInMs":604800001}`, "", 422},
		{"create-pairing-link", `{"returnUrl":"http://shop.example.com"}`, "", 422},
		{"list-pairing-links", "", "", 200},
		{"revoke-pairing-link", "", "", 204},
		{"revoke-pairing-link", "", "", 204},
		{"revoke-key", "", "", 204},
		{"revoke-key", "", "", 204},
		{"change-key", `{"label":"fourth"}`, "", 409},
		{"rotate-key", `{}`, "", 409},
		{"get-deletion", "", "", 404},
		{"delete-tenant", "", "", 200},
		{"delete-tenant", "", "", 404},
		{"get-deletion", "", "", 200},
		{"list-deletions", "", "", 200},
		{"get-tenant", "", "", 404},
		{"revoke-key", "", "", 404},
		{"create-pairing-link", `{}`, "", 404},
		{"list-pairing-links", "", "", 404},
		{"revoke-pairing-link", "", "", 404},
		{"get-tenant-session", "", "", 404},
		{"get-tenant-limits", "", "", 404},
		{"change-tenant-limits", `{"coldChatsPerDay":50}`, "", 404},
		{"start-pairing", `{"method":"qr"}`, "", 404},
		{"export-tenant", "", "", 404},
		{"cancel-export", "", "", 404},
		{"import-tenant", `no file`, "", 422},
		{"import-tenant", "{file}", "", 201},
	}
}

func TestEveryOperationAnswersAsDocumented(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteDatabase(t))
	c, ana := w.customer("Shop"), w.person("Ana")
	feed := c.feed(0)
	_, err := ana.SendFile(t.Context(), c.Number(), phone.File{
		Kind: phone.FileImage, Data: []byte("a picture"), Caption: "hello", Thumbnail: []byte("a small picture"),
	}, phone.SendOptions{})
	require.NoError(t, err)
	message := feed.received("hello")
	picture := aPicture()
	require.NoError(t, ana.SetProfile(t.Context(), phone.ProfileChange{Picture: &picture}))
	c.named()
	values := map[string]string{
		"chatId": string(ana.chatID()), "contactId": string(ana.chatID()), "messageId": string(message.ID), "tenantId": c.id,
		"keyId": strings.Split(c.key, "_")[1], "linkId": strings.Split(c.key, "_")[1], "token": "wj_" + c.id + "_" + strings.Repeat("a", 32),
		"adminKeyId": strings.Repeat("a", 12),
	}
	seen := make(called)
	operations := w.operations()

	before := c.snapshotOf(ana)
	for _, o := range operations {
		refuse(t, w, seen, o, c, values)
	}
	require.Equal(t, before, c.snapshotOf(ana), "bad input stores nothing")
	unknownRoutes(t, w)
	controlCharacters(t, w)

	byID := make(map[string]*operation)
	for _, o := range operations {
		byID[o.OperationID] = o
	}
	groups(t, seen, byID, c, ana)
	group, _, err := ana.CreateGroup(t.Context(), "Family", []string{c.Number()})
	require.NoError(t, err)
	groupValues := maps.Clone(values)
	groupValues["chatId"] = group
	personValues := values
	for _, step := range slices.Concat(script(), adminScript(c.Number())) {
		name, isGroup := strings.CutPrefix(step.id, inGroup)
		o := byID[name]
		require.NotNil(t, o, "no operation %s", name)
		values := personValues
		if isGroup {
			values = groupValues
		}
		caller := c.api
		if o.admin {
			caller = w.admin
		}
		body := step.body
		for name, value := range values {
			body = strings.ReplaceAll(body, "{"+name+"}", value)
		}
		got := seen.check(t, o, caller, "well", o.fill(t, values)+step.query, body)
		require.Equal(t, step.want, got.status, "%s: %s", step.id, got)
		if name == "create-admin-key" && got.status == http.StatusCreated {
			var made struct {
				ID string `json:"id"`
			}
			require.NoError(t, json.Unmarshal(got.body, &made))
			values["adminKeyId"] = made.ID
		}
		if name == "export-tenant" && got.status == http.StatusOK {
			values["file"] = string(got.body)
		}
		if name == "send-message" || name == "create-poll" && isGroup { // from here on it is this one that is meant
			var sent struct {
				ID string `json:"id"`
			}
			require.NoError(t, json.Unmarshal(got.body, &sent))
			values["messageId"] = sent.ID
		}
		if name == "create-pairing-link" && got.status == http.StatusCreated {
			var made struct {
				ID string `json:"id"`
			}
			require.NoError(t, json.Unmarshal(got.body, &made))
			values["linkId"] = made.ID
		}
	}
	for _, o := range operations {
		statuses := slices.Collect(maps.Keys(seen[o.OperationID]))
		require.True(t, slices.ContainsFunc(statuses, func(s int) bool { return s < 400 || s == http.StatusUpgradeRequired }),
			"%s was never called well: add it to the script", o.OperationID)
	}
}

// snapshotOf is what the tenant has stored with somebody.
func (c *customer) snapshotOf(friend *person) string {
	c.w.t.Helper()
	messages, err := json.Marshal(c.messages(friend.chatID()))
	require.NoError(c.w.t, err)
	return fmt.Sprintf("%s %s", c.api.call(http.StatusOK, http.MethodGet, "/api/chats", "").body, messages)
}

// refuse calls an operation in all the ways that must be refused.
func refuse(t *testing.T, w *world, seen called, o *operation, c *customer, values map[string]string) {
	t.Helper()
	path := o.fill(t, values)
	caller, header, wrong := c.api, "X-API-Key", "wf_"+strings.Repeat("a", 18)+"_"+strings.Repeat("a", 40)
	if o.admin {
		caller, header, wrong = w.admin, "Authorization", "Bearer nobody-knows-this-key"
	}
	body := ""
	if o.RequestBody != nil {
		body = string(o.RequestBody.Content["application/json"].Example)
	}
	if !o.public() {
		got := seen.check(t, o, newClient(t, w.base, nil), "without a key", path, body)
		require.Equal(t, http.StatusUnauthorized, got.status, o.OperationID)
		for _, key := range []string{wrong, "nonsense", strings.Repeat("x", 4000)} {
			got = seen.check(t, o, newClient(t, w.base, map[string]string{header: key}), "with a wrong key", path, body)
			if !o.admin || strings.HasPrefix(key, "Bearer ") {
				require.Equal(t, http.StatusForbidden, got.status, o.OperationID)
			}
		}
	}
	if o.path == "/ws" {
		return
	}
	for name := range values {
		if !strings.Contains(o.path, "{"+name+"}") {
			continue
		}
		for _, bad := range []string{
			"nonsense", "123@example.org", "@c.us", "123@c.us@c.us", "%00", "%0a", "%ff%fe", "%e2%80%ae", "a%2Fb", "..%2f..", strings.Repeat("9", 3000),
			"'%20OR%201=1--",
		} {
			broken := maps.Clone(values)
			broken[name] = bad
			got := seen.check(t, o, caller, "with a broken "+name, o.fill(t, broken), body)
			require.GreaterOrEqual(t, got.status, http.StatusBadRequest, "%s with %s %q", o.OperationID, name, bad)
		}
	}
	got := seen.check(t, o, caller, "with an unknown parameter", path+"?nope=1", body)
	if o.documented(http.StatusUnprocessableEntity) {
		require.Equal(t, http.StatusUnprocessableEntity, got.status, "%s", o.OperationID)
	}
	if _, takes := bodyOf(o, "application/json"); takes {
		refuseBodies(t, seen, o, caller, path, body)
	}
}

// bodyOf is the example of the operation's body of that type.
func bodyOf(o *operation, media string) (example string, takes bool) {
	if o.RequestBody == nil {
		return "", false
	}
	content, takes := o.RequestBody.Content[media]
	return string(content.Example), takes
}

func refuseBodies(t *testing.T, seen called, o *operation, caller *client, path, example string) {
	t.Helper()
	bodies := map[string]string{
		"Malformed": "{", "Truncated": strings.TrimSpace(example)[:len(strings.TrimSpace(example))-1], "Text": "hello", "Array": "[]", "Null": "null", "String": `"x"`,
		"Number": "1", "NotUTF8": "{\"message\":\"\xff\"}x", "TwoBodies": "{}{}{", "UnknownField": `{"nope":1}`,
		"TooLarge": `{"message":"` + strings.Repeat("x", 2<<20) + `"}`, "Deep": strings.Repeat(`{"a":`, 20_000),
	}
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(example), &fields), o.OperationID)
	for name := range fields {
		for kind, wrong := range map[string]any{
			"Object": map[string]any{"a": 1}, "Number": 1e300, "True": true, "LongText": strings.Repeat("y", 100_000), "Numbers": []int{1},
		} {
			if _, isBool := fields[name].(bool); isBool && kind == "True" {
				continue
			}
			broken := maps.Clone(fields)
			broken[name] = wrong
			text, err := json.Marshal(broken)
			require.NoError(t, err)
			bodies[name+kind] = string(text)
		}
	}
	for kind, body := range bodies {
		got := seen.check(t, o, caller, "with the body "+kind, path, body)
		require.GreaterOrEqual(t, got.status, http.StatusBadRequest, "%s with the body %s: %s", o.OperationID, kind, got)
	}
	for _, media := range []string{"text/plain", "multipart/form-data; boundary=x", "application/xml"} {
		other := *caller
		other.header = maps.Clone(caller.header)
		other.header["Content-Type"] = media
		req, err := http.NewRequestWithContext(t.Context(), o.method, caller.base+path, strings.NewReader(example))
		require.NoError(t, err)
		for name, value := range other.header {
			req.Header.Set(name, value)
		}
		resp, err := caller.http.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		want := http.StatusUnsupportedMediaType
		if _, takes := o.RequestBody.Content["multipart/form-data"]; takes && strings.HasPrefix(media, "multipart/") {
			want = http.StatusBadRequest // it is no form, whatever its headers say
		}
		require.Equal(t, want, resp.StatusCode, "%s as %s", o.OperationID, media)
		require.True(t, o.documented(resp.StatusCode))
	}
}

func unknownRoutes(t *testing.T, w *world) {
	t.Helper()
	anybody := newClient(t, w.base, nil)
	for _, path := range []string{"/api", "/api/nothing", "/admin/nothing", "/api//chats", "/api/../admin", "/debug/pprof/", "/metrics/x"} {
		got := anybody.call(http.StatusNotFound, http.MethodGet, path, "")
		requireProblem(t, got, path)
	}
	got := anybody.call(http.StatusMethodNotAllowed, http.MethodPut, "/api/chats", "")
	requireProblem(t, got, "PUT /api/chats")
	require.NotEmpty(t, got.header.Get("Allow"))
}

// controlCharacters sends what net/http's client would not.
func controlCharacters(t *testing.T, w *world) {
	t.Helper()
	for _, header := range []string{"X-API-Key: wf_\x01", "X-API-Key: \x7f", "X-Request-Id: a\x00b", "X-Ap\x01i: x"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.base, "http://"))
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "GET /api/chats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n\r\n", header)
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.NoError(t, conn.Close())
		require.Contains(t, []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden}, resp.StatusCode, "%q", header)
	}
}
