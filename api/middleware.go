package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

// requestState is what the layers of one request tell each other. It is written by the request's own goroutine alone.
type requestState struct {
	id        string
	operation string    // operationId, or "other"
	route     string    // the route's pattern, never the raw path: that holds numbers of people
	tenant    tenant.ID // once authenticated
	key       tenant.KeyID
	quiet     bool         // probes and scrapes are logged at debug
	accept    string       // what the client would like, which Huma must not see
	origin    string       // scheme and host, as the client wrote them
	client    netip.Addr   // who asks, beyond trusted proxies
	once      *onceRequest // nil without an idempotency key
	actor     string       // the admin key's id, or one of tenant.Actor…
	role      tenant.AdminRole
	audit     tenant.AuditOutcome // what handlers add to the audit log
	code      Code                // of the problem that was answered
	leave     func()              // ends that the request counts as one under way; nil: it does not
	streamed  bool                // it lasts as long as the client likes, which says nothing about how fast we answer
	log       *slog.Logger
}

type stateKey struct{}

// stateOf returns the request's state, or an empty one outside of a request.
func stateOf(ctx context.Context) *requestState {
	if state, ok := ctx.Value(stateKey{}).(*requestState); ok {
		return state
	}
	return &requestState{operation: operationOther, log: slog.New(slog.DiscardHandler)}
}

const operationOther = "other"

// ServeHTTP serves what the public address has: everything, unless the admin API has an address of its own.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.cfg.SeparateAdmin {
		s.serve(w, r, facePublic)
		return
	}
	s.serve(w, r, faceWhole)
}

// serve gives each request an id, answers, recovers, logs, counts.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, at face) {
	start := time.Now()
	state := &requestState{id: requestID(r.Header.Get(headerRequestID)), operation: operationOther}
	state.log = s.cfg.Log.With(slog.String("request_id", state.id))
	state.accept, state.origin, state.client = r.Header.Get("Accept"), originOf(r), s.clientOf(r)
	r = r.WithContext(context.WithValue(r.Context(), stateKey{}, state))
	rec := &recorder{ResponseWriter: w}

	h := rec.Header()
	h.Set(headerRequestID, state.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	// Set for each request, since one on the same connection may have set another before.
	_ = rec.setWriteDeadline(start.Add(s.limits.WriteTimeout))

	defer s.finish(rec, r, state, start)
	defer s.contain(rec, r, state)
	s.route(rec, r, state, at)
}

// route finds the route and answers what has none.
func (s *Server) route(w http.ResponseWriter, r *http.Request, state *requestState, at face) {
	if unclean(r.URL.EscapedPath()) || !at.shows(r.URL.Path) {
		newProblem(codeNotFound).write(w, r)
		return
	}
	handler, pattern := s.mux.Handler(r)
	if pattern == "" {
		// The mux knows which methods the path has; its own answers are plain text.
		probe := &recorder{ResponseWriter: &discard{header: http.Header{}}}
		handler.ServeHTTP(probe, r)
		if probe.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", probe.Header().Get("Allow"))
			newProblem(codeMethodNotAllowed).write(w, r)
			return
		}
		newProblem(codeNotFound).write(w, r)
		return
	}
	_, state.route, _ = strings.Cut(pattern, " ")
	s.mux.ServeHTTP(w, r)
}

// unclean says that the mux would redirect the path to another spelling: we have one spelling for each resource.
func unclean(path string) bool {
	if path == "" || path[0] != '/' {
		return true
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return strings.Contains(path, "//")
}

// contain turns a handler's panic into an answer, so that the process lives.
func (s *Server) contain(w *recorder, r *http.Request, state *requestState) {
	cause := recover()
	if cause == nil {
		return
	}
	err, isError := cause.(error)
	if isError && errors.Is(err, http.ErrAbortHandler) {
		state.log.DebugContext(r.Context(), "response cut off", slog.String("operation", state.operation))
		panic(http.ErrAbortHandler) // on purpose: the client must see that the answer is not whole
	}
	if isError && w.failed {
		// Huma panics when it cannot write. The client left; nothing is wrong here.
		return
	}
	s.cfg.Metrics.HTTP.Panic()
	state.log.ErrorContext(r.Context(), "handler panicked", slog.String("operation", state.operation),
		slog.String("panic", fmt.Sprint(cause)), slog.String("stack", string(debug.Stack())))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	newProblem(codeInternal).write(w, r)
}

// finish logs and counts an answered request.
func (s *Server) finish(w *recorder, r *http.Request, state *requestState, start time.Time) {
	took := time.Since(start)
	status := w.status
	if status == 0 {
		status = http.StatusOK
	}
	if !state.streamed {
		s.cfg.Metrics.HTTP.Duration(state.operation, took)
	}
	attrs := []slog.Attr{
		slog.String("method", knownMethod(r.Method)), slog.String("route", state.route), slog.Int("status", status),
		slog.Int64("bytes", w.bytes), slog.Float64("duration_ms", float64(took.Microseconds())/1000), //nolint:mnd // milliseconds
	}
	if state.tenant != "" {
		attrs = append(attrs, slog.String("tenant", string(state.tenant)))
		if !s.keys.isGone(state.tenant) {
			s.meter.call(state.tenant, state.key, start)
			s.cfg.Metrics.HTTP.Request(string(state.tenant), statusClass(status))
		}
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		attrs = append(attrs, slog.String("remote", host))
	}
	level := slog.LevelInfo
	if state.quiet {
		level = slog.LevelDebug
	}
	state.log.LogAttrs(r.Context(), level, "request", attrs...)
}

func statusClass(status int) string {
	switch {
	case status >= http.StatusInternalServerError:
		return "5xx"
	case status >= http.StatusBadRequest:
		return "4xx"
	case status >= http.StatusMultipleChoices:
		return "3xx"
	default:
		return "2xx" // 101 too: a stream that was served
	}
}

// knownMethod keeps what strangers write as a method out of the log.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return operationOther
}

const (
	headerRequestID  = "X-Request-Id"
	maxRequestID     = 64
	requestIDEntropy = 8 // bytes
)

// requestID takes the caller's id if it is sane, so that a request can be followed through proxies, else makes one.
func requestID(given string) string {
	if given != "" && len(given) <= maxRequestID && strings.IndexFunc(given, notIDCharacter) < 0 {
		return given
	}
	raw := make([]byte, requestIDEntropy)
	_, _ = rand.Read(raw) // never fails: crypto/rand crashes the process instead
	return hex.EncodeToString(raw)
}

func notIDCharacter(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
}

// recorder remembers what was answered. Unwrap lets http.ResponseController reach the connection.
type recorder struct {
	http.ResponseWriter

	status int
	bytes  int64
	failed bool // a write failed: the client left
}

// WriteHeader remembers the status.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts bytes.
func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	if err != nil {
		w.failed = true
	}
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) setWriteDeadline(at time.Time) error {
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(at)
}

// discard is a response that nobody reads.
type discard struct{ header http.Header }

// Header is what the mux says besides its text.
func (d *discard) Header() http.Header { return d.header }

// Write discards.
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader discards.
func (d *discard) WriteHeader(int) {}
