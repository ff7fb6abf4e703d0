package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/tenant"
)

func TestTranslatesRevisions(t *testing.T) {
	t.Parallel()
	const group = tenant.ChatID("120363000000000001@g.us")
	inChat := types.MessageSource{Chat: anaPN, Sender: anaPN}
	fromMe := types.MessageSource{Chat: anaPN, Sender: meLID, IsFromMe: true}
	inGroup := types.MessageSource{Chat: family, Sender: anaPN, IsGroup: true}
	later := stamp.Add(1500 * time.Millisecond)
	key := func(mine bool, participant string) *waCommon.MessageKey {
		k := &waCommon.MessageKey{ID: str("M"), FromMe: &mine}
		if participant != "" {
			k.Participant = &participant
		}
		return k
	}
	revoke := func(k *waCommon.MessageKey) *waE2E.Message {
		return &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{Type: waE2E.ProtocolMessage_REVOKE.Enum(), Key: k}}
	}
	edit := func(to *waE2E.Message, ms int64) *waE2E.Message {
		return &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
			Type: waE2E.ProtocolMessage_MESSAGE_EDIT.Enum(), Key: key(true, ""), EditedMessage: to, TimestampMS: &ms,
		}}
	}
	wrapped := func(m *waE2E.Message) *waE2E.Message {
		return &waE2E.Message{EditedMessage: &waE2E.FutureProofMessage{Message: m}}
	}
	react := func(k *waCommon.MessageKey, emoji string) *waE2E.Message {
		return &waE2E.Message{ReactionMessage: &waE2E.ReactionMessage{Key: k, Text: &emoji, SenderTimestampMS: new(later.UnixMilli())}}
	}
	text := &waE2E.Message{Conversation: str("new")}
	anEdit := tenant.EditMessage{ChatID: ana, ID: "M", SenderID: ana, Text: "new", At: later}
	unclear := anEdit
	unclear.At = stamp
	secret := &waE2E.SecretEncryptedMessage{TargetMessageKey: key(true, ""), SecretEncType: waE2E.SecretEncryptedMessage_MESSAGE_EDIT.Enum()}
	for name, tc := range map[string]struct {
		src  types.MessageSource
		msg  *waE2E.Message
		want tenant.Change // nil: nothing
	}{
		"edit":                         {inChat, edit(text, later.UnixMilli()), anEdit},
		"wrapped edit":                 {inChat, wrapped(edit(text, later.UnixMilli())), anEdit},
		"edit in disappearing chat":    {inChat, edit(&waE2E.Message{EphemeralMessage: &waE2E.FutureProofMessage{Message: text}}, later.UnixMilli()), anEdit},
		"edit by a clock that is off":  {inChat, edit(text, 5), unclear},
		"edit without a time":          {inChat, edit(text, 0), unclear},
		"edit of a caption":            {inChat, edit(&waE2E.Message{ImageMessage: &waE2E.ImageMessage{Caption: str("new")}}, later.UnixMilli()), anEdit},
		"edit by us":                   {fromMe, edit(text, later.UnixMilli()), tenant.EditMessage{ChatID: ana, ID: "M", SenderID: me.id, Text: "new", At: later}},
		"edit to nothing":              {inChat, edit(nil, later.UnixMilli()), nil},
		"edit to what we cannot read":  {inChat, edit(&waE2E.Message{OrderMessage: &waE2E.OrderMessage{}}, 0), nil},
		"opened edit":                  {inChat, openEdit(secret, text), unclear},
		"opened edit with its wrapper": {inChat, openEdit(secret, wrapped(edit(text, later.UnixMilli()))), anEdit},

		"deletion":                     {inChat, revoke(key(true, "")), tenant.RevokeMessage{ChatID: ana, ID: "M", SenderID: ana, By: ana, At: stamp}},
		"deletion by us":               {fromMe, revoke(key(true, "")), tenant.RevokeMessage{ChatID: ana, ID: "M", SenderID: me.id, By: me.id, At: stamp}},
		"deletion of ours by another":  {inChat, revoke(key(false, "")), nil},
		"deletion by an admin":         {inGroup, revoke(key(false, "5511900000003@s.whatsapp.net")), tenant.RevokeMessage{ChatID: group, ID: "M", SenderID: "5511900000003@c.us", By: ana, At: stamp}},
		"deletion of ours by an admin": {inGroup, revoke(key(false, meLID.String())), tenant.RevokeMessage{ChatID: group, ID: "M", SenderID: me.id, By: ana, At: stamp}},
		"deletion of nobody's":         {inGroup, revoke(key(false, "")), nil},
		"deletion of nothing":          {inChat, revoke(nil), nil},

		"reaction to theirs":           {inChat, react(key(true, ""), "👍"), tenant.React{ChatID: ana, ID: "M", SenderID: ana, By: ana, Emoji: "👍", At: later}},
		"reaction to ours":             {inChat, react(key(false, ""), "👍"), tenant.React{ChatID: ana, ID: "M", SenderID: me.id, By: ana, Emoji: "👍", At: later}},
		"reaction by us":               {fromMe, react(key(false, ""), ""), tenant.React{ChatID: ana, ID: "M", SenderID: ana, By: me.id, At: later}},
		"reaction in a group":          {inGroup, react(key(false, meLID.String()), "👍"), tenant.React{ChatID: group, ID: "M", SenderID: me.id, By: ana, Emoji: "👍", At: later}},
		"reaction that is a novel":     {inChat, react(key(true, ""), string(make([]byte, maxEmojiLength+1))), nil},
		"opened reaction":              {inChat, openReaction(&waE2E.EncReactionMessage{TargetMessageKey: key(true, "")}, react(nil, "👍").GetReactionMessage()), tenant.React{ChatID: ana, ID: "M", SenderID: ana, By: ana, Emoji: "👍", At: later}},
		"another kind of announcement": {inChat, &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{Type: waE2E.ProtocolMessage_EPHEMERAL_SETTING.Enum()}}, nil},
	} {
		var want []tenant.Change
		if tc.want != nil {
			want = []tenant.Change{tc.want}
		}
		evt := &events.Message{RawMessage: proto.CloneOf(tc.msg), Info: types.MessageInfo{ID: "ID", Timestamp: stamp, MessageSource: tc.src}}
		require.Equal(t, want, me.message(evt.UnwrapRaw()), name)
		sent := &waE2E.Message{DeviceSentMessage: &waE2E.DeviceSentMessage{Message: proto.CloneOf(tc.msg)}}
		evt.RawMessage = sent
		require.Equal(t, want, me.message(evt.UnwrapRaw()), "%s, by another device", name)
	}
}

func TestTranslatesReactionsOfAHistory(t *testing.T) {
	t.Parallel()
	reaction := func(mine bool, participant, emoji string) *waWeb.Reaction {
		return &waWeb.Reaction{
			Key: &waCommon.MessageKey{FromMe: &mine, Participant: &participant}, Text: &emoji, SenderTimestampMS: new(stamp.UnixMilli()),
		}
	}
	past := []*waWeb.Reaction{reaction(true, "", "👍"), reaction(false, "", "❤️"), reaction(false, "", "again"), reaction(true, "", ""), nil}
	require.Equal(t, []tenant.Reaction{
		{SenderID: me.id, Emoji: "👍", Timestamp: stamp}, {SenderID: ana, Emoji: "❤️", Timestamp: stamp},
	}, me.pastReactions(source{chat: ana}, past))
	require.Equal(t, []tenant.Reaction{{SenderID: ana, Emoji: "👍", Timestamp: stamp}}, me.pastReactions(
		source{chat: "120363000000000001@g.us"}, []*waWeb.Reaction{reaction(false, anaPN.String(), "👍"), reaction(false, "", "x"), reaction(false, "x@@", "x")},
	))
}
