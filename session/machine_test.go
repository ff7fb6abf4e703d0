package session

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

var allStates = []State{Unpaired, Pairing, Connecting, Online, Backoff, LoggedOut, Banned, Outdated, Conflict, Stopped}

func TestStatesFollowTheTable(t *testing.T) {
	t.Parallel()
	successors := map[State][]State{
		Unpaired:   {Pairing},
		Pairing:    {Connecting, Unpaired},
		Connecting: {Online, Backoff, LoggedOut, Banned, Outdated, Conflict, Stopped},
		Online:     {Backoff, LoggedOut, Banned, Outdated, Conflict, Stopped},
		Backoff:    {Connecting, LoggedOut, Banned, Outdated, Conflict, Stopped},
		LoggedOut:  {Pairing},
		Banned:     {Connecting, Stopped, LoggedOut},
		Outdated:   {Connecting, Stopped, LoggedOut},
		Conflict:   {Connecting, Stopped, LoggedOut},
		Stopped:    {Connecting, LoggedOut, Stopped},
	}
	for _, from := range append(allStates, "other") {
		for _, to := range append(allStates, "other") {
			require.Equal(t, slices.Contains(successors[from], to), from.mayBecome(to), "%s to %s", from, to)
		}
		require.Equal(t, slices.Contains(allStates, from), from.known())
		require.False(t, from.ends() && from.passing(), from)
	}
}

func TestEveryReasonSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for _, r := range []reason{
		lostConnection, lostDial, lostLogin, lostPing, lostServer, lostStream, lostRefused, lostStore, lostFault, reasonBrokenDevice,
		outByPhone, outMainGone, outUnknown, outByOperator, outLocally, outNoDevice,
		reasonBanned, reasonOutdated, reasonReplaced, reasonStopped, reasonExported, reasonImported,
		pairTimeout, pairCancelled, pairConnect, pairRefused, pairLimited, pairPhone, pairPasskey, pairStopped, pairOldPhone,
	} {
		words := r.words()
		require.Regexp(t, `^[A-Z].*\.$`, words.message, r)
		require.Regexp(t, `^[a-z_]+$`, string(r))
		if r != pairCancelled {
			require.Regexp(t, `^[A-Z].*\.$`, words.action, r)
		}
	}
	require.Zero(t, reasonNone.words())
	require.Zero(t, reason("other").words())
	require.Equal(t, tenant.SessionStatus{State: "online", Ready: true}, status(Online, reasonNone))
	require.False(t, status(Banned, reasonBanned).Ready)
}

func TestSessionsStartInTheStateThatTheyWereLeftIn(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	pace := withDefaults(Pace{})
	row := func(device string, wanted bool, s State, until time.Time) *tenant.Session {
		return &tenant.Session{Device: device, Wanted: wanted, Until: until, Status: tenant.SessionStatus{State: string(s), Reason: "why"}}
	}
	for _, tc := range []struct {
		row  *tenant.Session
		want State
	}{
		{&tenant.Session{}, Unpaired},
		{row("", false, Pairing, time.Time{}), Unpaired},
		{row("", true, Online, time.Time{}), Unpaired},
		{row("", false, LoggedOut, time.Time{}), LoggedOut},
		{row("d", true, Online, time.Time{}), Connecting},
		{row("d", true, Connecting, time.Time{}), Connecting},
		{row("d", true, Backoff, time.Time{}), Connecting},
		{row("d", true, Pairing, time.Time{}), Connecting}, // ended between the claim and the first login
		{row("d", true, Unpaired, time.Time{}), Connecting},
		{row("d", true, "", time.Time{}), Connecting},
		{row("d", false, Online, time.Time{}), Stopped},
		{row("d", true, Conflict, time.Time{}), Conflict},
		{row("d", false, Stopped, time.Time{}), Stopped},
		{row("d", true, LoggedOut, time.Time{}), LoggedOut},
		{row("d", true, Banned, now.Add(time.Minute)), Banned},
		{row("d", true, Banned, now.Add(-time.Minute)), Connecting},
		{row("d", false, Banned, now.Add(-time.Minute)), Stopped},
		{row("d", true, Outdated, time.Time{}), Outdated},
	} {
		got, why, until := initial(tc.row, now, &pace)
		require.Equal(t, tc.want, got, "%+v", tc.row)
		if got == Banned {
			require.Equal(t, tc.row.Until, until)
			require.Equal(t, reason("why"), why)
		}
		if got == Outdated {
			require.True(t, until.After(now))
		}
		require.Equal(t, got != Banned && got != Outdated, until.IsZero())
	}
}
