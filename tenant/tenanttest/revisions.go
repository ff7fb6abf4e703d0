package tenanttest

import (
	"encoding/json"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func revisionChecks() []check {
	return []check{
		{"OfATextReplaceItOnce", editsMessage},
		{"OfATextComeInTheirOrder", editsInOrder},
		{"OfOthersDoNothing", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, live(receivedIn(family, "A", ana, "by Ana", 1)), live(received("B", ana, "direct", 1)))
			result := commit(t, h, edit(family, "A", beto, "by Beto", 2), revoke(ana, "B", ana, me, 2))
			require.Equal(t, []bool{false, false}, result.Revised)
			require.Equal(t, "by Ana", getMessage(t, h, family, "A").Text)
			require.Nil(t, getMessage(t, h, ana, "B").DeletedAt)
			require.Len(t, events(t, h), 2)
		}},
		{"DeleteTheContentForEver", deletesMessage},
		{"OfAGroupsAdminDeleteOthers", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, live(receivedIn(family, "A", ana, "spam", 1)), revoke(family, "A", ana, beto, 2))
			require.NotNil(t, getMessage(t, h, family, "A").DeletedAt)
		}},
		{"ReactOncePerSender", reacts},
		{"ThatComeEarlyAreKept", catchesUp},
		{"ThatComeEarlyByTheLIDAreKept", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, edit(anaLID, "A", anaLID, "edited", 5), react(anaLID, "A", anaLID, anaLID, "👍", 6))
			commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana})
			m := commit(t, h, live(received("A", ana, "first", 1))).Messages[0]
			require.Equal(t, "edited", m.Text)
			require.Equal(t, []tenant.Reaction{{SenderID: ana, Emoji: "👍", Timestamp: after(6)}}, m.Reactions)
		}},
		{"OfAPlaceholderWaitForItsContent", revisesPlaceholder},
		{"MoveWithThePerson", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, live(own("A", family, "hi", 1)), react(family, "A", me, anaLID, "👍", 2), react(family, "A", me, ana, "❤️", 3))
			require.Len(t, getMessage(t, h, family, "A").Reactions, 2)
			commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana})
			want := []tenant.Reaction{{SenderID: ana, Emoji: "❤️", Timestamp: after(3)}}
			require.Equal(t, want, getMessage(t, h, family, "A").Reactions)
		}},
		{"WaitInBoundedNumber", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			for n := range 21 { // some time passes between the first and the last
				var changes []tenant.Change
				for i := range 100 {
					changes = append(changes, edit(ana, numbered(n*100+i), ana, "edited", 2))
				}
				commit(t, h, changes...)
			}
			edited := 0
			for n := range 2100 {
				m := commit(t, h, live(received(numbered(n), ana, "first", 1))).Messages[0]
				if m.EditedAt != nil {
					edited++
				}
			}
			require.LessOrEqual(t, edited, 2000)
			require.NotZero(t, edited)
			require.NotNil(t, getMessage(t, h, ana, numbered(2099)).EditedAt, "the newest are kept")
		}},
		{"NeedToSayOfWhat", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			for _, change := range []tenant.Change{edit(ana, "", ana, "x", 1), revoke(ana, "A", "", ana, 1), react(ana, "A", ana, "", "x", 1)} {
				_, err := h.Commit(t.Context(), change)
				require.Error(t, err)
			}
		}},
	}
}

func edit(chat tenant.ChatID, id tenant.MessageID, sender tenant.ChatID, text string, seconds int) tenant.Change {
	return tenant.EditMessage{ChatID: chat, ID: id, SenderID: sender, Text: text, At: after(seconds)}
}

func revoke(chat tenant.ChatID, id tenant.MessageID, sender, by tenant.ChatID, seconds int) tenant.Change {
	return tenant.RevokeMessage{ChatID: chat, ID: id, SenderID: sender, By: by, At: after(seconds)}
}

func react(chat tenant.ChatID, id tenant.MessageID, sender, by tenant.ChatID, emoji string, seconds int) tenant.Change {
	return tenant.React{ChatID: chat, ID: id, SenderID: sender, By: by, Emoji: emoji, At: after(seconds)}
}

func getMessage(t tester, h tenant.Handle, chat tenant.ChatID, id tenant.MessageID) tenant.Message {
	t.Helper()
	m, err := h.Message(t.Context(), chat, id, "")
	require.NoError(t, err)
	return m
}

// lastEvent is the newest event, of that type.
func lastEvent(t tester, h tenant.Handle, kind tenant.EventType) json.RawMessage {
	t.Helper()
	all := events(t, h)
	require.NotEmpty(t, all)
	require.Equal(t, kind, all[len(all)-1].Type)
	return all[len(all)-1].Data
}

func editsMessage(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, live(own("A", ana, "first", 1)))
	change := tenant.EditMessage{
		ChatID: ana, ID: "A", SenderID: me, Text: "second\x00", Mentions: []tenant.ChatID{beto}, At: after(2).Add(7 * time.Millisecond),
		Payload: []byte("payload of second"),
	}
	result := commit(t, h, change)
	require.Equal(t, []bool{true}, result.Revised)
	m := getMessage(t, h, ana, "A")
	require.Equal(t, "second\uFFFD", m.Text)
	require.Equal(t, change.At, *m.EditedAt)
	require.Equal(t, change.Mentions, m.Mentions)
	require.Equal(t, "payload of second", string(m.Payload))
	require.Equal(t, after(1), m.Timestamp)
	require.Equal(t, m.Text, getChat(t, h, ana).LastMessage.Text)
	shown, err := json.Marshal(m)
	require.NoError(t, err)
	require.JSONEq(t, string(shown), string(lastEvent(t, h, tenant.EventMessageEdited)))

	require.Equal(t, []bool{false}, commit(t, h, change).Revised, "again")
	require.Len(t, events(t, h), 2)
	found, err := h.Messages(t.Context(), ana, tenant.MessageQuery{Limit: 9, Search: "SECOND"})
	require.NoError(t, err)
	require.Len(t, found.Messages, 1)
}

func editsInOrder(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, live(received("A", ana, "first", 1)))
	result := commit(t, h, edit(ana, "A", ana, "third", 9), edit(ana, "A", ana, "second", 5), edit(ana, "A", ana, "third", 9))
	require.Equal(t, []bool{true, false, false}, result.Revised)
	require.Equal(t, "third", getMessage(t, h, ana, "A").Text)
	require.Equal(t, 1, getChat(t, h, ana).UnreadCount)
}

func deletesMessage(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	m := own("A", ana, "secret", 1)
	m.Mentions, m.ReplyTo = []tenant.ChatID{beto}, "Q"
	commit(t, h, live(m), react(ana, "A", me, ana, "👍", 2))
	for i, revised := range []bool{true, false} {
		require.Equal(t, []bool{revised}, commit(t, h, revoke(ana, "A", me, me, 3+i)).Revised)
		got := getMessage(t, h, ana, "A")
		require.Equal(t, after(3), *got.DeletedAt)
		require.Empty(t, got.Text)
		require.Empty(t, got.Payload)
		require.Empty(t, got.Mentions)
		require.Empty(t, got.Reactions)
		require.NotContains(t, string(lastEvent(t, h, tenant.EventMessageDeleted)), "secret")
	}
	result := commit(t, h, edit(ana, "A", me, "back", 9), react(ana, "A", me, ana, "👍", 9), live(m))
	require.Equal(t, []bool{false, false}, result.Revised, "nothing happens to it any more")
	require.Empty(t, result.Messages[0].Text)
	require.Len(t, events(t, h), 3)
}

func reacts(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, live(own("A", family, "hi", 1)))
	result := commit(t, h, react(family, "A", me, ana, "👍", 2), react(family, "A", me, beto, "👍", 3), react(family, "A", me, ana, "❤️", 4),
		react(family, "A", me, ana, "❤️", 4), react(family, "A", me, ana, "👍", 2))
	require.Equal(t, []bool{true, true, true, false, false}, result.Revised)
	want := []tenant.Reaction{{SenderID: ana, Emoji: "❤️", Timestamp: after(4)}, {SenderID: beto, Emoji: "👍", Timestamp: after(3)}}
	require.Equal(t, want, getMessage(t, h, family, "A").Reactions)
	require.Equal(t, want, getChat(t, h, family).LastMessage.Reactions)

	require.Equal(t, []bool{true}, commit(t, h, react(family, "A", me, ana, "", 5)).Revised)
	var told tenant.MessageReaction
	require.NoError(t, json.Unmarshal(lastEvent(t, h, tenant.EventMessageReaction), &told))
	require.Equal(t, tenant.MessageReaction{
		ID: "A", ChatID: family, MessageSenderID: me, SenderID: ana, Timestamp: after(5),
	}, told)
	require.Equal(t, []bool{false}, commit(t, h, react(family, "A", me, ana, "❤️", 4)).Revised, "delivered again, after it was taken back")
	require.Equal(t, want[1:], getMessage(t, h, family, "A").Reactions)
}

func catchesUp(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	result := commit(t, h, edit(family, "A", ana, "edited", 5), edit(family, "A", ana, "older", 4), edit(family, "A", ana, "edited", 5),
		react(family, "A", ana, beto, "👍", 6), react(family, "A", ana, me, "", 6), revoke(family, "B", ana, ana, 6))
	require.Equal(t, []bool{false, false, false, false, false, false}, result.Revised)
	require.Empty(t, events(t, h))
	require.Empty(t, chatIDs(t, h, tenant.ChatQuery{}), "no chat is made of them")

	commit(t, h, live(receivedIn(family, "A", beto, "of the same id", 1)))
	require.Equal(t, "of the same id", getMessage(t, h, family, "A").Text)
	first := live(receivedIn(family, "A", ana, "first", 2))
	m := commit(t, h, first).Messages[0]
	require.Equal(t, "edited", m.Text)
	require.Equal(t, after(5), *m.EditedAt)
	require.Equal(t, []tenant.Reaction{{SenderID: beto, Emoji: "👍", Timestamp: after(6)}}, m.Reactions)
	require.Equal(t, m, commit(t, h, first).Messages[0])
	require.Equal(t, []tenant.EventType{
		tenant.EventMessageReceived, tenant.EventMessageReceived, tenant.EventMessageEdited, tenant.EventMessageReaction,
	}, eventTypes(t, h, 0))
	deleted := commit(t, h, live(receivedIn(family, "B", ana, "first", 3))).Messages[0]
	require.NotNil(t, deleted.DeletedAt)
	require.Empty(t, deleted.Text)
}

func revisesPlaceholder(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	placeholder := received("A", ana, "", 1)
	placeholder.Type = tenant.TypeUnsupported
	gone := placeholder
	gone.ID = "B"
	commit(t, h, live(placeholder), edit(ana, "A", ana, "edited", 5), react(ana, "A", ana, me, "👍", 5))
	commit(t, h, live(gone), revoke(ana, "B", ana, ana, 5))
	require.Equal(t, tenant.TypeUnsupported, getMessage(t, h, ana, "A").Type)
	require.Nil(t, getMessage(t, h, ana, "A").EditedAt)

	filled := commit(t, h, live(received("A", ana, "first", 1)), live(received("B", ana, "first", 1))).Messages
	require.Equal(t, "edited", filled[0].Text)
	require.Equal(t, tenant.TypeText, filled[0].Type)
	require.Len(t, filled[0].Reactions, 1)
	require.NotNil(t, filled[1].DeletedAt)
	require.Empty(t, filled[1].Text, "what was deleted does not come back")
}
