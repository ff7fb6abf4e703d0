package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/config"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/node"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
)

// waiting is how an operation answers while WhatsApp does not: the connection stands, and nothing comes through it.
type waiting struct {
	id   string // operationId
	name string // tells rows of one operation apart
	body string
	form bool // the body is a file, with this as its content
	// chat is whose chat is meant: by default one that is stored; "stranger" is somebody with a phone of whom nothing is, "older" one
	// whose messages are on the phone, "group" a group of ours, with a poll of ours.
	chat string

	want   int    // the status
	code   string // of the problem; several with | between
	detail string // what the problem says besides
	named  bool   // the problem names the message that was stored
	// own says that the operation ends by a deadline of its own whatever the request's is: it must not stop half-way.
	own bool
	// local says that it does something that needs no connection: it does not answer 503 when there is none.
	local bool
}

const late, again = "GATEWAY_TIMEOUT", "Ask again"

// waits is the table of all operations that wait for WhatsApp. In braces: friendId, a person we know.
func waits() []waiting {
	return slices.Concat(messageWaits(), groupWaits(), peopleWaits(), sessionWaits())
}

func messageWaits() []waiting {
	return []waiting{
		{id: "send-message", body: `{"message":"hello"}`, want: 504, code: late, detail: "The message is stored", named: true},
		{id: "send-message", name: "to a stranger", body: `{"message":"hello"}`, chat: "stranger", want: 504, code: late},
		{id: "send-message", name: "a file", body: "content of the file", form: true, want: 504, code: late, named: true}, // the media servers answer
		{id: "edit-message", body: `{"message":"hello again"}`, want: 504, code: late, detail: again},
		{id: "delete-message", want: 504, code: late, detail: again},
		{id: "react-to-message", body: `{"emoji":"👍"}`, want: 504, code: late, detail: again},
		{id: "delete-reaction", want: 504, code: late, detail: again},
		{id: "mark-chat-read", want: 504, code: late, detail: again},
		{id: "show-typing", body: `{"state":"composing"}`, want: 204}, // WhatsApp does not acknowledge it
		{id: "get-message-media", want: 504, code: late + "|PHONE_SILENT"},
		{id: "fetch-history", chat: "older", want: 504, code: late, detail: "by then: 0;"},
		{id: "fetch-history", name: "of a stranger", chat: "stranger", want: 504, code: late},
		{id: "forward-message", body: `{"to":"{friendId}"}`, want: 504, code: late, detail: "The message is stored", named: true},
		{id: "change-chat", body: `{"archived":true}`, want: 504, code: late, detail: again},
		{id: "sync-chats", want: 504, code: late, detail: "Nothing is synchronized yet"},
	}
}

func groupWaits() []waiting {
	const them = `{"participants":["{friendId}"]}`
	rows := []waiting{
		{id: "create-poll", body: `{"question":"Lunch?","options":["noon","one"]}`, want: 504, code: late, named: true},
		{id: "vote-in-poll", body: `{"options":["noon"]}`, want: 504, code: late, detail: again},
		{id: "create-group", body: `{"name":"Family","participants":["{friendId}"]}`, want: 504, code: late},
		{id: "join-group", body: `{"invite":"https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv"}`, want: 504, code: late},
		{id: "list-participants", want: 200, local: true},
		{id: "add-participants", body: them, want: 504, code: late},
		{id: "promote-participants", body: them, want: 504, code: late},
		{id: "demote-participants", body: them, want: 504, code: late},
		{id: "remove-participants", body: them, want: 504, code: late},
		{id: "rename-group", body: `{"name":"Clan"}`, want: 504, code: late},
		{id: "describe-group", body: `{"description":"All of us"}`, want: 504, code: late},
		{id: "set-group-picture", body: string(aPicture()), form: true, want: 504, code: late},
		{id: "delete-group-picture", want: 504, code: late},
		{id: "get-group-settings", want: 200, local: true},
		{id: "change-group-settings", body: `{"announce":true,"locked":true}`, want: 504, code: late},
		{id: "get-group-invite", want: 504, code: late},
		{id: "reset-group-invite", want: 504, code: late},
		{id: "create-join-url", want: 504, code: late},
		{id: "list-join-requests", want: 504, code: late},
		{id: "approve-join-requests", body: them, want: 504, code: late},
		{id: "reject-join-requests", body: them, want: 504, code: late},
		{id: "leave-group", want: 504, code: late},
	}
	for i := range rows {
		rows[i].chat = "group"
	}
	return rows
}

func peopleWaits() []waiting {
	return []waiting{
		{id: "get-contact-picture", want: 504, code: late},
		{id: "get-chat-picture", want: 504, code: late},
		{id: "check-numbers", body: `{"phones":["+5511000000000"]}`, want: 504, code: late},
		{id: "get-blocklist", want: 200, local: true},
		{id: "block-contact", want: 504, code: late},
		{id: "unblock-contact", want: 504, code: late},
		{id: "get-profile", want: 504, code: late},
		{id: "update-profile", body: `{"about":"open"}`, want: 504, code: late},
		{id: "update-profile", name: "its name", body: `{"name":"Open"}`, want: 504, code: late},
		{id: "get-profile-picture", want: 504, code: late},
		{id: "set-profile-picture", body: string(aPicture()), form: true, want: 504, code: late},
		{id: "delete-profile-picture", want: 504, code: late},
		{id: "set-presence", body: `{"state":"available"}`, want: 204}, // WhatsApp acknowledges none of these
		{id: "subscribe-presence", want: 204},
		{id: "unsubscribe-presence", want: 204},
	}
}

func sessionWaits() []waiting {
	return []waiting{
		{id: "connect-session", want: 200, local: true},
		{id: "disconnect-session", want: 200, local: true},
		{id: "logout-session", want: 200, own: true, local: true},
		{id: "cancel-export", want: 200, local: true},
		{id: "export-tenant", want: 200, own: true, local: true},
		{id: "suspend-tenant", want: 200, own: true, local: true},
		{id: "resume-tenant", want: 200, own: true, local: true},
		{id: "delete-tenant", want: 200, own: true, local: true},
	}
}

// waitsOtherwise are the operations that can time out and are not in the table.
func waitsOtherwise() []string {
	return []string{
		"start-pairing", "cancel-pairing", "revoke-pairing-link", // on a connection of their own, whose progress is the answer
	}
}

// newWorldInside starts a simulator, and a node in the test's own process with deadlines and settings of the test's choice.
func newWorldInside(t *testing.T, pace session.Pace, limits api.Limits, more ...map[string]string) *world {
	t.Helper()
	w := &world{t: t, url: sqliteDatabase(t)}
	log := slog.New(slog.DiscardHandler)
	var err error
	w.sim, err = wasim.Start(t.Context(), wasim.Config{Listen: "127.0.0.1:0", WhatsAppListen: "127.0.0.1:0", Log: log})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.sim.Close(testContext())) })
	settings := map[string]string{
		"WAFLEET_DATABASE": w.url, "WAFLEET_ADMIN_KEY": adminKey, "WAFLEET_WHATSAPP": w.sim.ControlURL(), "WAFLEET_LISTEN": "127.0.0.1:0",
		"WAFLEET_CONNECTS_PER_SECOND": "1000", "WAFLEET_CONNECT_BURST": "1000",
	}
	for _, each := range more {
		maps.Copy(settings, each)
	}
	c, err := config.Load(config.Sources{Getenv: func(name string) string { return settings[name] }})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	serving, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- node.Run(ctx, node.Options{
			Config: c, Log: log, Version: "test", Pace: pace, Limits: limits, Serving: func(address string) { serving <- address },
		})
	}()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	select {
	case address := <-serving:
		w.base = "http://" + address
	case err = <-ended:
		ended <- nil
		require.FailNow(t, "the node did not start", "%v", err)
	}
	w.admin = newClient(t, w.base, map[string]string{"Authorization": "Bearer " + adminKey})
	return w
}

// scene is a customer and what a row is about.
type scene struct {
	*customer

	row    waiting
	o      *operation
	path   string
	caller *client
}

// cast are those whom all customers talk to.
type cast struct{ ana, older, stranger *person }

// scene makes a customer with a chat, in which there are a message of ours and a file of the other side's.
func (w *world) scene(row waiting, o *operation, with *cast) *scene {
	t := w.t
	t.Helper()
	c, at := w.unpaired("Shop"), time.Now().Add(-time.Hour)
	require.NoError(t, c.SetHistory([]phone.Chat{{
		Phone: with.older.Number(), Recent: 1,
		Messages: []phone.ChatMessage{{ID: "OLD1", Text: "1", At: at}, {ID: "OLD2", Text: "2", At: at.Add(time.Minute)}},
	}}))
	feed := c.feed(0)
	c.pair()
	event(feed, tenant.EventChatUpdated, func(chat *tenant.Chat) bool { return chat.ID == with.older.chatID() })
	theirs, err := with.ana.SendFile(t.Context(), c.Number(), phone.File{Kind: phone.FileDocument, Data: []byte("a file"), Caption: "theirs"}, phone.SendOptions{})
	require.NoError(t, err)
	feed.received("theirs")
	message, err := c.SendText(t.Context(), with.ana.Number(), "ours", phone.SendOptions{})
	require.NoError(t, err)
	event(feed, tenant.EventMessageSent, func(m *tenant.Message) bool { return m.Text == "ours" })
	chat := with.ana.chatID()
	switch row.chat {
	case "stranger":
		chat = with.stranger.chatID()
	case "older":
		chat = with.older.chatID()
	case "group":
		chat, message = c.groupWithPoll(with.ana)
	}
	if row.id == "get-message-media" { // which WhatsApp has dropped: its media servers would answer
		message = theirs
		require.NoError(t, c.DropFile(t.Context(), theirs, true))
	}
	row.body = strings.ReplaceAll(row.body, "{friendId}", string(with.ana.chatID()))
	s := &scene{customer: c, row: row, o: o, caller: c.api}
	if o.admin {
		s.caller = w.admin
	}
	s.path = o.fill(t, map[string]string{"chatId": string(chat), "contactId": string(chat), "messageId": message, "tenantId": c.id})
	return s
}

// groupWithPoll makes a group with somebody, and a poll in it.
func (c *customer) groupWithPoll(friend *person) (group tenant.ChatID, poll string) {
	c.w.t.Helper()
	var made struct{ ID string }
	body := fmt.Sprintf(`{"name":"Team","participants":[%q]}`, friend.chatID())
	c.api.call(http.StatusCreated, http.MethodPost, "/api/groups/create", body).into(c.w.t, &made)
	group = tenant.ChatID(made.ID)
	c.api.call(http.StatusCreated, http.MethodPost, "/api/chats/"+made.ID+"/poll", `{"question":"Dinner?","options":["noon","ten"]}`).into(c.w.t, &made)
	return group, made.ID
}

// try makes the row's call.
func (s *scene) try() (answer, error) {
	if !s.row.form {
		return s.caller.try(s.o.method, s.path, s.row.body)
	}
	var body strings.Builder
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "file.txt")
	if err == nil {
		_, err = io.WriteString(part, s.row.body)
	}
	if err = errors.Join(err, form.Close()); err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(s.w.t.Context(), s.o.method, s.caller.base+s.path, strings.NewReader(body.String()))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("X-API-Key", s.key)
	req.Header.Set("Content-Type", form.FormDataContentType())
	resp, err := s.caller.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, body: got}, err
}

// require asserts what the row says.
func (s *scene) require(t *testing.T, got answer) {
	t.Helper()
	require.Equal(t, s.row.want, got.status, "%s", got)
	if s.row.code == "" {
		return
	}
	var problem struct{ Code, Detail, MessageID, MessageStatus string }
	got.into(t, &problem)
	require.Contains(t, strings.Split(s.row.code, "|"), problem.Code, "%s", got)
	require.Contains(t, problem.Detail, s.row.detail)
	require.Equal(t, s.row.named, problem.MessageID != "", "%s", got)
	if s.row.named {
		require.Equal(t, "pending", problem.MessageStatus)
	}
}

func (s *scene) disconnect() {
	s.w.admin.call(http.StatusOK, http.MethodPost, "/admin/tenants/"+s.id+"/session/disconnect", "")
}

// atOnce is how many scenes are made at a time: most of their making is waiting.
const atOnce = 8

// waitTest runs the table on one node: all rows' calls are made at once, on connections that are dead.
type waitTest struct {
	pace   session.Pace
	limits api.Limits
	fits   func(row *waiting) bool // nil: all do
	during func(s *scene)          // while the calls are under way
	check  func(t *testing.T, s *scene, got answer)
	// turn is which third of the rows are tried with the race detector, under which a pairing takes seconds of CPU: 0, 1 or 2.
	turn int
}

func (wt *waitTest) run(t *testing.T) {
	t.Helper()
	w := newWorldInside(t, wt.pace, wt.limits)
	byID := make(map[string]*operation)
	for _, o := range w.operations() {
		byID[o.OperationID] = o
		listed := slices.ContainsFunc(waits(), func(row waiting) bool { return row.id == o.OperationID })
		if o.documented(http.StatusGatewayTimeout) && !listed && !slices.Contains(waitsOtherwise(), o.OperationID) {
			t.Errorf("%s can time out: add it to the table", o.OperationID)
		}
	}
	with := &cast{w.person("Ana"), w.person("Older"), w.person("Stranger")}
	rows := slices.DeleteFunc(waits(), func(row waiting) bool { return wt.fits != nil && !wt.fits(&row) })
	if raceDetector {
		n := -1
		rows = slices.DeleteFunc(rows, func(waiting) bool { n++; return n%3 != wt.turn })
	}
	scenes := make([]*scene, len(rows))
	var setting errgroup.Group
	setting.SetLimit(atOnce)
	for i, row := range rows {
		require.NotNil(t, byID[row.id], "no operation %s", row.id)
		setting.Go(func() error {
			scenes[i] = w.scene(row, byID[row.id], with)
			return nil
		})
	}
	require.NoError(t, setting.Wait())
	require.False(t, t.Failed(), "not all scenes are set")
	require.NoError(t, w.sim.Relay().Fault(relay.Fault{Kind: relay.FaultStall}))
	answers, faults := make([]answer, len(scenes)), make([]error, len(scenes))
	var calls sync.WaitGroup
	for i, s := range scenes {
		calls.Go(func() { answers[i], faults[i] = s.try() })
	}
	if wt.during != nil {
		for _, s := range scenes {
			wt.during(s)
		}
	}
	calls.Wait()
	for i, s := range scenes {
		t.Run(strings.TrimSpace(s.row.id+" "+s.row.name), func(t *testing.T) {
			require.NoError(t, faults[i])
			require.True(t, s.o.documented(answers[i].status), "not documented: %s", answers[i])
			if answers[i].status >= http.StatusBadRequest {
				requireProblem(t, answers[i], s.row.id)
			}
			wt.check(t, s, answers[i])
		})
	}
}

// Deadlines: long is one that no test waits for, short one that a working connection keeps, also on a busy machine.
const (
	long  = 10 * time.Minute
	short = 8 * time.Second
)

// allOf are deadlines that are all the same.
func allOf(d time.Duration) session.Pace {
	return session.Pace{
		SendTimeout: d, LookupTimeout: d, UploadTimeout: d, DownloadTimeout: d, ReuploadTimeout: d, HistoryPage: d, HistoryTimeout: d,
		SyncTimeout: d,
	}
}

func TestWhatWhatsAppDoesNotAnswer(t *testing.T) { //nolint:tparallel // all rows' calls are made at once
	t.Parallel()
	wt := waitTest{pace: allOf(short), check: func(t *testing.T, s *scene, got answer) {
		t.Helper()
		s.require(t, got)
		if s.row.local {
			return
		}
		s.disconnect()
		got, err := s.try()
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, got.status, "offline: %s", got)
		requireProblem(t, got, "offline") // with Retry-After
		require.Contains(t, string(got.body), "SERVICE_UNAVAILABLE")
	}}
	wt.run(t)
}

// The request's own deadline stands above all of the session's.
func TestRequestsEndByTheirDeadlines(t *testing.T) { //nolint:tparallel // all rows' calls are made at once
	t.Parallel()
	wt := waitTest{
		turn: 1, pace: allOf(long), limits: api.Limits{ActionTimeout: short, MultiTimeout: short},
		fits: func(row *waiting) bool { return !row.own },
		check: func(t *testing.T, s *scene, got answer) {
			t.Helper()
			s.require(t, got)
			s.disconnect() // or stopping would wait for it
		},
	}
	wt.run(t)
}

// Whatever an operation is at when the session goes offline: it says so, or what became of it.
func TestTheSessionGoesOfflineInTheMiddle(t *testing.T) { //nolint:tparallel // all rows' calls are made at once
	t.Parallel()
	wt := waitTest{
		turn: 2, pace: allOf(long), limits: api.Limits{ActionTimeout: patience, MultiTimeout: patience},
		fits:   func(row *waiting) bool { return !row.local },
		during: (*scene).disconnect,
		check: func(t *testing.T, s *scene, got answer) {
			t.Helper()
			if got.status != http.StatusServiceUnavailable {
				s.require(t, got)
			}
		},
	}
	wt.run(t)
}
