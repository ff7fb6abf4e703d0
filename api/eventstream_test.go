package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/tenant"
)

// sse is a client's end of a stream of server-sent events, as the HTML standard has it.
type sse struct {
	t      testing.TB
	body   io.ReadCloser
	lines  *bufio.Reader
	lastID string // what the client comes back with
	quiet  int    // blocks without data
}

// stream opens GET /api/events/stream; with an id as one that comes back.
func (a *account) stream(query, lastID string) *sse {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	a.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/api/events/stream"+query, nil)
	require.NoError(a.t, err)
	req.Header.Set("X-API-Key", a.key)
	if lastID != "" {
		req.Header.Set("Last-Event-Id", lastID)
	}
	res, err := (&http.Client{}).Do(req)
	require.NoError(a.t, err)
	require.Equal(a.t, http.StatusOK, res.StatusCode)
	require.Equal(a.t, "text/event-stream", res.Header.Get("Content-Type"))
	require.Equal(a.t, "no-store", res.Header.Get("Cache-Control"))
	a.t.Cleanup(func() { _ = res.Body.Close() })
	return &sse{t: a.t, body: res.Body, lines: bufio.NewReader(res.Body), lastID: lastID}
}

// block reads up to the next empty line and returns the data in it, nil if there is none.
func (s *sse) block() (data []byte, err error) {
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return nil, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "":
			if value == "" && line == "\n" {
				return data, nil
			}
		case "id":
			s.lastID = value
		case "data":
			data = []byte(value)
		default:
			return nil, fmt.Errorf("a line that nobody knows: %q", line)
		}
	}
}

func (s *sse) read() (frame, error) {
	for {
		data, err := s.block()
		if err != nil {
			return frame{}, err
		}
		if data == nil {
			s.quiet++
			continue
		}
		var f frame
		if err := json.Unmarshal(data, &f); err != nil {
			return f, err
		}
		if f.Seq != 0 && strconv.FormatInt(f.Seq, 10) != s.lastID {
			return f, fmt.Errorf("event %d has the id %q", f.Seq, s.lastID)
		}
		return f, nil
	}
}

func (s *sse) next() frame {
	s.t.Helper()
	f, err := s.read()
	require.NoError(s.t, err)
	return f
}

// ends reads until the server ends the stream, in order.
func (s *sse) ends() {
	s.t.Helper()
	for {
		if _, err := s.read(); err != nil {
			require.ErrorIs(s.t, err, io.EOF)
			return
		}
	}
}

func TestAStreamOfEventsGoesOnAfterItsLastEventID(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	for i := range 100 { // more than one batch
		a.receive(ana, fmt.Sprintf("M%d", i), "hello")
	}
	head := a.head()
	s := a.stream("?after=3", "")
	require.Equal(t, "hello", s.next().Type)
	require.Equal(t, "3", s.lastID)
	for seq := int64(4); seq <= head; seq++ {
		require.Equal(t, seq, s.next().Seq)
	}
	require.NoError(t, s.body.Close())

	a.receive(ana, "LATE", "hello")
	again := a.stream("?after=3", s.lastID) // a browser repeats the address and adds the id
	require.Equal(t, "hello", again.next().Type)
	require.Equal(t, head+1, again.next().Seq)

	fresh := a.stream("", "")
	require.Equal(t, "hello", fresh.next().Type)
	require.Equal(t, strconv.FormatInt(a.head(), 10), fresh.lastID, "who is cut off before the first event loses none")
	a.receive(ana, "LATER", "hello")
	require.Positive(t, fresh.next().Seq)
}

func TestAStreamOfEventsSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *api.Config) { c.Store = &shortJournal{Store: c.Store, kept: 5} })
	a := n.account()
	for i := range 10 {
		a.receive(ana, fmt.Sprintf("M%d", i), "hello")
	}
	s := a.stream("", "2")
	require.Equal(t, "hello", s.next().Type)
	require.Equal(t, "2", s.lastID, "who does not come to read of the gap reads of it the next time")
	gap := s.next()
	require.JSONEq(t, `{"since":2,"next":6}`, string(gap.Data))
	require.Equal(t, "5", s.lastID)
	require.Equal(t, int64(6), s.next().Seq)
}

func TestAStreamOfSomeTypesMovesOnOverTheOthers(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *api.Config) { c.Limits.PingEvery = 40 * time.Millisecond })
	a := n.account()
	s := a.stream("?after=0&types=message.received,typing", "")
	require.Equal(t, "hello", s.next().Type)
	a.receive(ana, "M1", "hello")
	require.Equal(t, "message.received", s.next().Type)
	_, err := a.handle.Commit(t.Context(), tenant.DeleteChat{ID: ana})
	require.NoError(t, err)
	head := strconv.FormatInt(a.head(), 10)
	for s.lastID != head { // no event, only the id
		data, err := s.block()
		require.NoError(t, err)
		require.Nil(t, data)
	}
	before := s.quiet
	for range 3 {
		data, err := s.block()
		require.NoError(t, err)
		require.Nil(t, data, "comments keep the connection open")
	}
	require.Equal(t, before, s.quiet)
	a.receive(ana, "M2", "hello again")
	require.Contains(t, string(s.next().Data), "hello again")
}

func TestAStreamOfEventsEndsWithItsKey(t *testing.T) {
	t.Parallel()
	a := start(t).account()
	s := a.stream("", "")
	s.next()
	require.NoError(t, a.handle.RevokeKey(t.Context(), a.keyID))
	s.ends()
}

func TestAStreamOfEventsEndsWithTheServer(t *testing.T) {
	t.Parallel()
	n := start(t)
	s := n.account().stream("", "")
	s.next()
	n.stop()
	s.ends()
}

func TestAReaderOfEventsTooSlowIsCutOff(t *testing.T) {
	t.Parallel()
	a := start(t, notWaiting).account()
	a.stream("", "").next()
	a.flood()
	a.hasStreams(0)
}

func TestAStreamOfEventsIsRefusedAsEveryOtherRequest(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *api.Config) { c.TenantLimits = tenant.NewLimitBook(c.Store, tenant.Limits{EventStreams: 1}) })
	a := n.account()
	n.call(http.MethodGet, "/api/events/stream", nil).problem(401, "Missing API key", "MISSING_API_KEY")
	n.call(http.MethodGet, "/api/events/stream?apiKey="+a.key, nil).problem(401, "Missing API key", "MISSING_API_KEY")
	a.send(http.MethodGet, "/api/events/stream", nil, "Last-Event-ID", "yesterday").problem(422, "Validation error", "VALIDATION_ERROR")
	a.get("/api/events/stream?types=weather").problem(422, "Validation error", "VALIDATION_ERROR")
	a.send(http.MethodHead, "/api/events/stream", nil).is(200)
	a.stream("", "").next()
	a.get("/api/events/stream").problem(429, "TOO_MANY_STREAMS", "TOO_MANY_STREAMS")
}

// poll reads the journal as a list, again and again.
type poll struct {
	a     *account
	after int64
	ready []tenant.Event
	began bool
}

var errGap = errors.New("the list has a gap")

// read answers one event. The first frame is made up, as the others' is hello.
func (p *poll) read() (frame, error) {
	if !p.began {
		p.began = true
		return frame{Type: "hello"}, nil
	}
	for len(p.ready) == 0 {
		req, err := http.NewRequestWithContext(p.a.t.Context(), http.MethodGet, fmt.Sprintf("%s/api/events?after=%d&wait=10&limit=7", p.a.url, p.after), nil)
		if err != nil {
			return frame{}, err
		}
		req.Header.Set("X-API-Key", p.a.key)
		res, err := (&http.Client{}).Do(req)
		if err != nil {
			return frame{}, err
		}
		var list api.EventList
		err = json.NewDecoder(res.Body).Decode(&list)
		_ = res.Body.Close()
		if err != nil {
			return frame{}, err
		}
		if list.Gap {
			return frame{}, errGap
		}
		p.after, p.ready = list.Next, list.Events
	}
	e := p.ready[0]
	p.ready = p.ready[1:]
	return frame{Seq: e.Seq, Type: string(e.Type), Timestamp: e.Timestamp, Data: e.Data}, nil
}
