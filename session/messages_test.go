package session_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// between stands between the fleet and its store.
type between struct {
	tenant.Store

	commit func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error)
}

func (b *between) Tenant(id tenant.ID) tenant.Handle { return &betweenHandle{b.Store.Tenant(id), b} }

type betweenHandle struct {
	tenant.Handle

	b *between
}

func (h *betweenHandle) Commit(ctx context.Context, changes ...tenant.Change) (tenant.Result, error) {
	return h.b.commit(h.Handle, ctx, changes)
}

// putting returns the text of the message that the changes put, if any.
func putting(changes []tenant.Change) (tenant.PutMessage, bool) {
	for _, change := range changes {
		if put, ok := change.(tenant.PutMessage); ok {
			return put, true
		}
	}
	return tenant.PutMessage{}, false
}

func TestRefusesWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	send := func(chat tenant.ChatID, m session.TextMessage) error {
		_, err := w.fleet.SendText(within(t), c.ID(), chat, m)
		return err
	}
	require.ErrorIs(t, send(tenant.PersonID(number()), session.TextMessage{Text: "x"}), tenant.ErrChatNotFound)
	require.ErrorIs(t, send(tenant.HiddenID("123456789012345"), session.TextMessage{Text: "x"}), tenant.ErrChatNotFound)
	require.ErrorIs(t, send(tenant.GroupID("120363000000000001"), session.TextMessage{Text: "x"}), tenant.ErrChatNotFound)
	require.ErrorIs(t, send(c.chatID(ana), session.TextMessage{Text: "x", ReplyTo: "NONE"}), tenant.ErrMessageNotFound)
	c.send(c.chatID(ana), "hello")
	require.ErrorIs(t, send(c.chatID(ana), session.TextMessage{Text: "x", ReplyTo: "NONE"}), tenant.ErrMessageNotFound)

	unpaired := w.tenant()
	_, err := w.fleet.SendText(within(t), unpaired.ID(), c.chatID(ana), session.TextMessage{Text: "x"})
	var offline *session.OfflineError
	require.ErrorAs(t, err, &offline)
	require.Equal(t, session.Unpaired, offline.View.State)
	_, err = w.fleet.SendText(within(t), tenant.NewID(), c.chatID(ana), session.TextMessage{Text: "x"})
	require.ErrorIs(t, err, tenant.ErrNotFound)
	w.halt()
}

func TestAPersonIsOneChat(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		for name, order := range map[string][2]phone.SendOptions{
			"LID, then number": {{ViaLID: true}, {ViaPN: true}},
			"number, then LID": {{ViaPN: true}, {ViaLID: true}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, engine)
				c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{Name: "Ana"})
				var ids []string
				for i, opts := range order {
					id, err := ana.SendText(within(t), c.phone.Number(), fmt.Sprint("message ", i), opts)
					require.NoError(t, err)
					ids = append(ids, id)
				}
				for _, id := range ids {
					c.message(c.chatID(ana), id, nil)
				}
				c.send(tenant.HiddenID(ana.LID().User), "to the LID")
				c.send(c.chatID(ana), "to the number")
				require.Len(t, c.all(c.chatID(ana)), 4)
				var chats []tenant.Chat
				for chat, err := range c.Chats(within(t), tenant.ChatQuery{}) {
					require.NoError(t, err)
					chats = append(chats, chat)
				}
				require.Len(t, chats, 1)
				require.Equal(t, c.chatID(ana), chats[0].ID)
				require.Equal(t, "Ana", chats[0].Name)
				for _, text := range []string{"to the LID", "to the number"} {
					_, err := ana.WaitEntry(within(t), 0, hasText(text))
					require.NoError(t, err)
				}
			})
		}
	})
}

func TestOwnPhoneSendsToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	id, err := c.phone.SendText(within(t), ana.Number(), "from the phone", phone.SendOptions{})
	require.NoError(t, err)
	m := c.message(c.chatID(ana), id, nil)
	require.True(t, m.FromMe)
	require.GreaterOrEqual(t, m.Status, tenant.StatusSent)
	require.Equal(t, tenant.PersonID(c.phone.Number()), m.SenderID)
	require.Len(t, c.events(tenant.EventMessageSent), 1)

	// What the phone reads is read here.
	in, err := ana.SendText(within(t), c.phone.Number(), "answer", phone.SendOptions{})
	require.NoError(t, err)
	c.message(c.chatID(ana), in, nil)
	_, err = c.phone.WaitEntry(within(t), 0, hasText("answer"))
	require.NoError(t, err)
	unread := func() int {
		chat, err := c.Chat(within(t), c.chatID(ana))
		require.NoError(t, err)
		return chat.UnreadCount
	}
	require.Equal(t, 1, unread())
	require.NoError(t, c.phone.MarkRead(within(t), ana.Number(), []string{in}))
	eventually(t, func() bool { return unread() == 0 })
}

func TestInboundIsStoredBeforeItIsAcknowledged(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
		var early, seen counter
		defer w.sim.Relay().Observe(func(o relay.Observation) {
			if o.Phone != c.phone.Number() || o.Device == 0 || o.Tag != "message" || o.Kind != relay.Acknowledged || o.Peer != ana.Number() {
				return
			}
			seen.add("acks")
			if _, err := c.Message(t.Context(), c.chatID(ana), tenant.MessageID(o.ID), ""); err != nil {
				early.add("acks")
			}
		})()
		const n = 50
		for i := range n {
			_, err := ana.SendText(within(t), c.phone.Number(), strconv.Itoa(i), phone.SendOptions{})
			require.NoError(t, err)
		}
		eventually(t, func() bool { return seen.of("acks") >= n })
		require.Zero(t, early.of("acks"), "acknowledged before it was stored")
		require.Len(t, c.all(c.chatID(ana)), n)
	})
}

func TestWaitsForTheStore(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	w := newWorld(t, sqlite(), func(w *world) {
		w.wrap = func(s tenant.Store) tenant.Store {
			return &between{s, func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
				if away.Load() {
					return tenant.Result{}, fmt.Errorf("commit: %w", tenant.ErrUnavailable)
				}
				return h.Commit(ctx, changes...)
			}}
		}
	})
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	first, err := ana.SendText(within(t), c.phone.Number(), "before", phone.SendOptions{})
	require.NoError(t, err)
	c.message(c.chatID(ana), first, nil)
	var acks counter
	defer w.sim.Relay().Observe(func(o relay.Observation) {
		if o.Phone == c.phone.Number() && o.Device != 0 && o.Tag == "message" && o.Kind == relay.Acknowledged {
			acks.add(o.ID)
		}
	})()
	away.Store(true)
	id, err := ana.SendText(within(t), c.phone.Number(), "meanwhile", phone.SendOptions{})
	require.NoError(t, err)
	_, err = w.fleet.SendText(within(t), c.ID(), c.chatID(ana), session.TextMessage{Text: "no"})
	require.ErrorIs(t, err, tenant.ErrUnavailable)
	_, err = c.phone.WaitEntry(within(t), 0, hasText("meanwhile")) // the other device has it long since
	require.NoError(t, err)
	require.Zero(t, acks.of(id))
	away.Store(false)
	require.Equal(t, "meanwhile", c.message(c.chatID(ana), id, nil).Text)
	eventually(t, func() bool { return acks.of(id) == 1 })
	require.Len(t, c.all(c.chatID(ana)), 2)
	require.Empty(t, c.outgoing(), "nothing of a refused send is left")
}

func (c *customer) outgoing() []tenant.Message {
	c.w.t.Helper()
	pending, err := c.Pending(within(c.w.t), 100)
	require.NoError(c.w.t, err)
	return pending
}

func TestGivesUpTheConnectionWhenTheStoreIsAwayTooLong(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	w := newWorld(t, sqlite(), slowly, func(w *world) {
		w.pace.StoreBlocked = time.Second
		w.wrap = func(s tenant.Store) tenant.Store {
			return &between{s, func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
				if _, put := putting(changes); put && away.Load() {
					return tenant.Result{}, fmt.Errorf("commit: %w", tenant.ErrUnavailable)
				}
				return h.Commit(ctx, changes...)
			}}
		}
	})
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	away.Store(true)
	id, err := ana.SendText(within(t), c.phone.Number(), "hello", phone.SendOptions{})
	require.NoError(t, err)
	eventually(t, func() bool { return c.view().Reason == "store_unavailable" })
	away.Store(false)
	c.message(c.chatID(ana), id, nil)
	c.until(session.Online)
	require.Len(t, c.all(c.chatID(ana)), 1)
}

// A fault of the database that is neither a loss of connection nor the entry's own must not cost the message.
func TestABrokenDatabaseLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), slowly)
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	first, err := ana.SendText(within(t), c.phone.Number(), "before", phone.SendOptions{})
	require.NoError(t, err)
	c.message(c.chatID(ana), first, nil)
	var acks counter
	defer w.sim.Relay().Observe(func(o relay.Observation) {
		if o.Phone == c.phone.Number() && o.Device != 0 && o.Tag == "message" && o.Kind == relay.Acknowledged {
			acks.add(o.ID)
		}
	})()
	_, err = w.store.Database().Exec(within(t), "ALTER TABLE message RENAME TO message_away")
	require.NoError(t, err)
	id, err := ana.SendText(within(t), c.phone.Number(), "meanwhile", phone.SendOptions{})
	require.NoError(t, err)
	eventually(t, func() bool { return acks.of(id) > 0 || c.view().Reason == "store_unavailable" })
	_, err = w.store.Database().Exec(within(t), "ALTER TABLE message_away RENAME TO message")
	require.NoError(t, err)
	require.Zero(t, acks.of(id), "acknowledged, and stored nowhere")
	require.Equal(t, "meanwhile", c.message(c.chatID(ana), id, nil).Text)
}

func TestPoisonIsContained(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), func(w *world) {
		w.wrap = func(s tenant.Store) tenant.Store {
			return &between{s, func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
				switch put, _ := putting(changes); {
				case strings.Contains(put.Message.Text, "panic"):
					panic("poisoned by " + put.Message.Text)
				case strings.Contains(put.Message.Text, "refuse"):
					return tenant.Result{}, fmt.Errorf("no engine takes this: %w", tenant.ErrRefused)
				}
				return h.Commit(ctx, changes...)
			}}
		}
	})
	c, other, ana := w.paired(wasim.PhoneConfig{}), w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	since := other.view().Since
	for _, text := range []string{"panic", "refuse"} {
		id, err := ana.SendText(within(t), c.phone.Number(), text, phone.SendOptions{})
		require.NoError(t, err)
		m := c.message(c.chatID(ana), id, nil)
		require.Equal(t, tenant.TypeUnsupported, m.Type)
		var raw waE2E.Message
		require.NoError(t, proto.Unmarshal(m.Payload, &raw))
		require.Equal(t, text, raw.GetConversation())
	}
	id, err := ana.SendText(within(t), c.phone.Number(), "next", phone.SendOptions{})
	require.NoError(t, err)
	c.message(c.chatID(ana), id, nil)
	require.Equal(t, session.Online, c.view().State)
	require.Equal(t, since, other.view().Since)
	families, err := w.reg.Gather()
	require.NoError(t, err)
	var panics float64
	for _, family := range families {
		if family.GetName() == "wafleet_panics_total" {
			for _, metric := range family.GetMetric() {
				if metric.GetLabel()[0].GetValue() == "commit" {
					panics += metric.GetCounter().GetValue()
				}
			}
		}
	}
	require.InDelta(t, 1, panics, 0)
}

func TestPendingMessagesGoOutAgainUnderTheirIDs(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
		c.send(c.chatID(ana), "warm")
		w.anew(func(p *session.Pace) { p.SendTimeout = 700 * time.Millisecond }, c)

		c.fault(relay.FaultStall, 0, 0) // the line is dead, and nobody knows
		_, err := w.fleet.SendText(within(t), c.ID(), c.chatID(ana), session.TextMessage{Text: "lost?"})
		var unanswered *session.UnansweredError
		require.ErrorAs(t, err, &unanswered)
		require.Equal(t, tenant.StatusPending, unanswered.Message.Status)
		require.Len(t, c.outgoing(), 1)

		w.anew(func(p *session.Pace) { p.SendTimeout = 0 }) // a new node knows it from the store alone
		c.message(c.chatID(ana), string(unanswered.Message.ID), func(m *tenant.Message) bool { return m.Status >= tenant.StatusSent })
		entry, err := ana.WaitEntry(within(t), 0, hasText("lost?"))
		require.NoError(t, err)
		require.Equal(t, []string{string(unanswered.Message.ID)}, entry.IDs)
		require.Empty(t, c.outgoing())

		// An acknowledgement that is lost: WhatsApp has the message, and gets it again.
		c.send(c.chatID(ana), "done")
		var texts int
		for _, e := range ana.Inbox(0) {
			if e.Kind == phone.KindMessage && e.Text == "lost?" {
				texts++
			}
		}
		require.Equal(t, 1, texts)
	})
}

func TestACallerThatLeavesWhileItsMessageIsStored(t *testing.T) {
	t.Parallel()
	var cancel atomic.Pointer[context.CancelFunc]
	w := newWorld(t, sqlite(), func(w *world) {
		w.wrap = func(s tenant.Store) tenant.Store {
			return &between{s, func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
				if put, _ := putting(changes); put.Message.Text == "leaves" {
					(*cancel.Load())() // the caller hangs up when the commit is under way
					result, err := h.Commit(context.WithoutCancel(ctx), changes...)
					if ctx.Err() != nil {
						return tenant.Result{}, context.Cause(ctx)
					}
					return result, err
				}
				return h.Commit(ctx, changes...)
			}}
		}
	})
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	c.send(c.chatID(ana), "warm")
	ctx, stop := context.WithCancel(within(t))
	cancel.Store(&stop)
	_, err := w.fleet.SendText(ctx, c.ID(), c.chatID(ana), session.TextMessage{Text: "leaves"})
	require.Error(t, err)
	require.ErrorIs(t, err, context.Canceled)
	eventually(t, func() bool { return len(c.outgoing()) == 0 })
	_, err = ana.WaitEntry(within(t), 0, hasText("leaves"))
	require.NoError(t, err)
}

func TestAMessageThatCannotGoOutHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	c.send(c.chatID(ana), "warm")
	w.halt()
	payload, err := proto.Marshal(&waE2E.Message{Conversation: new("waits")})
	require.NoError(t, err)
	const never, soon = "3EB0AAAAAAAAAAAAAAAAAA", "3EB0BBBBBBBBBBBBBBBBBB"
	for _, m := range []tenant.Message{{ID: never, ChatID: tenant.GroupID("120363000000000001")}, {ID: soon, ChatID: c.chatID(ana)}} {
		m.SenderID, m.FromMe, m.Timestamp = tenant.PersonID(c.phone.Number()), true, time.Now().UTC()
		m.Type, m.Text, m.Status, m.Payload = tenant.TypeText, "waits", tenant.StatusPending, payload
		_, err = c.Commit(within(t), tenant.PutMessage{Message: m})
		require.NoError(t, err)
	}
	w.start()
	c.until(session.Online)
	c.message(c.chatID(ana), soon, func(m *tenant.Message) bool { return m.Status >= tenant.StatusSent })
	c.message(tenant.GroupID("120363000000000001"), never, is(tenant.StatusFailed)) // there is no such group
	require.Empty(t, c.outgoing())
}

func TestGivesUpWhatIsPendingTooLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	c.send(c.chatID(ana), "warm")
	w.anew(func(p *session.Pace) { p.SendTimeout, p.ResendAge = 3*time.Second, time.Nanosecond }, c)
	c.fault(relay.FaultStall, 0, 0)
	_, err := w.fleet.SendText(within(t), c.ID(), c.chatID(ana), session.TextMessage{Text: "late"})
	var unanswered *session.UnansweredError
	require.ErrorAs(t, err, &unanswered)
	w.restart()
	c.message(c.chatID(ana), string(unanswered.Message.ID), is(tenant.StatusFailed))
}

func TestManyMessagesEachWayAtOnce(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a while")
	}
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		const n = 1000
		w := newWorld(t, engine)
		c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{Name: "Ana"})
		chat := c.chatID(ana)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		var failures counter
		wg.Go(func() {
			for i := range n {
				if _, err := ana.SendText(ctx, c.phone.Number(), fmt.Sprint("in ", i), phone.SendOptions{}); err != nil {
					failures.add(err.Error())
				}
			}
		})
		const senders = 4
		for s := range senders {
			wg.Go(func() {
				for i := s; i < n; i += senders {
					if _, err := w.fleet.SendText(ctx, c.ID(), chat, session.TextMessage{Text: fmt.Sprint("out ", i)}); err != nil {
						failures.add(err.Error())
					}
				}
			})
		}
		wg.Wait()
		require.Empty(t, failures.n)
		in := func() (count int) {
			for _, m := range c.all(chat) {
				if !m.FromMe {
					count++
				}
			}
			return count
		}
		grew, release := c.Watch()
		defer release()
		for in() < n {
			select {
			case <-grew:
			case <-ctx.Done():
				require.FailNow(t, "messages are missing", "%d of %d", in(), n)
			}
		}
		require.Equal(t, n, in())
		require.Len(t, c.all(chat), 2*n)
		texts := make(map[string]int)
		for last := uint64(0); len(texts) < n; {
			entries, err := ana.WaitInbox(ctx, last)
			require.NoError(t, err, "%d of %d", len(texts), n)
			for _, e := range entries {
				if last = e.Seq; e.Kind == phone.KindMessage && !e.FromMe {
					texts[e.Text]++
				}
			}
		}
		require.Len(t, texts, n)
		for text, times := range texts {
			require.Equal(t, 1, times, text)
		}
	})
}

// TestWhatIsSaidOfAMessageIsRead: a send is answered before its status is stored, but nobody who reads through the fleet sees the difference.
func TestWhatIsSaidOfAMessageIsRead(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	w := newWorld(t, sqlite(), func(w *world) {
		w.wrap = func(s tenant.Store) tenant.Store {
			return &between{Store: s, commit: func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
				if _, status := changes[0].(tenant.SetStatus); status {
					<-held
				}
				return h.Commit(ctx, changes...)
			}}
		}
	})
	release := sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	chat := c.chatID(ana)
	sent := c.send(chat, "hello")
	require.Equal(t, tenant.StatusSent, sent.Status)
	stored, err := c.Message(within(t), chat, sent.ID, "")
	require.NoError(t, err)
	require.Equal(t, tenant.StatusPending, stored.Status)

	fresh := w.fleet.Fresh(c.Handle)
	same := func(m *tenant.Message) {
		t.Helper()
		require.Equal(t, sent.ID, m.ID)
		require.Equal(t, sent.Status, m.Status)
		require.Equal(t, sent.Timestamp, m.Timestamp)
	}
	one, err := fresh.Message(within(t), chat, sent.ID, "")
	require.NoError(t, err)
	same(&one)
	page, err := fresh.Messages(within(t), chat, tenant.MessageQuery{Limit: 1})
	require.NoError(t, err)
	same(&page.Messages[0])
	shown, err := fresh.Chat(within(t), chat)
	require.NoError(t, err)
	same(shown.LastMessage)
	for shown, err = range fresh.Chats(within(t), tenant.ChatQuery{Limit: 1}) {
		require.NoError(t, err)
		same(shown.LastMessage)
	}
	edited, err := w.fleet.EditText(within(t), c.ID(), session.MessageRef{Chat: chat, ID: sent.ID}, "hello again")
	require.NoError(t, err)
	same(&edited)

	release()
	c.message(chat, string(sent.ID), func(m *tenant.Message) bool { return m.Status >= tenant.StatusSent })
	eventually(t, func() bool { return w.fleet.Fresh(c.Handle) == c.Handle }) // there is nothing to add any more
}
