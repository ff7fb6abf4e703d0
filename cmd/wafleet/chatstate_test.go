package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
)

func TestChatsAreSetOnBothSidesAndSynchronized(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteDatabase(t))
	c, ana := w.customer("Shop"), w.person("Ana")
	feed := c.feed(0)
	ana.send(c.person, "hello")
	feed.received("hello")
	path := "/api/chats/" + string(ana.chatID())
	ctx := t.Context()

	// The key to the settings comes with the first history; until then the chat cannot be set.
	until(t, "the chat is pinned", func() bool {
		got, err := c.api.try(http.MethodPatch, path, `{"pinned":true}`)
		return err == nil && got.status == http.StatusOK
	})
	event(feed, tenant.EventChatUpdated, func(chat *tenant.Chat) bool { return chat.ID == ana.chatID() && chat.Pinned })
	_, err := c.WaitChat(ctx, ana.Number(), func(s phone.ChatState) bool { return s.Pinned })
	require.NoError(t, err)
	require.NoError(t, c.ChangeChat(ctx, ana.Number(), phone.ChatPatch{Archived: new(true), Muted: &phone.Mute{Forever: true}}))
	event(feed, tenant.EventChatUpdated, func(chat *tenant.Chat) bool { return chat.Archived && chat.MutedUntil != nil })
	require.NoError(t, c.NameContact(ctx, ana.Number(), "Ana Silva"))
	event(feed, tenant.EventChatUpdated, func(chat *tenant.Chat) bool { return chat.Name == "Ana Silva" })

	id, _, err := c.CreateGroup(ctx, "Family", []string{ana.Number()})
	require.NoError(t, err)
	c.api.call(http.StatusNoContent, http.MethodDelete, path, "")
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			var got struct{ Groups, Direct, Total int }
			c.api.call(http.StatusOK, http.MethodPost, "/api/chats/sync", "").into(t, &got)
			if fmt.Sprint(got) != "{1 1 2}" {
				t.Errorf("got %+v", got)
			}
		})
	}
	wg.Wait()
	event(feed, tenant.EventSyncProgress, func(p *tenant.SyncProgress) bool { return p.Stage == "settings" && p.Done == p.Total })
	var chat tenant.Chat
	c.api.call(http.StatusOK, http.MethodGet, path, "").into(t, &chat)
	require.True(t, chat.Archived)
	require.Equal(t, tenant.MutedForever(), *chat.MutedUntil)
	require.Equal(t, "Ana Silva", chat.Name)
	c.api.call(http.StatusOK, http.MethodGet, "/api/chats/"+id, "").into(t, &chat)
	require.Equal(t, "Family", chat.Name)
}

// settingRounds is how often the node is killed while it takes over what the phone has set.
const settingRounds = 8

func TestKilledAtAnyMomentLosesNoSetting(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			c := w.customer("Shop")
			ana := w.person("Ana")
			c.text(ana.chatID(), "hello")
			path := "/api/chats/" + string(ana.chatID())
			until(t, "settings are taken over", func() bool {
				got, err := c.api.try(http.MethodPatch, path, `{"pinned":true}`)
				return err == nil && got.status == http.StatusOK
			})

			// The node is killed when it was told of a change, or has said that it was: WhatsApp does not tell again.
			strike := make(chan struct{}, 1)
			var at atomic.Value
			at.Store(relay.Delivered)
			stop := w.sim.Relay().Observe(func(o relay.Observation) {
				if o.Tag == "notification" && o.Phone == c.Number() && o.Device > 0 && o.Kind == at.Load() {
					select {
					case strike <- struct{}{}:
					default:
					}
				}
			})
			defer stop()
			for i := range settingRounds {
				at.Store([]relay.Kind{relay.Delivered, relay.Acknowledged}[i%2])
				friend, done := newNumber(), make(chan error, 1)
				go func() { done <- c.ChangeChat(t.Context(), friend, phone.ChatPatch{Archived: new(true)}) }()
				select {
				case <-strike:
				case <-newTimeout(t, patience):
					require.FailNow(t, "the node was not told")
				}
				w.node.Kill()
				require.NoError(t, <-done)
				w.launch()
				c.connect()
				until(t, "the chat is archived", func() bool {
					got, err := c.api.try(http.MethodGet, "/api/chats/"+friend+"@c.us", "")
					return err == nil && strings.Contains(string(got.body), `"archived":true`)
				})
				c.online()
				select { // told again, of what the node had not acknowledged
				case <-strike:
				default:
				}
			}
		})
	}
}
