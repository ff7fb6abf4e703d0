package tenanttest

import (
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func chatStateChecks() []check {
	return []check{
		{"OfChatsThatAreNotStoredAreLeft", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			no := false
			commit(t, h,
				tenant.PutChat{ID: ana, Archived: &no, IfStored: true}, tenant.MarkUnread{ChatID: ana},
				tenant.MarkRead{ChatID: ana, Until: after(9)}, tenant.ClearChat{ID: ana, Until: after(9), Drop: true},
			)
			require.Empty(t, chatIDs(t, h, tenant.ChatQuery{}))
			require.Empty(t, events(t, h))
			yes := true
			commit(t, h, tenant.PutChat{ID: ana, Archived: &yes}, tenant.PutChat{ID: ana, Archived: &no, IfStored: true})
			require.False(t, getChat(t, h, ana).Archived)
		}},
		{"ReadUpToAMessage", readsUpToAMessage},
		{"Unread", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana}, history(received("A", ana, "one", 1)))
			for range 2 {
				head := commit(t, h, tenant.MarkUnread{ChatID: anaLID}).Head
				require.Equal(t, 1, getChat(t, h, ana).UnreadCount)
				require.Equal(t, int64(len(events(t, h))), head)
			}
			require.Len(t, events(t, h), 1)
			commit(t, h, live(received("B", ana, "two", 2)), tenant.MarkUnread{ChatID: ana})
			require.Equal(t, 2, getChat(t, h, ana).UnreadCount)
			commit(t, h, tenant.MarkRead{ChatID: ana})
			require.Zero(t, getChat(t, h, ana).UnreadCount)
			// By hand there and back, without a message in between: the mark of reading names the same message as before.
			read := tenant.MarkRead{ChatID: ana, Until: getChat(t, h, ana).LastMessage.Timestamp}
			for range 2 {
				commit(t, h, read)
				require.Zero(t, getChat(t, h, ana).UnreadCount)
				commit(t, h, tenant.MarkUnread{ChatID: ana})
				require.Equal(t, 1, getChat(t, h, ana).UnreadCount)
			}
		}},
		{"Cleared", clearsChats},
		{"Counted", func(t tester, s tenant.Store) {
			h, other := NewTenant(t, s), NewTenant(t, s)
			counts, err := h.CountChats(t.Context())
			require.NoError(t, err)
			require.Zero(t, counts)
			commit(t, h, history(received("A", ana, "one", 1)), history(received("B", beto, "two", 2)), tenant.PutChat{ID: family})
			commit(t, other, tenant.PutChat{ID: family})
			counts, err = h.CountChats(t.Context())
			require.NoError(t, err)
			require.Equal(t, tenant.ChatCounts{Groups: 1, Direct: 2}, counts)
		}},
	}
}

func readsUpToAMessage(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, live(received("A", ana, "one", 1)), live(received("B", ana, "two", 2)), live(own("C", ana, "mine", 3)),
		live(received("D", ana, "three", 4)))
	require.Equal(t, 3, getChat(t, h, ana).UnreadCount)
	for range 2 {
		commit(t, h, tenant.MarkRead{ChatID: ana, Until: after(2)})
		require.Equal(t, 1, getChat(t, h, ana).UnreadCount, "what came later stays unread, and what was sent never was")
	}
	commit(t, h, tenant.MarkRead{ChatID: ana, Until: after(0)})
	require.Equal(t, 1, getChat(t, h, ana).UnreadCount, "it was more once; nothing becomes unread by being read")
	commit(t, h, live(received("E", ana, "four", 5)), tenant.MarkRead{ChatID: ana, Until: after(5)})
	require.Zero(t, getChat(t, h, ana).UnreadCount, "also what was stored in the same commit")
}

func clearsChats(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, live(received("A", ana, "one", 1)), live(received("B", ana, "two", 2)), live(received("C", ana, "three", 3)))
	for range 2 {
		commit(t, h, tenant.ClearChat{ID: ana, Until: after(2)})
		require.Equal(t, []tenant.MessageID{"C"}, messageIDs(t, h, ana))
		require.Equal(t, 1, getChat(t, h, ana).UnreadCount)
	}
	commit(t, h, tenant.ClearChat{ID: ana, Until: after(2), Drop: true})
	require.Equal(t, []tenant.MessageID{"C"}, messageIDs(t, h, ana), "what is newer keeps its chat")
	head := commit(t, h, tenant.ClearChat{ID: ana, Until: after(3)}).Head
	require.Equal(t, tenant.EventChatUpdated, events(t, h)[head-1].Type)
	chat := getChat(t, h, ana)
	require.Nil(t, chat.LastMessage)
	require.Nil(t, chat.LastMessageAt)
	require.Zero(t, chat.UnreadCount)
	require.Equal(t, after(3), chat.Activity, "a chat keeps its place")
	commit(t, h, tenant.ClearChat{ID: ana, Until: after(3), Drop: true})
	require.Empty(t, chatIDs(t, h, tenant.ChatQuery{}))
	require.Equal(t, []tenant.EventType{tenant.EventChatDeleted}, eventTypes(t, h, head))
}
