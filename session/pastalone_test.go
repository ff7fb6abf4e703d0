package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

// What a chat was like when the phone looked must not replace what it is like now.
func TestAHistoryOnDemandLeavesTheChatAlone(t *testing.T) {
	t.Parallel()
	conversation := &waHistorySync.Conversation{
		ID: new("5511999990001@s.whatsapp.net"), UnreadCount: new(uint32(7)), Archived: new(true), Pinned: new(uint32(1)),
		MuteEndTime: new(uint64(1 << 32)), ConversationTimestamp: new(uint64(1 << 31)),
		Messages: []*waHistorySync.HistorySyncMsg{{Message: &waWeb.WebMessageInfo{
			Key:     &waCommon.MessageKey{ID: new("OLD1"), FromMe: new(false)},
			Message: &waE2E.Message{Conversation: new("old")}, MessageTimestamp: new(uint64(1_700_000_000)),
		}}},
	}
	parse := func(chat types.JID, msg *waWeb.WebMessageInfo) (*events.Message, error) {
		return &events.Message{Message: msg.GetMessage(), Info: types.MessageInfo{
			ID: msg.GetKey().GetID(), Timestamp: time.Unix(1_700_000_000, 0), MessageSource: types.MessageSource{Chat: chat, Sender: chat},
		}}, nil
	}
	changes := func(kind waHistorySync.HistorySync_HistorySyncType) (puts []tenant.PutChat, messages int) {
		blob := &waHistorySync.HistorySync{SyncType: kind.Enum(), Conversations: []*waHistorySync.Conversation{conversation, {ID: new("5511999990002@s.whatsapp.net")}}}
		for change := range (account{id: "5511988880000@c.us"}).history(blob, parse) {
			switch change := change.(type) {
			case tenant.PutChat:
				puts = append(puts, change)
			case tenant.PutMessage:
				messages++
			}
		}
		return puts, messages
	}
	puts, messages := changes(waHistorySync.HistorySync_RECENT)
	require.Len(t, puts, 2)
	require.Equal(t, 7, *puts[0].Unread)
	require.Equal(t, 1, messages)
	puts, messages = changes(waHistorySync.HistorySync_ON_DEMAND)
	require.Equal(t, []tenant.PutChat{{ID: "5511999990001@c.us"}}, puts, "and none for a chat without messages")
	require.Equal(t, 1, messages)
}

func TestTheOldestMessageOfAPageIsFound(t *testing.T) {
	t.Parallel()
	item := func(id string, at uint64) *waHistorySync.HistorySyncMsg {
		return &waHistorySync.HistorySyncMsg{Message: &waWeb.WebMessageInfo{
			Key: &waCommon.MessageKey{ID: &id, FromMe: new(id == "B")}, MessageTimestamp: &at,
		}}
	}
	blob := &waHistorySync.HistorySync{Conversations: []*waHistorySync.Conversation{{
		EndOfHistoryTransferType: endOfOnDemand.Enum(),
		Messages:                 []*waHistorySync.HistorySyncMsg{item("A", 30), item("C", 20), item("B", 20), item("", 10), item("D", 0), {}},
	}}}
	page := pageOf(blob, 2)
	require.Equal(t, anchor{id: "B", fromMe: true, at: time.Unix(20, 0).UTC()}, page.oldest, "newest first, also within a second")
	require.Equal(t, 3, page.all)
	require.Equal(t, 2, page.came)
	require.Equal(t, endOfOnDemand, page.end)

	known := []tenant.Message{{ID: "NEW", Status: tenant.StatusSent}, {ID: "LOST", FromMe: true, Status: tenant.StatusFailed}}
	require.Equal(t, types.MessageID("NEW"), oldestOf(known).id, "the phone never had one that failed")
	require.NotEmpty(t, oldestOf(nil).id, "phones ignore requests without an id")
}
