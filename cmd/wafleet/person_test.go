package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
)

func TestOnePersonIsOneChatWhicheverIDAMessageCarries(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			c, ana := w.customer("Shop"), w.person("Ana")
			feed := c.feed(0)
			for _, via := range []struct {
				text string
				opts phone.SendOptions
			}{
				{"by number", phone.SendOptions{ViaPN: true}},
				{"by hidden id", phone.SendOptions{ViaLID: true}},
				{"by number again", phone.SendOptions{ViaPN: true}},
			} {
				_, err := ana.SendText(t.Context(), c.Number(), via.text, via.opts)
				require.NoError(t, err)
				got := feed.received(via.text)
				require.Equal(t, ana.chatID(), got.ChatID)
				require.Equal(t, ana.chatID(), got.SenderID)
			}
			require.Len(t, c.chats(), 1)
			hidden := tenant.HiddenID(ana.LID().User)
			for _, id := range []tenant.ChatID{ana.chatID(), hidden, tenant.ChatID(ana.Number() + "@s.whatsapp.net")} {
				require.Len(t, c.messages(id), 3)
				var chat tenant.Chat
				c.api.call(http.StatusOK, http.MethodGet, "/api/chats/"+string(id), "").into(t, &chat)
				require.Equal(t, ana.chatID(), chat.ID)
				require.Equal(t, string(hidden), chat.LID)
			}
			// A reply to either id reaches the same phone.
			c.text(hidden, "to the hidden id")
			ana.got("to the hidden id")
			require.Len(t, c.chats(), 1)
		})
	}
}
