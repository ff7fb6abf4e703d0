package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

// neighbour is a customer with somebody to talk to, and what nobody else may see.
type neighbour struct {
	*customer

	friend  *person
	secrets []string
	in, out tenant.Message
}

func (w *world) neighbour(name string) *neighbour {
	w.t.Helper()
	n := &neighbour{customer: w.customer("owner-" + name), friend: w.person("friend-" + name)}
	feed := n.feed(0)
	n.friend.send(n.person, "secret-in-"+name)
	n.in = feed.received("secret-in-" + name)
	n.out = n.text(n.friend.chatID(), "secret-out-"+name)
	n.friend.got("secret-out-" + name)
	feed.status(n.out.ID, tenant.StatusDelivered)
	n.secrets = []string{
		"owner-" + name, "friend-" + name, "secret-in-" + name, "secret-out-" + name, n.id, n.key, n.Number(),
		n.friend.LID().User, n.LID().User, string(n.in.ID), string(n.out.ID),
	}
	return n
}

var lastUse = regexp.MustCompile(`,"lastUsedAt":"[^"]*"`)

// snapshot is all that the neighbour sees of itself.
func (n *neighbour) snapshot() string {
	n.w.t.Helper()
	var all strings.Builder
	for _, path := range []string{
		"/api/session", "/api/contacts", "/api/blocklist", "/api/chats", "/api/chats/" + string(n.friend.chatID()) + "/messages", "/api/events?limit=1000",
	} {
		fmt.Fprintf(&all, "%s\n", n.api.call(http.StatusOK, http.MethodGet, path, "").body)
	}
	keys := n.w.admin.call(http.StatusOK, http.MethodGet, "/admin/tenants/"+n.id+"/keys", "").body
	fmt.Fprintf(&all, "%s\n", lastUse.ReplaceAll(keys, nil)) // we use the key ourselves
	return all.String()
}

// require says that an answer to somebody else holds nothing of the neighbour's. What the other wrote itself may be echoed.
func (n *neighbour) hidden(what, text, wrote string) {
	n.w.t.Helper()
	for _, secret := range n.secrets {
		if !strings.Contains(wrote, secret) {
			require.NotContains(n.w.t, text, secret, "%s shows something of another tenant", what)
		}
	}
}

func TestTenantsNeverSeeEachOther(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			all := []*neighbour{w.neighbour("red"), w.neighbour("green"), w.neighbour("blue")}
			before := make([]string, len(all))
			for i, n := range all {
				before[i] = n.snapshot()
				require.Len(t, n.chats(), 1)
				for _, other := range all {
					if other != n {
						other.hidden("a snapshot", before[i], "")
					}
				}
			}
			intruder := all[0]
			feed := intruder.feed(0)
			for _, victim := range all[1:] {
				for _, o := range w.operations() {
					intrude(t, o, intruder, victim)
				}
			}
			for i, n := range all[1:] {
				require.Equal(t, before[i+1], n.snapshot(), "the intruder changed nothing")
			}
			feed.mu.Lock()
			defer feed.mu.Unlock()
			for _, e := range feed.events {
				for _, victim := range all[1:] {
					victim.hidden("an event", string(e.Data), string(victim.friend.chatID()))
				}
			}
		})
	}
}

// intrude calls an operation with the intruder's key and the ids of its victim.
func intrude(t *testing.T, o *operation, intruder, victim *neighbour) {
	t.Helper()
	contact := victim.friend.chatID()
	if o.OperationID == "block-contact" {
		contact = tenant.PersonID(newNumber()) // WhatsApp itself tells whoever blocks somebody their hidden id
	}
	path := o.fill(t, map[string]string{
		"tenantId": victim.id, "keyId": strings.Split(victim.key, "_")[1],
		"linkId": strings.Split(victim.key, "_")[1], "adminKeyId": strings.Repeat("a", 12),
		"chatId": string(victim.friend.chatID()), "contactId": string(contact), "messageId": string(victim.in.ID),
		"token": "wj_" + victim.id + "_" + strings.Repeat("a", 32),
	})
	if o.path == "/ws" || o.path == "/api/events/stream" {
		return // one cursor, read all along by the intruder's feed
	}
	caller := intruder.api
	if o.admin {
		caller = newClient(t, intruder.w.base, map[string]string{"X-API-Key": intruder.key, "Authorization": "Bearer " + intruder.key})
	}
	body := ""
	if example, takes := bodyOf(o, "application/json"); takes {
		body = example
		require.NotEmpty(t, body, "%s documents no example of its body", o.OperationID)
		body = strings.ReplaceAll(body, "\n", "")
	}
	got, err := caller.try(o.method, path, body)
	require.NoError(t, err)
	what := o.OperationID + " " + path
	require.Less(t, got.status, http.StatusInternalServerError, "%s: %s", what, got)
	if o.admin {
		require.Contains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, got.status, "%s: %s", what, got)
	}
	victim.hidden(what, string(got.body), path+body)
	for name, values := range got.header {
		victim.hidden(what, name+strings.Join(values, " "), path+body)
	}
}
