package devicestore_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/devicestore"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// rider is a device whose events are decrypted by the test.
type rider struct {
	*store.Device

	b  *bundle
	t  *testing.T
	id tenant.ID
}

func (b *bundle) rider(t *testing.T) *rider {
	t.Helper()
	id := b.tenant(t)
	return &rider{b.linked(t, id, newJID()), b, t, id}
}

// crash loses what is not in the database.
func (r *rider) crash() {
	r.t.Helper()
	r.Container.(session.FailStop).Close()
	var err error
	r.Device, err = r.b.devices.Load(r.t.Context(), r.id, *r.ID)
	require.NoError(r.t, err)
}

func hashOf(name string) (hash [32]byte) {
	copy(hash[:], name)
	return hash
}

// decrypt decrypts an event, which moves one ratchet.
func (r *rider) decrypt(name string) {
	r.t.Helper()
	require.Empty(r.t, r.buffered(name))
	require.NoError(r.t, r.EventBuffer.DoDecryptionTxn(r.t.Context(), func(ctx context.Context) error {
		require.NoError(r.t, r.Sessions.PutSession(ctx, "them:0", []byte("moved by "+name)))
		return r.EventBuffer.PutBufferedEvent(ctx, hashOf(name), []byte("plaintext of "+name), time.Now())
	}))
}

// buffered is the plaintext that is kept of an event.
func (r *rider) buffered(name string) string {
	r.t.Helper()
	found, err := r.EventBuffer.GetBufferedEvent(r.t.Context(), hashOf(name))
	require.NoError(r.t, err)
	if found == nil {
		return ""
	}
	require.NotNil(r.t, found.Plaintext)
	return string(found.Plaintext)
}

// again says what becomes of an event that comes again, and that the ratchet cannot decrypt.
func (r *rider) again(name string) error {
	r.t.Helper()
	require.Empty(r.t, r.buffered(name))
	return r.EventBuffer.DoDecryptionTxn(r.t.Context(), func(context.Context) error { return errOld })
}

func (r *rider) ratchet() string {
	r.t.Helper()
	found, err := r.Sessions.GetSession(r.t.Context(), "them:0")
	require.NoError(r.t, err)
	return string(found)
}

// record commits the record of events, which is a contact here.
func (r *rider) record(names ...string) {
	r.t.Helper()
	changes := []tenant.Change{tenant.PutContact{ID: "5511999990001@c.us", PushName: "Ana"}}
	for _, name := range names {
		changes = append(changes, tenant.SettleEvent{Hash: hashOf(name)})
	}
	_, err := r.b.store.Tenant(r.id).Commit(r.t.Context(), changes...)
	require.NoError(r.t, err)
}

// kinds counts the stored rows by kind.
func (r *rider) kinds() map[int]int {
	r.t.Helper()
	count := map[int]int{}
	rows, err := r.b.store.Database().Query(r.t.Context(), `SELECT kind, COUNT(*) FROM device_row WHERE tenant_id=$1 GROUP BY kind`, r.id)
	require.NoError(r.t, err)
	for rows.Next() {
		var kind, n int
		require.NoError(r.t, rows.Scan(&kind, &n))
		count[kind] = n
	}
	require.NoError(r.t, errors.Join(rows.Err(), rows.Close()))
	return count
}

const sessions, events, doneEvents = 2, 12, 13 // kinds

func TestRatchetAndRecordAreStoredTogether(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		r := b.rider(t)
		r.decrypt("one")
		require.Equal(t, "moved by one", r.ratchet())
		require.Equal(t, "plaintext of one", r.buffered("one"))
		r.record() // of something else
		require.Empty(t, r.kinds())
		r.crash()
		require.Empty(t, r.ratchet(), "neither is there: WhatsApp delivers again")

		r.decrypt("one")
		r.record("one")
		require.Equal(t, map[int]int{sessions: 1, doneEvents: 1}, r.kinds(), "both are there, and no plaintext")
		for range 2 {
			require.Equal(t, "moved by one", r.ratchet())
			require.ErrorIs(t, r.again("one"), whatsmeow.ErrEventAlreadyProcessed)
			require.Equal(t, errOld, r.again("another"))
			r.crash()
		}
	})
}

func TestWhatMustNotWaitTakesThePlaintextAlong(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		r := b.rider(t)
		r.decrypt("one")
		require.NoError(t, r.Sessions.PutSession(t.Context(), "others:0", []byte("for a frame")))
		require.Equal(t, map[int]int{sessions: 2, events: 1}, r.kinds())
		r.crash()
		require.Equal(t, "moved by one", r.ratchet())
		require.Equal(t, "plaintext of one", r.buffered("one"))
		hash, ok := r.Container.(session.EventKeeper).TakeEvent()
		require.True(t, ok)
		require.Equal(t, hashOf("one"), [32]byte(hash))
		_, ok = r.Container.(session.EventKeeper).TakeEvent()
		require.False(t, ok)
		r.record("one")
		require.Equal(t, map[int]int{sessions: 2, doneEvents: 1}, r.kinds())
	})
}

func TestLaterEventsWaitForTheirRecords(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		r := b.rider(t)
		r.decrypt("one")
		require.NoError(t, r.SenderKeys.PutSenderKey(t.Context(), "1@g.us", "them:0", []byte("came with one")))
		r.decrypt("two")
		require.NoError(t, r.SenderKeys.PutSenderKey(t.Context(), "2@g.us", "them:0", []byte("came with two")))
		r.record("one")
		require.Equal(t, "moved by two", r.ratchet())
		r.crash()
		require.Equal(t, "moved by one", r.ratchet())
		first, err := r.SenderKeys.GetSenderKey(t.Context(), "1@g.us", "them:0")
		require.NoError(t, err)
		require.Equal(t, "came with one", string(first))
		second, err := r.SenderKeys.GetSenderKey(t.Context(), "2@g.us", "them:0")
		require.NoError(t, err)
		require.Empty(t, second)

		r.decrypt("two")
		r.decrypt("three")
		r.record("three") // out of order
		require.Equal(t, map[int]int{sessions: 1, 5: 1, doneEvents: 2, events: 1}, r.kinds())
		r.crash()
		require.Equal(t, "moved by three", r.ratchet())
		require.Equal(t, "plaintext of two", r.buffered("two"))
		r.record("two")
		require.Equal(t, map[int]int{sessions: 1, 5: 1, doneEvents: 3}, r.kinds())
	})
}

func TestDurableBeforeWhatIsAcknowledged(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		ctx, r := t.Context(), b.rider(t)
		r.decrypt("one") // no record is made of it
		require.NoError(t, r.EventBuffer.ClearBufferedEventPlaintext(ctx, hashOf("one")))
		require.Equal(t, map[int]int{sessions: 1, doneEvents: 1}, r.kinds())

		r.decrypt("two") // the next part of the same stanza cannot be decrypted
		require.Equal(t, errOld, r.again("three"))
		require.Equal(t, map[int]int{sessions: 1, doneEvents: 1, events: 1}, r.kinds())
		require.Equal(t, "moved by two", r.ratchet())
	})
}

func TestAStanzaOfTwoPartsWaitsForOneCommit(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		ctx, r := t.Context(), b.rider(t)
		first := func(name string) {
			r.decrypt(name) //nolint:contextcheck // the test's
			require.NoError(t, r.SenderKeys.PutSenderKey(ctx, "1@g.us", "them:0", []byte("came with "+name)))
			r.Container.(session.EventKeeper).Continue(hashOf(name))
			require.NoError(t, r.EventBuffer.ClearBufferedEventPlaintext(ctx, hashOf(name)))
		}
		first("one")
		require.Empty(t, r.kinds(), "the second part is still to come")
		r.crash()
		first("one")
		r.decrypt("two")
		r.record("two")
		require.Equal(t, map[int]int{sessions: 1, 5: 1, doneEvents: 2}, r.kinds())

		first("three")
		require.Equal(t, errOld, r.again("four"), "the second part cannot be decrypted, and the stanza is acknowledged")
		require.Equal(t, map[int]int{sessions: 1, 5: 1, doneEvents: 3}, r.kinds())

		first("five")
		found, err := r.EventBuffer.GetBufferedEvent(ctx, hashOf("five")) // the stanza came twice, the second time without its second part
		require.NoError(t, err)
		require.Nil(t, found.Plaintext)
		require.Equal(t, map[int]int{sessions: 1, 5: 1, doneEvents: 4}, r.kinds())
		r.decrypt("six")
		require.NoError(t, r.EventBuffer.ClearBufferedEventPlaintext(ctx, hashOf("six")))
		require.Equal(t, map[int]int{sessions: 1, 5: 1, doneEvents: 5}, r.kinds(), "only one is continued")
	})
}

func TestACommitThatFailsTakesNothingAlong(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		r := b.rider(t)
		r.decrypt("one")
		_, err := b.store.Tenant(r.id).Commit(t.Context(), tenant.SettleEvent{Hash: hashOf("one")}, tenant.DeleteChat{ID: "5511999990009@c.us"})
		require.ErrorIs(t, err, tenant.ErrChatNotFound)
		require.Empty(t, r.kinds())
		require.Equal(t, "plaintext of one", r.buffered("one"))
		r.record("one")
		require.Equal(t, map[int]int{sessions: 1, doneEvents: 1}, r.kinds())
	})
}

// TestNothingIsWrittenAfterClose: the next device loaded for the tenant has everything for itself.
func TestNothingIsWrittenAfterClose(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		r := b.rider(t)
		r.decrypt("one")
		r.Container.(session.FailStop).Close()
		r.record("one")
		require.NoError(t, b.store.FlushDevice(t.Context(), r.id))
		require.Empty(t, r.kinds())
	})
}

func TestOldRowsGo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		ctx, r := t.Context(), b.rider(t)
		chat := newJID().ToNonAD()
		for _, name := range []string{"one", "two"} {
			r.decrypt(name)
			require.NoError(t, r.MsgSecrets.PutMessageSecret(ctx, chat, chat, name, []byte("secret")))
			r.record(name)
		}
		_, err := b.store.Database().Exec(ctx, `UPDATE device_row SET at=1 WHERE tenant_id=$1 AND (kind=9 OR row_key=$2)`, r.id, hash32("one"))
		require.NoError(t, err)
		require.NoError(t, r.EventBuffer.DeleteOldBufferedHashes(ctx))
		require.Equal(t, map[int]int{sessions: 1, doneEvents: 1}, r.kinds())
	})
}

func hash32(name string) []byte {
	hash := hashOf(name)
	return hash[:]
}

func TestRowsAreEncryptedEachInItsPlace(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		ctx, r := t.Context(), b.rider(t)
		for _, address := range []string{"them:0", "others:0"} {
			require.NoError(t, r.Sessions.PutSession(ctx, address, []byte("ratchet of "+address)))
		}
		stored, err := b.store.DeviceRows(ctx, r.id, []int16{sessions}, []byte("them:0"))
		require.NoError(t, err)
		require.Len(t, stored, 1)
		require.NotContains(t, string(stored[0].Value), "ratchet")
		device, err := b.store.Device(ctx, r.id)
		require.NoError(t, err)
		for _, secret := range [][]byte{r.NoiseKey.Priv[:], r.IdentityKey.Priv[:], r.AdvSecretKey} {
			require.NotContains(t, string(device.Value), string(secret))
		}
		_, err = b.store.Database().Exec(ctx, `UPDATE device_row SET value=$1 WHERE tenant_id=$2 AND row_key=$3`, stored[0].Value, r.id, []byte("others:0"))
		require.NoError(t, err)
		r.crash()
		require.Equal(t, "ratchet of them:0", r.ratchet())
		_, err = r.Sessions.GetSession(ctx, "others:0")
		require.ErrorIs(t, err, context.Canceled, "a row in another's place")

		other := b.rider(t)
		_, err = b.store.Database().Exec(ctx, `UPDATE device SET value=$1, wrapped_key=$2 WHERE tenant_id=$3`, device.Value, device.WrappedKey, other.id)
		require.NoError(t, err)
		_, err = b.devices.Load(ctx, other.id, *other.ID)
		require.Error(t, err, "another tenant's device")
	})
}

func TestMasterKeysAreReplaced(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		ctx, old, fresh := t.Context(), devicestore.NewMasterKey(), devicestore.NewMasterKey()
		with := func(keys string) *devicestore.Store {
			return devicestore.New(b.store, b.store, ring(t, keys), slog.New(slog.DiscardHandler))
		}
		b.devices = with(old)
		one, two := b.rider(t), b.rider(t)
		require.NoError(t, one.Sessions.PutSession(ctx, "them:0", []byte("ratchet")))

		var missing *devicestore.MissingKeyError
		require.ErrorAs(t, with(fresh).Check(ctx), &missing)
		require.Equal(t, 2, missing.Devices)
		_, err := with(fresh).Load(ctx, one.id, *one.ID)
		require.ErrorIs(t, err, devicestore.ErrUnknownMasterKey)
		require.NotContains(t, err.Error(), fresh)

		both := with(fresh + "\n" + old)
		require.NoError(t, both.Check(ctx))
		b.devices = both
		two.crash() // a session goes on meanwhile
		require.NoError(t, both.Rewrap(ctx))
		require.NoError(t, both.Rewrap(ctx))
		two.PushName = "saved beside it"
		require.NoError(t, two.Save(ctx))

		b.devices = with(fresh)
		require.NoError(t, b.devices.Check(ctx))
		one.crash()
		require.Equal(t, "ratchet", one.ratchet())
		two.crash()
		require.Equal(t, "saved beside it", two.PushName)
		require.ErrorAs(t, with(old).Check(ctx), &missing)
	})
}

func TestOneSpoiledKeyKeepsNoOthersBack(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		ctx, old, fresh := t.Context(), devicestore.NewMasterKey(), devicestore.NewMasterKey()
		with := func(keys string) *devicestore.Store {
			return devicestore.New(b.store, b.store, ring(t, keys), slog.New(slog.DiscardHandler))
		}
		b.devices = with(old)
		var all []*rider
		for range 100 { // more than are done at a time
			all = append(all, b.rider(t))
		}
		slices.SortFunc(all, func(x, y *rider) int { return strings.Compare(string(x.id), string(y.id)) })
		_, err := b.store.Database().Exec(ctx, `UPDATE device SET wrapped_key=$1 WHERE tenant_id=$2`, []byte("spoiled"), all[0].id)
		require.NoError(t, err)
		err = with(fresh + "\n" + old).Rewrap(ctx)
		require.ErrorContains(t, err, string(all[0].id))
		var missing *devicestore.MissingKeyError
		require.ErrorAs(t, with(fresh).Check(ctx), &missing)
		require.Equal(t, 1, missing.Devices)
	})
}

func TestKeysThatAreNone(t *testing.T) {
	t.Parallel()
	good := devicestore.NewMasterKey()
	for _, text := range []string{"", " ", "secret", good[1:], good + "A", good + ",x"} {
		_, err := devicestore.ParseKeyring(text)
		require.ErrorIs(t, err, devicestore.ErrMasterKey, text)
		require.NotContains(t, err.Error(), good)
	}
	two, err := devicestore.ParseKeyring(good + ", " + devicestore.NewMasterKey() + "\n")
	require.NoError(t, err)
	require.Len(t, two.Names(), 2)
	require.NotContains(t, two.String(), good)
}

func TestADeletedTenantsKeyGoesFirst(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		ctx, r := t.Context(), b.rider(t)
		require.NoError(t, r.Sessions.PutSession(ctx, "them:0", []byte("ratchet")))
		tenanttest.Delete(t, b.store, r.id)
		_, err := b.store.Device(ctx, r.id)
		require.ErrorIs(t, err, tenant.ErrDeviceNotFound)
		require.Empty(t, r.kinds())
		require.ErrorIs(t, r.Sessions.PutSession(ctx, "them:0", []byte("late")), context.Canceled)
		require.Empty(t, r.kinds(), "written after the tenant was gone")
	})
}
