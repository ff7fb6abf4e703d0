package session_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
)

func TestInvitesWhoMayNotBeAdded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, shy, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	require.NoError(t, shy.SetWhoAdds(within(t), types.PrivacySettingContacts))
	id, results := c.create("Quiet", shy, ana)
	require.Equal(t, []tenant.ParticipantResult{
		{ID: c.chatID(shy), Status: tenant.ResultInvited}, {ID: c.chatID(ana), Status: tenant.ResultAdded},
	}, results)
	entry, err := shy.WaitEntry(within(t), 0, func(e phone.Entry) bool { return e.Invite != nil })
	require.NoError(t, err)
	require.Equal(t, string(id), entry.Invite.Group)
	require.Equal(t, "Quiet", entry.Invite.Name)
	sent := c.all(c.chatID(shy))
	require.Len(t, sent, 1, "it is a message like any other")
	require.True(t, sent[0].FromMe)

	got, err := w.fleet.ChangeParticipants(within(t), c.ID(), id, session.AddParticipants, []tenant.ChatID{c.chatID(shy)})
	require.NoError(t, err)
	require.Equal(t, tenant.ResultInvited, got[0].Status)
	entry, err = shy.WaitEntry(within(t), entry.Seq, func(e phone.Entry) bool { return e.Invite != nil })
	require.NoError(t, err)
	require.NoError(t, shy.AcceptInvite(within(t), entry.IDs[0]))
	c.roles(id, map[string]tenant.Role{c.phone.Number(): owner, shy.Number(): member, ana.Number(): member})
}

func TestMessagesOfGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{Name: "Ana"})
	id, _ := c.create("Family", ana)
	c.send(id, "hello all")
	_, err := ana.WaitEntry(within(t), 0, hasText("hello all"))
	require.NoError(t, err)
	in, err := ana.SendText(within(t), string(id), "hello back", phone.SendOptions{})
	require.NoError(t, err)
	m := c.message(id, in, nil)
	require.Equal(t, c.chatID(ana), m.SenderID)
	require.Equal(t, id, m.ChatID)
	all, err := w.fleet.Participants(within(t), c.ID(), id)
	require.NoError(t, err)
	require.Equal(t, "Ana", all[1].Name)
}

// TestAMessageToAGroupThatLetsUsGoFailsAtOnce puts a message into the store as a node leaves it that was stopped, and takes the account
// out of the group meanwhile.
func TestAMessageToAGroupThatLetsUsGoFailsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	raw, _, err := ana.CreateGroup(within(t), "Friends", []string{c.phone.Number()})
	require.NoError(t, err)
	id := tenant.ChatID(raw)
	c.group(id, func(g *tenant.Group) bool { return g.Role == member })
	w.halt()
	payload, err := proto.Marshal(&waE2E.Message{Conversation: new("waits")})
	require.NoError(t, err)
	_, err = c.Commit(within(t), tenant.PutMessage{Message: tenant.Message{
		ID: "3EB0AAAAAAAAAAAAAAAAAA", ChatID: id, SenderID: tenant.PersonID(c.phone.Number()), FromMe: true, Timestamp: now(),
		Type: tenant.TypeText, Text: "waits", Status: tenant.StatusPending, Payload: payload,
	}})
	require.NoError(t, err)
	_, err = ana.RemoveMembers(within(t), raw, []string{c.phone.Number()})
	require.NoError(t, err)
	w.start()
	c.until(session.Online)
	c.message(id, "3EB0AAAAAAAAAAAAAAAAAA", is(tenant.StatusFailed))
	c.group(id, func(g *tenant.Group) bool { return g.Role == tenant.RoleNone })
	_, err = w.fleet.SendText(within(t), c.ID(), id, session.TextMessage{Text: "hello?"})
	require.ErrorIs(t, err, session.ErrNotMember)
	require.ErrorIs(t, err, session.ErrForbidden)
	require.Len(t, c.all(id), 1)

	_, err = w.fleet.SendText(within(t), c.ID(), tenant.GroupID("120363000000000077"), session.TextMessage{Text: "hello?"})
	require.ErrorIs(t, err, tenant.ErrChatNotFound)
	open, _, err := ana.CreateGroup(within(t), "Open", []string{c.phone.Number()})
	require.NoError(t, err)
	c.group(tenant.ChatID(open), func(g *tenant.Group) bool { return g.Role == member })
	_, err = c.Commit(within(t), tenant.DeleteChat{ID: tenant.ChatID(open)})
	require.NoError(t, err)
	c.send(tenant.ChatID(open), "back again")
	chat, err := c.Chat(within(t), tenant.ChatID(open))
	require.NoError(t, err)
	require.Equal(t, "Open", chat.Name)
	require.Equal(t, 2, *chat.ParticipantCount)
}
