package tenanttest

import (
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func linkChecks() []check {
	link := tenant.LinkIDs{LID: anaLID, Phone: ana}
	return []check{
		{"LearnedFirstLeadToOneChat", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, link, live(received("A", anaLID, "hello", 1)), live(received("B", ana, "hello", 2)))
			require.Equal(t, []tenant.ChatID{ana}, chatIDs(t, h, tenant.ChatQuery{}))
			chat := getChat(t, h, anaLID)
			require.Equal(t, ana, chat.ID)
			require.Equal(t, string(anaLID), chat.LID)
			require.Equal(t, ana, chat.LastMessage.SenderID)
			require.Equal(t, []tenant.EventType{tenant.EventMessageReceived, tenant.EventMessageReceived}, eventTypes(t, h, 0))
		}},
		{"LearnedLateMergeTwoChats", mergesChats},
		{"LearnedLateRenameTheOnlyChat", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, live(received("A", anaLID, "hello", 1)))
			require.Equal(t, string(anaLID), getChat(t, h, anaLID).LID)
			require.Empty(t, getChat(t, h, anaLID).Phone, "the digits of a LID are no phone number")
			head := commit(t, h, link).Head
			require.EqualValues(t, 3, head)
			require.Equal(t, []tenant.EventType{tenant.EventChatDeleted, tenant.EventChatUpdated}, eventTypes(t, h, 1))
			require.Equal(t, []tenant.ChatID{ana}, chatIDs(t, h, tenant.ChatQuery{}))
			chat := getChat(t, h, anaLID)
			require.Equal(t, ana, chat.ID)
			require.Equal(t, 1, chat.UnreadCount)
			require.Equal(t, "5511999990001", chat.Phone)
			require.Equal(t, []tenant.MessageID{"A"}, messageIDs(t, h, ana))
			commit(t, h, link)
			require.Len(t, events(t, h), 3, "twice is once")
		}},
		{"KeepMessagesThatWereStoredTwice", mergesTwins},
		{"RenameSendersInGroups", renamesSenders},
		{"MergeWhatPeopleAreCalled", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, tenant.PutContact{ID: anaLID, PushName: "Ana"}, tenant.PutContact{ID: ana, Name: "Ana Silva"},
				live(received("A", anaLID, "hello", 1)))
			require.Equal(t, "Ana", getChat(t, h, anaLID).Name)
			commit(t, h, link)
			require.Equal(t, "Ana Silva", getChat(t, h, ana).Name)
			commit(t, h, tenant.PutContact{ID: anaLID, Name: "Aninha"})
			require.Equal(t, "Aninha", getChat(t, h, ana).Name, "the alias names the same person")
		}},
		{"StayAliasesForEveryChange", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, link, live(own("A", anaLID, "hello", 1)))
			commit(t, h, tenant.SetStatus{ChatID: anaLID, MessageIDs: []tenant.MessageID{"A"}, Status: tenant.StatusRead},
				live(received("B", anaLID, "hi", 2)), tenant.MarkRead{ChatID: anaLID})
			require.Zero(t, getChat(t, h, ana).UnreadCount)
			m, err := h.Message(t.Context(), anaLID, "A", "")
			require.NoError(t, err)
			require.Equal(t, tenant.StatusRead, m.Status)
			m, err = h.Message(t.Context(), anaLID, "B", anaLID)
			require.NoError(t, err)
			require.Equal(t, ana, m.SenderID)
			commit(t, h, tenant.DeleteChat{ID: anaLID})
			require.Empty(t, chatIDs(t, h, tenant.ChatQuery{}))
		}},
		{"AreLookedUpBothWays", looksUpLinks},
		{"AreRefusedTheWrongWayRound", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			for _, wrong := range []tenant.LinkIDs{{LID: ana, Phone: anaLID}, {LID: anaLID}, {Phone: ana}, {LID: anaLID, Phone: family}} {
				_, err := h.Commit(t.Context(), wrong)
				require.Error(t, err)
			}
		}},
	}
}

func mergesChats(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	pinned := true
	commit(t, h,
		live(received("L1", anaLID, "by lid", 1)), live(received("P2", ana, "by number", 2)),
		live(received("L3", anaLID, "by lid", 3)), live(own("L4", anaLID, "to lid", 4)), live(received("P5", ana, "by number", 5)),
		tenant.PutChat{ID: anaLID, Pinned: &pinned}, live(received("B", beto, "another", 9)))
	head := commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana}).Head
	commit(t, h, live(received("L6", anaLID, "later", 6)))

	require.Equal(t, []tenant.MessageID{"L1", "P2", "L3", "L4", "P5", "L6"}, messageIDs(t, h, ana))
	require.Equal(t, []tenant.MessageID{"L1", "P2", "L3", "L4", "P5", "L6"}, messageIDs(t, h, anaLID))
	require.Equal(t, []tenant.ChatID{beto, ana}, chatIDs(t, h, tenant.ChatQuery{}))
	chat := getChat(t, h, ana)
	require.Equal(t, 5, chat.UnreadCount)
	require.True(t, chat.Pinned)
	require.Equal(t, string(anaLID), chat.LID)
	require.Equal(t, tenant.MessageID("L6"), chat.LastMessage.ID)
	page, err := h.Messages(t.Context(), ana, tenant.MessageQuery{Limit: 10})
	require.NoError(t, err)
	for _, m := range page.Messages {
		require.Equal(t, ana, m.ChatID)
		require.Contains(t, []tenant.ChatID{ana, me}, m.SenderID)
	}
	merged := events(t, h)[head-2:]
	require.Equal(t, tenant.EventChatDeleted, merged[0].Type)
	require.JSONEq(t, `{"id":"104857600000001@lid","mergedInto":"5511999990001@c.us"}`, string(merged[0].Data))
	require.Equal(t, tenant.EventChatUpdated, merged[1].Type)
	require.Contains(t, string(merged[1].Data), `"unreadCount":4`)
}

func mergesTwins(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	empty := func(m tenant.Message) tenant.Message {
		m.Type, m.Text = tenant.TypeUnsupported, ""
		return m
	}
	sent := own("S", anaLID, "to her", 4)
	sent.Status = tenant.StatusDelivered
	commit(t, h,
		live(received("1", anaLID, "content", 1)), live(empty(received("1", ana, "", 1))),
		live(empty(received("2", anaLID, "", 2))), live(received("2", ana, "content", 2)),
		live(received("3", anaLID, "content", 3)), live(received("3", ana, "content", 3)),
		live(sent), live(own("S", ana, "to her", 4)),
		live(empty(receivedIn(family, "G", ana, "", 5))), live(receivedIn(family, "G", anaLID, "content", 5)),
	)
	commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana})
	require.Equal(t, []tenant.MessageID{"1", "2", "3", "S"}, messageIDs(t, h, ana))
	require.Equal(t, []tenant.MessageID{"G"}, messageIDs(t, h, family))
	for _, id := range []tenant.MessageID{"1", "2", "3"} {
		m, err := h.Message(t.Context(), ana, id, "")
		require.NoError(t, err)
		require.Equal(t, "content", m.Text, id)
	}
	m, err := h.Message(t.Context(), ana, "S", "")
	require.NoError(t, err)
	require.Equal(t, tenant.StatusDelivered, m.Status)
	require.Equal(t, "content", getChat(t, h, family).LastMessage.Text)
	require.Equal(t, tenant.MessageID("S"), getChat(t, h, ana).LastMessage.ID)
}

func renamesSenders(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, live(receivedIn(family, "A", anaLID, "before", 1)))
	commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana})
	result := commit(t, h, live(receivedIn(family, "A", ana, "before", 1)), live(receivedIn(family, "A", anaLID, "before", 1)))
	require.Equal(t, []bool{false, false}, result.Fresh, "the same message by either id")
	require.Equal(t, []tenant.MessageID{"A"}, messageIDs(t, h, family))
	chat := getChat(t, h, family)
	require.Equal(t, ana, chat.LastMessage.SenderID)
	require.Equal(t, []tenant.ChatID{family}, chatIDs(t, h, tenant.ChatQuery{}), "no chat comes of it")
	m, err := h.Message(t.Context(), family, "A", anaLID)
	require.NoError(t, err)
	require.Equal(t, ana, m.SenderID)
}

func looksUpLinks(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana})
	for id, want := range map[tenant.ChatID]tenant.ChatID{anaLID: ana, ana: ana, family: family, "7@lid": "7@lid"} {
		found, err := h.Resolve(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, want, found)
	}
	many := []tenant.ChatID{beto, ana}
	for n := range 20 {
		many = append(many, tenant.PersonID(string(numbered(n))[1:]))
	}
	lids, err := h.LIDs(t.Context(), many)
	require.NoError(t, err)
	require.Equal(t, map[tenant.ChatID]tenant.ChatID{ana: anaLID}, lids)

	commit(t, h, tenant.LinkIDs{LID: "8@lid", Phone: ana})
	lids, err = h.LIDs(t.Context(), many)
	require.NoError(t, err)
	require.Len(t, lids, 1, "a number may have another hidden id later")
	found, err := h.Resolve(t.Context(), anaLID)
	require.NoError(t, err)
	require.Equal(t, ana, found, "and the old one still names the person")
	lids, err = h.LIDs(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, lids)
}
