package tenanttest

import (
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func contactChecks() []check {
	return []check{
		{"AreListedByNameInPages", listsContacts},
		{"AreSearchedInAnyCase", searchesContacts},
		{"AreJournalledWhenTheyAreCalledOtherwise", journalsContacts},
		{"BecomeOneWithThePhoneNumber", mergesContacts},
		{"AreBlocked", blocksContacts},
		{"AreWhomWeWroteTo", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			_, err := h.Contact(t.Context(), ana)
			require.ErrorIs(t, err, tenant.ErrContactNotFound)
			commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana}, live(own("A", ana, "hello", 1)), tenant.PutChat{ID: family})
			got, err := h.Contact(t.Context(), anaLID)
			require.NoError(t, err)
			require.Equal(t, tenant.Contact{ID: ana, LID: anaLID, Phone: ana.Phone()}, got)
			_, err = h.Contact(t.Context(), family)
			require.ErrorIs(t, err, tenant.ErrContactNotFound, "a group is nobody")
		}},
		{"BelongToOneTenant", func(t tester, s tenant.Store) {
			h, other := NewTenant(t, s), NewTenant(t, s)
			commit(t, h, tenant.PutContact{ID: ana, Name: "Ana"}, tenant.SetBlocked{ID: beto, Blocked: true})
			commit(t, other, tenant.SetBlocklist{})
			require.Empty(t, contactNames(t, other, tenant.ContactQuery{Limit: 10}))
			_, err := other.Contact(t.Context(), ana)
			require.ErrorIs(t, err, tenant.ErrContactNotFound)
			require.Empty(t, blocked(t, other))
			require.Equal(t, []tenant.ChatID{beto}, blocked(t, h))
		}},
	}
}

func getContact(t tester, h tenant.Handle, id tenant.ChatID) tenant.Contact {
	t.Helper()
	c, err := h.Contact(t.Context(), id)
	require.NoError(t, err)
	return c
}

func blocked(t tester, h tenant.Handle) []tenant.ChatID {
	t.Helper()
	ids, err := h.Blocked(t.Context())
	require.NoError(t, err)
	return ids
}

// contactNames reads all pages.
func contactNames(t tester, h tenant.Handle, q tenant.ContactQuery) []string {
	t.Helper()
	names := []string{}
	for {
		page, err := h.Contacts(t.Context(), q)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Contacts), q.Limit)
		for _, c := range page.Contacts {
			names = append(names, c.Name+"/"+c.PushName)
		}
		if page.Next == "" {
			return names
		}
		require.Len(t, page.Contacts, q.Limit)
		q.Cursor = page.Next
	}
}

func listsContacts(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	require.Empty(t, contactNames(t, h, tenant.ContactQuery{Limit: 10}))
	want := []string{}
	for i, c := range []tenant.PutContact{
		{Name: "ana"},
		{Name: "Ana"},
		{PushName: "Ana Maria"},
		{Name: "Beto", PushName: "Zé"},
		{Name: "bia"},
		{Name: "Zeca|a"},
		{PushName: "Érica"},
		{Name: strings.Repeat("ß", 400)},
		{Name: "山"},
	} {
		c.ID = tenant.PersonID(fmt.Sprintf("55119999%05d", i))
		commit(t, h, c)
		want = append(want, c.Name+"/"+c.PushName)
	}
	for _, limit := range []int{1, 2, 3, 9, 100} {
		got := contactNames(t, h, tenant.ContactQuery{Limit: limit})
		require.Equal(t, []string{want[0], want[1], want[2], want[3], want[4], want[5], want[7], want[6], want[8]}, got, "in pages of %d", limit)
	}
	page, err := h.Contacts(t.Context(), tenant.ContactQuery{})
	require.NoError(t, err)
	require.Empty(t, page.Contacts)
	for _, bad := range []string{"nonsense", (&tenant.Chat{ID: ana}).Cursor()} {
		_, err = h.Contacts(t.Context(), tenant.ContactQuery{Limit: 1, Cursor: bad})
		require.ErrorIs(t, err, tenant.ErrInvalidCursor)
	}
}

func searchesContacts(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, tenant.PutContact{ID: ana, Name: "Ana Silva", PushName: "ÁNINHA"}, tenant.PutContact{ID: beto, PushName: "100%_Beto"},
		tenant.PutContact{ID: anaLID, PushName: "Hidden"})
	for search, want := range map[string]int{
		"": 3, "ANA": 1, "áninha": 1, "silva": 1, "5511": 2, "90002": 1, "100%": 1, "%": 1, "_": 1, "%%": 0, "104857600000001": 0, "nobody": 0,
	} {
		require.Len(t, contactNames(t, h, tenant.ContactQuery{Limit: 10, Search: search}), want, search)
	}
}

func journalsContacts(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	steps := []struct {
		change tenant.Change
		events int
	}{
		{tenant.PutContact{ID: ana, PushName: "Ana"}, 1},
		{tenant.PutContact{ID: ana, PushName: "Ana"}, 1},
		{tenant.PutContact{ID: ana}, 1},
		{tenant.PutContact{ID: ana, PushName: "Aninha"}, 2},
		{tenant.PutContact{ID: ana, Name: "Ana Silva"}, 3},
		{tenant.PutContact{ID: ana, Name: "Ana Souza", Quiet: true}, 3},
		{tenant.PutContact{ID: ana, Name: "Ana Souza"}, 3},
		{tenant.SetBlocked{ID: ana, Blocked: true}, 4},
		{tenant.SetBlocked{ID: ana, Blocked: true}, 4},
		{tenant.PutContact{ID: ana, PushName: "Ana"}, 5},
	}
	for i, step := range steps {
		commit(t, h, step.change)
		require.Len(t, events(t, h), step.events, "step %d", i)
	}
	last := events(t, h)[4]
	require.Equal(t, tenant.EventContactUpdated, last.Type)
	require.JSONEq(t, `{"id":"5511999990001@c.us","phone":"5511999990001","name":"Ana Souza","pushName":"Ana","isBlocked":true}`, string(last.Data))
}

func mergesContacts(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, tenant.PutContact{ID: anaLID, PushName: "Ana"}, tenant.SetBlocked{ID: anaLID, Blocked: true},
		tenant.PutContact{ID: ana, Name: "Ana Silva"})
	require.Equal(t, tenant.Contact{ID: anaLID, LID: anaLID, PushName: "Ana", IsBlocked: true, SortName: "ana"}, getContact(t, h, anaLID))
	head := commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana}).Head
	want := tenant.Contact{
		ID: ana, LID: anaLID, Phone: ana.Phone(), Name: "Ana Silva", PushName: "Ana", IsBlocked: true, SortName: "ana silva",
	}
	require.Equal(t, want, getContact(t, h, anaLID))
	require.Equal(t, want, getContact(t, h, ana))
	require.Len(t, contactNames(t, h, tenant.ContactQuery{Limit: 10}), 1)
	require.Equal(t, []tenant.ChatID{ana}, blocked(t, h))
	last := events(t, h)[head-1]
	require.Equal(t, tenant.EventContactUpdated, last.Type)
	require.Contains(t, string(last.Data), `"lid":"104857600000001@lid"`)
	commit(t, h, tenant.SetBlocked{ID: anaLID})
	require.False(t, getContact(t, h, ana).IsBlocked, "the alias names the same person")
}

func blocksContacts(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	require.Empty(t, blocked(t, h))
	commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana}, tenant.PutContact{ID: beto, PushName: "Beto"})
	head := commit(t, h, tenant.SetBlocklist{IDs: []tenant.ChatID{anaLID, beto, "7@lid"}}).Head
	require.EqualValues(t, 4, head)
	require.Equal(t, []tenant.ChatID{ana, beto, "7@lid"}, blocked(t, h))
	require.Equal(t, head, commit(t, h, tenant.SetBlocklist{IDs: []tenant.ChatID{beto, ana, "7@lid"}}).Head, "twice is once")
	require.True(t, getContact(t, h, beto).IsBlocked)
	require.Equal(t, "Beto", getContact(t, h, beto).PushName)
	commit(t, h, tenant.SetBlocklist{IDs: []tenant.ChatID{beto}})
	require.Equal(t, []tenant.ChatID{beto}, blocked(t, h))
	commit(t, h, tenant.SetBlocked{ID: beto})
	require.Empty(t, blocked(t, h))
	list := func(ids ...tenant.ChatID) tenant.Change { return tenant.SetBlocklist{IDs: ids} }
	commit(t, h, list(ana), tenant.SetBlocked{ID: "7@lid", Blocked: true}, list(beto))
	require.Equal(t, []tenant.ChatID{beto}, blocked(t, h), "each list knows what those before it did")
	commit(t, h, list(ana), list(beto, ana), list())
	require.Empty(t, blocked(t, h))
	commit(t, h, list("9@lid"))
	commit(t, h, tenant.LinkIDs{LID: "9@lid", Phone: "5511900000099@c.us"}, list())
	require.Empty(t, blocked(t, h), "whom the list before named by another id")
	for _, lid := range []tenant.ChatID{"3@lid", "8@lid"} { // before its number in order, and behind it
		phone := tenant.ChatID("55119000000" + string(lid[0]) + "8@c.us")
		commit(t, h, list(lid))
		before := len(events(t, h))
		commit(t, h, tenant.LinkIDs{LID: lid, Phone: phone}, list(phone))
		require.Equal(t, []tenant.ChatID{phone}, blocked(t, h), "whom both lists name, by another id")
		require.Len(t, events(t, h)[before:], 1, "of the number alone")
	}
	_, err := h.Commit(t.Context(), tenant.SetBlocked{ID: family, Blocked: true})
	require.Error(t, err)
}
