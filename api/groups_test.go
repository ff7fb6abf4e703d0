package api_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

func members(ids ...string) map[string][]string { return map[string][]string{"participants": ids} }

// statuses are the words of an answer's results.
func (a *answer) statuses() (words []string) {
	a.t.Helper()
	var got struct{ Results []tenant.ParticipantResult }
	a.into(&got)
	for _, r := range got.Results {
		words = append(words, string(r.ID)+" "+r.Status)
	}
	return words
}

func TestAGroupIsMadeAndChanged(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	path := "/api/chats/" + group
	made := a.send("POST", "/api/groups/create", map[string]any{"name": "Family", "participants": []string{ana}}).is(201)
	require.Equal(t, []string{ana + " added"}, made.statuses())
	var chat tenant.Chat
	made.into(&chat)
	require.Equal(t, tenant.ChatGroup, chat.Type)
	require.Equal(t, 2, *chat.ParticipantCount)
	require.True(t, *chat.IsAdmin)

	other := strings.Replace(bia, "c.us", "s.whatsapp.net", 1)
	require.Equal(t, []string{bia + " added"}, a.send("POST", path+"/participants", members(other)).is(200).statuses())
	require.Equal(t, []string{bia + " promoted"}, a.send("POST", path+"/participants/promote", members(bia)).is(200).statuses())
	var list struct{ Participants []tenant.Participant }
	a.get(path + "/participants").is(200).into(&list)
	require.Equal(t, []tenant.Participant{
		{ID: ownID, Phone: ownID.Phone(), Role: tenant.RoleSuperAdmin},
		{ID: bia, Phone: "5511999990002", Role: tenant.RoleAdmin},
		{ID: ana, Phone: "5511999990001", Role: tenant.RoleMember},
	}, list.Participants)
	require.Equal(t, []string{bia + " demoted"}, a.send("POST", path+"/participants/demote", members(bia)).is(200).statuses())
	require.Equal(t, []string{bia + " removed"}, a.send("DELETE", path+"/participants", members(bia)).is(200).statuses())
	removed := a.send("DELETE", path+"/participants?participants="+ana+"&participants="+bia, nil).is(200)
	require.Equal(t, []string{ana + " removed", bia + " removed"}, removed.statuses())
	a.get(path + "/participants").is(200).into(&list)
	require.Len(t, list.Participants, 1)

	a.send("PATCH", path+"/name", `{"name":"Clan"}`).is(200).into(&chat)
	require.Equal(t, "Clan", chat.Name)
	a.send("PATCH", path+"/description", `{"description":"All of us"}`).is(200).into(&chat)
	require.Equal(t, "All of us", chat.Description)
	a.send("PATCH", path+"/description", `{"description":""}`).is(200)
	var settings tenant.GroupSettings
	a.send("PATCH", path+"/settings", `{"announce":true,"memberAdd":"admins"}`).is(200)
	a.get(path + "/settings").is(200).into(&settings)
	require.Equal(t, tenant.GroupSettings{Announce: true, MemberAdd: tenant.MemberAddAdmins}, settings)

	var invite, fresh struct{ Link, Code string }
	a.get(path + "/invite").is(200).into(&invite)
	require.Equal(t, "https://chat.whatsapp.com/"+invite.Code, invite.Link)
	a.send("POST", path+"/invite/reset", nil).is(200).into(&fresh)
	require.NotEqual(t, invite.Code, fresh.Code)
	var asked struct{ Requests []tenant.JoinRequest }
	a.get(path + "/join-requests").is(200).into(&asked)
	require.Len(t, asked.Requests, 1)
	require.Equal(t, []string{ana + " approved"}, a.send("POST", path+"/join-requests/approve", members(ana)).is(200).statuses())
	require.Equal(t, []string{ana + " rejected"}, a.send("POST", path+"/join-requests/reject", members(ana)).is(200).statuses())

	require.Empty(t, a.send("POST", path+"/leave", nil).is(204).body)
	a.get(path).is(200).into(&chat)
	require.False(t, *chat.IsAdmin)
	a.receive(ana, "M1", "hello")
	require.NotContains(t, string(a.get("/api/chats/"+ana).is(200).body), "isAdmin", "what only groups have")
}

func TestAGroupIsJoined(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	join := func(invite string) *answer {
		return a.send("POST", "/api/groups/join", map[string]string{"invite": invite})
	}
	require.JSONEq(t, `{"id":"`+group+`","name":"Family","status":"pending"}`, string(join("PENDINGCODE").is(202).body))
	join("UNKNOWNCODE").problem(404, "INVITE_NOT_FOUND", "INVITE_NOT_FOUND")
	join("https://chat.whatsapp.com/invite/REVOKEDCODE?mode=x").problem(410, "INVITE_REVOKED", "INVITE_REVOKED")
	var chat tenant.Chat
	join("chat.whatsapp.com/GOODCODE/").is(201).into(&chat)
	require.Equal(t, tenant.ChatID(group), chat.ID)
	join("https://chat.whatsapp.com/GOODCODE").is(200)
	for _, bad := range []string{"https://example.org/GOODCODE", "short", "https://chat.whatsapp.com/", "GOOD CODE!", ""} {
		join(bad).problem(422, "Validation error", "VALIDATION_ERROR")
	}
}

func TestAGroupsPicture(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	a.send("POST", "/api/groups/create", map[string]any{"name": "Family", "participants": []string{}}).is(201)
	path := "/api/chats/" + group + "/picture"
	var photo bytes.Buffer
	require.NoError(t, jpeg.Encode(&photo, image.NewGray(image.Rect(0, 0, 64, 64)), nil))
	put := func(field string, data []byte) *answer {
		body, media := pictureForm(t, field, "a.jpg", data)
		return a.send("PUT", path, body, "Content-Type", media)
	}
	var made struct{ PictureID string }
	put("file", photo.Bytes()).is(200).into(&made)
	g, err := a.handle.Group(t.Context(), group)
	require.NoError(t, err)
	require.NotEmpty(t, g.PictureID)
	require.Equal(t, g.PictureID, made.PictureID)
	put("file", []byte("GIF89a")).problem(422, "Validation error", "VALIDATION_ERROR")
	put("file", nil).problem(422, "Validation error", "VALIDATION_ERROR")
	put("picture", photo.Bytes()).problem(422, "Validation error", "VALIDATION_ERROR")
	put("file", append(photo.Bytes(), make([]byte, 8<<20)...)).problem(413, "PAYLOAD_TOO_LARGE", "PAYLOAD_TOO_LARGE")
	a.send("PUT", path, "{}").problem(415, "UNSUPPORTED_MEDIA_TYPE", "UNSUPPORTED_MEDIA_TYPE")
	a.send("PUT", path, "nonsense", "Content-Type", "multipart/form-data; boundary=x").problem(400, "BAD_REQUEST", "BAD_REQUEST")
	a.send("DELETE", path, nil).is(204)
	a.get(path).problem(404, "PICTURE_NOT_FOUND", "PICTURE_NOT_FOUND")
	require.EqualValues(t, group, a.fleet.people.asked.Of)
	a.get("/api/chats/5511000000000@c.us/picture").problem(404, "Chat not found", "CHAT_NOT_FOUND")
	g, err = a.handle.Group(t.Context(), group)
	require.NoError(t, err)
	require.Empty(t, g.PictureID)
}

// groupCalls are calls of all operations on a group.
func groupCalls(t *testing.T, a *account, chat string) map[string]func() *answer {
	t.Helper()
	path := "/api/chats/" + chat
	var photo bytes.Buffer
	require.NoError(t, jpeg.Encode(&photo, image.NewGray(image.Rect(0, 0, 64, 64)), nil))
	body, media := pictureForm(t, "file", "a.jpg", photo.Bytes())
	calls := map[string]func() *answer{
		"picture": func() *answer { return a.send("PUT", path+"/picture", body, "Content-Type", media) },
	}
	for name, body := range map[string]any{
		"GET /participants": nil, "GET /settings": nil, "GET /invite": nil, "GET /join-requests": nil, "DELETE /picture": nil, "POST /leave": nil,
		"POST /invite/reset": nil, "POST /participants": members(ana), "DELETE /participants": members(ana), "POST /participants/promote": members(ana),
		"POST /participants/demote": members(ana), "POST /join-requests/approve": members(ana), "POST /join-requests/reject": members(ana),
		"PATCH /name": `{"name":"x"}`, "PATCH /description": `{"description":"x"}`, "PATCH /settings": `{"locked":true}`,
	} {
		method, rest, _ := strings.Cut(name, " ")
		calls[name] = func() *answer { return a.send(method, path+rest, body) }
	}
	return calls
}

func TestWhatCannotBeDoneToAGroupIsSaid(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	a.receive(ana, "M1", "hello")
	for _, call := range groupCalls(t, a, ana) {
		call().problem(400, "NOT_A_GROUP", "NOT_A_GROUP")
	}
	a.fleet.set(func(f *fleet) { f.sendErr = &session.OfflineError{View: session.View{State: session.Backoff}} })
	for _, call := range groupCalls(t, a, group) {
		call().problem(404, "Chat not found", "CHAT_NOT_FOUND")
	}
	a.fleet.set(func(f *fleet) { f.sendErr = nil })
	a.send("POST", "/api/groups/create", map[string]any{"name": "Family", "participants": []string{ana}}).is(201)
	for _, tc := range []struct {
		err        error
		status     int
		text, code string
		detail     string
	}{
		{&session.OfflineError{View: session.View{State: session.Backoff}}, 503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE", ""},
		{session.ErrNotMember, 403, "FORBIDDEN", "FORBIDDEN", "not a member"},
		{session.ErrNotAdmin, 403, "FORBIDDEN", "FORBIDDEN", "admins"},
		{&session.RefusedError{Code: 419}, 409, "ACTION_REJECTED", "ACTION_REJECTED", "419"},
		{&session.UncertainError{Err: errors.New("late")}, 504, "GATEWAY_TIMEOUT", "GATEWAY_TIMEOUT", "Ask again"},
		{&session.PartialError{Done: "Already changed: announce.", Err: &session.UncertainError{Err: errors.New("late")}}, 504, "GATEWAY_TIMEOUT", "GATEWAY_TIMEOUT", "Already changed"},
	} {
		a.fleet.set(func(f *fleet) { f.sendErr = fmt.Errorf("acting: %w", tc.err) })
		for name, call := range groupCalls(t, a, group) {
			require.Contains(t, string(call().problem(tc.status, tc.text, tc.code).body), tc.detail, name)
		}
		if tc.status != 403 {
			a.send("POST", "/api/groups/create", `{"name":"x","participants":[]}`).problem(tc.status, tc.text, tc.code)
		}
	}
	a.fleet.set(func(f *fleet) { f.sendErr = session.ErrAnnounceOnly })
	a.send("POST", "/api/chats/"+group+"/messages", `{"message":"x"}`).problem(403, "FORBIDDEN", "FORBIDDEN")
	a.fleet.set(func(f *fleet) {
		f.sendErr = &session.RejectedError{Code: 403, Message: tenant.Message{ID: "GONE", ChatID: group}}
	})
	refused := a.send("POST", "/api/chats/"+group+"/messages", `{"message":"x"}`).problem(403, "FORBIDDEN", "FORBIDDEN")
	require.Contains(t, string(refused.body), `"messageStatus":"failed"`)
	a.fleet.set(func(f *fleet) { f.sendErr = nil })
	path := "/api/chats/" + group
	for call, body := range map[string]any{
		"POST /participants": members(), "POST /participants/promote": members(group), "DELETE /participants": `{"participants":["x"]}`,
		"PATCH /name": `{"name":" "}`, "PATCH /description": `{"description":"` + strings.Repeat("x", 2049) + `"}`, "PATCH /settings": `{}`,
		"POST /participants/demote": members(make([]string, 1025)...), "DELETE /participants?participants=" + ana: members(ana), "DELETE /participants?": nil,
	} {
		method, rest, _ := strings.Cut(call, " ")
		a.send(method, path+rest, body).problem(422, "Validation error", "VALIDATION_ERROR")
	}
	a.send("PATCH", path+"/name", `{"name":"`+strings.Repeat("é", 101)+`"}`).problem(422, "Validation error", "VALIDATION_ERROR")
	a.send("PATCH", path+"/name", `{"name":"`+strings.Repeat("é", 100)+`"}`).is(200)
}
