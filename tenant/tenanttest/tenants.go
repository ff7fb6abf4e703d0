package tenanttest

import (
	"strconv"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/tenant"
)

func tenantChecks() []check {
	return []check{
		{"AreFoundByTheirIDs", func(t tester, s tenant.Store) {
			made, created, err := s.Create(t.Context(), tenant.NewTenant{Name: "Padaria\x00 \xff", ExternalID: "c-1"})
			require.NoError(t, err)
			require.True(t, created)
			require.Equal(t, "Padaria� �", made.Name)
			require.WithinDuration(t, time.Now(), made.CreatedAt, time.Minute)
			found, err := s.Get(t.Context(), made.ID)
			require.NoError(t, err)
			require.Equal(t, made, found)
			require.Equal(t, made.ID, s.Tenant(made.ID).ID())
		}},
		{"AreOneForOneExternalID", func(t tester, s tenant.Store) {
			first, _, err := s.Create(t.Context(), tenant.NewTenant{Name: "One", ExternalID: "same"})
			require.NoError(t, err)
			second, created, err := s.Create(t.Context(), tenant.NewTenant{Name: "Two", ExternalID: "same"})
			require.NoError(t, err)
			require.False(t, created)
			require.Equal(t, first, second)
			third, created, err := s.Create(t.Context(), tenant.NewTenant{Name: "Three"})
			require.NoError(t, err)
			require.True(t, created)
			fourth, _, err := s.Create(t.Context(), tenant.NewTenant{Name: "Four"})
			require.NoError(t, err)
			require.NotEqual(t, third.ID, fourth.ID)
		}},
		{"AreListedInPages", func(t tester, s tenant.Store) {
			for range 7 {
				NewTenant(t, s)
			}
			var ids []tenant.ID
			page := tenant.Page{Limit: 3}
			for {
				list, err := s.List(t.Context(), tenant.Query{Page: page})
				require.NoError(t, err)
				for _, found := range list.Tenants {
					ids = append(ids, found.ID)
				}
				if list.Next == "" {
					break
				}
				page.Cursor = list.Next
			}
			require.Len(t, ids, 7)
			require.IsIncreasing(t, ids)
			_, err := s.List(t.Context(), tenant.Query{Page: tenant.Page{Limit: 3, Cursor: (&tenant.Chat{ID: ana}).Cursor()}})
			require.ErrorIs(t, err, tenant.ErrInvalidCursor)
		}},
		{"AreGoneOnceDeleted", forgetsTenant},
		{"GiveTheirExternalIDBackWhenDeleted", func(t tester, s tenant.Store) {
			first, _, err := s.Create(t.Context(), tenant.NewTenant{ExternalID: "again"})
			require.NoError(t, err)
			Delete(t, s, first.ID)
			second, created, err := s.Create(t.Context(), tenant.NewTenant{ExternalID: "again"})
			require.NoError(t, err)
			require.True(t, created)
			require.NotEqual(t, first.ID, second.ID)
		}},
		{"AreUnknownUntilCreated", func(t tester, s tenant.Store) {
			h := s.Tenant(tenant.NewID())
			_, err := h.Commit(t.Context(), live(received("A", ana, "hello", 0)))
			require.ErrorIs(t, err, tenant.ErrNotFound)
			_, err = h.Commit(t.Context(), tenant.DeleteChat{ID: ana})
			require.ErrorIs(t, err, tenant.ErrNotFound)
			requireGone(t, s, h.ID())
			requireUnknown(t, h)
		}},
		{"AnswerAPing", func(t tester, s tenant.Store) { require.NoError(t, s.Ping(t.Context())) }},
	}
}

func forgetsTenant(t tester, s tenant.Store) {
	h, other := NewTenant(t, s), NewTenant(t, s)
	for n := range 3 {
		commit(t, h, live(received(numbered(n), ana, "hello", n)))
	}
	commit(t, other, live(received("A", ana, "hello", 0)))
	commit(t, h, keeping("k", "one", own("OWN", ana, "hello", 9))...)
	key, _, err := h.CreateKey(t.Context(), tenant.NewKey{})
	require.NoError(t, err)

	Delete(t, s, h.ID())
	requireGone(t, s, h.ID())
	_, err = s.Get(t.Context(), h.ID())
	require.ErrorIs(t, err, tenant.ErrNotFound)
	_, err = s.Key(t.Context(), key.ID)
	require.ErrorIs(t, err, tenant.ErrInvalidKey)
	require.Equal(t, key.ID, <-s.KeysChanged())
	_, err = h.Commit(t.Context(), live(received("B", ana, "hello", 0)))
	require.ErrorIs(t, err, tenant.ErrNotFound)
	requireUnknown(t, h)
	require.Equal(t, []tenant.MessageID{"A"}, messageIDs(t, other, ana))
}

// requireUnknown checks that the reads of a tenant that does not exist say so, or find nothing.
func requireUnknown(t tester, h tenant.Handle) {
	t.Helper()
	_, err := h.Session(t.Context())
	require.ErrorIs(t, err, tenant.ErrNotFound)
	_, _, err = h.CreateKey(t.Context(), tenant.NewKey{})
	require.ErrorIs(t, err, tenant.ErrNotFound)
	_, err = h.Keys(t.Context())
	require.ErrorIs(t, err, tenant.ErrNotFound)
	_, err = h.Chat(t.Context(), ana)
	require.ErrorIs(t, err, tenant.ErrChatNotFound)
	require.Empty(t, chatIDs(t, h, tenant.ChatQuery{}))
	require.Empty(t, events(t, h))
	_, err = h.Answer(t.Context(), "k")
	require.ErrorIs(t, err, tenant.ErrAnswerNotFound)
	oldest, latest, err := h.Bounds(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, oldest)
	require.Zero(t, latest)
}

func keyChecks() []check {
	return []check{
		{"AdmitTheirSecretsOnly", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			expires := time.Now().Add(time.Hour)
			key, secret, err := h.CreateKey(t.Context(), tenant.NewKey{Label: "production", ExpiresAt: &expires})
			require.NoError(t, err)
			require.Equal(t, h.ID(), key.ID.Tenant())
			parsed, err := tenant.ParseSecret(secret.Reveal())
			require.NoError(t, err)
			found, err := s.Key(t.Context(), parsed.ID())
			require.NoError(t, err)
			require.Equal(t, key, found)
			require.NoError(t, found.Admits(parsed, time.Now()))
			require.ErrorIs(t, found.Admits(parsed, expires), tenant.ErrInvalidKey)
			require.ErrorIs(t, found.Admits(tenant.NewSecret(h.ID()), time.Now()), tenant.ErrInvalidKey)
		}},
		{"AreListedNewestFirst", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			none, err := h.Keys(t.Context())
			require.NoError(t, err)
			require.Empty(t, none)
			for range 3 {
				_, _, err = h.CreateKey(t.Context(), tenant.NewKey{})
				require.NoError(t, err)
			}
			keys, err := h.Keys(t.Context())
			require.NoError(t, err)
			require.Len(t, keys, 3)
			require.False(t, keys[0].CreatedAt.Before(keys[2].CreatedAt))
		}},
		{"EndAtOnceWhenRevoked", func(t tester, s tenant.Store) {
			h, other := NewTenant(t, s), NewTenant(t, s)
			key, secret, err := h.CreateKey(t.Context(), tenant.NewKey{})
			require.NoError(t, err)
			require.ErrorIs(t, other.RevokeKey(t.Context(), key.ID), tenant.ErrKeyNotFound)
			require.ErrorIs(t, h.RevokeKey(t.Context(), "nonsense"), tenant.ErrKeyNotFound)
			require.NoError(t, h.RevokeKey(t.Context(), key.ID))
			require.NoError(t, h.RevokeKey(t.Context(), key.ID), "twice is once")
			found, err := s.Key(t.Context(), key.ID)
			require.NoError(t, err)
			require.NotNil(t, found.RevokedAt)
			require.ErrorIs(t, found.Admits(secret, time.Now()), tenant.ErrInvalidKey)
			require.Equal(t, key.ID, <-s.KeysChanged())
			require.Empty(t, s.KeysChanged(), "told once")
		}},
		{"AreInvalidWhenUnknown", func(t tester, s tenant.Store) {
			secret := tenant.NewSecret(NewTenant(t, s).ID())
			for _, id := range []tenant.KeyID{secret.ID(), "", "short"} {
				_, err := s.Key(t.Context(), id)
				require.ErrorIs(t, err, tenant.ErrInvalidKey)
			}
		}},
	}
}

func sessionChecks() []check {
	online := tenant.Session{
		Device: "5511888880000:3@s.whatsapp.net", LID: "104857600000009@lid", Wanted: true,
		Status: tenant.SessionStatus{State: "online", Ready: true}, PairedAt: noon(), Until: after(60),
	}
	return []check{
		{"AreZeroUntilSet", func(t tester, s tenant.Store) {
			session, err := NewTenant(t, s).Session(t.Context())
			require.NoError(t, err)
			require.Equal(t, tenant.Session{}, session)
		}},
		{"AreKept", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, tenant.SetSession{Session: online})
			session, err := h.Session(t.Context())
			require.NoError(t, err)
			require.Equal(t, online, session)
		}},
		{"AreJournalledWhenTheStatusMoves", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, tenant.SetSession{Session: online})
			require.Equal(t, []tenant.EventType{tenant.EventSessionStatus}, eventTypes(t, h, 0))
			require.JSONEq(t, `{"state":"online","ready":true}`, string(events(t, h)[0].Data))

			commit(t, h, tenant.SetSession{Session: online})
			quiet := online
			quiet.Wanted = false
			commit(t, h, tenant.SetSession{Session: quiet})
			require.Len(t, events(t, h), 1)

			quiet.Status.Reason = "lost"
			commit(t, h, tenant.SetSession{Session: quiet})
			require.Len(t, events(t, h), 2)
		}},
		{"AreWhatTheLastOfSeveralChangesMadeThem", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			lost, back := online, online
			lost.Status.Reason = "lost"
			back.Wanted = false
			commit(t, h, tenant.SetSession{Session: online}, tenant.SetSession{Session: lost}, tenant.SetSession{Session: online},
				tenant.SetSession{Session: back})
			session, err := h.Session(t.Context())
			require.NoError(t, err)
			require.Equal(t, back, session)
			require.Len(t, events(t, h), 3)
		}},
		{"OfManyTenantsAreStoredTogether", func(t tester, s tenant.Store) { sessionsOfMany(t, s, online) }},
		{"AreListedWhileLinked", func(t tester, s tenant.Store) {
			linked, gone := NewTenant(t, s), NewTenant(t, s)
			NewTenant(t, s)
			commit(t, linked, tenant.SetSession{Session: online})
			commit(t, gone, tenant.SetSession{Session: online})
			commit(t, gone, tenant.SetSession{Session: tenant.Session{Status: tenant.SessionStatus{State: "logged_out"}}})
			list := func() (all []tenant.Linked) {
				for l, err := range s.Linked(t.Context()) {
					require.NoError(t, err)
					all = append(all, l)
				}
				return all
			}
			require.Equal(t, []tenant.Linked{{ID: linked.ID(), Session: online}}, list())
			commit(t, linked, live(own("A", ana, "one", 1)))
			require.Equal(t, []tenant.Linked{{ID: linked.ID(), Session: online, Pending: true}}, list())
			commit(t, linked, tenant.SetStatus{ChatID: ana, MessageIDs: []tenant.MessageID{"A"}, Status: tenant.StatusSent})
			require.Equal(t, []tenant.Linked{{ID: linked.ID(), Session: online}}, list())
		}},
	}
}

// requireGone checks that a tenant cannot be deleted, since there is none.
func requireGone(t tester, s tenant.Store, id tenant.ID) {
	t.Helper()
	_, err := s.Delete(t.Context(), id, tenant.DeviceNone)
	require.ErrorIs(t, err, tenant.ErrNotFound)
}

// sessionsOfMany lets many tenants store their session and their block list at the same time, as a node's start does.
func sessionsOfMany(t tester, s tenant.Store, online tenant.Session) {
	handles := make([]tenant.Handle, 100)
	for i := range handles {
		handles[i] = NewTenant(t, s)
	}
	var all errgroup.Group
	for i, h := range handles {
		mine := online
		mine.Device = strconv.Itoa(i)
		all.Go(func() error {
			_, err := h.Commit(t.Context(), tenant.SetSession{Session: mine}, tenant.SetBlocklist{IDs: []tenant.ChatID{ana}})
			return err
		})
	}
	require.NoError(t, all.Wait())
	for i, h := range handles {
		session, err := h.Session(t.Context())
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(i), session.Device)
		require.Equal(t, tenant.EventSessionStatus, eventTypes(t, h, 0)[0])
		require.Equal(t, []tenant.ChatID{ana}, blocked(t, h))
	}
}
