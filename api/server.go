package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wafleet/wafleet/metrics"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// Config is what a [Server] is made of. Store, Sessions, Metrics, Gatherer and Log are required.
type Config struct {
	Store    tenant.Store
	Sessions Sessions
	// AdminKey opens /admin. The zero value closes it: 500 Server misconfigured.
	AdminKey AdminKey
	// PublicURL is where clients reach the node, for the documents' servers. Optional.
	PublicURL string
	Metrics   *metrics.Metrics
	Gatherer  prometheus.Gatherer
	Log       *slog.Logger
	// Version is the node's, shown in the documents.
	Version string
	// Ready says whether the node may get traffic, besides the database, which is asked anyway. Optional.
	Ready  func(ctx context.Context) error
	Limits Limits
}

// Limits bound what requests may take. Zero means the default. The deadlines of operations lie below what client API v2 §9
// tells clients to wait, so that they hear our answer and not their own time-out.
type Limits struct {
	Body             int64         // bytes of a JSON body; 1 MiB
	BodyTimeout      time.Duration // for a body to arrive, or the next piece of a file; 10 s
	File             int64         // bytes of a file; 100 MiB
	UploadTimeout    time.Duration // for a whole file to arrive; 10 min
	ReadTimeout      time.Duration // local reads; 4.5 s
	ActionTimeout    time.Duration // single WhatsApp actions; 28 s
	MultiTimeout     time.Duration // multi-step actions; 85 s
	WriteTimeout     time.Duration // for a client to take an answer, beyond the operation's own deadline; 30 s
	StreamsPerTenant int           // event streams and waiting polls of one tenant; 32
	Streams          int           // the same of all tenants; 20,000
	PingEvery        time.Duration // WebSocket pings; 30 s
	PongWithin       time.Duration // for the pong to come; 15 s
	SlowAfter        time.Duration // a WebSocket write that takes longer means a reader too slow: closed with 1013; 10 s
	DropAfter        time.Duration // a WebSocket write that takes longer is given up; 30 s
	KeyCacheTTL      time.Duration // how long a key's row may be used without asking again; 1 s
	KeyCacheEntries  int           // 10,000
}

func (l *Limits) withDefaults() Limits {
	return Limits{
		Body:             cmp.Or(l.Body, 1<<20),
		BodyTimeout:      cmp.Or(l.BodyTimeout, 10*time.Second),
		File:             cmp.Or(l.File, session.MaxFile),
		UploadTimeout:    cmp.Or(l.UploadTimeout, 10*time.Minute),
		ReadTimeout:      cmp.Or(l.ReadTimeout, 4500*time.Millisecond),
		ActionTimeout:    cmp.Or(l.ActionTimeout, 28*time.Second),
		MultiTimeout:     cmp.Or(l.MultiTimeout, 85*time.Second),
		WriteTimeout:     cmp.Or(l.WriteTimeout, 30*time.Second),
		StreamsPerTenant: cmp.Or(l.StreamsPerTenant, 32),
		Streams:          cmp.Or(l.Streams, 20_000),
		PingEvery:        cmp.Or(l.PingEvery, 30*time.Second),
		PongWithin:       cmp.Or(l.PongWithin, 15*time.Second),
		SlowAfter:        cmp.Or(l.SlowAfter, 10*time.Second),
		DropAfter:        cmp.Or(l.DropAfter, 30*time.Second),
		KeyCacheTTL:      cmp.Or(l.KeyCacheTTL, time.Second),
		KeyCacheEntries:  cmp.Or(l.KeyCacheEntries, 10_000),
	}
}

// Server answers all requests of a node. It is an [http.Handler]; [Server.Run] does what is not tied to a request.
type Server struct {
	cfg     Config
	limits  Limits
	mux     *http.ServeMux
	keys    *keyring
	streams *streams
}

// New builds the server and its two documents. It needs [InstallErrors] to have been called; a mistake in an operation's
// declaration makes it panic, which a test finds.
func New(cfg Config) (*Server, error) {
	var missing []error
	for name, absent := range map[string]bool{
		"Store": cfg.Store == nil, "Sessions": cfg.Sessions == nil, "Metrics": cfg.Metrics == nil,
		"Gatherer": cfg.Gatherer == nil, "Log": cfg.Log == nil,
	} {
		if absent {
			missing = append(missing, fmt.Errorf("api: Config.%s is required", name))
		}
	}
	if _, ok := errors.AsType[*Problem](huma.NewError(http.StatusTeapot, "")); !ok {
		missing = append(missing, errors.New("api: InstallErrors was not called"))
	}
	if len(missing) > 0 {
		return nil, errors.Join(missing...)
	}
	limits := cfg.Limits.withDefaults()
	keys, err := newKeyring(cfg.Store, &limits)
	if err != nil {
		return nil, fmt.Errorf("make key cache: %w", err)
	}
	s := &Server{
		cfg:     cfg,
		limits:  limits,
		mux:     http.NewServeMux(),
		keys:    keys,
		streams: newStreams(cfg.Metrics.HTTP, limits, keys.isGone),
	}
	if err := s.routes(); err != nil {
		return nil, err
	}
	return s, nil
}

// routes is every route of the node.
func (s *Server) routes() error {
	tenants := s.newTenantDocument()
	registerHealth(tenants)
	registerStatus(tenants, s.cfg.Sessions)
	registerChats(tenants)
	registerMessages(tenants, s.cfg.Sessions)
	registerRevisions(tenants, s.cfg.Sessions)
	registerAttention(tenants, s.cfg.Sessions)
	registerMedia(tenants, s.cfg.Sessions)
	registerEvents(tenants, s.streams)
	s.registerWebSocket(tenants)

	admin := s.newAdminDocument()
	s.registerAdminTenants(admin)
	s.registerAdminKeys(admin)
	registerAdminSession(admin, s.cfg.Store, s.cfg.Sessions)
	registerAdminPairing(admin, s.cfg.Store, s.cfg.Sessions, s.streams)

	s.registerProbes()
	if err := tenants.publish(s.mux); err != nil {
		return err
	}
	if err := admin.publish(s.mux); err != nil {
		return err
	}
	return s.registerAssets()
}

// Run obeys revocations of keys until ctx ends; then it ends all streams (WebSockets with 1001) and returns when they are gone.
// Requests that are not streams are [http.Server.Shutdown]'s.
func (s *Server) Run(ctx context.Context) error {
	changed := s.cfg.Store.KeysChanged()
	for {
		select {
		case <-ctx.Done():
			s.streams.stop()
			return nil
		case id, open := <-changed:
			if !open {
				changed = nil
				continue
			}
			s.keys.forget(id)
			s.streams.recheck(id)
		}
	}
}

// The limits of [NewHTTPServer].
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// NewHTTPServer is the http.Server that a node uses. It sets no ReadTimeout and no WriteTimeout: they would end streams; each
// operation sets deadlines of its own.
func NewHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
