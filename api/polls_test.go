package api_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

func TestAPollIsCreatedAndVotedIn(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	var poll, got tenant.Message
	created := a.send("POST", "/api/chats/"+group+"/poll", `{"question":"Lunch?","options":["noon","one"],"multiple":true}`).is(201)
	created.into(&poll)
	require.Equal(t, tenant.TypePoll, poll.Type)
	require.Contains(t, string(created.body),
		`"poll":{"question":"Lunch?","options":[{"text":"noon","votes":0,"voters":[]},{"text":"one","votes":0,"voters":[]}],"multiple":true}`)
	votes := fmt.Sprintf("/api/chats/%s/messages/%s/votes", group, poll.ID)

	a.send("POST", votes, `{"options":["one","noon"]}`).is(200).into(&got)
	require.Equal(t, []tenant.ChatID{"5511988880000@c.us"}, got.Poll.Options[0].Voters)
	require.Equal(t, 1, got.Poll.Options[1].Votes)
	var chat tenant.Chat
	a.get("/api/chats/" + group).is(200).into(&chat)
	require.Equal(t, got.Poll, chat.LastMessage.Poll)
	a.send("POST", votes, `{"options":[]}`).is(200).into(&got)
	require.Zero(t, got.Poll.Options[0].Votes)
	events := string(a.get("/api/events?types=poll.vote").is(200).body)
	require.Contains(t, events, `"voterId":"5511988880000@c.us","options":["noon","one"]`)
	require.Contains(t, events, `"options":[]`)

	a.send("POST", votes, `{"options":["two"]}`).problem(422, "Validation error", "VALIDATION_ERROR")
	a.send("POST", "/api/chats/"+group+"/poll", `{"question":"Lunch?","options":["noon","one"]}`).is(201).into(&poll)
	require.False(t, poll.Poll.Multiple)
	votes = fmt.Sprintf("/api/chats/%s/messages/%s/votes", group, poll.ID)
	require.Contains(t, string(a.send("POST", votes, `{"options":["noon","one"]}`).problem(422, "Validation error", "VALIDATION_ERROR").body), "body.options")
	a.send("DELETE", strings.TrimSuffix(votes, "/votes"), nil).is(204)
	a.send("POST", votes, `{"options":["noon"]}`).problem(409, "MESSAGE_DELETED", "MESSAGE_DELETED")
	a.receive(ana, "M1", "hello")
	a.send("POST", "/api/chats/"+ana+"/messages/M1/votes", `{"options":[]}`).problem(422, "Validation error", "NOT_A_POLL")
	a.send("POST", "/api/chats/"+ana+"/messages/M2/votes", `{"options":[]}`).problem(404, "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND")
}

func TestWhatIsNoPollIsSaid(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	good := `{"question":"Lunch?","options":["noon","one"]}`
	for _, direct := range []string{ana, "104857600000001@lid", strings.Replace(ana, "c.us", "s.whatsapp.net", 1)} {
		a.send("POST", "/api/chats/"+direct+"/poll", good).problem(400, "NOT_A_GROUP", "NOT_A_GROUP")
		a.send("POST", "/api/chats/"+direct+"/poll", `{"question":"","options":["noon","one"]}`).problem(422, "Validation error", "VALIDATION_ERROR")
	}
	options := func(n int, text string) string { return strings.TrimSuffix(strings.Repeat(`"`+text+`",`, n), ",") }
	var many []string
	for i := range 13 {
		many = append(many, strconv.Quote("option "+strconv.Itoa(i)))
	}
	long := strings.Repeat("é", 101)
	for name, body := range map[string]string{
		"no question":      `{"options":["noon","one"]}`,
		"blank question":   `{"question":" ","options":["noon","one"]}`,
		"long question":    `{"question":"` + strings.Repeat("é", 256) + `","options":["noon","one"]}`,
		"no options":       `{"question":"Lunch?"}`,
		"one option":       `{"question":"Lunch?","options":["noon"]}`,
		"the same options": `{"question":"Lunch?","options":[` + options(2, "noon") + `]}`,
		"nearly the same":  `{"question":"Lunch?","options":["noon","noon "]}`,
		"an empty option":  `{"question":"Lunch?","options":["noon",""]}`,
		"a blank option":   `{"question":"Lunch?","options":["noon","  "]}`,
		"U+0000":           `{"question":"Lunch?","options":["noon","o\u0000ne"]}`,
		"a long option":    `{"question":"Lunch?","options":["noon","` + long + `"]}`,
		"thirteen options": `{"question":"Lunch?","options":[` + strings.Join(many, ",") + `]}`,
		"null":             `{"question":"Lunch?","options":null}`,
	} {
		t.Log(name)
		a.send("POST", "/api/chats/"+group+"/poll", body).problem(422, "Validation error", "VALIDATION_ERROR")
	}
	longest := `{"question":"` + strings.Repeat("é", 255) + `","options":["noon","` + long[:200] + `"]}`
	a.send("POST", "/api/chats/"+group+"/poll", longest).is(201)
	for _, body := range []string{`{}`, `{"options":null}`, `{"options":"noon"}`, `{"options":[1]}`} {
		a.send("POST", "/api/chats/"+group+"/messages/M1/votes", body).problem(422, "Validation error", "VALIDATION_ERROR")
	}

	for _, tc := range []struct {
		err        error
		status     int
		text, code string
	}{
		{&session.OfflineError{View: session.View{State: session.Backoff}}, 503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE"},
		{tenant.ErrChatNotFound, 404, "Chat not found", "CHAT_NOT_FOUND"},
		{&session.UnansweredError{Err: errors.New("late")}, 504, "GATEWAY_TIMEOUT", "GATEWAY_TIMEOUT"},
		{&session.RejectedError{Code: 420}, 409, "MESSAGE_REJECTED", "MESSAGE_REJECTED"},
	} {
		a.fleet.set(func(f *fleet) { f.sendErr = tc.err })
		a.send("POST", "/api/chats/"+group+"/poll", good).problem(tc.status, tc.text, tc.code)
	}
}
