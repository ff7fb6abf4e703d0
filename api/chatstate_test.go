package api_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

func TestChatsAreArchivedPinnedAndMuted(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	a.receive(ana, "A", "hello")
	path := "/api/chats/" + ana
	patch := func(body string) *answer { return a.send(http.MethodPatch, path, body) }
	var chat tenant.Chat
	patch(`{"archived":true}`).is(200).into(&chat)
	require.True(t, chat.Archived)
	patch(`{"archived":false,"pinned":true,"mutedUntil":"2099-01-01T00:00:00+02:00"}`).is(200).into(&chat)
	require.False(t, chat.Archived)
	require.True(t, chat.Pinned)
	require.Equal(t, time.Date(2098, 12, 31, 22, 0, 0, 0, time.UTC), *chat.MutedUntil)
	unmuted := patch(`{"mutedUntil":null}`).is(200)
	require.NotContains(t, string(unmuted.body), "mutedUntil")
	unmuted.into(&chat)
	require.True(t, chat.Pinned, "what is absent stays")

	for _, body := range []string{
		`{}`, `{"mutedUntil":"2020-01-01T00:00:00Z"}`, `{"mutedUntil":"tomorrow"}`, `{"mutedUntil":1}`, `{"archived":null}`, `{"archived":"yes"}`,
		`{"archived":true,"pinned":true}`, `{"pinned":1}`, `{"muted":true}`, `[]`, `null`,
	} {
		patch(body).problem(422, "Validation error", "VALIDATION_ERROR")
	}
	require.Contains(t, string(patch(`{"mutedUntil":"2020-01-01T00:00:00Z"}`).body), "body.mutedUntil")
	a.send(http.MethodPatch, "/api/chats/"+bia, `{"archived":true}`).problem(404, "Chat not found", "CHAT_NOT_FOUND")
}

func TestChangesOfChatsThatWhatsAppDoesNotTake(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	a.receive(ana, "A", "hello")
	patch := func() *answer { return a.send(http.MethodPatch, "/api/chats/"+ana, `{"archived":true}`) }
	fail := func(err error) { a.fleet.set(func(f *fleet) { f.sendErr = err }) }
	fail(&session.OfflineError{View: session.View{State: session.Backoff}})
	patch().problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	a.send(http.MethodPatch, "/api/chats/"+bia, `{"archived":true}`).problem(404, "Chat not found", "CHAT_NOT_FOUND")
	fail(tenant.ErrUnavailable)
	patch().problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	fail(session.ErrNoStateKey)
	early := patch().problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	require.Contains(t, string(early.body), "The keys to the account's settings have not come from its phone yet.")
	require.Equal(t, "5", early.header.Get("Retry-After"))
	fail(&session.RefusedError{Code: 409})
	patch().problem(409, "ACTION_REJECTED", "ACTION_REJECTED")
	fail(&session.UncertainError{Err: errors.New("silence")})
	patch().problem(504, "GATEWAY_TIMEOUT", "GATEWAY_TIMEOUT")
	fail(&session.PartlyError{Done: []string{"archived"}, Left: []string{"mutedUntil"}, Err: &session.UncertainError{Err: errors.New("silence")}})
	half := patch().problem(504, "GATEWAY_TIMEOUT", "GATEWAY_TIMEOUT")
	require.Contains(t, string(half.body), "This was done: archived. This was not: mutedUntil.")
}

func TestSynchronizesChats(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	a.receive(ana, "A", "hello")
	a.receive(group, "B", "hello")
	a.receive(bia, "C", "hello")
	sync := func() *answer { return a.send(http.MethodPost, "/api/chats/sync", nil) }
	require.JSONEq(t, `{"groups":1,"direct":2,"total":3,"durationMs":1500}`, string(sync().is(200).body))
	fail := func(err error) { a.fleet.set(func(f *fleet) { f.sendErr = err }) }
	offline := &session.OfflineError{View: session.View{State: session.Backoff}}
	fail(offline)
	sync().problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	fail(&session.SyncError{Done: []string{"groups"}, Left: []string{"contacts", "settings"}, Err: context.DeadlineExceeded})
	late := sync().problem(504, "GATEWAY_TIMEOUT", "GATEWAY_TIMEOUT")
	require.Contains(t, string(late.body), "These are synchronized: groups; these are not: contacts, settings.")
	fail(&session.SyncError{Left: []string{"groups", "contacts", "settings"}, Err: offline})
	sync().problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	fail(&session.SyncError{Done: []string{"groups"}, Left: []string{"contacts", "settings"}, Err: tenant.ErrUnavailable})
	sync().problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	fail(&session.SyncError{Done: []string{"groups"}, Left: []string{"contacts", "settings"}, Err: session.ErrNoStateKey})
	early := sync().problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	require.Contains(t, string(early.body), "The keys to the account's settings have not come from its phone yet.")
	require.Contains(t, string(early.body), "These are synchronized: groups; these are not: contacts, settings.")
	require.Equal(t, "5", early.header.Get("Retry-After"))
}
