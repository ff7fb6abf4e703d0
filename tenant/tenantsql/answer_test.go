package tenantsql_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// Keys that are too old go in small steps, a few with each that comes.
func TestIdempotencyKeysDoNotPileUp(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			h, other := tenanttest.NewTenant(t, store), tenanttest.NewTenant(t, store)
			keep := func(h tenant.Handle, key string, ago time.Duration) {
				answer := tenant.Answer{Request: []byte("request"), ChatID: "1@c.us", SenderID: "2@c.us", MessageID: "M"}
				_, err := h.Commit(t.Context(), tenant.KeepAnswer{Key: key, Answer: answer, At: time.Now().Add(-ago)})
				require.NoError(t, err)
			}
			count := func(h tenant.Handle) (n int) {
				row := store.Database().QueryRow(t.Context(), "SELECT COUNT(*) FROM idempotency WHERE tenant_id=$1", string(h.ID()))
				require.NoError(t, row.Scan(&n))
				return n
			}
			keep(other, "old", 2*tenant.AnswerAge)
			_, err := store.Database().Exec(t.Context(), `
				INSERT INTO idempotency (tenant_id, idem_key, request, chat_id, message_id, sender_id, created_at)
				VALUES ($1, 'young', 'x', 'x', 'x', 'x', $2)`, string(h.ID()), time.Now().UnixMilli())
			require.NoError(t, err)
			const old = 20
			for i := range old {
				_, err := store.Database().Exec(t.Context(), `
					INSERT INTO idempotency (tenant_id, idem_key, request, chat_id, message_id, sender_id, created_at)
					VALUES ($1, $2, 'x', 'x', 'x', 'x', $3)`, string(h.ID()), fmt.Sprintf("old%d", i), int64(i))
				require.NoError(t, err)
			}
			for i, want := range []int{14, 7, 4, 5} { // eight go, one comes
				keep(h, fmt.Sprintf("new%d", i), 0)
				require.Equal(t, want, count(h))
			}
			_, err = h.Answer(t.Context(), "young")
			require.NoError(t, err)
			require.Equal(t, 1, count(other), "another tenant's stay")
			tenanttest.Delete(t, store, h.ID())
			require.Zero(t, count(h))
		})
	}
}
