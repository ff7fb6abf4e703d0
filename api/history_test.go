package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

func TestFetchesHistory(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	path := "/api/whatsapp/messages/" + ana
	a.get(path).problem(404, "Chat not found", "CHAT_NOT_FOUND")
	for i := range 3 {
		a.receive(ana, fmt.Sprint("M", i), fmt.Sprint("text ", i))
	}
	var got struct{ Messages []tenant.Message }
	a.get(path + "?limit=2").is(200).into(&got)
	require.Len(t, got.Messages, 2)
	require.Equal(t, "text 2", got.Messages[0].Text)
	for _, query := range []string{"?limit=0", "?limit=501", "?limit=x", "?limit=-1", "?nope=1"} {
		a.get(path+query).problem(422, "Validation error", "VALIDATION_ERROR")
	}
	a.get("/api/whatsapp/messages/nonsense").problem(422, "Validation error", "VALIDATION_ERROR")
	a.get(path + "?limit=500").is(200)
	a.call("GET", path, nil).problem(401, "Missing API key", "MISSING_API_KEY")
}

func TestAHistoryThatEndsEarlySaysWhatHasCome(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	offline := &session.OfflineError{View: session.View{State: session.Backoff}}
	for _, tc := range []struct {
		err        error
		status     int
		text, code string
	}{
		{offline, 503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE"},
		{session.ErrPhoneSilent, 504, "PHONE_SILENT", "PHONE_SILENT"},
		{fmt.Errorf("%w: HTTP 404", session.ErrTransfer), 502, "MEDIA_TRANSFER_FAILED", "MEDIA_TRANSFER_FAILED"},
		{&session.UncertainError{Err: errors.New("no ack")}, 504, "GATEWAY_TIMEOUT", "GATEWAY_TIMEOUT"},
		{&session.RefusedError{Code: 479}, 409, "ACTION_REJECTED", "ACTION_REJECTED"},
		{tenant.ErrUnavailable, 503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE"},
		{session.ErrPanicked, 500, "INTERNAL_ERROR", "INTERNAL_ERROR"},
	} {
		for _, received := range []int{0, 50} {
			a.fleet.set(func(f *fleet) { f.sendErr = &session.HistoryError{Received: received, Err: tc.err} })
			got := a.get("/api/whatsapp/messages/"+ana).problem(tc.status, tc.text, tc.code)
			var p struct {
				Received *int
				Detail   string
			}
			got.into(&p)
			require.NotNil(t, p.Received, "%s", got.body)
			require.Equal(t, received, *p.Received)
			require.Contains(t, p.Detail, fmt.Sprintf("by then: %d;", received))
			require.NotContains(t, p.Detail, "may have done")
		}
	}
	a.fleet.set(func(f *fleet) { f.sendErr = offline })
	require.NotContains(t, string(a.get("/api/whatsapp/messages/"+ana).problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE").body), "received")
}

func TestProgressOfAHistoryIsLiveOnly(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	s := a.dial("/ws", nil)
	require.Equal(t, "hello", s.next().Type)
	data, err := json.Marshal(tenant.HistoryProgress{ChatID: ana, Received: 50, Limit: 100})
	require.NoError(t, err)
	a.fleet.live <- tenant.Event{Type: tenant.EventHistoryProgress, Timestamp: time.Now(), Data: data}
	got := s.next()
	require.Equal(t, "history.progress", got.Type)
	require.Zero(t, got.Seq)
	require.JSONEq(t, `{"chatId":"`+ana+`","received":50,"limit":100,"done":false}`, string(got.Data))
}
