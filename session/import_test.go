package session_test

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.mau.fi/util/dbutil"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/store/sqlstore/upgrades"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// before is how devices were kept in versions before this one: in whatsmeow's own store.
type before struct {
	session.Traveller // not asked: nothing moves here
	*sqlstore.Container
}

func newBefore(w *world) before {
	w.t.Helper()
	container := sqlstore.NewWithWrappedDB(w.store.Database().Child("whatsmeow_version", upgrades.Table, dbutil.NoopLogger), nil)
	require.NoError(w.t, container.Upgrade(within(w.t)))
	return before{Container: container}
}

func (b before) New(_ context.Context, id tenant.ID) (*store.Device, error) {
	dev := b.NewDevice()
	sum := sha256.Sum256([]byte("wafleet device of tenant " + id))
	dev.FacebookUUID = uuid.UUID(sum[:16])
	return dev, nil
}

func (b before) Load(ctx context.Context, _ tenant.ID, jid types.JID) (*store.Device, error) {
	dev, err := b.GetDevice(ctx, jid)
	if err == nil && dev == nil {
		err = session.ErrNotPaired
	}
	return dev, err
}

func (before) Delete(context.Context, tenant.ID, types.JID) error { return nil }

// TestAnEarlierVersionsDevicesGoOn: a node of an earlier version was paired and has talked. The new one takes its devices over, decrypts what
// was queued meanwhile, by chats and groups that began before, and is understood by those it talked with.
func TestAnEarlierVersionsDevicesGoOn(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		var old before
		w := newWorld(t, engine, func(w *world) {
			old = newBefore(w)
			w.wrapDevices = func(session.Devices) session.Devices { return old }
		})
		c, ana, bob := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{Name: "Ana"}), w.phone(wasim.PhoneConfig{Name: "Bob"})
		family := group(t, ana, c.phone, bob)
		say := func(from *phone.Phone, to tenant.ChatID, text string) string {
			id, err := from.SendText(within(t), strings.TrimSuffix(string(to), "@c.us"), text, phone.SendOptions{})
			require.NoError(t, err)
			return id
		}
		c.message(c.chatID(ana), say(ana, c.chatID(c.phone), "before"), nil)
		c.message(family, say(bob, family, "before, to all"), nil)
		c.send(c.chatID(ana), "answer before")
		w.halt()
		queued := map[tenant.ChatID][]string{
			c.chatID(ana): {say(ana, c.chatID(c.phone), "meanwhile"), say(ana, c.chatID(c.phone), "and again")},
			family:        {say(bob, family, "meanwhile, to all")},
			c.chatID(bob): {say(bob, c.chatID(c.phone), "for the first time")},
		}

		require.NoError(t, w.devices.Import(within(t), w.store))
		require.NoError(t, w.devices.Import(within(t), w.store), "again")
		for _, table := range []string{"device", "sessions", "identity_keys", "pre_keys", "sender_keys", "event_buffer"} {
			var n int
			require.NoError(t, w.store.Database().QueryRow(within(t), "SELECT COUNT(*) FROM whatsmeow_"+table).Scan(&n))
			require.Zero(t, n, table)
		}
		w.wrapDevices = nil
		w.start()
		c.until(session.Online)
		for chat, ids := range queued {
			for _, id := range ids {
				m := c.message(chat, id, nil)
				require.Equal(t, tenant.TypeText, m.Type, "not decrypted")
			}
		}
		for _, chat := range []tenant.ChatID{c.chatID(ana), c.chatID(bob), family} {
			sent := c.send(chat, "after")
			for p, other := range map[*phone.Phone]*phone.Phone{ana: bob, bob: ana} {
				if chat == c.chatID(other) {
					continue
				}
				_, err := p.WaitEntry(within(t), 0, func(e phone.Entry) bool {
					return e.Text == "after" && slices.Contains(e.IDs, string(sent.ID))
				})
				require.NoError(t, err)
			}
		}
	})
}
