package relay_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"

	"github.com/wafleet/wafleet/session/gate"
	"github.com/wafleet/wafleet/session/wasim/memstore"
	"github.com/wafleet/wafleet/session/wasim/relay"
)

// client is a whatsmeow client on a store in memory, unmodified but for races in it.
type client struct {
	*whatsmeow.Client
	t     testing.TB
	gate  *gate.Gate // nil but for clients made by gated
	ev    chan any
	stash []any
}

func (s *sim) client(t *testing.T, dev *store.Device) *client {
	t.Helper()
	c := &client{Client: gate.NewClient(dev, waLog.Noop), t: t, ev: make(chan any, 10_000)}
	c.SetWebsocketHTTPClient(s.http)
	c.SetPreLoginHTTPClient(s.http)
	c.SetMediaHTTPClient(s.http)
	c.EnableDecryptedEventBuffer = true
	c.SetForceActiveDeliveryReceipts(true)
	c.AddEventHandler(func(evt any) { c.ev <- evt })
	t.Cleanup(c.Disconnect)
	return c
}

func (c *client) connect() {
	c.t.Helper()
	require.NoError(c.t, c.ConnectContext(context.Background()))
}

// await is the next event of a type that fits; others wait.
func await[E any](c *client, fits func(E) bool) E {
	c.t.Helper()
	for i, evt := range c.stash {
		if e, ok := evt.(E); ok && (fits == nil || fits(e)) {
			c.stash = append(c.stash[:i:i], c.stash[i+1:]...)
			return e
		}
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case evt := <-c.ev:
			if e, ok := evt.(E); ok && (fits == nil || fits(e)) {
				return e
			}
			c.stash = append(c.stash, evt)
		case <-deadline.C:
			var e E
			require.Fail(c.t, "event did not come", "%T; got %v", e, kinds(c.stash))
			return e
		}
	}
}

func kinds(list []any) (out []string) {
	for _, e := range list {
		out = append(out, fmt.Sprintf("%T", e))
	}
	return out
}

// phone is a connected whatsmeow client as primary device.
func (s *sim) phone(t *testing.T, name string) *client {
	t.Helper()
	c := s.client(t, s.phoneDevice(t, name))
	c.connect()
	await[*events.Connected](c, nil)
	return c
}

func (s *sim) phoneDevice(t *testing.T, name string) *store.Device {
	t.Helper()
	phone := newPhone()
	dev := memstore.NewPrimary(phone, name, memstore.Limits{})
	lid, err := s.Register(accountOf(dev, phone, name))
	require.NoError(t, err)
	require.NoError(t, memstore.SetLID(t.Context(), dev, lid))
	return dev
}

func accountOf(dev *store.Device, phone, name string) relay.Account {
	return relay.Account{
		Phone: phone, Name: name, NoiseKey: *dev.NoiseKey.Pub, IdentityKey: *dev.IdentityKey.Pub,
		RegistrationID: dev.RegistrationID,
		SignedPreKey: relay.SignedPreKey{
			ID: dev.SignedPreKey.KeyID, Public: *dev.SignedPreKey.Pub, Signature: *dev.SignedPreKey.Signature,
		},
	}
}

func (c *client) pn() types.JID  { return c.Store.ID.ToNonAD() }
func (c *client) lid() types.JID { return c.Store.LID.ToNonAD() }

func (c *client) say(to types.JID, text string) whatsmeow.SendResponse {
	c.t.Helper()
	resp, err := c.SendMessage(c.t.Context(), to, &waE2E.Message{Conversation: new(text)})
	require.NoError(c.t, err)
	return resp
}

// hear waits for a message with this text.
func (c *client) hear(text string) *events.Message {
	c.t.Helper()
	return await(c, func(m *events.Message) bool { return m.Message.GetConversation() == text })
}

// receipt waits for a receipt of this type for a message.
func (c *client) receipt(id string, kind types.ReceiptType) *events.Receipt {
	c.t.Helper()
	return await(c, func(r *events.Receipt) bool { return r.Type == kind && r.MessageIDs[0] == id })
}
