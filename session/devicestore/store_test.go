package devicestore_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/devicestore"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type bundle struct {
	store   *tenantsql.Store
	devices *devicestore.Store
}

func setup(t *testing.T, engine tenanttest.Engine) *bundle {
	t.Helper()
	s := engine.Open(t)
	return &bundle{s, devicestore.New(s, s, ring(t, devicestore.NewMasterKey()), slog.New(slog.DiscardHandler))}
}

func ring(t *testing.T, keys string) *devicestore.Keyring {
	t.Helper()
	made, err := devicestore.ParseKeyring(keys)
	require.NoError(t, err)
	return made
}

func each(t *testing.T, test func(t *testing.T, b *bundle)) {
	t.Helper()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			test(t, setup(t, engine))
		})
	}
}

func (b *bundle) tenant(t *testing.T) tenant.ID {
	t.Helper()
	made, _, err := b.store.Create(t.Context(), tenant.NewTenant{Name: "Test"})
	require.NoError(t, err)
	return made.ID
}

var number atomic.Int64

func newJID() types.JID {
	return types.JID{User: strconv.FormatInt(5_531_900_000_000+number.Add(1), 10), Device: 7, Server: types.DefaultUserServer}
}

// linked is a device that was stored as pairing does.
func (b *bundle) linked(t *testing.T, id tenant.ID, jid types.JID) *store.Device {
	t.Helper()
	dev, err := b.devices.New(t.Context(), id)
	require.NoError(t, err)
	dev.ID = &jid
	dev.Account = &waAdv.ADVSignedDeviceIdentity{
		Details: []byte("details"), AccountSignature: make([]byte, 64), AccountSignatureKey: make([]byte, 32), DeviceSignature: make([]byte, 64),
	}
	require.NoError(t, dev.Save(t.Context()))
	return dev
}

func TestDevicesBelongToTenants(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		ctx, one, other, jid := t.Context(), b.tenant(t), b.tenant(t), newJID()
		_, err := b.devices.Load(ctx, one, jid)
		require.ErrorIs(t, err, session.ErrNotPaired)
		dev := b.linked(t, one, jid)
		require.NoError(t, dev.Sessions.PutSession(ctx, "them:0", []byte("ratchet")))

		loaded, err := b.devices.Load(ctx, one, jid)
		require.NoError(t, err)
		require.Equal(t, dev.NoiseKey, loaded.NoiseKey)
		require.Equal(t, dev.IdentityKey, loaded.IdentityKey)
		require.Equal(t, dev.SignedPreKey, loaded.SignedPreKey)
		ratchet, err := loaded.Sessions.GetSession(ctx, "them:0")
		require.NoError(t, err)
		require.Equal(t, "ratchet", string(ratchet))

		_, err = b.devices.Load(ctx, other, jid)
		require.ErrorIs(t, err, session.ErrNotPaired)
		require.NoError(t, b.devices.Delete(ctx, other, jid))
		_, err = b.devices.Load(ctx, one, jid)
		require.NoError(t, err, "somebody else deleted it")

		// WhatsApp gives the JID to another tenant, since the first is unlinked: each has its own.
		taken := b.linked(t, other, jid)
		ratchet, err = taken.Sessions.GetSession(ctx, "them:0")
		require.NoError(t, err)
		require.Empty(t, ratchet)
		require.NoError(t, b.devices.Delete(ctx, one, jid))
		require.NoError(t, b.devices.Delete(ctx, one, jid))
		_, err = b.devices.Load(ctx, one, jid)
		require.ErrorIs(t, err, session.ErrNotPaired)
		loaded, err = b.devices.Load(ctx, other, jid)
		require.NoError(t, err)
		require.Equal(t, taken.NoiseKey.Priv, loaded.NoiseKey.Priv)

		// Another device of the same tenant finds nothing of the one before.
		require.NoError(t, loaded.Sessions.PutSession(ctx, "them:0", []byte("ratchet")))
		next := newJID()
		again := b.linked(t, other, next)
		ratchet, err = again.Sessions.GetSession(ctx, "them:0")
		require.NoError(t, err)
		require.Empty(t, ratchet)
		_, err = b.devices.Load(ctx, other, jid)
		require.ErrorIs(t, err, session.ErrNotPaired)
		require.NoError(t, b.devices.Delete(ctx, other, jid), "the one before")
		_, err = b.devices.Load(ctx, other, next)
		require.NoError(t, err)
	})
}

func TestDeletedByWhatsmeow(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		id, jid := b.tenant(t), newJID()
		dev := b.linked(t, id, jid)
		require.NoError(t, dev.PrivacyTokens.PutPrivacyTokens(t.Context(), store.PrivacyToken{User: newJID(), Token: []byte("x"), Timestamp: time.Now()}))
		require.NoError(t, dev.Delete(t.Context()))
		_, err := b.devices.Load(t.Context(), id, jid)
		require.ErrorIs(t, err, session.ErrNotPaired)
		require.Zero(t, b.count(t, id))
	})
}

// count counts the rows of a tenant's device.
func (b *bundle) count(t *testing.T, id tenant.ID) (n int) {
	t.Helper()
	require.NoError(t, b.store.Database().QueryRow(t.Context(), `SELECT COUNT(*) FROM device_row WHERE tenant_id=$1`, id).Scan(&n))
	return n
}

func TestLIDsAreTheTenantsOwn(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		ctx, one, other := t.Context(), b.tenant(t), b.tenant(t)
		mine, theirs := b.linked(t, one, newJID()), b.linked(t, other, newJID())
		pn, lid := types.NewJID("5511900000002", types.DefaultUserServer), types.NewJID("900000000000002", types.HiddenUserServer)
		pn.Device, lid.Device = 3, 3

		got, err := mine.LIDs.GetLIDForPN(ctx, pn)
		require.NoError(t, err)
		require.True(t, got.IsEmpty())
		require.NoError(t, mine.LIDs.PutLIDMapping(ctx, lid, pn))
		require.NoError(t, mine.LIDs.PutLIDMapping(ctx, lid, pn))
		for range 2 { // from the store, then from the cache
			fresh, err := b.devices.Load(ctx, one, *mine.ID)
			require.NoError(t, err)
			for range 2 {
				got, err = fresh.LIDs.GetLIDForPN(ctx, pn)
				require.NoError(t, err)
				require.Equal(t, lid, got)
				got, err = fresh.LIDs.GetPNForLID(ctx, lid)
				require.NoError(t, err)
				require.Equal(t, pn, got)
				many, err := fresh.LIDs.GetManyLIDsForPNs(ctx, []types.JID{pn, newJID(), lid})
				require.NoError(t, err)
				require.Equal(t, map[types.JID]types.JID{pn: lid}, many)
			}
		}
		got, err = theirs.LIDs.GetPNForLID(ctx, lid)
		require.NoError(t, err)
		require.True(t, got.IsEmpty(), "another tenant's number")

		// Learned late, by another way than this device.
		_, err = b.store.Tenant(other).Commit(ctx, tenant.LinkIDs{LID: "900000000000002@lid", Phone: "5511900000002@c.us"})
		require.NoError(t, err)
		got, err = theirs.LIDs.GetPNForLID(ctx, lid)
		require.NoError(t, err)
		require.Equal(t, pn, got)

		_, err = mine.LIDs.GetPNForLID(ctx, pn)
		require.Error(t, err)
		_, err = mine.LIDs.GetLIDForPN(ctx, lid)
		require.Error(t, err)
		require.NoError(t, mine.LIDs.PutLIDMapping(ctx, pn, lid)) // no pair: left out
		many := make([]store.LIDMapping, 0, 450)
		for range 450 {
			pn := newJID().ToNonAD()
			many = append(many, store.LIDMapping{PN: pn, LID: types.NewJID("77"+pn.User, types.HiddenUserServer)})
		}
		require.NoError(t, mine.LIDs.PutManyLIDMappings(ctx, many))
		for _, m := range []store.LIDMapping{many[0], many[449]} {
			got, err = mine.LIDs.GetLIDForPN(ctx, m.PN)
			require.NoError(t, err)
			require.Equal(t, m.LID, got)
		}
	})
}

func TestSignalsErrorsPassAndPanicsBecomeErrors(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		ctx, dev := t.Context(), b.linked(t, b.tenant(t), newJID())
		var failures atomic.Int32
		dev.Container.(session.FailStop).OnFailure(func(error) { failures.Add(1) })
		bad := errors.New("bad mac")
		put := func(ctx context.Context) error { return dev.Sessions.PutSession(ctx, "them:0", []byte("moved")) }
		err := dev.EventBuffer.DoDecryptionTxn(ctx, func(ctx context.Context) error {
			require.NoError(t, put(ctx))
			return bad
		})
		require.Equal(t, bad, err)
		for range 40 { // more than the pool has connections
			err = dev.EventBuffer.DoDecryptionTxn(ctx, func(ctx context.Context) error {
				require.NoError(t, put(ctx))
				panic("secret")
			})
			require.Error(t, err)
			require.NotContains(t, err.Error(), "secret")
			require.NotErrorIs(t, err, context.Canceled)
		}
		got, err := dev.Sessions.GetSession(ctx, "them:0")
		require.NoError(t, err)
		require.Empty(t, got, "rolled back")
		require.NoError(t, dev.EventBuffer.DoDecryptionTxn(ctx, put))
		got, err = dev.Sessions.GetSession(ctx, "them:0")
		require.NoError(t, err)
		require.Equal(t, "moved", string(got))
		gone, cancel := context.WithCancel(ctx)
		cancel()
		_, err = dev.Sessions.GetSession(gone, "them:0")
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, failures.Load(), "none of these was the storage's")
	})
}

func TestStopsAtTheFirstStorageError(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		ctx, id, jid := t.Context(), b.tenant(t), newJID()
		dev := b.linked(t, id, jid)
		var failures atomic.Int32
		dev.Container.(session.FailStop).OnFailure(func(error) { failures.Add(1) })
		require.NoError(t, dev.Identities.PutIdentity(ctx, "them:0", [32]byte{}))
		_, err := b.store.Database().Exec(ctx, `ALTER TABLE device_row RENAME TO gone`)
		require.NoError(t, err)
		err = dev.Sessions.PutSession(ctx, "them:0", []byte("x"))
		require.ErrorIs(t, err, context.Canceled)
		require.EqualValues(t, 1, failures.Load())
		_, err = dev.Sessions.GetSession(ctx, "them:0")
		require.ErrorIs(t, err, context.Canceled)
		_, err = dev.LIDs.GetLIDForPN(ctx, newJID())
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, dev.EventBuffer.DoDecryptionTxn(ctx, func(context.Context) error { return nil }), context.Canceled)
		require.EqualValues(t, 1, failures.Load())
	})
}

func TestCloseWaitsForWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		ctx, id, jid := t.Context(), b.tenant(t), newJID()
		dev := b.linked(t, id, jid)
		inside, release, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
		txn := make(chan error, 1)
		go func() {
			txn <- dev.EventBuffer.DoDecryptionTxn(ctx, func(ctx context.Context) error {
				close(inside)
				<-release
				return dev.Sessions.PutSession(ctx, "them:0", []byte("late"))
			})
		}()
		<-inside
		go func() {
			dev.Container.(session.FailStop).Close()
			close(closed)
		}()
		select {
		case <-closed:
			require.Fail(t, "closed under a transaction")
		case <-time.After(50 * time.Millisecond): //nolint:forbidigo // that nothing happens has no signal
		}
		close(release)
		<-closed
		require.ErrorIs(t, <-txn, context.Canceled)
		again, err := b.devices.Load(ctx, id, jid)
		require.NoError(t, err)
		got, err := again.Sessions.GetSession(ctx, "them:0")
		require.NoError(t, err)
		require.Empty(t, got)
	})
}

func TestEverythingPassesThrough(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		ctx, dev := t.Context(), b.linked(t, b.tenant(t), newJID())
		keys, err := dev.PreKeys.GetOrGenPreKeys(ctx, 812)
		require.NoError(t, err)
		require.Len(t, keys, 812)
		require.NoError(t, dev.PreKeys.MarkPreKeysAsUploaded(ctx, keys[811].KeyID))
		n, err := dev.PreKeys.UploadedPreKeyCount(ctx)
		require.NoError(t, err)
		require.Equal(t, 812, n)
		key, err := dev.PreKeys.GetPreKey(ctx, keys[5].KeyID)
		require.NoError(t, err)
		require.Equal(t, keys[5].Priv, key.Priv)
		key, err = dev.PreKeys.GetPreKey(ctx, 1<<20)
		require.NoError(t, err)
		require.Nil(t, key)

		require.NoError(t, dev.Sessions.PutManySessions(ctx, map[string][]byte{`odd"\name:0`: []byte("1"), "them:0": []byte("2")}))
		many, err := dev.Sessions.GetManySessions(ctx, []string{`odd"\name:0`, "them:0", "nobody:0"})
		require.NoError(t, err)
		require.Equal(t, map[string][]byte{`odd"\name:0`: []byte("1"), "them:0": []byte("2"), "nobody:0": nil}, many)

		require.NoError(t, dev.AppState.PutAppStateVersion(ctx, "regular", 3, [128]byte{1}))
		require.NoError(t, dev.AppState.PutAppStateMutationMACs(ctx, "regular", 3, []store.AppStateMutationMAC{
			{IndexMAC: make([]byte, 32), ValueMAC: make([]byte, 32)},
		}))
		require.NoError(t, dev.AppState.DeleteAppStateMutationMACs(ctx, "regular", [][]byte{make([]byte, 32), {0xff}}))
		mac, err := dev.AppState.GetAppStateMutationMAC(ctx, "regular", make([]byte, 32))
		require.NoError(t, err)
		require.Nil(t, mac)
		version, hash, err := dev.AppState.GetAppStateVersion(ctx, "regular")
		require.NoError(t, err)
		require.EqualValues(t, 3, version)
		require.Equal(t, byte(1), hash[0])

		chat := newJID().ToNonAD()
		require.NoError(t, dev.MsgSecrets.PutMessageSecret(ctx, chat, chat, "ID", make([]byte, 32)))
		secret, sender, err := dev.MsgSecrets.GetMessageSecret(ctx, chat, chat, "ID")
		require.NoError(t, err)
		require.Len(t, secret, 32)
		require.Equal(t, chat, sender)
		_, _, err = dev.EventBuffer.GetOutgoingEvent(ctx, chat, chat, "NONE")
		require.Error(t, err)
		_, err = dev.Sessions.GetSession(ctx, "them:0")
		require.NoError(t, err, "what is not there is no failure")
	})
}

// counting counts what is asked of the database beside the loading of a device.
type counting struct {
	tenant.DeviceStore

	asked atomic.Int64
}

// counted is a bundle whose queries are counted.
func counted(t *testing.T, engine tenanttest.Engine) (*bundle, *counting) {
	t.Helper()
	s := engine.Open(t)
	count := &counting{DeviceStore: s}
	return &bundle{s, devicestore.New(count, s, ring(t, devicestore.NewMasterKey()), slog.New(slog.DiscardHandler))}, count
}

func (c *counting) DeviceRows(ctx context.Context, id tenant.ID, kinds []int16, keys ...[]byte) ([]tenant.DeviceRow, error) {
	c.asked.Add(1)
	return c.DeviceStore.DeviceRows(ctx, id, kinds, keys...)
}

func (c *counting) ScanDeviceRows(ctx context.Context, id tenant.ID, scan tenant.DeviceScan) ([]tenant.DeviceRow, error) {
	c.asked.Add(1)
	return c.DeviceStore.ScanDeviceRows(ctx, id, scan)
}

func (c *counting) CountDeviceRows(ctx context.Context, id tenant.ID, kind int16) (int, error) {
	c.asked.Add(1)
	return c.DeviceStore.CountDeviceRows(ctx, id, kind)
}

// TestALoginAsksForNothingMore is about what whatsmeow and the session ask for whenever a session logs in: it comes with the device, and
// what is written afterwards counts.
func TestALoginAsksForNothingMore(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			b, count := counted(t, engine)
			id, jid := b.tenant(t), newJID()
			dev := b.linked(t, id, jid)

			const preKeys = 5
			made, err := dev.PreKeys.GetOrGenPreKeys(ctx, preKeys)
			require.NoError(t, err)
			require.NoError(t, dev.PreKeys.MarkPreKeysAsUploaded(ctx, made[preKeys-1].KeyID))
			old, recent := time.Now().Add(-time.Hour).Truncate(time.Second), time.Now().Truncate(time.Second)
			token := func(user string, at time.Time) store.PrivacyToken {
				return store.PrivacyToken{User: types.NewJID(user, types.DefaultUserServer), Token: []byte("t"), Timestamp: at}
			}
			require.NoError(t, dev.PrivacyTokens.PutPrivacyTokens(ctx, token("1", recent)))
			require.NoError(t, dev.AppStateKeys.PutAppStateSyncKey(ctx, []byte("early"), store.AppStateSyncKey{Data: []byte("k"), Timestamp: 1}))

			loaded, err := b.devices.Load(ctx, id, jid)
			require.NoError(t, err)
			login := func(latest string, salt []byte, uploaded int) {
				t.Helper()
				key, err := loaded.AppStateKeys.GetLatestAppStateSyncKeyID(ctx)
				require.NoError(t, err)
				require.Equal(t, latest, string(key))
				got, err := loaded.NCTSalt.GetNCTSalt(ctx)
				require.NoError(t, err)
				require.Equal(t, salt, got)
				n, err := loaded.PreKeys.UploadedPreKeyCount(ctx)
				require.NoError(t, err)
				require.Equal(t, uploaded, n)
			}
			gone := func(cutoff time.Time) int64 {
				t.Helper()
				n, err := loaded.PrivacyTokens.DeleteExpiredPrivacyTokens(ctx, cutoff)
				require.NoError(t, err)
				return n
			}
			before := count.asked.Load()
			login("early", nil, preKeys)
			require.Zero(t, gone(recent))
			require.Equal(t, before, count.asked.Load(), "queries")

			require.NoError(t, loaded.PreKeys.RemovePreKey(ctx, made[0].KeyID))
			require.NoError(t, loaded.NCTSalt.PutNCTSalt(ctx, []byte("salt")))
			require.NoError(t, loaded.AppStateKeys.PutAppStateSyncKey(ctx, []byte("late"), store.AppStateSyncKey{Data: []byte("k"), Timestamp: 2}))
			login("late", []byte("salt"), preKeys-1)
			require.NoError(t, loaded.PrivacyTokens.PutPrivacyTokens(ctx, token("2", old)))
			require.EqualValues(t, 1, gone(recent), "that came after the device was loaded")
		})
	}
}

// TestARatchetComesWithWhoseItIs: one query for both, which does not overrule what was written since.
func TestARatchetComesWithWhoseItIs(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			b, count := counted(t, engine)
			id, jid := b.tenant(t), newJID()
			dev := b.linked(t, id, jid)
			old, changed := [32]byte{1}, [32]byte{2}
			for _, address := range []string{"them:0", "others:0"} {
				require.NoError(t, dev.Identities.PutIdentity(ctx, address, old))
				require.NoError(t, dev.Sessions.PutSession(ctx, address, []byte("ratchet of "+address)))
			}
			loaded, err := b.devices.Load(ctx, id, jid)
			require.NoError(t, err)
			require.NoError(t, loaded.Identities.PutIdentity(ctx, "others:0", changed))
			before := count.asked.Load()
			for _, address := range []string{"them:0", "others:0", "nobody:0"} {
				ratchet, err := loaded.Sessions.GetSession(ctx, address)
				require.NoError(t, err)
				require.Equal(t, address != "nobody:0", ratchet != nil)
			}
			for address, key := range map[string][32]byte{"them:0": old, "others:0": changed, "nobody:0": changed} {
				trusted, err := loaded.Identities.IsTrustedIdentity(ctx, address, key)
				require.NoError(t, err)
				require.True(t, trusted, address)
			}
			trusted, err := loaded.Identities.IsTrustedIdentity(ctx, "them:0", changed)
			require.NoError(t, err)
			require.False(t, trusted)
			require.Equal(t, before+3, count.asked.Load(), "queries")
		})
	}
}
