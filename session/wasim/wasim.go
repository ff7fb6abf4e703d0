// Package wasim is a simulated WhatsApp: a relay that speaks the real protocol over TLS and Noise and holds no Signal
// key, and phones that are whatsmeow clients, so that both ends of every message are really encrypted.
//
// A [Simulator] is the relay, its phones, and a control API over plain HTTP on loopback by which they are steered;
// GET / of it lists the calls. It owns all goroutines below it: [Simulator.Close] returns when they have ended.
package wasim

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session/transport"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
)

// Errors of a [Simulator]'s methods.
var (
	ErrExists       = errors.New("the number has an account already")
	ErrUnknownPhone = errors.New("no account has this number")
	ErrClosed       = errors.New("simulator is closed")
	ErrTooMany      = errors.New("too many accounts")
)

// Config of a [Simulator]. Zero values mean the defaults named beside the fields.
type Config struct {
	Listen         string // control API: 127.0.0.1:0
	WhatsAppListen string // WebSocket and media: 127.0.0.1:0
	Log            *slog.Logger
	// Relay changes details of the server; its Log is replaced by the one above if it has none.
	Relay relay.Config
	// MaxPhones bounds the accounts: 10,000.
	MaxPhones int
}

// Simulator is a running simulated WhatsApp. Safe for concurrent use.
type Simulator struct {
	log       *slog.Logger
	relay     *relay.Server
	clients   *transport.Clients
	endpoint  transport.Endpoint
	info      transport.Info
	web       *http.Server
	maxPhones int

	stop     context.CancelFunc // of what the control API waits for
	stopWA   context.CancelFunc // of the relay
	wg       sync.WaitGroup     // control API and relay
	starting sync.WaitGroup     // phones between nothing and the map

	mu     sync.Mutex
	phones map[string]*phone.Phone // nil while it starts
	closed bool
	done   chan struct{} // closed when Close has finished
}

// Start starts a simulator. It makes this process trust the simulator's Noise root, as its phones are clients in it;
// transport.ErrRootTrusted if another is trusted already. ctx bounds the start alone.
func Start(ctx context.Context, cfg Config) (*Simulator, error) {
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cfg.Relay.Log == nil {
		cfg.Relay.Log = log.With("part", "relay")
	}
	server, err := relay.New(cfg.Relay)
	if err != nil {
		return nil, fmt.Errorf("make relay: %w", err)
	}
	if err = transport.TrustRoot(server.RootPublicKey()); err != nil {
		return nil, fmt.Errorf("trust the simulator's root: %w", err)
	}
	control, err := listen(ctx, cmp.Or(cfg.Listen, "127.0.0.1:0"))
	if err != nil {
		return nil, fmt.Errorf("control API: %w", err)
	}
	whatsApp, err := listen(ctx, cmp.Or(cfg.WhatsAppListen, "127.0.0.1:0"))
	if err != nil {
		_ = control.Close()
		return nil, fmt.Errorf("simulated WhatsApp: %w", err)
	}
	s := &Simulator{
		log: log, relay: server, maxPhones: cmp.Or(cfg.MaxPhones, 10_000),
		phones: make(map[string]*phone.Phone), done: make(chan struct{}),
	}
	if err = s.point(control.Addr(), whatsApp.Addr()); err != nil {
		_, _ = control.Close(), whatsApp.Close()
		return nil, err
	}
	s.serve(ctx, control, whatsApp)
	return s, nil
}

// listen refuses addresses off this machine: there is no authentication.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if tcp, ok := ln.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		_ = ln.Close()
		return nil, fmt.Errorf("listen on %s: %w", addr, transport.ErrNotLoopback)
	}
	return ln, nil
}

// point fills in where clients find the simulator.
func (s *Simulator) point(control, whatsApp net.Addr) error {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.relay.CACertificate()) {
		return errors.New("relay has no CA certificate")
	}
	addr := whatsApp.String()
	s.endpoint = transport.Endpoint{WebSocketAddr: addr, MediaAddr: addr, CA: pool}
	key := s.relay.RootPublicKey()
	s.info = transport.Info{
		NoiseRootKey:  hex.EncodeToString(key[:]),
		WebSocketURL:  "wss://" + addr + "/ws/chat",
		MediaURL:      "https://" + addr,
		CACertificate: string(s.relay.CACertificate()),
		ControlURL:    "http://" + control.String(),
	}
	var err error
	if s.clients, err = transport.NewClients(s.endpoint); err != nil {
		return fmt.Errorf("make clients: %w", err)
	}
	return nil
}

func (s *Simulator) serve(ctx context.Context, control, whatsApp net.Listener) {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	lifeWA, stopWA := context.WithCancel(context.WithoutCancel(ctx))
	s.stop, s.stopWA = stop, stopWA
	s.web = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      maxWait + 60*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return life },
	}
	s.wg.Go(func() {
		if err := s.web.Serve(control); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.log.ErrorContext(life, "control API ended", "error", err)
		}
	})
	s.wg.Go(func() {
		if err := s.relay.Serve(lifeWA, whatsApp); err != nil {
			s.log.ErrorContext(lifeWA, "relay ended", "error", err)
		}
	})
}

// ControlURL is where the control API answers.
func (s *Simulator) ControlURL() string { return s.info.ControlURL }

// Endpoint is what transport.NewClients needs to reach the simulator.
func (s *Simulator) Endpoint() transport.Endpoint { return s.endpoint }

// RootKey is the Noise root that clients must trust.
func (s *Simulator) RootKey() [32]byte { return s.relay.RootPublicKey() }

// Info is what GET /info answers.
func (s *Simulator) Info() transport.Info { return s.info }

// Relay is the server itself.
func (s *Simulator) Relay() *relay.Server { return s.relay }

// PhoneConfig describes an account with its primary phone; see [phone.Config].
type PhoneConfig struct {
	Phone     string
	Name      string
	Autoreply func(text string) string
	AutoRead  bool
	History   []phone.Chat // nil: the default; empty: none
}

// AddPhone makes an account and starts its phone; it answers once the phone is logged in. Errors: phone.ErrBadNumber,
// ErrExists, ErrTooMany, ErrClosed, or why the phone could not start.
func (s *Simulator) AddPhone(ctx context.Context, cfg PhoneConfig) (*phone.Phone, error) {
	number, err := phone.Number(cfg.Phone)
	if err != nil {
		return nil, err
	}
	if err = s.reserve(number); err != nil {
		return nil, err
	}
	defer s.starting.Done()
	p, err := phone.Start(ctx, phone.Config{
		Log: s.log.With("part", "phone"), Clients: s.clients, Register: s.register,
		Phone: number, Name: cfg.Name, Autoreply: cfg.Autoreply, AutoRead: cfg.AutoRead, History: cfg.History,
	})
	s.mu.Lock()
	if err == nil {
		s.phones[number] = p
	} else {
		delete(s.phones, number)
	}
	s.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("start phone: %w", err)
	}
	return p, nil
}

// reserve takes a number, so that nobody else starts a phone with it. s.starting is then counted up.
func (s *Simulator) reserve(number string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, exists := s.phones[number]
	switch {
	case s.closed:
		return ErrClosed
	case exists:
		return ErrExists
	case len(s.phones) >= s.maxPhones:
		return ErrTooMany
	}
	s.phones[number] = nil
	s.starting.Add(1)
	return nil
}

func (s *Simulator) register(_ context.Context, a phone.Account) (types.JID, error) {
	lid, err := s.relay.Register(relay.Account{
		Phone: a.Phone, Name: a.Name, NoiseKey: a.NoiseKey, IdentityKey: a.IdentityKey, RegistrationID: a.RegistrationID,
		SignedPreKey: relay.SignedPreKey{ID: a.SignedPreKey.ID, Public: a.SignedPreKey.Public, Signature: a.SignedPreKey.Signature},
	})
	if err != nil {
		return lid, fmt.Errorf("relay: %w", err)
	}
	return lid, nil
}

// Phone answers the phone with this number, written with or without +.
func (s *Simulator) Phone(number string) (*phone.Phone, bool) {
	number, err := phone.Number(number)
	if err != nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.phones[number]
	return p, p != nil
}

// Phones answers all phones, ordered by number.
func (s *Simulator) Phones() []*phone.Phone {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*phone.Phone, 0, len(s.phones))
	for _, p := range s.phones {
		if p != nil {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b *phone.Phone) int { return cmp.Compare(a.Number(), b.Number()) })
	return all
}

// Close ends the control API, then the phones, then the relay, and waits for all of them. If ctx ends first it answers
// why, and the rest goes on ending by itself. Further calls wait for the first one.
func (s *Simulator) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		go func() { //nolint:contextcheck // ends with the wait below, but its owner may stop waiting
			defer close(s.done)
			s.shutdown()
		}()
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close simulator: %w", context.Cause(ctx))
	}
}

func (s *Simulator) shutdown() {
	s.stop() // requests that wait for something end now
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.web.Shutdown(ctx); err != nil {
		_ = s.web.Close()
	}
	s.starting.Wait()
	var phones sync.WaitGroup
	for _, p := range s.Phones() {
		phones.Go(p.Close)
	}
	phones.Wait()
	s.stopWA()
	s.wg.Wait()
	s.clients.Close()
}
