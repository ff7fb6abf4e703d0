package session_test

import (
	"context"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// once sends a text under an idempotency key.
func (c *customer) once(ctx context.Context, key string, chat tenant.ChatID, text string) (tenant.Message, error) {
	request := session.RequestKey{Key: key, Request: sha256.Sum256([]byte(string(chat) + text))}
	return c.w.fleet.Once(ctx, c.ID(), request, func(ctx context.Context) (tenant.Message, error) {
		return c.w.fleet.SendText(ctx, c.ID(), chat, session.TextMessage{Text: text})
	})
}

func TestOneKeySendsOnce(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, other, ana := w.paired(wasim.PhoneConfig{}), w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
		const callers = 8
		sent, errs := make([]tenant.Message, callers), make([]error, callers)
		var group sync.WaitGroup
		for i := range callers {
			group.Go(func() { sent[i], errs[i] = c.once(within(t), "key", c.chatID(ana), "once") })
		}
		group.Wait()
		for i := range callers {
			require.NoError(t, errs[i])
			require.Equal(t, sent[0].ID, sent[i].ID)
			require.GreaterOrEqual(t, sent[i].Status, tenant.StatusSent)
		}
		again, err := c.once(within(t), "key", c.chatID(ana), "once")
		require.NoError(t, err)
		require.Equal(t, sent[0].ID, again.ID)
		_, err = c.once(within(t), "key", c.chatID(ana), "twice")
		require.ErrorIs(t, err, session.ErrKeyReused)
		theirs, err := other.once(within(t), "key", c.chatID(ana), "theirs")
		require.NoError(t, err, "keys are each tenant's own")
		require.NotEqual(t, sent[0].ID, theirs.ID)

		w.restart()
		c.until(session.Online)
		again, err = c.once(within(t), "key", c.chatID(ana), "once")
		require.NoError(t, err)
		require.Equal(t, sent[0].ID, again.ID)
		c.send(c.chatID(ana), "done")
		_, err = ana.WaitEntry(within(t), 0, hasText("done"))
		require.NoError(t, err)
		require.Equal(t, 1, c.countTexts(ana, "once"))
		require.Zero(t, c.countTexts(ana, "twice"))
		require.Len(t, c.events(tenant.EventMessageSent), 2)
	})
}

func TestAKeyGoesOnFromWhereItsMessageIs(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
		c.send(c.chatID(ana), "warm")
		w.anew(func(p *session.Pace) { p.SendTimeout = 700 * time.Millisecond }, c)
		c.fault(relay.FaultStall, 0, 0) // the line is dead, and nobody knows
		_, err := c.once(within(t), "key", c.chatID(ana), "late")
		var unanswered *session.UnansweredError
		require.ErrorAs(t, err, &unanswered)
		id := unanswered.Message.ID
		_, err = c.once(within(t), "key", c.chatID(ana), "late")
		require.ErrorAs(t, err, &unanswered, "it is tried again, and the line is still dead")
		require.Equal(t, id, unanswered.Message.ID)

		_, err = w.fleet.Disconnect(within(t), c.ID())
		require.NoError(t, err)
		_, err = c.once(within(t), "key", c.chatID(ana), "late")
		var offline *session.OfflineError
		require.ErrorAs(t, err, &offline)
		require.Equal(t, id, offline.Pending)
		_, err = c.once(within(t), "key", c.chatID(ana), "other")
		require.ErrorIs(t, err, session.ErrKeyReused)

		w.anew(func(p *session.Pace) { p.SendTimeout = 0 })
		_, err = w.fleet.Connect(within(t), c.ID())
		require.NoError(t, err)
		c.until(session.Online)
		sent, err := c.once(within(t), "key", c.chatID(ana), "late")
		require.NoError(t, err)
		require.Equal(t, id, sent.ID)
		require.GreaterOrEqual(t, sent.Status, tenant.StatusSent)
		c.send(c.chatID(ana), "done")
		_, err = ana.WaitEntry(within(t), 0, hasText("done"))
		require.NoError(t, err)
		require.Equal(t, 1, c.countTexts(ana, "late"))

		_, err = c.Commit(within(t), tenant.DeleteChat{ID: c.chatID(ana)})
		require.NoError(t, err)
		_, err = c.once(within(t), "key", c.chatID(ana), "late")
		require.ErrorIs(t, err, tenant.ErrChatNotFound, "what was deleted here was sent all the same")
	})
}

func TestWhatStoresNothingLeavesNoKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	_, err := c.once(within(t), "key", tenant.PersonID(number()), "nobody")
	require.ErrorIs(t, err, tenant.ErrChatNotFound)
	_, err = w.fleet.Disconnect(within(t), c.ID())
	require.NoError(t, err)
	_, err = c.once(within(t), "key", c.chatID(ana), "offline")
	var offline *session.OfflineError
	require.ErrorAs(t, err, &offline)
	require.Empty(t, offline.Pending)
	_, err = c.Answer(within(t), "key")
	require.ErrorIs(t, err, tenant.ErrAnswerNotFound)

	_, err = w.fleet.Connect(within(t), c.ID())
	require.NoError(t, err)
	c.until(session.Online)
	_, err = c.once(within(t), "key", c.chatID(ana), "at last")
	require.NoError(t, err)

	// One that WhatsApp refuses was stored.
	c.fault(relay.FaultNack, 479, 1)
	_, err = c.once(within(t), "refused", c.chatID(ana), "refused")
	var refused *session.RejectedError
	require.ErrorAs(t, err, &refused)
	id := refused.Message.ID
	_, err = c.once(within(t), "refused", c.chatID(ana), "refused")
	require.ErrorAs(t, err, &refused)
	require.Equal(t, id, refused.Message.ID)
}

func TestATwinGoesOnWhenTheFirstCallerLeaves(t *testing.T) {
	t.Parallel()
	var leave atomic.Pointer[context.CancelFunc]
	left, goOn := make(chan struct{}), make(chan struct{})
	w := newWorld(t, sqlite(), func(w *world) {
		w.wrap = func(s tenant.Store) tenant.Store {
			return &between{s, func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
				if put, _ := putting(changes); put.Message.Text == "twin" {
					if stop := leave.Swap(nil); stop != nil {
						(*stop)() // the first caller hangs up while its commit is under way, which takes as long as the second one's
						close(left)
						<-goOn
					}
				}
				return h.Commit(ctx, changes...)
			}}
		}
	})
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	c.send(c.chatID(ana), "warm")
	ctx, stop := context.WithCancel(within(t))
	leave.Store(&stop)
	var group sync.WaitGroup
	group.Go(func() {
		_, err := c.once(ctx, "key", c.chatID(ana), "twin")
		if err == nil {
			t.Error("the first caller has left")
		}
	})
	<-left
	second, err := c.once(within(t), "key", c.chatID(ana), "twin")
	require.NoError(t, err)
	close(goOn)
	group.Wait()
	again, err := c.once(within(t), "key", c.chatID(ana), "twin")
	require.NoError(t, err)
	require.Equal(t, second.ID, again.ID)
	w.restart() // whatever the first one left behind has ended
	c.until(session.Online)
	c.send(c.chatID(ana), "done")
	_, err = ana.WaitEntry(within(t), 0, hasText("done"))
	require.NoError(t, err)
	require.Equal(t, 1, c.countTexts(ana, "twin"))
	require.Len(t, c.events(tenant.EventMessageSent), 3)
}
