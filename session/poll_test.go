package session_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// chose fits a poll on which these chose the option, and nobody else did.
func chose(option string, voters ...tenant.ChatID) func(*tenant.Message) bool {
	return func(m *tenant.Message) bool {
		if m.Poll == nil {
			return false
		}
		for _, o := range m.Poll.Options {
			if o.Text == option && (o.Votes != len(voters) || !slices.Equal(o.Voters, voters)) || o.Text != option && o.Votes != 0 {
				return false
			}
		}
		return true
	}
}

var lunch = phone.Poll{Question: "Lunch?", Options: []string{"noon", "one", "never"}}

func TestVotesBothWaysByEitherID(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{Name: "Ana"})
		chat, me := c.chatID(ana), tenant.PersonID(c.phone.Number())
		votes := 0
		for name, opts := range map[string]phone.SendOptions{"LID": {ViaLID: true}, "PN": {ViaPN: true}} {
			for who, from := range map[string]*phone.Phone{"a contact": ana, "the own phone": c.phone} {
				to := c.phone
				if from == c.phone {
					to = ana
				}
				id, err := from.SendPoll(within(t), to.Number(), lunch, opts)
				require.NoError(t, err, name+who)
				m := c.message(chat, id, nil)
				require.Equal(t, tenant.TypePoll, m.Type)
				require.Equal(t, from == c.phone, m.FromMe)
				require.Equal(t, "Lunch?", m.Poll.Question)
				require.False(t, m.Poll.Multiple)
				require.Len(t, m.Poll.Options, 3)
				_, err = to.WaitEntry(within(t), 0, func(e phone.Entry) bool { return e.Poll != nil && slices.Contains(e.IDs, id) })
				require.NoError(t, err)

				// The contact votes, and changes its mind.
				for _, option := range []string{"noon", "one"} {
					_, err = ana.Vote(within(t), c.phone.Number(), id, []string{option})
					require.NoError(t, err, name+who)
					c.message(chat, id, chose(option, chat))
					votes++
				}
				_, err = ana.Vote(within(t), c.phone.Number(), id, nil)
				require.NoError(t, err)
				c.message(chat, id, chose(""))
				votes++

				// The account votes: from here, and by its phone.
				m, err = w.fleet.Vote(within(t), c.ID(), session.MessageRef{Chat: chat, ID: tenant.MessageID(id)}, []string{"never"})
				require.NoError(t, err, name+who)
				require.True(t, chose("never", me)(&m))
				for _, p := range []*phone.Phone{ana, c.phone} {
					_, err = p.WaitEntry(within(t), 0, about(phone.KindVote, id, "never"))
					require.NoError(t, err, name+who)
				}
				_, err = c.phone.Vote(within(t), ana.Number(), id, []string{"noon"})
				require.NoError(t, err, name+who)
				c.message(chat, id, chose("noon", me))
				_, err = ana.WaitEntry(within(t), 0, about(phone.KindVote, id, "noon"))
				require.NoError(t, err)
				m, err = w.fleet.Vote(within(t), c.ID(), session.MessageRef{Chat: chat, ID: tenant.MessageID(id)}, nil)
				require.NoError(t, err)
				require.True(t, chose("")(&m))
				votes += 3
			}
		}
		require.Len(t, c.events(tenant.EventPollVote), votes)
		require.Len(t, c.all(chat), 4, "no vote is a message")
		require.Empty(t, c.events(tenant.EventMessageEdited))
	})
}

// group is a group that a phone makes with others.
func group(t *testing.T, by *phone.Phone, others ...*phone.Phone) tenant.ChatID {
	t.Helper()
	var numbers []string
	for _, p := range others {
		numbers = append(numbers, p.Number())
	}
	id, _, err := by.CreateGroup(within(t), "Family", numbers)
	require.NoError(t, err)
	return tenant.ChatID(id)
}

func TestAsksAndVotesInGroups(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		for _, mode := range []types.AddressingMode{types.AddressingModeLID, types.AddressingModePN} {
			t.Run(string(mode), func(t *testing.T) {
				t.Parallel()
				asksAndVotesInGroup(t, newWorld(t, engine), mode)
			})
		}
	})
}

// asksAndVotesInGroup makes a group of that mode, in which everybody asks, and votes on all.
func asksAndVotesInGroup(t *testing.T, w *world, mode types.AddressingMode) {
	t.Helper()
	c, ana, bob := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{Name: "Ana"}), w.phone(wasim.PhoneConfig{Name: "Bob"})
	require.NoError(t, w.sim.Relay().AddressGroups(ana.Number(), mode))
	family := group(t, ana, c.phone, bob)
	me, phones := tenant.PersonID(c.phone.Number()), []*phone.Phone{ana, bob, c.phone}
	saw := func(kind, id, text string, by *phone.Phone) {
		for _, p := range phones {
			if p != by {
				_, err := p.WaitEntry(within(t), 0, func(e phone.Entry) bool {
					return e.Kind == kind && e.Text == text && (e.Target == id || slices.Contains(e.IDs, id))
				})
				require.NoError(t, err)
			}
		}
	}
	ours, err := w.fleet.SendPoll(within(t), c.ID(), family, session.PollMessage{Question: "Lunch?", Options: lunch.Options, Multiple: true})
	require.NoError(t, err)
	require.Equal(t, tenant.StatusSent, ours.Status)
	require.True(t, ours.Poll.Multiple)
	require.Equal(t, "Lunch?", ours.Text)
	ids := []string{string(ours.ID)}
	for _, from := range phones {
		id, err := from.SendPoll(within(t), string(family), phone.Poll{Question: "Lunch?", Options: lunch.Options, Multiple: true}, phone.SendOptions{})
		require.NoError(t, err)
		ids = append(ids, id)
	}
	purged := false
	for i, id := range ids {
		saw(phone.KindMessage, id, "Lunch?", append([]*phone.Phone{nil}, phones...)[i])
		c.message(family, id, nil)
	}
	for _, id := range slices.Concat(ids, ids) {
		if purged { // what whatsmeow keeps of secrets ages out; a restart forgets what is in memory
			w.restart()
			c.until(session.Online)
			_, err = w.store.Database().Exec(within(t), "DELETE FROM device_row WHERE kind=9")
			require.NoError(t, err)
		}
		ref := session.MessageRef{Chat: family, ID: tenant.MessageID(id)}
		for i, voter := range []*phone.Phone{ana, bob} {
			_, err = voter.Vote(within(t), string(family), id, lunch.Options[i:i+2])
			require.NoError(t, err)
		}
		m := c.message(family, id, func(m *tenant.Message) bool { return m.Poll.Options[1].Votes == 2 })
		require.ElementsMatch(t, []tenant.ChatID{c.chatID(ana), c.chatID(bob)}, m.Poll.Options[1].Voters)
		require.Equal(t, []tenant.ChatID{c.chatID(bob)}, m.Poll.Options[2].Voters)
		for _, option := range []string{"noon", "one"} {
			m, err = w.fleet.Vote(within(t), c.ID(), ref, []string{option})
			require.NoError(t, err)
			require.Contains(t, m.Poll.Options[slices.Index(lunch.Options, option)].Voters, me)
			saw(phone.KindVote, id, option, nil)
		}
		_, err = c.phone.Vote(within(t), string(family), id, []string{"never"})
		require.NoError(t, err)
		m = c.message(family, id, func(m *tenant.Message) bool { return m.Poll.Options[2].Votes == 2 })
		require.NotContains(t, m.Poll.Options[1].Voters, me, "one vote of the account, wherever it was cast")
		for _, voter := range []*phone.Phone{ana, bob, c.phone} {
			_, err = voter.Vote(within(t), string(family), id, nil)
			require.NoError(t, err)
		}
		c.message(family, id, chose(""))
		purged = purged || id == ids[len(ids)-1]
	}
	chat, err := c.Chat(within(t), family)
	require.NoError(t, err)
	require.NotNil(t, chat.LastMessage.Poll)
	require.Len(t, c.all(family), 4)
	require.Len(t, c.events(tenant.EventPollVote), 2*4*8)
}

func TestRefusesVotesThatCannotCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	chat := c.chatID(ana)
	id, err := ana.SendPoll(within(t), c.phone.Number(), lunch, phone.SendOptions{})
	require.NoError(t, err)
	c.message(chat, id, nil)
	text := c.send(chat, "no poll")
	vote := func(id tenant.MessageID, options ...string) error {
		_, err := w.fleet.Vote(within(t), c.ID(), session.MessageRef{Chat: chat, ID: id}, options)
		return err
	}
	poll := tenant.MessageID(id)
	require.ErrorIs(t, vote("NOSUCH"), tenant.ErrMessageNotFound)
	require.ErrorIs(t, vote(text.ID), session.ErrNotPoll)
	require.ErrorIs(t, vote(poll, "noon", "two"), session.ErrUnknownOption)
	require.ErrorIs(t, vote(poll, "noon", "one"), session.ErrSingleChoice)
	require.NoError(t, vote(poll, "noon", "noon"))
	_, err = ana.Delete(within(t), c.phone.Number(), id)
	require.NoError(t, err)
	require.Nil(t, c.message(chat, id, isDeleted).Poll)
	require.ErrorIs(t, vote(poll, "noon"), session.ErrDeleted)
	_, err = w.fleet.Disconnect(within(t), c.ID())
	require.NoError(t, err)
	var offline *session.OfflineError
	require.ErrorAs(t, vote(poll, "noon"), &offline)
	_, err = w.fleet.SendPoll(within(t), c.ID(), chat, session.PollMessage{Question: "?", Options: lunch.Options})
	require.ErrorAs(t, err, &offline)
}

// A group's stanzas come from several senders, and nothing orders them.
func TestTakesVotesThatOvertakeTheirPoll(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		var mu sync.Mutex
		var order []string
		w := newWorld(t, engine, func(w *world) {
			w.wrap = func(s tenant.Store) tenant.Store {
				return &between{s, func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
					mu.Lock()
					defer mu.Unlock()
					for _, change := range changes {
						switch change := change.(type) {
						case tenant.PutMessage:
							order = append(order, "poll "+string(change.Message.ID))
						case tenant.CastVote:
							order = append(order, "vote "+string(change.ID))
						}
					}
					return h.Commit(ctx, changes...)
				}}
			}
		})
		c, ana, bob := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
		family := group(t, ana, c.phone, bob)
		for overtaken := false; !overtaken; { // a slow machine may miss the second for which the poll is held back
			require.NoError(t, w.sim.Relay().Fault(relay.Fault{Kind: relay.FaultReorder, Phone: c.phone.Number()}))
			id, err := ana.SendPoll(within(t), string(family), lunch, phone.SendOptions{})
			require.NoError(t, err)
			_, err = bob.WaitEntry(within(t), 0, func(e phone.Entry) bool { return slices.Contains(e.IDs, id) })
			require.NoError(t, err)
			_, err = bob.Vote(within(t), string(family), id, []string{"one"})
			require.NoError(t, err)
			c.message(family, id, chose("one", c.chatID(bob)))
			mu.Lock()
			overtaken = slices.Index(order, "vote "+id) < slices.Index(order, "poll "+id)
			mu.Unlock()
		}
	})
}
