package session_test

import (
	"encoding/json"
	"image/color"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// group waits until what is stored of a group fits.
func (c *customer) group(id tenant.ChatID, fits func(*tenant.Group) bool) tenant.Group {
	c.w.t.Helper()
	var g tenant.Group
	var err error
	eventually(c.w.t, func() bool {
		g, err = c.Group(within(c.w.t), id)
		return err == nil && g.Rev > 0 && fits(&g)
	}, func() string { return "group never fit" })
	return g
}

// roles waits until a group has these members.
func (c *customer) roles(id tenant.ChatID, want map[string]tenant.Role) {
	c.w.t.Helper()
	var have map[string]tenant.Role
	eventually(c.w.t, func() bool {
		all, err := c.Participants(within(c.w.t), id)
		have = map[string]tenant.Role{}
		for _, p := range all {
			have[p.Phone] = p.Role
		}
		return err == nil && equal(have, want)
	}, func() string {
		raw, _ := json.Marshal([]any{want, have})
		return string(raw)
	})
}

func equal(a, b map[string]tenant.Role) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

func (c *customer) create(name string, others ...*phone.Phone) (tenant.ChatID, []tenant.ParticipantResult) {
	c.w.t.Helper()
	var ids []tenant.ChatID
	for _, p := range others {
		ids = append(ids, c.chatID(p))
	}
	chat, results, err := c.w.fleet.CreateGroup(within(c.w.t), c.ID(), name, ids)
	require.NoError(c.w.t, err)
	return chat.ID, results
}

// moves are what the journal tells about participants of a group: action and how many.
func (c *customer) moves(id tenant.ChatID, action string) (people []string) {
	c.w.t.Helper()
	for _, e := range c.events(tenant.EventGroupParticipants) {
		var data tenant.GroupParticipants
		require.NoError(c.w.t, json.Unmarshal(e.Data, &data))
		if data.ID == id && data.Action == action {
			for _, p := range data.Participants {
				people = append(people, p.Phone)
			}
		}
	}
	return people
}

const member, admin, owner = tenant.RoleMember, tenant.RoleAdmin, tenant.RoleSuperAdmin

func TestActsOnAGroup(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, ana, bia, caio := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
		me := c.phone.Number()
		// A group that the session finds when it reads all is one that the account was in before, which is no news.
		eventually(t, func() bool { return w.fleet.HasReadGroups(c.ID()) }, func() string { return "groups are not read" })
		id, results := c.create("Family", ana, bia)
		require.Equal(t, []tenant.ParticipantResult{
			{ID: c.chatID(ana), Status: tenant.ResultAdded}, {ID: c.chatID(bia), Status: tenant.ResultAdded},
		}, results)
		c.roles(id, map[string]tenant.Role{me: owner, ana.Number(): member, bia.Number(): member})
		chat, err := c.Chat(within(t), id)
		require.NoError(t, err)
		require.Equal(t, "Family", chat.Name)
		require.Equal(t, 3, *chat.ParticipantCount)
		require.True(t, *chat.IsAdmin)
		require.Equal(t, tenant.PersonID(me), chat.OwnerID)

		do := func(action session.ParticipantAction, people ...*phone.Phone) []string {
			t.Helper()
			var ids []tenant.ChatID
			for _, p := range people {
				ids = append(ids, c.chatID(p))
			}
			ids = append(ids, tenant.PersonID(number()))
			got, err := w.fleet.ChangeParticipants(within(t), c.ID(), id, action, ids)
			require.NoError(t, err)
			require.Len(t, got, len(ids))
			var words []string
			for i, r := range got {
				require.Equal(t, ids[i], r.ID)
				words = append(words, r.Status)
			}
			return words
		}
		require.Equal(t, []string{"added", "already_in", "not_on_whatsapp"}, do(session.AddParticipants, caio, ana))
		require.Equal(t, []string{"promoted", "not_in_group"}, do(session.PromoteParticipants, ana))
		c.roles(id, map[string]tenant.Role{me: owner, ana.Number(): admin, bia.Number(): member, caio.Number(): member})
		require.Equal(t, []string{"demoted", "not_in_group"}, do(session.DemoteParticipants, ana))
		require.Equal(t, []string{"removed", "not_in_group"}, do(session.RemoveParticipants, caio))
		require.Equal(t, []string{"not_in_group", "not_in_group"}, do(session.RemoveParticipants, caio))
		c.roles(id, map[string]tenant.Role{me: owner, ana.Number(): member, bia.Number(): member})

		chat, err = w.fleet.ChangeGroup(within(t), c.ID(), id, session.GroupChange{Name: new("Clan"), Description: new("All of us")})
		require.NoError(t, err)
		require.Equal(t, "Clan", chat.Name)
		require.Equal(t, "All of us", chat.Description)
		for _, text := range []string{"Others", "", "Again"} {
			chat, err = w.fleet.ChangeGroup(within(t), c.ID(), id, session.GroupChange{Description: &text})
			require.NoError(t, err)
			require.Equal(t, text, chat.Description)
		}
		settings, err := w.fleet.ChangeGroupSettings(within(t), c.ID(), id, session.SettingsChange{
			Announce: new(true), Locked: new(true), JoinApproval: new(true), MemberAdd: new(tenant.MemberAddAdmins),
		})
		require.NoError(t, err)
		want := tenant.GroupSettings{Announce: true, Locked: true, JoinApproval: true, MemberAdd: tenant.MemberAddAdmins}
		require.Equal(t, want, settings)
		server, err := w.sim.Relay().Group(id.User())
		require.NoError(t, err)
		require.Equal(t, "Clan", server.Subject)
		require.Equal(t, "Again", server.Description)
		require.True(t, server.Announce && server.Locked && server.Approval && server.AdminsAdd)

		picture, err := w.fleet.SetGroupPicture(within(t), c.ID(), id, portrait(t, 64, color.White))
		require.NoError(t, err)
		c.group(id, func(g *tenant.Group) bool { return g.PictureID == picture })
		seen, err := w.fleet.Picture(within(t), c.ID(), session.PictureQuery{Of: id})
		require.NoError(t, err)
		require.Equal(t, picture, seen.ID)
		require.NotEmpty(t, seen.Data)
		require.NoError(t, w.fleet.RemoveGroupPicture(within(t), c.ID(), id))
		c.group(id, func(g *tenant.Group) bool { return g.PictureID == "" && g.Settings == want })
		_, err = w.fleet.Picture(within(t), c.ID(), session.PictureQuery{Of: id})
		require.ErrorIs(t, err, session.ErrNoPicture)

		require.NoError(t, w.fleet.LeaveGroup(within(t), c.ID(), id))
		g := c.group(id, func(g *tenant.Group) bool { return g.Role == tenant.RoleNone })
		require.Equal(t, 2, g.Size)
		_, err = w.fleet.SendText(within(t), c.ID(), id, session.TextMessage{Text: "still there?"})
		require.ErrorIs(t, err, session.ErrNotMember)
		require.ErrorIs(t, w.fleet.LeaveGroup(within(t), c.ID(), id), session.ErrNotMember)
		require.Equal(t, []string{me}, c.moves(id, tenant.ParticipantsAdded)[:1])
		require.Len(t, c.moves(id, tenant.ParticipantsPromoted), 1, "once, though WhatsApp tells us too")
		require.Len(t, c.moves(id, tenant.ParticipantsRemoved), 2)
	})
}

func TestFollowsWhatOthersDoToAGroup(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, ana, bia := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{Name: "Ana"}), w.phone(wasim.PhoneConfig{})
		me := c.phone.Number()
		raw, _, err := ana.CreateGroup(within(t), "Friends", []string{me})
		require.NoError(t, err)
		id := tenant.ChatID(raw)
		c.roles(id, map[string]tenant.Role{ana.Number(): owner, me: member})
		chat, err := c.Chat(within(t), id)
		require.NoError(t, err)
		require.Equal(t, "Friends", chat.Name)
		require.False(t, *chat.IsAdmin)

		_, err = ana.AddMembers(within(t), raw, []string{bia.Number()})
		require.NoError(t, err)
		_, err = ana.Promote(within(t), raw, []string{me})
		require.NoError(t, err)
		c.roles(id, map[string]tenant.Role{ana.Number(): owner, me: admin, bia.Number(): member})
		require.NoError(t, ana.ChangeGroup(within(t), raw, phone.GroupSettings{
			Name: new("Best friends"), Description: new("the best"), Announce: new(true), Locked: new(true), JoinApproval: new(true), AdminsAdd: new(true),
			Picture: new([]byte("\xff\xd8\xff\xe0 a picture")),
		}))
		g := c.group(id, func(g *tenant.Group) bool {
			return g.Settings == tenant.GroupSettings{Announce: true, Locked: true, JoinApproval: true, MemberAdd: tenant.MemberAddAdmins} && g.PictureID != ""
		})
		require.Equal(t, "Best friends", g.Name)
		require.Equal(t, "the best", g.Description)
		require.Equal(t, tenant.RoleAdmin, g.Role)

		_, err = ana.Demote(within(t), raw, []string{me})
		require.NoError(t, err)
		c.group(id, func(g *tenant.Group) bool { return g.Role == member })
		_, err = w.fleet.SendText(within(t), c.ID(), id, session.TextMessage{Text: "may I?"})
		require.ErrorIs(t, err, session.ErrAnnounceOnly)
		require.Empty(t, c.all(id), "it is not even stored")
		_, err = w.fleet.ChangeGroup(within(t), c.ID(), id, session.GroupChange{Name: new("mine")})
		require.ErrorIs(t, err, session.ErrNotAdmin)
		for _, action := range []session.ParticipantAction{session.AddParticipants, session.RemoveParticipants, session.PromoteParticipants, session.ApproveRequests} {
			_, err = w.fleet.ChangeParticipants(within(t), c.ID(), id, action, []tenant.ChatID{c.chatID(bia)})
			require.ErrorIs(t, err, session.ErrNotAdmin)
		}
		_, err = w.fleet.GroupInvite(within(t), c.ID(), id, false)
		require.ErrorIs(t, err, session.ErrNotAdmin)

		_, err = ana.RemoveMembers(within(t), raw, []string{me})
		require.NoError(t, err)
		c.group(id, func(g *tenant.Group) bool { return g.Role == tenant.RoleNone && g.Size == 2 })
		_, err = c.Chat(within(t), id)
		require.NoError(t, err, "the chat stays")
		_, err = ana.AddMembers(within(t), raw, []string{me})
		require.NoError(t, err)
		c.group(id, func(g *tenant.Group) bool { return g.Role == member && g.Size == 3 })
	})
}

func TestLearnsWhatItMissedOfGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana, bia := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	me := c.phone.Number()
	first, _, err := ana.CreateGroup(within(t), "First", []string{me})
	require.NoError(t, err)
	second, _, err := ana.CreateGroup(within(t), "Second", []string{me})
	require.NoError(t, err)
	for _, raw := range []string{first, second} {
		c.group(tenant.ChatID(raw), func(g *tenant.Group) bool { return g.Role == member })
	}
	w.halt()
	require.NoError(t, ana.ChangeGroup(within(t), first, phone.GroupSettings{Name: new("Renamed"), JoinApproval: new(true)}))
	_, err = ana.AddMembers(within(t), first, []string{bia.Number()})
	require.NoError(t, err)
	_, err = ana.Promote(within(t), first, []string{me})
	require.NoError(t, err)
	_, err = ana.RemoveMembers(within(t), second, []string{me})
	require.NoError(t, err)
	third, _, err := ana.CreateGroup(within(t), "Third", []string{me})
	require.NoError(t, err)
	w.start()
	c.until(session.Online)
	g := c.group(tenant.ChatID(first), func(g *tenant.Group) bool { return g.Size == 3 && g.Role == admin && g.Settings.JoinApproval })
	require.Equal(t, "Renamed", g.Name)
	c.group(tenant.ChatID(second), func(g *tenant.Group) bool { return g.Role == tenant.RoleNone })
	c.group(tenant.ChatID(third), func(g *tenant.Group) bool { return g.Role == member && g.Name == "Third" })
	require.Equal(t, []string{bia.Number()}, slices.DeleteFunc(c.moves(tenant.ChatID(first), tenant.ParticipantsAdded), func(p string) bool { return p == me }))
}

func TestKnowsTheGroupsThatWereThereBefore(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, p, ana := w.tenant(), w.phone(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
		raw, _, err := ana.CreateGroup(within(t), "Old", []string{p.Number()})
		require.NoError(t, err)
		c.pair(p)
		g := c.group(tenant.ChatID(raw), func(g *tenant.Group) bool { return g.Role == member && g.Size == 2 })
		require.Equal(t, "Old", g.Name)
		chat, err := c.Chat(within(t), tenant.ChatID(raw))
		require.NoError(t, err)
		require.Equal(t, "Old", chat.Name)

		// A node that comes back learns what it was not told, too.
		w.halt()
		stale := tenant.PutGroup{Group: tenant.Group{ID: tenant.ChatID(raw), Name: "Wrong"}, Self: tenant.PersonID(p.Number()), Rev: -1}
		gone := tenant.PutGroup{
			Group: tenant.Group{ID: "120363000000000077@g.us", Name: "Gone"}, Self: tenant.PersonID(p.Number()), Rev: -1,
			Participants: []tenant.Participant{{ID: tenant.PersonID(p.Number()), Role: admin}},
		}
		_, err = c.Commit(within(t), stale, gone)
		require.NoError(t, err)
		require.Equal(t, tenant.RoleNone, c.group(tenant.ChatID(raw), func(g *tenant.Group) bool { return g.Name == "Wrong" }).Role)
		w.start()
		c.until(session.Online)
		c.group(tenant.ChatID(raw), func(g *tenant.Group) bool { return g.Name == "Old" && g.Role == member && g.Size == 2 })
		c.group(gone.Group.ID, func(g *tenant.Group) bool { return g.Role == tenant.RoleNone })
	})
}

func TestReadsAGroupThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	unknown := tenant.GroupID("120363000000000077")
	_, err := w.fleet.Participants(within(t), c.ID(), unknown)
	require.ErrorIs(t, err, tenant.ErrChatNotFound)
	_, err = c.Commit(within(t), tenant.PutChat{ID: unknown, Name: new("Old")})
	require.NoError(t, err)
	_, err = w.fleet.Participants(within(t), c.ID(), unknown)
	require.ErrorIs(t, err, session.ErrNotMember)

	raw, _, err := ana.CreateGroup(within(t), "Known", []string{c.phone.Number()})
	require.NoError(t, err)
	c.group(tenant.ChatID(raw), func(*tenant.Group) bool { return true })
	_, err = w.fleet.Disconnect(within(t), c.ID())
	require.NoError(t, err)
	all, err := w.fleet.Participants(within(t), c.ID(), tenant.ChatID(raw))
	require.NoError(t, err, "what is stored needs no session")
	require.Len(t, all, 2)
	require.Equal(t, owner, all[0].Role)
	require.NotEmpty(t, all[0].LID)
	var offline *session.OfflineError
	_, err = w.fleet.Participants(within(t), c.ID(), unknown)
	require.ErrorAs(t, err, &offline)
	require.ErrorAs(t, w.fleet.LeaveGroup(within(t), c.ID(), tenant.ChatID(raw)), &offline)
	_, _, err = w.fleet.CreateGroup(within(t), c.ID(), "x", nil)
	require.ErrorAs(t, err, &offline)
}

func TestJoinsByLinkAndDecidesWhoDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	raw, _, err := ana.CreateGroup(within(t), "Open", nil)
	require.NoError(t, err)
	code, err := ana.InviteCode(within(t), raw, false)
	require.NoError(t, err)
	j, err := w.fleet.JoinGroup(within(t), c.ID(), code)
	require.NoError(t, err)
	require.Equal(t, "Open", j.Chat.Name)
	require.False(t, j.Pending || j.Already)
	j, err = w.fleet.JoinGroup(within(t), c.ID(), code)
	require.NoError(t, err)
	require.True(t, j.Already)
	require.Equal(t, tenant.ChatID(raw), j.Chat.ID)
	_, err = ana.InviteCode(within(t), raw, true)
	require.NoError(t, err)
	_, err = w.fleet.JoinGroup(within(t), c.ID(), code)
	require.ErrorIs(t, err, session.ErrInviteRevoked)
	_, err = w.fleet.JoinGroup(within(t), c.ID(), "NOSUCHCODEATALL1234567")
	require.ErrorIs(t, err, session.ErrInviteInvalid)

	closed, _, err := ana.CreateGroup(within(t), "Closed", nil)
	require.NoError(t, err)
	require.NoError(t, ana.ChangeGroup(within(t), closed, phone.GroupSettings{JoinApproval: new(true)}))
	code, err = ana.InviteCode(within(t), closed, false)
	require.NoError(t, err)
	j, err = w.fleet.JoinGroup(within(t), c.ID(), code)
	require.NoError(t, err)
	require.True(t, j.Pending)
	require.Equal(t, tenant.ChatID(closed), j.ID)

	id, _ := c.create("Ours")
	_, err = w.fleet.ChangeGroupSettings(within(t), c.ID(), id, session.SettingsChange{JoinApproval: new(true)})
	require.NoError(t, err)
	link, err := w.fleet.GroupInvite(within(t), c.ID(), id, false)
	require.NoError(t, err)
	fresh, err := w.fleet.GroupInvite(within(t), c.ID(), id, true)
	require.NoError(t, err)
	require.NotEqual(t, link, fresh)
	bia := w.phone(wasim.PhoneConfig{})
	for _, p := range []*phone.Phone{ana, bia} {
		_, pending, err := p.JoinGroup(within(t), fresh)
		require.NoError(t, err)
		require.True(t, pending)
	}
	asked, err := w.fleet.JoinRequests(within(t), c.ID(), id)
	require.NoError(t, err)
	require.Len(t, asked, 2)
	require.WithinDuration(t, time.Now(), *asked[0].RequestedAt, deadline)
	people := []tenant.ChatID{asked[0].ID}
	got, err := w.fleet.ChangeParticipants(within(t), c.ID(), id, session.ApproveRequests, people)
	require.NoError(t, err)
	require.Equal(t, tenant.ResultApproved, got[0].Status)
	got, err = w.fleet.ChangeParticipants(within(t), c.ID(), id, session.RejectRequests, []tenant.ChatID{asked[1].ID, asked[0].ID})
	require.NoError(t, err)
	require.Equal(t, []string{tenant.ResultRejected, tenant.ResultNotRequested}, []string{got[0].Status, got[1].Status})
	c.group(id, func(g *tenant.Group) bool { return g.Size == 2 })
}

func TestAdminsDeleteWhatOthersWrote(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	id, _ := c.create("Ours", ana)
	spam, err := ana.SendText(within(t), string(id), "spam", phone.SendOptions{})
	require.NoError(t, err)
	c.message(id, spam, nil)
	ref := session.MessageRef{Chat: id, ID: tenant.MessageID(spam)}
	require.NoError(t, w.fleet.DeleteMessage(within(t), c.ID(), ref))
	c.message(id, spam, isDeleted)
	_, err = ana.WaitEntry(within(t), 0, about(phone.KindDelete, spam, ""))
	require.NoError(t, err)

	theirs, _, err := ana.CreateGroup(within(t), "Theirs", []string{c.phone.Number()})
	require.NoError(t, err)
	id = tenant.ChatID(theirs)
	c.group(id, func(g *tenant.Group) bool { return g.Role == member })
	text, err := ana.SendText(within(t), theirs, "hello", phone.SendOptions{})
	require.NoError(t, err)
	c.message(id, text, nil)
	require.ErrorIs(t, w.fleet.DeleteMessage(within(t), c.ID(), session.MessageRef{Chat: id, ID: tenant.MessageID(text)}), session.ErrForbidden)
	ours := c.send(id, "ours")
	_, err = ana.WaitEntry(within(t), 0, hasText("ours"))
	require.NoError(t, err)
	_, err = ana.Delete(within(t), theirs, string(ours.ID))
	require.NoError(t, err)
}
