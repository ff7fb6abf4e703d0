package main

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// engines are the databases that a node runs on. Each call of database makes an empty one that goes with the test.
func engines() map[string]func(t *testing.T) string {
	return map[string]func(t *testing.T) string{"SQLite": sqliteDatabase, "PostgreSQL": postgresDatabase}
}

func sqliteDatabase(t *testing.T) string {
	t.Helper()
	return tenanttest.SQLiteURL(t)
}

func postgresDatabase(t *testing.T) string {
	t.Helper()
	return tenanttest.Postgres(t).URL(t)
}

// wire is a TCP proxy in front of a PostgreSQL server, which can be cut and mended.
type wire struct {
	listener        net.Listener
	network, target string

	delay   atomic.Int64 // how long the server's answers take more, in ns
	commits atomic.Int64 // so many COMMITs are still to meet with a reset of their connection: every other one before it reaches the server

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// newWire puts a wire in front of the server of databaseURL and returns the URL through it.
func newWire(t *testing.T, databaseURL string) (w *wire, through string) {
	t.Helper()
	config, err := pgx.ParseConfig(databaseURL)
	require.NoError(t, err)
	w = &wire{network: "tcp", target: net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))), conns: make(map[net.Conn]struct{})}
	if filepath.IsAbs(config.Host) {
		w.network, w.target = "unix", filepath.Join(config.Host, fmt.Sprintf(".s.PGSQL.%d", config.Port))
	}
	w.listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.wg.Go(w.accept)
	t.Cleanup(func() {
		_ = w.listener.Close()
		w.set(true)
		w.wg.Wait()
	})
	u, err := url.Parse(databaseURL)
	require.NoError(t, err)
	u.Host = w.listener.Addr().String()
	query := u.Query()
	query.Del("host")
	query.Set("sslmode", "disable")
	u.RawQuery = query.Encode()
	return w, u.String()
}

func (w *wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial(w.network, w.target)
		if err != nil || !w.add(near, far) {
			_ = near.Close()
			if err == nil {
				_ = far.Close()
			}
			continue
		}
		var lost atomic.Bool // the answer to a COMMIT
		w.wg.Go(func() { w.pump(near, far, func(chunk []byte) bool { return w.request(chunk, &lost) }) })
		w.wg.Go(func() { w.pump(far, near, func([]byte) bool { return w.response(&lost) }) })
	}
}

func (w *wire) add(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return false
	}
	for _, c := range conns {
		w.conns[c] = struct{}{}
	}
	return true
}

// pump copies until one end closes, or pass answers false: then both are reset.
func (w *wire) pump(from, to net.Conn, pass func(chunk []byte) bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !pass(buffer[:n]) {
			for _, end := range []net.Conn{from, to} {
				if tcp, ok := end.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0)
				}
			}
			break
		}
		if n > 0 {
			if _, werr := to.Write(buffer[:n]); werr != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, from)
	delete(w.conns, to)
}

// request says whether a request goes to the server.
func (w *wire) request(chunk []byte, lost *atomic.Bool) bool {
	if w.commits.Load() <= 0 || !bytes.Contains(bytes.ToLower(chunk), []byte("commit")) {
		return true
	}
	left := w.commits.Add(-1)
	if left < 0 {
		return true
	}
	lost.Store(left%2 == 0)
	return lost.Load()
}

// response says whether an answer goes to the client, when it is time.
func (w *wire) response(lost *atomic.Bool) bool {
	if d := w.delay.Load(); d > 0 {
		late := time.NewTimer(time.Duration(d))
		defer late.Stop()
		<-late.C
	}
	return !lost.Load()
}

// set cuts the wire, with all connections through it, or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for c := range w.conns {
			_ = c.Close()
		}
	}
}
