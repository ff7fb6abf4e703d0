package tenanttest

import (
	"encoding/json"
	"math"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

// place is a message that says all that the column of contents has.
func place(id tenant.MessageID, seconds int) tenant.Message {
	m := received(id, ana, "the square", seconds)
	m.Type, m.Forwarded, m.ForwardScore = tenant.TypeLocation, true, 7
	m.Location = &tenant.Location{Latitude: -23.561414, Longitude: -46.655881, Name: "MASP\x00", Address: "Av. Paulista \xff", Live: true}
	m.Contacts = []tenant.ContactCard{
		{Name: "João\x00", VCard: "BEGIN:VCARD\nEND:VCARD", Phones: []string{"5511999990003", "\x00"}}, {Name: "Bia"},
	}
	return m
}

func contentChecks() []check {
	return []check{
		{"AreKept", keepsContents},
		{"GoWithWhatIsDeleted", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, live(place("A", 1)), tenant.RevokeMessage{ChatID: ana, ID: "A", SenderID: ana, By: ana, At: after(2)})
			found, err := h.Message(t.Context(), ana, "A", "")
			require.NoError(t, err)
			require.NotNil(t, found.DeletedAt)
			requireNoContent(t, &found)
			all := events(t, h)
			var told tenant.Message
			require.NoError(t, json.Unmarshal(all[len(all)-1].Data, &told))
			requireNoContent(t, &told)
		}},
		{"StayWithWhatIsEdited", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			m := received("A", ana, "the text", 1)
			m.Forwarded, m.ForwardScore = true, 1
			commit(t, h, live(m), tenant.EditMessage{ChatID: ana, ID: "A", SenderID: ana, Text: "another", At: after(2)})
			found, err := h.Message(t.Context(), ana, "A", "")
			require.NoError(t, err)
			require.Equal(t, "another", found.Text)
			require.True(t, found.Forwarded)
		}},
		{"StandWhereAPlaceholderStood", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			placeholder := received("A", ana, "", 1)
			placeholder.Type = tenant.TypeUnsupported
			commit(t, h, live(placeholder))
			stored := commit(t, h, live(place("A", 1))).Messages[0]
			require.Equal(t, "MASP\uFFFD", stored.Location.Name)
			found, err := h.Message(t.Context(), ana, "A", "")
			require.NoError(t, err)
			require.Equal(t, stored.Location, found.Location)
		}},
		{"AreNoneWhereTheNumbersAreNone", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			for i, wrong := range []tenant.Location{
				{Latitude: math.NaN()}, {Longitude: math.Inf(-1)}, {Latitude: 90.1}, {Longitude: -180.1},
			} {
				m := received(numbered(i), ana, "", i)
				m.Type, m.Location = tenant.TypeLocation, &wrong
				require.Nil(t, commit(t, h, live(m)).Messages[0].Location)
			}
		}},
		{"AreListedWhereTheyAreFiles", listsFiles},
		{"AreListedInPages", pagesFiles},
	}
}

func requireNoContent(t tester, m *tenant.Message) {
	t.Helper()
	require.Nil(t, m.Location)
	require.Empty(t, m.Contacts)
	require.False(t, m.Forwarded)
	require.Zero(t, m.ForwardScore)
}

func keepsContents(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	want := place("A", 1)
	want.Location.Name, want.Location.Address = "MASP\uFFFD", "Av. Paulista \uFFFD"
	want.Contacts[0].Name, want.Contacts[0].Phones[1] = "João\uFFFD", "\uFFFD"
	stored := commit(t, h, live(place("A", 1))).Messages[0]
	found, err := h.Message(t.Context(), ana, "A", "")
	require.NoError(t, err)
	var told tenant.Message
	require.NoError(t, json.Unmarshal(events(t, h)[0].Data, &told))
	page, err := h.Messages(t.Context(), ana, tenant.MessageQuery{Limit: 1})
	require.NoError(t, err)
	for where, got := range map[string]tenant.Message{
		"answer": stored, "store": found, "event": told, "list": page.Messages[0], "chat": *getChat(t, h, ana).LastMessage,
	} {
		require.Equal(t, want.Location, got.Location, where)
		require.Equal(t, want.Contacts, got.Contacts, where)
		require.True(t, got.Forwarded, where)
		require.Equal(t, 7, got.ForwardScore, where)
	}
	again := place("A", 1)
	again.Location = nil
	require.Equal(t, want.Location, commit(t, h, live(again)).Messages[0].Location, "what is delivered again changes nothing")
}

func fileAt(id tenant.MessageID, kind tenant.MessageType, seconds int) tenant.Message {
	m := received(id, ana, "see", seconds)
	m.Type, m.Media, m.Payload = kind, picture(), []byte("keys")
	return m
}

func fileIDs(t tester, h tenant.Handle, q tenant.MediaQuery) (ids []tenant.MessageID, next string) {
	t.Helper()
	page, err := h.Media(t.Context(), ana, q)
	require.NoError(t, err)
	ids = []tenant.MessageID{}
	for _, m := range page.Messages {
		require.NotNil(t, m.Media)
		require.NotEmpty(t, m.Media.URL)
		ids = append(ids, m.ID)
	}
	return ids, page.Next
}

func listsFiles(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	other := fileAt("ELSEWHERE", tenant.TypeImage, 9)
	other.ChatID = family
	commit(t, h, live(fileAt("A", tenant.TypeImage, 1)), live(received("T", ana, "a text", 2)), live(fileAt("B", tenant.TypeVoice, 3)),
		live(fileAt("C", tenant.TypeImage, 3)), live(place("P", 4)), live(other), live(fileAt("GONE", tenant.TypeImage, 8)),
		tenant.RevokeMessage{ChatID: ana, ID: "GONE", SenderID: ana, By: ana, At: after(9)})
	ids, next := fileIDs(t, h, tenant.MediaQuery{Limit: 10})
	require.Equal(t, []tenant.MessageID{"C", "B", "A"}, ids)
	require.Empty(t, next)
	ids, _ = fileIDs(t, h, tenant.MediaQuery{Limit: 10, Type: tenant.TypeImage})
	require.Equal(t, []tenant.MessageID{"C", "A"}, ids)
	ids, _ = fileIDs(t, h, tenant.MediaQuery{Limit: 10, Type: tenant.TypeSticker})
	require.Empty(t, ids)

	_, err := h.Media(t.Context(), beto, tenant.MediaQuery{Limit: 10})
	require.ErrorIs(t, err, tenant.ErrChatNotFound)
	_, err = h.Media(t.Context(), ana, tenant.MediaQuery{Limit: 10, Cursor: "x"})
	require.ErrorIs(t, err, tenant.ErrInvalidCursor)
	commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana})
	page, err := h.Media(t.Context(), anaLID, tenant.MediaQuery{Limit: 1})
	require.NoError(t, err)
	require.Len(t, page.Messages, 1, "a person is found under either id")
	_, err = NewTenant(t, s).Media(t.Context(), ana, tenant.MediaQuery{Limit: 10})
	require.ErrorIs(t, err, tenant.ErrChatNotFound, "another tenant has no such chat")
}

func pagesFiles(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	var want []tenant.MessageID
	for i := range 25 {
		kind := tenant.TypeImage
		if i%2 == 1 {
			kind = tenant.TypeVideo
		} else {
			want = append(want, numbered(i))
		}
		commit(t, h, live(fileAt(numbered(i), kind, i/5))) // several in a second
	}
	slices.Reverse(want)
	var got []tenant.MessageID
	q := tenant.MediaQuery{Limit: 3, Type: tenant.TypeImage}
	for {
		ids, next := fileIDs(t, h, q)
		got = append(got, ids...)
		if next == "" {
			break
		}
		q.Cursor = next
	}
	require.Equal(t, want, got)
}
