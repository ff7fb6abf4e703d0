package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
)

// event waits for an event of that type whose data fits, and returns the data.
func event[T any](f *feed, kind tenant.EventType, fits func(*T) bool) T {
	f.t.Helper()
	var found T
	f.wait(string(kind), func(events []tenant.Event) bool {
		for _, e := range events {
			var data T
			if e.Type == kind && json.Unmarshal(e.Data, &data) == nil && fits(&data) {
				found = data
				return true
			}
		}
		return false
	})
	return found
}

func (p *person) saw(kind, target, text string) {
	p.w.t.Helper()
	ctx, cancel := context.WithTimeout(p.w.t.Context(), patience)
	defer cancel()
	_, err := p.WaitEntry(ctx, 0, func(e phone.Entry) bool { return e.Kind == kind && e.Target == target && e.Text == text })
	require.NoError(p.w.t, err)
}

func TestMessagesAreEditedDeletedAndReactedTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteDatabase(t))
	c, ana := w.customer("Shop"), w.person("Ana")
	feed := c.feed(0)

	theirs := ana.send(c.person, "hello")
	feed.received("hello")
	ours := c.text(ana.chatID(), "first")
	path := func(id tenant.MessageID) string { return fmt.Sprintf("/api/chats/%s/messages/%s", ana.chatID(), id) }

	c.api.call(http.StatusOK, http.MethodPatch, path(ours.ID), textBody("second"))
	ana.saw(phone.KindEdit, string(ours.ID), "second")
	event(feed, tenant.EventMessageEdited, func(m *tenant.Message) bool { return m.ID == ours.ID && m.Text == "second" })
	c.api.call(http.StatusForbidden, http.MethodPatch, path(theirs), textBody("forged"))
	c.api.call(http.StatusForbidden, http.MethodDelete, path(theirs), "")

	c.api.call(http.StatusOK, http.MethodPut, path(theirs)+"/reactions", `{"emoji":"👍"}`)
	ana.saw(phone.KindReaction, string(theirs), "👍")
	c.api.call(http.StatusNoContent, http.MethodDelete, path(ours.ID), "")
	ana.saw(phone.KindDelete, string(ours.ID), "")
	event(feed, tenant.EventMessageDeleted, func(m *tenant.Message) bool { return m.ID == ours.ID && m.Text == "" })

	ctx := t.Context()
	_, err := ana.Edit(ctx, c.Number(), string(theirs), "hello again")
	require.NoError(t, err)
	event(feed, tenant.EventMessageEdited, func(m *tenant.Message) bool { return m.ID == theirs && m.Text == "hello again" })
	_, err = ana.React(ctx, c.Number(), string(theirs), "❤️")
	require.NoError(t, err)
	event(feed, tenant.EventMessageReaction, func(r *tenant.MessageReaction) bool { return r.ID == theirs && r.SenderID == ana.chatID() })
	require.NoError(t, ana.Typing(ctx, c.Number(), "composing"))
	event(feed, tenant.EventTyping, func(e *tenant.TypingEvent) bool { return e.ChatID == ana.chatID() })
	_, err = ana.Delete(ctx, c.Number(), string(theirs))
	require.NoError(t, err)
	event(feed, tenant.EventMessageDeleted, func(m *tenant.Message) bool { return m.ID == theirs })
	for _, m := range c.messages(ana.chatID()) {
		require.NotNil(t, m.DeletedAt)
		require.Empty(t, m.Text)
		require.Empty(t, m.Reactions)
	}
	c.api.call(http.StatusNoContent, http.MethodPost, "/api/chats/"+string(ana.chatID())+"/read", "")
}
