package memstore_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session/wasim/memstore"
)

var errFailed = errors.New("failed")

func TestTransactionsLeaveNothingWhenTheyFail(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := memstore.New(memstore.Limits{})
	require.NoError(t, s.PutSession(ctx, "alice:0", []byte("one")))
	require.NoError(t, s.PutSession(ctx, "bob:0", []byte("keep")))
	require.NoError(t, s.PutSenderKey(ctx, "g", "alice:0", []byte("chain 1")))
	key, err := s.GenOnePreKey(ctx)
	require.NoError(t, err)
	hash := [32]byte{1}

	body := func(fail error) func(context.Context) error {
		return func(tx context.Context) error {
			require.NoError(t, s.PutSession(tx, "alice:0", []byte("two")))
			require.NoError(t, s.PutIdentity(tx, "alice:0", [32]byte{7}))
			require.NoError(t, s.PutSenderKey(tx, "g", "alice:0", []byte("chain 2")))
			require.NoError(t, s.DeleteSession(tx, "bob:0"))
			require.NoError(t, s.RemovePreKey(tx, key.KeyID))
			require.NoError(t, s.PutBufferedEvent(tx, hash, []byte("plain"), time.Unix(5, 0)))
			// What it wrote, it sees; others do not.
			require.Equal(t, "two", session(tx, t, s, "alice:0"))
			require.Equal(t, "one", session(ctx, t, s, "alice:0"))
			require.Equal(t, "chain 2", senderKey(tx, t, s))
			require.Equal(t, "chain 1", senderKey(ctx, t, s))
			gone, err := s.GetPreKey(tx, key.KeyID)
			require.NoError(t, err)
			require.Nil(t, gone)
			return fail
		}
	}
	require.ErrorIs(t, s.DoDecryptionTxn(ctx, body(errFailed)), errFailed)
	require.Panics(t, func() {
		_ = s.DoDecryptionTxn(ctx, func(tx context.Context) error { _ = body(nil)(tx); panic("hostile") })
	})
	require.Equal(t, "one", session(ctx, t, s, "alice:0"))
	require.Equal(t, "chain 1", senderKey(ctx, t, s), "a message that was not taken can be decrypted again")
	require.Equal(t, "keep", session(ctx, t, s, "bob:0"))
	trusted, err := s.IsTrustedIdentity(ctx, "alice:0", [32]byte{8})
	require.NoError(t, err)
	require.True(t, trusted, "the identity of a failed transaction was kept")
	event, err := s.GetBufferedEvent(ctx, hash)
	require.NoError(t, err)
	require.Nil(t, event)

	require.NoError(t, s.DoDecryptionTxn(ctx, body(nil)))
	require.Equal(t, "two", session(ctx, t, s, "alice:0"))
	require.Equal(t, "chain 2", senderKey(ctx, t, s))
	require.Empty(t, session(ctx, t, s, "bob:0"))
	gone, err := s.GetPreKey(ctx, key.KeyID)
	require.NoError(t, err)
	require.Nil(t, gone)
	event, err = s.GetBufferedEvent(ctx, hash)
	require.NoError(t, err)
	require.Equal(t, "plain", string(event.Plaintext))
	require.NoError(t, s.ClearBufferedEventPlaintext(ctx, hash))
	event, err = s.GetBufferedEvent(ctx, hash)
	require.NoError(t, err)
	require.Nil(t, event.Plaintext, "whatsmeow knows a processed message by its nil plaintext")
}

func session(ctx context.Context, t *testing.T, s *memstore.Store, address string) string {
	t.Helper()
	v, err := s.GetSession(ctx, address)
	require.NoError(t, err)
	return string(v)
}

func senderKey(ctx context.Context, t *testing.T, s *memstore.Store) string {
	t.Helper()
	v, err := s.GetSenderKey(ctx, "g", "alice:0")
	require.NoError(t, err)
	return string(v)
}

func TestAContextThatOutlivesItsTransactionWritesThrough(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := memstore.New(memstore.Limits{})
	var leaked context.Context
	require.NoError(t, s.DoDecryptionTxn(ctx, func(tx context.Context) error {
		leaked = tx //nolint:fatcontext // the leak is what is tested
		return s.DoDecryptionTxn(tx, func(tx context.Context) error { return s.PutSession(tx, "a:0", []byte("nested")) })
	}))
	require.Equal(t, "nested", session(ctx, t, s, "a:0"))
	require.NoError(t, s.PutSession(leaked, "a:0", []byte("late")))
	require.Equal(t, "late", session(ctx, t, s, "a:0"))
}

func TestAnswersAreCopies(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := memstore.New(memstore.Limits{})
	in := []byte("abc")
	require.NoError(t, s.PutSession(ctx, "a:0", in))
	in[0] = 'x'
	out, err := s.GetSession(ctx, "a:0")
	require.NoError(t, err)
	out[1] = 'x'
	many, err := s.GetManySessions(ctx, []string{"a:0", "b:0"})
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"a:0": []byte("abc"), "b:0": nil}, many)
}

func TestMigrationMovesAllOfAUser(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := memstore.New(memstore.Limits{})
	pn, lid := types.NewJID("551100", types.DefaultUserServer), types.NewJID("987", types.HiddenUserServer)
	for _, device := range []string{":0", ":3"} {
		require.NoError(t, s.PutSession(ctx, pn.SignalAddressUser()+device, []byte("pn"+device)))
	}
	require.NoError(t, s.PutSession(ctx, "5511001:0", []byte("another user")))
	require.NoError(t, s.PutSenderKey(ctx, "g", pn.SignalAddressUser()+":0", []byte("sk")))
	require.NoError(t, s.PutIdentity(ctx, pn.SignalAddressUser()+":0", [32]byte{1}))
	require.NoError(t, s.MigratePNToLID(ctx, pn, lid))
	require.Equal(t, "pn:3", session(ctx, t, s, lid.SignalAddressUser()+":3"))
	require.Empty(t, session(ctx, t, s, pn.SignalAddressUser()+":3"))
	require.Equal(t, "another user", session(ctx, t, s, "5511001:0"))
	sk, err := s.GetSenderKey(ctx, "g", lid.SignalAddressUser()+":0")
	require.NoError(t, err)
	require.Equal(t, "sk", string(sk))
	trusted, err := s.IsTrustedIdentity(ctx, lid.SignalAddressUser()+":0", [32]byte{2})
	require.NoError(t, err)
	require.False(t, trusted)
	require.NoError(t, s.DeleteAllSessions(ctx, lid.SignalAddressUser()))
	require.Empty(t, session(ctx, t, s, lid.SignalAddressUser()+":3"))
}

func TestWhatGrowsIsBounded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := memstore.New(memstore.Limits{BufferedEvents: 3, MessageSecrets: 3, OutgoingEvents: 3})
	chat := types.NewJID("1", types.HiddenUserServer)
	for i := range 10 {
		require.NoError(t, s.PutBufferedEvent(ctx, [32]byte{byte(i)}, nil, time.Now()))
		require.NoError(t, s.PutMessageSecret(ctx, chat, chat, strconv.Itoa(i), []byte{1}))
		require.NoError(t, s.AddOutgoingEvent(ctx, chat, strconv.Itoa(i), "wa", []byte{1}))
	}
	for i := range 10 {
		event, err := s.GetBufferedEvent(ctx, [32]byte{byte(i)})
		require.NoError(t, err)
		require.Equal(t, i >= 7, event != nil)
		secret, _, err := s.GetMessageSecret(ctx, chat, chat, strconv.Itoa(i))
		require.NoError(t, err)
		require.Equal(t, i >= 7, secret != nil)
		_, _, err = s.GetOutgoingEvent(ctx, chat, chat, strconv.Itoa(i))
		require.Equal(t, i >= 7, err == nil)
	}
}

func TestPreKeysAreGivenOutOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := memstore.New(memstore.Limits{PreKeys: 5})
	first, err := s.GetOrGenPreKeys(ctx, 812)
	require.NoError(t, err)
	require.Len(t, first, 5)
	again, err := s.GetOrGenPreKeys(ctx, 812)
	require.NoError(t, err)
	require.Equal(t, first, again, "keys that were not uploaded are offered again")
	require.NoError(t, s.MarkPreKeysAsUploaded(ctx, first[4].KeyID))
	n, err := s.UploadedPreKeyCount(ctx)
	require.NoError(t, err)
	require.Equal(t, 5, n)
	next, err := s.GetOrGenPreKeys(ctx, 2)
	require.NoError(t, err)
	require.Len(t, next, 2)
	require.Greater(t, next[0].KeyID, first[4].KeyID)
	got, err := s.GetPreKey(ctx, first[2].KeyID)
	require.NoError(t, err)
	require.Equal(t, first[2], got)
}

func TestAUserIsFoundUnderBothNames(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := memstore.New(memstore.Limits{})
	pn, lid := types.NewJID("5511", types.DefaultUserServer), types.NewJID("99", types.HiddenUserServer)
	require.NoError(t, s.PutManyLIDMappings(ctx, []store.LIDMapping{{LID: lid, PN: pn}, {LID: pn, PN: lid}}))
	device := pn
	device.Device = 4
	got, err := s.GetLIDForPN(ctx, device)
	require.NoError(t, err)
	require.Equal(t, types.JID{User: "99", Device: 4, Server: types.HiddenUserServer}, got)
	require.NoError(t, s.PutMessageSecret(ctx, lid, lid, "id", []byte{1}))
	secret, sender, err := s.GetMessageSecret(ctx, pn, pn, "id")
	require.NoError(t, err)
	require.Equal(t, []byte{1}, secret)
	require.Equal(t, lid, sender)
	// A number that moved to another account: the old pair is gone in both directions.
	other := types.NewJID("77", types.HiddenUserServer)
	require.NoError(t, s.PutLIDMapping(ctx, other, pn))
	got, err = s.GetPNForLID(ctx, lid)
	require.NoError(t, err)
	require.True(t, got.IsEmpty())
}

func TestADeletedDeviceKeepsNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dev := memstore.NewPrimary("5511", "Ana", memstore.Limits{})
	require.NoError(t, memstore.SetLID(ctx, dev, types.NewJID("99", types.HiddenUserServer)))
	require.NoError(t, dev.Save(ctx))
	s, ok := dev.Container.(*memstore.Store)
	require.True(t, ok)
	require.True(t, s.Saved())
	require.NoError(t, dev.Sessions.PutSession(ctx, "a:0", []byte{1}))
	require.NoError(t, dev.Delete(ctx))
	require.False(t, s.Saved())
	require.Empty(t, session(ctx, t, s, "a:0"))
	_, err := dev.Sessions.GetSession(ctx, "a:0")
	require.ErrorIs(t, err, store.ErrDeviceDeleted)
}

func TestDeletingAVersionForgetsItsMutationMACs(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := memstore.New(memstore.Limits{})
	for _, name := range []string{"regular", "regular_low"} {
		require.NoError(t, s.PutAppStateVersion(ctx, name, 3, [128]byte{1}))
		require.NoError(t, s.PutAppStateMutationMACs(ctx, name, 3, []store.AppStateMutationMAC{{IndexMAC: []byte("index"), ValueMAC: []byte("value")}}))
	}
	require.NoError(t, s.DeleteAppStateVersion(ctx, "regular"))
	mac, err := s.GetAppStateMutationMAC(ctx, "regular", []byte("index"))
	require.NoError(t, err)
	require.Nil(t, mac)
	mac, err = s.GetAppStateMutationMAC(ctx, "regular_low", []byte("index"))
	require.NoError(t, err)
	require.Equal(t, "value", string(mac), "another collection is another matter")
}
