package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
)

// killRounds is how often the node is killed, at another point of its work each time.
const killRounds = 20

// killQueue is how many messages wait for the node at most.
const killQueue = 30

func TestKilledAtAnyMomentLosesNothingAndDoublesNothing(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			c := w.customer("Shop")
			writers := []*person{w.person("Ana"), w.person("Bia"), w.person("Caio")}

			// Each delivery counts a budget down; the node is killed when it is used up, that is in the middle of its work on what
			// was just delivered. What it acknowledges is replaced by new messages: there is always something in the queue.
			var budget atomic.Int64
			strike, queue := make(chan struct{}, 1), make(chan struct{}, killQueue)
			stop := w.sim.Relay().Observe(func(o relay.Observation) {
				switch {
				case o.Tag != "message" || o.Phone != c.Number() || o.Device == 0:
				case o.Kind == relay.Delivered && budget.Add(-1) == 0:
					strike <- struct{}{}
				case o.Kind == relay.Acknowledged:
					select {
					case <-queue:
					default: // somebody else's message
					}
				}
			})
			defer stop()

			writing, stopWriting := context.WithCancel(t.Context())
			defer stopWriting()
			var group sync.WaitGroup
			sent := make([][]string, len(writers))
			for i, writer := range writers {
				group.Go(func() { sent[i] = writer.chatter(writing, c.person, queue) })
			}
			for range killRounds {
				budget.Store(1 + rand.Int64N(12))
				select {
				case <-strike:
				case <-newTimeout(t, patience):
					require.FailNow(t, "no message was delivered")
				}
				w.node.kill()
				w.launch()
			}
			stopWriting()
			group.Wait()

			c.connect()
			c.online()
			until(t, "everything is acknowledged", func() bool { return w.sim.Relay().Stats().UnacknowledgedByPhone[c.Number()] == 0 })
			for i, writer := range writers {
				require.ElementsMatch(t, sent[i], texts(c.messages(writer.chatID())), "each message is stored once")
			}
			var all []string
			for _, s := range sent {
				all = append(all, s...)
			}
			feed := c.feed(0) // checks that seq has no gap
			events := feed.wait("all messages", func(events []tenant.Event) bool { return len(receivedTexts(t, events)) >= len(all) })
			require.ElementsMatch(t, all, receivedTexts(t, events), "each message is journalled once")
		})
	}
}

// chatter sends numbered texts while there is room in the queue, until ctx ends, and returns those that the server has taken.
func (p *person) chatter(ctx context.Context, to *person, queue chan<- struct{}) (sent []string) {
	for n := 0; ; n++ {
		select {
		case queue <- struct{}{}:
		case <-ctx.Done():
			return sent
		}
		text := fmt.Sprintf("%s %d", p.Name(), n)
		// A send that has begun goes through: whether the server has it must be known.
		if _, err := p.SendText(context.WithoutCancel(ctx), to.Number(), text, phone.SendOptions{}); err != nil {
			p.w.t.Errorf("%s: %v", p.Name(), err)
			return sent
		}
		sent = append(sent, text)
	}
}

func texts(messages []tenant.Message) []string {
	var list []string
	for _, m := range messages {
		list = append(list, m.Text)
	}
	return list
}

func receivedTexts(t *testing.T, events []tenant.Event) []string {
	t.Helper()
	var list []string
	for _, e := range events {
		if e.Type == tenant.EventMessageReceived {
			list = append(list, messageOf(t, e).Text)
		}
	}
	return list
}
