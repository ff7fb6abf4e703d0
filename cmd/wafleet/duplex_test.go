package main

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
)

func TestThousandMessagesEachWayAtOnce(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			const each, atOnce = 1000, 8
			w := newWorld(t, database(t))
			c, ana := w.customer("Shop"), w.person("Ana")
			feed := c.feed(0)

			var both errgroup.Group
			both.Go(func() error {
				var group errgroup.Group
				group.SetLimit(atOnce)
				for i := range each {
					group.Go(func() error {
						got, err := c.api.try(http.MethodPost, "/api/chats/"+string(ana.chatID())+"/messages", textBody(fmt.Sprint("out ", i)))
						if err == nil && got.status != http.StatusCreated {
							err = fmt.Errorf("out %d: %s", i, got)
						}
						return err
					})
				}
				return group.Wait()
			})
			both.Go(func() error {
				var group errgroup.Group
				group.SetLimit(atOnce)
				for i := range each {
					group.Go(func() error {
						_, err := ana.SendText(t.Context(), c.Number(), fmt.Sprint("in ", i), phone.SendOptions{})
						return err
					})
				}
				return group.Wait()
			})
			require.NoError(t, both.Wait())

			in, out := make([]string, each), make([]string, each)
			for i := range each {
				in[i], out[i] = fmt.Sprint("in ", i), fmt.Sprint("out ", i)
			}
			events := feed.wait("all that came in", func(events []tenant.Event) bool { return len(receivedTexts(t, events)) >= len(in) })
			require.ElementsMatch(t, in, receivedTexts(t, events))
			require.ElementsMatch(t, slices.Concat(in, out), texts(c.messages(ana.chatID())))

			var arrived []string
			until(t, "the phone has all", func() bool {
				arrived = arrived[:0]
				for _, e := range ana.Inbox(0) {
					if e.Kind == phone.KindMessage && !e.FromMe {
						arrived = append(arrived, e.Text)
					}
				}
				return len(arrived) >= len(out)
			})
			require.ElementsMatch(t, out, arrived)
			require.Empty(t, w.sim.Relay().Stats().Violations)
		})
	}
}
