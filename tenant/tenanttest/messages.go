package tenanttest

import (
	"encoding/json"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func messageChecks() []check {
	return []check{
		{"AreStoredWithTheirChatAndEvent", storesMessageWithChatAndEvent},
		{"AreStoredOnce", storesMessageOnce},
		{"AreStoredForEachSenderOfAnID", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, live(receivedIn(family, "SAME", ana, "by Ana", 1)), live(receivedIn(family, "SAME", beto, "by Beto", 2)))
			require.Equal(t, []tenant.MessageID{"SAME", "SAME"}, messageIDs(t, h, family))
		}},
		{"ArePickedOwnFirstThenNewest", picksMessage},
		{"AreFilledInWhereAPlaceholderStood", fillsPlaceholder},
		{"OfHistoryMakeNoEventAndNoUnread", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			result := commit(t, h, history(received("A", ana, "old", 1)), history(own("B", ana, "old, too", 2)))
			require.Equal(t, []bool{true, true}, result.Fresh)
			require.Zero(t, result.Head)
			require.Empty(t, events(t, h))
			require.Zero(t, getChat(t, h, ana).UnreadCount)
		}},
		{"AreRefusedWithoutID", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			_, err := h.Commit(t.Context(), live(received("A", ana, "good", 1)), live(received("", ana, "bad", 2)))
			require.Error(t, err)
			require.NotErrorIs(t, err, tenant.ErrUnavailable)
			require.Empty(t, chatIDs(t, h, tenant.ChatQuery{}), "all or nothing")
			require.Empty(t, events(t, h))
		}},
		{"KeepAnyText", keepsAnyText},
		{"KeepAllTheirMembers", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			edited, deleted := after(10), after(20)
			m := own("A", family, "*hi* @5511999990001", 5)
			m.SenderName, m.ReplyTo, m.Mentions = "Me", "Q", []tenant.ChatID{ana, beto}
			m.Status, m.EditedAt, m.DeletedAt = tenant.StatusRead, &edited, &deleted
			m.Reactions = []tenant.Reaction{{SenderID: ana, Emoji: "👍", Timestamp: after(6)}}
			stored := commit(t, h, live(m)).Messages[0]
			m.Ord = stored.Ord
			require.Equal(t, m, stored)
			found, err := h.Message(t.Context(), family, "A", "")
			require.NoError(t, err)
			require.Equal(t, m, found)
		}},
	}
}

func storesMessageWithChatAndEvent(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	result := commit(t, h, live(received("A", ana, "hello", 1)), live(own("B", ana, "hi", 2)))
	require.EqualValues(t, 2, result.Head)
	require.Equal(t, []bool{true, true}, result.Fresh)

	chat := getChat(t, h, ana)
	require.Equal(t, tenant.ChatDirect, chat.Type)
	require.Equal(t, "5511999990001", chat.Name)
	require.Equal(t, "5511999990001", chat.Phone)
	require.Equal(t, 1, chat.UnreadCount)
	require.Equal(t, after(2), *chat.LastMessageAt)
	require.Equal(t, tenant.MessageID("B"), chat.LastMessage.ID)
	require.Empty(t, chat.LastMessage.Payload)

	all := events(t, h)
	require.Equal(t, []tenant.EventType{tenant.EventMessageReceived, tenant.EventMessageSent}, eventTypes(t, h, 0))
	page, err := h.Messages(t.Context(), ana, tenant.MessageQuery{Limit: 10})
	require.NoError(t, err)
	for i, m := range page.Messages {
		shown, err := json.Marshal(m)
		require.NoError(t, err)
		require.JSONEq(t, string(shown), string(all[1-i].Data), "a journal shows what a list shows")
	}
}

func storesMessageOnce(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	first := commit(t, h, live(received("A", ana, "hello", 1)))
	again := received("A", ana, "another text", 9)
	for range 2 {
		second := commit(t, h, live(again), history(again))
		require.Equal(t, []bool{false, false}, second.Fresh)
		require.Equal(t, first.Messages[0], second.Messages[0])
		require.Equal(t, first.Head, second.Head)
	}
	require.Len(t, events(t, h), 1)
	require.Equal(t, 1, getChat(t, h, ana).UnreadCount)
	require.Equal(t, after(1), *getChat(t, h, ana).LastMessageAt)
}

func picksMessage(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, live(receivedIn(family, "X", ana, "by Ana", 5)), live(receivedIn(family, "X", beto, "by Beto", 3)))
	found, err := h.Message(t.Context(), family, "X", "")
	require.NoError(t, err)
	require.Equal(t, ana, found.SenderID, "the newest")
	found, err = h.Message(t.Context(), family, "X", beto)
	require.NoError(t, err)
	require.Equal(t, beto, found.SenderID, "the one that was asked for")

	commit(t, h, live(own("X", family, "by us", 1)))
	found, err = h.Message(t.Context(), family, "X", "")
	require.NoError(t, err)
	require.True(t, found.FromMe, "our own")
	require.Equal(t, "payload of X", string(found.Payload))

	_, err = h.Message(t.Context(), family, "Y", "")
	require.ErrorIs(t, err, tenant.ErrMessageNotFound)
	_, err = h.Message(t.Context(), family, "X", "1@c.us")
	require.ErrorIs(t, err, tenant.ErrMessageNotFound)
	_, err = h.Message(t.Context(), beto, "X", "")
	require.ErrorIs(t, err, tenant.ErrChatNotFound)
}

func fillsPlaceholder(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	placeholder := received("A", ana, "", 1)
	placeholder.Type, placeholder.Payload = tenant.TypeUnsupported, []byte{1, 2}
	stored := commit(t, h, live(placeholder)).Messages[0]
	content := received("A", ana, "here it is", 1)
	content.Mentions = []tenant.ChatID{beto}
	for range 2 {
		result := commit(t, h, live(content))
		require.Equal(t, []bool{false}, result.Fresh)
		require.Equal(t, "here it is", result.Messages[0].Text)
		require.Equal(t, stored.Ord, result.Messages[0].Ord)
	}
	commit(t, h, live(placeholder))

	found, err := h.Message(t.Context(), ana, "A", "")
	require.NoError(t, err)
	require.Equal(t, tenant.TypeText, found.Type)
	require.Equal(t, []tenant.ChatID{beto}, found.Mentions)
	require.Empty(t, found.Payload)
	require.Equal(t, 1, getChat(t, h, ana).UnreadCount)
	require.Equal(t, []tenant.EventType{tenant.EventMessageReceived, tenant.EventMessageReceived}, eventTypes(t, h, 0))
	require.Contains(t, string(events(t, h)[1].Data), "here it is")
}

func keepsAnyText(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	texts := map[string]string{
		"a\x00b":              "a�b",
		"bro\xffken \xf0\x28": "bro�ken �(",
		"👩‍👩‍👧‍👦 ünï \u202egnp":                   "👩‍👩‍👧‍👦 ünï \u202egnp",
		`'; DROP TABLE message; --`:               `'; DROP TABLE message; --`,
		"\\ % _ $1 ?1 \" ' ` \r\n\t":              "\\ % _ $1 ?1 \" ' ` \r\n\t",
		strings.Repeat("é", tenant.MaxTextLength): strings.Repeat("é", tenant.MaxTextLength),
		"": "",
	}
	n := 0
	for text, want := range texts {
		n++
		m := received(numbered(n), ana, text, n)
		m.SenderName = text
		commit(t, h, live(m), tenant.PutContact{ID: ana, PushName: text}, tenant.PutChat{ID: ana, Name: &text})
		found, err := h.Message(t.Context(), ana, m.ID, "")
		require.NoError(t, err)
		require.Equal(t, want, found.Text)
		require.Equal(t, want, found.SenderName)
		if want != "" {
			require.Equal(t, want, getChat(t, h, ana).Name)
		}
	}
	for _, e := range events(t, h) {
		require.True(t, json.Valid(e.Data))
	}
	hostile := received("I\x00D", "1\x00@c.us", "x", 1)
	commit(t, h, live(hostile))
	require.Equal(t, []tenant.MessageID{"I�D"}, messageIDs(t, h, "1\x00@c.us"))
}

func statusChecks() []check {
	set := func(status tenant.Status, ids ...tenant.MessageID) tenant.Change {
		return tenant.SetStatus{ChatID: ana, MessageIDs: ids, Status: status}
	}
	return []check{
		{"OnlyAdvance", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			head := commit(t, h, live(own("A", ana, "one", 1)), live(own("B", ana, "two", 2)), live(received("C", ana, "three", 3))).Head
			commit(t, h, set(tenant.StatusRead, "A", "B", "C", "unknown"))
			commit(t, h, set(tenant.StatusDelivered, "A", "B"), set(tenant.StatusRead, "A"), set(tenant.StatusFailed, "A"))
			require.Equal(t, []tenant.EventType{tenant.EventMessageStatus, tenant.EventMessageStatus}, eventTypes(t, h, head))
			require.JSONEq(t, `{"id":"A","chatId":"5511999990001@c.us","status":"read"}`, string(events(t, h)[head].Data))
			for id, want := range map[tenant.MessageID]tenant.Status{
				"A": tenant.StatusRead, "B": tenant.StatusRead, "C": tenant.StatusReceived,
			} {
				m, err := h.Message(t.Context(), ana, id, "")
				require.NoError(t, err)
				require.Equal(t, want, m.Status)
			}
		}},
		{"TakeTheServersTime", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, live(own("A", ana, "one", 1)), live(own("B", ana, "two", 2)))
			commit(t, h, tenant.SetStatus{
				ChatID: ana, MessageIDs: []tenant.MessageID{"A"}, Status: tenant.StatusSent, Timestamp: after(30),
			})
			require.Equal(t, []tenant.MessageID{"B", "A"}, messageIDs(t, h, ana))
			chat := getChat(t, h, ana)
			require.Equal(t, tenant.MessageID("A"), chat.LastMessage.ID)
			require.Equal(t, after(30), *chat.LastMessageAt)
		}},
		{"LeavePendingBehind", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, live(own("A", ana, "one", 3)), live(own("B", beto, "two", 2)), live(own("C", ana, "three", 1)),
				live(received("D", ana, "no", 4)))
			commit(t, h, set(tenant.StatusSent, "A"))
			pending, err := h.Pending(t.Context(), 10)
			require.NoError(t, err)
			require.Len(t, pending, 2)
			require.Equal(t, tenant.MessageID("B"), pending[0].ID)
			require.Equal(t, "payload of C", string(pending[1].Payload))
			pending, err = h.Pending(t.Context(), 1)
			require.NoError(t, err)
			require.Len(t, pending, 1)
		}},
	}
}
