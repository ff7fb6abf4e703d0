package session_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
)

// TestMessagesOfAllComeBeforeWhatASessionLooksUp after its login; but whoever asks for that gets it.
func TestMessagesOfAllComeBeforeWhatASessionLooksUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), func(w *world) { w.pace.RushPatience = time.Hour })
	owner, ana := w.phone(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	require.NoError(t, owner.Block(within(t), ana.Number(), true))
	leave := w.fleet.Rush()
	c := w.tenant()
	c.pair(owner)
	c.until(session.Online)
	ids, err := w.fleet.Blocklist(within(t), c.ID())
	require.NoError(t, err)
	require.Equal(t, []tenant.ChatID{c.chatID(ana)}, ids)
	require.False(t, w.fleet.HasReadGroups(c.ID()))
	leave()
	eventually(t, func() bool { return w.fleet.HasReadGroups(c.ID()) })
}

// lookers counts who looks for pending messages.
type lookers struct {
	tenant.Store

	times *atomic.Int64
}

func (s lookers) Tenant(id tenant.ID) tenant.Handle { return looker{s.Store.Tenant(id), s.times} }

type looker struct {
	tenant.Handle

	times *atomic.Int64
}

func (h looker) Pending(ctx context.Context, limit int) ([]tenant.Message, error) {
	h.times.Add(1)
	return h.Handle.Pending(ctx, limit)
}

func TestWhoHasSentEverythingDoesNotLookWhatToSendAgain(t *testing.T) {
	t.Parallel()
	var times atomic.Int64
	w := newWorld(t, sqlite(), func(w *world) {
		w.wrap = func(s tenant.Store) tenant.Store { return lookers{s, &times} }
	})
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	chat := c.chatID(ana)
	sent := c.send(chat, "sent")
	c.message(chat, string(sent.ID), is(tenant.StatusDelivered))
	w.restart()
	times.Store(0)
	c.until(session.Online)
	answer, err := ana.SendText(within(t), c.phone.Number(), "an answer", phone.SendOptions{})
	require.NoError(t, err)
	c.message(chat, answer, nil) // behind what follows a login
	require.Zero(t, times.Load())

	w.halt()
	again := sent
	again.ID, again.Status, again.Payload = "3EB0PENDING", tenant.StatusPending, c.message(chat, string(sent.ID), nil).Payload
	_, err = c.Commit(within(t), tenant.PutMessage{Message: again, Live: true})
	require.NoError(t, err)
	w.start()
	c.message(chat, string(again.ID), is(tenant.StatusDelivered))
	require.NotZero(t, times.Load())
}
