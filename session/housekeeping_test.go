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
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// lookers counts who has looked for pending messages, for groups, and at WhatsApp for the block list.
type lookers struct {
	tenant.Store

	pending, groups, blocklists *atomic.Int64
}

func (s lookers) Tenant(id tenant.ID) tenant.Handle { return looker{s.Store.Tenant(id), s} }

type looker struct {
	tenant.Handle

	all lookers
}

func (h looker) Pending(ctx context.Context, limit int) ([]tenant.Message, error) {
	defer h.all.pending.Add(1)
	return h.Handle.Pending(ctx, limit)
}

func (h looker) Groups(ctx context.Context) ([]tenant.Group, error) {
	defer h.all.groups.Add(1)
	return h.Handle.Groups(ctx)
}

func (h looker) Commit(ctx context.Context, changes ...tenant.Change) (tenant.Result, error) {
	for _, change := range changes {
		if _, ok := change.(tenant.SetBlocklist); ok {
			h.all.blocklists.Add(1)
		}
	}
	return h.Handle.Commit(ctx, changes...)
}

// watched is a world that counts lookers.
func watched(t *testing.T, engine tenanttest.Engine, change ...func(*world)) (*world, lookers) {
	t.Helper()
	l := lookers{pending: new(atomic.Int64), groups: new(atomic.Int64), blocklists: new(atomic.Int64)}
	return newWorld(t, engine, append(change, func(w *world) {
		w.wrap = func(s tenant.Store) tenant.Store { return lookers{s, l.pending, l.groups, l.blocklists} }
	})...), l
}

// again connects anew, on the same node.
func (c *customer) again() {
	c.w.t.Helper()
	_, err := c.w.fleet.Disconnect(within(c.w.t), c.ID())
	require.NoError(c.w.t, err)
	_, err = c.w.fleet.Connect(within(c.w.t), c.ID())
	require.NoError(c.w.t, err)
	c.until(session.Online)
}

// TestMessagesOfAllComeBeforeWhatASessionLooksUp after its login; but who was just paired does not wait, nor who reads the block list.
func TestMessagesOfAllComeBeforeWhatASessionLooksUp(t *testing.T) {
	t.Parallel()
	w, looked := watched(t, sqlite(), func(w *world) { w.pace.RushPatience, w.pace.GroupsEvery = time.Hour, time.Nanosecond })
	leave := w.fleet.Rush()
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	eventually(t, func() bool { return looked.groups.Load() == 1 })
	require.NoError(t, c.phone.Block(within(t), ana.Number(), true))
	c.contact(c.chatID(ana), func(k *tenant.Contact) bool { return k.IsBlocked })
	c.again()
	before := looked.blocklists.Load()
	for range 2 {
		ids, err := w.fleet.Blocklist(within(t), c.ID())
		require.NoError(t, err)
		require.Equal(t, []tenant.ChatID{c.chatID(ana)}, ids)
	}
	require.Equal(t, before+1, looked.blocklists.Load(), "who reads it again need not ask")
	require.EqualValues(t, 1, looked.groups.Load())
	leave()
	eventually(t, func() bool { return looked.groups.Load() == 2 })
}

func TestWhoHasSentEverythingDoesNotLookWhatToSendAgain(t *testing.T) {
	t.Parallel()
	w, looked := watched(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	chat := c.chatID(ana)
	sent := c.send(chat, "sent")
	c.message(chat, string(sent.ID), is(tenant.StatusDelivered))
	w.restart()
	looked.pending.Store(0)
	c.until(session.Online)
	answer, err := ana.SendText(within(t), c.phone.Number(), "an answer", phone.SendOptions{})
	require.NoError(t, err)
	c.message(chat, answer, nil) // behind what follows a login
	require.Zero(t, looked.pending.Load())

	w.halt()
	again := sent
	again.ID, again.Status, again.Payload = "3EB0PENDING", tenant.StatusPending, c.message(chat, string(sent.ID), nil).Payload
	_, err = c.Commit(within(t), tenant.PutMessage{Message: again, Live: true})
	require.NoError(t, err)
	w.start()
	c.message(chat, string(again.ID), is(tenant.StatusDelivered))
	require.NotZero(t, looked.pending.Load())
}

func TestWhatWasCutOffGoesOutWithTheNextConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	c.send(c.chatID(ana), "warm")
	w.anew(func(p *session.Pace) { p.SendTimeout = 700 * time.Millisecond }, c)
	c.fault(relay.FaultStall, 0, 0) // the line is dead, and nobody knows
	_, err := w.fleet.SendText(within(t), c.ID(), c.chatID(ana), session.TextMessage{Text: "cut off"})
	var unanswered *session.UnansweredError
	require.ErrorAs(t, err, &unanswered)
	c.again()
	c.message(c.chatID(ana), string(unanswered.Message.ID), func(m *tenant.Message) bool { return m.Status >= tenant.StatusSent })
}

// TestWhatACommitStoresLateGoesOut: its caller was told that it is not known, and who looked meanwhile has found nothing.
func TestWhatACommitStoresLateGoesOut(t *testing.T) {
	t.Parallel()
	var url string
	postgres := tenanttest.Postgres(t)
	w, looked := watched(t, tenanttest.Engine{Name: postgres.Name, URL: func(tb testing.TB) string {
		tb.Helper()
		url = postgres.URL(tb)
		return url
	}})
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	c.send(c.chatID(ana), "warm")
	w.anew(func(p *session.Pace) { p.StoreTimeout = 3 * time.Second }, c)
	beside := tenanttest.Dawdle(t, url, "INSERT ON message", "NEW.body = 'late'")
	_, err := w.fleet.SendText(within(t), c.ID(), c.chatID(ana), session.TextMessage{Text: "late"})
	var unanswered *session.UnansweredError
	require.ErrorAs(t, err, &unanswered)
	require.True(t, unanswered.Unsure)
	before := looked.pending.Load()
	c.again()
	eventually(t, func() bool { return looked.pending.Load() > before })
	require.NoError(t, beside.Close(t.Context())) // the COMMIT goes on
	eventually(t, func() bool { return len(c.outgoing()) > 0 })
	c.again()
	c.message(c.chatID(ana), string(unanswered.Message.ID), func(m *tenant.Message) bool { return m.Status >= tenant.StatusSent })
}

func TestWhatIsPendingGoesOutWhenASessionIsTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	chat := c.chatID(ana)
	m := c.send(chat, "sent")
	m.Payload = c.message(chat, string(m.ID), is(tenant.StatusDelivered)).Payload
	require.NoError(t, w.fleet.Depart(within(t), c.ID()))
	m.ID, m.Status = "3EB0PENDING", tenant.StatusPending
	_, err := c.Commit(within(t), tenant.PutMessage{Message: m, Live: true})
	require.NoError(t, err)
	_, err = w.fleet.TakeBack(within(t), c.ID())
	require.NoError(t, err)
	_, err = w.fleet.Connect(within(t), c.ID())
	require.NoError(t, err)
	c.message(chat, string(m.ID), is(tenant.StatusDelivered))
}
