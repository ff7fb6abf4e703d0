package api_test

import (
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

// FuzzSends sends whatever a client writes as JSON: it is sent or refused, and never our fault.
func FuzzSends(f *testing.F) {
	for _, seed := range []string{
		`{"message":"hi"}`, `{"message":"\ud83d\udc4b","replyTo":"M","mentions":["5511999990001@c.us"],"forwarded":true}`, `{}`, `null`, `[`, `{"message":"\ud800"}`,
		`{"location":{"latitude":-23.5,"longitude":-46.6,"name":"x","address":"y"}}`, `{"location":{"latitude":1e400,"longitude":-0}}`,
		`{"contact":{"name":"x","phone":"+5511999990003"}}`, `{"contact":{"name":"x","vcard":"BEGIN:VCARD\nFN:x\nEND:VCARD"}}`,
		`{"message":"a","message":"b"}`, `{"location":null,"contact":{"name":""}}`, "{\"message\":\"\xff\"}",
	} {
		f.Add(seed)
	}
	n := start(f)
	a := n.account()
	f.Fuzz(func(t *testing.T, body string) {
		at := *a
		node := *a.node
		node.t, at.node = t, &node
		got := at.send(http.MethodPost, "/api/chats/"+ana+"/messages", body)
		require.Contains(t, []int{http.StatusCreated, http.StatusBadRequest, http.StatusNotFound, http.StatusUnprocessableEntity}, got.status, string(got.body))
		if got.status != http.StatusCreated {
			return
		}
		var m tenant.Message
		got.into(&m)
		require.True(t, utf8.ValidString(m.Text))
		contents := 0
		for _, is := range []bool{strings.TrimSpace(m.Text) != "", m.Location != nil, len(m.Contacts) > 0} {
			if is {
				contents++
			}
		}
		require.Equal(t, 1, contents, string(got.body))
	})
}
