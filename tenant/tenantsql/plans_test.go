package tenantsql_test

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant/tenantsql"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// manyMessages fills the table message: many chats of many tenants, so that tenant and chat look as if they named one message, and a
// chat with a great many.
const manyMessages = `
	INSERT INTO message (tenant_id, chat_id, message_id, sender_id, sender_hidden, sender_name, from_me, sent_at, ord, kind, body,
		reply_to, mentions, status, edited_at, deleted_at)
	SELECT 't' || i % 50, CASE WHEN i < 30000 THEN 'c' || i % 5000 ELSE 'large' END, 'M' || i, 's', FALSE, '', FALSE, i * 1000, i, 'text', '', '', '', 2, 0, 0
	FROM generate_series(1, 40000) n (i)`

// planner runs statements on PostgreSQL, and says how it would run others, set as the committer's connection is.
func planner(t *testing.T) (exec func(text string), plan func(text string, parameters int) string) {
	t.Helper()
	url := tenanttest.Postgres(t).URL(t)
	tenanttest.Open(t, tenantsql.Config{URL: url})
	pool, err := sql.Open("pgx", url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	conn, err := pool.Conn(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	exec = func(text string) {
		_, err := conn.ExecContext(t.Context(), text)
		require.NoError(t, err)
	}
	exec("SET plan_cache_mode=force_generic_plan; SET enable_seqscan=off; SET enable_hashjoin=off; SET enable_mergejoin=off; SET session_replication_role=replica")
	return exec, func(text string, parameters int) string {
		exec("PREPARE looked AS " + text)
		defer exec("DEALLOCATE looked")
		rows, err := conn.QueryContext(t.Context(), "EXPLAIN EXECUTE looked("+strings.TrimSuffix(strings.Repeat("NULL,", parameters), ",")+")") //nolint:rowserrcheck // planText does
		require.NoError(t, err)
		return planText(t, rows)
	}
}

// manyDevices fills the tables device and device_row.
const manyDevices = `
	INSERT INTO device (tenant_id, jid, master_key, wrapped_key, value) SELECT 't' || i, '', '', '', '' FROM generate_series(1, 500) n (i);
	INSERT INTO device_row (tenant_id, kind, row_key, value, at)
	SELECT 't' || i % 500, i % 14, CAST('k' || i AS BYTEA), '', i % 2 FROM generate_series(1, 40000) n (i)`

// TestDevicesAreLookedUpByTheirKeys: a node that starts loads all of its devices.
func TestDevicesAreLookedUpByTheirKeys(t *testing.T) {
	t.Parallel()
	exec, plan := planner(t)
	for _, state := range []string{"empty", "large and not analysed", "analysed"} {
		for text, parameters := range tenantsql.DeviceLookUps() {
			found := plan(text, parameters)
			require.NotContains(t, found, "Seq Scan", "%s: %s", state, text)
			require.Contains(t, found, "Index Cond: ((tenant_id = ", "%s: %s", state, text)
			require.NotContains(t, found, "Filter: ((tenant_id = ", "%s: %s", state, text)
		}
		switch state {
		case "empty":
			exec(manyDevices)
		default:
			exec("ANALYZE device; ANALYZE device_row")
		}
	}
}

// TestMessagesAreLookedUpByTheirKeys: not by whatever else begins with tenant and chat, which is to read the whole chat.
func TestMessagesAreLookedUpByTheirKeys(t *testing.T) {
	t.Parallel()
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		exec, plan := planner(t)
		for _, state := range []string{"empty", "large and not analysed", "analysed"} {
			for text, parameters := range tenantsql.KeyLookUps() {
				require.Contains(t, plan(text, parameters), "message_pkey", "%s: %s", state, text)
			}
			for text, parameters := range tenantsql.ChatsInOrder() {
				if state == "analysed" {
					require.Regexp(t, "message_order|message_file", plan(text, parameters), "%s: %s", state, text)
				}
			}
			switch state {
			case "empty":
				exec(manyMessages)
			default:
				exec("ANALYZE message")
			}
		}
	})
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		store := tenanttest.OpenSQLite(t)
		plan := func(text string, parameters int) string {
			rows, err := store.Database().Query(t.Context(), "EXPLAIN QUERY PLAN "+text, make([]any, parameters)...)
			require.NoError(t, err)
			return planText(t, rows)
		}
		for text, parameters := range tenantsql.KeyLookUps() {
			require.Contains(t, plan(text, parameters), "sqlite_autoindex_message_1", text)
		}
		for text, parameters := range tenantsql.ChatsInOrder() {
			require.Regexp(t, "message_order|message_file", plan(text, parameters), text)
		}
	})
}
