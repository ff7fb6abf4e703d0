package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func TestWatchedPeopleAreBounded(t *testing.T) {
	t.Parallel()
	var p presence
	id := func(n int) tenant.ChatID { return tenant.PersonID(fmt.Sprintf("5511%09d", n)) }
	for n := range maxWatched {
		require.Empty(t, p.watch(id(n)))
	}
	require.Empty(t, p.watch(id(0)), "who is watched already takes no place, and was asked for last")
	require.Equal(t, id(1), p.watch(id(maxWatched)))
	p.release(id(5))
	require.Empty(t, p.watch(id(1)))
	available, watched := p.wanted()
	require.False(t, available)
	require.Len(t, watched, maxWatched)
	require.NotContains(t, watched, id(5))
	p.show(true)
	p.reset()
	available, watched = p.wanted()
	require.False(t, available)
	require.Empty(t, watched)
}

func TestChecksComeBackWithTime(t *testing.T) {
	t.Parallel()
	book := func(n int64) *tenant.LimitBook {
		return tenant.NewLimitBook(nil, tenant.Limits{NumberChecksPerHour: n})
	}
	c := newGovernor(nil, book(60), 0) // one a minute
	now := time.Now()
	require.NoError(t, c.checks("a", 50, now))
	require.NoError(t, c.checks("a", 10, now))
	var limit *LimitError
	require.ErrorAs(t, c.checks("a", 3, now), &limit)
	require.InDelta(t, 3*time.Minute, limit.After, float64(time.Second))
	require.NoError(t, c.checks("b", 50, now))
	require.NoError(t, c.checks("a", 3, now.Add(3*time.Minute)))
	require.Error(t, c.checks("a", 1, now.Add(3*time.Minute)))

	few := newGovernor(nil, book(1), 0)
	require.NoError(t, few.checks("a", MaxNumberChecks, now), "one call may always be as large as calls may be")
	require.ErrorAs(t, few.checks("a", 1, now), &limit)
	require.InDelta(t, time.Hour, limit.After, float64(time.Second))
}
