package wasim_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/session/wasim/phone"
)

// Members come and go while others write. The race detector finds whoever changes a list of members that is being read; without
// it, a list that was torn shows in who misses a message and in what the list is at the end.
func TestMembersComeAndGoWhileOthersWrite(t *testing.T) {
	t.Parallel()
	inBothModes(t, churn)
}

func churn(t *testing.T, addressing string) {
	t.Helper()
	const rounds = 12
	c := newCrew(t)
	ana, bob := c.phone("Ana"), c.phone("Bob")
	web := link(c.ctx, t, c.sim, ana, true)
	movers := make([]*phone.Phone, 3)
	for i := range movers {
		movers[i] = c.phone(fmt.Sprint("Mover", i))
	}
	g := c.groupBy(addressing, ana, append(slices.Clone(movers), bob)...)
	jid, err := types.ParseJID(g)
	require.NoError(t, err)

	writes := map[string]func(text string) error{
		ana.Name(): func(text string) error { _, err := ana.SendText(c.ctx, g, text, phone.SendOptions{}); return err },
		bob.Name(): func(text string) error { _, err := bob.SendText(c.ctx, g, text, phone.SendOptions{}); return err },
		"Web": func(text string) error {
			return web.gate.Send(c.ctx, func(ctx context.Context) error {
				_, err := web.cli.SendMessage(ctx, jid, &waE2E.Message{Conversation: new(text)})
				return err
			})
		},
	}
	over := make(chan struct{})
	sent := map[string]*int{}
	var writers errgroup.Group
	for name, write := range writes {
		n := new(int)
		sent[name] = n
		writers.Go(func() error {
			for {
				select {
				case <-over:
					return nil
				default:
				}
				if err := write(fmt.Sprint(name, *n)); err != nil {
					return err
				}
				*n++
			}
		})
	}
	for range rounds { // each is two notices to whoever stays
		for _, change := range []func(context.Context, string, []string) ([]phone.MemberResult, error){ana.RemoveMembers, ana.AddMembers} {
			results, err := change(c.ctx, g, numbers(movers...))
			require.NoError(t, err)
			for _, r := range results {
				require.Equal(t, 200, r.Code)
			}
		}
	}
	close(over)
	require.NoError(t, writers.Wait())

	for _, to := range []*phone.Phone{ana, bob} {
		want := map[string]int{}
		for name, n := range sent {
			for i := range *n {
				if name != to.Name() {
					want[fmt.Sprint(name, i)] = 1
				}
			}
		}
		for text := range want {
			c.comes(to, has(phone.KindMessage, "", text))
		}
		got := map[string]int{}
		for _, e := range to.Inbox(0) {
			if e.Kind == phone.KindMessage && e.Chat == g {
				got[e.Text]++
			}
		}
		require.Equal(t, want, got, "at %s", to.Name())
	}
	// What the client goes by is what the server says, also after a notice that nothing was sent since.
	after := func(text string) {
		t.Helper()
		c.sends(ana, g, object{"text": text}) // comes behind the notices
		require.NoError(t, web.wait(c.ctx, func() bool {
			return slices.ContainsFunc(web.messages, func(m *events.Message) bool { return m.Message.GetConversation() == text })
		}))
	}
	after("all are back")
	require.NoError(t, writes["Web"]("at last"))
	_, err = ana.RemoveMembers(c.ctx, g, numbers(movers[0]))
	require.NoError(t, err)
	after("one has gone")
	known, err := web.cli.DangerousInternals().GetCachedGroupData(c.ctx, jid) //nolint:staticcheck // the only way to see it
	require.NoError(t, err)
	require.Equal(t, addressing, string(known.AddressingMode))
	said, err := web.cli.GetGroupInfo(c.ctx, jid)
	require.NoError(t, err)
	members := make([]types.JID, 0, len(said.Participants))
	for _, each := range said.Participants {
		members = append(members, each.JID)
	}
	require.ElementsMatch(t, members, known.Members)
}
