package tenanttest

import (
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

const today = tenant.Day(20_786)

func limitChecks() []check {
	return []check{
		{"AreOverriddenAndTakenBack", overridesLimits},
		{"CountWhatAMessageTakesOnce", countsOnce},
		{"CountAtOnceWithoutLosing", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			var group sync.WaitGroup
			for i := range 16 {
				group.Go(func() {
					m := own(numbered(i), tenant.PersonID("551199999000"+string(rune('0'+i%8))), "hello", i)
					_, err := h.Commit(t.Context(), tenant.PutMessage{Message: m, Spend: tenant.Spend{Day: today, UploadBytes: 10, ColdChat: m.ChatID}})
					if err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			spent := spentOn(t, h, today)
			require.EqualValues(t, 160, spent.UploadBytes)
			require.Len(t, spent.ColdChats, 8)
		}},
		{"ForgetDaysThatAreOver", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			for d := today - 2; d <= today; d++ {
				commit(t, h, tenant.Spend{Day: d, DownloadBytes: 7, ColdChat: ana})
			}
			require.Equal(t, tenant.Spent{}, spentOn(t, h, today-2))
			require.Equal(t, tenant.Spent{DownloadBytes: 7, ColdChats: []tenant.ChatID{ana}}, spentOn(t, h, today))
			_, err := h.Commit(t.Context(), tenant.Spend{Day: today, UploadBytes: -1})
			require.ErrorIs(t, err, tenant.ErrRefused)
		}},
		{"KnowWhetherTheOtherSideWrote", knowsWhoWrote},
		{"WeighWhatIsStored", weighsWhatIsStored},
		{"HaveOldMessagesDeletedInSteps", prunesMessages},
		{"HaveTheJournalsBeginningDeleted", prunesEvents},
		{"KeepTheTimeLock", keepsTimeLock},
	}
}

func spentOn(t tester, h tenant.Handle, d tenant.Day) tenant.Spent {
	t.Helper()
	spent, err := h.Spent(t.Context(), d)
	require.NoError(t, err)
	return spent
}

func overridesLimits(t tester, s tenant.Store) {
	h, other := NewTenant(t, s), NewTenant(t, s)
	got, err := h.SetOverrides(t.Context(), tenant.LimitPatch{"eventStreams": new(int64(3)), "sendBurst": new(int64(0))})
	require.NoError(t, err)
	require.Equal(t, tenant.Overrides{"eventStreams": 3, "sendBurst": 0}, got)
	got, err = h.SetOverrides(t.Context(), tenant.LimitPatch{"eventStreams": nil, "requestBurst": new(int64(9))})
	require.NoError(t, err)
	require.Equal(t, tenant.Overrides{"requestBurst": 9, "sendBurst": 0}, got, "the rest stays")
	got, err = h.Overrides(t.Context())
	require.NoError(t, err)
	require.Equal(t, tenant.Overrides{"requestBurst": 9, "sendBurst": 0}, got)
	got, err = other.Overrides(t.Context())
	require.NoError(t, err)
	require.Empty(t, got)
	for _, wrong := range []tenant.LimitPatch{{"eventStreams": new(int64(-1))}, {"none": new(int64(1))}, {"none": nil}} {
		_, err = h.SetOverrides(t.Context(), wrong)
		require.ErrorIs(t, err, tenant.ErrInvalidLimit)
	}
	found := false
	for each, err := range s.Overrides(t.Context()) {
		require.NoError(t, err)
		require.NotEqual(t, other.ID(), each.ID)
		if each.ID == h.ID() {
			found = true
			require.Equal(t, overridesOf(t, h), each.Overrides)
		}
	}
	require.True(t, found)
	book := tenant.NewLimitBook(s, tenant.Limits{SendBurst: 5, EventStreams: 7})
	require.NoError(t, book.Load(t.Context()))
	require.Equal(t, tenant.Limits{RequestBurst: 9, EventStreams: 7}, book.Of(h.ID()))
	require.Equal(t, tenant.Limits{SendBurst: 5, EventStreams: 7}, book.Of(other.ID()))

	_, err = s.Tenant(tenant.NewID()).SetOverrides(t.Context(), tenant.LimitPatch{"eventStreams": new(int64(3))})
	require.ErrorIs(t, err, tenant.ErrNotFound)
	Delete(t, s, h.ID())
	require.Empty(t, overridesOf(t, h))
}

func overridesOf(t tester, h tenant.Handle) tenant.Overrides {
	t.Helper()
	got, err := h.Overrides(t.Context())
	require.NoError(t, err)
	return got
}

func countsOnce(t tester, s tenant.Store) {
	h, other := NewTenant(t, s), NewTenant(t, s)
	put := tenant.PutMessage{Message: own("A", ana, "hello", 1), Spend: tenant.Spend{Day: today, UploadBytes: 100, ColdChat: ana}}
	commit(t, h, put)
	commit(t, h, put)
	put.Message = own("B", ana, "again", 2)
	put.Spend.UploadBytes = 11
	commit(t, h, put)
	require.Equal(t, tenant.Spent{UploadBytes: 111, ColdChats: []tenant.ChatID{ana}}, spentOn(t, h, today))
	require.Equal(t, tenant.Spent{}, spentOn(t, other, today))
	require.Equal(t, tenant.Spent{}, spentOn(t, h, today+1))
	_, err := h.Commit(t.Context(), put, tenant.Spend{Day: today, DownloadBytes: 5}, tenant.DeleteChat{ID: family})
	require.ErrorIs(t, err, tenant.ErrChatNotFound)
	require.Zero(t, spentOn(t, h, today).DownloadBytes, "what is not stored is not counted")
}

func knowsWhoWrote(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, live(own("A", ana, "hello", 1)))
	require.False(t, getChat(t, h, ana).Heard)
	commit(t, h, live(received("B", ana, "hi", 2)))
	require.True(t, getChat(t, h, ana).Heard)
	commit(t, h, tenant.ClearChat{ID: ana, Until: after(10)})
	require.Empty(t, messageIDs(t, h, ana))
	require.True(t, getChat(t, h, ana).Heard, "also when that message is no longer kept")
	commit(t, h, history(received("C", beto, "long ago", 3)))
	require.True(t, getChat(t, h, beto).Heard)
	const lid, phone tenant.ChatID = "104857600000009@lid", "5511999990009@c.us"
	commit(t, h, live(own("D", phone, "hello", 4)), live(received("E", lid, "hi", 5)))
	require.False(t, getChat(t, h, phone).Heard)
	commit(t, h, tenant.LinkIDs{LID: lid, Phone: phone})
	require.True(t, getChat(t, h, phone).Heard, "chats that become one have heard what one of them has")
}

func storedOf(t tester, h tenant.Handle) int64 {
	t.Helper()
	n, err := h.Stored(t.Context())
	require.NoError(t, err)
	return n
}

func weighsWhatIsStored(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	require.Zero(t, storedOf(t, h))
	m := received("A", ana, strings.Repeat("é", 1000), 1)
	m.Payload = make([]byte, 3000)
	commit(t, h, history(m))
	one := storedOf(t, h)
	require.InDelta(t, 5400, one, 1)
	commit(t, h, history(m))
	require.Equal(t, one, storedOf(t, h), "what is stored already weighs nothing")
	commit(t, h, live(received("B", ana, "hi", 2)))
	require.Greater(t, storedOf(t, h), one+400, "events weigh, too")
	commit(t, h, tenant.ClearChat{ID: ana, Until: after(1)})
	require.Less(t, storedOf(t, h), one)
	commit(t, h, tenant.DeleteChat{ID: ana})
	done, err := h.Prune(t.Context(), tenant.Prune{EventsBefore: time.Now().Add(time.Hour), Limit: 100})
	require.NoError(t, err)
	require.Positive(t, done.Events)
	require.Zero(t, storedOf(t, h), "what is gone weighs nothing")
	_, err = s.Tenant(tenant.NewID()).Stored(t.Context())
	require.ErrorIs(t, err, tenant.ErrNotFound)
}

func prunesMessages(t tester, s tenant.Store) {
	h, other := NewTenant(t, s), NewTenant(t, s)
	for n := range 7 {
		commit(t, h, history(received(numbered(n), ana, "text", n)), history(received(numbered(n), beto, "text", 100+n)))
	}
	pending := own("P", ana, "on its way", 2)
	commit(t, h, history(pending))
	commit(t, other, history(received("A", ana, "old", 0)))
	oldest, err := h.Oldest(t.Context())
	require.NoError(t, err)
	require.Equal(t, after(0), oldest)
	p := tenant.Prune{MessagesBefore: after(5), Limit: 3}
	steps, gone := 0, 0
	for more := true; more; steps++ {
		done, err := h.Prune(t.Context(), p)
		require.NoError(t, err)
		require.LessOrEqual(t, done.Messages, 3)
		gone += done.Messages
		more = done.More
	}
	require.Equal(t, 5, gone)
	require.GreaterOrEqual(t, steps, 2)
	require.Equal(t, []tenant.MessageID{"P", numbered(5), numbered(6)}, messageIDs(t, h, ana), "what is on its way stays")
	require.Len(t, messageIDs(t, h, beto), 7)
	require.Len(t, messageIDs(t, other, ana), 1)
	chat := getChat(t, h, ana)
	require.Equal(t, numbered(6), chat.LastMessage.ID)

	done, err := h.Prune(t.Context(), tenant.Prune{MessagesBefore: after(1000), Limit: 100})
	require.NoError(t, err)
	require.Equal(t, 9, done.Messages)
	chat = getChat(t, h, beto)
	require.Nil(t, chat.LastMessage, "a chat outlives its messages")
	require.Nil(t, chat.LastMessageAt)
	require.True(t, chat.Heard)
	done, err = h.Prune(t.Context(), tenant.Prune{MessagesBefore: after(1000), Limit: 100})
	require.NoError(t, err)
	require.Equal(t, tenant.Pruned{}, done)
	empty := NewTenant(t, s)
	oldest, err = empty.Oldest(t.Context())
	require.NoError(t, err)
	require.True(t, oldest.IsZero())
}

func prunesEvents(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	for n := range 7 {
		commit(t, h, live(received(numbered(n), ana, "text", n)))
	}
	done, err := h.Prune(t.Context(), tenant.Prune{EventsBefore: time.Now().Add(-time.Hour), Limit: 3})
	require.NoError(t, err)
	require.Equal(t, tenant.Pruned{}, done, "they are young")
	p := tenant.Prune{EventsBefore: time.Now().Add(time.Hour), Limit: 3}
	done, err = h.Prune(t.Context(), p)
	require.NoError(t, err)
	require.Equal(t, 3, done.Events)
	require.True(t, done.More)
	oldest, latest, err := h.Bounds(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 4, oldest)
	require.EqualValues(t, 7, latest)
	for done.More {
		done, err = h.Prune(t.Context(), p)
		require.NoError(t, err)
	}
	oldest, latest, err = h.Bounds(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 8, oldest, "the next one")
	require.EqualValues(t, 7, latest, "numbers go on")
	commit(t, h, live(received("Z", ana, "text", 9)))
	some, err := h.Events(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, some, 1)
	require.EqualValues(t, 8, some[0].Seq)
	require.Len(t, messageIDs(t, h, ana), 8, "messages stay")
}

func keepsTimeLock(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	row := tenant.Session{Device: "5511888880000:1@s.whatsapp.net", Wanted: true, Status: tenant.SessionStatus{State: "online", Ready: true}}
	commit(t, h, tenant.SetSession{Session: row})
	row.Reachout = tenant.ReachoutLock{Since: after(0), Until: after(60), Cause: tenant.ReachoutNotified}
	commit(t, h, tenant.SetSession{Session: row})
	got, err := h.Session(t.Context())
	require.NoError(t, err)
	require.Equal(t, row.Reachout, got.Reachout)
	require.Nil(t, got.Status.Reachout)
	head := commit(t, h, tenant.SetSession{Session: row}).Head
	require.EqualValues(t, 2, head, "each change is told, and nothing else")
	all := events(t, h)
	require.Contains(t, string(all[1].Data), `"reachoutLock":{"since"`)
	row.Reachout = tenant.ReachoutLock{}
	commit(t, h, tenant.SetSession{Session: row})
	all = events(t, h)
	require.Len(t, all, 3)
	require.NotContains(t, string(all[2].Data), "reachoutLock")
}
