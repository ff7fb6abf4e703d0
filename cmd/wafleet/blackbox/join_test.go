package blackbox

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestJoinURLs follows a group's join URL as anybody may, until it is taken away.
func TestJoinURLs(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			f := &fleet{t: t}
			f.begin(database(t))
			create, follow := f.document.operations()["POST /api/chats/{chatId}/join-url"], f.document.operations()["GET /api/groups/join/{token}"]
			c := f.tenant("owner")
			f.pair(c)
			g := c.group("group")
			made := c.api.do(t, http.MethodPost, "/api/chats/"+g.id+"/join-url", "")
			f.require(t, create, ok(http.StatusCreated), made)
			url := read[struct{ JoinURL string }](t, made).JoinURL
			_, token, found := strings.Cut(url, "/api/groups/join/")
			require.True(t, found, url)

			anybody := newCaller(t, f.base, nil)
			path := "/api/groups/join/" + token
			got := anybody.do(t, http.MethodGet, path, "")
			f.require(t, follow, ok(http.StatusFound), got)
			require.Contains(t, got.header.Get("Location"), "https://chat.whatsapp.com/")
			told := anybody.with("Accept", "application/json").do(t, http.MethodGet, path, "")
			f.require(t, follow, ok(http.StatusOK), told)
			require.Equal(t, got.header.Get("Location"), read[struct{ URL string }](t, told).URL)

			reset := c.api.must(t, http.StatusOK, http.MethodPost, "/api/chats/"+g.id+"/invite/reset", "")
			again := anybody.must(t, http.StatusFound, http.MethodGet, path, "")
			require.Equal(t, read[struct{ Link string }](t, reset).Link, again.header.Get("Location"))

			c.api.must(t, http.StatusNoContent, http.MethodDelete, "/api/chats/"+g.id+"/join-url", "")
			f.require(t, follow, refused(http.StatusNotFound, "JOIN_URL_NOT_FOUND"), anybody.do(t, http.MethodGet, path, ""))
		})
	}
}
