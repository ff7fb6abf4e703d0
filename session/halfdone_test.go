package session_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
)

// losing loses the answers to commits of a text: the first ones, and all while it is told to.
func losing(first int32, always *atomic.Bool) func(*world) {
	var lost atomic.Int32
	return func(w *world) {
		w.wrap = func(s tenant.Store) tenant.Store {
			return &between{s, func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
				result, err := h.Commit(ctx, changes...)
				if put, _ := putting(changes); put.Message.Text == "lost" && (always.Load() || lost.Add(1) <= first) {
					return tenant.Result{}, fmt.Errorf("commit: %w: %w", tenant.ErrUnavailable, tenant.ErrOutcomeUnknown)
				}
				return result, err
			}}
		}
	}
}

func (c *customer) countTexts(p *phone.Phone, text string) (n int) {
	for _, e := range p.Inbox(0) {
		if e.Kind == phone.KindMessage && e.Text == text {
			n++
		}
	}
	return n
}

func TestAnAnswerToACommitThatIsLostCostsNothing(t *testing.T) {
	t.Parallel()
	var never atomic.Bool
	w := newWorld(t, sqlite(), losing(2, &never))
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	sent := c.send(c.chatID(ana), "lost")
	require.Equal(t, tenant.StatusSent, sent.Status)
	c.send(c.chatID(ana), "next")
	_, err := ana.WaitEntry(within(t), 0, hasText("next"))
	require.NoError(t, err)
	require.Equal(t, 1, c.countTexts(ana, "lost"))
	require.Len(t, c.events(tenant.EventMessageSent), 2)
}

func TestAMessageThatMayBeStoredIsNamed(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	w := newWorld(t, sqlite(), losing(0, &away))
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	c.send(c.chatID(ana), "warm")
	w.anew(func(p *session.Pace) { p.StoreTimeout = 500 * time.Millisecond }, c)
	away.Store(true)
	_, err := w.fleet.SendText(within(t), c.ID(), c.chatID(ana), session.TextMessage{Text: "lost"})
	var unanswered *session.UnansweredError
	require.ErrorAs(t, err, &unanswered)
	require.True(t, unanswered.Unsure)
	require.NotEmpty(t, unanswered.Message.ID)
	away.Store(false)
	w.anew(func(p *session.Pace) { p.StoreTimeout = 0 })
	c.message(c.chatID(ana), string(unanswered.Message.ID), func(m *tenant.Message) bool { return m.Status >= tenant.StatusSent })
	_, err = ana.WaitEntry(within(t), 0, hasText("lost"))
	require.NoError(t, err)
}

// stuck are devices that cannot be deleted for a while.
type stuck struct {
	session.Devices

	away *atomic.Bool
	met  atomic.Pointer[context.CancelFunc] // called when one could not be deleted
}

func (s *stuck) Delete(ctx context.Context, id tenant.ID, jid types.JID) error {
	if s.away.Load() {
		if met := s.met.Load(); met != nil {
			(*met)()
		}
		return fmt.Errorf("delete device: %w", tenant.ErrUnavailable)
	}
	return s.Devices.Delete(ctx, id, jid)
}

func TestATenantWhoseRemovalTookTooLongLives(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	devices := &stuck{away: &away}
	w := newWorld(t, sqlite(), func(w *world) {
		w.wrapDevices = func(d session.Devices) session.Devices { devices.Devices = d; return devices }
	})
	c := w.paired(wasim.PhoneConfig{})
	away.Store(true)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	devices.met.Store(&cancel)
	_, err := w.fleet.Remove(ctx, c.ID())
	require.ErrorIs(t, err, context.Canceled)
	c.until(session.LoggedOut)
	away.Store(false)
	c.pair(w.phone(wasim.PhoneConfig{})) // once the old device is gone
	_, err = w.fleet.Remove(within(t), c.ID())
	require.NoError(t, err)
}

// A number that WhatsApp does not look up may be there: that is no 404, and the session is online.
func TestWhatsAppDoesNotSayWhetherThereIsAChat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), func(w *world) { w.pace.LookupTimeout = time.Second })
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	c.fault(relay.FaultStall, 0, 0)
	_, err := w.fleet.SendText(within(t), c.ID(), c.chatID(ana), session.TextMessage{Text: "x"})
	require.ErrorIs(t, err, session.ErrNoAnswer)
	_, err = c.Chat(within(t), c.chatID(ana))
	require.ErrorIs(t, err, tenant.ErrChatNotFound)
}
