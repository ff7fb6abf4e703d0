package wasim_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
)

func TestPhonesAskAndVote(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ana, bob, cid := addPhone(t, sim, wasim.PhoneConfig{}), addPhone(t, sim, wasim.PhoneConfig{}), addPhone(t, sim, wasim.PhoneConfig{})
	group, _, err := ana.CreateGroup(ctx, "Lunch", []string{bob.Number(), cid.Number()})
	require.NoError(t, err)
	send := func(want int, from *phone.Phone, to, what string) string {
		status, answer := call(ctx, t, sim, "POST", "/accounts/"+from.Number()+"/send", fmt.Sprintf(`{"to":%q,%s}`, to, what))
		require.Equal(t, want, status, "%v", answer)
		id, _ := answer["id"].(string)
		return id
	}
	const poll = `"poll":{"question":"Lunch?","options":["noon","one"]`
	for _, tc := range []struct {
		to, via string
		others  []*phone.Phone
	}{
		{bob.Number(), "", []*phone.Phone{bob}},
		{bob.Number(), `,"via":"pn"`, []*phone.Phone{bob}},
		{bob.Number(), `,"via":"lid"`, []*phone.Phone{bob}},
		{group, "", []*phone.Phone{bob, cid}},
	} {
		id := send(200, ana, tc.to, poll+"}"+tc.via)
		for _, p := range tc.others {
			got, err := p.WaitEntry(ctx, 0, func(e phone.Entry) bool { return e.Kind == phone.KindMessage && e.IDs[0] == id })
			require.NoError(t, err)
			require.Equal(t, "Lunch?", got.Text)
			require.Equal(t, &phone.Poll{Question: "Lunch?", Options: []string{"noon", "one"}}, got.Poll)
		}
		for _, voter := range append([]*phone.Phone{ana}, tc.others...) {
			to := tc.to
			if voter != ana && to != group {
				to = ana.Number()
			}
			for what, want := range map[string]string{`["one"]`: "one", `[]`: ""} {
				vote := send(200, voter, to, fmt.Sprintf(`"vote":{"id":%q,"options":%s}`, id, what))
				for _, p := range append([]*phone.Phone{ana}, tc.others...) {
					if p == voter {
						continue
					}
					got, err := p.WaitEntry(ctx, 0, func(e phone.Entry) bool { return len(e.IDs) == 1 && e.IDs[0] == vote && e.Kind != phone.KindReceipt })
					require.NoError(t, err)
					require.Equal(t, phone.KindVote, got.Kind)
					require.Equal(t, id, got.Target)
					require.Equal(t, want, got.Text)
					require.Equal(t, ana.Number(), got.TargetFrom)
				}
			}
		}
	}
	multiple := send(200, ana, group, poll+`,"multiple":true}`)
	got, err := cid.WaitEntry(ctx, 0, func(e phone.Entry) bool { return e.Kind == phone.KindMessage && e.IDs[0] == multiple })
	require.NoError(t, err)
	require.True(t, got.Poll.Multiple)
	send(200, cid, group, fmt.Sprintf(`"vote":{"id":%q,"from":%q,"options":["one","noon"]}`, multiple, ana.Number()))
	got, err = ana.WaitEntry(ctx, 0, func(e phone.Entry) bool { return e.Target == multiple })
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"noon", "one"}, got.Options)

	send(404, ana, group, `"vote":{"id":"NOSUCH","options":[]}`)
	for _, what := range []string{
		`"poll":{"question":"","options":["a"]}`, `"poll":{"question":"x"}`, `"vote":{"options":[]}`, poll + `},"text":"x"`,
		poll + `},"vote":{"id":"x"}`, poll + `},"reaction":{"id":"x"}`,
	} {
		send(400, ana, group, what)
	}
}
