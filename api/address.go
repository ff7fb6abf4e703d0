package api

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// clientOf is the address that a request came from: the connection's, or, if that is a trusted proxy's, the last one in
// X-Forwarded-For that is not. What stands before that was written by whoever liked to.
func (s *Server) clientOf(r *http.Request) netip.Addr {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	client := remote.Addr().Unmap().WithZone("")
	if !s.trusts(client) {
		return client
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		address, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return client // the proxies before it wrote nonsense: the last that is known counts
		}
		client = address.Unmap().WithZone("")
		if !s.trusts(client) {
			return client
		}
	}
	return client
}

func (s *Server) trusts(address netip.Addr) bool {
	return slices.ContainsFunc(s.cfg.TrustedProxies, func(proxy netip.Prefix) bool { return proxy.Contains(address) })
}

// originOf is how the client calls the node.
func originOf(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

const (
	// addressBits is how much of an IPv6 address counts: a customer of a provider has a /64 at least.
	addressBits = 64
	// maxAddresses bounds the addresses that are remembered; whoever is forgotten starts anew.
	maxAddresses = 20_000
)

// throttle gives each address a pace of its own.
type throttle struct {
	every   time.Duration
	burst   int
	buckets *lru.Cache[netip.Prefix, *rate.Limiter]
}

func newThrottle(every time.Duration, burst int) (*throttle, error) {
	buckets, err := lru.New[netip.Prefix, *rate.Limiter](maxAddresses)
	return &throttle{every: every, burst: burst, buckets: buckets}, err
}

// networkOf is what has a pace of its own.
func networkOf(address netip.Addr) netip.Prefix {
	bits := address.BitLen()
	if address.Is6() {
		bits = addressBits
	}
	network, _ := address.Prefix(bits) // the zero address, too, is somebody
	return network
}

func (t *throttle) bucket(address netip.Addr) *rate.Limiter {
	network := networkOf(address)
	bucket := rate.NewLimiter(rate.Every(t.every), t.burst)
	if known, ok, _ := t.buckets.PeekOrAdd(network, bucket); ok {
		bucket = known
		t.buckets.Get(network) // it was used last
	}
	return bucket
}

// wait says how long an address that was charged must wait; zero: it may go on. It takes nothing, and remembers nobody.
func (t *throttle) wait(address netip.Addr) time.Duration {
	bucket, ok := t.buckets.Get(networkOf(address))
	if !ok {
		return 0
	}
	missing := 1 - bucket.TokensAt(time.Now())
	return max(0, time.Duration(missing*float64(t.every)))
}

// charge takes from an address for what it has done. Those who came at once owe what is missing, up to another burst.
func (t *throttle) charge(address netip.Addr) {
	bucket, now := t.bucket(address), time.Now()
	if bucket.TokensAt(now) > 1-float64(t.burst) {
		bucket.ReserveN(now, 1)
	}
}

// take says how long an address must wait; zero: it may go on.
func (t *throttle) take(address netip.Addr) time.Duration {
	bucket, now := t.bucket(address), time.Now()
	reservation := bucket.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

// tooFast is the problem of an address that must wait.
func tooFast(wait time.Duration) *Problem {
	p := newProblem(codeTooManyRequests)
	p.retryAfter = wait
	return p
}
