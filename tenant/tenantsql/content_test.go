package tenantsql_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// TestFilesOfALongChatAreFoundByIndex lists the files of a chat of 100,000 messages, of which few are any.
func TestFilesOfALongChatAreFoundByIndex(t *testing.T) {
	t.Parallel()
	const messages = 100_000
	const chat = tenant.ChatID("5511999990001@c.us")
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			h := tenanttest.NewTenant(t, store)
			_, err := h.Commit(t.Context(), tenant.PutChat{ID: chat})
			require.NoError(t, err)
			// Every tenth is a picture, one is a sticker, the oldest.
			_, err = store.Database().Exec(t.Context(), `
				WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < $3)
				INSERT INTO message (
					tenant_id, chat_id, message_id, sender_id, sender_hidden, sender_name, from_me, sent_at, ord, kind, body, reply_to,
					mentions, status, edited_at, deleted_at, media
				) SELECT $1, $2, 'M' || i, $2, FALSE, '', FALSE, i*1000, i, CASE WHEN i=1 THEN 'sticker' WHEN i%10=0 THEN 'image' ELSE 'text' END,
					'a text', '', '', 16, 0, 0, CASE WHEN i=1 OR i%10=0 THEN '{"mimeType":"image/jpeg"}' ELSE '' END
				FROM n`, string(h.ID()), string(chat), messages)
			require.NoError(t, err)
			_, err = store.Database().Exec(t.Context(), "ANALYZE message")
			require.NoError(t, err)

			for _, kind := range []tenant.MessageType{"", tenant.TypeImage, tenant.TypeSticker} {
				explain := "EXPLAIN QUERY PLAN "
				if engine.Name != "SQLite" {
					explain = "EXPLAIN "
				}
				plan, err := store.Database().Query(t.Context(), explain+tenantsql.SelectFiles,
					string(h.ID()), string(chat), int64(messages)*2000, int64(0), string(kind), 101)
				require.NoError(t, err)
				text := planText(t, plan)
				require.Contains(t, text, "message_file", "%q: %s", kind, text)
				require.NotContains(t, text, "TEMP B-TREE", text)
				require.NotContains(t, strings.ToLower(text), "sort key", text)

				start := time.Now()
				page, err := h.Media(t.Context(), chat, tenant.MediaQuery{Limit: 100, Type: kind})
				require.NoError(t, err)
				t.Logf("%s, %q: %d in %s", engine.Name, kind, len(page.Messages), time.Since(start))
				if kind == tenant.TypeSticker {
					require.Len(t, page.Messages, 1)
					continue
				}
				require.Len(t, page.Messages, 100)
				require.Equal(t, tenant.MessageID("M100000"), page.Messages[0].ID)
			}
		})
	}
}

// planText is a plan as the engine words it.
func planText(t *testing.T, plan interface {
	Next() bool
	Scan(dest ...any) error
	Columns() ([]string, error)
	Close() error
	Err() error
},
) string {
	t.Helper()
	var text strings.Builder
	columns, err := plan.Columns()
	require.NoError(t, err)
	for plan.Next() {
		cells := make([]sql.NullString, len(columns))
		targets := make([]any, len(columns))
		for i := range cells {
			targets[i] = &cells[i]
		}
		require.NoError(t, plan.Scan(targets...))
		fmt.Fprintln(&text, cells[len(cells)-1].String)
	}
	require.NoError(t, plan.Err())
	require.NoError(t, plan.Close())
	return text.String()
}
