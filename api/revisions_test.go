package api_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

func TestAMessageIsEditedReactedToAndDeleted(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	var sent, got tenant.Message
	a.send("POST", "/api/chats/"+ana+"/messages", map[string]string{"message": "first"}).is(201).into(&sent)
	path := fmt.Sprintf("/api/chats/%s/messages/%s", ana, sent.ID)

	a.send("PATCH", path, map[string]string{"message": "second"}).is(200).into(&got)
	require.Equal(t, "second", got.Text)
	require.NotNil(t, got.EditedAt)
	a.send("PUT", path+"/reactions", map[string]string{"emoji": "👍"}).is(200).into(&got)
	require.Len(t, got.Reactions, 1)
	require.Equal(t, "👍", got.Reactions[0].Emoji)
	require.Empty(t, a.send("DELETE", path+"/reactions", nil).is(204).body)
	require.Empty(t, a.send("DELETE", path, nil).is(204).body)
	a.send("DELETE", path, nil).is(204)

	var list struct{ Messages []tenant.Message }
	a.get("/api/chats/" + ana + "/messages").is(200).into(&list)
	require.Len(t, list.Messages, 1)
	require.NotNil(t, list.Messages[0].DeletedAt)
	require.Empty(t, list.Messages[0].Text)
	require.Empty(t, list.Messages[0].Reactions)
}

func TestTheSenderPicksAMessage(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	for _, sender := range []tenant.ChatID{ana, bia} {
		_, err := a.handle.Commit(t.Context(), tenant.PutMessage{Message: tenant.Message{
			ID: "SAME", ChatID: group, SenderID: sender, Type: tenant.TypeText, Text: string(sender), Status: tenant.StatusReceived,
		}})
		require.NoError(t, err)
	}
	var got tenant.Message
	for _, sender := range []string{ana, bia, strings.Replace(ana, "c.us", "s.whatsapp.net", 1)} {
		a.send("PUT", "/api/chats/"+group+"/messages/SAME/reactions?sender="+sender, map[string]string{"emoji": "👍"}).is(200).into(&got)
		require.Equal(t, strings.Replace(sender, "s.whatsapp.net", "c.us", 1), string(got.SenderID))
	}
	a.send("DELETE", "/api/chats/"+group+"/messages/SAME?sender=5511999990009@c.us", nil).problem(404, "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND")
	a.send("DELETE", "/api/chats/"+group+"/messages/SAME?sender="+group, nil).problem(422, "Validation error", "VALIDATION_ERROR")
}

func TestWhatCannotBeDoneToAMessageIsSaid(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	a.receive(ana, "M1", "hello")
	message, reactions := "/api/chats/"+ana+"/messages/M1", "/api/chats/"+ana+"/messages/M1/reactions"
	edit, react := map[string]string{"message": "x"}, map[string]string{"emoji": "👍"}
	calls := map[string]func() *answer{
		"edit":    func() *answer { return a.send("PATCH", message, edit) },
		"delete":  func() *answer { return a.send("DELETE", message, nil) },
		"react":   func() *answer { return a.send("PUT", reactions, react) },
		"unreact": func() *answer { return a.send("DELETE", reactions, nil) },
	}
	for _, tc := range []struct {
		err        error
		status     int
		text, code string
		only       string
		detail     string
	}{
		{err: tenant.ErrChatNotFound, status: 404, text: "Chat not found", code: "CHAT_NOT_FOUND"},
		{err: tenant.ErrMessageNotFound, status: 404, text: "MESSAGE_NOT_FOUND", code: "MESSAGE_NOT_FOUND"},
		{err: &session.OfflineError{View: session.View{State: session.Backoff}}, status: 503, text: "SERVICE_UNAVAILABLE", code: "SERVICE_UNAVAILABLE"},
		{err: session.ErrForbidden, status: 403, text: "FORBIDDEN", code: "FORBIDDEN", only: "edit delete"},
		{err: session.ErrDeleted, status: 409, text: "MESSAGE_DELETED", code: "MESSAGE_DELETED", only: "edit react unreact"},
		{err: session.ErrNotText, status: 422, text: "Validation error", code: "NOT_A_TEXT", only: "edit"},
		{err: session.ErrEditWindow, status: 409, text: "EDIT_WINDOW_CLOSED", code: "EDIT_WINDOW_CLOSED", only: "edit"},
		{err: &session.UncertainError{Err: errors.New("late")}, status: 504, text: "GATEWAY_TIMEOUT", code: "GATEWAY_TIMEOUT", detail: "Ask again"},
		{err: &session.RefusedError{Code: 479}, status: 409, text: "ACTION_REJECTED", code: "ACTION_REJECTED", detail: "479"},
	} {
		a.fleet.set(func(f *fleet) { f.sendErr = fmt.Errorf("acting: %w", tc.err) })
		for name, call := range calls {
			if tc.only == "" || strings.Contains(" "+tc.only+" ", " "+name+" ") {
				got := call().problem(tc.status, tc.text, tc.code)
				require.Contains(t, string(got.body), tc.detail, name)
			}
		}
	}
	a.fleet.set(func(f *fleet) { f.sendErr = nil })
	for _, emoji := range []string{"abc", "é", "👍 👍", "1\u0000"} {
		a.send("PUT", reactions, map[string]string{"emoji": emoji}).problem(422, "Validation error", "VALIDATION_ERROR")
	}
	for _, emoji := range []string{"❤️", "1️⃣", "🇧🇷", "👨‍👩‍👧", "🤦🏽‍♂️"} {
		a.send("PUT", reactions, map[string]string{"emoji": emoji}).is(200)
	}
	for path, body := range map[string]string{
		message: `{"message":""}`, reactions: `{"emoji":""}`, message + "?nope=1": `{"message":"x"}`,
		"/api/chats/" + ana + "/messages/" + strings.Repeat("A", 129): `{"message":"x"}`, "/api/chats/nonsense/messages/M1": `{"message":"x"}`,
	} {
		method := "PATCH"
		if strings.Contains(path, "/reactions") {
			method = "PUT"
		}
		a.send(method, path, body).problem(422, "Validation error", "VALIDATION_ERROR")
	}
}

func TestAChatIsReadAndTypedIn(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	a.receive(ana, "M1", "hello")
	var chat tenant.Chat
	a.get("/api/chats/" + ana).is(200).into(&chat)
	require.Equal(t, 1, chat.UnreadCount)
	require.Empty(t, a.send("POST", "/api/chats/"+ana+"/read", nil).is(204).body)
	a.get("/api/chats/" + ana).is(200).into(&chat)
	require.Zero(t, chat.UnreadCount)
	typing := "/api/chats/" + ana + "/typing"
	for _, state := range []string{"composing", "recording", "paused"} {
		require.Empty(t, a.send("POST", typing, map[string]string{"state": state}).is(204).body)
	}
	a.send("POST", typing, map[string]string{"state": "dancing"}).problem(422, "Validation error", "VALIDATION_ERROR")
	a.send("POST", "/api/chats/"+bia+"/read", nil).problem(404, "Chat not found", "CHAT_NOT_FOUND")
	a.send("POST", "/api/chats/"+bia+"/typing", `{"state":"paused"}`).problem(404, "Chat not found", "CHAT_NOT_FOUND")
	for _, path := range []string{"/api/chats/" + ana + "/read", typing} {
		a.fleet.set(func(f *fleet) { f.sendErr = &session.OfflineError{View: session.View{State: session.Backoff}} })
		a.send("POST", path, `{"state":"paused"}`).problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
		a.fleet.set(func(f *fleet) { f.sendErr = &session.UncertainError{Err: errors.New("late")} })
		a.send("POST", path, `{"state":"paused"}`).problem(504, "GATEWAY_TIMEOUT", "GATEWAY_TIMEOUT")
	}
}

func TestTypingIsLiveOnly(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	s := a.dial("/ws", nil)
	require.Equal(t, "hello", s.next().Type)
	typing := func(at time.Time) tenant.Event {
		return tenant.Event{Type: tenant.EventTyping, Timestamp: at, Data: []byte(`{"chatId":"` + ana + `","senderId":"` + ana + `","state":"composing"}`)}
	}
	a.fleet.live <- typing(time.Now().Add(-time.Minute)) // too old to be told
	a.fleet.live <- typing(time.Now())
	f := s.next()
	require.Equal(t, "typing", f.Type)
	require.Zero(t, f.Seq)
	require.WithinDuration(t, time.Now(), f.Timestamp, patience)
	require.JSONEq(t, `{"chatId":"`+ana+`","senderId":"`+ana+`","state":"composing"}`, string(f.Data))
	a.receive(ana, "M1", "hello")
	s.event(1)
}
