package tenanttest

import (
	"encoding/json"
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func groupChecks() []check {
	return []check{
		{"AreStoredAsWhatsAppDescribesThem", storesGroup},
		{"AreNotKnownUntilThey", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			result := commit(t, h, tenant.ChangeGroup{ID: family, Self: me, Name: new("Clan"), Added: []tenant.ChatID{ana}})
			require.Equal(t, []tenant.ChatID{family}, result.Missed)
			g, err := h.Group(t.Context(), family)
			require.NoError(t, err)
			require.Zero(t, g.Rev)
			require.Equal(t, "Clan", getChat(t, h, family).Name)
			require.Zero(t, *getChat(t, h, family).ParticipantCount)
			all, err := h.Participants(t.Context(), family)
			require.NoError(t, err)
			require.Empty(t, all)
		}},
		{"FollowChanges", changesGroup},
		{"FollowWhoComesAndGoes", movesPeople},
		{"TakeChangesInAnyOrder", ordersChanges},
		{"TakeNoOlderDescription", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, describe("Family", "5", tenant.RoleMember))
			rev := getGroup(t, h).Rev
			commit(t, h, tenant.ChangeGroup{ID: family, Self: me, At: after(9), Announce: new(true)})
			late := describe("Old", "5", tenant.RoleMember)
			late.Rev = rev
			require.Equal(t, []tenant.ChatID{family}, commit(t, h, late).Missed, "asked before the change, stored after it")
			late.Rev = getGroup(t, h).Rev
			late.Version = "4"
			require.Empty(t, commit(t, h, late).Missed)
			require.Equal(t, "Family", getGroup(t, h).Name)
			require.True(t, getGroup(t, h).Settings.Announce)
		}},
		{"AreLeftAndJoinedAgain", leavesGroup},
		{"OutliveTheirChats", outlivesChat},
		{"KnowPeopleByEitherID", linksMembers},
		{"AreListed", listsGroups},
		{"AreNotRenamedByTheirHistory", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, describe("Family", "5", tenant.RoleMember), tenant.PutChat{ID: family, Name: new("Former name")})
			require.Equal(t, "Family", getChat(t, h, family).Name)
		}},
		{"MayBeLarge", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			put := describe("Crowd", "5", tenant.RoleMember)
			for n := range 1022 {
				put.Participants = append(put.Participants, tenant.Participant{ID: tenant.PersonID(fmt.Sprintf("5533%09d", n)), Role: tenant.RoleMember})
			}
			commit(t, h, put)
			all, err := h.Participants(t.Context(), family)
			require.NoError(t, err)
			require.Len(t, all, 1024)
		}},
		{"AreNoPersons", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			for _, change := range []tenant.Change{tenant.PutGroup{Group: tenant.Group{ID: ana}}, tenant.ChangeGroup{ID: ana}, tenant.ChangeGroup{}} {
				_, err := h.Commit(t.Context(), change)
				require.Error(t, err)
			}
		}},
	}
}

// describe is a group of Ana's with us in that role.
func describe(name, version string, role tenant.Role) tenant.PutGroup {
	return tenant.PutGroup{
		Group:        tenant.Group{ID: family, Name: name, OwnerID: ana, Settings: tenant.GroupSettings{MemberAdd: tenant.MemberAddAll}},
		Participants: []tenant.Participant{{ID: ana, Role: tenant.RoleSuperAdmin}, {ID: me, Role: role}},
		Self:         me, Version: version, Rev: -1,
	}
}

func getGroup(t tester, h tenant.Handle) tenant.Group {
	t.Helper()
	g, err := h.Group(t.Context(), family)
	require.NoError(t, err)
	return g
}

// roles are the roles of the group's members.
func roles(t tester, h tenant.Handle) map[tenant.ChatID]tenant.Role {
	t.Helper()
	all, err := h.Participants(t.Context(), family)
	require.NoError(t, err)
	found := map[tenant.ChatID]tenant.Role{}
	for _, p := range all {
		found[p.ID] = p.Role
	}
	require.Equal(t, len(found), getGroup(t, h).Size)
	return found
}

// news are the events of groups after a number: what changed, or what happened to whom.
func news(t tester, h tenant.Handle, from int64) []string {
	t.Helper()
	told := []string{}
	for _, e := range events(t, h) {
		if e.Seq <= from {
			continue
		}
		switch e.Type { //nolint:exhaustive // the others are not about groups
		case tenant.EventGroupUpdated:
			var data tenant.GroupUpdated
			require.NoError(t, json.Unmarshal(e.Data, &data))
			told = append(told, fmt.Sprint(data.Changed, " by ", data.By))
		case tenant.EventGroupParticipants:
			var data tenant.GroupParticipants
			require.NoError(t, json.Unmarshal(e.Data, &data))
			for _, p := range data.Participants {
				told = append(told, fmt.Sprint(data.Action, " ", p.ID, " by ", data.By))
			}
		}
	}
	return told
}

func storesGroup(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	put := describe("Family\x00", "5", tenant.RoleAdmin)
	put.Group.Description, put.Group.DescriptionID, put.Group.Settings.Locked = "All of us", "D1", true
	put.Created = after(7)
	commit(t, h, tenant.PutContact{ID: ana, PushName: "Ana"})
	named := int64(len(events(t, h)))
	commit(t, h, put)
	chat := getChat(t, h, family)
	require.Equal(t, "Family\uFFFD", chat.Name)
	require.Equal(t, "All of us", chat.Description)
	require.Equal(t, ana, chat.OwnerID)
	require.Equal(t, 2, *chat.ParticipantCount)
	require.True(t, *chat.IsAdmin && *chat.Locked)
	require.False(t, *chat.Announce)
	require.Equal(t, tenant.RoleAdmin, chat.Role)
	require.Equal(t, after(7), chat.Activity)
	all, err := h.Participants(t.Context(), family)
	require.NoError(t, err)
	require.Equal(t, []tenant.Participant{
		{ID: ana, Phone: ana.Phone(), Name: "Ana", Role: tenant.RoleSuperAdmin}, {ID: me, Phone: me.Phone(), Role: tenant.RoleAdmin},
	}, all)
	require.Equal(t, []tenant.EventType{tenant.EventChatUpdated}, eventTypes(t, h, named))
	commit(t, h, put)
	require.Len(t, events(t, h), 1+int(named), "again")
	require.EqualValues(t, 1, getGroup(t, h).Rev)

	put.Participants = []tenant.Participant{{ID: ana, Role: tenant.RoleMember}, {ID: beto, Role: tenant.RoleAdmin}, {ID: me, Role: tenant.RoleAdmin}}
	put.Group.Settings.Announce, put.Version = true, "9"
	commit(t, h, put)
	told := events(t, h)
	require.Equal(t, told[len(told)-1].Timestamp, getChat(t, h, family).UpdatedAt, "who compares updatedAt notices")
	require.Equal(t, []string{"[settings] by ", "added " + string(beto) + " by ", "demoted " + string(ana) + " by "}, news(t, h, 1))
	plain, err := json.Marshal(getChat(t, h, family))
	require.NoError(t, err)
	require.Contains(t, string(plain), `"participantCount":3`)
}

func changesGroup(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	head := commit(t, h, describe("Family", "5", tenant.RoleMember)).Head
	for i, change := range []tenant.ChangeGroup{
		{Name: new("Clan")},
		{Description: new("All of us"), DescriptionID: "D1"},
		{Announce: new(true)},
		{Locked: new(true)},
		{JoinApproval: new(true), MemberAdd: new(tenant.MemberAddAdmins)},
		{PictureID: new("P1")},
	} {
		change.ID, change.Self, change.By, change.At = family, me, ana, after(10+i)
		require.Empty(t, commit(t, h, change).Missed)
		commit(t, h, change)
	}
	require.Equal(t, []string{
		"[name] by " + string(ana), "[description] by " + string(ana), "[settings] by " + string(ana), "[settings] by " + string(ana),
		"[settings] by " + string(ana), "[picture] by " + string(ana),
	}, news(t, h, head))
	g := getGroup(t, h)
	require.Equal(t, tenant.Group{
		ID: family, Name: "Clan", Description: "All of us", DescriptionID: "D1", OwnerID: ana, PictureID: "P1", Role: tenant.RoleMember, Size: 2, Rev: 7,
		Settings: tenant.GroupSettings{Announce: true, Locked: true, JoinApproval: true, MemberAdd: tenant.MemberAddAdmins},
	}, g)
	chat := getChat(t, h, family)
	require.Equal(t, "Clan", chat.Name)
	require.True(t, *chat.Announce && *chat.Locked)
	unsure := commit(t, h, tenant.ChangeGroup{ID: family, Self: me, Unsure: true})
	require.Equal(t, []tenant.ChatID{family}, unsure.Missed)
}

func movesPeople(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	head := commit(t, h, describe("Family", "5", tenant.RoleMember)).Head
	move := func(version, before string, change tenant.ChangeGroup) {
		t.Helper()
		change.ID, change.Self, change.By, change.Version, change.PrevVersion = family, me, ana, version, before
		for range 2 {
			require.Empty(t, commit(t, h, change).Missed)
		}
	}
	move("6", "5", tenant.ChangeGroup{Added: []tenant.ChatID{beto}})
	move("7", "6", tenant.ChangeGroup{Promoted: []tenant.ChatID{beto, me, ana}})
	require.Equal(t, map[tenant.ChatID]tenant.Role{ana: tenant.RoleSuperAdmin, beto: tenant.RoleAdmin, me: tenant.RoleAdmin}, roles(t, h))
	require.True(t, *getChat(t, h, family).IsAdmin)
	move("8", "7", tenant.ChangeGroup{Demoted: []tenant.ChatID{me}})
	move("9", "8", tenant.ChangeGroup{Removed: []tenant.ChatID{beto, "5511999990009@c.us"}})
	require.Equal(t, map[tenant.ChatID]tenant.Role{ana: tenant.RoleSuperAdmin, me: tenant.RoleMember}, roles(t, h))
	require.Equal(t, []string{
		"added " + string(beto) + " by " + string(ana), "promoted " + string(me) + " by " + string(ana), "promoted " + string(beto) + " by " + string(ana),
		"demoted " + string(me) + " by " + string(ana), "removed " + string(beto) + " by " + string(ana),
	}, news(t, h, head))
}

func ordersChanges(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, describe("Family", "5", tenant.RoleMember))
	change := func(c tenant.ChangeGroup) []tenant.ChatID {
		t.Helper()
		c.ID, c.Self = family, me
		return commit(t, h, c).Missed
	}
	change(tenant.ChangeGroup{Name: new("Newer"), At: after(9)})
	change(tenant.ChangeGroup{Name: new("Older"), At: after(8)})
	change(tenant.ChangeGroup{Description: new("newer"), At: after(9)})
	change(tenant.ChangeGroup{Description: new("older"), At: after(8)})
	g := getGroup(t, h)
	require.Equal(t, "Newer", g.Name)
	require.Equal(t, "newer", g.Description)

	require.Equal(t, []tenant.ChatID{family}, change(tenant.ChangeGroup{Added: []tenant.ChatID{beto}, Version: "8", PrevVersion: "7"}), "6 and 7 were missed")
	require.Len(t, roles(t, h), 3)
	require.Empty(t, change(tenant.ChangeGroup{Removed: []tenant.ChatID{beto}, Version: "6", PrevVersion: "5"}), "came late")
	require.Len(t, roles(t, h), 3)
	rev := g.Rev
	require.Equal(t, []tenant.ChatID{family}, change(tenant.ChangeGroup{Gone: true, Rev: &rev}), "asked before somebody came")
	require.Equal(t, tenant.RoleMember, getGroup(t, h).Role)
}

func leavesGroup(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	head := commit(t, h, describe("Family", "5", tenant.RoleAdmin)).Head
	for range 2 {
		commit(t, h, tenant.ChangeGroup{ID: family, Self: me, By: ana, Removed: []tenant.ChatID{me}, Version: "6", PrevVersion: "5"})
	}
	g := getGroup(t, h)
	require.Equal(t, tenant.RoleNone, g.Role)
	require.Equal(t, 1, g.Size)
	require.False(t, *getChat(t, h, family).IsAdmin)
	again := describe("Family", "3", tenant.RoleMember)
	again.Joined, again.By = true, ana
	commit(t, h, again)
	require.Equal(t, tenant.RoleMember, getGroup(t, h).Role)
	commit(t, h, tenant.ChangeGroup{ID: family, Self: me, Gone: true})
	require.Equal(t, tenant.RoleNone, getGroup(t, h).Role)
	require.Equal(t, []string{
		"removed " + string(me) + " by " + string(ana), "added " + string(me) + " by " + string(ana), "removed " + string(me) + " by ",
	}, news(t, h, head))
}

func linksMembers(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	put := describe("Family", "5", tenant.RoleMember)
	put.Group.OwnerID, put.Participants[0] = anaLID, tenant.Participant{ID: anaLID, LID: string(anaLID), Role: tenant.RoleAdmin}
	other := put
	other.Group.ID = "120363000000000002@g.us"
	other.Participants = append([]tenant.Participant{{ID: ana, Role: tenant.RoleMember}}, put.Participants...)
	commit(t, h, put, other)
	commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana})
	require.Equal(t, map[tenant.ChatID]tenant.Role{ana: tenant.RoleAdmin, me: tenant.RoleMember}, roles(t, h))
	all, err := h.Participants(t.Context(), family)
	require.NoError(t, err)
	require.Equal(t, string(anaLID), all[0].LID)
	require.Equal(t, ana.Phone(), all[0].Phone)
	require.Equal(t, ana, getGroup(t, h).OwnerID)
	all, err = h.Participants(t.Context(), other.Group.ID)
	require.NoError(t, err)
	require.Len(t, all, 2, "she was in it twice")
	require.Equal(t, tenant.RoleAdmin, all[0].Role)
	require.Equal(t, 2, *getChat(t, h, other.Group.ID).ParticipantCount)

	commit(t, h, tenant.ChangeGroup{ID: family, Self: me, Removed: []tenant.ChatID{anaLID}, Version: "6", PrevVersion: "5"})
	require.Len(t, roles(t, h), 1, "named by her hidden id")
}

func outlivesChat(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, describe("Family", "5", tenant.RoleAdmin), tenant.DeleteChat{ID: family})
	again := describe("Clan", "6", tenant.RoleAdmin)
	commit(t, h, again, tenant.ChangeGroup{ID: family, Self: me, At: after(9), Locked: new(true)})
	require.Empty(t, chatIDs(t, h, tenant.ChatQuery{}), "what was deleted here comes back when something happens in it")
	commit(t, h, live(receivedIn(family, "A", ana, "hello", 1)))
	chat := getChat(t, h, family)
	require.Equal(t, "Clan", chat.Name)
	require.True(t, *chat.IsAdmin && *chat.Locked)
	require.Equal(t, 2, *chat.ParticipantCount)
}

func listsGroups(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	put := describe("Family", "5", tenant.RoleAdmin)
	put.Group.Digest = "abc"
	commit(t, h, put, history(received("A", ana, "hello", 1)))
	all, err := h.Groups(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, tenant.Group{
		ID: family, Role: tenant.RoleAdmin, Size: 2, Rev: 1, Digest: "abc", OwnerID: ana, Settings: tenant.GroupSettings{MemberAdd: tenant.MemberAddAll},
	}, all[0])
	chats := map[tenant.ChatID]bool{}
	for chat, err := range h.Chats(t.Context(), tenant.ChatQuery{}) {
		require.NoError(t, err)
		chats[chat.ID] = chat.ParticipantCount != nil && *chat.ParticipantCount == 2 && *chat.IsAdmin
	}
	require.Equal(t, map[tenant.ChatID]bool{family: true, ana: false}, chats)
}
