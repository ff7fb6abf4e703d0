package tenantsql_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// proxy stands between a store and PostgreSQL and can be cut.
type proxy struct {
	network, target string // of the server: its URL may name a Unix socket
	listener        net.Listener
	wg              sync.WaitGroup

	down       atomic.Bool
	loseCommit atomic.Int32 // counts COMMITs down: the one that takes it to 0 reaches the server, its answer is lost with the connection
	thenDown   atomic.Bool  // and with it the server
	syncs      atomic.Int64 // how often the server was asked for all its answers: once in each round trip

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// newProxy returns a proxy before the server of a URL, and the URL through it.
func newProxy(t *testing.T, through string) (*proxy, string) {
	t.Helper()
	config, err := pgx.ParseConfig(through)
	require.NoError(t, err)
	u, err := url.Parse(through)
	require.NoError(t, err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener, conns: map[net.Conn]struct{}{}}
	p.network, p.target = pgconn.NetworkAddress(config.Host, config.Port)
	p.wg.Go(p.serve)
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		p.cut()
		p.wg.Wait()
	})
	u.Host = listener.Addr().String()
	query := u.Query()
	query.Del("host")
	u.RawQuery = query.Encode()
	return p, u.String()
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.down.Load() {
			_ = client.Close()
			continue
		}
		server, err := net.Dial(p.network, p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		var lost atomic.Bool
		p.wg.Go(func() { p.pass(server, client, nil, &lost) })
		p.wg.Go(func() { p.pass(client, server, &lost, nil) })
	}
}

// pass copies from one end to the other. On the way to the server watch is nil.
func (p *proxy) pass(to, from net.Conn, lost, watch *atomic.Bool) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if watch != nil && bytes.Contains(bytes.ToLower(buffer[:n]), []byte("commit")) && p.loseCommit.Load() > 0 && p.loseCommit.Add(-1) == 0 {
			watch.Store(true)
			p.down.Store(p.thenDown.Load())
		}
		if watch != nil {
			p.syncs.Add(int64(bytes.Count(buffer[:n], []byte("S\x00\x00\x00\x04"))))
		}
		if lost != nil && lost.Load() {
			return // the server has answered, nobody hears it
		}
		if _, err = io.Copy(to, bytes.NewReader(buffer[:n])); err != nil {
			return
		}
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}
