package relay

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// clientRevision is the version of the web client that the front page names.
const clientRevision = "1047769893"

// Server is the simulated WhatsApp server. Make it with New, run it with Serve; all methods may be called at any time from any goroutine.
type Server struct {
	cfg  Config
	log  *slog.Logger
	id   *identity
	ca   *authority
	iqs  map[iqKey]iqHandler
	rate rates

	mu       sync.RWMutex
	accounts map[string]*account // by phone number
	lids     map[string]*account // by user part of the LID
	refs     map[string]*pairing // by pairing ref, of QR and of code
	groups   map[string]*group   // by id
	invites  map[string]*group   // by code of a link, revoked ones too
	conns    map[*conn]struct{}
	ending   map[*conn]time.Time // connections that close at that time
	serving  bool
	stopped  bool

	wg          sync.WaitGroup // every connection's goroutines
	blobs       *blobs
	faults      faults
	violations  violations
	observersMu sync.Mutex
	observers   atomic.Pointer[[]*observer]
	dropped     atomic.Int64
	strayAcks   atomic.Int64
	cut         atomic.Int64
	nextID      atomic.Uint64
}

// New makes a relay with keys and certificates of its own. It fails only when it cannot make them.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	id, err := newIdentity(cfg.RootKey)
	if err != nil {
		return nil, err
	}
	ca, err := newAuthority(cfg.MediaHost)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.Log, id: id, ca: ca,
		accounts: make(map[string]*account),
		lids:     make(map[string]*account),
		refs:     make(map[string]*pairing),
		groups:   make(map[string]*group),
		invites:  make(map[string]*group),
		conns:    make(map[*conn]struct{}),
		ending:   make(map[*conn]time.Time),
		blobs:    newBlobs(cfg),
	}
	s.iqs = s.iqTable()
	return s, nil
}

// CACertificate is the CA that signed the relay's TLS certificate, in PEM.
func (s *Server) CACertificate() []byte { return s.ca.pem }

// RootPublicKey is what a client must trust as root of the Noise certificates.
func (s *Server) RootPublicKey() [32]byte { return s.id.root }

// Serve answers WebSocket connections at /ws/chat and media requests on ln, both over TLS, until ctx is done. It closes ln, ends every
// connection, and returns when the last goroutine has ended: nil after ctx, otherwise why the listener failed. A Server serves once:
// ErrServing.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.mu.Lock()
	if s.serving {
		s.mu.Unlock()
		return ErrServing
	}
	s.serving = true
	s.mu.Unlock()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // a WebSocket upgrade needs it, and http/2 must not be offered
	web := &http.Server{
		Handler:           s.routes(),
		Protocols:         protocols,
		ReadHeaderTimeout: s.cfg.HandshakeTimeout,
		ReadTimeout:       mediaTimeout, // of media requests: a WebSocket is out of the HTTP server's hands
		WriteTimeout:      mediaTimeout,
		IdleTimeout:       s.cfg.PingTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         s.countHTTP,
		TLSConfig: &tls.Config{
			MinVersion:   tls.VersionTLS12,
			Certificates: []tls.Certificate{s.ca.cert},
			NextProtos:   []string{"http/1.1"},
		},
	}
	s.wg.Go(func() { s.sweep(ctx) })
	stop := context.AfterFunc(ctx, func() { _ = web.Close() })
	err := web.ServeTLS(ln, "", "")
	ended := !stop() // false: the listener failed by itself
	cancel()
	_ = web.Close()
	s.closeAll()
	s.wg.Wait()
	s.blobs.close()
	if ended {
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws/chat", s.accept)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"client_revision":`+clientRevision+`,}`) // all that clients look for on the front page
	})
	s.mediaRoutes(mux)
	return mux
}

// accept upgrades to a WebSocket and leaves the HTTP server's goroutine, whose stack has grown in the TLS handshake, to end.
func (s *Server) accept(w http.ResponseWriter, r *http.Request) {
	mode := websocket.CompressionDisabled
	if s.cfg.AcceptDeflate {
		mode = websocket.CompressionContextTakeover
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: mode})
	if err != nil {
		s.log.DebugContext(r.Context(), "upgrade refused", "error", err)
		return
	}
	ws.SetReadLimit(int64(s.cfg.MaxFrame) + frameLengthSize + headerSize + maxRouting)
	c := newConn(s, ws)
	if !s.admit(c) {
		_ = ws.CloseNow()
		return
	}
}

// admit starts a connection, unless the relay is stopping.
func (s *Server) admit(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.conns[c] = struct{}{}
	s.ending[c] = time.Now().Add(s.cfg.HandshakeTimeout)
	s.wg.Go(c.run)
	return true
}

// countHTTP makes Serve wait for the HTTP server's goroutines too, until a connection is closed or has become a WebSocket. New ones are
// announced by the accepting loop, that is before Serve waits.
func (s *Server) countHTTP(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.wg.Add(1)
	case http.StateHijacked, http.StateClosed:
		s.wg.Done()
	case http.StateActive, http.StateIdle:
	}
}

func (s *Server) closeAll() {
	s.mu.Lock()
	s.stopped = true
	list := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c)
	}
	s.mu.Unlock()
	for _, c := range list {
		c.cut()
	}
}

// forget takes an ended connection out of the indexes.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	delete(s.ending, c)
}

// closeAt plans the end of a connection.
func (s *Server) closeAt(c *conn, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, live := s.conns[c]; live {
		s.ending[c] = at
	}
}

// keep takes back the planned end of a connection.
func (s *Server) keep(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ending, c)
}

// Timing of the sweeper: planned ends are few and due soon, dead connections are looked for among all.
const (
	sweepEnds = 50 * time.Millisecond
	sweepAll  = 20 // every so many rounds
)

// sweep ends connections whose time has come. One goroutine with one ticker watches all of them.
func (s *Server) sweep(ctx context.Context) {
	tick := time.NewTicker(min(sweepEnds, max(s.cfg.PingTimeout/4, time.Millisecond)))
	defer tick.Stop()
	for round := 0; ; round++ {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.sweepOnce(now, round%sweepAll == 0 || s.cfg.PingTimeout < time.Second)
		}
	}
}

func (s *Server) sweepOnce(now time.Time, all bool) {
	var due, held []*conn
	s.mu.RLock()
	for c, at := range s.ending {
		if !now.Before(at) {
			due = append(due, c)
		}
	}
	dead := now.Add(-s.cfg.PingTimeout).UnixNano()
	if all || s.faults.armed() > 0 {
		for c := range s.conns {
			if c.held.Load() {
				held = append(held, c)
			}
			if all && c.last.Load() < dead {
				due = append(due, c)
			}
		}
	}
	s.mu.RUnlock()
	if all {
		s.blobs.expire(now)
	}
	for _, c := range held {
		c.kick()
	}
	for _, c := range due {
		c.cut()
	}
}

// newStanzaID makes an id that no client makes for a request: those would take the stanza for an answer.
func (s *Server) newStanzaID() string { return fmt.Sprintf("SIM%X", s.nextID.Add(1)) }
