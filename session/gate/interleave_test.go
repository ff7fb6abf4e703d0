package gate_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session/gate"
	"github.com/wafleet/wafleet/session/wasim/memstore"
)

// A session stands for a ratchet here: a counter that each message moves by one. A lost update would be a counter used
// twice, so whatever the interleaving: the counters end where the successful moves brought them.
const people = 3

func address(i int) string { return fmt.Sprintf("%d_1:0", i) }

type world struct {
	dev   *store.Device
	send  func(context.Context, func(context.Context) error) error
	moves [people]atomic.Uint64
}

func next(v []byte) []byte {
	var n uint64
	if len(v) == 8 {
		n = binary.BigEndian.Uint64(v)
	}
	return binary.BigEndian.AppendUint64(nil, n+1)
}

// sendTo moves the sessions of a few people as a sent message does, with a pause for prekeys now and then.
func (w *world) sendTo(ctx context.Context, rng *rand.Rand) error {
	who := rng.Perm(people)[:1+rng.IntN(people)]
	pause, abandon := rng.IntN(3) == 0, rng.IntN(8) == 0
	return w.send(ctx, func(ctx context.Context) error {
		var addresses []string
		for _, i := range who {
			addresses = append(addresses, address(i))
		}
		cached, err := w.dev.Sessions.GetManySessions(ctx, addresses)
		if err != nil {
			return err
		}
		if pause {
			runtime.Gosched()
		}
		if abandon {
			return errFailed // nothing is put: the hold ends with the send
		}
		for _, a := range addresses {
			cached[a] = next(cached[a])
		}
		if err = w.dev.Sessions.PutManySessions(ctx, cached); err != nil {
			return err
		}
		for _, i := range who {
			w.moves[i].Add(1)
		}
		runtime.Gosched() // the acknowledgement
		return nil
	})
}

func (w *world) receive(ctx context.Context, rng *rand.Rand) error {
	i, fail, crash := rng.IntN(people), rng.IntN(6) == 0, rng.IntN(12) == 0
	err := w.dev.EventBuffer.DoDecryptionTxn(ctx, func(ctx context.Context) error {
		v, err := w.dev.Sessions.GetSession(ctx, address(i))
		if err != nil {
			return err
		}
		runtime.Gosched()
		if err = w.dev.Sessions.PutSession(ctx, address(i), next(v)); err != nil {
			return err
		}
		switch {
		case crash:
			panic("hostile message")
		case fail:
			return errFailed
		}
		return nil
	})
	if err == nil {
		w.moves[i].Add(1)
	}
	return err
}

// retry moves one session the way a retry receipt or a peer message of whatsmeow's own does.
func (w *world) retry(ctx context.Context, rng *rand.Rand) error {
	i := rng.IntN(people)
	v, err := w.dev.Sessions.GetSession(ctx, address(i))
	if err != nil {
		return err
	}
	runtime.Gosched()
	if rng.IntN(8) == 0 {
		return nil // read in vain
	}
	if err = w.dev.Sessions.PutSession(ctx, address(i), next(v)); err == nil {
		w.moves[i].Add(1)
	}
	return err
}

func (w *world) disturb(ctx context.Context, rng *rand.Rand) error {
	if rng.IntN(2) == 0 {
		return w.dev.Sessions.DeleteAllSessions(ctx, "stranger_1")
	}
	return w.dev.Sessions.MigratePNToLID(ctx, types.NewJID("7", types.DefaultUserServer), types.NewJID("8", types.HiddenUserServer))
}

// run lets them all loose and answers by how much the counters are off.
func (w *world) run(t *testing.T, seed uint64, actions []func(context.Context, *rand.Rand) error) uint64 {
	t.Helper()
	var wg sync.WaitGroup
	for id := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(id)))
			for range 150 {
				err := actions[rng.IntN(len(actions))](t.Context(), rng)
				if err != nil && !errors.Is(err, errFailed) && !errors.Is(err, gate.ErrMoved) && !errors.Is(err, gate.ErrPanic) {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		})
	}
	wg.Wait()
	var lost uint64
	for i := range people {
		v, err := w.dev.Sessions.GetSession(t.Context(), address(i))
		require.NoError(t, err)
		if len(v) == 8 {
			lost += w.moves[i].Load() - binary.BigEndian.Uint64(v)
		}
	}
	return lost
}

func TestNoUpdateIsLostInAnyInterleaving(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		dev := memstore.NewDevice(memstore.Limits{})
		g := gate.Wrap(dev)
		w := &world{dev: dev, send: g.Send}
		lost := w.run(t, seed, []func(context.Context, *rand.Rand) error{w.sendTo, w.sendTo, w.receive, w.receive, w.retry, w.disturb})
		require.Zero(t, lost, "seed %d", seed)
		require.True(t, g.Idle())
	}
}

// Without Send around them, sends may be refused, but still none is lost.
func TestNoUpdateIsLostOutsideSend(t *testing.T) {
	t.Parallel()
	bare := func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }
	for seed := range uint64(10) {
		dev := memstore.NewDevice(memstore.Limits{})
		gate.Wrap(dev)
		w := &world{dev: dev, send: bare}
		require.Zero(t, w.run(t, seed, []func(context.Context, *rand.Rand) error{w.sendTo, w.receive, w.retry}), "seed %d", seed)
	}
}

// What the tests above would see if the gate did nothing.
func TestUpdatesAreLostWithoutTheGate(t *testing.T) {
	t.Parallel()
	bare := func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }
	var lost uint64
	for seed := range uint64(30) {
		w := &world{dev: memstore.NewDevice(memstore.Limits{}), send: bare}
		recovered := func(ctx context.Context, rng *rand.Rand) (err error) {
			defer func() {
				if recover() != nil {
					err = gate.ErrPanic
				}
			}()
			return w.receive(ctx, rng)
		}
		lost += w.run(t, seed, []func(context.Context, *rand.Rand) error{w.sendTo, recovered})
	}
	require.Positive(t, lost)
}
