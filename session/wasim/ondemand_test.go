package wasim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
)

const team = "120363000000000042@g.us"

// ask asks the phone for a page of a chat behind a message.
func (c *companion) ask(ctx context.Context, t *testing.T, chat types.JID, id string, fromMe bool, at time.Time, count int) {
	t.Helper()
	info := &types.MessageInfo{ID: id, Timestamp: at, MessageSource: types.MessageSource{Chat: chat, IsFromMe: fromMe}}
	_, err := c.cli.SendPeerMessage(ctx, c.cli.BuildHistorySyncRequest(info, count))
	require.NoError(t, err)
}

// page waits for the history of that number and returns its one conversation.
func (c *companion) page(ctx context.Context, t *testing.T, n int) *waHistorySync.Conversation {
	t.Helper()
	require.NoError(t, c.wait(ctx, func() bool { return len(c.history) >= n }))
	require.Equal(t, waHistorySync.HistorySync_ON_DEMAND, c.history[n-1].GetSyncType())
	if len(c.history[n-1].GetConversations()) == 0 {
		return nil
	}
	require.Len(t, c.history[n-1].GetConversations(), 1)
	return c.history[n-1].GetConversations()[0]
}

func TestAPhoneGivesItsHistoryInPages(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	bob := addPhone(t, sim, wasim.PhoneConfig{Name: "Bob"})
	end := time.Now().Add(-time.Hour).Truncate(time.Second)
	var past []phone.ChatMessage
	for i := range 120 { // all of the same second: their order is that of the list
		past = append(past, phone.ChatMessage{ID: fmt.Sprint("OLD", i), Text: strconv.Itoa(i), From: bob.Number(), At: end.Add(-time.Duration(i/40) * time.Second)})
	}
	history, err := json.Marshal([]phone.Chat{{Group: team, Name: "Team", Recent: 5, Messages: past}})
	require.NoError(t, err)
	status, made := call(ctx, t, sim, "POST", "/accounts", fmt.Sprintf(`{"phone":%q,"history":%s}`, number(), history))
	require.Equal(t, 201, status, made)
	ana, ok := sim.Phone(made["phone"].(string)) //nolint:forcetypeassert // just made
	require.True(t, ok)
	c := link(ctx, t, sim, ana, true)
	group, _ := types.ParseJID(team)
	require.Equal(t, team, c.history[0].GetConversations()[0].GetID())
	given := len(c.history[0].GetConversations()[0].GetMessages()) + len(c.history[2].GetConversations()[0].GetMessages())
	require.Equal(t, 5, given)

	c.ask(ctx, t, group, "OLD4", false, end, 500)
	first := c.page(ctx, t, 4)
	require.Len(t, first.GetMessages(), 50, "never more than a page")
	require.Equal(t, "OLD5", first.GetMessages()[0].GetMessage().GetKey().GetID())
	require.Equal(t, bob.Number()+"@s.whatsapp.net", first.GetMessages()[0].GetMessage().GetKey().GetParticipant())
	require.Equal(t, waHistorySync.Conversation_COMPLETE_BUT_MORE_MESSAGES_REMAIN_ON_PRIMARY, first.GetEndOfHistoryTransferType())
	last := first.GetMessages()[49].GetMessage()
	require.Equal(t, "OLD54", last.GetKey().GetID())
	c.ask(ctx, t, group, "OLD54", false, end, 10)
	require.Len(t, c.page(ctx, t, 5).GetMessages(), 10)
	c.ask(ctx, t, group, "OLD100", false, end, 50)
	rest := c.page(ctx, t, 6)
	require.Len(t, rest.GetMessages(), 19)
	require.Equal(t, waHistorySync.Conversation_COMPLETE_AND_NO_MORE_MESSAGE_REMAIN_ON_PRIMARY, rest.GetEndOfHistoryTransferType())

	// Behind a message that it does not know, and of a chat that it does not know.
	c.ask(ctx, t, group, "UNKNOWN", true, end.Add(-2*time.Second), 50)
	require.Len(t, c.page(ctx, t, 7).GetMessages(), 40)
	c.ask(ctx, t, types.NewJID(number(), types.DefaultUserServer), "UNKNOWN", true, time.Now(), 50)
	require.Nil(t, c.page(ctx, t, 8))
}

func TestAPhoneIsSwitchedOffAndOn(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ana, bob := addPhone(t, sim, wasim.PhoneConfig{}), addPhone(t, sim, wasim.PhoneConfig{})
	set := func(what, body string) int {
		t.Helper()
		status, _ := call(ctx, t, sim, "POST", "/accounts/"+ana.Number()+"/"+what, body)
		return status
	}
	require.Equal(t, 204, set("offline", `{"offline":false}`))
	for range 3 {
		require.Equal(t, 204, set("offline", `{"offline":true}`))
		require.Equal(t, 204, set("offline", `{"offline":true}`))
		require.False(t, ana.Online())
		_, err := bob.SendText(ctx, ana.Number(), "meanwhile", phone.SendOptions{})
		require.NoError(t, err)
		seen := len(ana.Inbox(0))
		require.Equal(t, 204, set("offline", `{"offline":false}`))
		require.True(t, ana.Online())
		_, err = ana.WaitEntry(ctx, uint64(seen), isMessage("meanwhile"))
		require.NoError(t, err)
	}
	require.Equal(t, 204, set("silent", `{"silent":true}`))
	require.Equal(t, 204, set("silent", `{"silent":false}`))
	require.Equal(t, 400, set("silent", `{}`))
	require.Equal(t, 400, set("offline", `{}`))
	require.Equal(t, 204, set("offline", `{"offline":true}`)) // and closed so
}

func TestHistoriesThatAreNone(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	for _, chat := range []string{
		`{}`, `{"phone":"x"}`, `{"group":"x"}`, `{"group":"123@c.us"}`, `{"group":"` + team + `","phone":"5511999990001"}`,
		`{"group":"@g.us"}`, `{"group":"` + team + `","messages":[{"id":"A","text":"who?","at":"2026-01-01T00:00:00Z"}]}`,
	} {
		status, answer := call(within(t), t, sim, "POST", "/accounts", fmt.Sprintf(`{"phone":%q,"history":[%s]}`, number(), chat))
		require.Equal(t, 400, status, "%s: %v", chat, answer)
	}
}
