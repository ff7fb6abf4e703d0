package transport

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
)

const (
	fetchTimeout = 10 * time.Second
	maxInfoBody  = 1 << 20
)

// ErrRootTrusted means that the process already trusts another root of WhatsApp's Noise certificates.
var ErrRootTrusted = errors.New("another Noise root key is already trusted by this process")

// Info is what a simulator's control API answers at GET /info: all that any WhatsApp client needs to be pointed at it.
type Info struct {
	NoiseRootKey  string `json:"noiseRootKey"` // hex, 32 bytes
	WebSocketURL  string `json:"webSocketUrl"`
	MediaURL      string `json:"mediaUrl"`
	CACertificate string `json:"caCertificate"` // PEM
	ControlURL    string `json:"controlUrl"`
}

// Endpoint reads the simulator's addresses and its Noise root key. It fails with [ErrNotLoopback] if they point away
// from this machine.
func (i Info) Endpoint() (Endpoint, [32]byte, error) {
	var key [32]byte
	raw, err := hex.DecodeString(i.NoiseRootKey)
	if err != nil || len(raw) != len(key) {
		return Endpoint{}, key, errors.New("noise root key is not 32 bytes of hex")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(i.CACertificate)) {
		return Endpoint{}, key, errors.New("no certificate in the simulator's CA")
	}
	e := Endpoint{CA: pool}
	if e.WebSocketAddr, err = addrOf(i.WebSocketURL, "wss"); err != nil {
		return Endpoint{}, key, fmt.Errorf("websocket URL: %w", err)
	}
	if e.MediaAddr, err = addrOf(i.MediaURL, "https"); err != nil {
		return Endpoint{}, key, fmt.Errorf("media URL: %w", err)
	}
	if err = e.validate(); err != nil {
		return Endpoint{}, key, err
	}
	return e, [32]byte(raw), nil
}

func addrOf(raw, scheme string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("parse: %w", err)
	}
	if u.Scheme != scheme || u.Port() == "" {
		return "", fmt.Errorf("%q is not %s://host:port", raw, scheme)
	}
	return u.Host, nil
}

// FetchSimulator asks the simulator whose control API is at controlURL (http) where it is and which root key it has.
// It fails with [ErrNotLoopback] unless every address of the host is a loopback one.
func FetchSimulator(ctx context.Context, controlURL string) (Endpoint, [32]byte, error) {
	info, err := FetchInfo(ctx, controlURL)
	if err != nil {
		return Endpoint{}, [32]byte{}, err
	}
	e, key, err := info.Endpoint()
	if err != nil {
		return Endpoint{}, key, fmt.Errorf("simulator at %s: %w", controlURL, err)
	}
	return e, key, nil
}

// FetchInfo is [FetchSimulator] without the reading of the answer.
func FetchInfo(ctx context.Context, controlURL string) (Info, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	u, err := url.Parse(controlURL)
	if err != nil {
		return Info{}, fmt.Errorf("simulator URL: %w", err)
	}
	if u.Scheme != "http" || u.Hostname() == "" {
		return Info{}, fmt.Errorf("simulator URL %q is not http://host:port", u.Redacted())
	}
	ip, err := resolveLoopback(ctx, u.Hostname())
	if err != nil {
		return Info{}, fmt.Errorf("simulator %s: %w", u.Host, err)
	}
	var dialer net.Dialer
	t := &http.Transport{
		// The address that was checked is the one dialled: a second look-up could answer another.
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, fmt.Errorf("address: %w", err)
			}
			return dialer.DialContext(ctx, network, net.JoinHostPort(ip, port))
		},
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	cli := &http.Client{Transport: t, CheckRedirect: refuseRedirects}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("info").String(), http.NoBody)
	if err != nil {
		return Info{}, fmt.Errorf("simulator URL: %w", err)
	}
	resp, err := cli.Do(req)
	if err != nil {
		return Info{}, fmt.Errorf("ask the simulator: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return Info{}, fmt.Errorf("simulator at %s answers %s to GET /info", u.Host, resp.Status)
	}
	var info Info
	if err = json.NewDecoder(io.LimitReader(resp.Body, maxInfoBody)).Decode(&info); err != nil {
		return Info{}, fmt.Errorf("read the simulator's answer: %w", err)
	}
	return info, nil
}

// resolveLoopback answers one address of host, if all its addresses are loopback.
func resolveLoopback(ctx context.Context, host string) (string, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		if !ip.Unmap().IsLoopback() {
			return "", ErrNotLoopback
		}
		return host, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", fmt.Errorf("resolve: %w", err)
	}
	if len(addrs) == 0 {
		return "", ErrNotLoopback
	}
	chosen := addrs[0]
	for _, ip := range addrs {
		if !ip.Unmap().IsLoopback() {
			return "", ErrNotLoopback
		}
		if ip.Unmap().Is4() { // our listeners are on 127.0.0.1 unless told otherwise
			chosen = ip
		}
	}
	return chosen.Unmap().String(), nil
}

func isLoopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func checkLoopbackAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q: %w", addr, err)
	}
	// A name could resolve to another place at the next dial: only literal addresses will do.
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.Unmap().IsLoopback() || port == "" {
		return fmt.Errorf("%w: %s", ErrNotLoopback, addr)
	}
	return nil
}

// realRoot is what whatsmeow ships with: the root of WhatsApp's own Noise certificates.
func realRoot() [32]byte {
	return [32]byte{
		0x14, 0x23, 0x75, 0x57, 0x4d, 0x0a, 0x58, 0x71, 0x66, 0xaa, 0xe7, 0x1e, 0xbe, 0x51, 0x64, 0x37,
		0xc4, 0xa2, 0x8b, 0x73, 0xe3, 0x69, 0x5c, 0x6c, 0xe1, 0xf7, 0xf9, 0x54, 0x5d, 0xa8, 0xee, 0x6b,
	}
}

var trustMu sync.Mutex //nolint:gochecknoglobals // guards a global of whatsmeow

// TrustRoot makes whatsmeow trust key as the root of WhatsApp's Noise certificates. The trust is a global of the
// process: call it before the first client connects. The same key again is fine; another one gives [ErrRootTrusted].
func TrustRoot(key [32]byte) error {
	trustMu.Lock()
	defer trustMu.Unlock()
	switch whatsmeow.WACertPubKey {
	case key: // clients may be reading it right now: no write without need
		return nil
	case realRoot():
		whatsmeow.WACertPubKey = key // the only way to name another root
		return nil
	default:
		return ErrRootTrusted
	}
}
