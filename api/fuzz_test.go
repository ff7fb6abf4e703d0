package api_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

// FuzzChatIDInPath asks for chats by whatever a stranger writes: it is found, not found or not valid, and never our fault.
func FuzzChatIDInPath(f *testing.F) {
	for _, seed := range []string{ana, group, "1-2@g.us", "104857600000001@lid", "", ".", "..", "a/b", "%00", "\x00@c.us", "é@c.us", "1@c.us\n"} {
		f.Add(seed)
	}
	n := start(f)
	a := n.account()
	f.Fuzz(func(t *testing.T, id string) {
		at := *a
		node := *a.node
		node.t, at.node = t, &node
		got := at.get("/api/chats/" + url.PathEscape(id))
		require.Contains(t, []int{http.StatusNotFound, http.StatusUnprocessableEntity}, got.status, string(got.body))
		if _, err := tenant.ParseChatID(id); err != nil {
			require.NotContains(t, string(got.body), "CHAT_NOT_FOUND", "a chat was looked up by a malformed id")
		} else {
			got.problem(404, "Chat not found", "CHAT_NOT_FOUND")
		}
	})
}

// FuzzCursors pages with whatever a stranger writes.
func FuzzCursors(f *testing.F) {
	chat := tenant.Chat{ID: ana}
	message := tenant.Message{ID: "M1", Ord: 1}
	for _, seed := range []string{"", "x", chat.Cursor(), message.Cursor(), "\x00", "====", "Y2hhdA"} {
		f.Add(seed)
	}
	n := start(f)
	a := n.account()
	a.receive(ana, "M1", "hello")
	f.Fuzz(func(t *testing.T, cursor string) {
		at := *a
		node := *a.node
		node.t, at.node = t, &node
		for _, path := range []string{"/api/chats?cursor=", "/api/chats/" + ana + "/messages?cursor="} {
			got := at.get(path + url.QueryEscape(cursor))
			require.Contains(t, []int{http.StatusOK, http.StatusUnprocessableEntity}, got.status, string(got.body))
		}
		got := node.admin(http.MethodGet, "/admin/tenants?cursor="+url.QueryEscape(cursor), nil)
		require.Contains(t, []int{http.StatusOK, http.StatusUnprocessableEntity}, got.status, string(got.body))
	})
}
