package tenanttest

import (
	"encoding/json"
	"strconv"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func pollChecks() []check {
	return []check{
		{"AreTalliedByOption", talliesVotes},
		{"CountTheNewestVoteOfEach", countsNewestVote},
		{"OpenVotesThatAreSealed", opensVotes},
		{"DropVotesThatDoNotOpen", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, live(pollIn(family, "P", beto, 1)))
			forged := sealed(t, "P", beto, ana, []byte("another secret"), "red")
			result := commit(t, h, sealedVote("P", beto, ana, forged, 2), vote("P", beto, me, 3, "red"))
			require.Equal(t, []bool{false, true}, result.Revised)
			require.Equal(t, 1, result.Unopened)
			require.Zero(t, commit(t, h, vote("P", beto, me, 4, "blue")).Unopened, "of this commit alone")
			noSecret := pollIn(family, "Q", beto, 1)
			noSecret.Poll.Secret = nil
			commit(t, h, live(noSecret))
			require.Equal(t, 1, commit(t, h, sealedVote("Q", beto, ana, sealed(t, "Q", beto, ana, pollSecret(), "red"), 2)).Unopened)
		}},
		{"TakeVotesThatCameBeforeThem", catchesUpOnVotes},
		{"TakeVotesThatNameTheirAuthorOtherwise", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, live(pollIn(family, "P", anaLID, 1)))
			require.Equal(t, []bool{false, false}, commit(t, h, vote("P", ana, beto, 2, "red"), react(family, "P", ana, me, "👍", 3)).Revised)
			require.Zero(t, getMessage(t, h, family, "P").Poll.Options[0].Votes, "nobody knows yet that it is the same person")
			commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana})
			got := getMessage(t, h, family, "P")
			require.Equal(t, []tenant.ChatID{beto}, got.Poll.Options[0].Voters)
			require.Len(t, got.Reactions, 1)
			require.NotNil(t, lastEvent(t, h, tenant.EventMessageReaction))
		}},
		{"TakeOneVoteOfAPersonWithTwoIDs", mergesVoters},
		{"KeepTheirVotesWhenTheyWereStoredTwice", mergesPolls},
		{"BringVotesInAHistory", mergesPastVotes},
		{"LoseAllWhenTheyAreDeleted", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, live(pollIn(family, "P", beto, 1)), vote("P", beto, ana, 2, "red"), revoke(family, "P", beto, beto, 3))
			require.Nil(t, getMessage(t, h, family, "P").Poll)
			require.NotContains(t, string(lastEvent(t, h, tenant.EventMessageDeleted)), "colour")
			require.Equal(t, []bool{false}, commit(t, h, vote("P", beto, ana, 4, "blue")).Revised)
			require.Nil(t, getMessage(t, h, family, "P").Poll)
		}},
		{"AreNothingElse", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, live(receivedIn(family, "A", ana, "no poll", 1)))
			require.Equal(t, []bool{false}, commit(t, h, vote("A", ana, beto, 2, "red")).Revised)
			require.Nil(t, getMessage(t, h, family, "A").Poll)
			_, err := h.Commit(t.Context(), vote("", ana, beto, 1))
			require.Error(t, err)
		}},
		{"KeepWhatNoEngineTakes", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			m := pollIn(family, "P", beto, 1)
			m.Poll.Question, m.Poll.Options[0].Text = "colour\x00?", "re\x00d"
			commit(t, h, live(m), vote("P", beto, ana, 2, "re\x00d"))
			got := getMessage(t, h, family, "P").Poll
			require.Equal(t, "colour\uFFFD?", got.Question)
			require.Equal(t, "re\uFFFDd", got.Options[0].Text)
			require.Equal(t, []tenant.ChatID{ana}, got.Options[0].Voters)
		}},
		{"BoundTheirVoters", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			voter := func(n int) tenant.ChatID { return tenant.PersonID(strconv.Itoa(551100000000 + n)) }
			past := pollIn(family, "P", beto, 1)
			for n := range 1020 { // each one that comes alone writes all of them again
				past.Poll.Votes = append(past.Poll.Votes, tenant.PollVote{VoterID: voter(n), Options: []int{0}, Timestamp: after(2)})
			}
			commit(t, h, tenant.PutMessage{Message: past})
			var votes []tenant.Change
			for n := range 10 {
				votes = append(votes, vote("P", beto, voter(2000+n), 2, "red"))
			}
			commit(t, h, votes...)
			require.Equal(t, 1024, getMessage(t, h, family, "P").Poll.Options[0].Votes)
		}},
	}
}

func pollSecret() []byte { return []byte("a secret of exactly 32 bytes ...") }

// pollIn is a poll in a chat, where one option may be chosen.
func pollIn(chat tenant.ChatID, id tenant.MessageID, from tenant.ChatID, seconds int) tenant.Message {
	m := receivedIn(chat, id, from, "colour?", seconds)
	m.Type = tenant.TypePoll
	m.Poll = &tenant.Poll{
		Question: "colour?", Secret: pollSecret(), Author: from.WhatsAppID(),
		Options: []tenant.PollOption{{Text: "red"}, {Text: "green"}, {Text: "blue"}},
	}
	if from == me {
		m.FromMe, m.Status = true, tenant.StatusSent
	}
	return m
}

func hashes(options ...string) (all [][]byte) {
	for _, option := range options {
		all = append(all, tenant.HashOption(option))
	}
	return all
}

func vote(id tenant.MessageID, sender, by tenant.ChatID, seconds int, options ...string) tenant.Change {
	return tenant.CastVote{ChatID: family, ID: id, SenderID: sender, By: by, Chosen: hashes(options...), At: after(seconds)}
}

// sealed is a vote as it travels, without a word of who is meant.
func sealed(t tester, id tenant.MessageID, author, voter tenant.ChatID, secret []byte, options ...string) *tenant.SealedVote {
	t.Helper()
	v, err := tenant.SealVote(id, author.WhatsAppID(), voter.WhatsAppID(), secret, hashes(options...))
	require.NoError(t, err)
	v.Authors, v.Voters = nil, nil
	return v
}

func sealedVote(id tenant.MessageID, sender, by tenant.ChatID, v *tenant.SealedVote, seconds int) tenant.Change {
	return tenant.CastVote{ChatID: family, ID: id, SenderID: sender, By: by, Sealed: v, At: after(seconds)}
}

// tally is who chose what.
func tally(t tester, h tenant.Handle, id tenant.MessageID) map[string][]tenant.ChatID {
	t.Helper()
	poll := getMessage(t, h, family, id).Poll
	require.NotNil(t, poll)
	found := make(map[string][]tenant.ChatID)
	for _, option := range poll.Options {
		require.NotNil(t, option.Voters, "shown as an empty list")
		require.Len(t, option.Voters, option.Votes)
		if option.Votes > 0 {
			found[option.Text] = option.Voters
		}
	}
	return found
}

func talliesVotes(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	m := pollIn(family, "P", me, 1)
	m.Poll.Multiple = true
	stored := commit(t, h, live(m)).Messages[0]
	require.Equal(t, stored, getMessage(t, h, family, "P"))
	require.Equal(t, pollSecret(), stored.Poll.Secret)
	require.Empty(t, tally(t, h, "P"))

	result := commit(t, h, vote("P", me, ana, 2, "red", "blue"), vote("P", me, beto, 3, "blue", "purple"), vote("P", me, me, 4))
	require.Equal(t, []bool{true, true, false}, result.Revised)
	want := map[string][]tenant.ChatID{"red": {ana}, "blue": {ana, beto}}
	require.Equal(t, want, tally(t, h, "P"))
	require.Equal(t, getMessage(t, h, family, "P").Poll, getChat(t, h, family).LastMessage.Poll)
	page, err := h.Messages(t.Context(), family, tenant.MessageQuery{Limit: 5})
	require.NoError(t, err)
	require.Equal(t, 2, page.Messages[0].Poll.Options[2].Votes)

	require.Equal(t, []tenant.EventType{tenant.EventMessageSent, tenant.EventPollVote, tenant.EventPollVote}, eventTypes(t, h, 0))
	require.JSONEq(t, `{"chatId":"`+string(family)+`","messageId":"P","senderId":"`+string(me)+`","voterId":"`+string(beto)+`",
		"options":["blue"],"timestamp":"2026-11-22T12:00:03Z"}`, string(lastEvent(t, h, tenant.EventPollVote)))
	shown, err := json.Marshal(getMessage(t, h, family, "P"))
	require.NoError(t, err)
	require.Contains(t, string(shown), `"poll":{"question":"colour?","options":[{"text":"red","votes":1,"voters":["`+string(ana)+
		`"]},{"text":"green","votes":0,"voters":[]},`)
	require.NotContains(t, string(shown), "ecret")
}

func countsNewestVote(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, live(pollIn(family, "P", beto, 1)))
	result := commit(t, h, vote("P", beto, ana, 2, "red"), vote("P", beto, ana, 9, "blue"), vote("P", beto, ana, 5, "green"),
		vote("P", beto, ana, 9, "blue"), vote("P", beto, ana, 2, "red"))
	require.Equal(t, []bool{true, true, false, false, false}, result.Revised)
	require.Equal(t, map[string][]tenant.ChatID{"blue": {ana}}, tally(t, h, "P"))
	require.Equal(t, []bool{true}, commit(t, h, vote("P", beto, ana, 10)).Revised)
	require.Contains(t, string(lastEvent(t, h, tenant.EventPollVote)), `"options":[]`)
	require.Equal(t, []bool{false, false}, commit(t, h, vote("P", beto, ana, 9, "blue"), vote("P", beto, ana, 10)).Revised,
		"delivered again, after it was withdrawn")
	require.Empty(t, tally(t, h, "P"))
	commit(t, h, vote("P", beto, ana, 11, "green", "red"))
	require.Equal(t, map[string][]tenant.ChatID{"red": {ana}}, tally(t, h, "P"), "one may be chosen")
	require.Len(t, events(t, h), 5)
}

func opensVotes(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, live(pollIn(family, "P", beto, 1)), tenant.LinkIDs{LID: anaLID, Phone: ana}, tenant.LinkIDs{LID: betoLID, Phone: beto})
	seconds := 2
	for _, author := range []tenant.ChatID{beto, betoLID} {
		for _, voter := range []tenant.ChatID{ana, anaLID} {
			for _, by := range []tenant.ChatID{ana, anaLID} {
				for _, option := range []string{"red", "blue"} {
					v := sealed(t, "P", author, voter, pollSecret(), option)
					result := commit(t, h, sealedVote("P", beto, by, v, seconds))
					require.Equal(t, []bool{true}, result.Revised)
					require.Zero(t, result.Unopened)
					require.Equal(t, map[string][]tenant.ChatID{option: {ana}}, tally(t, h, "P"))
					seconds++
				}
			}
		}
	}
	// What the vote itself says of the ids need not be known.
	v := sealed(t, "P", "7@lid", "8@lid", pollSecret(), "green")
	v.Authors, v.Voters = []string{"6@lid", "7@lid"}, []string{"8@lid"}
	commit(t, h, sealedVote("P", beto, me, v, 2))
	require.Equal(t, []tenant.ChatID{me}, tally(t, h, "P")["green"])
	// The form in which the author was addressed when the poll came is remembered with it.
	m := pollIn(family, "Q", beto, 1)
	m.Poll.Author = "9@lid"
	commit(t, h, live(m), sealedVote("Q", beto, ana, sealed(t, "Q", "9@lid", ana, pollSecret(), "green"), 2))
	require.Equal(t, []tenant.ChatID{ana}, tally(t, h, "Q")["green"])
}

const betoLID tenant.ChatID = "104857600000002@lid"

func catchesUpOnVotes(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	result := commit(t, h,
		sealedVote("P", betoLID, ana, sealed(t, "P", betoLID, ana, pollSecret(), "red"), 2),
		sealedVote("P", betoLID, ana, sealed(t, "P", betoLID, ana, pollSecret(), "blue"), 5),
		sealedVote("P", betoLID, ana, sealed(t, "P", betoLID, ana, pollSecret(), "green"), 4),
		sealedVote("P", betoLID, anaLID, sealed(t, "P", beto, anaLID, pollSecret(), "green"), 1),
		vote("P", betoLID, me, 3, "green"))
	require.Equal(t, []bool{false, false, false, false, false}, result.Revised)
	require.Zero(t, result.Unopened, "they wait")
	require.Empty(t, events(t, h))
	require.Empty(t, chatIDs(t, h, tenant.ChatQuery{}), "no chat is made of them")
	commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana}, tenant.LinkIDs{LID: betoLID, Phone: beto})

	placeholder := receivedIn(family, "P", beto, "", 1)
	placeholder.Type = tenant.TypeUnsupported
	commit(t, h, live(receivedIn(family, "P", me, "another of that id", 1)), live(placeholder))
	filled := commit(t, h, live(pollIn(family, "P", beto, 1)))
	require.Equal(t, 1, filled.Messages[0].Poll.Options[1].Votes)
	m, err := h.Message(t.Context(), family, "P", beto)
	require.NoError(t, err)
	require.Equal(t, []tenant.ChatID{ana}, m.Poll.Options[2].Voters)
	require.Equal(t, []tenant.ChatID{me}, m.Poll.Options[1].Voters)
	require.Empty(t, m.Poll.Options[0].Voters)
	commit(t, h, live(pollIn(family, "P", beto, 1)))
	require.Len(t, eventTypes(t, h, 0), 6, "two of messages, one of the content, three of votes: %v", eventTypes(t, h, 0))
}

func mergesVoters(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, live(pollIn(family, "P", beto, 1)), vote("P", beto, anaLID, 5, "red"), vote("P", beto, ana, 3, "blue"),
		live(pollIn(family, "Q", beto, 1)), vote("Q", beto, anaLID, 2, "red"), vote("Q", beto, ana, 3))
	require.Equal(t, []tenant.ChatID{anaLID}, tally(t, h, "P")["red"])
	commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana})
	require.Equal(t, map[string][]tenant.ChatID{"red": {ana}}, tally(t, h, "P"))
	require.Empty(t, tally(t, h, "Q"), "withdrawn by the number after it was cast by the LID")
	commit(t, h, vote("P", beto, anaLID, 4, "green"))
	require.Equal(t, map[string][]tenant.ChatID{"red": {ana}}, tally(t, h, "P"))
	commit(t, h, vote("P", beto, anaLID, 6, "green"))
	require.Equal(t, map[string][]tenant.ChatID{"green": {ana}}, tally(t, h, "P"))
}

func mergesPolls(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, live(pollIn(family, "P", betoLID, 1)), vote("P", betoLID, ana, 2, "red"), vote("P", betoLID, me, 2, "red"),
		live(pollIn(family, "P", beto, 1)), vote("P", beto, me, 3, "blue"), vote("P", beto, betoLID, 3, "green"))
	commit(t, h, tenant.LinkIDs{LID: betoLID, Phone: beto})
	require.Equal(t, map[string][]tenant.ChatID{"red": {ana}, "blue": {me}, "green": {beto}}, tally(t, h, "P"))
}

func mergesPastVotes(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	past := pollIn(family, "P", beto, 1)
	past.Poll.Votes = []tenant.PollVote{
		{VoterID: ana, Options: []int{0}, Timestamp: after(2)}, {VoterID: anaLID, Options: []int{1}, Timestamp: after(4)},
	}
	commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana}, history(past))
	require.Equal(t, map[string][]tenant.ChatID{"green": {ana}}, tally(t, h, "P"))
	require.Equal(t, []bool{false}, commit(t, h, vote("P", beto, ana, 3, "red")).Revised)

	past.Poll.Votes = []tenant.PollVote{
		{VoterID: ana, Options: []int{0}, Timestamp: after(3)}, {VoterID: me, Options: []int{2}, Timestamp: after(3)},
	}
	again := commit(t, h, history(past))
	require.Equal(t, []bool{false}, again.Fresh)
	require.Equal(t, []tenant.ChatID{me}, again.Messages[0].Poll.Options[2].Voters)
	require.Equal(t, map[string][]tenant.ChatID{"green": {ana}, "blue": {me}}, tally(t, h, "P"))
	require.Empty(t, events(t, h))
}
