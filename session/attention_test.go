package session_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
)

func TestMarksAChatAsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	chat := c.chatID(ana)
	var ids []string
	for i, opts := range []phone.SendOptions{{ViaPN: true}, {ViaLID: true}, {}} {
		id, err := ana.SendText(within(t), c.phone.Number(), fmt.Sprint("message ", i), opts)
		require.NoError(t, err)
		c.message(chat, id, nil)
		ids = append(ids, id)
	}
	for range 2 {
		require.NoError(t, w.fleet.MarkRead(within(t), c.ID(), chat))
		now, err := c.Chat(within(t), chat)
		require.NoError(t, err)
		require.Zero(t, now.UnreadCount)
	}
	for _, id := range ids {
		_, err := ana.WaitEntry(within(t), 0, func(e phone.Entry) bool {
			return e.Kind == phone.KindReceipt && e.Receipt == "read" && slices.Contains(e.IDs, id)
		})
		require.NoError(t, err)
	}
	require.ErrorIs(t, w.fleet.MarkRead(within(t), c.ID(), tenant.PersonID(number())), tenant.ErrChatNotFound)
	_, err := w.fleet.Disconnect(within(t), c.ID())
	require.NoError(t, err)
	var offline *session.OfflineError
	require.ErrorAs(t, w.fleet.MarkRead(within(t), c.ID(), chat), &offline)
	require.ErrorAs(t, w.fleet.ShowTyping(within(t), c.ID(), chat, session.TypingPaused), &offline)
}

func TestShowsTyping(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	chat := c.chatID(ana)
	c.send(chat, "hello")
	for _, state := range []session.Typing{session.TypingComposing, session.TypingRecording, session.TypingPaused} {
		require.NoError(t, w.fleet.ShowTyping(within(t), c.ID(), chat, state))
		got, err := ana.WaitEntry(within(t), 0, func(e phone.Entry) bool { return e.Kind == phone.KindTyping && e.Text == string(state) })
		require.NoError(t, err)
		require.Equal(t, c.phone.Number(), got.From)
	}
	require.ErrorIs(t, w.fleet.ShowTyping(within(t), c.ID(), tenant.PersonID(number()), session.TypingPaused), tenant.ErrChatNotFound)
}

func TestTellsWhoTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	id, err := ana.SendText(within(t), c.phone.Number(), "hello", phone.SendOptions{})
	require.NoError(t, err)
	c.message(c.chatID(ana), id, nil)
	head := len(c.events(tenant.EventTyping))
	live, stop := w.fleet.Live(c.ID())
	for _, state := range []string{"composing", "recording", "paused"} {
		require.NoError(t, ana.Typing(within(t), c.phone.Number(), state))
		want := fmt.Sprintf(`{"chatId":%[1]q,"senderId":%[1]q,"state":%[2]q}`, c.chatID(ana), state)
		require.JSONEq(t, want, string(next(t, live, tenant.EventTyping).Data), "under the number, though it came by the LID")
	}
	stop()
	require.NoError(t, ana.Typing(within(t), c.phone.Number(), "composing"))
	require.Len(t, c.events(tenant.EventTyping), head, "nothing of it is kept")
}
