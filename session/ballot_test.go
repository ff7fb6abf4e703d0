package session

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/tenant"
)

func pollSecret() []byte { return []byte(strings.Repeat("s", 32)) }

// wirePoll is a poll as WhatsApp writes it.
func wirePoll(question string, options ...string) *waE2E.PollCreationMessage {
	poll := &waE2E.PollCreationMessage{Name: &question, SelectableOptionsCount: new(uint32(1))}
	for _, option := range options {
		poll.Options = append(poll.Options, &waE2E.PollCreationMessage_Option{OptionName: str(option)})
	}
	return poll
}

func TestReadsPolls(t *testing.T) {
	t.Parallel()
	info := &waE2E.MessageContextInfo{MessageSecret: pollSecret()}
	poll := wirePoll("lunch?", "noon", "one")
	want := &tenant.Poll{
		Question: "lunch?", Secret: pollSecret(), Author: anaLID.String(),
		Options: []tenant.PollOption{{Text: "noon", Voters: []tenant.ChatID{}}, {Text: "one", Voters: []tenant.ChatID{}}},
	}
	for name, msg := range map[string]*waE2E.Message{
		"first":   {PollCreationMessage: poll, MessageContextInfo: info},
		"second":  {PollCreationMessageV2: poll, MessageContextInfo: info},
		"third":   {PollCreationMessageV3: poll, MessageContextInfo: info},
		"fourth":  {PollCreationMessageV4: &waE2E.FutureProofMessage{Message: &waE2E.Message{PollCreationMessage: poll, MessageContextInfo: info}}},
		"fifth":   {PollCreationMessageV5: poll, MessageContextInfo: info},
		"fading":  {EphemeralMessage: &waE2E.FutureProofMessage{Message: &waE2E.Message{PollCreationMessage: poll}}, MessageContextInfo: info},
		"by ours": {DeviceSentMessage: &waE2E.DeviceSentMessage{Message: &waE2E.Message{PollCreationMessageV3: poll}}, MessageContextInfo: info},
	} {
		evt := &events.Message{RawMessage: proto.CloneOf(msg), Info: types.MessageInfo{
			ID: "P", Timestamp: stamp, MessageSource: types.MessageSource{Chat: family, Sender: anaLID, SenderAlt: anaPN, IsGroup: true},
		}}
		changes := me.message(evt.UnwrapRaw())
		require.Len(t, changes, 2, name)
		put, ok := changes[1].(tenant.PutMessage)
		require.True(t, ok, name)
		require.Equal(t, tenant.TypePoll, put.Message.Type, name)
		require.Equal(t, "lunch?", put.Message.Text, name)
		require.Equal(t, want, put.Message.Poll, name)
	}

	hostile := wirePoll(strings.Repeat("x", 100_000), "a\x00b", strings.Repeat("y", 100_000))
	hostile.SelectableOptionsCount = nil
	for range 1000 {
		hostile.Options = append(hostile.Options, nil)
	}
	got := describePoll(&waE2E.Message{PollCreationMessage: hostile})
	require.True(t, got.Multiple)
	require.Len(t, got.Question, maxPollQuestion)
	require.Len(t, got.Options, maxPollOptions)
	require.Equal(t, "a\uFFFDb", got.Options[0].Text)
	require.Equal(t, []int{0}, got.Choose(whatsmeow.HashPollOptions([]string{"a\x00b"})))
	require.Equal(t, []int{1}, got.Choose(whatsmeow.HashPollOptions([]string{strings.Repeat("y", 100_000)})))
	require.Nil(t, describePoll(&waE2E.Message{Conversation: str("no poll")}))
}

func TestComposesPollsAsWhatsmeowDoes(t *testing.T) {
	t.Parallel()
	var cli *whatsmeow.Client // not used by what builds a poll
	for _, multiple := range []bool{false, true} {
		got := composePoll(&PollMessage{Question: "lunch?", Options: []string{"noon", "one"}, Multiple: multiple})
		want := cli.BuildPollCreation("lunch?", []string{"noon", "one"}, map[bool]int{false: 1}[multiple])
		require.Len(t, got.GetMessageContextInfo().GetMessageSecret(), 32)
		want.MessageContextInfo.MessageSecret = got.MessageContextInfo.MessageSecret
		require.True(t, proto.Equal(want, got))
		require.Equal(t, multiple, describePoll(got).Multiple)
	}
}

func TestTranslatesVotes(t *testing.T) {
	t.Parallel()
	const group = tenant.ChatID("120363000000000001@g.us")
	bobPN, bobLID := types.NewJID("5511900000003", types.DefaultUserServer), types.NewJID("900000000000003", types.HiddenUserServer)
	later := stamp.Add(1500 * time.Millisecond)
	mine := []string{mePN.String(), meLID.String()}
	for name, tc := range map[string]struct {
		src             types.MessageSource
		key             *waCommon.MessageKey
		chat            tenant.ChatID
		sender, by      tenant.ChatID
		authors, voters []string
	}{
		"on ours": {
			types.MessageSource{Chat: anaLID, Sender: anaLID, SenderAlt: anaPN},
			&waCommon.MessageKey{ID: str("P"), RemoteJID: str(meLID.String())},
			anaHid, me.id, anaHid,
			[]string{meLID.String(), mePN.String()},
			[]string{anaLID.String(), anaPN.String()},
		},
		"on theirs": {
			types.MessageSource{Chat: anaPN, Sender: anaPN},
			&waCommon.MessageKey{ID: str("P"), RemoteJID: str(mePN.String()), FromMe: new(true)},
			ana, ana, ana,
			[]string{anaPN.String()},
			[]string{anaPN.String()},
		},
		"by us on theirs": {
			types.MessageSource{Chat: anaPN, Sender: meLID, IsFromMe: true},
			&waCommon.MessageKey{ID: str("P"), RemoteJID: str(anaLID.String())},
			ana, ana, me.id,
			[]string{anaLID.String(), anaPN.String()},
			[]string{meLID.String(), mePN.String()},
		},
		"by us on ours": {
			types.MessageSource{Chat: family, Sender: mePN, IsFromMe: true, IsGroup: true},
			&waCommon.MessageKey{ID: str("P"), RemoteJID: str(family.String()), FromMe: new(true)},
			group, me.id, me.id, mine, mine,
		},
		"in a group": {
			types.MessageSource{Chat: family, Sender: anaLID, SenderAlt: anaPN, IsGroup: true},
			&waCommon.MessageKey{ID: str("P"), RemoteJID: str(family.String()), Participant: str(bobLID.String())},
			group, tenant.ChatID(bobLID.String()), anaHid,
			[]string{bobLID.String()},
			[]string{anaLID.String(), anaPN.String()},
		},
		"on ours in a group": {
			types.MessageSource{Chat: family, Sender: bobPN, IsGroup: true},
			&waCommon.MessageKey{ID: str("P"), RemoteJID: str(family.String()), Participant: str(meLID.String())},
			group, me.id, tenant.PersonID(bobPN.User),
			[]string{meLID.String(), mePN.String()},
			[]string{bobPN.String()},
		},
	} {
		update := &waE2E.PollUpdateMessage{
			PollCreationMessageKey: tc.key, SenderTimestampMS: new(later.UnixMilli()),
			Vote: &waE2E.PollEncValue{EncPayload: []byte("sealed"), EncIV: []byte("iv")},
		}
		evt := &events.Message{RawMessage: &waE2E.Message{PollUpdateMessage: update}, Info: types.MessageInfo{
			ID: "V", Timestamp: stamp, MessageSource: tc.src,
		}}
		changes := me.message(evt.UnwrapRaw())
		require.NotEmpty(t, changes, name)
		got, ok := changes[len(changes)-1].(tenant.CastVote)
		require.True(t, ok, name)
		require.ElementsMatch(t, tc.authors, got.Sealed.Authors, name)
		require.Equal(t, tc.authors[0], got.Sealed.Authors[0], name)
		require.ElementsMatch(t, tc.voters, got.Sealed.Voters, name)
		require.Equal(t, tenant.CastVote{
			ChatID: tc.chat, ID: "P", SenderID: tc.sender, By: tc.by, At: later,
			Sealed: &tenant.SealedVote{Payload: []byte("sealed"), IV: []byte("iv"), Authors: got.Sealed.Authors, Voters: got.Sealed.Voters},
		}, got, name)

		for _, broken := range []func(*waE2E.PollUpdateMessage){
			func(u *waE2E.PollUpdateMessage) { u.PollCreationMessageKey = nil },
			func(u *waE2E.PollUpdateMessage) { u.Vote = nil },
			func(u *waE2E.PollUpdateMessage) { u.Vote.EncPayload = make([]byte, maxSealedVote+1) },
		} {
			bad := proto.CloneOf(update)
			broken(bad)
			evt.RawMessage = &waE2E.Message{PollUpdateMessage: bad}
			for _, change := range me.message(evt.UnwrapRaw()) {
				require.IsType(t, tenant.LinkIDs{}, change, name)
			}
		}
	}
}

func TestTranslatesPollsOfAHistory(t *testing.T) {
	t.Parallel()
	update := func(mine bool, participant string, ms int64, options ...string) *waWeb.PollUpdate {
		return &waWeb.PollUpdate{
			PollUpdateMessageKey: &waCommon.MessageKey{FromMe: &mine, Participant: &participant}, SenderTimestampMS: &ms,
			Vote: &waE2E.PollVoteMessage{SelectedOptions: whatsmeow.HashPollOptions(options)},
		}
	}
	past := func(chat types.JID, fromMe bool) tenant.Message {
		ms := stamp.UnixMilli()
		web := &waWeb.WebMessageInfo{
			Key:           &waCommon.MessageKey{ID: str("P"), FromMe: &fromMe, Participant: str(anaLID.String())},
			Message:       &waE2E.Message{PollCreationMessageV3: wirePoll("lunch?", "noon", "one")},
			MessageSecret: pollSecret(),
			PollUpdates: []*waWeb.PollUpdate{
				update(true, "", ms, "one"), update(false, anaLID.String(), ms+1, "noon"), update(false, meLID.String(), 1<<62),
				update(false, "x@@", ms, "one"),
				{PollUpdateMessageKey: &waCommon.MessageKey{FromMe: new(true)}},
				nil,
			},
		}
		parse := func(chat types.JID, msg *waWeb.WebMessageInfo) (*events.Message, error) {
			evt := &events.Message{RawMessage: msg.GetMessage(), Info: types.MessageInfo{ID: "P", Timestamp: stamp}}
			evt.Info.MessageSource = types.MessageSource{Chat: chat, Sender: anaLID, IsFromMe: fromMe, IsGroup: chat.Server == types.GroupServer}
			if fromMe {
				evt.Info.Sender = mePN
			}
			return evt.UnwrapRaw(), nil
		}
		blob := &waHistorySync.HistorySync{Conversations: []*waHistorySync.Conversation{
			{ID: str(chat.String()), Messages: []*waHistorySync.HistorySyncMsg{{Message: web}}},
		}}
		for change := range me.history(blob, parse) {
			if put, ok := change.(tenant.PutMessage); ok {
				require.False(t, put.Live)
				require.Equal(t, pollSecret(), put.Message.Poll.Secret)
				return put.Message
			}
		}
		require.Fail(t, "no message")
		return tenant.Message{}
	}
	direct := past(anaPN, false)
	require.Equal(t, anaLID.String(), direct.Poll.Author)
	require.Equal(t, tenant.PollVote{VoterID: me.id, Options: []int{1}, Timestamp: stamp}, direct.Poll.Votes[0])
	require.Equal(t, tenant.PollVote{VoterID: ana, Options: []int{0}, Timestamp: stamp.Add(time.Millisecond)}, direct.Poll.Votes[1])
	inGroup := past(family, true)
	require.Equal(t, meLID.String(), inGroup.Poll.Author)
	require.Len(t, inGroup.Poll.Votes, 3)
	require.Equal(t, anaHid, inGroup.Poll.Votes[1].VoterID)
	require.Equal(t, me.id, inGroup.Poll.Votes[2].VoterID)
	require.WithinDuration(t, time.Now(), inGroup.Poll.Votes[2].Timestamp, time.Minute)
}
