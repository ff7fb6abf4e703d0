package tenanttest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func rotationChecks() []check {
	return []check{
		{"LetBothKeysWorkForAWhile", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			expires := time.Now().Add(time.Hour)
			first, secret, err := h.CreateKey(t.Context(), tenant.NewKey{Label: "app", Scopes: tenant.Scopes{tenant.ScopeRead}, ExpiresAt: &expires})
			require.NoError(t, err)
			old, made, fresh, err := h.RotateKey(t.Context(), first.ID, tenant.Rotation{Overlap: time.Minute})
			require.NoError(t, err)
			require.Equal(t, first.ID, <-s.KeysChanged())
			require.Equal(t, first.ID, old.ID)
			require.Equal(t, "app", made.Label)
			require.Equal(t, tenant.Scopes{tenant.ScopeRead}, made.Scopes)
			require.Nil(t, made.ExpiresAt)
			now := time.Now()
			for key, secret := range map[tenant.KeyID]tenant.Secret{first.ID: secret, made.ID: fresh} {
				row, err := s.Key(t.Context(), key)
				require.NoError(t, err)
				require.NoError(t, row.Admits(secret, now))
				if key == first.ID {
					require.ErrorIs(t, row.Admits(secret, now.Add(2*time.Minute)), tenant.ErrInvalidKey)
				}
			}
			old, _, _, err = h.RotateKey(t.Context(), first.ID, tenant.Rotation{Overlap: time.Hour})
			require.NoError(t, err)
			require.WithinDuration(t, now.Add(time.Minute), *old.ExpiresAt, 30*time.Second, "a rotation lengthens no life")
			require.NoError(t, h.RevokeKey(t.Context(), first.ID))
			_, _, _, err = h.RotateKey(t.Context(), first.ID, tenant.Rotation{})
			require.ErrorIs(t, err, tenant.ErrKeyEnded)
			_, _, _, err = NewTenant(t, s).RotateKey(t.Context(), made.ID, tenant.Rotation{})
			require.ErrorIs(t, err, tenant.ErrKeyNotFound, "it is another tenant's")
		}},
		{"ChangeKeys", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			key, _, err := h.CreateKey(t.Context(), tenant.NewKey{Label: "app"})
			require.NoError(t, err)
			require.Equal(t, tenant.AllScopes(), key.Scopes)
			label, until, never := "web", time.Now().Add(time.Hour).UTC().Truncate(time.Second), time.Time{}
			key, err = h.ChangeKey(t.Context(), key.ID, tenant.KeyChange{Label: &label, ExpiresAt: &until, Scopes: tenant.Scopes{tenant.ScopeSend, tenant.ScopeRead}})
			require.NoError(t, err)
			require.Equal(t, key.ID, <-s.KeysChanged())
			keys, err := h.Keys(t.Context())
			require.NoError(t, err)
			require.Equal(t, "web", keys[0].Label)
			require.Equal(t, until, *keys[0].ExpiresAt)
			require.Equal(t, tenant.Scopes{tenant.ScopeRead, tenant.ScopeSend}, keys[0].Scopes)
			key, err = h.ChangeKey(t.Context(), key.ID, tenant.KeyChange{ExpiresAt: &never})
			require.NoError(t, err)
			require.Nil(t, key.ExpiresAt)
			require.Equal(t, "web", key.Label)
			_, err = NewTenant(t, s).ChangeKey(t.Context(), key.ID, tenant.KeyChange{Label: &label})
			require.ErrorIs(t, err, tenant.ErrKeyNotFound)
			require.NoError(t, h.RevokeKey(t.Context(), key.ID))
			_, err = h.ChangeKey(t.Context(), key.ID, tenant.KeyChange{ExpiresAt: &never})
			require.ErrorIs(t, err, tenant.ErrKeyEnded, "a revoked key stays revoked")
		}},
	}
}

func operatorChecks() []check {
	return []check{
		{"AdmitTheirSecretsOnly", func(t tester, s tenant.Store) {
			made, secret, err := s.CreateAdminKey(t.Context(), tenant.NewAdminKey{Label: "on call", Role: tenant.RoleViewer})
			require.NoError(t, err)
			parsed, err := tenant.ParseAdminSecret(secret.Reveal())
			require.NoError(t, err)
			found, err := s.AdminKey(t.Context(), parsed.ID())
			require.NoError(t, err)
			require.Equal(t, made, found)
			require.NoError(t, found.Admits(parsed, time.Now()))
			require.ErrorIs(t, found.Admits(tenant.NewAdminSecret(), time.Now()), tenant.ErrInvalidKey)
			require.NoError(t, s.RevokeAdminKey(t.Context(), made.ID, true))
			require.NoError(t, s.RevokeAdminKey(t.Context(), made.ID, true), "twice is once")
			found, err = s.AdminKey(t.Context(), made.ID)
			require.NoError(t, err)
			require.ErrorIs(t, found.Admits(parsed, time.Now()), tenant.ErrInvalidKey)
			_, err = s.AdminKey(t.Context(), tenant.NewAdminSecret().ID())
			require.ErrorIs(t, err, tenant.ErrKeyNotFound)
			require.ErrorIs(t, s.RevokeAdminKey(t.Context(), tenant.NewAdminSecret().ID(), false), tenant.ErrKeyNotFound)
		}},
		{"LeaveTheLastOwner", func(t tester, s tenant.Store) {
			soon := time.Now().Add(time.Hour)
			first, _, err := s.CreateAdminKey(t.Context(), tenant.NewAdminKey{Role: tenant.RoleOwner})
			require.NoError(t, err)
			_, _, err = s.CreateAdminKey(t.Context(), tenant.NewAdminKey{Role: tenant.RoleOperator})
			require.NoError(t, err)
			require.ErrorIs(t, s.RevokeAdminKey(t.Context(), first.ID, true), tenant.ErrLastOwner)
			second, _, err := s.CreateAdminKey(t.Context(), tenant.NewAdminKey{Role: tenant.RoleOwner, ExpiresAt: &soon})
			require.NoError(t, err)
			require.NoError(t, s.RevokeAdminKey(t.Context(), first.ID, true))
			require.NoError(t, s.RevokeAdminKey(t.Context(), second.ID, false))
			keys, err := s.AdminKeys(t.Context())
			require.NoError(t, err)
			require.Len(t, keys, 3)
		}},
		{"AreRotated", func(t tester, s tenant.Store) {
			first, secret, err := s.CreateAdminKey(t.Context(), tenant.NewAdminKey{Label: "ci", Role: tenant.RoleOperator})
			require.NoError(t, err)
			old, made, fresh, err := s.RotateAdminKey(t.Context(), first.ID, tenant.Rotation{Overlap: time.Minute})
			require.NoError(t, err)
			require.Equal(t, tenant.RoleOperator, made.Role)
			require.Equal(t, "ci", made.Label)
			require.Nil(t, made.ExpiresAt)
			require.NoError(t, made.Admits(fresh, time.Now()))
			stored, err := s.AdminKey(t.Context(), first.ID)
			require.NoError(t, err)
			require.Equal(t, old, stored)
			require.NoError(t, stored.Admits(secret, time.Now()))
			require.ErrorIs(t, stored.Admits(secret, time.Now().Add(2*time.Minute)), tenant.ErrInvalidKey)
			require.NoError(t, s.RevokeAdminKey(t.Context(), first.ID, false))
			_, _, _, err = s.RotateAdminKey(t.Context(), first.ID, tenant.Rotation{})
			require.ErrorIs(t, err, tenant.ErrKeyEnded)
		}},
	}
}

func auditChecks() []check {
	return []check{
		{"TellsWhatWasDone", func(t tester, s tenant.Store) {
			entry := tenant.AuditEntry{
				Actor: "someone", Role: tenant.RoleOperator, Operation: "create-key", Tenant: "aaaaaaaaaaaa", Client: "192.0.2.7",
				RequestID: "r1\x00", Detail: map[string]string{"a": "b"},
			}
			id, err := s.BeginAudit(t.Context(), entry)
			require.NoError(t, err)
			begun := audited(t, s, tenant.AuditQuery{})
			require.Len(t, begun, 1)
			require.Zero(t, begun[0].Status, "what came of it is not known yet")
			require.NoError(t, s.EndAudit(t.Context(), id, tenant.AuditOutcome{
				Status: 201, Tenant: "bbbbbbbbbbbb", Resource: "key", Detail: map[string]string{"label": "x"},
			}))
			require.NoError(t, s.EndAudit(t.Context(), id, tenant.AuditOutcome{Status: 500, Code: "INTERNAL_ERROR"}), "an outcome stays")
			entry.ID, entry.At, entry.RequestID = id, begun[0].At, "r1\uFFFD"
			entry.Status, entry.Resource, entry.Detail = 201, "key", map[string]string{"label": "x"}
			require.Equal(t, []tenant.AuditEntry{entry}, audited(t, s, tenant.AuditQuery{}))
		}},
		{"IsSearchedAndTrimmed", func(t tester, s tenant.Store) {
			var ids []int64
			for n := range 7 {
				e := tenant.AuditEntry{Actor: "a", Operation: "x", Status: 200}
				if n%2 == 0 {
					e.Actor, e.Operation, e.Tenant = "b", "y", "aaaaaaaaaaaa"
				}
				id, err := s.BeginAudit(t.Context(), e)
				require.NoError(t, err)
				ids = append(ids, id)
			}
			all := audited(t, s, tenant.AuditQuery{})
			require.Len(t, all, 7)
			for i, e := range all {
				require.Equal(t, ids[6-i], e.ID, "newest first")
			}
			require.Len(t, audited(t, s, tenant.AuditQuery{Actor: "a"}), 3)
			require.Len(t, audited(t, s, tenant.AuditQuery{Operation: "y"}), 4)
			require.Len(t, audited(t, s, tenant.AuditQuery{Tenant: "aaaaaaaaaaaa", Actor: "b"}), 4)
			require.Empty(t, audited(t, s, tenant.AuditQuery{Tenant: "aaaaaaaaaaaa", Actor: "a"}))
			require.Empty(t, audited(t, s, tenant.AuditQuery{To: all[6].At}), "To is exclusive")
			require.Len(t, audited(t, s, tenant.AuditQuery{From: all[6].At}), 7)
			require.Len(t, audited(t, s, tenant.AuditQuery{To: time.Now().Add(time.Minute)}), 7)
			require.Empty(t, audited(t, s, tenant.AuditQuery{From: time.Now().Add(time.Minute)}))
			gone, err := s.TrimAudit(t.Context(), all[6].At, 100)
			require.NoError(t, err)
			require.Zero(t, gone)
			gone, err = s.TrimAudit(t.Context(), time.Now().Add(time.Minute), 5)
			require.NoError(t, err)
			require.EqualValues(t, 5, gone)
			require.Len(t, audited(t, s, tenant.AuditQuery{}), 2)
			_, err = s.Audit(t.Context(), tenant.AuditQuery{Page: tenant.Page{Limit: 1, Cursor: chatCursor()}})
			require.ErrorIs(t, err, tenant.ErrInvalidCursor)
		}},
	}
}

// chatCursor is a cursor of another list.
func chatCursor() string { return (&tenant.Chat{ID: ana}).Cursor() }

// audited are all entries that a query finds, page by page.
func audited(t tester, s tenant.Store, q tenant.AuditQuery) []tenant.AuditEntry {
	t.Helper()
	var all []tenant.AuditEntry
	for q.Limit = 2; ; {
		page, err := s.Audit(t.Context(), q)
		require.NoError(t, err)
		all = append(all, page.Entries...)
		if page.Next == "" {
			return all
		}
		q.Cursor = page.Next
	}
}
