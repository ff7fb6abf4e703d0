package main

import (
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
)

// keyed is the tenant's client with an idempotency key.
func (c *customer) keyed(key string) *client {
	other := *c.api
	other.header = maps.Clone(c.api.header)
	other.header["Idempotency-Key"] = key
	return &other
}

// onceRounds is how often the node is killed in the middle of a send, at each point of its work.
const onceRounds = 4

// The points at which a send's node is killed.
const (
	killedBeforeFrame = iota // the message is stored; the line to WhatsApp is dead
	killedBeforeAck          // WhatsApp has the message, and the node does not know
	killedAnywhere
	killPoints
)

func TestAKeyOutlivesItsNode(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			c, ana := w.customer("Shop"), w.person("Ana")
			path := "/api/chats/" + string(ana.chatID()) + "/messages"
			c.text(ana.chatID(), "warm")
			var texts []string
			ids := map[tenant.MessageID]bool{}
			for round := range onceRounds * killPoints {
				text := "once-" + strconv.Itoa(round) // its key, too
				texts = append(texts, text)
				stored := c.killInSend(text, path, ana, round%killPoints)
				w.start()
				c.connect()
				c.online()
				var got tenant.Message
				c.keyed(text).call(http.StatusCreated, http.MethodPost, path, textBody(text)).into(t, &got)
				require.NotEqual(t, tenant.StatusPending, got.Status)
				if stored != "" {
					require.Equal(t, stored, got.ID)
				}
				require.False(t, ids[got.ID])
				ids[got.ID] = true
				var again tenant.Message
				c.keyed(text).call(http.StatusCreated, http.MethodPost, path, textBody(text)).into(t, &again)
				require.Equal(t, got.ID, again.ID)
				refused := c.keyed(text).call(http.StatusUnprocessableEntity, http.MethodPost, path, textBody("another"))
				require.Contains(t, refused.String(), "IDEMPOTENCY_KEY_REUSED")
			}
			c.text(ana.chatID(), "done")
			ana.got("done")
			count := map[string]int{}
			for _, e := range ana.Inbox(0) {
				if e.Kind == phone.KindMessage {
					count[e.Text]++
				}
			}
			mine := map[string]int{}
			for _, m := range c.messages(ana.chatID()) {
				mine[m.Text]++
			}
			for _, text := range texts {
				require.Equal(t, 1, count[text], "%s at its recipient", text)
				require.Equal(t, 1, mine[text], "%s in the database", text)
			}
			require.Len(t, mine, len(texts)+2)
		})
	}
}

// killInSend kills the node in the middle of a send, and returns the message's id if it is known to be stored.
func (c *customer) killInSend(text, path string, to *person, point int) (stored tenant.MessageID) {
	t := c.w.t
	t.Helper()
	accepted := make(chan struct{}, 1)
	stop := c.w.sim.Relay().Observe(func(o relay.Observation) {
		if o.Kind == relay.Accepted && o.Phone == c.Number() && o.Device != 0 {
			select {
			case accepted <- struct{}{}:
			default:
			}
		}
	})
	defer stop()
	if point == killedBeforeFrame {
		require.NoError(t, c.w.sim.Relay().Fault(relay.Fault{Kind: relay.FaultStall, Phone: c.Number()}))
	}
	sender := c.keyed(text)
	var sending sync.WaitGroup
	begun := make(chan struct{})
	sending.Go(func() {
		close(begun)
		_, _ = sender.try(http.MethodPost, path, textBody(text)) // its node is killed
	})
	switch point {
	case killedBeforeFrame:
		until(t, "the message is stored", func() bool {
			newest := c.messages(to.chatID())[0]
			stored = newest.ID
			return newest.Text == text
		})
	case killedBeforeAck:
		select {
		case <-accepted:
		case <-newTimeout(t, patience):
			require.FailNow(t, "WhatsApp never had the message")
		}
	default:
		<-begun
		for range rand.IntN(3) { // as many calls as it takes to be somewhere in the middle
			_, _ = c.api.try(http.MethodGet, path+"?limit=1", "")
		}
	}
	c.w.node.Kill()
	sending.Wait()
	return stored
}

func TestTwinsOfARequestAreOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteDatabase(t))
	c, ana := w.customer("Shop"), w.person("Ana")
	group, _, err := ana.CreateGroup(t.Context(), "Family", []string{c.Number()})
	require.NoError(t, err)
	first := c.text(ana.chatID(), "warm")
	ana.got("warm")
	chat := "/api/chats/" + string(ana.chatID())
	form := "--" + formBoundary + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhello\r\n--" + formBoundary + "--\r\n"
	until(t, "the group is there", func() bool { return len(c.chats()) == 2 })
	for name, tc := range map[string]struct{ path, body string }{
		"text":    {chat + "/messages", textBody("twins")},
		"file":    {chat + "/messages", form},
		"forward": {chat + "/messages/" + string(first.ID) + "/forward", `{"to":"` + string(ana.chatID()) + `"}`},
		"poll":    {"/api/chats/" + group + "/poll", `{"question":"Lunch?","options":["noon","one"]}`},
	} {
		caller := c.keyed(name)
		const twins = 6
		got, errs := make([]answer, twins), make([]error, twins)
		var calls sync.WaitGroup
		for i := range twins {
			calls.Go(func() { got[i], errs[i] = caller.try(http.MethodPost, tc.path, tc.body) })
		}
		calls.Wait()
		ids := map[tenant.MessageID]bool{}
		for i := range twins {
			require.NoError(t, errs[i])
			require.Equal(t, http.StatusCreated, got[i].status, "%s: %s", name, got[i])
			var m tenant.Message
			got[i].into(t, &m)
			ids[m.ID] = true
		}
		require.Len(t, ids, 1, name)
	}
	require.Len(t, c.messages(ana.chatID()), 4)
	require.Len(t, c.messages(tenant.ChatID(group)), 1)
}
