package blackbox

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// TestWhatHappensIsSeenOnTheWebSocket lets others act, and the account itself, and reads what /ws says of it; then another client
// comes back with since and reads the same.
func TestWhatHappensIsSeenOnTheWebSocket(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			f := &fleet{t: t}
			f.begin(database(t))
			c := f.tenant("owner")
			f.pair(c)
			f.happens(t, c)
			f.document.requireFrames(t, c.events)
			f.resumes(t, c)
			f.refusesSockets(t, c)
		})
	}
}

// happens is one of each kind of event.
func (f *fleet) happens(t *testing.T, c *customer) {
	t.Helper()
	live := c.events
	live.event(t, "session.status", `"state":"online"`)
	friendID := c.friend + "@c.us"
	says := func(body string) string {
		return idOf(t, f.sim.must(t, http.StatusOK, http.MethodPost, "/accounts/"+c.friend+"/send", fmt.Sprintf(`{"to":%q,%s}`, c.number, body)).body)
	}

	theirs := says(`"text":"hello"`)
	live.event(t, "message.received", theirs, "hello")
	live.event(t, "chat.updated", friendID, `"unreadCount":1`)
	says(fmt.Sprintf(`"reaction":{"id":%q,"emoji":"👍"}`, theirs))
	live.event(t, "message.reaction", theirs, "👍")
	says(fmt.Sprintf(`"edit":{"id":%q,"text":"hello again"}`, theirs))
	live.event(t, "message.edited", theirs, "hello again")
	f.sim.must(t, http.StatusNoContent, http.MethodPost, "/accounts/"+c.friend+"/typing", fmt.Sprintf(`{"to":%q,"state":"composing"}`, c.number))
	typing := live.event(t, "typing", friendID, "composing")
	require.Zero(t, typing.Seq, "typing is live only")
	says(fmt.Sprintf(`"delete":{"id":%q}`, theirs))
	live.event(t, "message.deleted", theirs, "deletedAt")

	ours := c.sends(t, friendID)
	live.event(t, "message.sent", ours)
	live.event(t, "message.status", ours, "delivered")
	f.sim.must(t, http.StatusNoContent, http.MethodPost, "/accounts/"+c.friend+"/read", fmt.Sprintf(`{"chat":%q,"ids":[%q]}`, c.number, ours))
	live.event(t, "message.status", ours, `"read"`)
	c.api.must(t, http.StatusNoContent, http.MethodPost, "/api/chats/"+friendID+"/read", "")
	live.event(t, "chat.updated", friendID, `"unreadCount":0`)
	c.api.must(t, http.StatusNoContent, http.MethodDelete, "/api/chats/"+friendID, "")
	live.event(t, "chat.deleted", friendID)
	f.admin.must(t, http.StatusOK, http.MethodPost, "/admin/tenants/"+c.id+"/session/disconnect", "")
	live.event(t, "session.status", `"state":"stopped"`, `"ready":false`)
}

// resumes comes back with since, from wherever it was.
func (f *fleet) resumes(t *testing.T, c *customer) {
	t.Helper()
	live := c.events.journal()
	latest := live[len(live)-1].Seq
	for since := range latest {
		again := listen(t, f.base, c.key, since)
		again.see(t, fmt.Sprintf("all after %d", since), func(e *frame) bool { return e.Seq == latest })
		require.Equal(t, live[since:], again.journal())
	}
	// What is ahead of the journal is said to be: its numbers are not from here.
	listen(t, f.base, c.key, latest+1000).event(t, "gap")
}

// refusesSockets holds that a bad key is answered before the upgrade.
func (f *fleet) refusesSockets(t *testing.T, c *customer) {
	t.Helper()
	for key, status := range map[string]int{"": http.StatusUnauthorized, c.key + "x": http.StatusForbidden} {
		_, resp, err := websocket.Dial(t.Context(), f.base+"/ws?apiKey="+key, nil)
		require.Error(t, err)
		require.Equal(t, status, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
	}
	conn, _, err := websocket.Dial(t.Context(), f.base+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"X-Api-Key": {c.key}}}) //nolint:bodyclose // it is the connection
	require.NoError(t, err)
	require.NoError(t, conn.CloseNow())
}

// requireFrames holds all frames to the document.
func (d *document) requireFrames(t *testing.T, s *socket) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.frames {
		require.NoError(t, d.frame(&s.frames[i]), "%s", s.frames[i].Data)
	}
}
