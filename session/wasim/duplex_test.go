package wasim_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types/events"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
)

// duplex is a phone and a companion of another account that send to each other at once, and what arrived.
type duplex struct {
	contact   *phone.Phone
	companion *companion
	count     int
}

func newDuplex(t *testing.T, gated bool, count int) *duplex {
	t.Helper()
	sim := startSim(t)
	contact := addPhone(t, sim, wasim.PhoneConfig{})
	owner := addPhone(t, sim, wasim.PhoneConfig{})
	return &duplex{contact: contact, companion: link(within(t), t, sim, owner, gated), count: count}
}

// run sends with several callers on each side, as in real life.
func (d *duplex) run(ctx context.Context, t *testing.T) {
	t.Helper()
	owner := d.companion.dev.ID.User
	var senders errgroup.Group
	const callers = 4
	for first := range callers {
		senders.Go(func() error {
			for n := first; n < d.count; n += callers {
				if _, err := d.contact.SendText(ctx, owner, fmt.Sprintf("to companion %d", n), phone.SendOptions{}); err != nil {
					return fmt.Errorf("phone: %w", err)
				}
			}
			return nil
		})
		senders.Go(func() error {
			for n := first; n < d.count; n += callers {
				if err := d.companion.send(ctx, d.contact.Number(), fmt.Sprintf("DUPLEX%d", n), fmt.Sprintf("to phone %d", n)); err != nil {
					return fmt.Errorf("companion: %w", err)
				}
			}
			return nil
		})
	}
	require.NoError(t, senders.Wait())
}

// arrived counts by text what each side could decrypt.
func (d *duplex) arrived() (atPhone, atCompanion map[string]int) {
	atPhone, atCompanion = make(map[string]int), make(map[string]int)
	for _, e := range d.contact.Inbox(0) {
		if e.Kind == phone.KindMessage {
			atPhone[e.Text]++
		}
	}
	d.companion.mu.Lock()
	defer d.companion.mu.Unlock()
	for _, m := range d.companion.messages {
		if text := m.Message.GetConversation(); text != "" && !m.Info.IsFromMe {
			atCompanion[text]++
		}
	}
	return atPhone, atCompanion
}

// settle waits until the server has nothing left to deliver to the two, and answers what arrived.
func (d *duplex) settle(t *testing.T, server *relay.Server) (atPhone, atCompanion map[string]int) {
	t.Helper()
	require.Eventually(t, func() bool { return server.Stats().Messages == 0 }, deadline, 20*time.Millisecond)
	return d.arrived()
}

// Both sides begin to send at the same moment, without a session: each makes one, and both are in use for a while.
func TestNothingIsLostWhenBothSendAtOnce(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	d := newDuplex(t, true, duplexCount)
	d.run(ctx, t)
	atPhone, atCompanion := d.settle(t, d.companion.sim.Relay())
	for n := range d.count {
		require.Equal(t, 1, atPhone[fmt.Sprintf("to phone %d", n)], "to phone %d", n)
		require.Equal(t, 1, atCompanion[fmt.Sprintf("to companion %d", n)], "to companion %d", n)
	}
}

// Without the gate the same traffic loses messages in silence: that is what the test above would see. The sessions are
// made beforehand, so that nothing but the two writers can be at fault.
func TestMessagesAreLostWithoutTheGate(t *testing.T) {
	t.Parallel()
	const rounds = 10 // which messages are lost, and whether any are, is chance: most rounds lose several
	for range rounds {
		if lostWithoutTheGate(t) > 0 {
			return
		}
	}
	require.Fail(t, "nothing is lost without the gate: the test of the gate proves nothing")
}

// lostWithoutTheGate counts the messages that one round loses.
func lostWithoutTheGate(t *testing.T) int {
	t.Helper()
	ctx := within(t)
	d := newDuplex(t, false, 600)
	_, err := d.contact.SendText(ctx, d.companion.dev.ID.User, "first", phone.SendOptions{})
	require.NoError(t, err)
	require.NoError(t, d.companion.wait(ctx, func() bool {
		return slices.ContainsFunc(d.companion.messages, func(m *events.Message) bool { return m.Message.GetConversation() == "first" })
	}))
	require.NoError(t, d.companion.send(ctx, d.contact.Number(), "SECOND", "second"))
	_, err = d.contact.WaitEntry(ctx, 0, isMessage("second"))
	require.NoError(t, err)

	d.run(ctx, t)
	atPhone, atCompanion := d.settle(t, d.companion.sim.Relay())
	lost := 2*(d.count+1) - len(atPhone) - len(atCompanion)
	t.Logf("lost without the gate: %d of %d to the phone, %d to the companion", d.count+1-len(atPhone), d.count, d.count+1-len(atCompanion))
	return lost
}
