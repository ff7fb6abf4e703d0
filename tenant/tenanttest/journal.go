package tenanttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/tenant"
)

func journalChecks() []check {
	return []check{
		{"IsEmptyAtFirst", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			oldest, latest, err := h.Bounds(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, 1, oldest)
			require.Zero(t, latest)
			result := commit(t, h)
			require.Zero(t, result.Head)
		}},
		{"IsReadInPieces", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			for n := range 5 {
				commit(t, h, live(received(numbered(n), ana, "text", n)))
			}
			some, err := h.Events(t.Context(), 2, 2)
			require.NoError(t, err)
			require.Len(t, some, 2)
			require.EqualValues(t, 3, some[0].Seq)
			require.WithinDuration(t, time.Now(), some[0].Timestamp, time.Minute)
			oldest, latest, err := h.Bounds(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, 1, oldest)
			require.EqualValues(t, 5, latest)
		}},
		{"WakesWhoWatches", wakesWatchers},
	}
}

func wakesWatchers(t tester, s tenant.Store) {
	h, other := NewTenant(t, s), NewTenant(t, s)
	wake, stop := h.Watch()
	second, stopSecond := h.Watch()
	stopSecond()
	stopSecond() // twice is once
	commit(t, other, live(received("A", ana, "not ours", 1)))
	commit(t, h, history(received("A", ana, "no event", 1)))
	require.Empty(t, wake)
	for n := range 3 {
		commit(t, h, live(received(numbered(n), ana, "text", n)))
	}
	require.Len(t, wake, 1, "wakes are coalesced")
	<-wake
	require.Len(t, events(t, h), 3)
	stop()
	commit(t, h, live(received("B", ana, "text", 9)))
	require.Empty(t, wake)
	require.Empty(t, second)
}

func isolationChecks() []check {
	return []check{{"HidesOneTenantFromTheOther", func(t tester, s tenant.Store) {
		h, other := NewTenant(t, s), NewTenant(t, s)
		key, _, err := h.CreateKey(t.Context(), tenant.NewKey{})
		require.NoError(t, err)
		commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana}, tenant.PutContact{ID: ana, Name: "Ana"},
			live(received("A", ana, "secret", 1)), live(own("B", ana, "secret", 2)),
			tenant.SetSession{Session: tenant.Session{Device: "mine"}})

		require.Empty(t, chatIDs(t, other, tenant.ChatQuery{}))
		require.Empty(t, events(t, other))
		_, err = other.Chat(t.Context(), ana)
		require.ErrorIs(t, err, tenant.ErrChatNotFound)
		_, err = other.Messages(t.Context(), ana, tenant.MessageQuery{Limit: 10})
		require.ErrorIs(t, err, tenant.ErrChatNotFound)
		_, err = other.Message(t.Context(), ana, "A", "")
		require.ErrorIs(t, err, tenant.ErrChatNotFound)
		pending, err := other.Pending(t.Context(), 10)
		require.NoError(t, err)
		require.Empty(t, pending)
		_, latest, err := other.Bounds(t.Context())
		require.NoError(t, err)
		require.Zero(t, latest)
		resolved, err := other.Resolve(t.Context(), anaLID)
		require.NoError(t, err)
		require.Equal(t, anaLID, resolved)
		lids, err := other.LIDs(t.Context(), []tenant.ChatID{ana})
		require.NoError(t, err)
		require.Empty(t, lids)
		session, err := other.Session(t.Context())
		require.NoError(t, err)
		require.Equal(t, tenant.Session{}, session)
		keys, err := other.Keys(t.Context())
		require.NoError(t, err)
		require.Empty(t, keys)
		require.ErrorIs(t, other.RevokeKey(t.Context(), key.ID), tenant.ErrKeyNotFound)
		_, err = other.Commit(t.Context(), tenant.DeleteChat{ID: ana})
		require.ErrorIs(t, err, tenant.ErrChatNotFound)

		head := commit(t, h).Head
		commit(t, other, live(received("A", ana, "theirs", 1)), tenant.MarkRead{ChatID: ana},
			tenant.SetStatus{ChatID: ana, MessageIDs: []tenant.MessageID{"B"}, Status: tenant.StatusRead},
			tenant.PutContact{ID: ana, Name: "Theirs"}, tenant.DeleteChat{ID: ana})
		require.Equal(t, head, commit(t, h).Head)
		require.Equal(t, "Ana", getChat(t, h, ana).Name)
		require.Equal(t, 1, getChat(t, h, ana).UnreadCount)
		require.Equal(t, []tenant.MessageID{"A", "B"}, messageIDs(t, h, ana))
	}}}
}

func concurrentChecks() []check {
	return []check{
		{"CommitsLeaveNoGap", leavesNoGap},
		{"CommitsOfManyTenantsShareTransactions", func(t tester, s tenant.Store) {
			var group errgroup.Group
			for range 20 {
				h := NewTenant(t, s)
				group.Go(func() error {
					for n := range 10 {
						if _, err := h.Commit(t.Context(), live(received(numbered(n), ana, "text", n))); err != nil {
							return err
						}
					}
					all, err := h.Events(t.Context(), 0, 100)
					if err == nil && (len(all) != 10 || all[9].Seq != 10) {
						err = fmt.Errorf("%d events", len(all))
					}
					return err
				})
			}
			require.NoError(t, group.Wait())
		}},
		{"BadCommitsHurtNobodyElse", sparesOthers},
		{"CallersMayLeaveAtAnyTime", leavesAtAnyTime},
		{"CreationsOfOneExternalIDMakeOneTenant", func(t tester, s tenant.Store) {
			var mu sync.Mutex
			ids := map[tenant.ID]int{}
			var group errgroup.Group
			for range 10 {
				group.Go(func() error {
					made, _, err := s.Create(t.Context(), tenant.NewTenant{ExternalID: "x"})
					mu.Lock()
					defer mu.Unlock()
					ids[made.ID]++
					return err
				})
			}
			require.NoError(t, group.Wait())
			require.Len(t, ids, 1)
		}},
	}
}

func leavesNoGap(t tester, s tenant.Store) {
	const writers, each = 50, 40
	h := NewTenant(t, s)
	var group errgroup.Group
	for w := range writers {
		group.Go(func() error {
			for n := range each {
				result, err := h.Commit(t.Context(), live(received(numbered(w*each+n), ana, "text", n)))
				if err != nil {
					return err
				}
				if !result.Fresh[0] || result.Head == 0 {
					return fmt.Errorf("not fresh: %v", result)
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.Len(t, events(t, h), writers*each)
	require.Equal(t, writers*each, getChat(t, h, ana).UnreadCount)
}

func sparesOthers(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	var group errgroup.Group
	for w := range 20 {
		group.Go(func() error {
			for n := range 10 {
				m := received(numbered(w*10+n), ana, "text", n)
				if w%2 == 0 {
					if _, err := h.Commit(t.Context(), live(m)); err != nil {
						return fmt.Errorf("good commit: %w", err)
					}
					continue
				}
				if _, err := h.Commit(t.Context(), live(m), tenant.DeleteChat{ID: family}); !errors.Is(err, tenant.ErrChatNotFound) {
					return fmt.Errorf("bad commit: %w", err)
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.Len(t, events(t, h), 100)
	require.Equal(t, 100, getChat(t, h, ana).UnreadCount)
}

func leavesAtAnyTime(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	var group errgroup.Group
	for n := range 200 {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*50*time.Microsecond)
			defer cancel()
			_, err := h.Commit(ctx, live(received(numbered(n), ana, "text", n)))
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	for n := range 200 { // whatever became of it, the same call may be made again
		commit(t, h, live(received(numbered(n), ana, "text", n)))
	}
	require.Len(t, events(t, h), 200)
	require.Equal(t, 200, getChat(t, h, ana).UnreadCount)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.Commit(cancelled, live(received("Z", ana, "never", 1)))
	require.ErrorIs(t, err, context.Canceled)
}
