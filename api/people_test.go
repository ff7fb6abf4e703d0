package api_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

func TestContactsAreListedAndFound(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	var list api.ContactList
	require.JSONEq(t, `{"contacts":[]}`, string(a.get("/api/contacts").is(200).body))
	_, err := a.handle.Commit(t.Context(), tenant.LinkIDs{LID: "104857600000001@lid", Phone: ana},
		tenant.PutContact{ID: ana, Name: "Ana Silva", PushName: "Aninha"}, tenant.PutContact{ID: bia, PushName: "Bia"})
	require.NoError(t, err)
	a.get("/api/contacts?limit=1").is(200).into(&list)
	require.Equal(t, []tenant.Contact{{
		ID: ana, LID: "104857600000001@lid", Phone: "5511999990001", Name: "Ana Silva", PushName: "Aninha",
	}}, list.Contacts)
	require.NotEmpty(t, list.NextCursor)
	cursor := list.NextCursor
	list = api.ContactList{}
	a.get("/api/contacts?limit=1&cursor=" + cursor).is(200).into(&list)
	require.Len(t, list.Contacts, 1)
	require.Equal(t, "Bia", list.Contacts[0].PushName)
	require.Empty(t, list.NextCursor)
	for q, want := range map[string]int{"ANINHA": 1, "99999000": 2, "nobody": 0} {
		list = api.ContactList{}
		a.get("/api/contacts?q=" + q).is(200).into(&list)
		require.Len(t, list.Contacts, want, q)
	}
	for _, id := range []string{ana, "104857600000001@lid", "5511999990001@s.whatsapp.net"} {
		var got tenant.Contact
		a.get("/api/contacts/" + id).is(200).into(&got)
		require.EqualValues(t, ana, got.ID)
	}
	a.get("/api/contacts/5511999990009@c.us").problem(404, "CONTACT_NOT_FOUND", "CONTACT_NOT_FOUND")
	for _, bad := range []string{"?limit=0", "?limit=1001", "?cursor=nonsense", "?nope=1", "/" + group, "/nonsense", "/check"} {
		a.get("/api/contacts"+bad).problem(422, "Validation error", "VALIDATION_ERROR")
	}
}

func TestNumbersAreChecked(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	const path = "/api/contacts/check"
	got := a.send("POST", path, `{"phones":["+5511999990001","5511000000000"]}`).is(200)
	require.JSONEq(t, `{"results":[
		{"phone":"+5511999990001","registered":true,"id":"5511999990001@c.us","lid":"104857600000001@lid"},
		{"phone":"5511000000000","registered":false}]}`, string(got.body))
	many := strings.Repeat(`"+5511999990001",`, 51)
	for body, field := range map[string]string{
		`{"phones":[]}`: "body.phones", `{"phones":["+5511999990001","12"]}`: "body.phones[1]", `{"phones":["+55 11 99999-0001"]}`: "body.phones[0]",
		`{"phones":[1]}`: "body.phones[0]", `{}`: "body", `{"phones":[` + many[:len(many)-1] + `]}`: "body.phones", `{"phones":["0123456"]}`: "body.phones[0]",
		`{"phones":["+1234567890123456"]}`: "body.phones[0]",
	} {
		refused := a.send("POST", path, body).problem(422, "Validation error", "VALIDATION_ERROR")
		require.Contains(t, string(refused.body), `"location":"`+field+`"`, body)
	}
	a.fleet.set(func(f *fleet) {
		f.sendErr = &session.LimitError{Limit: session.LimitNumberChecks, After: 90 * time.Second}
	})
	limited := a.send("POST", path, `{"phones":["+5511999990001"]}`).problem(429, "RATE_LIMITED", "RATE_LIMITED")
	require.Equal(t, "90", limited.header.Get("Retry-After"))
	require.Contains(t, string(limited.body), `"limit":"numberChecks"`)
}

func TestTheBlockListIsChanged(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	require.JSONEq(t, `{"contacts":[]}`, string(a.get("/api/blocklist").is(200).body))
	for range 2 {
		require.Empty(t, a.send("PUT", "/api/blocklist/"+ana, nil).is(204).body)
	}
	require.JSONEq(t, `{"contacts":["`+ana+`"]}`, string(a.get("/api/blocklist").is(200).body))
	require.Contains(t, string(a.get("/api/contacts").is(200).body), `"isBlocked":true`)
	a.send("DELETE", "/api/blocklist/"+ana, nil).is(204)
	require.JSONEq(t, `{"contacts":[]}`, string(a.get("/api/blocklist").is(200).body))
	a.send("PUT", "/api/blocklist/"+group, nil).problem(422, "Validation error", "VALIDATION_ERROR")
	a.fleet.set(func(f *fleet) { f.sendErr = session.ErrNotOnWhatsApp })
	a.send("PUT", "/api/blocklist/"+ana, nil).problem(404, "NOT_ON_WHATSAPP", "NOT_ON_WHATSAPP")
}

func TestTheProfileIsChanged(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	const path = "/api/profile"
	require.JSONEq(t, `{"id":"5511988880000@c.us","lid":"104857600000009@lid","phone":"5511988880000","name":"Shop"}`, string(a.get(path).is(200).body))
	got := a.send("PATCH", path, `{"name":"Padaria ☕","about":"aberta"}`).is(200)
	require.Contains(t, string(got.body), `"name":"Padaria ☕"`)
	require.Contains(t, string(got.body), `"about":"aberta"`)
	require.NotContains(t, string(a.send("PATCH", path, `{"about":""}`).is(200).body), "about")
	for _, body := range []string{
		`{}`, `{"name":""}`, `{"name":" "}`, `{"name":"` + strings.Repeat("ã", 26) + `"}`, `{"about":"` + strings.Repeat("a", 140) + `"}`, `{"name":1}`,
		`{"picture":"x"}`, `{"about":"\u0000"}`,
	} {
		a.send("PATCH", path, body).problem(422, "Validation error", "VALIDATION_ERROR")
	}
}

// pictureForm is a body with one picture, and its content type.
func pictureForm(t *testing.T, field, fileName string, file []byte) (body, contentType string) {
	t.Helper()
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	part, err := w.CreateFormFile(field, fileName)
	require.NoError(t, err)
	_, err = part.Write(file)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.String(), w.FormDataContentType()
}

func TestPicturesGoBothWays(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	const own, others = "/api/profile/picture", "/api/contacts/" + ana + "/picture"
	a.get(own).problem(404, "PICTURE_NOT_FOUND", "PICTURE_NOT_FOUND")
	img := image.NewRGBA(image.Rect(0, 0, 700, 900))
	var asPNG, asJPEG bytes.Buffer
	require.NoError(t, png.Encode(&asPNG, img))
	require.NoError(t, jpeg.Encode(&asJPEG, img, nil))
	for _, file := range [][]byte{asPNG.Bytes(), asJPEG.Bytes()} {
		body, contentType := pictureForm(t, "file", "me", file)
		require.JSONEq(t, `{"pictureId":"1"}`, string(a.send("PUT", own, body, "Content-Type", contentType).is(200).body))
		for _, path := range []string{own, others} {
			got := a.get(path).is(200)
			require.Equal(t, "image/jpeg", got.header.Get("Content-Type"))
			require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
			size, err := jpeg.DecodeConfig(bytes.NewReader(got.body))
			require.NoError(t, err)
			require.Equal(t, []int{640, 640}, []int{size.Width, size.Height})
			etag := got.header.Get("ETag")
			require.Equal(t, `"1.image"`, etag)
			require.Empty(t, a.send("GET", path, nil, "If-None-Match", etag).is(304).body)
			a.send("GET", path, nil, "If-None-Match", `"0.image"`).is(200)
		}
	}
	require.Equal(t, `"1.preview"`, a.get(others+"?preview=true").is(200).header.Get("ETag"))
	require.True(t, a.fleet.people.asked.Preview)
	require.EqualValues(t, ana, a.fleet.people.asked.Of)
	a.send("DELETE", own, nil).is(204)
	a.get(own).problem(404, "PICTURE_NOT_FOUND", "PICTURE_NOT_FOUND")
	a.fleet.set(func(f *fleet) { f.sendErr = session.ErrPictureHidden })
	require.Contains(t, string(a.get(others).problem(404, "PICTURE_NOT_FOUND", "PICTURE_NOT_FOUND").body), "does not let")
}

func TestBadPicturesAreRefused(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	const own = "/api/profile/picture"
	var tiny, wide bytes.Buffer
	require.NoError(t, png.Encode(&tiny, image.NewGray(image.Rect(0, 0, 20, 20))))
	require.NoError(t, png.Encode(&wide, image.NewGray(image.Rect(0, 0, 500_001, 48))))
	for name, file := range map[string][]byte{
		"empty": {}, "text": []byte("hello"), "cut": {0xff, 0xd8, 0xff}, "tiny": tiny.Bytes(), "wide": wide.Bytes(), "gif": []byte("GIF89a"),
	} {
		body, contentType := pictureForm(t, "file", "me", file)
		refused := a.send("PUT", own, body, "Content-Type", contentType)
		require.Equal(t, 422, refused.status, name)
		require.Contains(t, string(refused.body), "body.file", name)
	}
	body, contentType := pictureForm(t, "other", "me", tiny.Bytes())
	a.send("PUT", own, body, "Content-Type", contentType).problem(422, "Validation error", "VALIDATION_ERROR")
	body, contentType = pictureForm(t, "file", "me", bytes.Repeat([]byte("x"), 8<<20+1))
	a.send("PUT", own, body, "Content-Type", contentType).problem(413, "PAYLOAD_TOO_LARGE", "PAYLOAD_TOO_LARGE")
	a.send("PUT", own, body[:1000], "Content-Type", contentType).problem(400, "BAD_REQUEST", "BAD_REQUEST")
	for _, other := range []string{"application/json", "image/jpeg", "multipart/form-data", ""} {
		a.send("PUT", own, "{}", "Content-Type", other).problem(415, "UNSUPPORTED_MEDIA_TYPE", "UNSUPPORTED_MEDIA_TYPE")
	}
	a.send("PUT", own, "--x--\r\n", "Content-Type", "multipart/form-data; boundary=x").problem(422, "Validation error", "VALIDATION_ERROR")
}

func TestPresenceIsShownAndWatched(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	for _, state := range []string{"available", "unavailable"} {
		require.Empty(t, a.send("PUT", "/api/presence", map[string]string{"state": state}).is(204).body)
	}
	a.send("PUT", "/api/presence", `{"state":"dancing"}`).problem(422, "Validation error", "VALIDATION_ERROR")
	a.send("POST", "/api/contacts/"+ana+"/presence", nil).is(204)
	a.send("DELETE", "/api/contacts/"+ana+"/presence", nil).is(204)
	a.send("POST", "/api/contacts/"+group+"/presence", nil).problem(422, "Validation error", "VALIDATION_ERROR")
	require.Equal(t, []string{"there", "away", "watch " + ana, "leave " + ana}, a.fleet.people.presence)
	a.fleet.set(func(f *fleet) { f.sendErr = session.ErrNoName })
	a.send("PUT", "/api/presence", `{"state":"available"}`).problem(409, "NO_NAME", "NO_NAME")

	s := a.dial("/ws", nil)
	require.Equal(t, "hello", s.next().Type)
	data := `{"contactId":"` + ana + `","state":"unavailable","lastSeen":"2026-11-22T12:00:00Z"}`
	a.fleet.live <- tenant.Event{Type: tenant.EventPresence, Timestamp: time.Now(), Data: []byte(data)}
	f := s.next()
	require.Equal(t, "presence", f.Type)
	require.Zero(t, f.Seq)
	require.JSONEq(t, data, string(f.Data))
}

func TestWhatPeopleActionsAnswerWhenTheyFail(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	var file bytes.Buffer
	require.NoError(t, png.Encode(&file, image.NewGray(image.Rect(0, 0, 50, 50))))
	body, contentType := pictureForm(t, "file", "me", file.Bytes())
	calls := map[string]func() *answer{}
	for _, call := range []string{
		"GET /api/blocklist", "PUT /api/blocklist/" + ana, "DELETE /api/blocklist/" + ana, "GET /api/profile", "GET /api/profile/picture",
		"DELETE /api/profile/picture", "GET /api/contacts/" + ana + "/picture", "POST /api/contacts/" + ana + "/presence",
		"DELETE /api/contacts/" + ana + "/presence",
	} {
		method, path, _ := strings.Cut(call, " ")
		calls[call] = func() *answer { return a.send(method, path, nil) }
	}
	calls["check"] = func() *answer { return a.send("POST", "/api/contacts/check", `{"phones":["+5511999990001"]}`) }
	calls["update"] = func() *answer { return a.send("PATCH", "/api/profile", `{"name":"x"}`) }
	calls["presence"] = func() *answer { return a.send("PUT", "/api/presence", `{"state":"available"}`) }
	calls["set picture"] = func() *answer { return a.send("PUT", "/api/profile/picture", body, "Content-Type", contentType) }
	for _, tc := range []struct {
		err        error
		status     int
		text, code string
	}{
		{&session.OfflineError{View: session.View{State: session.Backoff}}, 503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE"},
		{&session.UncertainError{Err: errors.New("late")}, 504, "GATEWAY_TIMEOUT", "GATEWAY_TIMEOUT"},
		{&session.RefusedError{Code: 406}, 409, "ACTION_REJECTED", "ACTION_REJECTED"},
		{tenant.ErrUnavailable, 503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE"},
	} {
		a.fleet.set(func(f *fleet) { f.sendErr = fmt.Errorf("doing: %w", tc.err) })
		for name, call := range calls {
			require.Equal(t, tc.status, call().problem(tc.status, tc.text, tc.code).status, name)
		}
	}
	require.Equal(t, http.StatusOK, a.get("/api/contacts").status, "local reads need no session")
}
