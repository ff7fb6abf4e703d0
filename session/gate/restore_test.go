package gate_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/libsignal/keys/identity"
	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/protocol"
	"go.mau.fi/libsignal/session"
	"go.mau.fi/libsignal/util/optional"
	"go.mau.fi/whatsmeow/store"

	"github.com/wafleet/wafleet/session/gate"
	"github.com/wafleet/wafleet/session/wasim/memstore"
)

// side is one of two devices that talk.
type side struct {
	dev   *store.Device
	other *protocol.SignalAddress
	out   []protocol.CiphertextMessage // on its way to the other
	sent  int
	got   int
}

func (s *side) cipher() *session.Cipher {
	return session.NewCipher(session.NewBuilderFromSignal(s.dev, s.other, store.SignalProtobufSerializer), s.other)
}

// begin makes a session from the other's keys, as before a first message.
func (s *side) begin(ctx context.Context, t *testing.T, with *side) {
	t.Helper()
	one, err := with.dev.PreKeys.GenOnePreKey(ctx)
	require.NoError(t, err)
	signed := with.dev.SignedPreKey
	bundle := prekey.NewBundle(with.dev.RegistrationID, 0, optional.NewOptionalUint32(one.KeyID), signed.KeyID,
		ecc.NewDjbECPublicKey(*one.Pub), ecc.NewDjbECPublicKey(*signed.Pub), *signed.Signature,
		identity.NewKey(ecc.NewDjbECPublicKey(*with.dev.IdentityKey.Pub)))
	require.NoError(t, session.NewBuilderFromSignal(s.dev, s.other, store.SignalProtobufSerializer).ProcessBundle(ctx, bundle))
}

func (s *side) send(ctx context.Context, t *testing.T) {
	t.Helper()
	msg, err := s.cipher().Encrypt(ctx, fmt.Appendf(nil, "message %d", s.sent))
	require.NoError(t, err)
	s.out = append(s.out, msg)
	s.sent++
}

// receive decrypts the oldest message on its way from the other, in a transaction as whatsmeow does.
func (s *side) receive(ctx context.Context, from *side) error {
	if len(from.out) == 0 {
		return nil
	}
	// Over the wire and back: the two sides share no memory.
	raw := from.out[0].Serialize()
	isFirst := from.out[0].Type() == protocol.PREKEY_TYPE
	from.out = from.out[1:]
	return s.dev.EventBuffer.DoDecryptionTxn(ctx, func(ctx context.Context) (err error) {
		var plain []byte
		pb := store.SignalProtobufSerializer
		if isFirst {
			msg, err := protocol.NewPreKeySignalMessageFromBytes(raw, pb.PreKeySignalMessage, pb.SignalMessage)
			if err != nil {
				return err
			}
			plain, err = s.cipher().DecryptMessage(ctx, msg)
			if err != nil {
				return err
			}
		} else {
			msg, err := protocol.NewSignalMessageFromBytes(raw, pb.SignalMessage)
			if err != nil {
				return err
			}
			plain, err = s.cipher().Decrypt(ctx, msg)
			if err != nil {
				return err
			}
		}
		if want := fmt.Sprintf("message %d", s.got); string(plain) != want {
			return fmt.Errorf("got %q, want %q", plain, want)
		}
		s.got++
		return nil
	})
}

// converse lets two devices that have both begun a session talk with messages crossing, and answers the first error.
func converse(ctx context.Context, t *testing.T, seed uint64, wrap func(*store.Device)) error {
	t.Helper()
	a := &side{dev: memstore.NewDevice(memstore.Limits{}), other: protocol.NewSignalAddress("b", 0)}
	b := &side{dev: memstore.NewDevice(memstore.Limits{}), other: protocol.NewSignalAddress("a", 0)}
	wrap(a.dev)
	wrap(b.dev)
	a.begin(ctx, t, b)
	b.begin(ctx, t, a)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		var err error
		switch rng.IntN(4) {
		case 0:
			a.send(ctx, t)
		case 1:
			b.send(ctx, t)
		case 2:
			err = a.receive(ctx, b)
		case 3:
			err = b.receive(ctx, a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Two devices that begin a session with each other at once use both for a while. libsignal alone breaks the one it tries
// in vain, and messages become undecryptable.
func TestSessionsBegunAtOnceStayWhole(t *testing.T) {
	t.Parallel()
	broken := 0
	for seed := range uint64(20) {
		require.NoError(t, converse(t.Context(), t, seed, func(d *store.Device) { gate.Wrap(d) }), "seed %d", seed)
		if converse(t.Context(), t, seed, func(*store.Device) {}) != nil {
			broken++
		}
	}
	require.Positive(t, broken, "libsignal no longer needs restore")
}
