package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/tenant"
)

// sock is a client's end of a WebSocket.
type sock struct {
	t    testing.TB
	conn *websocket.Conn
}

// frame is what arrives.
type frame struct {
	Seq       int64           `json:"seq"`
	Type      string          `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
}

// dial opens a WebSocket with the account's key in the header, unless the path has one.
func (a *account) dial(path string, header http.Header) *sock {
	a.t.Helper()
	if header == nil {
		header = http.Header{}
	}
	if !strings.Contains(path, "apiKey=") {
		header.Set("X-API-Key", a.key)
	}
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	conn, res, err := websocket.Dial( //nolint:bodyclose // it has none after an upgrade
		ctx, "ws"+strings.TrimPrefix(a.url, "http")+path, &websocket.DialOptions{HTTPHeader: header},
	)
	require.NoError(a.t, err)
	require.NotEmpty(a.t, res.Header.Get("X-Request-Id"))
	require.Empty(a.t, res.Header.Get("Sec-WebSocket-Extensions"), "compression is off")
	conn.SetReadLimit(1 << 20)
	a.t.Cleanup(func() { _ = conn.CloseNow() })
	return &sock{t: a.t, conn: conn}
}

func (s *sock) read() (frame, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	var f frame
	_, raw, err := s.conn.Read(ctx)
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(raw, &f)
}

// next is the next frame.
func (s *sock) next() frame {
	s.t.Helper()
	f, err := s.read()
	require.NoError(s.t, err)
	return f
}

// event is the next frame, which must be that event of the journal.
func (s *sock) event(seq int64) frame {
	s.t.Helper()
	f := s.next()
	require.Equal(s.t, seq, f.Seq, f.Type)
	return f
}

// closedWith reads until the server closes.
func (s *sock) closedWith(code int) {
	s.t.Helper()
	for {
		_, err := s.read()
		if err == nil {
			continue
		}
		require.Equal(s.t, code, int(websocket.CloseStatus(err)), err)
		return
	}
}

func (a *account) head() int64 {
	a.t.Helper()
	_, latest, err := a.handle.Bounds(a.t.Context())
	require.NoError(a.t, err)
	return latest
}

func TestTheFirstFrameIsHello(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	s := a.dial("/ws?apiKey="+a.key, http.Header{"Origin": {"https://elsewhere.example"}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, raw, err := s.conn.Read(ctx)
	require.NoError(t, err)
	require.JSONEq(t, `{"type":"hello","data":{"latest":0,"oldest":1}}`, string(raw))

	a.receive(ana, "M1", "hello")
	head := a.head()
	for seq := int64(1); seq <= head; seq++ {
		got := s.event(seq)
		require.False(t, got.Timestamp.IsZero())
		if got.Type == "message.received" {
			var m tenant.Message
			require.NoError(t, json.Unmarshal(got.Data, &m))
			require.Equal(t, "hello", m.Text)
		}
	}
	require.NoError(t, s.conn.Close(websocket.StatusNormalClosure, ""))
}

func TestSinceBringsWhatWasMissed(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	for i := range 100 { // more than one batch
		a.receive(ana, fmt.Sprintf("M%d", i), "hello")
	}
	head := a.head()
	s := a.dial("/ws?since=3", nil)
	require.Equal(t, "hello", s.next().Type)
	for seq := int64(4); seq <= head; seq++ {
		s.event(seq)
	}
	quiet := a.dial("/ws", nil)
	require.Equal(t, "hello", quiet.next().Type)
	a.receive(ana, "LATE", "hello")
	require.Equal(t, head+1, s.next().Seq)
	require.Equal(t, head+1, quiet.next().Seq, "without since only new events come")
}

// reader reads a tenant's events, by one of the ways that there are.
type reader interface{ read() (frame, error) }

// TestCatchingUpAndLiveJoin comes to read at every moment of a burst of commits, in each way: all must see all events once and in order.
func TestCatchingUpAndLiveJoin(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	const writers, each, readers = 4, 60, 12
	var commits sync.WaitGroup
	for w := range writers {
		commits.Go(func() {
			for i := range each {
				a.receive(tenant.ChatID(fmt.Sprintf("55119999%05d@c.us", w)), fmt.Sprintf("W%d-%d", w, i), "hello")
			}
		})
	}
	var followers sync.WaitGroup
	followed := make(chan error, readers)
	for r := range readers {
		require.Eventually(t, func() bool { // spread over the burst
			return a.head() >= int64(r*writers*each/readers)
		}, patience, time.Millisecond)
		from := []reader{a.dial(fmt.Sprintf("/ws?since=%d", r), nil), a.stream("", strconv.Itoa(r)), &poll{a: a, after: int64(r)}}[r%3]
		followers.Go(func() { followed <- follow(from, int64(r), writers*each) })
	}
	commits.Wait()
	followers.Wait()
	for range readers {
		require.NoError(t, <-followed)
	}
}

// follow reads until it has all messages after a number.
func follow(s reader, since int64, messages int) error {
	if f, err := s.read(); err != nil || f.Type != "hello" {
		return fmt.Errorf("first frame %q: %w", f.Type, err)
	}
	seen := map[string]bool{}
	for seq := since + 1; len(seen) < messages-int(since); seq++ {
		f, err := s.read()
		if err != nil {
			return err
		}
		if f.Seq != seq {
			return fmt.Errorf("seq %d after %d", f.Seq, seq-1)
		}
		if f.Type != "message.received" {
			continue
		}
		var m tenant.Message
		if err := json.Unmarshal(f.Data, &m); err != nil {
			return err
		}
		if seen[string(m.ID)] {
			return fmt.Errorf("message %s came twice", m.ID)
		}
		seen[string(m.ID)] = true
	}
	return nil
}

// shortJournal keeps only the events after a number.
type shortJournal struct {
	tenant.Store

	kept int64
}

type shortHandle struct {
	tenant.Handle

	kept int64
}

func (s *shortJournal) Tenant(id tenant.ID) tenant.Handle {
	return &shortHandle{Handle: s.Store.Tenant(id), kept: s.kept}
}

func (h *shortHandle) Bounds(ctx context.Context) (oldest, latest int64, err error) {
	_, latest, err = h.Handle.Bounds(ctx)
	return h.kept + 1, latest, err
}

func (h *shortHandle) Events(ctx context.Context, after int64, limit int) ([]tenant.Event, error) {
	return h.Handle.Events(ctx, max(after, h.kept), limit)
}

func TestAGapIsSaid(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *api.Config) { c.Store = &shortJournal{Store: c.Store, kept: 5} })
	a := n.account()
	for i := range 10 {
		a.receive(ana, fmt.Sprintf("M%d", i), "hello")
	}
	s := a.dial("/ws?since=2", nil)
	hello := s.next()
	require.JSONEq(t, fmt.Sprintf(`{"latest":%d,"oldest":6}`, a.head()), string(hello.Data))
	gap := s.next()
	require.Equal(t, "gap", gap.Type)
	require.JSONEq(t, `{"since":2,"next":6}`, string(gap.Data))
	s.event(6)

	edge := a.dial("/ws?since=5", nil)
	edge.next()
	edge.event(6)

	ahead := a.dial("/ws?since=1000", nil)
	ahead.next()
	gap = ahead.next()
	require.Equal(t, "gap", gap.Type)
	require.JSONEq(t, fmt.Sprintf(`{"since":1000,"next":%d}`, a.head()+1), string(gap.Data))
	a.receive(ana, "NEW", "hello")
	require.Equal(t, a.head(), ahead.next().Seq)

	var list struct {
		Events []tenant.Event
		Gap    bool
	}
	a.get("/api/events?after=2").is(200).into(&list)
	require.True(t, list.Gap)
	require.Equal(t, int64(6), list.Events[0].Seq)
	require.NotContains(t, string(a.get("/api/events?after=5").is(200).body), `"gap"`)
}

func TestRevokingAKeyClosesItsStreams(t *testing.T) {
	t.Parallel()
	a := start(t, func(c *api.Config) { // nothing else finds out
		c.Limits.KeyCacheTTL, c.Limits.PingEvery = time.Hour, time.Hour
	}).account()
	_, secret, err := a.handle.CreateKey(t.Context(), tenant.NewKey{})
	require.NoError(t, err)
	other := a.dial("/ws?apiKey="+secret.Reveal(), nil)
	other.next()
	s := a.dial("/ws", nil)
	s.next()
	require.NoError(t, a.handle.RevokeKey(t.Context(), a.keyID))
	s.closedWith(1008)
	a.receive(ana, "M1", "hello")
	require.NotZero(t, other.next().Seq, "the tenant's other key goes on")
}

func TestAnExpiredKeyClosesItsStreams(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	key, secret, err := a.handle.CreateKey(t.Context(), tenant.NewKey{})
	require.NoError(t, err)
	s := a.dial("/ws?apiKey="+secret.Reveal(), nil)
	s.next()
	_, err = a.handle.ChangeKey(t.Context(), key.ID, tenant.KeyChange{ExpiresAt: new(time.Now().Add(500 * time.Millisecond))})
	require.NoError(t, err)
	s.closedWith(1008)
}

func TestAReaderTooSlowIsToldToComeBack(t *testing.T) {
	t.Parallel()
	a := start(t, func(c *api.Config) { c.Limits.SlowAfter = time.Millisecond }).account()
	s := a.dial("/ws", nil)
	a.flood() // meanwhile the reader does nothing
	s.closedWith(1013)
}

func TestAReaderThatNeverReadsIsCutOff(t *testing.T) {
	t.Parallel()
	a := start(t, notWaiting).account()
	a.dial("/ws", nil)
	a.flood()
	a.hasStreams(0)
}

// notWaiting lets a server soon give up a client that does not read.
func notWaiting(c *api.Config) {
	c.Limits.SlowAfter, c.Limits.DropAfter = 100*time.Millisecond, 300*time.Millisecond
}

// flood receives more than the buffers of a connection hold.
func (a *account) flood() {
	a.t.Helper()
	text := strings.Repeat("a", tenant.MaxTextLength)
	for i := range 200 {
		a.receive(ana, fmt.Sprintf("M%d", i), text)
	}
}

// hasStreams waits until so many streams of the tenant's events are open.
func (a *account) hasStreams(count int) {
	a.t.Helper()
	want := fmt.Sprintf(`wafleet_event_streams{tenant="%s"} %d`, a.id, count)
	require.Eventually(a.t, func() bool {
		return strings.Contains(string(a.call(http.MethodGet, "/metrics", nil).body), want)
	}, patience, 10*time.Millisecond)
}

func TestAClientThatAnswersNoPingIsCutOff(t *testing.T) {
	t.Parallel()
	a := start(t, func(c *api.Config) {
		c.Limits.PingEvery, c.Limits.PongWithin = 30*time.Millisecond, 5*time.Second
	}).account()
	alive := a.dial("/ws", nil)
	alive.next()
	got := make(chan error, 1)
	go func() { _, err := alive.read(); got <- err }() // reading answers pings
	a.dial("/ws", nil)                                 // never reads
	a.hasStreams(1)
	a.receive(ana, "M1", "hello")
	require.NoError(t, <-got, "who answers stays")
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *api.Config) { c.TenantLimits = tenant.NewLimitBook(c.Store, tenant.Limits{EventStreams: 2}) })
	a, b := n.account(), n.account()
	first := a.dial("/ws", nil)
	first.next()
	a.dial("/ws", nil).next()
	a.send(http.MethodGet, "/ws", nil, "Connection", "Upgrade", "Upgrade", "websocket").problem(429, "TOO_MANY_STREAMS", "TOO_MANY_STREAMS")
	a.get("/api/events?wait=5").problem(429, "TOO_MANY_STREAMS", "TOO_MANY_STREAMS")
	b.dial("/ws", nil).next()
	require.NoError(t, first.conn.Close(websocket.StatusNormalClosure, ""))
	require.Eventually(t, func() bool { return a.get("/api/events?wait=1").status == 200 }, patience, 10*time.Millisecond)
}

func TestTheServerSaysGoodbye(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	s := a.dial("/ws", nil)
	s.next()
	polled := make(chan int, 1)
	go func() { polled <- a.get("/api/events?wait=60").status }()
	a.hasStreams(2)
	closed := make(chan error, 1)
	go func() {
		_, err := s.read()
		closed <- err
	}()
	n.stop()
	require.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(<-closed))
	require.Equal(t, 200, <-polled)
	a.get("/ws").problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
}

func TestWhatAClientSendsIsIgnoredWithinBounds(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	s := a.dial("/ws", nil)
	s.next()
	require.NoError(t, s.conn.Write(t.Context(), websocket.MessageText, []byte("ping")))
	a.receive(ana, "M1", "hello")
	require.NotZero(t, s.next().Seq)
	_ = s.conn.Write(t.Context(), websocket.MessageText, []byte(strings.Repeat("a", 64<<10))) // the server may close before it has all
	for {
		if _, err := s.read(); err != nil {
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			return
		}
	}
}
