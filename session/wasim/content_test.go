package wasim_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim/phone"
)

// with is the same crew in a test below, whose time begins when it runs.
func (c *crew) with(t *testing.T) *crew {
	t.Helper()
	return &crew{t, within(t), c.sim}
}

// Places, contact cards, forwarded texts and mentions, to one person and to a group.
func TestPhonesSendMoreThanTexts(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	ana, bob, eve := c.phone("Ana"), c.phone("Bob"), c.phone("Eve")
	const card = "BEGIN:VCARD\nVERSION:3.0\nFN:Ada\nTEL;waid=15550100001:+1 555 010 0001\nEND:VCARD"
	for name, to := range map[string]string{"Direct": "+" + bob.Number(), "Group": c.group(ana, bob)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := c.with(t)
			chat := ana.Number()
			if name == "Group" {
				chat = to
			}
			got := func(id string) phone.Entry {
				t.Helper()
				e := c.comes(bob, func(e phone.Entry) bool { return e.Kind == phone.KindMessage && e.IDs[0] == id })
				require.Equal(t, []string{chat, ana.Number()}, []string{e.Chat, e.From})
				return e
			}
			first := c.sends(ana, to, object{"text": "plain"})
			require.False(t, got(first).Forwarded)
			place := object{"latitude": -23.55052, "longitude": -46.633308, "name": "Praça da Sé", "address": "São Paulo"}
			e := got(c.sends(ana, to, object{"location": place}))
			require.Equal(t, &phone.Location{Latitude: -23.55052, Longitude: -46.633308, Name: "Praça da Sé", Address: "São Paulo"}, e.Location)
			e = got(c.sends(ana, to, object{"location": object{"latitude": 0, "longitude": 0}, "replyTo": first}))
			require.Equal(t, &phone.Location{}, e.Location)
			require.Equal(t, []string{first, ana.Number()}, []string{e.ReplyTo, e.QuotedFrom})
			e = got(c.sends(ana, to, object{"contact": object{"name": "Ada", "vcard": card}, "forwarded": true}))
			require.Equal(t, []phone.Contact{{Name: "Ada", VCard: card}}, e.Contacts)
			require.True(t, e.Forwarded)
			e = got(c.sends(ana, to, object{"text": "hi both", "forwarded": true, "mentions": numbers(bob, eve), "replyTo": first}))
			require.Equal(t, phone.Entry{
				Seq: e.Seq, At: e.At, Kind: phone.KindMessage, IDs: e.IDs, Chat: chat, From: ana.Number(), Via: "lid", Text: "hi both",
				ReplyTo: first, QuotedFrom: ana.Number(), Forwarded: true, Mentions: []string{bob.Number(), eve.LID().String()}, // a stranger of Bob has no number
			}, e)
			e = got(c.sends(ana, to, object{"text": "passed on", "forwarded": true, "media": object{"kind": "document", "size": 10, "fileName": "a.txt"}}))
			require.True(t, e.Forwarded)
			require.NotNil(t, e.File)
		})
	}
}

func TestWhatAPhoneCannotSendIsSaid(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	ana, bob := c.phone("Ana"), c.phone("Bob")
	for _, bad := range []object{ // refused before anything is sent
		{"text": "a", "location": object{}},
		{"location": object{}, "contact": object{"name": "A", "vcard": "B"}},
		{"contact": object{"name": "A"}},
		{"text": "a", "mentions": []string{"x"}},
		{"location": object{}, "delete": object{"id": "A"}},
	} {
		bad["to"] = bob.Number()
		c.does(400, "POST", "/accounts/"+ana.Number()+"/send", bad)
	}
}
