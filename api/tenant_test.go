package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

func TestHealthNeedsNoKey(t *testing.T) {
	t.Parallel()
	n := start(t)
	require.JSONEq(t, `{"status":"ok"}`, string(n.call(http.MethodGet, "/api/health", nil).is(200).body))
	require.JSONEq(t, `{"status":"ok"}`, string(n.call(http.MethodGet, "/livez", nil).is(200).body))
	require.JSONEq(t, `{"status":"ok"}`, string(n.call(http.MethodGet, "/readyz", nil).is(200).body))
}

// TestStatusIsTheSpecifications holds the two bodies of client API v2 §4 to the letter.
func TestStatusIsTheSpecifications(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	require.JSONEq(t, `{"ready":true}`, string(a.get("/api/status").is(200).body))
	n.fleet.set(func(f *fleet) {
		f.view = session.View{
			State: session.Conflict, Reason: "stream_replaced", Message: "Another client took over.", Action: "Connect again.",
			Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Phone: "5511988880000", Device: "5511988880000:1@s.whatsapp.net",
		}
	})
	require.JSONEq(t, `{"ready":false,"message":"Server is not connected to WhatsApp"}`, string(a.get("/api/status").is(200).body))
	require.JSONEq(t, `{"state":"conflict","ready":false,"reason":"stream_replaced","message":"Another client took over.",
		"action":"Connect again.","since":"2026-01-02T03:04:05Z","phone":"5511988880000"}`, string(a.get("/api/session").is(200).body))
}

type chatList struct {
	Chats      []tenant.Chat
	NextCursor string
}

func TestChatsAreListedInPagesOrWhole(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	require.JSONEq(t, `{"chats":[]}`, string(a.get("/api/chats").is(200).body))
	require.JSONEq(t, `{"chats":[]}`, string(a.get("/api/chats?limit=5").is(200).body))

	const count = 7
	want := map[tenant.ChatID]bool{group: true}
	for i := range count - 1 {
		id := tenant.ChatID(fmt.Sprintf("551199999%04d@c.us", i))
		want[id] = true
		a.receive(id, fmt.Sprintf("M%d", i), "hello")
	}
	a.receive(group, "G1", "hello all")

	var whole chatList
	a.get("/api/chats").is(200).into(&whole)
	require.Len(t, whole.Chats, count)
	require.Empty(t, whole.NextCursor)

	for _, limit := range []int{1, 2, 3, count, count + 1} {
		var got []tenant.Chat
		path := fmt.Sprintf("/api/chats?limit=%d", limit)
		for pages := 1; ; pages++ {
			var page chatList
			a.get(path).is(200).into(&page)
			require.LessOrEqual(t, len(page.Chats), limit)
			require.NotEmpty(t, page.Chats, "an empty last page")
			got = append(got, page.Chats...)
			if page.NextCursor == "" {
				require.Equal(t, (count+limit-1)/limit, pages)
				break
			}
			path = fmt.Sprintf("/api/chats?limit=%d&cursor=%s", limit, url.QueryEscape(page.NextCursor))
		}
		require.Equal(t, whole.Chats, got, "limit %d", limit)
	}

	var groups, found, archived chatList
	a.get("/api/chats?type=group").is(200).into(&groups)
	require.Len(t, groups.Chats, 1)
	require.Equal(t, tenant.ChatID(group), groups.Chats[0].ID)
	a.get("/api/chats?q=9990003").is(200).into(&found)
	require.Len(t, found.Chats, 1)
	a.get("/api/chats?archived=true").is(200).into(&archived)
	require.Empty(t, archived.Chats)
	a.get("/api/chats?archived=false").is(200).into(&archived)
	require.Len(t, archived.Chats, count)
}

func TestAChatIsShownAndDeleted(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	a.receive(ana, "M1", "hello")
	var chat tenant.Chat
	a.get("/api/chats/" + ana).is(200).into(&chat)
	require.Equal(t, tenant.ChatID(ana), chat.ID)
	require.Equal(t, "hello", chat.LastMessage.Text)
	a.get("/api/chats/5511999990001@s.whatsapp.net").is(200).into(&chat)
	require.Equal(t, tenant.ChatID(ana), chat.ID)

	gone := a.send(http.MethodDelete, "/api/chats/"+ana, nil).is(204)
	require.Empty(t, gone.body)
	a.get("/api/chats/"+ana).problem(404, "Chat not found", "CHAT_NOT_FOUND")
	a.send(http.MethodDelete, "/api/chats/"+ana, nil).problem(404, "Chat not found", "CHAT_NOT_FOUND")
}

func TestMessagesArePagedBoundedAndSearched(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	at := time.Date(2026, 2, 17, 9, 0, 0, 0, time.UTC)
	for i := range 5 {
		_, err := a.handle.Commit(t.Context(), tenant.PutMessage{Message: tenant.Message{
			ID: tenant.MessageID(fmt.Sprintf("M%d", i)), ChatID: ana, SenderID: ana, Timestamp: at.Add(time.Duration(i) * time.Minute),
			Type: tenant.TypeText, Text: fmt.Sprintf("text number %d", i), Status: tenant.StatusReceived,
		}})
		require.NoError(t, err)
	}
	ids := func(path string) []string {
		t.Helper()
		var page struct {
			Messages   []tenant.Message
			NextCursor string
		}
		var got []string
		for next := path; ; next = path + "&cursor=" + url.QueryEscape(page.NextCursor) {
			page.NextCursor = ""
			a.get(next).is(200).into(&page)
			for _, m := range page.Messages {
				got = append(got, string(m.ID))
			}
			if page.NextCursor == "" {
				return got
			}
		}
	}
	base := "/api/chats/" + ana + "/messages?"
	require.Equal(t, []string{"M4", "M3", "M2", "M1", "M0"}, ids(base))
	require.Equal(t, []string{"M4", "M3", "M2", "M1", "M0"}, ids(base+"limit=2"))
	require.Equal(t, []string{"M1", "M0"}, ids(base+"before=2026-02-17T09:02:00Z"))
	require.Equal(t, []string{"M4", "M3"}, ids(base+"after=2026-02-17T10:02:00%2B01:00"))
	require.Equal(t, []string{"M2"}, ids(base+"q=NUMBER+2"))
	require.Empty(t, ids(base+"q=%00"), "a zero byte is text like any other")
}

func TestASendAnswersWithTheMessage(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	got := a.send(http.MethodPost, "/api/chats/5511999990001@s.whatsapp.net/messages",
		`{"message":"Hello <b> \ud83d\ude00 \\ud83d","replyTo":"M1","mentions":["5511999990002@s.whatsapp.net"]}`,
		"Content-Type", "application/json ; charset=UTF-8", "Accept", "text/html").is(201)
	require.Equal(t, "application/json", got.header.Get("Content-Type"))
	var m tenant.Message
	got.into(&m)
	require.Equal(t, "Hello <b> \U0001F600 \\ud83d", m.Text)
	require.Equal(t, tenant.ChatID(ana), m.ChatID)
	require.Equal(t, tenant.MessageID("M1"), m.ReplyTo)
	require.Equal(t, []tenant.ChatID{bia}, m.Mentions)
	require.Equal(t, tenant.StatusSent, m.Status)
	require.NotContains(t, string(got.body), "$schema")
}

// TestTenantsDoNotSeeEachOther asks for everything of a tenant with another's key.
func TestTenantsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	n := start(t)
	a, b := n.account(), n.account()
	a.receive(ana, "SECRET1", "for a only")
	b.receive(bia, "OTHER1", "for b only")
	b.get("/api/chats/"+ana).problem(404, "Chat not found", "CHAT_NOT_FOUND")
	b.get("/api/chats/"+ana+"/messages").problem(404, "Chat not found", "CHAT_NOT_FOUND")
	b.send(http.MethodDelete, "/api/chats/"+ana, nil).problem(404, "Chat not found", "CHAT_NOT_FOUND")
	for _, path := range []string{"/api/chats", "/api/events?limit=1000", "/api/chats?q=5511999990001", "/api/session"} {
		require.NotContains(t, string(b.get(path).is(200).body), "for a only", path)
		require.NotContains(t, string(b.get(path).is(200).body), "5511999990001", path)
	}
	var page chatList
	a.get("/api/chats?limit=1").is(200).into(&page)
	require.Len(t, page.Chats, 1)
	a.get("/api/chats/" + ana).is(200)
}

func TestEventsAreReadFromTheJournal(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	type list struct {
		Events               []tenant.Event
		Next, Oldest, Latest int64
	}
	var l list
	a.get("/api/events").is(200).into(&l)
	require.Equal(t, list{Events: []tenant.Event{}, Oldest: 1}, l)
	for i := range 3 {
		a.receive(ana, fmt.Sprintf("M%d", i), "hello")
	}
	a.get("/api/events?types=message.received&limit=1000").is(200).into(&l)
	require.Len(t, l.Events, 3)
	require.Equal(t, l.Latest, l.Next)
	var after list
	a.get(fmt.Sprintf("/api/events?after=%d&types=message.received", l.Events[1].Seq)).is(200).into(&after)
	require.Len(t, after.Events, 1)
	a.get(fmt.Sprintf("/api/events?after=%d", l.Latest)).is(200).into(&after)
	require.Empty(t, after.Events)

	// A number ahead of the journal is answered at once, and with a number to go on with.
	var ahead struct {
		Events       []tenant.Event
		Next, Latest int64
		Gap          bool
	}
	a.get("/api/events?after=999999&wait=60").is(200).into(&ahead)
	require.Empty(t, ahead.Events)
	require.True(t, ahead.Gap)
	require.Equal(t, l.Latest, ahead.Next)
	require.NotContains(t, string(a.get(fmt.Sprintf("/api/events?after=%d", ahead.Next)).is(200).body), "gap")

	// A waiting poll is answered by what happens.
	waiting := make(chan *answer, 1)
	go func() {
		waiting <- a.get(fmt.Sprintf("/api/events?after=%d&wait=60&types=message.received", l.Latest))
	}()
	late := time.NewTimer(patience)
	defer late.Stop()
	a.receive(bia, "LATE", "at last")
	select {
	case got := <-waiting:
		got.is(200).into(&after)
		require.Len(t, after.Events, 1)
		require.Contains(t, string(after.Events[0].Data), "at last")
		scraped := string(a.call(http.MethodGet, "/metrics", nil).is(200).body)
		require.Contains(t, scraped, `wafleet_http_request_duration_seconds_count{operation="list-events"} 5`, "without those that wait")
	case <-late.C:
		require.Fail(t, "the poll was not answered")
	}
}

// knowing is a handle that knows more of a message than what is stored.
type knowing struct{ tenant.Handle }

func (h knowing) Messages(ctx context.Context, id tenant.ChatID, q tenant.MessageQuery) (tenant.Messages, error) {
	page, err := h.Handle.Messages(ctx, id, q)
	for i := range page.Messages {
		page.Messages[i].Status = tenant.StatusSent
	}
	return page, err
}

// TestReadsKnowWhatTheFleetKnows, and not only what is stored: package session tests what that is.
func TestReadsKnowWhatTheFleetKnows(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	_, err := a.handle.Commit(t.Context(), tenant.PutMessage{Live: true, Message: tenant.Message{
		ID: "M1", ChatID: ana, SenderID: "5511988880000@c.us", FromMe: true, Timestamp: time.Now(), Type: tenant.TypeText, Text: "hello",
	}})
	require.NoError(t, err)
	status := func() string {
		var page struct{ Messages []struct{ Status string } }
		a.get("/api/chats/" + ana + "/messages").is(http.StatusOK).into(&page)
		return page.Messages[0].Status
	}
	require.Equal(t, "pending", status())
	a.fleet.set(func(f *fleet) { f.fresh = func(h tenant.Handle) tenant.Handle { return knowing{h} } })
	require.Equal(t, "sent", status())
}
