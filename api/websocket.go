package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wafleet/wafleet/tenant"
)

// socketHandler serves /ws: the tenant's journal from a number on, then live.
//
// There is one way for events, whether they are old or new: read the journal after the last number sent, until there is no more;
// then wait to be woken. So nothing can fall between catching up and live, and nothing can come twice. The journal is the
// queue, too: a reader that does not keep up holds one batch in memory and no more.
type socketHandler struct {
	server  *Server
	streams *streams
	limits  Limits
}

// registerWebSocket registers /ws (client API v2 §2).
func (s *Server) registerWebSocket(d *document) {
	h := &socketHandler{server: s, streams: s.streams, limits: s.limits}
	tenantOperation(d, &operation{
		id: "open-event-stream", method: http.MethodGet, path: "/ws", tag: tagEvents, deadline: deadlineNone,
		status: http.StatusSwitchingProtocols, mayStream: true,
		summary: "Receive events as they happen (WebSocket)",
		description: "Each text frame is one event. The first frame is `hello`, with the numbers of the oldest event that is kept and of the " +
			"newest. With `since` all events after that number follow, then whatever happens, in order, without a gap and without a " +
			"double; keep the `seq` of the last event you handled and come back with it. `typing` alone is live only: it has no `seq` and cannot be " +
			"fetched again. If events after `since` are no longer kept, a " +
			"`gap` frame says so, and the stream goes on with the oldest that is.\n\n" +
			"The server pings every 30 s and closes with 1001 when it stops, 1008 when the key is no longer valid, 1013 when you read too " +
			"slowly: come back with `since`. What you send is ignored, but a frame of more than 4096 bytes is closed with 1009. Browsers " +
			"pass the key as `apiKey`.",
		problems: []Code{codeUpgradeRequired, codeTooManyStreams, codeMethodNotAllowed},
		adjust: func(op *huma.Operation, schemas huma.Registry) {
			op.Responses["101"] = &huma.Response{
				Description: "Switching Protocols. The schema is that of the frames that follow.",
				Content:     map[string]*huma.MediaType{jsonType: {Schema: frameSchema(schemas), Examples: frameExamples()}},
			}
		},
	}, h.open)
}

type socketInput struct {
	APIKey string          `query:"apiKey" doc:"Your API key, if you cannot send the header X-API-Key."`
	Since  optional[int64] `query:"since" minimum:"0" doc:"Send all events after this number first. Without it only new events are sent." example:"41"`
}

// open checks what can be answered with a status, then gives the connection to the socket.
func (h *socketHandler) open(ctx context.Context, t tenant.Handle, in *socketInput) (*huma.StreamResponse, error) {
	life, st, err := h.streams.open(ctx, t.ID(), stateOf(ctx).key)
	if err != nil {
		return nil, err
	}
	wake, stop := t.Watch() // before the bounds are read: what comes after them wakes us
	live, stopLive := h.server.cfg.Sessions.Live(t.ID())
	release := func() {
		stop()
		stopLive()
		h.streams.close(st)
	}
	look, cancel := context.WithTimeout(ctx, h.limits.ReadTimeout)
	defer cancel()
	oldest, latest, err := t.Bounds(look)
	if err != nil {
		release()
		return nil, readTimeoutIsUnavailable(ctx, err)
	}
	sock := &socket{handle: t, stream: st, wake: wake, live: live, limits: h.limits, log: stateOf(ctx).log, last: latest}
	sock.hello = helloFrame{Type: "hello", Data: helloData{Oldest: oldest, Latest: latest}}
	if in.Since.set {
		sock.last = in.Since.value
		if next := max(min(in.Since.value, latest), oldest-1); next != in.Since.value {
			sock.gap, sock.last = &gapFrame{Type: frameGap, Data: gapData{Since: in.Since.value, Next: next + 1}}, next
		}
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer release()
		if sock.conn = h.upgrade(hc, sock); sock.conn != nil { //nolint:contextcheck // Huma's context carries it
			sock.run(life)
		}
	}}, nil
}

// upgrade makes the request a WebSocket, or answers why not and returns nil.
func (h *socketHandler) upgrade(hc huma.Context, sock *socket) *websocket.Conn {
	r, w := humago.Unwrap(hc)
	if p := notUpgrade(r); p != nil {
		answer(hc, p)
		return nil
	}
	secret, err := tenant.ParseSecret(presented(hc, true))
	if err != nil {
		answer(hc, newProblem(codeInvalidKey))
		return nil
	}
	sock.admit = func(ctx context.Context) (tenant.Key, error) { return h.server.keys.admit(ctx, secret) }
	extendWrite(hc, 0)
	// Any origin may connect: the key authenticates, no cookie does.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil // it has answered
	}
	return conn
}

// notUpgrade says why a request cannot become a WebSocket, in our words.
func notUpgrade(r *http.Request) *Problem {
	switch {
	case r.Method != http.MethodGet:
		return newProblem(codeMethodNotAllowed)
	case !r.ProtoAtLeast(1, 1) || r.ProtoMajor > 1,
		!strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade"),
		!strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		return newProblem(codeUpgradeRequired)
	case r.Header.Get("Sec-Websocket-Version") != "13", len(r.Header.Values("Sec-Websocket-Key")) != 1:
		return newProblem(codeBadRequest).because("The WebSocket handshake is not valid: version 13 and one key are needed.")
	}
	return nil
}

// socket is one open WebSocket.
type socket struct {
	conn   *websocket.Conn
	handle tenant.Handle
	stream *stream
	wake   <-chan struct{}
	live   <-chan tenant.Event                           // what is in no journal
	admit  func(ctx context.Context) (tenant.Key, error) // is the key still valid?
	write  func(raw []byte) error                        // may outlive the stream's context by lastWords
	limits Limits
	log    *slog.Logger

	hello helloFrame
	gap   *gapFrame // nil: none
	last  int64     // seq of the last event that was sent, or counts as sent
}

const (
	// socketBatch is how many events are read at once: the most that a slow reader holds in memory.
	socketBatch = 64
	// inboundLimit bounds the frames that a client sends, which nobody reads.
	inboundLimit = 4 << 10
	// staleLive is when a live event is not worth sending any more.
	staleLive = 10 * time.Second
	// lastWords is how long the end of a stream waits for a write under way.
	lastWords = 500 * time.Millisecond
)

var errSlow = errors.New("the client reads too slowly")

// run serves the socket until ctx ends or the client leaves. It returns when its goroutines have.
func (s *socket) run(ctx context.Context) {
	// Writes do not end with the stream at once, or the close frame could not be sent; but soon.
	writes, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	stopCut := context.AfterFunc(ctx, func() { time.AfterFunc(lastWords, cut) })
	defer stopCut()
	s.write = func(raw []byte) error {
		within, cancel := context.WithTimeout(writes, s.limits.DropAfter)
		defer cancel()
		return s.conn.Write(within, websocket.MessageText, raw)
	}

	var wg sync.WaitGroup
	wg.Go(func() { s.drain(writes) })
	wg.Go(func() { s.watchOver(ctx) })
	err := s.serve(ctx)
	s.stream.end(err)
	code, reason := closing(err)
	if code == 0 {
		_ = s.conn.CloseNow()
	} else {
		_ = s.conn.Close(code, reason)
	}
	cut()
	wg.Wait()
}

// closing is what the client is told about the end.
func closing(err error) (code websocket.StatusCode, reason string) {
	switch {
	case errors.Is(err, errServerStops):
		return websocket.StatusGoingAway, "the server is stopping; come back with since"
	case errors.Is(err, errKeyEnded):
		return websocket.StatusPolicyViolation, "the API key is no longer valid"
	case errors.Is(err, errTenantGone):
		return websocket.StatusPolicyViolation, "the account was deleted"
	case errors.Is(err, errSlow):
		return websocket.StatusTryAgainLater, "too slow; come back with since"
	default:
		return 0, ""
	}
}

// drain reads and ignores what the client sends, which also handles its pongs and its close frame.
func (s *socket) drain(ctx context.Context) {
	s.conn.SetReadLimit(inboundLimit)
	for {
		_, r, err := s.conn.Reader(ctx)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			s.stream.end(errPeerGone)
			return
		}
	}
}

// watchOver pings, and ends the stream with its key.
func (s *socket) watchOver(ctx context.Context) {
	ping := time.NewTicker(s.limits.PingEvery)
	defer ping.Stop()
	expiry := time.NewTimer(0) // the first check learns when the key expires
	defer expiry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.stream.poke:
		case <-expiry.C:
		case <-ping.C:
			within, cancel := context.WithTimeout(ctx, s.limits.PongWithin)
			err := s.conn.Ping(within)
			cancel()
			if err != nil {
				s.stream.end(errSilent)
				return
			}
		}
		look, cancel := context.WithTimeout(ctx, s.limits.ReadTimeout)
		key, err := s.admit(look)
		cancel()
		if errors.Is(err, tenant.ErrInvalidKey) {
			s.stream.end(errKeyEnded)
			return
		}
		if err == nil && key.ExpiresAt != nil {
			expiry.Reset(time.Until(*key.ExpiresAt))
		}
		// A database that is away proves nothing: the next ping asks again.
	}
}

// serve sends frames until the stream ends, and returns why.
func (s *socket) serve(ctx context.Context) error {
	if err := s.send(ctx, s.hello); err != nil {
		return err
	}
	if s.gap != nil {
		if err := s.send(ctx, s.gap); err != nil {
			return err
		}
	}
	// The journal is looked at now and then even if nothing wakes us.
	look := time.NewTicker(s.limits.PingEvery)
	defer look.Stop()
	for {
		more, err := s.forward(ctx)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.wake:
		case <-look.C:
		case event := <-s.live:
			if time.Since(event.Timestamp) > staleLive {
				continue
			}
			if err := s.send(ctx, event); err != nil {
				return err
			}
		}
	}
}

// databaseAway is how long a stream waits before it asks a database again that did not answer.
const databaseAway = time.Second

// forward sends one batch of the journal. more says that there may be another.
func (s *socket) forward(ctx context.Context) (more bool, err error) {
	within, cancel := context.WithTimeout(ctx, s.limits.ReadTimeout)
	events, err := s.handle.Events(within, s.last, socketBatch)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		s.log.WarnContext(ctx, "reading the journal failed", slog.Any("error", err))
		pause := time.NewTimer(databaseAway)
		defer pause.Stop()
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-pause.C:
			return true, nil
		}
	}
	for i := range events {
		event := &events[i]
		if event.Seq > s.last+1 { // retention overtook us
			gap := gapFrame{Type: frameGap, Data: gapData{Since: s.last, Next: event.Seq}}
			if err := s.send(ctx, gap); err != nil {
				return false, err
			}
		}
		if err := s.send(ctx, event); err != nil {
			return false, err
		}
		s.last = event.Seq
	}
	return len(events) == socketBatch, nil
}

// send writes one frame. A client that takes it late is told that it is too slow; one that does not take it at all is cut off,
// since no close frame would reach it either.
func (s *socket) send(ctx context.Context, frame any) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	raw, err := json.Marshal(frame)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	start := time.Now()
	if err := s.write(raw); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	if time.Since(start) > s.limits.SlowAfter {
		return errSlow
	}
	return nil
}
