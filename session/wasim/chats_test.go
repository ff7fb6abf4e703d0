package wasim_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
)

func TestPhonesSetChatsAndNameContacts(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ana, bob := addPhone(t, sim, wasim.PhoneConfig{}), addPhone(t, sim, wasim.PhoneConfig{})
	path := "/accounts/" + ana.Number()
	set := func(what string) int {
		t.Helper()
		status, _ := call(ctx, t, sim, "POST", path+"/chats", fmt.Sprintf(`{"chat":%q,%s}`, "+"+bob.Number(), what))
		return status
	}
	stands := func(what string, fits func(phone.ChatState) bool) {
		t.Helper()
		_, err := ana.WaitChat(ctx, bob.Number(), fits)
		require.NoError(t, err, what)
	}
	require.Equal(t, 204, set(`"archived":true,"mutedUntil":"2099-01-01T00:00:00Z","read":false`))
	stands("archived", func(s phone.ChatState) bool { return s.Archived && s.Muted && s.MutedUntil != nil && s.Unread })
	require.Equal(t, 204, set(`"archived":false,"pinned":true,"mutedUntil":"forever","read":true,"via":"lid"`))
	stands("pinned", func(s phone.ChatState) bool {
		return !s.Archived && s.Pinned && s.Muted && s.MutedUntil == nil && !s.Unread
	})
	require.Equal(t, 204, set(`"mutedUntil":null`))
	stands("not muted", func(s phone.ChatState) bool { return !s.Muted })
	require.Equal(t, 204, set(`"clear":true,"delete":true`))
	status, _ := call(ctx, t, sim, "POST", path+"/contacts", fmt.Sprintf(`{"phone":%q,"name":"Bob Brown"}`, bob.Number()))
	require.Equal(t, 204, status)
	stands("named", func(s phone.ChatState) bool { return s.Name == "Bob Brown" })
	status, answer := call(ctx, t, sim, "GET", path+"/chats", "")
	require.Equal(t, 200, status)
	require.Len(t, answer["chats"], 1)
	require.Subset(t, answer["chats"].([]any)[0], map[string]any{
		"chat": bob.Number(), "name": "Bob Brown", "archived": false, "pinned": true, "muted": false, "unread": false,
	})

	for _, what := range []string{`"via":"lid"`, `"mutedUntil":"soon"`, `"mutedUntil":5`, `"archived":true,"via":"x"`} {
		require.Equal(t, 400, set(what), what)
	}
	for body, want := range map[string]int{
		`{"chat":"nonsense","archived":true}`: 400, `{"chat":"5511000000000","archived":true,"via":"lid"}`: 404,
	} {
		status, _ = call(ctx, t, sim, "POST", path+"/chats", body)
		require.Equal(t, want, status, body)
	}
	status, _ = call(ctx, t, sim, "POST", path+"/contacts", `{"phone":"+5511999990001"}`)
	require.Equal(t, 400, status)
}
