package main

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
)

func TestOlderMessagesComeFromThePhone(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			c, ana := w.unpaired("Shop"), w.person("Ana")
			const n = 130
			start := time.Now().Add(-n * time.Hour).Truncate(time.Second)
			var past []phone.ChatMessage
			for i := range n {
				past = append(past, phone.ChatMessage{ID: fmt.Sprint("OLD", i), Text: fmt.Sprint("old ", i), FromMe: i%2 == 0, At: start.Add(time.Duration(i) * time.Hour)})
			}
			require.NoError(t, c.SetHistory([]phone.Chat{{Phone: ana.Number(), Name: "Ana", Recent: 2, Messages: past}}))
			feed := c.feed(0)
			c.pair()
			event(feed, tenant.EventHistoryProgress, func(p *tenant.HistoryProgress) bool {
				return p.Sync == tenant.HistoryBootstrap && p.Received == 2 && p.Done
			})
			require.Len(t, c.messages(ana.chatID()), 2)

			path := "/api/whatsapp/messages/" + string(ana.chatID())
			var got struct{ Messages []tenant.Message }
			c.api.call(http.StatusOK, http.MethodGet, path, "").into(t, &got)
			require.Len(t, got.Messages, 100)
			event(feed, tenant.EventHistoryProgress, func(p *tenant.HistoryProgress) bool { return p.ChatID == ana.chatID() && p.Done && p.Received == 100 })
			c.api.call(http.StatusOK, http.MethodGet, path+"?limit=500", "").into(t, &got)
			require.Len(t, got.Messages, n)
			for i, m := range got.Messages {
				require.Equal(t, fmt.Sprint("old ", n-1-i), m.Text)
			}
			require.Equal(t, got.Messages, c.messages(ana.chatID()))
			require.False(t, slices.ContainsFunc(feed.wait("", func([]tenant.Event) bool { return true }), func(e tenant.Event) bool {
				return e.Type == tenant.EventMessageReceived || e.Type == tenant.EventMessageSent
			}), "history is not news")

			w.admin.call(http.StatusOK, http.MethodPost, "/admin/tenants/"+c.id+"/session/disconnect", "")
			refused := c.api.call(http.StatusServiceUnavailable, http.MethodGet, path, "")
			require.NotEmpty(t, refused.header.Get("Retry-After"))
			require.Contains(t, string(refused.body), `"error":"SERVICE_UNAVAILABLE"`)
		})
	}
}
