package session_test

import (
	"context"
	"encoding/json"
	"strconv"
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

// text tries to send a text.
func (c *customer) text(chat tenant.ChatID, text string) error {
	c.w.t.Helper()
	_, err := c.w.fleet.SendText(within(c.w.t), c.ID(), chat, session.TextMessage{Text: text})
	return err
}

// limited asserts that a limit is used up.
func limited(t *testing.T, err error, limit string) time.Duration {
	t.Helper()
	var used *session.LimitError
	require.ErrorAs(t, err, &used)
	require.Equal(t, limit, used.Limit)
	require.Positive(t, used.After)
	return used.After
}

// set overrides limits of the customer's.
func (c *customer) set(p map[string]int64) {
	c.w.t.Helper()
	patch := tenant.LimitPatch{}
	for name, value := range p {
		patch[name] = &value
	}
	require.NoError(c.w.t, c.w.book.Set(within(c.w.t), c.ID(), patch))
}

func TestColdChatsAreBudgetedByDay(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine, func(w *world) { w.limits.ColdChatsPerDay = 2 })
		c, other := w.paired(wasim.PhoneConfig{}), w.paired(wasim.PhoneConfig{})
		ana, bia, eva, friend := w.phone(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
		sent, err := friend.SendText(within(t), c.phone.Number(), "hello", phone.SendOptions{})
		require.NoError(t, err)
		c.message(c.chatID(friend), sent, nil)

		require.NoError(t, c.text(c.chatID(ana), "one"))
		require.NoError(t, c.text(c.chatID(ana), "the same chat"))
		require.NoError(t, c.text(c.chatID(bia), "two"))
		after := limited(t, c.text(c.chatID(eva), "three"), session.LimitColdChats)
		require.LessOrEqual(t, after, 24*time.Hour)
		require.NoError(t, c.text(c.chatID(bia), "one that counts already"))
		require.NoError(t, c.text(c.chatID(friend), "whoever wrote is not cold"))
		require.NoError(t, other.text(c.chatID(eva), "the budget is each tenant's own"))

		w.restart()
		c.until(session.Online)
		limited(t, c.text(c.chatID(eva), "a restart gives nothing back"), session.LimitColdChats)
		require.NoError(t, c.text(c.chatID(ana), "one that counts already"))
		usage, err := w.fleet.Usage(within(t), c.ID())
		require.NoError(t, err)
		require.EqualValues(t, 2, usage.ColdChatsToday)

		c.set(map[string]int64{"coldChatsPerDay": 3})
		require.NoError(t, c.text(c.chatID(eva), "the limit is another now"))
		require.NoError(t, c.apply(tenant.DeleteChat{ID: c.chatID(friend)}))
		limited(t, c.text(c.chatID(friend), "a chat that was deleted here is cold"), session.LimitColdChats)
	})
}

// apply commits a change.
func (c *customer) apply(change tenant.Change) error {
	_, err := c.Commit(within(c.w.t), change)
	return err
}

// TestOnlyWhatIsStoredCountsAgainstTheDay has sends to numbers that are not on WhatsApp, and more at once than the budget has.
func TestOnlyWhatIsStoredCountsAgainstTheDay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), func(w *world) { w.limits.ColdChatsPerDay, w.limits.NumberChecksPerHour = 3, 60 })
	c := w.paired(wasim.PhoneConfig{})
	require.ErrorIs(t, c.text(tenant.PersonID(number()), "nobody"), tenant.ErrChatNotFound)
	usage, err := w.fleet.Usage(within(t), c.ID())
	require.NoError(t, err)
	require.Zero(t, usage.ColdChatsToday)
	require.EqualValues(t, 59, usage.NumberChecksLeft, "to look somebody up is to check a number")

	phones := make([]*phone.Phone, 6)
	outcomes := make(chan error, len(phones))
	for i := range phones {
		phones[i] = w.phone(wasim.PhoneConfig{})
	}
	for _, p := range phones {
		go func() { outcomes <- c.text(tenant.PersonID(p.Number()), "hello") }()
	}
	passed := 0
	for range phones {
		if err := <-outcomes; err == nil {
			passed++
		} else {
			limited(t, err, session.LimitColdChats)
		}
	}
	require.Equal(t, 3, passed)
	spent, err := c.Spent(within(t), tenant.DayOf(time.Now()))
	require.NoError(t, err)
	require.Len(t, spent.ColdChats, 3)
}

func TestSendsHaveAPaceAndAreBoundedAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), func(w *world) { w.pace.SendPatience = time.Millisecond })
	c, other, ana := w.paired(wasim.PhoneConfig{}), w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	c.set(map[string]int64{"sendsPerMinute": 1, "sendBurst": 2})
	chat := c.chatID(ana)
	m := c.send(chat, "one")
	require.NoError(t, c.text(chat, "two"))
	require.Greater(t, limited(t, c.text(chat, "three"), session.LimitSends), 30*time.Second)
	_, err := w.fleet.React(within(t), c.ID(), session.MessageRef{Chat: chat, ID: m.ID}, "👍")
	limited(t, err, session.LimitSends)
	require.NoError(t, other.text(chat, "the pace is each account's own"))
	c.set(map[string]int64{"sendsPerMinute": 0, "concurrentSends": 1})
	require.NoError(t, c.text(chat, "no pace"))

	// WhatsApp reads nothing more: the next send waits.
	require.NoError(t, w.sim.Relay().Fault(relay.Fault{Kind: relay.FaultStall, Phone: c.phone.Number()}))
	ctx, cancel := context.WithCancel(within(t))
	waiting := make(chan error, 1)
	go func() {
		_, err := w.fleet.SendText(ctx, c.ID(), chat, session.TextMessage{Text: "waits"})
		waiting <- err
	}()
	eventually(t, func() bool {
		usage, err := w.fleet.Usage(within(t), c.ID())
		return err == nil && usage.Sending == 1
	})
	limited(t, c.text(chat, "too many at a time"), session.LimitConcurrentSends)
	cancel()
	var unanswered *session.UnansweredError
	require.ErrorAs(t, <-waiting, &unanswered)
	limited(t, c.text(chat, "it goes on although its caller has left"), session.LimitConcurrentSends)
}

func TestSendsWaitForTheirTurnIfItIsSoon(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), func(w *world) {
		w.limits.SendsPerMinute, w.limits.SendBurst = 60_000, 1
	})
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	for n := range 5 {
		require.NoError(t, c.text(c.chatID(ana), strconv.Itoa(n)))
	}
}

func TestStorageThatIsFullRefusesSendsAlone(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
		chat := c.chatID(ana)
		m := c.send(chat, "before")
		c.set(map[string]int64{"storageBytes": 1})
		limited(t, c.text(chat, "too much is kept"), session.LimitStorage)
		limited(t, w.fleet.CheckUpload(within(t), c.ID(), 0), session.LimitStorage)
		sent, err := ana.SendText(within(t), c.phone.Number(), "is stored all the same", phone.SendOptions{})
		require.NoError(t, err)
		c.message(chat, sent, nil)
		_, err = w.fleet.EditText(within(t), c.ID(), session.MessageRef{Chat: chat, ID: m.ID}, "after")
		require.NoError(t, err, "a change takes no room")
		c.set(map[string]int64{"storageBytes": 1 << 30})
		require.NoError(t, c.text(chat, "there is room again"))
	})
}

// locked waits until the session's time lock is as it should be.
func (c *customer) locked(cause string) tenant.ReachoutLock {
	c.w.t.Helper()
	var lock tenant.ReachoutLock
	eventually(c.w.t, func() bool { lock = c.view().Reachout; return lock.Cause == cause })
	return lock
}

func TestAReachoutLockPausesColdSendsAlone(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, other := w.paired(wasim.PhoneConfig{}), w.paired(wasim.PhoneConfig{})
		ana, friend := w.phone(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
		sent, err := friend.SendText(within(t), c.phone.Number(), "hello", phone.SendOptions{})
		require.NoError(t, err)
		c.message(c.chatID(friend), sent, nil)

		until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		require.NoError(t, w.sim.Relay().Reachout(c.phone.Number(), until))
		lock := c.locked(tenant.ReachoutNotified)
		require.True(t, until.Equal(lock.Until), lock.Until)
		require.Greater(t, limited(t, c.text(c.chatID(ana), "cold"), session.LimitReachout), 50*time.Minute)
		require.NoError(t, c.text(c.chatID(friend), "replies go on"))
		require.NoError(t, other.text(c.chatID(ana), "the lock is the account's own"))
		require.InDelta(t, 1, w.gauge("wafleet_reachout_locked", c.ID()), 0)
		require.Eventually(t, func() bool { return len(c.lockEvents()) == 1 }, deadline, 5*time.Millisecond)
		require.True(t, until.Equal(c.lockEvents()[0].Until))

		w.restart()
		c.until(session.Online)
		limited(t, c.text(c.chatID(ana), "a restart does not lift it"), session.LimitReachout)

		require.NoError(t, w.sim.Relay().Reachout(c.phone.Number(), time.Time{}))
		c.locked("")
		require.NoError(t, c.text(c.chatID(ana), "WhatsApp has lifted it"))
		require.InDelta(t, -1, w.gauge("wafleet_reachout_locked", c.ID()), 0)
	})
}

// gauge is the value of the tenant's series, or -1.
func (w *world) gauge(name string, id tenant.ID) float64 {
	w.t.Helper()
	families, err := w.reg.Gather()
	require.NoError(w.t, err)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if family.GetName() == name && label.GetValue() == string(id) {
					return metric.GetGauge().GetValue()
				}
			}
		}
	}
	return -1
}

// lockEvents are the time locks that the journal tells of, lifted ones not.
func (c *customer) lockEvents() []tenant.ReachoutLock {
	c.w.t.Helper()
	var all []tenant.ReachoutLock
	for _, e := range c.events(tenant.EventSessionStatus) {
		var status tenant.SessionStatus
		require.NoError(c.w.t, json.Unmarshal(e.Data, &status))
		if status.Reachout != nil {
			all = append(all, *status.Reachout)
		}
	}
	return all
}

func TestAReachoutLockEndsByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{})
	until := time.Now().Add(10 * time.Second) // also a busy machine sees it before
	require.NoError(t, w.sim.Relay().Reachout(c.phone.Number(), until))
	c.locked(tenant.ReachoutNotified)
	c.locked("")
	require.False(t, time.Now().Before(until.Truncate(time.Second)))
}

// TestARefusedFirstContactPausesTheOthers has WhatsApp refuse a message to somebody new, without a word about a lock.
func TestARefusedFirstContactPausesTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), func(w *world) { w.pace.ReachoutPause = 10 * time.Minute })
	c, ana, bia := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	require.NoError(t, w.sim.Relay().Fault(relay.Fault{Kind: relay.FaultFirstContact, Phone: c.phone.Number()}))
	err := c.text(c.chatID(ana), "cold")
	var rejected *session.RejectedError
	require.ErrorAs(t, err, &rejected)
	require.Equal(t, 463, rejected.Code)
	lock := c.locked(tenant.ReachoutRefused)
	require.WithinDuration(t, time.Now().Add(10*time.Minute), lock.Until, time.Minute)
	limited(t, c.text(c.chatID(bia), "paused"), session.LimitReachout)
	sent, err := bia.SendText(within(t), c.phone.Number(), "hello", phone.SendOptions{})
	require.NoError(t, err)
	c.message(c.chatID(bia), sent, nil)
	require.NoError(t, c.text(c.chatID(bia), "who wrote is no new contact any more"))
}

func TestBytesOfFilesAreBudgetedByDay(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine, func(w *world) {
			w.limits.UploadBytesPerDay, w.limits.DownloadBytesPerDay = 100_000, 80_000
		})
		c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
		chat := c.chatID(ana)
		file := func(size int) (tenant.Message, error) {
			return c.sendFile(chat, noise(size, 7), session.FileMessage{Kind: tenant.TypeDocument, MimeType: "application/pdf"})
		}
		m, err := file(60_000)
		require.NoError(t, err)
		limited(t, w.fleet.CheckUpload(within(t), c.ID(), 60_000), session.LimitUploadBytes)
		require.NoError(t, w.fleet.CheckUpload(within(t), c.ID(), 0))
		_, err = file(60_000)
		limited(t, err, session.LimitUploadBytes)
		_, err = file(30_000)
		require.NoError(t, err, "what was refused was not counted")

		stored, err := c.Message(within(t), chat, m.ID, "")
		require.NoError(t, err)
		got, err := w.fleet.FetchFile(within(t), c.ID(), &stored)
		require.NoError(t, err)
		got.Discard()
		_, err = w.fleet.FetchFile(within(t), c.ID(), &stored)
		limited(t, err, session.LimitDownloadBytes)

		w.restart()
		c.until(session.Online)
		_, err = w.fleet.FetchFile(within(t), c.ID(), &stored)
		limited(t, err, session.LimitDownloadBytes)
		spent, err := c.Spent(within(t), tenant.DayOf(time.Now()))
		require.NoError(t, err)
		require.EqualValues(t, 90_000, spent.UploadBytes)
		require.EqualValues(t, 60_000, spent.DownloadBytes)
	})
}
