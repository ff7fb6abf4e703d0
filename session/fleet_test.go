package session_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

func TestPairsByQRAndTalks(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c := w.paired(wasim.PhoneConfig{Name: "Shop"})
		ana := w.phone(wasim.PhoneConfig{Name: "Ana", AutoRead: true})
		chat := c.chatID(ana)

		view := c.view()
		require.Equal(t, c.phone.Number(), view.Phone)
		require.Equal(t, tenant.HiddenID(c.phone.LID().User), view.LID)
		require.NotEmpty(t, view.Device)

		// Out: to a number that was never seen.
		sent := c.send(chat, "hello Ana")
		require.Equal(t, tenant.StatusSent, sent.Status)
		require.Equal(t, chat, sent.ChatID)
		require.Equal(t, tenant.PersonID(c.phone.Number()), sent.SenderID)
		_, err := ana.WaitEntry(within(t), 0, hasText("hello Ana"))
		require.NoError(t, err)
		c.message(chat, string(sent.ID), is(tenant.StatusRead))

		// In.
		id, err := ana.SendText(within(t), c.phone.Number(), "hello shop", phone.SendOptions{})
		require.NoError(t, err)
		got := c.message(chat, id, nil)
		require.Equal(t, "hello shop", got.Text)
		require.Equal(t, tenant.TypeText, got.Type)
		require.Equal(t, chat, got.SenderID)
		require.Equal(t, "Ana", got.SenderName)
		require.Equal(t, tenant.StatusReceived, got.Status)
		require.Len(t, c.events(tenant.EventMessageReceived), 1)

		// An answer.
		reply, err := w.fleet.SendText(within(t), c.ID(), chat, session.TextMessage{Text: "yes?", ReplyTo: tenant.MessageID(id)})
		require.NoError(t, err)
		require.Equal(t, tenant.MessageID(id), reply.ReplyTo)
		entry, err := ana.WaitEntry(within(t), 0, hasText("yes?"))
		require.NoError(t, err)
		require.Equal(t, id, entry.ReplyTo)
	})
}
