package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func TestStrangersJoinByURL(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			c, ana, bia := w.customer("Shop"), w.person("Ana"), w.person("Bia")
			feed := c.feed(0)
			var chat tenant.Chat
			c.api.call(http.StatusCreated, http.MethodPost, "/api/groups/create", `{"name":"Fans","participants":[]}`).into(t, &chat)
			path := "/api/chats/" + string(chat.ID)
			var made struct{ JoinURL string }
			c.api.call(http.StatusCreated, http.MethodPost, path+"/join-url", "").into(t, &made)
			c.api.call(http.StatusOK, http.MethodGet, path, "").into(t, &chat)
			require.Equal(t, made.JoinURL, chat.JoinURL)
			_, token, _ := strings.Cut(made.JoinURL, w.base)

			anybody := newClient(t, w.base, nil)
			follow := func() string {
				return anybody.call(http.StatusFound, http.MethodGet, token, "").header.Get("Location")
			}
			code := func(link string) string { return strings.TrimPrefix(link, "https://chat.whatsapp.com/") }
			first := follow()
			joined, _, err := ana.JoinGroup(t.Context(), code(first))
			require.NoError(t, err)
			require.Equal(t, string(chat.ID), joined)
			event(feed, tenant.EventGroupParticipants, func(p *tenant.GroupParticipants) bool { return p.Participants[0].ID == ana.chatID() })

			// The link is reset: what was handed out before leads nowhere, the URL to the new one.
			c.api.call(http.StatusOK, http.MethodPost, path+"/invite/reset", "")
			require.NotEqual(t, first, follow())
			_, _, err = bia.JoinGroup(t.Context(), code(first))
			require.Error(t, err)
			_, _, err = bia.JoinGroup(t.Context(), code(follow()))
			require.NoError(t, err)

			// The session goes: the link that is known is told all the same.
			last := follow()
			w.admin.call(http.StatusOK, http.MethodPost, "/admin/tenants/"+c.id+"/session/disconnect", "")
			require.Equal(t, last, follow())
			c.api.call(http.StatusServiceUnavailable, http.MethodPost, path+"/join-url", "")

			c.api.call(http.StatusNoContent, http.MethodDelete, path+"/join-url", "")
			anybody.call(http.StatusNotFound, http.MethodGet, token, "")
		})
	}
}
