package tenanttest

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func chatChecks() []check {
	return []check{
		{"AreNamedAfterTheBestThatIsKnown", namesChats},
		{"OfGroupsAreNamedOnce", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, tenant.PutMessage{Message: receivedIn(family, "A", ana, "hello", 1), Live: true, ChatName: "Family"})
			commit(t, h, tenant.PutMessage{Message: receivedIn(family, "B", ana, "hello", 2), Live: true, ChatName: "Other"})
			chat := getChat(t, h, family)
			require.Equal(t, "Family", chat.Name)
			require.Equal(t, tenant.ChatGroup, chat.Type)
			require.Empty(t, chat.Phone)
			name := "Família"
			commit(t, h, tenant.PutChat{ID: family, Name: &name})
			require.Equal(t, name, getChat(t, h, family).Name)
		}},
		{"ChangeInPart", changesChats},
		{"AreReadOnce", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			head := commit(t, h, live(received("A", ana, "one", 1)), live(received("B", ana, "two", 2))).Head
			for range 2 {
				commit(t, h, tenant.MarkRead{ChatID: ana}, tenant.MarkRead{ChatID: beto})
			}
			require.Zero(t, getChat(t, h, ana).UnreadCount)
			require.Equal(t, []tenant.EventType{tenant.EventChatUpdated}, eventTypes(t, h, head))
			require.NotContains(t, string(events(t, h)[head].Data), "lastMessage\"")
		}},
		{"AreDeletedWithTheirMessages", deletesChats},
		{"AreNotMadeByContacts", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, tenant.PutContact{ID: ana, PushName: "Ana"})
			require.Empty(t, chatIDs(t, h, tenant.ChatQuery{}))
			require.Equal(t, []tenant.EventType{tenant.EventContactUpdated}, eventTypes(t, h, 0))
			commit(t, h, live(received("A", ana, "hello", 1)))
			require.Equal(t, "Ana", getChat(t, h, ana).Name)
		}},
		{"AreNotFound", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			_, err := h.Chat(t.Context(), ana)
			require.ErrorIs(t, err, tenant.ErrChatNotFound)
			_, err = h.Chat(t.Context(), anaLID)
			require.ErrorIs(t, err, tenant.ErrChatNotFound)
			_, err = h.Messages(t.Context(), ana, tenant.MessageQuery{Limit: 10})
			require.ErrorIs(t, err, tenant.ErrChatNotFound)
			_, err = h.Commit(t.Context(), tenant.DeleteChat{ID: ana})
			require.ErrorIs(t, err, tenant.ErrChatNotFound)
		}},
	}
}

func namesChats(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	given := "given"
	steps := []struct {
		change tenant.Change
		name   string
		events int
	}{
		{live(received("A", ana, "hello", 1)), "5511999990001", 1},
		{tenant.PutChat{ID: ana, Name: &given}, "given", 2},
		{tenant.PutContact{ID: ana, PushName: "Ana"}, "Ana", 4},
		{tenant.PutContact{ID: ana, PushName: "Ana"}, "Ana", 4},
		{tenant.PutContact{ID: ana, Name: "Ana Silva"}, "Ana Silva", 6},
		{tenant.PutContact{ID: ana, PushName: "Aninha"}, "Ana Silva", 7},
		{tenant.PutContact{ID: ana}, "Ana Silva", 7},
	}
	for i, step := range steps {
		commit(t, h, step.change)
		require.Equal(t, step.name, getChat(t, h, ana).Name, "step %d", i)
		require.Len(t, events(t, h), step.events, "step %d", i)
	}
}

func changesChats(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	name, unread, yes, muted := "Family", 7, true, after(3600)
	commit(t, h, tenant.PutChat{ID: family, Name: &name, Activity: after(5)})
	for range 2 {
		commit(t, h, tenant.PutChat{ID: family, Unread: &unread, Archived: &yes, Pinned: &yes, Muted: &muted})
	}
	chat := getChat(t, h, family)
	require.Equal(t, name, chat.Name)
	require.Equal(t, unread, chat.UnreadCount)
	require.True(t, chat.Archived)
	require.True(t, chat.Pinned)
	require.Equal(t, muted, *chat.MutedUntil)
	require.Equal(t, after(5), chat.Activity)
	require.Nil(t, chat.LastMessageAt)
	require.Nil(t, chat.LastMessage)
	require.Equal(t, []tenant.EventType{tenant.EventChatUpdated, tenant.EventChatUpdated}, eventTypes(t, h, 0))

	unread = -1
	commit(t, h, tenant.PutChat{ID: family, Muted: &time.Time{}, Unread: &unread, Activity: after(1)})
	chat = getChat(t, h, family)
	require.Nil(t, chat.MutedUntil)
	require.Zero(t, chat.UnreadCount)
	require.Equal(t, after(5), chat.Activity, "activity does not go back")
}

func deletesChats(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	head := commit(t, h, live(received("A", ana, "one", 1)), live(received("B", beto, "two", 2))).Head
	commit(t, h, tenant.DeleteChat{ID: ana})
	require.Equal(t, []tenant.EventType{tenant.EventChatDeleted}, eventTypes(t, h, head))
	require.JSONEq(t, `{"id":"5511999990001@c.us"}`, string(events(t, h)[head].Data))
	require.Equal(t, []tenant.ChatID{beto}, chatIDs(t, h, tenant.ChatQuery{}))
	_, err := h.Messages(t.Context(), ana, tenant.MessageQuery{Limit: 10})
	require.ErrorIs(t, err, tenant.ErrChatNotFound)

	commit(t, h, live(received("C", ana, "again", 3)), tenant.DeleteChat{ID: ana}, live(received("D", ana, "and again", 4)))
	require.Equal(t, []tenant.MessageID{"D"}, messageIDs(t, h, ana), "made anew without what was there before")
	require.Equal(t, 1, getChat(t, h, ana).UnreadCount)

	_, err = h.Commit(t.Context(), live(received("E", ana, "not stored", 5)), tenant.DeleteChat{ID: family})
	require.ErrorIs(t, err, tenant.ErrChatNotFound)
	require.Equal(t, []tenant.MessageID{"D"}, messageIDs(t, h, ana), "all or nothing")
}

func listChecks() []check {
	return []check{
		{"OfChatsBeginWithTheNewestActivity", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, history(received("A", ana, "one", 1)), history(received("B", beto, "two", 3)),
				tenant.PutChat{ID: family, Activity: after(2)})
			require.Equal(t, []tenant.ChatID{beto, family, ana}, chatIDs(t, h, tenant.ChatQuery{}))
			require.Equal(t, []tenant.ChatID{beto, family}, chatIDs(t, h, tenant.ChatQuery{Limit: 2}))
			require.Equal(t, []tenant.ChatID{family}, chatIDs(t, h, tenant.ChatQuery{Type: tenant.ChatGroup}))
			yes, no := true, false
			commit(t, h, tenant.PutChat{ID: ana, Archived: &yes})
			require.Equal(t, []tenant.ChatID{ana}, chatIDs(t, h, tenant.ChatQuery{Archived: &yes}))
			require.Equal(t, []tenant.ChatID{beto, family}, chatIDs(t, h, tenant.ChatQuery{Archived: &no}))
		}},
		{"OfChatsAreSearched", searchesChats},
		{"OfChatsGoOnWhileChatsMove", pagesChats},
		{"OfManyChatsMissNone", streamsManyChats},
		{"OfChatsRefuseForeignCursors", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			for _, cursor := range []string{"x", "!!", (&tenant.Message{}).Cursor(), h.ID().Cursor()} {
				n := 0
				for _, err := range h.Chats(t.Context(), tenant.ChatQuery{Cursor: cursor}) {
					require.ErrorIs(t, err, tenant.ErrInvalidCursor)
					n++
				}
				require.Equal(t, 1, n)
			}
			_, err := h.Messages(t.Context(), ana, tenant.MessageQuery{Limit: 1, Cursor: (&tenant.Chat{ID: ana}).Cursor()})
			require.ErrorIs(t, err, tenant.ErrInvalidCursor)
		}},
		{"OfMessagesGoOnWhileMessagesCome", pagesMessages},
		{"OfMessagesAreBoundedAndSearched", boundsMessages},
	}
}

func searchesChats(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	for i, name := range []string{"Padaria do JOÃO", "100% legal", "under_score", `back\slash`, "Árvore"} {
		commit(t, h, tenant.PutChat{ID: tenant.GroupID(strconv.Itoa(100 + i)), Name: &name, Activity: after(i)})
	}
	commit(t, h, history(received("A", ana, "one", 60)))
	for search, want := range map[string][]tenant.ChatID{
		"joão":     {"100@g.us"},
		"JOÃO":     {"100@g.us"},
		"%":        {"101@g.us"},
		"_":        {"102@g.us"},
		`\`:        {"103@g.us"},
		"ÁRVORE":   {"104@g.us"},
		"9999900":  {ana},
		"nobody":   {},
		"' OR 1=1": {},
	} {
		require.Equal(t, want, chatIDs(t, h, tenant.ChatQuery{Search: search}), search)
	}
}

func pagesChats(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	for n := range 20 { // all at the same time
		commit(t, h, tenant.PutChat{ID: tenant.GroupID(strconv.Itoa(100 + n)), Activity: noon()})
	}
	var seen []tenant.ChatID
	q := tenant.ChatQuery{Limit: 3}
	for page := 0; ; page++ {
		n := 0
		for chat, err := range h.Chats(t.Context(), q) {
			require.NoError(t, err)
			seen = append(seen, chat.ID)
			q.Cursor = chat.Cursor()
			n++
		}
		if n < q.Limit {
			break
		}
		commit(t, h, tenant.PutChat{ID: tenant.GroupID(strconv.Itoa(500 + page)), Activity: after(1)})
	}
	slices.Sort(seen)
	require.Len(t, slices.Compact(seen), 20, "each once, new ones on top aside")
	require.Len(t, seen, 20)
}

func streamsManyChats(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	const many = 1234
	var changes []tenant.Change
	for n := range many {
		changes = append(changes, tenant.PutChat{ID: tenant.GroupID(strconv.Itoa(10_000 + n)), Activity: after(n)})
	}
	commit(t, h, changes...)
	seen := map[tenant.ChatID]int{}
	for chat, err := range h.Chats(t.Context(), tenant.ChatQuery{}) {
		require.NoError(t, err)
		seen[chat.ID]++
		if len(seen) == 100 { // the oldest becomes the newest while the list is read
			commit(t, h, tenant.PutChat{ID: tenant.GroupID("10000"), Activity: after(many)})
		}
	}
	require.Len(t, seen, many)
	for id, times := range seen {
		require.Equal(t, 1, times, id)
	}
	for _, err := range h.Chats(t.Context(), tenant.ChatQuery{}) {
		require.NoError(t, err)
		break // a reader may leave
	}
}

func pagesMessages(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	for n := range 20 { // two in each second
		commit(t, h, history(received(numbered(n), ana, "text", n/2)))
	}
	var seen []tenant.MessageID
	q := tenant.MessageQuery{Limit: 3}
	for page := 0; ; page++ {
		list, err := h.Messages(t.Context(), ana, q)
		require.NoError(t, err)
		for _, m := range list.Messages {
			seen = append(seen, m.ID)
		}
		if list.Next == "" {
			break
		}
		q.Cursor = list.Next
		commit(t, h, live(received(numbered(100+page), ana, "new", 100)))
	}
	require.Len(t, seen, 20)
	require.IsDecreasing(t, seen)
}

func boundsMessages(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	for n, text := range []string{"Olá, Ana", "100%", "OLÁ DE NOVO", "plain ASCII", "a_b"} {
		commit(t, h, history(received(numbered(n), ana, text, n)))
	}
	found := func(q tenant.MessageQuery) string {
		q.Limit = 10
		page, err := h.Messages(t.Context(), ana, q)
		require.NoError(t, err)
		var ids []string
		for _, m := range page.Messages {
			ids = append(ids, strings.TrimLeft(string(m.ID), "M0"))
		}
		return strings.Join(ids, " ")
	}
	require.Equal(t, "4 3 2", found(tenant.MessageQuery{After: after(1).UnixMilli()}))
	require.Equal(t, "1 ", found(tenant.MessageQuery{Before: after(2).UnixMilli()}))
	require.Equal(t, "2", found(tenant.MessageQuery{Before: after(3).UnixMilli(), After: after(1).UnixMilli()}))
	require.Equal(t, "2 ", found(tenant.MessageQuery{Search: "olá"}))
	require.Equal(t, "3", found(tenant.MessageQuery{Search: "Ascii"}))
	require.Equal(t, "1", found(tenant.MessageQuery{Search: "%"}))
	require.Equal(t, "4", found(tenant.MessageQuery{Search: "_"}))
	require.Empty(t, found(tenant.MessageQuery{Search: "nothing"}))
}
