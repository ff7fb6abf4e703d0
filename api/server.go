package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/wafleet/wafleet/api/console"
	"github.com/wafleet/wafleet/metrics"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// Config is what a [Server] is made of. Store, Sessions, Metrics, Gatherer and Log are required.
type Config struct {
	Store    tenant.Store
	Sessions Sessions
	// AdminKey opens /admin, as an owner. With the zero value the store's own admin keys do; without any /admin is closed: 500 Server
	// misconfigured.
	AdminKey AdminKey
	// SeparateAdmin leaves the admin API and the metrics to [Server.AdminHandler].
	SeparateAdmin bool
	// AuditRetention is how long the audit log is kept; zero: for ever.
	AuditRetention time.Duration
	// Node is what is told of the process.
	Node NodeInfo
	// PublicURL is where clients reach the node, for the documents' servers. Optional.
	PublicURL string
	// TrustedProxies are the addresses whose X-Forwarded-For is believed. Optional.
	TrustedProxies []netip.Prefix
	// Brand is how the operator shows itself on the pages of pairing links. Optional.
	Brand    console.Brand
	Metrics  *metrics.Metrics
	Gatherer prometheus.Gatherer
	Log      *slog.Logger
	// Version is the node's, shown in the documents.
	Version string
	// Ready says whether the node may get traffic, besides the database, which is asked anyway. Optional.
	Ready  func(ctx context.Context) error
	Limits Limits
	// TenantLimits are the tenants' limits; nil: there are none.
	TenantLimits *tenant.LimitBook
}

// Limits bound what requests may take. Zero means the default. The deadlines of operations lie below what client API v2 §9
// tells clients to wait, so that they hear our answer and not their own time-out.
type Limits struct {
	Body            int64         // bytes of a JSON body; 1 MiB
	BodyTimeout     time.Duration // for a body to arrive, or the next piece of a file; 10 s
	File            int64         // bytes of a file; 100 MiB
	UploadTimeout   time.Duration // for a whole file to arrive; 10 min
	ReadTimeout     time.Duration // local reads; 4.5 s
	ActionTimeout   time.Duration // single WhatsApp actions; 28 s
	MultiTimeout    time.Duration // multi-step actions; 85 s
	WriteTimeout    time.Duration // for a client to take an answer, beyond the operation's own deadline; 30 s
	Streams         int           // event streams and waiting polls of all tenants; 20,000
	PingEvery       time.Duration // WebSocket pings; 30 s
	PongWithin      time.Duration // for the pong to come; 15 s
	SlowAfter       time.Duration // a WebSocket write that takes longer means a reader too slow: closed with 1013; 10 s
	DropAfter       time.Duration // a WebSocket write that takes longer is given up; 30 s
	KeyCacheTTL     time.Duration // how long a key's row may be used without asking again; 1 s
	KeyCacheEntries int           // 10,000
	UnknownKeyEvery time.Duration // one look for a key that does not exist, by one address, after UnknownKeyBurst at once; 1 s
	UnknownKeyBurst int           // 60
	JoinEvery       time.Duration // one request for a join URL, or for a pairing page, from one address, after JoinBurst at once; 1 s
	JoinBurst       int           // 30
	JoinCacheTTL    time.Duration // how long an invitation link may be used without asking WhatsApp again; 20 s
}

func (l *Limits) withDefaults() Limits {
	return Limits{
		Body:            cmp.Or(l.Body, 1<<20),
		BodyTimeout:     cmp.Or(l.BodyTimeout, 10*time.Second),
		File:            cmp.Or(l.File, session.MaxFile),
		UploadTimeout:   cmp.Or(l.UploadTimeout, 10*time.Minute),
		ReadTimeout:     cmp.Or(l.ReadTimeout, 4500*time.Millisecond),
		ActionTimeout:   cmp.Or(l.ActionTimeout, 28*time.Second),
		MultiTimeout:    cmp.Or(l.MultiTimeout, 85*time.Second),
		WriteTimeout:    cmp.Or(l.WriteTimeout, 30*time.Second),
		Streams:         cmp.Or(l.Streams, 20_000),
		PingEvery:       cmp.Or(l.PingEvery, 30*time.Second),
		PongWithin:      cmp.Or(l.PongWithin, 15*time.Second),
		SlowAfter:       cmp.Or(l.SlowAfter, 10*time.Second),
		DropAfter:       cmp.Or(l.DropAfter, 30*time.Second),
		KeyCacheTTL:     cmp.Or(l.KeyCacheTTL, time.Second),
		KeyCacheEntries: cmp.Or(l.KeyCacheEntries, 10_000),
		UnknownKeyEvery: cmp.Or(l.UnknownKeyEvery, time.Second),
		UnknownKeyBurst: cmp.Or(l.UnknownKeyBurst, 60),
		JoinEvery:       cmp.Or(l.JoinEvery, time.Second),
		JoinBurst:       cmp.Or(l.JoinBurst, 30),
		JoinCacheTTL:    cmp.Or(l.JoinCacheTTL, 20*time.Second),
	}
}

// Server answers all requests of a node. It is an [http.Handler]; [Server.Run] does what is not tied to a request.
type Server struct {
	cfg     Config
	limits  Limits
	mux     *http.ServeMux
	keys    *keyring
	streams *streams
	links   inviteLinks
	meter   *meter
	movers  *semaphore.Weighted // exports and imports at a time

	turnstile *turnstile
	doubts    doubts      // of whom it is not known whether they were deleted
	unsettled doubts      // and of whom it is not whether they were suspended
	opened    atomic.Bool // the store has admin keys: they end, but are never deleted
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
	links, err := newInviteLinks()
	if err != nil {
		return nil, fmt.Errorf("make cache of links: %w", err)
	}
	s := &Server{
		cfg:     cfg,
		links:   links,
		movers:  semaphore.NewWeighted(maxMovers),
		limits:  limits,
		mux:     http.NewServeMux(),
		keys:    keys,
		streams: newStreams(cfg.Metrics.HTTP, limits, keys.isGone, cfg.TenantLimits),

		turnstile: newTurnstile(cfg.TenantLimits),
		meter:     newMeter(cfg.Store, cfg.Log),
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
	registerSync(tenants, s.cfg.Sessions)
	registerChatState(tenants, s.cfg.Sessions)
	registerMessages(tenants, s.cfg.Sessions)
	registerRevisions(tenants, s.cfg.Sessions)
	registerPolls(tenants, s.cfg.Sessions)
	registerAttention(tenants, s.cfg.Sessions)
	registerGroups(tenants, s.cfg.Sessions)
	registerMedia(tenants, s.cfg.Sessions)
	registerContents(tenants, s.cfg.Sessions)
	if err := registerJoin(tenants, s.cfg.Sessions); err != nil {
		return err
	}
	registerPeople(tenants, s.cfg.Sessions)
	registerProfile(tenants, s.cfg.Sessions)
	registerHistory(tenants, s.cfg.Sessions)
	registerEvents(tenants, s.streams)
	s.registerEventStream(tenants)
	s.registerLimits(tenants)
	s.registerWebSocket(tenants)

	admin := s.newAdminDocument()
	s.registerAdminTenants(admin)
	s.registerAdminKeys(admin)
	s.registerAdminLimits(admin)
	registerAdminSession(admin, s.cfg.Store, s.cfg.Sessions)
	registerAdminPairing(admin, s.cfg.Store, s.cfg.Sessions, s.streams)
	s.registerAdminLinks(admin)
	s.registerAdminDeletions(admin)
	registerAdminSessions(admin, s.cfg.Sessions)
	registerAdminUsage(admin, s.cfg.Store)
	s.registerAdminOperators(admin)
	s.registerAdminAudit(admin)
	registerAdminNodes(admin, s.cfg.Node, s.cfg.Sessions)
	s.registerAdminMoves(admin)

	if err := s.registerPairingPage(); err != nil {
		return err
	}
	s.registerProbes()
	s.registerProfiles()
	if err := tenants.publish(s.mux); err != nil {
		return err
	}
	if err := admin.publish(s.mux); err != nil {
		return err
	}
	return s.registerAssets()
}

// Run obeys revocations of keys and stores what tenants used until ctx ends; then it ends all streams (WebSockets with 1001) and
// returns when they are gone. Requests that are not streams are [http.Server.Shutdown]'s.
func (s *Server) Run(ctx context.Context) error {
	var keeping sync.WaitGroup
	keeping.Go(func() { s.housekeep(ctx) })
	keeping.Go(func() { s.settle(ctx) }) // by itself: a database that is slow to answer must not hold up a revocation
	defer keeping.Wait()
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
