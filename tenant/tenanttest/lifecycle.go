package tenanttest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

// listed are the names of the tenants that a query finds, page by page.
func listed(t tester, s tenant.Store, q tenant.Query) []string {
	t.Helper()
	names := []string{}
	for q.Limit = 2; ; {
		list, err := s.List(t.Context(), q)
		require.NoError(t, err)
		for _, found := range list.Tenants {
			names = append(names, found.Name)
		}
		if list.Next == "" {
			return names
		}
		q.Cursor = list.Next
	}
}

func provision(t tester, s tenant.Store, n tenant.NewTenant) tenant.Tenant {
	t.Helper()
	made, created, err := s.Create(t.Context(), n)
	require.NoError(t, err)
	require.True(t, created)
	return made
}

func lifecycleChecks() []check {
	return []check{
		{"AreFoundByWhatTheyAreCalled", findsTenants},
		{"AreChanged", changesTenants},
		{"AreSuspendedAndResumed", suspendsTenants},
		{"LeaveARecordWhenDeleted", func(t tester, s tenant.Store) {
			made := provision(t, s, tenant.NewTenant{Name: "Gone", ExternalID: "c-1", Metadata: map[string]string{"a": "b"}})
			h := s.Tenant(made.ID)
			_, _, err := h.CreateKey(t.Context(), tenant.NewKey{})
			require.NoError(t, err)
			commit(t, h, live(received("A", ana, "hello", 0)), live(received("B", ana, "hello", 1)))
			_, err = s.Deletion(t.Context(), made.ID)
			require.ErrorIs(t, err, tenant.ErrDeletionNotFound)
			gone, err := s.Gone(t.Context(), made.ID)
			require.NoError(t, err)
			require.False(t, gone)

			record, err := s.Delete(t.Context(), made.ID, tenant.DeviceForgotten)
			require.NoError(t, err)
			require.Equal(t, "c-1", record.ExternalID)
			require.Equal(t, tenant.DeviceForgotten, record.Device)
			require.NotNil(t, record.CompletedAt)
			for kind, n := range map[string]int64{"messages": 2, "chats": 1, "apiKeys": 1, "events": 2, "usageDays": 1, "heads": 1} {
				require.Equal(t, n, record.Deleted[kind], kind)
			}
			again, err := s.Deletion(t.Context(), made.ID)
			require.NoError(t, err)
			require.Equal(t, record, again)
			gone, err = s.Gone(t.Context(), made.ID)
			require.NoError(t, err)
			require.True(t, gone)

			page, err := s.Audit(t.Context(), tenant.AuditQuery{Page: tenant.Page{Limit: 10}, Tenant: made.ID})
			require.NoError(t, err)
			require.Len(t, page.Entries, 1)
			require.Equal(t, "complete-deletion", page.Entries[0].Operation)
			require.Equal(t, tenant.ActorNode, page.Entries[0].Actor)
			require.Equal(t, "2", page.Entries[0].Detail["messages"])
		}},
		{"AreDeletedInStepsThatCountEachRowOnce", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			const messages, contacts = 1100, 700 // steps end within messages, within events, and within contacts
			for first := 0; first < messages; first += 100 {
				var changes []tenant.Change
				for i := range 100 {
					changes = append(changes, live(received(tenant.MessageID(fmt.Sprintf("M%04d", first+i)), ana, "hello", first+i)))
				}
				commit(t, h, changes...)
			}
			var people []tenant.Change
			for i := range contacts {
				people = append(people, tenant.PutContact{ID: tenant.PersonID(fmt.Sprintf("55118800%05d", i)), Name: "Somebody"})
			}
			commit(t, h, people...)
			record := Delete(t, s, h.ID())
			for kind, n := range map[string]int64{"messages": messages, "events": messages + contacts, "contacts": contacts, "chats": 1, "usageDays": 1} {
				require.Equal(t, n, record.Deleted[kind], kind)
			}
		}},
		{"AreDeletedInALineOfRecords", func(t tester, s tenant.Store) {
			var ids []tenant.ID
			for range 5 {
				h := NewTenant(t, s)
				Delete(t, s, h.ID())
				ids = append(ids, h.ID())
			}
			var found []tenant.ID
			for page := (tenant.Page{Limit: 2}); ; {
				list, err := s.Deletions(t.Context(), page)
				require.NoError(t, err)
				for _, d := range list.Deletions {
					found = append(found, d.Tenant)
				}
				if page.Cursor = list.Next; page.Cursor == "" {
					break
				}
			}
			require.ElementsMatch(t, ids, found)
		}},
	}
}

func findsTenants(t tester, s tenant.Store) {
	joao := provision(t, s, tenant.NewTenant{Name: "Padaria do JOÃO", ExternalID: "Customer_1", Metadata: map[string]string{"plan": "pro", "region": "br"}})
	provision(t, s, tenant.NewTenant{Name: "Bike 100%", ExternalID: "customer-2", Metadata: map[string]string{"plan": "Pro"}})
	provision(t, s, tenant.NewTenant{Name: "Books", Metadata: map[string]string{"xplan": "pro", "note": `"plan":"pro"`}})
	commit(t, s.Tenant(joao.ID), tenant.SetSession{Session: tenant.Session{Device: "x", Status: tenant.SessionStatus{State: "online"}}})
	_, err := s.Suspend(t.Context(), joao.ID)
	require.NoError(t, err)
	yes, no := true, false
	for _, c := range []struct {
		q    tenant.Query
		want []string
	}{
		{tenant.Query{}, []string{"Padaria do JOÃO", "Bike 100%", "Books"}},
		{tenant.Query{Search: "joão"}, []string{"Padaria do JOÃO"}},
		{tenant.Query{Search: "CUSTOMER"}, []string{"Padaria do JOÃO", "Bike 100%"}},
		{tenant.Query{Search: "r_1"}, []string{"Padaria do JOÃO"}},
		{tenant.Query{Search: "100%"}, []string{"Bike 100%"}},
		{tenant.Query{Search: string(joao.ID[2:9])}, []string{"Padaria do JOÃO"}},
		{tenant.Query{Search: "joãocustomer"}, []string{}},
		{tenant.Query{Metadata: map[string]string{"plan": "pro"}}, []string{"Padaria do JOÃO"}},
		{tenant.Query{Metadata: map[string]string{"plan": "pro", "region": "us"}}, []string{}},
		{tenant.Query{Metadata: map[string]string{"note": `"plan":"pro"`}}, []string{"Books"}},
		{tenant.Query{State: "online"}, []string{"Padaria do JOÃO"}},
		{tenant.Query{State: "unpaired"}, []string{"Bike 100%", "Books"}},
		{tenant.Query{Suspended: &yes}, []string{"Padaria do JOÃO"}},
		{tenant.Query{Suspended: &no, Search: "books"}, []string{"Books"}},
	} {
		require.ElementsMatch(t, c.want, listed(t, s, c.q), "%+v", c.q)
	}
}

func changesTenants(t tester, s tenant.Store) {
	made := provision(t, s, tenant.NewTenant{Name: "One", ExternalID: "e1", Metadata: map[string]string{"a": "1", "b": "2"}})
	provision(t, s, tenant.NewTenant{Name: "Two", ExternalID: "e2"})
	name, taken, none, own, three := "Uno\x00", "e2", "", "e1", "3"
	_, err := s.Change(t.Context(), made.ID, tenant.Patch{ExternalID: &taken, Name: &name})
	require.ErrorIs(t, err, tenant.ErrExternalIDTaken)
	same, err := s.Change(t.Context(), made.ID, tenant.Patch{ExternalID: &own})
	require.NoError(t, err)
	require.Equal(t, made, same, "nothing has changed")

	changed, err := s.Change(t.Context(), made.ID, tenant.Patch{Name: &name, Metadata: map[string]*string{"a": nil, "c": &three, "x": nil}})
	require.NoError(t, err)
	require.Equal(t, "Uno\uFFFD", changed.Name)
	require.Equal(t, map[string]string{"b": "2", "c": "3"}, changed.Metadata)
	found, err := s.Get(t.Context(), made.ID)
	require.NoError(t, err)
	require.Equal(t, changed, found)
	require.Equal(t, []string{"Uno\uFFFD"}, listed(t, s, tenant.Query{Search: "uno\uFFFD"}))

	many := map[string]*string{}
	for n := range tenant.MaxMetadata - 1 {
		many[fmt.Sprint("k", n)] = &three
	}
	_, err = s.Change(t.Context(), made.ID, tenant.Patch{Metadata: many})
	require.ErrorIs(t, err, tenant.ErrMetadataFull)
	changed, err = s.Change(t.Context(), made.ID, tenant.Patch{ExternalID: &none})
	require.NoError(t, err)
	require.Empty(t, changed.ExternalID)
	again := provision(t, s, tenant.NewTenant{Name: "Three", ExternalID: "e1"})
	require.NotEqual(t, made.ID, again.ID)
	_, err = s.Change(t.Context(), tenant.NewID(), tenant.Patch{Name: &name})
	require.ErrorIs(t, err, tenant.ErrNotFound)
}

func suspendsTenants(t tester, s tenant.Store) {
	h, other := NewTenant(t, s), NewTenant(t, s)
	key, secret, err := h.CreateKey(t.Context(), tenant.NewKey{})
	require.NoError(t, err)
	for range 2 { // twice is once
		suspended, err := s.Suspend(t.Context(), h.ID())
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), *suspended.SuspendedAt, time.Minute)
	}
	require.Equal(t, key.ID, <-s.KeysChanged())
	require.Empty(t, s.KeysChanged(), "told once")
	found, err := s.Key(t.Context(), key.ID)
	require.NoError(t, err)
	require.ErrorIs(t, found.Admits(secret, time.Now()), tenant.ErrSuspended)
	require.ErrorIs(t, found.Admits(tenant.NewSecret(h.ID()), time.Now()), tenant.ErrInvalidKey, "who has no key learns nothing")
	var ids []tenant.ID
	for id, err := range s.Suspended(t.Context()) {
		require.NoError(t, err)
		ids = append(ids, id)
	}
	require.Equal(t, []tenant.ID{h.ID()}, ids)
	commit(t, h, live(received("A", ana, "it is kept all the same", 0)))
	commit(t, other, live(received("A", ana, "hello", 0)))

	resumed, err := s.Resume(t.Context(), h.ID())
	require.NoError(t, err)
	require.Nil(t, resumed.SuspendedAt)
	require.Equal(t, key.ID, <-s.KeysChanged())
	found, err = s.Key(t.Context(), key.ID)
	require.NoError(t, err)
	require.NoError(t, found.Admits(secret, time.Now()))
	_, err = s.Suspend(t.Context(), tenant.NewID())
	require.ErrorIs(t, err, tenant.ErrNotFound)
}
