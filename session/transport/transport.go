// Package transport is how a whatsmeow client reaches WhatsApp.
//
// It makes the three HTTP clients a whatsmeow client wants (websocket of a paired session, websocket before pairing,
// media), once per process and shared by all sessions: left alone, whatsmeow clones a transport per client. They differ
// from the defaults in what a fleet needs: the websocket's compression offer is taken out of the upgrade request (a
// server that accepts it costs each session 1.2 MB of heap), every step before the first byte has a deadline, and
// response bodies of media are bounded.
//
// The same clients can be pointed at a simulated WhatsApp on loopback ([Endpoint]); then nothing they do can leave the
// machine: names that are not WhatsApp's are refused instead of being resolved, and redirects are not followed.
//
// The package starts no goroutine of its own; net/http's end with [Clients.Close].
package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
)

// DefaultMaxMediaBody bounds a media response. WhatsApp takes files up to 100 MB; encryption adds a few bytes and
// history blobs come near the limit too.
const DefaultMaxMediaBody = 110 << 20

const (
	dialTimeout           = 15 * time.Second
	tlsTimeout            = 15 * time.Second
	responseHeaderTimeout = 30 * time.Second
	idleTimeout           = 90 * time.Second
	// mediaTimeout is a backstop for callers without a deadline of their own: 100 MB at 2 Mbit/s.
	mediaTimeout     = 8 * time.Minute
	maxRedirects     = 5
	maxHeaderBytes   = 64 << 10
	simulatorMedia   = "media.wasim.localhost"
	webSocketHost    = "web.whatsapp.com"
	whatsAppSuffix   = ".whatsapp.net"
	extensionsHeader = "Sec-Websocket-Extensions"
)

// Errors of the clients, wrapped in a *url.Error by net/http.
var (
	// ErrForeignHost means that a client pointed at a simulator was asked for a host that is not WhatsApp's.
	ErrForeignHost = errors.New("host is not served by the simulated WhatsApp")
	// ErrNotLoopback means that a simulator's address is not on this machine.
	ErrNotLoopback = errors.New("address is not on loopback")
	// ErrRedirect means that a redirect was refused.
	ErrRedirect = errors.New("redirect refused")
	// ErrBodyTooLarge means that a media response was longer than allowed.
	ErrBodyTooLarge = errors.New("response body too large")
)

// Endpoint says where WhatsApp is. The zero value is the real one; otherwise all three fields are needed.
type Endpoint struct {
	// WebSocketAddr stands in for web.whatsapp.com, MediaAddr for all media hosts: host:port with a loopback IP.
	WebSocketAddr string
	MediaAddr     string
	// CA holds the simulator's own certificate authority, the only one trusted there.
	CA *x509.CertPool
}

// IsSimulator tells whether e is something other than the real WhatsApp.
func (e Endpoint) IsSimulator() bool {
	return e.WebSocketAddr != "" || e.MediaAddr != "" || e.CA != nil
}

func (e Endpoint) validate() error {
	if !e.IsSimulator() {
		return nil
	}
	if e.CA == nil {
		return errors.New("simulator endpoint without certificate authority")
	}
	if err := checkLoopbackAddr(e.WebSocketAddr); err != nil {
		return fmt.Errorf("websocket address: %w", err)
	}
	if err := checkLoopbackAddr(e.MediaAddr); err != nil {
		return fmt.Errorf("media address: %w", err)
	}
	return nil
}

// target answers the address to dial for a host of the real WhatsApp, or ErrForeignHost.
func (e Endpoint) target(addr string) (string, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", addr, err)
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	switch {
	case host == webSocketHost:
		return e.WebSocketAddr, nil
	case strings.HasSuffix(host, whatsAppSuffix), host == simulatorMedia, isLoopbackHost(host):
		return e.MediaAddr, nil
	default:
		return "", fmt.Errorf("%w: %s", ErrForeignHost, host)
	}
}

// Clients are the HTTP clients shared by all sessions of a process. Safe for concurrent use.
type Clients struct {
	WebSocket, PreLogin, Media *http.Client

	transports []*http.Transport
}

// Option changes a detail of [NewClients].
type Option func(*options)

type options struct{ maxMediaBody int64 }

// WithMaxMediaBody replaces [DefaultMaxMediaBody]; n is in bytes and must be positive.
func WithMaxMediaBody(n int64) Option { return func(o *options) { o.maxMediaBody = n } }

// NewClients makes the clients for WhatsApp at e. It fails with [ErrNotLoopback] if a simulator is not on loopback.
func NewClients(e Endpoint, opts ...Option) (*Clients, error) {
	o := options{maxMediaBody: DefaultMaxMediaBody}
	for _, opt := range opts {
		opt(&o)
	}
	if o.maxMediaBody <= 0 {
		return nil, fmt.Errorf("media body limit %d is not positive", o.maxMediaBody)
	}
	if err := e.validate(); err != nil {
		return nil, err
	}
	socket, media := newTransport(e), newTransport(e)
	socket.DisableCompression = true
	// A file is read once and rarely from the same host soon after: few idle connections are enough for a fleet.
	media.MaxIdleConns, media.MaxIdleConnsPerHost = 64, 8
	webSocket := &http.Client{Transport: upgrader{next: socket}, CheckRedirect: refuseRedirects}
	return &Clients{
		WebSocket: webSocket,
		PreLogin:  webSocket,
		Media: &http.Client{
			Transport:     bounded{next: media, limit: o.maxMediaBody},
			CheckRedirect: mediaRedirects(e),
			Timeout:       mediaTimeout,
		},
		transports: []*http.Transport{socket, media},
	}, nil
}

func newTransport(e Endpoint) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // a websocket upgrade needs HTTP/1.1
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    tlsTimeout,
		ResponseHeaderTimeout:  responseHeaderTimeout,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		Protocols:              protocols,
	}
	if e.IsSimulator() {
		t.Proxy = nil // a proxy would take the connection off the machine
		t.TLSClientConfig.RootCAs = e.CA
		t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			target, err := e.target(addr)
			if err != nil {
				return nil, err
			}
			return dialer.DialContext(ctx, network, target)
		}
	}
	return t
}

// Apply makes cli use these clients. Call it before the client connects.
func (c *Clients) Apply(cli *whatsmeow.Client) {
	cli.SetWebsocketHTTPClient(c.WebSocket)
	cli.SetPreLoginHTTPClient(c.PreLogin)
	cli.SetMediaHTTPClient(c.Media)
}

// Close ends idle connections. Those in use end with their requests and websockets.
func (c *Clients) Close() {
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
}

func refuseRedirects(req *http.Request, _ []*http.Request) error {
	return fmt.Errorf("%w: to %s", ErrRedirect, req.URL.Host)
}

func mediaRedirects(e Endpoint) func(*http.Request, []*http.Request) error {
	if e.IsSimulator() {
		return refuseRedirects
	}
	return func(req *http.Request, via []*http.Request) error {
		if req.URL.Scheme != "https" || len(via) >= maxRedirects {
			return refuseRedirects(req, via)
		}
		return nil
	}
}

// upgrader takes the compression offer out of websocket upgrades.
type upgrader struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (u upgrader) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get(extensionsHeader) != "" {
		// A RoundTripper must not change its request.
		clone := *req
		clone.Header = req.Header.Clone()
		clone.Header.Del(extensionsHeader)
		req = &clone
	}
	return u.next.RoundTrip(req) // net/http adds method and URL
}

// bounded ends the reading of a response body at its limit.
type bounded struct {
	next  http.RoundTripper
	limit int64
}

// RoundTrip implements [http.RoundTripper].
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err != nil {
		return nil, err // net/http adds method and URL
	}
	if resp.ContentLength > b.limit {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%w: %d bytes announced, %d allowed", ErrBodyTooLarge, resp.ContentLength, b.limit)
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: b.limit}
	return resp, nil
}

type boundedBody struct {
	io.ReadCloser

	left int64
}

// Read hands out up to the limit, then needs one more byte to tell a body of exactly that size from a longer one.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrBodyTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		n = int(b.left)
		b.left = -1
		return n, ErrBodyTooLarge
	}
	b.left -= int64(n)
	return n, err // io.EOF must stay what it is
}
