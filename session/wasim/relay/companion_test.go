package relay_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/session/wasim/memstore"
	"github.com/wafleet/wafleet/session/wasim/relay"
)

// companionOf is the public half of a device with n prekeys marked as uploaded.
func companionOf(t *testing.T, dev *store.Device, n int) relay.Companion {
	t.Helper()
	c := relay.Companion{
		NoiseKey: *dev.NoiseKey.Pub, IdentityKey: *dev.IdentityKey.Pub, RegistrationID: dev.RegistrationID,
		SignedPreKey: relay.SignedPreKey{
			ID: dev.SignedPreKey.KeyID, Public: *dev.SignedPreKey.Pub, Signature: *dev.SignedPreKey.Signature,
		},
	}
	prekeys, err := dev.PreKeys.GetOrGenPreKeys(t.Context(), uint32(n))
	require.NoError(t, err)
	require.Len(t, prekeys, n)
	for _, k := range prekeys {
		c.PreKeys = append(c.PreKeys, relay.PreKey{ID: k.KeyID, Public: *k.Pub})
	}
	require.NoError(t, dev.PreKeys.MarkPreKeysAsUploaded(t.Context(), prekeys[n-1].KeyID))
	return c
}

// TestCompanionOutOfBand links a device to an account whose phone never runs, and writes to it before it was ever online.
func TestCompanionOutOfBand(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	primary := s.primary(t, "Ana")
	sender := s.phone(t, "Bia")
	w := s.witness(t)

	dev := memstore.NewDevice(memstore.Limits{PreKeys: 10})
	c := companionOf(t, dev, 10)
	pn, lid, err := s.RegisterCompanion(primary.phone, c)
	require.NoError(t, err)
	require.EqualValues(t, 1, pn.Device)
	again, _, err := s.RegisterCompanion(primary.phone, c)
	require.NoError(t, err)
	require.Equal(t, pn, again)

	resp := sender.say(pn.ToNonAD(), "before it was online")
	dev.ID, dev.LID = &pn, lid
	dev.Account = memstore.NewPrimary(primary.phone, "", memstore.Limits{}).Account
	cli := s.client(t, dev)
	cli.connect()
	await[*events.Connected](cli, nil)
	cli.hear("before it was online")
	sender.receipt(resp.ID, "")

	devices, err := s.Devices(primary.phone)
	require.NoError(t, err)
	require.Len(t, devices, 2)
	require.Equal(t, 9, devices[1].PreKeys, "one was handed out, none uploaded at the login")
	require.Equal(t, 0, w.count(relay.RetryRequested, resp.ID))
}

// TestTheSameCompanionTwiceAtOnce must not make two devices.
func TestTheSameCompanionTwiceAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	primary := s.primary(t, "Ana")
	for range 20 {
		c := companionOf(t, memstore.NewDevice(memstore.Limits{PreKeys: 1}), 1)
		var got [16]types.JID
		var ready, wg sync.WaitGroup
		ready.Add(len(got))
		for i := range got {
			wg.Go(func() {
				ready.Done()
				ready.Wait()
				got[i], _, _ = s.RegisterCompanion(primary.phone, c)
			})
		}
		wg.Wait()
		for _, pn := range got {
			require.NotZero(t, pn.Device)
			require.Equal(t, got[0], pn)
		}
	}
	devices, err := s.Devices(primary.phone)
	require.NoError(t, err)
	require.Len(t, devices, 21)
}

func TestCompanionWithBadKeys(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{MaxPreKeys: 10})
	primary := s.primary(t, "Ana")
	good := companionOf(t, memstore.NewDevice(memstore.Limits{PreKeys: 10}), 10)

	_, _, err := s.RegisterCompanion("4915000000", good)
	require.ErrorIs(t, err, relay.ErrUnknownAccount)
	for name, spoil := range map[string]func(*relay.Companion){
		"signed by another":   func(c *relay.Companion) { c.IdentityKey[0] ^= 1 },
		"too many prekeys":    func(c *relay.Companion) { c.PreKeys = append(c.PreKeys, relay.PreKey{ID: 77}) },
		"a prekey twice":      func(c *relay.Companion) { c.PreKeys = append(c.PreKeys[:1:1], c.PreKeys[0]) },
		"an id over 24 bits":  func(c *relay.Companion) { c.PreKeys = []relay.PreKey{{ID: 1 << 24}} },
		"no signature at all": func(c *relay.Companion) { c.SignedPreKey.Signature = [64]byte{} },
	} {
		bad := good
		spoil(&bad)
		_, _, err = s.RegisterCompanion(primary.phone, bad)
		require.ErrorIs(t, err, relay.ErrInvalidAccount, name)
	}
	devices, err := s.Devices(primary.phone)
	require.NoError(t, err)
	require.Len(t, devices, 1)
}
