package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
)

// groupChange waits until the person's phone was told of a change of a group.
func (p *person) groupChange(group tenant.ChatID, fits func(*phone.GroupChange) bool) {
	p.w.t.Helper()
	ctx, cancel := context.WithTimeout(p.w.t.Context(), patience)
	defer cancel()
	_, err := p.WaitEntry(ctx, 0, func(e phone.Entry) bool {
		return e.Kind == phone.KindGroup && e.Chat == string(group) && e.Group != nil && fits(e.Group)
	})
	require.NoError(p.w.t, err)
}

func participantsBody(people ...*person) string {
	ids := []string{}
	for _, p := range people {
		ids = append(ids, string(p.chatID()))
	}
	body, err := json.Marshal(map[string]any{"participants": ids})
	if err != nil {
		panic(err)
	}
	return string(body)
}

func TestAGroupFromItsMakingToItsEnd(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			c, other, ana, bia := w.customer("Shop"), w.customer("Branch"), w.person("Ana"), w.person("Bia")
			feed, branch := c.feed(0), other.feed(0)
			// The groups that a session reads when it comes online are not told as additions: that is over after a synchronisation.
			until(t, "the groups are synchronized", func() bool {
				got, err := other.api.try(http.MethodPost, "/api/chats/sync", "") // 503 until the phone has shared the keys
				return err == nil && got.status == http.StatusOK
			})
			var made struct {
				tenant.Chat

				Results []tenant.ParticipantResult
			}
			body := fmt.Sprintf(`{"name":"Team","participants":[%q,%q,"5511000000000@c.us"]}`, ana.chatID(), other.chatID())
			c.api.call(http.StatusCreated, http.MethodPost, "/api/groups/create", body).into(t, &made)
			require.Equal(t, []string{"added", "added", "not_on_whatsapp"}, []string{made.Results[0].Status, made.Results[1].Status, made.Results[2].Status})
			path := "/api/chats/" + string(made.ID)
			ana.groupChange(made.ID, func(g *phone.GroupChange) bool { return g.Created && *g.Name == "Team" })

			// Both sides of the group are tenants here: each knows it as its own.
			joined := event(branch, tenant.EventGroupParticipants, func(p *tenant.GroupParticipants) bool { return p.ID == made.ID })
			require.Equal(t, tenant.ParticipantsAdded, joined.Action)
			require.Equal(t, c.chatID(), joined.By)
			sent := c.text(made.ID, "welcome")
			require.Equal(t, c.chatID(), branch.received("welcome").SenderID)
			ana.got("welcome")
			other.api.call(http.StatusForbidden, http.MethodDelete, path+"/messages/"+string(sent.ID), "")
			other.api.call(http.StatusForbidden, http.MethodPost, path+"/participants/promote", participantsBody(ana))

			c.api.call(http.StatusOK, http.MethodPost, path+"/participants", participantsBody(bia))
			c.api.call(http.StatusOK, http.MethodPost, path+"/participants/promote", participantsBody(other.person))
			promoted := event(branch, tenant.EventGroupParticipants, func(p *tenant.GroupParticipants) bool { return p.Action == tenant.ParticipantsPromoted })
			require.Equal(t, other.chatID(), promoted.Participants[0].ID)
			other.api.call(http.StatusOK, http.MethodPatch, path+"/name", `{"name":"Crew"}`)
			renamed := event(feed, tenant.EventGroupUpdated, func(g *tenant.GroupUpdated) bool { return g.Name == "Crew" })
			require.Equal(t, []string{tenant.GroupName}, renamed.Changed)
			require.Equal(t, other.chatID(), renamed.By)
			ana.groupChange(made.ID, func(g *phone.GroupChange) bool { return g.Name != nil && *g.Name == "Crew" })

			spam, err := bia.SendText(t.Context(), string(made.ID), "spam", phone.SendOptions{})
			require.NoError(t, err)
			branch.received("spam")
			other.api.call(http.StatusNoContent, http.MethodDelete, path+"/messages/"+spam, "")
			event(feed, tenant.EventMessageDeleted, func(m *tenant.Message) bool { return string(m.ID) == spam })
			bia.saw(phone.KindDelete, spam, "")

			c.api.call(http.StatusOK, http.MethodDelete, path+"/participants?participants="+string(bia.chatID()), "")
			c.api.call(http.StatusOK, http.MethodDelete, path+"/participants", participantsBody(other.person))
			event(branch, tenant.EventGroupParticipants, func(p *tenant.GroupParticipants) bool {
				return p.Action == tenant.ParticipantsRemoved && p.Participants[0].ID == other.chatID()
			})
			other.api.call(http.StatusForbidden, http.MethodPost, path+"/messages", textBody("hello?"))
			var list struct{ Participants []tenant.Participant }
			c.api.call(http.StatusOK, http.MethodGet, path+"/participants", "").into(t, &list)
			require.Len(t, list.Participants, 2)
			require.Equal(t, tenant.RoleSuperAdmin, list.Participants[0].Role)

			c.api.call(http.StatusNoContent, http.MethodPost, path+"/leave", "")
			c.api.call(http.StatusForbidden, http.MethodPost, path+"/messages", textBody("hello?"))
			c.api.call(http.StatusOK, http.MethodGet, path, "")
		})
	}
}
