package wasim_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
)

func TestPhonesEditDeleteReactAndType(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ana, bob := addPhone(t, sim, wasim.PhoneConfig{}), addPhone(t, sim, wasim.PhoneConfig{})
	send := func(from, to *phone.Phone, what string) string {
		status, answer := call(ctx, t, sim, "POST", "/accounts/"+from.Number()+"/send", fmt.Sprintf(`{"to":%q,%s}`, to.Number(), what))
		require.Equal(t, 200, status, "%v", answer)
		id, _ := answer["id"].(string)
		require.NotEmpty(t, id)
		return id
	}
	comes := func(at *phone.Phone, kind, target, text string) phone.Entry {
		got, err := at.WaitEntry(ctx, 0, func(e phone.Entry) bool { return e.Kind == kind && e.Target == target && e.Text == text })
		require.NoError(t, err, "%s %q", kind, text)
		return got
	}
	id := send(ana, bob, `"text":"first"`)
	edit := send(ana, bob, fmt.Sprintf(`"edit":{"id":%q,"text":"second"}`, id))
	got := comes(bob, phone.KindEdit, id, "second")
	require.Equal(t, []string{edit}, got.IDs)
	require.Equal(t, ana.Number(), got.From)
	for from, to := range map[*phone.Phone]*phone.Phone{ana: bob, bob: ana} {
		for _, emoji := range []string{"👍", ""} {
			send(from, to, fmt.Sprintf(`"reaction":{"id":%q,"emoji":%q}`, id, emoji))
			comes(to, phone.KindReaction, id, emoji)
		}
	}
	send(ana, bob, fmt.Sprintf(`"delete":{"id":%q}`, id))
	comes(bob, phone.KindDelete, id, "")
	for _, state := range []string{"composing", "recording", "paused"} {
		status, _ := call(ctx, t, sim, "POST", "/accounts/"+bob.Number()+"/typing", fmt.Sprintf(`{"to":%q,"state":%q}`, ana.Number(), state))
		require.Equal(t, 204, status)
		require.Equal(t, bob.Number(), comes(ana, phone.KindTyping, "", state).From)
	}
}
