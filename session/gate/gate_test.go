package gate_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/session/gate"
	"github.com/wafleet/wafleet/session/wasim/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const alice = "alice_1:0"

var errFailed = errors.New("failed")

type counts struct{ panics, conflicts, expired atomic.Int64 }

func setup(ctx context.Context, t *testing.T, opts ...gate.Option) (*store.Device, *gate.Gate, *counts) {
	t.Helper()
	dev := memstore.NewDevice(memstore.Limits{})
	c := new(counts)
	hooks := gate.WithHooks(gate.Hooks{
		Panic:    func(any, []byte) { c.panics.Add(1) },
		Conflict: func() { c.conflicts.Add(1) },
		Expired:  func() { c.expired.Add(1) },
	})
	g := gate.Wrap(dev, append(opts, hooks)...)
	require.NoError(t, dev.EventBuffer.DoDecryptionTxn(ctx, func(tx context.Context) error {
		return dev.Sessions.PutSession(tx, alice, []byte("v1"))
	}))
	return dev, g, c
}

func value(ctx context.Context, t *testing.T, dev *store.Device) string {
	t.Helper()
	many, err := dev.Sessions.GetManySessions(ctx, []string{alice})
	require.NoError(t, err)
	return string(many[alice])
}

// decrypt moves alice's session as a received message would.
func decrypt(ctx context.Context, dev *store.Device, to string) error {
	return dev.EventBuffer.DoDecryptionTxn(ctx, func(tx context.Context) error {
		if _, err := dev.Sessions.GetSession(tx, alice); err != nil {
			return err
		}
		return dev.Sessions.PutSession(tx, alice, []byte(to))
	})
}

func TestADecryptionWaitsFromGetToPutOfASend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		dev, g, _ := setup(t.Context(), t)
		var order []string
		received := make(chan error, 1)
		base := ctx // without the hold
		require.NoError(t, g.Send(ctx, func(ctx context.Context) error {
			require.True(t, g.Idle(), "nothing was read yet")
			require.NoError(t, dev.Sessions.MigratePNToLID(ctx, types.NewJID("1", types.DefaultUserServer), types.NewJID("2", types.HiddenUserServer)))
			_, err := dev.Sessions.GetManySessions(ctx, []string{alice})
			require.NoError(t, err)
			go func() {
				err := decrypt(base, dev, "received")
				order = append(order, "received")
				received <- err
			}()
			synctest.Wait() // it is waiting now
			require.Equal(t, "v1", value(ctx, t, dev))
			// The deletion of an untrusted identity comes in the middle, with the same context.
			require.NoError(t, dev.Sessions.DeleteSession(ctx, "bob_1:0"))
			order = append(order, "put")
			require.NoError(t, dev.Sessions.PutManySessions(ctx, map[string][]byte{alice: []byte("sent")}))
			require.NoError(t, <-received, "the gate must be free before the acknowledgement is awaited")
			return nil
		}))
		require.Equal(t, []string{"put", "received"}, order)
		require.Equal(t, "received", value(ctx, t, dev))
		require.True(t, g.Idle())
	})
}

func TestSendFreesTheGateHoweverItEnds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dev, g, _ := setup(t.Context(), t)
	get := func(ctx context.Context) {
		_, err := dev.Sessions.GetManySessions(ctx, []string{alice})
		require.NoError(t, err)
		require.False(t, g.Idle())
	}
	require.ErrorIs(t, g.Send(ctx, func(ctx context.Context) error { get(ctx); return errFailed }), errFailed)
	require.True(t, g.Idle())
	require.Panics(t, func() { _ = g.Send(ctx, func(ctx context.Context) error { get(ctx); panic("no") }) })
	require.True(t, g.Idle())
	require.NoError(t, g.Send(ctx, func(ctx context.Context) error {
		return g.Send(ctx, func(ctx context.Context) error { get(ctx); return nil }) // nested: the outer one releases
	}))
	require.True(t, g.Idle())
	var leaked context.Context
	require.NoError(t, g.Send(ctx, func(ctx context.Context) error {
		leaked = ctx //nolint:fatcontext // the leak is what is tested
		return nil
	}))
	_, err := dev.Sessions.GetManySessions(leaked, []string{alice})
	require.NoError(t, err)
	require.True(t, g.Idle(), "a context that outlived its Send took the gate for good")
}

func TestTwoRoundsInOneSend(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dev, g, _ := setup(t.Context(), t)
	require.NoError(t, g.Send(ctx, func(ctx context.Context) error {
		for i := range 2 {
			_, err := dev.Sessions.GetManySessions(ctx, []string{alice})
			require.NoError(t, err)
			require.False(t, g.Idle())
			require.NoError(t, dev.Sessions.PutManySessions(ctx, map[string][]byte{alice: []byte(fmt.Sprintf("sent %d", i))}))
			require.True(t, g.Idle())
		}
		// A peer message: one session, with the context of the Send.
		_, err := dev.Sessions.GetSession(ctx, alice)
		require.NoError(t, err)
		require.False(t, g.Idle())
		require.NoError(t, dev.Sessions.PutSession(ctx, alice, []byte("peer")))
		require.True(t, g.Idle())
		return nil
	}))
	require.Equal(t, "peer", value(ctx, t, dev))
}

func TestTransactionsMayNest(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a deadlock shows as an error
	defer cancel()
	dev, g, _ := setup(t.Context(), t)
	require.NoError(t, dev.EventBuffer.DoDecryptionTxn(ctx, func(tx context.Context) error {
		require.False(t, g.Idle())
		require.NoError(t, decrypt(tx, dev, "nested"))
		require.False(t, g.Idle(), "the inner one freed the gate of the outer one")
		require.NoError(t, dev.Sessions.DeleteAllSessions(tx, "bob_1"))
		require.NoError(t, dev.Sessions.PutManySessions(tx, map[string][]byte{alice: []byte("many")}))
		require.False(t, g.Idle())
		return g.Send(tx, func(ctx context.Context) error {
			_, err := dev.Sessions.GetManySessions(ctx, []string{alice})
			return err
		})
	}))
	require.True(t, g.Idle())
	require.NoError(t, g.Send(ctx, func(ctx context.Context) error {
		_, err := dev.Sessions.GetManySessions(ctx, []string{alice})
		require.NoError(t, err)
		require.NoError(t, decrypt(ctx, dev, "in the middle of a send"))
		require.False(t, g.Idle())
		return nil
	}))
	require.True(t, g.Idle())
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	dev, _, _ := setup(t.Context(), t)
	inside, release := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- dev.EventBuffer.DoDecryptionTxn(t.Context(), func(context.Context) error {
			close(inside)
			<-release
			return nil
		})
	}()
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 4)
	go func() { waiting <- decrypt(ctx, dev, "x") }()
	go func() { waiting <- dev.Sessions.PutSession(ctx, alice, []byte("x")) }()
	go func() { _, err := dev.Sessions.GetManySessions(ctx, []string{alice}); waiting <- err }()
	go func() { waiting <- dev.Sessions.DeleteAllSessions(ctx, "alice_1") }()
	cancel()
	for range 4 {
		require.ErrorIs(t, <-waiting, context.Canceled)
	}
	close(release)
	require.NoError(t, <-done)
	require.Equal(t, "v1", value(t.Context(), t, dev))
}

func TestAPanicInADecryptionBecomesAnError(t *testing.T) {
	t.Parallel()
	dev, g, c := setup(t.Context(), t)
	err := dev.EventBuffer.DoDecryptionTxn(t.Context(), func(tx context.Context) error {
		require.NoError(t, dev.Sessions.PutSession(tx, alice, []byte("half")))
		panic("secret text")
	})
	require.ErrorIs(t, err, gate.ErrPanic)
	require.NotContains(t, err.Error(), "secret")
	require.EqualValues(t, 1, c.panics.Load())
	require.True(t, g.Idle())
	require.Equal(t, "v1", value(t.Context(), t, dev))
}

// elsewhere runs the steps on a goroutine of their own, one per call.
func elsewhere(steps ...func() error) (next func() error) {
	turn, result := make(chan struct{}), make(chan error)
	go func() {
		for _, step := range steps {
			<-turn
			result <- step()
		}
	}()
	return func() error { turn <- struct{}{}; return <-result }
}

func TestAWriteOverAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	get := func(t *testing.T, dev *store.Device) {
		t.Helper()
		_, err := dev.Sessions.GetSession(ctx, alice)
		require.NoError(t, err)
	}
	put := func(dev *store.Device, v string) error { return dev.Sessions.PutSession(ctx, alice, []byte(v)) }

	t.Run("PassesIfNothingMoved", func(t *testing.T) {
		t.Parallel()
		dev, _, c := setup(ctx, t)
		get(t, dev)
		require.NoError(t, put(dev, "v2"))
		get(t, dev)
		require.NoError(t, put(dev, "v3"))
		require.Zero(t, c.conflicts.Load())
	})
	t.Run("ADecryptionCameBetween", func(t *testing.T) {
		t.Parallel()
		dev, _, c := setup(ctx, t)
		get(t, dev)
		require.NoError(t, decrypt(ctx, dev, "received"))
		err := put(dev, "stale")
		require.ErrorIs(t, err, gate.ErrMoved)
		require.ErrorIs(t, err, context.Canceled, "whatsmeow leaves a retry receipt unacknowledged for this one only")
		require.Equal(t, "received", value(ctx, t, dev))
		require.EqualValues(t, 1, c.conflicts.Load())
		get(t, dev)
		require.NoError(t, put(dev, "second try"))
	})
	t.Run("TwoReadersOfOneVersion", func(t *testing.T) {
		t.Parallel()
		dev, _, _ := setup(ctx, t)
		other := elsewhere(func() error { get(t, dev); return nil }, func() error { return put(dev, "second") })
		require.NoError(t, other())
		get(t, dev)
		require.NoError(t, put(dev, "first"))
		get(t, dev) // must not speak for the other reader
		require.ErrorIs(t, other(), gate.ErrMoved)
		require.NoError(t, put(dev, "third"))
	})
	t.Run("NothingWasRead", func(t *testing.T) {
		t.Parallel()
		dev, _, _ := setup(ctx, t)
		require.ErrorIs(t, put(dev, "blind"), gate.ErrMoved)
		get(t, dev)
		require.NoError(t, put(dev, "v2"))
		require.ErrorIs(t, put(dev, "twice"), gate.ErrMoved)
	})
	t.Run("ASendOutsideSend", func(t *testing.T) {
		t.Parallel()
		dev, _, _ := setup(ctx, t)
		_, err := dev.Sessions.GetManySessions(ctx, []string{alice, "new_1:0"})
		require.NoError(t, err)
		require.NoError(t, dev.Sessions.PutManySessions(ctx, map[string][]byte{alice: []byte("v2"), "new_1:0": []byte("x")}))
	})
	t.Run("ASendOutsideSendThatLostTheRace", func(t *testing.T) {
		t.Parallel()
		dev, _, _ := setup(ctx, t)
		_, err := dev.Sessions.GetManySessions(ctx, []string{alice, "bob_1:0"})
		require.NoError(t, err)
		require.NoError(t, decrypt(ctx, dev, "received"))
		err = dev.Sessions.PutManySessions(ctx, map[string][]byte{alice: []byte("stale"), "bob_1:0": []byte("x")})
		require.ErrorIs(t, err, gate.ErrMoved)
		bob, err := dev.Sessions.HasSession(ctx, "bob_1:0")
		require.NoError(t, err)
		require.False(t, bob, "a refused write wrote half")
	})
}

func TestASendThatWaitsTooLongLosesTheGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		dev, g, c := setup(t.Context(), t, gate.WithMaxHold(time.Second))
		base := ctx // without the hold
		err := g.Send(ctx, func(ctx context.Context) error {
			_, err := dev.Sessions.GetManySessions(ctx, []string{alice})
			require.NoError(t, err)
			time.Sleep(2 * time.Second) // prekeys that do not come
			require.NoError(t, decrypt(base, dev, "received"))
			_, err = dev.Sessions.GetSession(ctx, alice) // re-read of one that could not be parsed
			require.ErrorIs(t, err, gate.ErrMoved)
			err = dev.Sessions.PutManySessions(ctx, map[string][]byte{alice: []byte("stale")})
			return fmt.Errorf("encrypt: %v", err) //nolint:errorlint // whatsmeow does this to peer messages
		})
		require.ErrorIs(t, err, gate.ErrMoved)
		require.Equal(t, "received", value(ctx, t, dev))
		require.EqualValues(t, 1, c.expired.Load())
		require.True(t, g.Idle())
		// An operation at work when time is up is finished first.
		require.NoError(t, g.Send(ctx, func(ctx context.Context) error {
			_, err := dev.Sessions.GetManySessions(ctx, []string{alice})
			require.NoError(t, err)
			err = dev.EventBuffer.DoDecryptionTxn(ctx, func(tx context.Context) error {
				time.Sleep(2 * time.Second)
				require.False(t, g.Idle())
				return dev.Sessions.PutSession(tx, alice, []byte("slow"))
			})
			require.True(t, g.Idle())
			return err
		}))
		require.Equal(t, "slow", value(ctx, t, dev))
	})
}

func TestADeviceHasOneGate(t *testing.T) {
	t.Parallel()
	dev, g, _ := setup(t.Context(), t)
	require.Same(t, g, gate.Wrap(dev))
	sessions, buffer := dev.Sessions, dev.EventBuffer
	g.Attach(dev)
	require.Same(t, sessions, dev.Sessions)
	require.Same(t, buffer, dev.EventBuffer)
	// Pairing replaces the stores.
	fresh := memstore.New(memstore.Limits{})
	dev.SetAllStores(fresh)
	g.Attach(dev)
	require.NoError(t, dev.EventBuffer.DoDecryptionTxn(t.Context(), func(tx context.Context) error {
		require.False(t, g.Idle())
		return dev.Sessions.PutSession(tx, alice, []byte("x"))
	}))
	got, err := fresh.GetSession(t.Context(), alice)
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
	require.NotPanics(t, func() { gate.Wrap(&store.Device{}) }, "a device before pairing may have no stores")
}
