package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
)

func TestAGroupIsAskedAndVotes(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			c, ana, bob := w.customer("Shop"), w.person("Ana"), w.person("Bob")
			feed, me := c.feed(0), tenant.PersonID(c.Number())
			group, _, err := ana.CreateGroup(t.Context(), "Family", []string{c.Number(), bob.Number()})
			require.NoError(t, err)

			var ours tenant.Message
			c.api.call(http.StatusCreated, http.MethodPost, "/api/chats/"+group+"/poll",
				`{"question":"Lunch?","options":["noon","one"]}`).into(t, &ours)
			theirs, err := ana.SendPoll(t.Context(), group, phone.Poll{Question: "Dinner?", Options: []string{"six", "ten"}}, phone.SendOptions{})
			require.NoError(t, err)
			feed.received("Dinner?")

			vote := func(id tenant.MessageID, want int, options string) (m tenant.Message) {
				path := fmt.Sprintf("/api/chats/%s/messages/%s/votes", group, id)
				got := c.api.call(want, http.MethodPost, path, `{"options":[`+options+`]}`)
				if want == http.StatusOK {
					got.into(t, &m)
				}
				return m
			}
			for id, option := range map[tenant.MessageID]string{ours.ID: "noon", tenant.MessageID(theirs): "ten"} {
				_, err = bob.Vote(t.Context(), group, string(id), []string{option})
				require.NoError(t, err)
				told := event(feed, tenant.EventPollVote, func(v *tenant.PollVoted) bool { return v.MessageID == id && v.VoterID == bob.chatID() })
				require.Equal(t, []string{option}, told.Options)
				require.Equal(t, tenant.ChatID(group), told.ChatID)
				m := vote(id, http.StatusOK, `"`+option+`"`)
				bob.saw(phone.KindVote, string(id), option)
				shown := m.Poll.Options[map[string]int{"noon": 0, "ten": 1}[option]]
				require.Equal(t, tenant.PollOption{Text: option, Votes: 2, Voters: []tenant.ChatID{bob.chatID(), me}}, shown)
				vote(id, http.StatusUnprocessableEntity, `"never"`)
			}
			require.Zero(t, vote(ours.ID, http.StatusOK, "").Poll.Options[1].Votes)
			bob.saw(phone.KindVote, string(ours.ID), "")
			byID := make(map[tenant.MessageID]tenant.Message)
			for _, m := range c.messages(tenant.ChatID(group)) {
				byID[m.ID] = m
			}
			require.Equal(t, 1, byID[ours.ID].Poll.Options[0].Votes)
			require.Equal(t, 2, byID[tenant.MessageID(theirs)].Poll.Options[1].Votes)
			c.api.call(http.StatusBadRequest, http.MethodPost, "/api/chats/"+string(ana.chatID())+"/poll", `{"question":"?","options":["a","b"]}`)
			c.api.call(http.StatusNotFound, http.MethodPost, "/api/chats/120363000000000099@g.us/poll", `{"question":"?","options":["a","b"]}`)
		})
	}
}
