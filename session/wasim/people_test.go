package wasim_test

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
)

func TestPhonesHaveProfilesPresenceAndBlockLists(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ana, bob := addPhone(t, sim, wasim.PhoneConfig{Name: "Ana"}), addPhone(t, sim, wasim.PhoneConfig{})
	do := func(p *phone.Phone, what, body string) {
		status, answer := call(ctx, t, sim, "POST", "/accounts/"+p.Number()+"/"+what, body)
		require.Equal(t, 204, status, "%v", answer)
	}
	see := func() map[string]any {
		status, answer := call(ctx, t, sim, "GET", "/accounts/"+bob.Number()+"/profile?of="+ana.Number(), "")
		require.Equal(t, 200, status, "%v", answer)
		return answer
	}
	require.Equal(t, map[string]any{"about": ""}, see())
	picture := base64.StdEncoding.EncodeToString([]byte("\xff\xd8\xff picture"))
	do(ana, "profile", fmt.Sprintf(`{"name":"Aninha","about":"at sea","picture":%q}`, picture))
	got := see()
	require.Equal(t, "at sea", got["about"])
	require.Equal(t, picture, got["picture"])
	require.NotEmpty(t, got["pictureId"])
	require.Equal(t, "Aninha", ana.Name())
	do(ana, "profile", `{"pictureFor":"none"}`)
	require.Equal(t, map[string]any{"about": "at sea"}, see())
	do(ana, "profile", `{"pictureFor":"all","picture":"remove"}`)
	require.Equal(t, map[string]any{"about": "at sea"}, see())

	do(bob, "presence", fmt.Sprintf(`{"watch":%q}`, ana.Number()))
	var after uint64
	for _, state := range []string{"unavailable", "available"} {
		do(ana, "presence", fmt.Sprintf(`{"state":%q}`, state))
		e, err := bob.WaitEntry(ctx, after, func(e phone.Entry) bool { return e.Kind == phone.KindPresence && e.Text == state })
		require.NoError(t, err)
		require.Equal(t, ana.Number(), e.From)
		after = e.Seq
	}

	do(bob, "block", fmt.Sprintf(`{"phone":%q,"blocked":true}`, ana.Number()))
	blocked, err := bob.Blocked(ctx)
	require.NoError(t, err)
	require.Equal(t, ana.LID(), blocked[0])
	_, err = ana.SendText(ctx, bob.Number(), "unheard", phone.SendOptions{})
	require.NoError(t, err, "the sender must not know")
	do(bob, "block", fmt.Sprintf(`{"phone":%q,"blocked":false}`, ana.Number()))
	_, err = ana.SendText(ctx, bob.Number(), "heard", phone.SendOptions{})
	require.NoError(t, err)
	_, err = bob.WaitEntry(ctx, 0, func(e phone.Entry) bool {
		require.NotEqual(t, "unheard", e.Text)
		return e.Text == "heard"
	})
	require.NoError(t, err)

	for path, bodies := range map[string][]string{
		"profile":  {`{"name":""}`, `{"picture":"%"}`, `{"picture":""}`, `{"pictureFor":"me"}`, `{"nope":1}`},
		"presence": {`{}`, `{"state":"dancing"}`, `{"state":"available","watch":"+5511999990001"}`, `{"watch":"x"}`},
		"block":    {`{}`, `{"phone":"x","blocked":true}`},
	} {
		for _, body := range bodies {
			status, _ := call(ctx, t, sim, "POST", "/accounts/"+ana.Number()+"/"+path, body)
			require.Equal(t, 400, status, "%s %s", path, body)
		}
	}
	for _, path := range []string{"profile", "presence", "block"} {
		status, _ := call(ctx, t, sim, "POST", "/accounts/5511000000000/"+path, `{}`)
		require.Equal(t, 404, status, path)
	}
}
