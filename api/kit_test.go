package api_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/metrics"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/spool"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
)

const (
	adminKey = "admin-key-of-the-tests"
	ana      = "5511999990001@c.us"
	bia      = "5511999990002@c.us"
	group    = "120363000000000001@g.us"
	// patience is how long a test waits for what must happen.
	patience = time.Minute
)

// node is a server on a port, over a real SQLite store, with a fleet whose answers the test chooses.
type node struct {
	t        testing.TB
	url      string
	store    *tenantsql.Store
	fleet    *fleet
	server   *api.Server
	registry *prometheus.Registry
	logs     *logs
	stop     func() // ends Run and waits for it
}

// config changes the server's configuration before it starts.
type config func(*api.Config)

func start(tb testing.TB, options ...config) *node {
	tb.Helper()
	n := &node{t: tb, registry: prometheus.NewRegistry(), logs: &logs{}}
	var err error
	n.store, err = tenantsql.Open(tb.Context(), tenantsql.Config{URL: "sqlite:" + filepath.Join(tb.TempDir(), "wafleet.db")})
	require.NoError(tb, err)
	require.NoError(tb, n.store.Migrate(tb.Context()))
	n.fleet = newFleet(n.store)
	cfg := api.Config{
		Store: n.store, Sessions: n.fleet, AdminKey: api.NewAdminKey(adminKey), Metrics: metrics.New(n.registry),
		Gatherer: n.registry, Log: slog.New(slog.NewJSONHandler(n.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Version: "test",
	}
	for _, option := range options {
		option(&cfg)
	}
	server, err := api.New(cfg)
	require.NoError(tb, err)
	n.server = server

	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	var running, serving sync.WaitGroup
	running.Go(func() { _ = server.Run(ctx) })
	n.stop = func() {
		cancel()
		running.Wait()
	}
	web := api.NewHTTPServer(server, cfg.Log)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	listener = api.Listener(listener)
	serving.Go(func() { _ = web.Serve(listener) })
	n.url = "http://" + listener.Addr().String()
	tb.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		n.stop() // streams end, so that Shutdown can
		within, done := context.WithTimeout(context.WithoutCancel(tb.Context()), patience)
		defer done()
		if web.Shutdown(within) != nil {
			tb.Error("requests did not end")
			_ = web.Close()
		}
		serving.Wait()
		require.NoError(tb, n.store.Close())
	})
	return n
}

// answer is what came back.
type answer struct {
	t      testing.TB
	status int
	line   string // the status and its words; of raw alone
	header http.Header
	body   []byte
}

// call sends a request. headers are pairs; a body that is not nil is sent as it is if it is a string, else as JSON.
func (n *node) call(method, path string, body any, headers ...string) *answer {
	n.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	case io.Reader:
		reader = b
	default:
		raw, err := json.Marshal(b)
		require.NoError(n.t, err)
		reader = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(n.t.Context()), 2*patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, n.url+path, reader)
	require.NoError(n.t, err)
	if reader != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := (&http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(req)
	require.NoError(n.t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(n.t, err)
	requireDocumented(n.t, method, req.URL.EscapedPath(), res.StatusCode)
	return &answer{t: n.t, status: res.StatusCode, header: res.Header, body: raw}
}

// admin sends a request of the operator's.
func (n *node) admin(method, path string, body any) *answer {
	n.t.Helper()
	return n.call(method, path, body, "Authorization", "Bearer "+adminKey)
}

// is asserts the status.
func (a *answer) is(status int) *answer {
	a.t.Helper()
	require.Equal(a.t, status, a.status, string(a.body))
	return a
}

// problem asserts a problem to the letter.
func (a *answer) problem(status int, text, code string) *answer {
	a.t.Helper()
	a.is(status)
	require.Equal(a.t, "application/problem+json", a.header.Get("Content-Type"))
	var p struct {
		Title, Detail, Error, Code, RequestID string
		Status                                int
	}
	a.into(&p)
	require.Equal(a.t, text, p.Error)
	require.Equal(a.t, code, p.Code)
	require.Equal(a.t, status, p.Status)
	require.NotEmpty(a.t, p.Title)
	require.NotEmpty(a.t, p.Detail)
	require.Equal(a.t, a.header.Get("X-Request-Id"), p.RequestID)
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		require.Regexp(a.t, `^[1-9][0-9]*$`, a.header.Get("Retry-After"))
	}
	return a
}

// into decodes the body; unknown members are ignored.
func (a *answer) into(v any) {
	a.t.Helper()
	require.NoError(a.t, json.Unmarshal(a.body, v), string(a.body))
}

// account is a tenant with a key.
type account struct {
	*node

	id     tenant.ID
	keyID  tenant.KeyID
	key    string
	handle tenant.Handle
}

func (n *node) account() *account {
	n.t.Helper()
	ctx := n.t.Context()
	made, _, err := n.store.Create(ctx, tenant.NewTenant{Name: "test"})
	require.NoError(n.t, err)
	handle := n.store.Tenant(made.ID)
	row, secret, err := handle.CreateKey(ctx, tenant.NewKey{Label: "test"})
	require.NoError(n.t, err)
	return &account{node: n, id: made.ID, keyID: row.ID, key: secret.Reveal(), handle: handle}
}

// get and the like send a request with the account's key.
func (a *account) get(path string) *answer {
	a.t.Helper()
	return a.call(http.MethodGet, path, nil, "X-API-Key", a.key)
}

func (a *account) send(method, path string, body any, headers ...string) *answer {
	a.t.Helper()
	return a.call(method, path, body, append([]string{"X-API-Key", a.key}, headers...)...)
}

// receive stores a message as if WhatsApp had sent it now.
func (a *account) receive(chat tenant.ChatID, id, text string) {
	a.t.Helper()
	_, err := a.handle.Commit(a.t.Context(), tenant.PutMessage{Live: true, ChatName: "Chat of " + id, Message: tenant.Message{
		ID: tenant.MessageID(id), ChatID: chat, SenderID: chat, Timestamp: time.Now().UTC().Truncate(time.Second),
		Type: tenant.TypeText, Text: text, Status: tenant.StatusReceived,
	}})
	require.NoError(a.t, err)
}

// logs collects what was logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// fleet answers as its fields say; without them it is online, and sends succeed.
type fleet struct {
	store *tenantsql.Store
	sent  atomic.Int64

	mu      sync.Mutex
	view    session.View
	fail    error // of every action
	sendErr error
	panics  bool
	spool   *spool.Spool
	files   map[tenant.MessageID][]byte // what was sent, and what can be fetched
	got     session.FileMessage         // the last file that was sent
	pairing *session.PairingView
	changed chan struct{} // closed and replaced when the pairing changes
	removed []tenant.ID
	views   []*session.View
	// departed are those that were exported to run elsewhere.
	departed []tenant.ID
	live     chan tenant.Event // what every stream shares
	people   *people
	keys     keys
	usage    session.Usage
	noFiles  error // why no file may come
	onView   func()
	fresh    func(tenant.Handle) tenant.Handle // nil: what is stored is all there is to know
}

var _ api.Sessions = (*fleet)(nil)

func newFleet(store *tenantsql.Store) *fleet {
	files, err := spool.New(spool.Config{})
	if err != nil {
		panic(err)
	}
	return &fleet{
		store: store, view: session.View{State: session.Online, Since: time.Now()}, changed: make(chan struct{}),
		live: make(chan tenant.Event, 1), people: newPeople(), spool: files, files: make(map[tenant.MessageID][]byte),
	}
}

// set changes what the fleet answers.
func (f *fleet) set(change func(*fleet)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fleet) View(_ context.Context, id tenant.ID) (session.View, error) {
	f.mu.Lock()
	onView := f.onView
	f.mu.Unlock()
	if onView != nil {
		onView()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics {
		panic("the fleet panics")
	}
	view := f.view
	view.Tenant = id
	return view, nil
}

// Fresh is the handle, or what the test wants it to be.
func (f *fleet) Fresh(h tenant.Handle) tenant.Handle {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fresh == nil {
		return h
	}
	return f.fresh(h)
}

func (f *fleet) SendText(ctx context.Context, id tenant.ID, chat tenant.ChatID, m session.TextMessage) (tenant.Message, error) {
	f.mu.Lock()
	err := f.sendErr
	f.mu.Unlock()
	if err != nil {
		return tenant.Message{}, err
	}
	result, err := f.store.Tenant(id).Commit(ctx, tenant.PutMessage{Live: true, Message: tenant.Message{
		ID: tenant.MessageID(fmt.Sprintf("SENT%d", f.sent.Add(1))), ChatID: chat, SenderID: "5511988880000@c.us", FromMe: true,
		Timestamp: time.Now().UTC().Truncate(time.Second), Type: tenant.TypeText, Text: m.Text, ReplyTo: m.ReplyTo,
		Mentions: m.Mentions, Status: tenant.StatusSent,
	}})
	if err != nil {
		return tenant.Message{}, err
	}
	return result.Messages[0], nil
}

func (f *fleet) NewFile(id tenant.ID) (*spool.File, error) {
	return f.spool.File(string(id), session.MaxFile+64)
}

func (f *fleet) SendFile(ctx context.Context, id tenant.ID, chat tenant.ChatID, m *session.FileMessage) (tenant.Message, error) {
	f.mu.Lock()
	err := f.sendErr
	f.mu.Unlock()
	if err != nil {
		return tenant.Message{}, err
	}
	size, err := m.File.Size()
	if err != nil {
		return tenant.Message{}, err
	}
	data := make([]byte, size)
	if _, err = m.File.ReadAt(data, 0); err != nil {
		return tenant.Message{}, err
	}
	hash := sha256.Sum256(data)
	message := tenant.Message{
		ID: tenant.MessageID(fmt.Sprintf("SENT%d", f.sent.Add(1))), ChatID: chat, SenderID: "5511988880000@c.us", FromMe: true,
		Timestamp: time.Now().UTC().Truncate(time.Second), Type: m.Kind, Text: m.Caption, ReplyTo: m.ReplyTo,
		Mentions: m.Mentions, Status: tenant.StatusSent, Payload: []byte{0},
		Media: &tenant.Media{MimeType: m.MimeType, FileName: m.FileName, Size: size, SHA256: hex.EncodeToString(hash[:])},
	}
	f.set(func(f *fleet) {
		f.files[message.ID], f.got = data, *m
	})
	result, err := f.store.Tenant(id).Commit(ctx, tenant.PutMessage{Live: true, Message: message})
	if err != nil {
		return tenant.Message{}, err
	}
	return result.Messages[0], nil
}

func (f *fleet) FetchFile(_ context.Context, id tenant.ID, m *tenant.Message) (*spool.File, error) {
	f.mu.Lock()
	data, err := f.files[m.ID], f.sendErr
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	file, err := f.NewFile(id)
	if err != nil {
		return nil, err
	}
	_, err = file.Write(data)
	return file, err
}

func (f *fleet) current() (session.PairingView, chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return session.PairingView{}, nil, f.fail
	}
	if f.pairing == nil {
		return session.PairingView{}, nil, session.ErrNoPairing
	}
	return *f.pairing, f.changed, nil
}

func (f *fleet) StartPairing(context.Context, tenant.ID) (session.PairingView, error) {
	f.mu.Lock()
	if f.fail == nil {
		f.pairing = &session.PairingView{Phase: session.PairingWaiting, QR: "2@abc,def,ghi", QRExpires: time.Now().Add(time.Minute), Version: 1}
	}
	f.mu.Unlock()
	view, _, err := f.current()
	return view, err
}

func (f *fleet) StartPhonePairing(_ context.Context, _ tenant.ID, phone string) (session.PairingView, error) {
	f.mu.Lock()
	if f.fail == nil {
		f.pairing = &session.PairingView{Phase: session.PairingWaiting, Code: "ABCD-" + phone[:4], Version: 1}
	}
	f.mu.Unlock()
	view, _, err := f.current()
	return view, err
}

func (f *fleet) Pairing(context.Context, tenant.ID) (session.PairingView, error) {
	view, _, err := f.current()
	return view, err
}

func (f *fleet) PairingChanged(ctx context.Context, _ tenant.ID, version int) (session.PairingView, error) {
	for {
		view, changed, err := f.current()
		if err != nil || view.Version > version {
			return view, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return session.PairingView{}, ctx.Err()
		}
	}
}

func (f *fleet) CancelPairing(context.Context, tenant.ID) error {
	_, _, err := f.current()
	return err
}

func (f *fleet) act(id tenant.ID, state session.State) (session.View, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return session.View{}, f.fail
	}
	f.view.State = state
	view := f.view
	view.Tenant = id
	return view, nil
}

func (f *fleet) Connect(_ context.Context, id tenant.ID) (session.View, error) {
	return f.act(id, session.Online)
}

func (f *fleet) Disconnect(_ context.Context, id tenant.ID) (session.View, error) {
	return f.act(id, session.Stopped)
}

func (f *fleet) Logout(_ context.Context, id tenant.ID) (session.View, error) {
	return f.act(id, session.LoggedOut)
}

func (f *fleet) Remove(_ context.Context, id tenant.ID) (tenant.DeviceFate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removed = append(f.removed, id)
	return tenant.DeviceUnlinked, f.fail
}

func (f *fleet) Suspend(_ context.Context, id tenant.ID) error {
	_, err := f.act(id, session.Stopped)
	return err
}

func (f *fleet) Resume(_ context.Context, id tenant.ID) error {
	_, err := f.act(id, session.Online)
	return err
}

func (f *fleet) Views() []*session.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*session.View{}, f.views...)
}

// raw sends bytes as they are and reads one answer.
func (n *node) raw(t *testing.T, request string) *answer {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(n.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, _ = io.WriteString(conn, request) // the server may have answered and closed before it has all
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return &answer{t: t, status: res.StatusCode, line: res.Status, header: res.Header, body: body}
}
