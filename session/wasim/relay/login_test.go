package relay_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session/wasim/relay"
)

func TestLogin(t *testing.T) {
	t.Parallel()

	t.Run("AnswersSuccessAndOpensAnEmptyQueue", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		r := s.login(t, s.primary(t, ""))
		require.Equal(t, "0", child(r.ok("encrypt", "get", node{Tag: "count"}), "count").Attrs["value"])
		require.Empty(t, r.active())
		require.NotEmpty(t, r.ok("w:p", "get").Attrs["t"])
		r.idle()
	})

	t.Run("RefusesWhoIsNotKnown", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		known := s.primary(t, "")
		stranger := newCreds()
		stranger.phone = newPhone()
		wrongKey := newCreds()
		wrongKey.phone = known.phone
		wrongDevice := *known
		wrongDevice.id = 7
		for name, c := range map[string]*creds{"unknown number": stranger, "other key": wrongKey, "other device": &wrongDevice} {
			r := s.dial(t, c, c.loginPayload())
			require.Equal(t, "401", r.expect("failure").Attrs["reason"], name)
			r.gone()
		}
	})

	t.Run("SecondLoginReplacesTheFirst", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{CloseGrace: 300 * time.Millisecond})
		c := s.primary(t, "")
		first := s.online(t, c)
		second := s.online(t, c)
		n := first.expect("stream:error")
		require.Equal(t, "replaced", child(n, "conflict").Attrs["type"])
		first.gone()
		second.idle()
		require.Eventually(t, func() bool { return s.Stats().Connections == 1 }, patience, 5*time.Millisecond)
	})

	for _, code := range []int{401, 402, 403, 405, 500, 503} {
		t.Run("ConnectFailure"+strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			s := start(t, relay.Config{FailureGrace: 100 * time.Millisecond})
			c := s.primary(t, "")
			require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultConnectFailure, Phone: c.phone, Primary: true, Code: code}))
			r := s.dial(t, c, c.loginPayload())
			require.Equal(t, strconv.Itoa(code), r.expect("failure").Attrs["reason"])
			r.gone()
			s.online(t, c) // once only
		})
	}

	for code, want := range map[int]attrs{
		0: nil, 401: {"code": "401"}, 409: nil, 503: {"code": "503"}, 515: {"code": "515"},
	} {
		t.Run("StreamError"+strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			s := start(t, relay.Config{CloseGrace: 200 * time.Millisecond})
			c := s.primary(t, "")
			r := s.online(t, c)
			began := time.Now()
			require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultStreamError, Phone: c.phone, Primary: true, Code: code}))
			n := r.expect("stream:error")
			require.Equal(t, want, n.Attrs)
			if conflict, ok := n.GetOptionalChildByTag("conflict"); ok {
				require.Equal(t, map[int]string{401: "device_removed", 409: "replaced"}[code], conflict.Attrs["type"])
			}
			r.gone()
			require.GreaterOrEqual(t, time.Since(began), 200*time.Millisecond, "the client needs time to read the error")
			s.online(t, c)
		})
	}
}

func child(n *node, tags ...string) *node {
	c := n.GetChildByTag(tags...)
	return &c
}

func TestDeadConnectionsAreCut(t *testing.T) {
	t.Parallel()
	const silence = time.Hour
	s := start(t, relay.Config{PingTimeout: silence})
	c := s.primary(t, "")
	r := s.online(t, c)
	before := time.Now()
	r.ok("w:p", "get")
	s.Sweep(before.Add(silence)) // kept alive by its ping
	r.idle()
	s.Sweep(time.Now().Add(silence + time.Second))
	r.gone()
	s.online(t, c)
}

func TestRegister(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	c := s.primary(t, "")
	a := relay.Account{
		Phone: c.phone, NoiseKey: *c.noise.Pub, IdentityKey: *c.ident.Pub, RegistrationID: c.reg,
		SignedPreKey: relay.SignedPreKey{ID: 1, Public: *c.signed.Pub, Signature: *c.signed.Signature},
	}
	again, err := s.Register(a)
	require.NoError(t, err)
	require.Equal(t, c.lid, again)
	other := start(t, relay.Config{})
	elsewhere, err := other.Register(a)
	require.NoError(t, err)
	require.Equal(t, c.lid, elsewhere, "the LID must survive a restart of the simulator")
	require.Equal(t, types.HiddenUserServer, c.lid.Server)
	require.NotContains(t, c.lid.User, c.phone)

	a.NoiseKey[0]++
	_, err = s.Register(a)
	require.ErrorIs(t, err, relay.ErrAlreadyRegistered)
	a.Phone = "+4912345"
	_, err = s.Register(a)
	require.ErrorIs(t, err, relay.ErrInvalidAccount)
	a.Phone = newPhone()
	a.SignedPreKey.Signature[3] ^= 1
	_, err = s.Register(a)
	require.ErrorIs(t, err, relay.ErrInvalidAccount)
}

func TestUnansweredRequestsDoNotExist(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	r := s.online(t, s.primary(t, ""))
	r.fails("501", "feature-not-implemented", "w:nonsense", "get", node{Tag: "thing"})
	r.fails("501", "feature-not-implemented", "w:nonsense", "set")
	require.Equal(t, map[string]int{"w:nonsense get thing": 1, "w:nonsense set ": 1}, s.Stats().UnknownIQs)
	r.idle()
}
