package relay_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/session/wasim/memstore"
	"github.com/wafleet/wafleet/session/wasim/relay"
)

func TestTransport(t *testing.T) {
	t.Parallel()

	t.Run("OffersHTTP1AndDeclinesDeflate", func(t *testing.T) {
		t.Parallel()
		for accept, want := range map[bool]bool{false: false, true: true} {
			s := start(t, relay.Config{AcceptDeflate: accept})
			ws, resp, err := websocket.Dial(t.Context(), "wss://web.whatsapp.com/ws/chat", &websocket.DialOptions{ //nolint:bodyclose // the library owns it
				HTTPClient: s.http, CompressionMode: websocket.CompressionContextTakeover,
			})
			require.NoError(t, err)
			require.Equal(t, want, resp.Header.Get("Sec-WebSocket-Extensions") != "")
			require.NoError(t, ws.CloseNow())
			tr, ok := s.http.Transport.(*http.Transport)
			require.True(t, ok)
			conn, err := tls.Dial("tcp", s.addr, &tls.Config{
				RootCAs: tr.TLSClientConfig.RootCAs, ServerName: "web.whatsapp.com", NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12,
			})
			require.NoError(t, err)
			require.Equal(t, "http/1.1", conn.ConnectionState().NegotiatedProtocol)
			require.NoError(t, conn.Close())
		}
	})

	t.Run("EndsWhatIsNoHandshake", func(t *testing.T) {
		t.Parallel()
		for name, first := range map[string][]byte{
			"nothing": nil, "other header": []byte("XX\x06\x03\x00\x00\x01a"), "garbage": []byte("WA\x06\x03\x00\x00\x03abc"),
			"too large": []byte("WA\x06\x03\xff\xff\xff"), "routing too large": []byte("ED\x00\x01\xff\xff\xff"),
		} {
			timeout := time.Hour
			if first == nil { // the others are ended at once
				timeout = 50 * time.Millisecond
			}
			s := start(t, relay.Config{HandshakeTimeout: timeout})
			ws, _, err := websocket.Dial(t.Context(), "wss://web.whatsapp.com/ws/chat", &websocket.DialOptions{HTTPClient: s.http}) //nolint:bodyclose // the library owns it
			require.NoError(t, err)
			if first != nil {
				require.NoError(t, ws.Write(t.Context(), websocket.MessageBinary, first))
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			_, _, err = ws.Read(ctx)
			require.Error(t, err, name)
			require.NoError(t, ctx.Err(), name)
			cancel()
			require.Eventually(t, func() bool { return s.Stats().Connections == 0 }, patience, 5*time.Millisecond)
		}
	})

	t.Run("NamesAClientVersion", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		v, err := whatsmeow.GetLatestVersion(t.Context(), s.http)
		require.NoError(t, err)
		require.Equal(t, uint32(3000), v[1])
	})

	t.Run("ServesOnce", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		s.online(t, s.primary(t, "")) // it serves
		require.ErrorIs(t, s.Serve(t.Context(), nil), relay.ErrServing)
	})

	t.Run("SaysWhyTheListenerFailed", func(t *testing.T) {
		t.Parallel()
		s, err := relay.New(relay.Config{})
		require.NoError(t, err)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, ln.Close())
		require.ErrorIs(t, s.Serve(t.Context(), ln), net.ErrClosed)
	})
}

// slowConn is a connection whose reading can be stopped, so that the kernel's buffers fill.
type slowConn struct {
	net.Conn
	stopped *atomic.Bool
	release chan struct{}
}

func (c slowConn) Read(p []byte) (int, error) {
	if c.stopped.Load() {
		<-c.release
		return 0, io.EOF
	}
	return c.Conn.Read(p)
}

func TestASlowReaderIsCutAndLosesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{WriteTimeout: time.Second})
	a, b := s.online(t, s.primary(t, "")), s.primary(t, "")
	stopped, release := new(atomic.Bool), make(chan struct{})
	slow := sim{Server: s.Server, addr: s.addr}
	tr := s.http.Transport.(*http.Transport).Clone()
	dial := tr.DialContext
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return slowConn{conn, stopped, release}, err
	}
	slow.http = &http.Client{Transport: tr}
	slow.online(t, b)
	t.Cleanup(func() { close(release) }) // before the client hangs up, which waits for its reader
	stopped.Store(true)
	const n = 60
	big := string(bytes.Repeat([]byte("x"), 200_000))
	for i := range n {
		m := text(fmt.Sprintf("M%d", i), b.lid)
		m.Content = []node{{Tag: "participants", Content: []node{{Tag: "to", Attrs: attrs{"jid": b.lid}, Content: []node{enc("msg", big)}}}}}
		a.send(m)
		a.ack(fmt.Sprintf("M%d", i)) // the sender is not held up
	}
	require.Eventually(t, func() bool { return s.Stats().CutSlow == 1 && s.Stats().Connections == 1 }, patience, 5*time.Millisecond)
	require.Len(t, s.login(t, b).active(), n)
}

// TestNothingIsLostInAStorm has a receiver that is thrown out again and again while a sender writes: in the end every message has come,
// in order where it came first, and the queue is empty.
func TestNothingIsLostInAStorm(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{CloseGrace: 50 * time.Millisecond})
	w := s.witness(t)
	a, b := s.online(t, s.primary(t, "")), s.primary(t, "")
	const n = 400
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			id := fmt.Sprintf("M%03d", i)
			a.send(text(id, b.lid, b.lid))
			if i%20 == 0 {
				a.send(text(id, b.lid, b.lid)) // as if its ack had been lost
			}
		}
	})
	var first []string
	seen := map[string]bool{}
	for round := 0; len(seen) < n; round++ {
		r := s.dial(t, b, b.loginPayload())
		r.expect("success")
		r.send(node{Tag: "iq", Attrs: attrs{"id": "a", "xmlns": "passive", "type": "set", "to": types.ServerJID}, Content: []node{{Tag: "active"}}})
		for k := 0; len(seen) < n && (k < 60 || round > 20); {
			m := r.next()
			if m.Tag != "message" {
				continue
			}
			k++
			id := m.Attrs["id"].(string)
			if !seen[id] {
				seen[id] = true
				first = append(first, id)
			}
			if k%3 != 0 {
				r.send(node{Tag: "receipt", Attrs: attrs{"id": id, "to": m.Attrs["from"]}})
			}
		}
		switch round % 3 {
		case 0:
			require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultDrop, Phone: b.phone, Primary: true}))
		case 1:
			require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultStreamError, Phone: b.phone, Primary: true, Code: 503}))
		}
	}
	wg.Wait()
	require.IsIncreasing(t, first)
	r := s.login(t, b)
	for _, m := range r.active() {
		r.delivered(m)
	}
	require.Zero(t, s.Stats().UnacknowledgedByPhone[b.phone])
	for i := range n {
		require.Equal(t, 1, w.count(relay.Accepted, fmt.Sprintf("M%03d", i)))
	}
}

func TestANewCompanionIsWrittenTo(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	p := s.online(t, s.primary(t, ""))
	one, contact := pair(t, s, p), s.phone(t, "Contact")
	contact.say(one.lid(), "to one")
	one.hear("to one")
	one.say(contact.lid(), "from one") // caches its own devices
	contact.hear("from one")
	two := pair(t, s, p)
	for _, c := range []*client{one, contact} { // the notifications went out before the pairing ended; a later stanza proves they came
		require.NoError(t, two.SendChatPresence(t.Context(), c.lid(), types.ChatPresenceComposing, ""))
	}
	require.Eventually(t, func() bool { return s.Stats().UnacknowledgedByPhone[contact.Store.ID.User] == 0 }, patience, 5*time.Millisecond)
	contact.say(one.lid(), "to both")
	one.hear("to both")
	require.Equal(t, contact.lid(), two.hear("to both").Info.Sender)
	one.say(contact.lid(), "own copy")
	contact.hear("own copy")
	copied := two.hear("own copy")
	require.True(t, copied.Info.IsFromMe)
	require.Equal(t, contact.lid(), copied.Info.Chat)
	require.Equal(t, contact.pn(), copied.Info.RecipientAlt)
}

func TestARealRetry(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	w := s.witness(t)
	a, b := s.phone(t, "A"), s.phone(t, "B")
	a.say(b.lid(), "one")
	b.hear("one")
	b.say(a.lid(), "two") // from now on the session is established
	a.hear("two")
	require.NoError(t, b.Store.Sessions.DeleteAllSessions(t.Context(), a.lid().SignalAddressUser()))
	sent := a.say(b.lid(), "three")
	await(b, func(u *events.UndecryptableMessage) bool { return u.Info.ID == sent.ID })
	require.Equal(t, sent.ID, b.hear("three").Info.ID)
	require.NotZero(t, w.count(relay.RetryRequested, sent.ID)) // twice, since the first comes without keys
	a.receipt(sent.ID, types.ReceiptTypeDelivered)
	require.Eventually(t, func() bool { return s.Stats().Messages == 0 }, patience, 5*time.Millisecond)
}

// TestAnAbruptClose is the fault that makes a product need a watchdog: paired, but the stanza that says to come back may be lost.
func TestAnAbruptClose(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{CloseGrace: -1})
	p := s.online(t, s.primary(t, ""))
	c := s.client(t, memstore.NewDevice(memstore.Limits{}))
	c.EnableAutoReconnect = false // it would go on for seconds after the test
	c.connect()
	q := scan(t, await[*events.QR](c, nil).Codes[0])
	p.ok("md", "set", pairDevice(q.ref, q.noise, identityFor(t, p.c, [32]byte(q.ident), q.adv)))
	await[*events.PairSuccess](c, nil)
	require.Eventually(t, func() bool { return s.Stats().Unpaired == 0 }, patience, 5*time.Millisecond)
}
