package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

const aCard = "BEGIN:VCARD\nVERSION:3.0\nFN:João\nTEL;waid=5511999990003:+5511999990003\nEND:VCARD"

func TestPlacesAndContactCardsAreSent(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	path := "/api/chats/" + ana + "/messages"
	a.receive(ana, "IN1", "hello")

	var got tenant.Message
	a.send("POST", path, `{"location":{"latitude":-23.561414,"longitude":0,"name":"MASP","address":"Av. Paulista"},"replyTo":"IN1"}`).is(201).into(&got)
	require.Equal(t, tenant.TypeLocation, got.Type)
	require.Equal(t, &tenant.Location{Latitude: -23.561414, Name: "MASP", Address: "Av. Paulista"}, got.Location)
	require.Equal(t, tenant.MessageID("IN1"), got.ReplyTo)
	require.False(t, got.Forwarded)

	a.send("POST", path, `{"contact":{"name":"João","phone":"+5511999990003"},"forwarded":true}`).is(201).into(&got)
	require.Equal(t, []string{"5511999990003"}, got.Contacts[0].Phones)
	require.True(t, got.Forwarded)
	card, err := json.Marshal(aCard)
	require.NoError(t, err)
	a.send("POST", path, `{"contact":{"name":"João","vcard":`+string(card)+`}}`).is(201).into(&got)
	require.Equal(t, aCard, got.Contacts[0].VCard)

	a.send("POST", path, `{"message":"hi","forwarded":true}`).is(201)
	for _, value := range []string{"true", "false"} {
		a.upload(field{"file", "a.pdf", "application/pdf", "x"}, field{"forwarded", "", "", value}).is(201)
		a.fleet.mu.Lock()
		require.Equal(t, value == "true", a.fleet.got.Forwarded)
		a.fleet.mu.Unlock()
	}
	a.upload(field{"file", "a.pdf", "application/pdf", "x"}, field{"forwarded", "", "", "yes"}).problem(422, "Validation error", "VALIDATION_ERROR")
}

func TestABodyHasOneContent(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	long := strings.Repeat("x", 65537)
	card, err := json.Marshal(aCard)
	require.NoError(t, err)
	for body, fields := range map[string][]string{
		`{}`:                 {"body"},
		`{"forwarded":true}`: {"body"},
		`{"message":""}`:     {"body.message"},
		`{"message":null}`:   {"body"}, // absent
		`{"message":"x","location":{"latitude":1,"longitude":1}}`:                     {"body.location", "body.message"},
		`{"message":"x","contact":{"name":"x","phone":"5511999990003"}}`:              {"body.contact", "body.message"},
		`{"location":{"latitude":1,"longitude":1},"mentions":["5511999990001@c.us"]}`: {"body.mentions"},
		`{"location":{"latitude":90.1,"longitude":1}}`:                                {"body.location.latitude"},
		`{"location":{"latitude":1,"longitude":-180.5}}`:                              {"body.location.longitude"},
		`{"location":{"latitude":1}}`:                                                 {"body.location"},
		`{"location":{"latitude":"1","longitude":1}}`:                                 {"body.location.latitude"},
		`{"location":{"latitude":1,"longitude":1,"name":"a\u0000"}}`:                  {"body.location.name"},
		`{"location":{"latitude":1,"longitude":1,"address":"` + long + `"}}`:          {"body.location.address"},
		`{"location":{"latitude":1,"longitude":1,"live":true}}`:                       {"body.location.live"},
		`{"location":{"latitude":1e999,"longitude":1}}`:                               nil,
		`{"location":null}`:                                {"body"},
		`{"contact":{"name":"x"}}`:                         {"body.contact"},
		`{"contact":{"phone":"5511999990003"}}`:            {"body.contact"},
		`{"contact":{"name":" ","phone":"5511999990003"}}`: {"body.contact.name"},
		`{"contact":{"name":"x","phone":"5511999990003","vcard":` + string(card) + `}}`:              {"body.contact"},
		`{"contact":{"name":"x","phone":"11 99999-0003"}}`:                                           {"body.contact.phone"},
		`{"contact":{"name":"x","vcard":"hello"}}`:                                                   {"body.contact.vcard"},
		`{"contact":{"name":"x","vcard":"BEGIN:VCARD\u0000END:VCARD"}}`:                              {"body.contact.vcard"},
		`{"contact":{"name":"x","vcard":"BEGIN:VCARD` + strings.Repeat("é", 40_000) + `END:VCARD"}}`: {"body.contact.vcard"},
		`{"message":"x","forwarded":"true"}`:                                                         {"body.forwarded"},
	} {
		got := a.send("POST", "/api/chats/"+ana+"/messages", body)
		shown := body[:min(len(body), 100)]
		if fields == nil {
			require.Contains(t, []int{400, 422}, got.status, shown)
			continue
		}
		got.problem(422, "Validation error", "VALIDATION_ERROR")
		var problem struct {
			Errors []struct{ Location, Message string }
		}
		got.into(&problem)
		var named []string
		for _, e := range problem.Errors {
			if e.Location == "body" && len(fields) == 1 && fields[0] != "body" {
				continue // what is not valid is not counted
			}
			named = append(named, e.Location)
		}
		require.ElementsMatch(t, fields, named, "%s: %s", shown, got.body)
	}
	a.send("POST", "/api/chats/"+ana+"/messages", `{"message":""}`).is(422)
	a.get("/api/chats").is(200)
	require.Zero(t, a.fleet.sent.Load(), "nothing was sent")
}

func TestAMessageIsForwarded(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	a.receive(ana, "IN1", "hello")
	path := "/api/chats/" + ana + "/messages/IN1/forward"
	var got tenant.Message
	a.send("POST", path, map[string]string{"to": strings.Replace(bia, "c.us", "s.whatsapp.net", 1)}).is(201).into(&got)
	require.Equal(t, bia, string(got.ChatID))
	require.Equal(t, "hello", got.Text)
	require.True(t, got.Forwarded)
	require.Equal(t, 1, got.ForwardScore)

	for _, body := range []string{`{}`, `{"to":"x"}`, `{"to":"5511@c.us","x":1}`, `{"to":null}`} {
		a.send("POST", path, body).problem(422, "Validation error", "VALIDATION_ERROR")
	}
	to := map[string]string{"to": bia}
	a.send("POST", "/api/chats/"+ana+"/messages/NONE/forward", to).problem(404, "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND")
	a.send("POST", "/api/chats/5511999990009@c.us/messages/IN1/forward", to).problem(404, "Chat not found", "CHAT_NOT_FOUND")
	_, err := a.handle.Commit(t.Context(), tenant.PutMessage{Message: tenant.Message{
		ID: "ODD", ChatID: ana, SenderID: ana, Type: tenant.TypeUnsupported, Status: tenant.StatusReceived,
	}}, tenant.RevokeMessage{ChatID: ana, ID: "IN1", SenderID: ana, By: ana, At: time.Now()})
	require.NoError(t, err)
	a.send("POST", "/api/chats/"+ana+"/messages/ODD/forward", to).problem(422, "Validation error", "NOT_FORWARDABLE")
	a.send("POST", path, to).problem(409, "MESSAGE_DELETED", "MESSAGE_DELETED")
	a.receive(ana, "IN2", "hello")
	for text, err := range map[string]error{
		"SERVICE_UNAVAILABLE": &session.OfflineError{View: session.View{State: session.Backoff}},
		"GATEWAY_TIMEOUT":     &session.UnansweredError{Message: tenant.Message{ID: "M"}, Err: errors.New("late")},
	} {
		a.fleet.set(func(f *fleet) { f.sendErr = err })
		require.Contains(t, string(a.send("POST", "/api/chats/"+ana+"/messages/IN2/forward", to).body), text)
	}
}

func TestFilesOfAChatAreListed(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	a.receive(ana, "T", "a text")
	for i := range 5 {
		kind := tenant.TypeImage
		if i == 2 {
			kind = tenant.TypeVoice
		}
		_, err := a.handle.Commit(t.Context(), tenant.PutMessage{Message: tenant.Message{
			ID: tenant.MessageID(fmt.Sprintf("F%d", i)), ChatID: ana, SenderID: ana, Type: kind, Status: tenant.StatusReceived,
			Timestamp: time.Unix(int64(i), 0), Media: &tenant.Media{MimeType: "image/jpeg"},
		}})
		require.NoError(t, err)
	}
	ids := func(query string) (ids []tenant.MessageID, next string) {
		var list struct {
			Messages   []tenant.Message
			NextCursor string
		}
		a.get("/api/chats/" + ana + "/media" + query).is(http.StatusOK).into(&list)
		for _, m := range list.Messages {
			require.NotEmpty(t, m.Media.URL)
			ids = append(ids, m.ID)
		}
		return ids, list.NextCursor
	}
	all, next := ids("")
	require.Equal(t, []tenant.MessageID{"F4", "F3", "F2", "F1", "F0"}, all)
	require.Empty(t, next)
	some, next := ids("?limit=3&type=image")
	require.Equal(t, []tenant.MessageID{"F4", "F3", "F1"}, some)
	some, next = ids("?limit=3&type=image&cursor=" + next)
	require.Equal(t, []tenant.MessageID{"F0"}, some)
	require.Empty(t, next)
	require.JSONEq(t, `{"messages":[]}`, string(a.get("/api/chats/"+ana+"/media?type=sticker").is(200).body))
	for _, query := range []string{"?type=text", "?limit=0", "?limit=1001", "?cursor=x", "?nope=1"} {
		a.get("/api/chats/"+ana+"/media"+query).problem(422, "Validation error", "VALIDATION_ERROR")
	}
	a.get("/api/chats/"+bia+"/media").problem(404, "Chat not found", "CHAT_NOT_FOUND")
}
