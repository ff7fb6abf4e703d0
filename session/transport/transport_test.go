package transport_test

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/session/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// farEnd is an HTTPS server on loopback whose certificate is good for example.com alone, as httptest makes them.
func farEnd(t *testing.T, h http.HandlerFunc) (*httptest.Server, transport.Endpoint) {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	addr := srv.Listener.Addr().String()
	return srv, transport.Endpoint{WebSocketAddr: addr, MediaAddr: addr, CA: pool}
}

func get(ctx context.Context, t *testing.T, cli *http.Client, url string, header http.Header) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	req.Header = header
	resp, err := cli.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { require.NoError(t, resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestUpgradesOfferNoCompression(t *testing.T) {
	t.Parallel()
	_, e := farEnd(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s|%s|%s", r.Host, r.Header.Get("Sec-WebSocket-Extensions"), r.Header.Get("Sec-WebSocket-Version"))
	})
	clients, err := transport.NewClients(e)
	require.NoError(t, err)
	t.Cleanup(clients.Close)
	header := http.Header{"Sec-Websocket-Extensions": {"permessage-deflate"}, "Sec-Websocket-Version": {"13"}}
	// httptest's certificate also names 127.0.0.1, which is dialled as a media host.
	got, err := get(t.Context(), t, clients.WebSocket, "https://127.0.0.1/ws/chat", header)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1||13", got)
	require.Equal(t, "permessage-deflate", header.Get("Sec-Websocket-Extensions"), "the caller's header was changed")
	require.Same(t, clients.WebSocket, clients.PreLogin)
}

func TestNothingLeavesTheMachine(t *testing.T) {
	t.Parallel()
	_, e := farEnd(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://example.com/elsewhere", http.StatusFound)
	})
	clients, err := transport.NewClients(e)
	require.NoError(t, err)
	t.Cleanup(clients.Close)
	for _, cli := range []*http.Client{clients.WebSocket, clients.Media} {
		_, err = get(t.Context(), t, cli, "https://example.com/", nil)
		require.ErrorIs(t, err, transport.ErrForeignHost)
		_, err = get(t.Context(), t, cli, "https://evil-whatsapp.net/", nil)
		require.ErrorIs(t, err, transport.ErrForeignHost)
		_, err = get(t.Context(), t, cli, "https://127.0.0.1/", nil)
		require.ErrorIs(t, err, transport.ErrRedirect)
		// The real names reach the far end, whose certificate here is for another.
		for _, host := range []string{"web.whatsapp.com", "mmg.whatsapp.net", "media-fra3-1.cdn.whatsapp.net"} {
			_, err = get(t.Context(), t, cli, "https://"+host+"/", nil)
			var wrongName x509.HostnameError
			require.ErrorAs(t, err, &wrongName, host)
		}
	}
	for _, addr := range []string{"192.0.2.1:443", "localhost:443", "example.com:443", "127.0.0.1", ""} {
		_, err = transport.NewClients(transport.Endpoint{WebSocketAddr: addr, MediaAddr: e.MediaAddr, CA: e.CA})
		require.Error(t, err, addr)
	}
	_, err = transport.NewClients(transport.Endpoint{WebSocketAddr: e.WebSocketAddr, MediaAddr: e.MediaAddr})
	require.Error(t, err, "without a CA the system's would be asked")
}

func TestMediaBodiesAreBounded(t *testing.T) {
	t.Parallel()
	_, e := farEnd(t, func(w http.ResponseWriter, r *http.Request) {
		body := strings.Repeat("x", len(r.URL.Query().Get("n")))
		if r.URL.Query().Has("chunked") {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = io.WriteString(w, body)
	})
	clients, err := transport.NewClients(e, transport.WithMaxMediaBody(10))
	require.NoError(t, err)
	t.Cleanup(clients.Close)
	for _, how := range []string{"", "&chunked"} {
		got, err := get(t.Context(), t, clients.Media, "https://127.0.0.1/?n=1234567890"+how, nil)
		require.NoError(t, err)
		require.Len(t, got, 10)
		got, err = get(t.Context(), t, clients.Media, "https://127.0.0.1/?n=12345678901"+how, nil)
		require.ErrorIs(t, err, transport.ErrBodyTooLarge)
		require.LessOrEqual(t, len(got), 10)
	}
	_, err = transport.NewClients(e, transport.WithMaxMediaBody(0))
	require.Error(t, err)
}

func TestASimulatorIsFoundByItsControlURL(t *testing.T) {
	t.Parallel()
	tls, e := farEnd(t, func(http.ResponseWriter, *http.Request) {})
	info := transport.Info{
		NoiseRootKey:  hex.EncodeToString(make([]byte, 32)),
		WebSocketURL:  "wss://" + e.WebSocketAddr + "/ws/chat",
		MediaURL:      "https://" + e.MediaAddr,
		CACertificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw})),
	}
	serve := func(t *testing.T, h http.HandlerFunc) string {
		t.Helper()
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		return srv.URL
	}
	answering := func(t *testing.T, change func(*transport.Info)) string {
		t.Helper()
		i := info
		change(&i)
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/info" {
				http.NotFound(w, r)
				return
			}
			_ = json.NewEncoder(w).Encode(i)
		})
	}
	good := answering(t, func(*transport.Info) {})
	got, key, err := transport.FetchSimulator(t.Context(), good)
	require.NoError(t, err)
	require.Equal(t, e.WebSocketAddr, got.WebSocketAddr)
	require.Equal(t, [32]byte{}, key)
	_, _, err = transport.FetchSimulator(t.Context(), strings.Replace(good, "127.0.0.1", "localhost", 1))
	require.NoError(t, err)

	for name, url := range map[string]string{
		"NotLoopback":     "http://192.0.2.1:1/",
		"NotHTTP":         "https://127.0.0.1:1",
		"NoURL":           "127.0.0.1:1",
		"BadKey":          answering(t, func(i *transport.Info) { i.NoiseRootKey = "ff" }),
		"BadCA":           answering(t, func(i *transport.Info) { i.CACertificate = "x" }),
		"PointsAway":      answering(t, func(i *transport.Info) { i.WebSocketURL = "wss://192.0.2.1:443/ws/chat" }),
		"MediaPointsAway": answering(t, func(i *transport.Info) { i.MediaURL = "https://example.com:443" }),
		"RedirectElsewhere": serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, good+"/info", http.StatusFound)
		}),
		"NotASimulator": serve(t, http.NotFound),
		"Endless": serve(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(" ", 2<<20)+"{}")
		}),
	} {
		_, _, err := transport.FetchSimulator(t.Context(), url)
		require.Error(t, err, name)
		if name == "NotLoopback" || name == "PointsAway" {
			require.ErrorIs(t, err, transport.ErrNotLoopback)
		}
	}
}

//nolint:paralleltest // changes a global of whatsmeow
func TestOneRootPerProcess(t *testing.T) {
	own := whatsmeow.WACertPubKey
	t.Cleanup(func() { whatsmeow.WACertPubKey = own })
	require.NoError(t, transport.TrustRoot(own), "WhatsApp's own is trusted already")
	require.NoError(t, transport.TrustRoot([32]byte{1}))
	require.NoError(t, transport.TrustRoot([32]byte{1}))
	require.ErrorIs(t, transport.TrustRoot([32]byte{2}), transport.ErrRootTrusted)
	require.Equal(t, [32]byte{1}, whatsmeow.WACertPubKey)
}

func TestTheRealWhatsAppNeedsNoEndpoint(t *testing.T) {
	t.Parallel()
	clients, err := transport.NewClients(transport.Endpoint{})
	require.NoError(t, err)
	clients.Close()
	require.False(t, transport.Endpoint{}.IsSimulator())
}
