package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/jpeg"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

// formBoundary is how the test's client knows a body that is a form.
const formBoundary = "the-boundary-of-the-tests"

// formOf is a form with one file.
func formOf(file string) string {
	return "--" + formBoundary + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"me.jpg\"\r\n\r\n" + file + "\r\n--" + formBoundary + "--\r\n"
}

// aPicture is a small JPEG.
func aPicture() []byte {
	var out bytes.Buffer
	if err := jpeg.Encode(&out, image.NewGray(image.Rect(0, 0, 64, 64)), nil); err != nil {
		panic(err) // never: it is in memory
	}
	return out.Bytes()
}

// named waits until the account's own name has come from the phone.
func (c *customer) named() {
	c.w.t.Helper()
	until(c.w.t, "the account has its name", func() bool {
		var p struct {
			Name string `json:"name"`
		}
		c.api.call(http.StatusOK, http.MethodGet, "/api/profile", "").into(c.w.t, &p)
		return p.Name != ""
	})
}

// contact reads what is known of somebody.
func (c *customer) contact(of *person) tenant.Contact {
	c.w.t.Helper()
	var got tenant.Contact
	c.api.call(http.StatusOK, http.MethodGet, "/api/contacts/"+string(of.chatID()), "").into(c.w.t, &got)
	return got
}

func TestPeopleAreKnownCheckedBlockedAndSeen(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			c, ana := w.customer("Shop"), w.person("Ana")
			feed := c.feed(0)
			control := newClient(t, w.sim.ControlURL(), nil)
			steer := func(of *person, what, body string) {
				control.call(http.StatusNoContent, http.MethodPost, "/accounts/"+of.Number()+"/"+what, body)
			}
			knownPeople(t, c, ana, feed, steer)
			seenPeople(t, c, ana, feed, control, steer)
		})
	}
}

func knownPeople(t *testing.T, c *customer, ana *person, feed *feed, steer func(*person, string, string)) {
	t.Helper()
	ana.send(c.person, "hello")
	feed.received("hello")
	event(feed, tenant.EventContactUpdated, func(k *tenant.Contact) bool { return k.ID == ana.chatID() && k.PushName == "Ana" })
	ana.send(c.person, "hello again")
	feed.received("hello again")
	news := 0
	feed.wait("the journal", func(events []tenant.Event) bool {
		for _, e := range events {
			if e.Type == tenant.EventContactUpdated {
				news++
			}
		}
		return true
	})
	require.Equal(t, 1, news, "a name that is known is no news")
	steer(ana, "profile", `{"name":"Aninha"}`)
	ana.send(c.person, "under another name")
	event(feed, tenant.EventContactUpdated, func(k *tenant.Contact) bool { return k.PushName == "Aninha" })
	require.Equal(t, tenant.ChatID(ana.LID().User+"@lid"), c.contact(ana).LID)

	nobody := newNumber()
	body := fmt.Sprintf(`{"phones":["+%s","+%s"]}`, ana.Number(), nobody)
	got := c.api.call(http.StatusOK, http.MethodPost, "/api/contacts/check", body)
	require.JSONEq(t, fmt.Sprintf(`{"results":[{"phone":"+%s","registered":true,"id":%q,"lid":"%s@lid"},{"phone":"+%s","registered":false}]}`,
		ana.Number(), ana.chatID(), ana.LID().User, nobody), string(got.body))

	blocked := "/api/blocklist/" + string(ana.chatID())
	c.api.call(http.StatusNoContent, http.MethodPut, blocked, "")
	event(feed, tenant.EventContactUpdated, func(k *tenant.Contact) bool { return k.IsBlocked })
	require.Contains(t, string(c.api.call(http.StatusOK, http.MethodGet, "/api/blocklist", "").body), string(ana.chatID()))
	unheard := ana.send(c.person, "unheard")
	c.api.call(http.StatusNoContent, http.MethodDelete, blocked, "")
	ana.send(c.person, "heard")
	feed.received("heard")
	require.NotContains(t, fmt.Sprint(c.messages(ana.chatID())), string(unheard))
	steer(c.person, "block", fmt.Sprintf(`{"phone":%q,"blocked":true}`, ana.Number()))
	until(t, "the phone's block is followed", func() bool { return c.contact(ana).IsBlocked })
	steer(c.person, "block", fmt.Sprintf(`{"phone":%q,"blocked":false}`, ana.Number()))
	until(t, "the phone's unblock is followed", func() bool { return !c.contact(ana).IsBlocked })
}

func seenPeople(t *testing.T, c *customer, ana *person, feed *feed, control *client, steer func(*person, string, string)) {
	t.Helper()
	of := "/api/contacts/" + string(ana.chatID())
	c.api.call(http.StatusNotFound, http.MethodGet, of+"/picture", "")
	file := aPicture()
	steer(ana, "profile", fmt.Sprintf(`{"about":"at sea","picture":%q}`, base64.StdEncoding.EncodeToString(file)))
	got := c.api.call(http.StatusOK, http.MethodGet, of+"/picture", "")
	require.Equal(t, file, got.body)
	steer(ana, "profile", `{"pictureFor":"none"}`)
	requireProblem(t, c.api.call(http.StatusNotFound, http.MethodGet, of+"/picture", ""), "hidden")

	c.named()
	c.api.call(http.StatusOK, http.MethodPatch, "/api/profile", `{"name":"Padaria","about":"aberta"}`)
	c.api.call(http.StatusOK, http.MethodPut, "/api/profile/picture", formOf(string(file)))
	var seen struct {
		About, PictureID string
		Picture          []byte
	}
	control.call(http.StatusOK, http.MethodGet, "/accounts/"+ana.Number()+"/profile?of="+c.Number(), "").into(t, &seen)
	require.Equal(t, "aberta", seen.About)
	require.NotEmpty(t, seen.Picture)
	var own struct{ Name, About, PictureID string }
	c.api.call(http.StatusOK, http.MethodGet, "/api/profile", "").into(t, &own)
	require.Equal(t, []string{"Padaria", "aberta", seen.PictureID}, []string{own.Name, own.About, own.PictureID})
	until(t, "the phone learns the name", func() bool {
		return strings.Contains(control.call(http.StatusOK, http.MethodGet, "/accounts", "").String(), `"name":"Padaria"`)
	})

	c.api.call(http.StatusNoContent, http.MethodPut, "/api/presence", `{"state":"available"}`)
	c.api.call(http.StatusNoContent, http.MethodPost, of+"/presence", "")
	event(feed, tenant.EventPresence, func(e *tenant.PresenceEvent) bool { return e.State == "available" && e.ContactID == ana.chatID() })
	steer(ana, "presence", `{"state":"unavailable"}`)
	event(feed, tenant.EventPresence, func(e *tenant.PresenceEvent) bool { return e.State == "unavailable" && e.LastSeen != nil })
}
