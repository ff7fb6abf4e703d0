package relay_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waCert"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
	waLog "go.mau.fi/whatsmeow/util/log"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/session/wasim/relay"
)

type (
	node  = waBinary.Node
	attrs = waBinary.Attrs
)

// patience is how long a test waits for what must come.
const patience = time.Minute

func TestMain(m *testing.M) {
	s, err := relay.New(relay.Config{})
	if err != nil {
		panic(err)
	}
	whatsmeow.WACertPubKey = s.RootPublicKey() // the library's trust root, once for the process
	// A frame that arrives while a client stops is handed over to nobody: the library's reader then waits for ever. That is not the relay's.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete"))
}

// sim is a serving relay and how to reach it.
type sim struct {
	*relay.Server
	addr string
	http *http.Client
}

// start runs a relay for a test. At the end it must stop cleanly, and no client may have violated the protocol.
func start(t *testing.T, cfg relay.Config) *sim {
	t.Helper()
	s := startLenient(t, cfg)
	t.Cleanup(func() { require.Empty(t, s.Stats().Violations) })
	return s
}

func startLenient(t *testing.T, cfg relay.Config) *sim {
	t.Helper()
	if os.Getenv("RELAY_LOG") != "" { //nolint:forbidigo // a switch for whoever debugs a test
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	srv, err := relay.New(cfg)
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, ln) }()
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(srv.CACertificate()))
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, ln.Addr().String())
		},
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		cancel()
		select {
		case err := <-served:
			require.NoError(t, err)
		case <-time.After(patience): //nolint:forbidigo // the end of a test
			require.Fail(t, "Serve did not return")
		}
	})
	return &sim{Server: srv, addr: ln.Addr().String(), http: &http.Client{Transport: tr}}
}

// phones gives every test numbers of its own.
var phones atomic.Uint64

func newPhone() string { return strconv.FormatUint(5511900000000+phones.Add(1), 10) }

// creds is what a device is made of.
type creds struct {
	phone  string
	id     uint16
	lid    types.JID
	noise  *keys.KeyPair
	ident  *keys.KeyPair
	signed *keys.PreKey
	reg    uint32
}

func newCreds() *creds {
	c := &creds{noise: keys.NewKeyPair(), ident: keys.NewKeyPair(), reg: 4711}
	c.signed = c.ident.CreateSignedPreKey(1)
	return c
}

func (c *creds) pn() types.JID {
	return types.JID{User: c.phone, Device: c.id, Server: types.DefaultUserServer}
}

// primary registers a phone.
func (s *sim) primary(t *testing.T, name string) *creds {
	t.Helper()
	c := newCreds()
	c.phone = newPhone()
	lid, err := s.Register(relay.Account{
		Phone: c.phone, Name: name, NoiseKey: *c.noise.Pub, IdentityKey: *c.ident.Pub, RegistrationID: c.reg,
		SignedPreKey: relay.SignedPreKey{ID: 1, Public: *c.signed.Pub, Signature: *c.signed.Signature},
	})
	require.NoError(t, err)
	c.lid = lid
	return c
}

func (c *creds) loginPayload() *waWa6.ClientPayload {
	user, _ := strconv.ParseUint(c.phone, 10, 64)
	return &waWa6.ClientPayload{
		Username: &user, Device: new(uint32(c.id)), Passive: new(true), Pull: new(true),
	}
}

func (c *creds) registrationPayload() *waWa6.ClientPayload {
	return &waWa6.ClientPayload{
		Passive: new(false), Pull: new(false),
		DevicePairingData: &waWa6.ClientPayload_DevicePairingRegistrationData{
			ERegid: binary.BigEndian.AppendUint32(nil, c.reg), EKeytype: []byte{ecc.DjbType}, EIdent: c.ident.Pub[:],
			ESkeyID: []byte{0, 0, 1}, ESkeyVal: c.signed.Pub[:], ESkeySig: c.signed.Signature[:],
		},
	}
}

// raw is a client that speaks stanzas and nothing more, on the library's own sockets: what it is answered, a test can compare exactly.
type raw struct {
	t      testing.TB
	s      *sim
	c      *creds
	ns     *socket.NoiseSocket
	in     chan *node
	closed chan struct{}
	stash  []*node
	ids    int
}

// dial does the handshake and sends the payload.
func (s *sim) dial(t *testing.T, c *creds, hail *waWa6.ClientPayload) *raw {
	t.Helper()
	r := &raw{t: t, s: s, c: c, in: make(chan *node, 4096), closed: make(chan struct{})}
	fs := socket.NewFrameSocket(waLog.Noop, s.http)
	require.NoError(t, fs.Connect(context.Background()))
	nh := socket.NewNoiseHandshake()
	nh.Start(socket.NoiseStartPattern, fs.Header)
	eph := keys.NewKeyPair()
	nh.Authenticate(eph.Pub[:])
	hello, err := proto.Marshal(&waWa6.HandshakeMessage{ClientHello: &waWa6.HandshakeMessage_ClientHello{Ephemeral: eph.Pub[:]}})
	require.NoError(t, err)
	require.NoError(t, fs.SendFrame(hello))
	var msg waWa6.HandshakeMessage
	select {
	case frame := <-fs.Frames:
		require.NoError(t, proto.Unmarshal(frame, &msg))
	case <-time.After(patience): //nolint:forbidigo // a deadline
		require.Fail(t, "no server hello")
	}
	serverEph := msg.GetServerHello().GetEphemeral()
	nh.Authenticate(serverEph)
	require.NoError(t, nh.MixSharedSecretIntoKey(*eph.Priv, [32]byte(serverEph)))
	static, err := nh.Decrypt(msg.GetServerHello().GetStatic())
	require.NoError(t, err)
	require.NoError(t, nh.MixSharedSecretIntoKey(*eph.Priv, [32]byte(static)))
	chain, err := nh.Decrypt(msg.GetServerHello().GetPayload())
	require.NoError(t, err)
	verifyChain(t, chain, static, s.RootPublicKey())
	fin := &waWa6.HandshakeMessage_ClientFinish{Static: nh.Encrypt(c.noise.Pub[:])}
	require.NoError(t, nh.MixSharedSecretIntoKey(*c.noise.Priv, [32]byte(serverEph)))
	plain, err := proto.Marshal(hail)
	require.NoError(t, err)
	fin.Payload = nh.Encrypt(plain)
	out, err := proto.Marshal(&waWa6.HandshakeMessage{ClientFinish: fin})
	require.NoError(t, err)
	require.NoError(t, fs.SendFrame(out))
	r.ns, err = nh.Finish(fs, func(_ context.Context, frame []byte) {
		body, err := waBinary.Unpack(frame)
		if err != nil {
			return
		}
		n, err := waBinary.Unmarshal(body)
		if err != nil {
			return
		}
		r.in <- n
	}, func(context.Context, *socket.NoiseSocket, bool) { close(r.closed) })
	require.NoError(t, err)
	t.Cleanup(r.hangUp)
	return r
}

func verifyChain(t *testing.T, raw, static []byte, root [32]byte) {
	t.Helper()
	var chain waCert.CertChain
	require.NoError(t, proto.Unmarshal(raw, &chain))
	var mid, leaf waCert.CertChain_NoiseCertificate_Details
	require.NoError(t, proto.Unmarshal(chain.GetIntermediate().GetDetails(), &mid))
	require.NoError(t, proto.Unmarshal(chain.GetLeaf().GetDetails(), &leaf))
	require.True(t, ecc.VerifySignature(ecc.NewDjbECPublicKey(root), chain.GetIntermediate().GetDetails(), [64]byte(chain.GetIntermediate().GetSignature())))
	require.True(t, ecc.VerifySignature(ecc.NewDjbECPublicKey([32]byte(mid.GetKey())), chain.GetLeaf().GetDetails(), [64]byte(chain.GetLeaf().GetSignature())))
	require.Zero(t, mid.GetIssuerSerial())
	require.Equal(t, mid.GetSerial(), leaf.GetIssuerSerial())
	require.Equal(t, static, leaf.GetKey())
	for _, d := range []*waCert.CertChain_NoiseCertificate_Details{&mid, &leaf} {
		now := uint64(time.Now().Unix())
		require.Less(t, d.GetNotBefore(), now)
		require.Greater(t, d.GetNotAfter(), now)
	}
}

func (r *raw) hangUp() { r.ns.Stop(true, true) }

func (r *raw) send(n node) {
	r.t.Helper()
	data, err := waBinary.Marshal(n)
	require.NoError(r.t, err)
	require.NoError(r.t, r.ns.SendFrame(context.Background(), data))
}

// next is the next stanza, whatever it is.
func (r *raw) next() *node {
	r.t.Helper()
	if len(r.stash) > 0 {
		n := r.stash[0]
		r.stash = r.stash[1:]
		return n
	}
	return r.receive()
}

func (r *raw) receive() *node {
	r.t.Helper()
	select {
	case n := <-r.in:
		return n
	case <-r.closed:
		if len(r.in) > 0 { // it came before the end
			return <-r.in
		}
		require.Fail(r.t, "the connection ended")
	case <-time.After(patience): //nolint:forbidigo // a deadline
		require.Fail(r.t, "no stanza came")
	}
	return nil
}

// expect is the next stanza, which must have this tag.
func (r *raw) expect(tag string) *node {
	r.t.Helper()
	n := r.next()
	require.Equal(r.t, tag, n.Tag, "got %s", n)
	return n
}

// find is the next stanza that fits; others wait.
func (r *raw) find(fits func(*node) bool) *node {
	r.t.Helper()
	for i, n := range r.stash {
		if fits(n) {
			r.stash = append(r.stash[:i:i], r.stash[i+1:]...)
			return n
		}
	}
	for {
		n := r.receive()
		if fits(n) {
			return n
		}
		r.stash = append(r.stash, n)
	}
}

// request sends an iq and returns its answer.
func (r *raw) request(xmlns, kind string, content ...node) *node {
	r.t.Helper()
	r.ids++
	id := fmt.Sprintf("7.%d-%d", r.ids, r.ids)
	n := node{Tag: "iq", Attrs: attrs{"id": id, "xmlns": xmlns, "type": kind, "to": types.ServerJID}}
	if len(content) > 0 {
		n.Content = content
	}
	r.send(n)
	return r.find(func(n *node) bool { return n.Tag == "iq" && n.Attrs["id"] == id })
}

// ok is request for an answer that must be a result.
func (r *raw) ok(xmlns, kind string, content ...node) *node {
	r.t.Helper()
	n := r.request(xmlns, kind, content...)
	require.Equal(r.t, "result", n.Attrs["type"], "%s", n)
	require.Equal(r.t, types.ServerJID, n.Attrs["from"])
	return n
}

// fails is request for an answer that must be this error.
func (r *raw) fails(code, text, xmlns, kind string, content ...node) {
	r.t.Helper()
	n := r.request(xmlns, kind, content...)
	require.Equal(r.t, "error", n.Attrs["type"], "%s", n)
	e := n.GetChildByTag("error")
	require.Equal(r.t, code, e.Attrs["code"])
	require.Equal(r.t, text, e.Attrs["text"])
}

// idle checks that nothing more came. An answer goes before queued stanzas, so that one ping may overtake a stanza whose writer has only just
// been woken; by the third the writer has looked into the queue.
func (r *raw) idle() {
	r.t.Helper()
	for range 3 {
		r.ok("w:p", "get")
	}
	require.Empty(r.t, r.stash)
	select {
	case n := <-r.in:
		require.Fail(r.t, "unexpected stanza", "%s", n)
	default:
	}
}

// login dials and waits for success; online also opens the queue and eats its notices.
func (s *sim) login(t *testing.T, c *creds) *raw {
	t.Helper()
	r := s.dial(t, c, c.loginPayload())
	n := r.expect("success")
	require.Equal(t, types.JID{User: c.lid.User, Device: c.id, Server: types.HiddenUserServer}, n.Attrs["lid"])
	require.NotEmpty(t, n.Attrs["t"])
	return r
}

func (s *sim) online(t *testing.T, c *creds) *raw {
	t.Helper()
	r := s.login(t, c)
	r.active()
	return r
}

// active opens the queue. It returns what came as offline stanzas.
func (r *raw) active() []*node {
	r.t.Helper()
	r.ok("passive", "set", node{Tag: "active"})
	var got []*node
	for {
		n := r.next()
		if n.Tag != "ib" {
			require.NotEmpty(r.t, n.Attrs["offline"], "%s", n)
			got = append(got, n)
			continue
		}
		if end, last := n.GetOptionalChildByTag("offline"); last {
			require.Equal(r.t, strconv.Itoa(len(got)), end.Attrs["count"])
			return got
		}
		require.Empty(r.t, got)
		require.Contains(r.t, n.GetChildren()[0].Tag, "offline_preview")
	}
}

// gone waits until the server closes the connection.
func (r *raw) gone() {
	r.t.Helper()
	select {
	case <-r.closed:
	case <-time.After(patience): //nolint:forbidigo // a deadline
		require.Fail(r.t, "the server did not close the connection")
	}
}
