package api

import (
	"context"
	"errors"
	"io"
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
type socketHandler struct{ server *Server }

// registerWebSocket registers /ws (client API v2 §2).
func (s *Server) registerWebSocket(d *document) {
	h := &socketHandler{server: s}
	tenantOperation(d, &operation{
		id: "open-event-stream", scope: tenant.ScopeRead, method: http.MethodGet, path: "/ws", tag: tagEvents, deadline: deadlineNone,
		status: http.StatusSwitchingProtocols, mayStream: true,
		summary: "Receive events as they happen (WebSocket)",
		description: "Each text frame is one event. The first frame is `hello`, with the numbers of the oldest event that is kept and of the " +
			"newest. With `since` all events after that number follow, then whatever happens, in order, without a gap and without a " +
			"double; keep the `seq` of the last event you handled and come back with it. `typing`, `presence`, `sync.progress` and " +
			"`history.progress` are live only: they have no `seq` and cannot be fetched again. If events after `since` are no longer kept, a " +
			"`gap` frame says so, and the stream goes on with the oldest that is.\n\n" +
			"The server pings every 30 s and closes with 1001 when it stops, 1008 when the key is no longer valid or the account suspended, 1013 when you read too " +
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
	life, f, err := h.server.follow(ctx, t, in.Since.pointer())
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer f.release()
		sock := &socket{follower: f}
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
	if !h.server.keyed(hc, true, sock.follower) {
		return nil
	}
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
	*follower

	conn *websocket.Conn
}

// inboundLimit bounds the frames that a client sends, which nobody reads.
const inboundLimit = 4 << 10

// run serves the socket until ctx ends or the client leaves. It returns when its goroutines have.
func (s *socket) run(ctx context.Context) {
	// Writes do not end with the stream at once, or the close frame could not be sent; but soon.
	writes, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	stopCut := context.AfterFunc(ctx, func() { time.AfterFunc(lastWords, cut) })
	defer stopCut()
	s.write = func(raw []byte, _ int64) error {
		within, cancel := context.WithTimeout(writes, s.limits.DropAfter)
		defer cancel()
		return s.conn.Write(within, websocket.MessageText, raw)
	}

	var wg sync.WaitGroup
	wg.Go(func() { s.drain(writes) })
	wg.Go(func() { s.watchOver(ctx, s.ping) })
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
	case errors.Is(err, errSuspended):
		return websocket.StatusPolicyViolation, "the account is suspended"
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

// ping asks whether the client is there.
func (s *socket) ping(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, s.limits.PongWithin)
	defer cancel()
	return s.conn.Ping(within)
}
