package session_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// pastOf is n messages of a chat, OLD1 the oldest, one each minute until an hour ago.
func pastOf(n int, from ...string) []phone.ChatMessage {
	end := time.Now().Add(-time.Hour).Truncate(time.Second)
	var past []phone.ChatMessage
	for i := range n {
		m := phone.ChatMessage{ID: fmt.Sprintf("OLD%d", i+1), Text: fmt.Sprint("old ", i+1), FromMe: i%3 == 0, At: end.Add(time.Duration(i-n) * time.Minute)}
		if len(from) > 0 && !m.FromMe {
			m.From = from[i%len(from)]
		}
		past = append(past, m)
	}
	return past
}

// older is a customer whose phone has n messages with somebody, and gave the newest of them at pairing.
func (w *world) older(n, recent int) (*customer, tenant.ChatID) {
	w.t.Helper()
	friend := w.phone(wasim.PhoneConfig{Name: "Friend"})
	c := w.tenant()
	c.pair(w.phone(wasim.PhoneConfig{History: []phone.Chat{{
		Phone: friend.Number(), Name: "Friend", Recent: recent, Messages: pastOf(n),
	}}}))
	chat := c.chatID(friend)
	for i := range recent {
		c.message(chat, fmt.Sprint("OLD", n-i), nil)
	}
	require.Len(w.t, c.all(chat), recent)
	return c, chat
}

func (c *customer) past(chat tenant.ChatID, limit int) ([]tenant.Message, error) {
	c.w.t.Helper()
	return c.w.fleet.FetchHistory(within(c.w.t), c.ID(), chat, limit)
}

// progressOf reads the news of a chat's fetch until the last; without a chat, of what the phone sends by itself.
func progressOf(t *testing.T, news <-chan tenant.Event, chat tenant.ChatID) (all []tenant.HistoryProgress) {
	t.Helper()
	for {
		var p tenant.HistoryProgress
		require.NoError(t, json.Unmarshal(next(t, news, tenant.EventHistoryProgress).Data, &p))
		if p.ChatID != chat {
			continue
		}
		if all = append(all, p); p.Done {
			return all
		}
	}
}

// requirePast says that the messages are the newest of n.
func requirePast(t *testing.T, got []tenant.Message, n, count int) {
	t.Helper()
	require.Len(t, got, count)
	for i, m := range got {
		require.Equal(t, fmt.Sprint("old ", n-i), m.Text)
		require.Equal(t, (n-i-1)%3 == 0, m.FromMe)
	}
}

func TestFetchesOlderMessagesFromThePhone(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, chat := w.older(180, 3)
		require.NoError(t, c.read(chat))
		journal := len(c.events(tenant.EventMessageReceived)) + len(c.events(tenant.EventMessageSent))
		news, stop := w.fleet.Live(c.ID())
		defer stop()

		got, err := c.past(chat, 3)
		require.NoError(t, err)
		requirePast(t, got, 180, 3)
		require.Equal(t, []tenant.HistoryProgress{{ChatID: chat, Limit: 3, Done: true}}, progressOf(t, news, chat), "nobody was asked")

		got, err = c.past(chat, 120)
		require.NoError(t, err)
		requirePast(t, got, 180, 120)
		require.Equal(t, []tenant.HistoryProgress{
			{ChatID: chat, Limit: 120, Received: 50},
			{ChatID: chat, Limit: 120, Received: 100},
			{ChatID: chat, Limit: 120, Received: 150},
			{ChatID: chat, Limit: 120, Received: 150, Done: true},
		}, progressOf(t, news, chat))
		require.Len(t, c.all(chat), 153)

		got, err = c.past(chat, 500)
		require.NoError(t, err)
		requirePast(t, got, 180, 180)
		require.Equal(t, []tenant.HistoryProgress{{ChatID: chat, Limit: 500, Received: 27, Done: true}}, progressOf(t, news, chat))
		require.Len(t, c.all(chat), 180, "nothing is doubled")

		require.Equal(t, journal, len(c.events(tenant.EventMessageReceived))+len(c.events(tenant.EventMessageSent)), "history is not news")
		stored, err := c.Chat(within(t), chat)
		require.NoError(t, err)
		require.Zero(t, stored.UnreadCount)
		require.Equal(t, "old 180", stored.LastMessage.Text)
	})
}

func (c *customer) read(chat tenant.ChatID) error {
	_, err := c.Commit(within(c.w.t), tenant.MarkRead{ChatID: chat})
	return err
}

func TestFetchesAGroupsHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	ana, bia := w.phone(wasim.PhoneConfig{Name: "Ana"}), w.phone(wasim.PhoneConfig{Name: "Bia"})
	for _, hidden := range []bool{false, true} {
		group := tenant.GroupID("12036300" + number())
		c := w.tenant()
		c.pair(w.phone(wasim.PhoneConfig{History: []phone.Chat{{
			Group: string(group), Name: "Team", Recent: 2, ViaLID: hidden, Messages: pastOf(60, ana.Number(), bia.Number()),
		}}}))
		c.message(group, "OLD59", nil)
		got, err := c.past(group, 500)
		require.NoError(t, err)
		requirePast(t, got, 60, 60)
		senders := map[tenant.ChatID]int{}
		for _, m := range got {
			senders[m.SenderID]++
		}
		require.Equal(t, map[tenant.ChatID]int{tenant.PersonID(c.phone.Number()): 20, c.chatID(ana): 20, c.chatID(bia): 20}, senders)
	}
}

// What the phone has sent and received since is part of its history: a chat that was deleted here comes back.
func TestFetchesWhatThePhoneHasSeenSince(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{Name: "Ana"})
	chat := c.chatID(ana)
	in, err := ana.SendText(within(t), c.phone.Number(), "in", phone.SendOptions{})
	require.NoError(t, err)
	c.message(chat, in, nil)
	own, err := c.phone.SendText(within(t), ana.Number(), "own", phone.SendOptions{})
	require.NoError(t, err)
	c.message(chat, own, nil)
	out := c.send(chat, "out")
	for _, text := range []string{"in", "out"} {
		_, err = c.phone.WaitEntry(within(t), 0, hasText(text))
		require.NoError(t, err)
	}
	_, err = c.Commit(within(t), tenant.DeleteChat{ID: chat})
	require.NoError(t, err)

	got, err := c.past(chat, 100)
	require.NoError(t, err)
	ids := map[tenant.MessageID]bool{}
	for _, m := range got {
		require.Equal(t, string(m.ID) != in, m.FromMe, m.Text)
		ids[m.ID] = true
	}
	require.Equal(t, map[tenant.MessageID]bool{tenant.MessageID(in): true, tenant.MessageID(own): true, out.ID: true}, ids)
}

// Groups and polls are part of it, with the votes.
func TestFetchesWhatThePhoneHasSeenOfAGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana, bia := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{Name: "Ana"}), w.phone(wasim.PhoneConfig{Name: "Bia"})
	chat := group(t, ana, c.phone, bia)
	first, err := ana.SendText(within(t), string(chat), "shall we?", phone.SendOptions{})
	require.NoError(t, err)
	poll, err := ana.SendPoll(within(t), string(chat), lunch, phone.SendOptions{})
	require.NoError(t, err)
	_, err = bia.WaitEntry(within(t), 0, hasText(lunch.Question))
	require.NoError(t, err)
	_, err = bia.Vote(within(t), string(chat), poll, []string{"one"})
	require.NoError(t, err)
	for _, kind := range []func(phone.Entry) bool{hasText("shall we?"), about(phone.KindVote, poll, "one")} {
		_, err = c.phone.WaitEntry(within(t), 0, kind)
		require.NoError(t, err)
	}
	_, err = c.phone.Vote(within(t), string(chat), poll, []string{"one"})
	require.NoError(t, err)
	both := func(m *tenant.Message) bool {
		return m.Poll != nil && m.Poll.Options[1].Votes == 2 && len(m.Poll.Votes) == 2
	}
	c.message(chat, first, nil)
	c.message(chat, poll, both)
	_, err = c.Commit(within(t), tenant.DeleteChat{ID: chat})
	require.NoError(t, err)

	got, err := c.past(chat, 100)
	require.NoError(t, err)
	require.Len(t, got, 2, "a vote is no message")
	again := c.message(chat, poll, nil)
	require.True(t, both(&again), "%+v", again.Poll)
	require.ElementsMatch(t, []tenant.ChatID{c.chatID(bia), tenant.PersonID(c.phone.Number())}, again.Poll.Options[1].Voters)
	require.Equal(t, c.chatID(ana), c.message(chat, first, nil).SenderID)
}

func TestAChatWithoutHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	got, err := c.past(c.chatID(ana), 100)
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = c.Chat(within(t), c.chatID(ana))
	require.ErrorIs(t, err, tenant.ErrChatNotFound, "nothing came, so nothing is made")

	_, err = c.past(tenant.PersonID(number()), 100)
	require.ErrorIs(t, err, tenant.ErrChatNotFound)
	unpaired := w.tenant()
	_, err = unpaired.past(c.chatID(ana), 100)
	var offline *session.OfflineError
	require.ErrorAs(t, err, &offline)
}

func TestAPhoneThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), func(w *world) { w.pace.HistoryPage = 5 * time.Second })
	c, chat := w.older(180, 3)
	requireSilent := func() {
		t.Helper()
		news, stop := w.fleet.Live(c.ID())
		defer stop()
		_, err := c.past(chat, 100)
		require.ErrorIs(t, err, session.ErrPhoneSilent)
		var partial *session.HistoryError
		require.ErrorAs(t, err, &partial)
		require.Zero(t, partial.Received)
		require.Len(t, progressOf(t, news, chat), 1)
	}
	c.phone.SetSilent(true)
	requireSilent()
	c.phone.SetSilent(false)
	require.NoError(t, c.phone.SetOffline(within(t), true))
	requireSilent()
	require.Len(t, c.all(chat), 3)
	require.NoError(t, c.phone.SetOffline(within(t), false))
	// The request waited at the server: its answer is stored, too, though nobody waits for it any more.
	c.message(chat, "OLD128", nil)
	w.anew(func(p *session.Pace) { p.HistoryPage = 0 }, c)
	got, err := c.past(chat, 100)
	require.NoError(t, err)
	requirePast(t, got, 180, 100)
}

// afterPages runs fn when the phone has given that many pages. done waits for the end of fn.
func afterPages(w *world, c *customer, pages int, fn func()) (done func()) {
	news, release := w.fleet.Live(c.ID())
	ctx := within(w.t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; n < pages; {
			select {
			case e := <-news:
				if strings.Contains(string(e.Data), "chatId") { // not what came after pairing
					n++
				}
			case <-ctx.Done():
				return
			}
		}
		fn()
	})
	return func() {
		wg.Wait()
		release()
	}
}

func TestWhatCameBeforeThePhoneFellSilentStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), func(w *world) { w.pace.HistoryPage = 10 * time.Second })
	c, chat := w.older(490, 3)
	defer afterPages(w, c, 1, func() { c.phone.SetSilent(true) })()
	_, err := c.past(chat, 480)
	require.ErrorIs(t, err, session.ErrPhoneSilent)
	var partial *session.HistoryError
	require.ErrorAs(t, err, &partial)
	require.Positive(t, partial.Received)
	require.Zero(t, partial.Received%50)
	require.Len(t, c.all(chat), 3+partial.Received)
	c.phone.SetSilent(false)
	w.anew(func(p *session.Pace) { p.HistoryPage = 0 }, c)
	got, err := c.past(chat, 480)
	require.NoError(t, err)
	requirePast(t, got, 490, 480)
}

func TestGoesOfflineWhileThePhoneIsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, chat := w.older(180, 3)
	c.phone.SetSilent(true)
	asked := make(chan struct{}, 1)
	defer w.sim.Relay().Observe(func(o relay.Observation) {
		if o.Phone == c.phone.Number() && o.Device == 0 && o.Tag == "message" && o.Kind == relay.Acknowledged {
			select {
			case asked <- struct{}{}:
			default:
			}
		}
	})()
	failed := make(chan error, 1)
	go func() {
		_, err := w.fleet.FetchHistory(within(t), c.ID(), chat, 100)
		failed <- err
	}()
	select {
	case <-asked:
	case <-within(t).Done():
		require.FailNow(t, "the phone was not asked")
	}
	_, err := w.fleet.Disconnect(within(t), c.ID())
	require.NoError(t, err)
	err = <-failed
	var offline *session.OfflineError
	require.ErrorAs(t, err, &offline)
	require.Equal(t, session.Stopped, offline.View.State)
	var partial *session.HistoryError
	require.ErrorAs(t, err, &partial)
}

func TestCallersOfOneChatShareARun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, chat := w.older(300, 3)
	var requests counter
	defer w.sim.Relay().Observe(func(o relay.Observation) {
		if o.Phone == c.phone.Number() && o.Device == 0 && o.Tag == "message" && o.Kind == relay.Acknowledged {
			requests.add("all")
		}
	})()
	fetch := func(wg *sync.WaitGroup, limit int) {
		wg.Go(func() {
			got, err := w.fleet.FetchHistory(within(t), c.ID(), chat, limit)
			if err != nil || len(got) != limit {
				t.Errorf("%d messages, %v", len(got), err)
			}
		})
	}
	var wg sync.WaitGroup
	joined := afterPages(w, c, 1, func() { // the run is under way: these raise its goal
		for i := range 8 {
			fetch(&wg, 60+20*i)
		}
	})
	fetch(&wg, 150)
	joined()
	wg.Wait()
	require.Equal(t, 4, requests.of("all"), "200 messages are four pages, whoever asks")
	require.Len(t, c.all(chat), 203)
}

func TestSoManyChatsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{})
	c.phone.SetSilent(true)
	errs := make(chan error, 17)
	for i := range cap(errs) { // one more than may be
		chat := tenant.PersonID(strconv.Itoa(5511900000000 + i))
		_, err := c.Commit(within(t), tenant.PutChat{ID: chat})
		require.NoError(t, err)
		ctx := within(t)
		fleet := w.fleet
		go func() {
			_, err := fleet.FetchHistory(ctx, c.ID(), chat, 10)
			errs <- err
		}()
	}
	require.ErrorIs(t, <-errs, session.ErrBusy)
	w.halt()
	for range cap(errs) - 1 {
		var offline *session.OfflineError
		require.ErrorAs(t, <-errs, &offline)
	}
}

func TestHistoriesAfterPairingTellHowFarTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	friend := w.phone(wasim.PhoneConfig{})
	c := w.tenant()
	news, stop := w.fleet.Live(c.ID())
	defer stop()
	c.pair(w.phone(wasim.PhoneConfig{History: []phone.Chat{{Phone: friend.Number(), Messages: pastOf(12)}}}))
	hundred := 100
	require.Equal(t, []tenant.HistoryProgress{{Sync: tenant.HistoryBootstrap, Progress: &hundred, Received: 2, Done: true}}, progressOf(t, news, ""))
	require.Equal(t, []tenant.HistoryProgress{{Sync: tenant.HistoryRecent, Progress: &hundred, Received: 10, Done: true}}, progressOf(t, news, ""))
}
