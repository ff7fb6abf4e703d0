package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/devicestore"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
)

// beside starts another node on the same WhatsApp, with a master key of its own.
func (w *world) beside(databaseURL string) *world {
	w.t.Helper()
	other := &world{t: w.t, sim: w.sim, url: databaseURL}
	other.start("--master-key=" + devicestore.NewMasterKey())
	return other
}

// tool runs an admin command on the node.
func (w *world) tool(want int, args ...string) (stdout, stderr string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*patience)
	defer cancel()
	code, out, errs := runHere(ctx, append([]string{"admin", "--url=" + w.base, "--admin-key=" + adminKey}, args...)...)
	require.Equal(w.t, want, code, "%v: %s%s", args, out, errs)
	return out, errs
}

func passphraseFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "passphrase")
	require.NoError(t, os.WriteFile(path, []byte("correct horse battery\n"), 0o600))
	return path
}

// TestATenantMovesToAnotherNode with all that it has, from either engine to the other: without pairing, with the same keys, and with
// nothing lost or doubled of what was sent while it was nowhere.
func TestATenantMovesToAnotherNode(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run("From"+engine, func(t *testing.T) {
			t.Parallel()
			to := postgresDatabase
			if engine == "PostgreSQL" {
				to = sqliteDatabase
			}
			w := newWorld(t, database(t))
			shop, bar, ana := w.customer("Shop"), w.customer("Bar"), w.person("Ana")
			shop.text(ana.chatID(), "before")
			ana.got("before")
			ana.send(shop.person, "to the old node")
			until(t, "the message is there", func() bool { return len(shop.messages(ana.chatID())) == 2 })
			once := newClient(t, w.base, map[string]string{"X-API-Key": shop.key, "Idempotency-Key": "order-1"})
			sending := "/api/chats/" + string(ana.chatID()) + "/messages"
			var sent, again tenant.Message
			once.call(http.StatusCreated, http.MethodPost, sending, textBody("once")).into(t, &sent)

			file, passphrase := filepath.Join(t.TempDir(), "tenants.age"), passphraseFile(t)
			_, progress := w.tool(exitOK, "export", "--all", "--no-suspend", "--output="+file, "--passphrase-file="+passphrase)
			require.Contains(t, progress, "exported "+shop.id)
			info, err := os.Stat(file)
			require.NoError(t, err)
			require.EqualValues(t, 0o600, info.Mode())
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NotContains(t, string(raw), "old node")
			_, refused := w.tool(exitFault, "session", "connect", shop.id)
			require.Contains(t, refused, "TENANT_EXPORTED")
			w.tool(exitFault, "export", "--all", "--output="+file, "--passphrase-file="+passphrase) // nothing is replaced
			ana.send(shop.person, "to nobody")
			head := shop.journalHead()

			n := w.beside(to(t))
			out, _ := n.tool(exitOK, "import", "--connect", "--passphrase-file="+passphrase, file)
			require.Contains(t, out, bar.id)
			for _, c := range []*customer{shop, bar} {
				c.w = n
				c.connect()
				c.online()
			}
			require.Equal(t, head, shop.journalHeadOf("exported"), "numbers go on")
			until(t, "what came meanwhile is there", func() bool { return len(shop.messages(ana.chatID())) == 4 })
			ana.send(shop.person, "to the new node")
			until(t, "what comes now is there", func() bool { return len(shop.messages(ana.chatID())) == 5 })
			once = newClient(t, n.base, map[string]string{"X-API-Key": shop.key, "Idempotency-Key": "order-1"})
			once.call(http.StatusCreated, http.MethodPost, sending, textBody("once")).into(t, &again)
			require.Equal(t, sent.ID, again.ID)
			shop.text(ana.chatID(), "after")
			ana.got("after")
			texts := map[string]int{}
			for _, e := range ana.Inbox(0) {
				if e.Kind == phone.KindMessage {
					texts[e.Text]++
				}
			}
			require.Equal(t, map[string]int{"before": 1, "once": 1, "after": 1}, texts)

			// The old node lets go without logging anybody out.
			w.admin.call(http.StatusOK, http.MethodDelete, "/admin/tenants/"+shop.id, "")
			require.Len(t, shop.Companions(), 1)
			shop.text(ana.chatID(), "still here")
			ana.got("still here")

			out, left := n.tool(exitOK, "import", "--skip-existing", "--passphrase-file="+passphrase, file)
			require.Contains(t, left, "left "+shop.id)
			require.NotContains(t, out, bar.id)
			_, refused = n.tool(exitFault, "import", "--passphrase-file="+passphrase, file)
			require.Contains(t, refused, "TENANT_EXISTS")
		})
	}
}

// TestASuspendedTenantArrivesSuspended: its session does not come online on the new node before it is resumed there.
func TestASuspendedTenantArrivesSuspended(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteDatabase(t))
	shop := w.customer("Shop")
	w.tool(exitOK, "tenants", "suspend", shop.id)
	file, passphrase := filepath.Join(t.TempDir(), "tenant.age"), passphraseFile(t)
	w.tool(exitOK, "export", shop.id, "--output="+file, "--passphrase-file="+passphrase)

	n := w.beside(sqliteDatabase(t))
	_, arrived := n.tool(exitOK, "import", "--connect", "--passphrase-file="+passphrase, file)
	require.Contains(t, arrived, "session stopped")
	_, refused := n.tool(exitFault, "session", "connect", shop.id)
	require.Contains(t, refused, "SESSION_SUSPENDED")
	n.tool(exitOK, "tenants", "resume", shop.id)
	shop.w = n
	shop.connect()
	n.tool(exitOK, "session", "connect", shop.id)
	shop.online()
}

// journalHead is the number of the newest event.
func (c *customer) journalHead() int64 { return c.journalHeadOf("") }

// journalHeadOf is the number of the newest event, or of the one that tells of a session's state for that reason.
func (c *customer) journalHeadOf(reason string) (head int64) {
	c.w.t.Helper()
	var list struct {
		Events []struct {
			Seq  int64
			Data struct{ Reason string }
		}
	}
	c.api.call(http.StatusOK, http.MethodGet, "/api/events?after=0&limit=1000", "").into(c.w.t, &list)
	for i, e := range list.Events {
		require.EqualValues(c.w.t, i+1, e.Seq)
		if reason == "" || e.Data.Reason == reason {
			head = e.Seq
		}
	}
	return head
}

// TestAnExportMayBeTakenBack, and what is wrong with files is said before anything is done.
func TestAnExportMayBeTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteDatabase(t))
	shop, ana := w.customer("Shop"), w.person("Ana")
	passphrase := passphraseFile(t)
	file, _ := w.tool(exitOK, "export", shop.id, "--passphrase-file="+passphrase)
	require.Contains(t, string(shop.api.call(http.StatusForbidden, http.MethodGet, "/api/chats", "").body), "TENANT_SUSPENDED")
	_, hint := w.tool(exitOK, "session", "take-back", shop.id)
	require.Contains(t, hint, "tenants resume "+shop.id)
	_, held := w.tool(exitFault, "session", "connect", shop.id)
	require.Contains(t, held, "SESSION_SUSPENDED")
	w.tool(exitOK, "tenants", "resume", shop.id)
	w.tool(exitOK, "session", "connect", shop.id)
	shop.online()
	shop.text(ana.chatID(), "here again")
	ana.got("here again")

	n := w.beside(sqliteDatabase(t))
	path := filepath.Join(t.TempDir(), "cut.age")
	require.NoError(t, os.WriteFile(path, []byte(file[:len(file)-100]), 0o600))
	_, refused := n.tool(exitFault, "import", "--passphrase-file="+passphrase, path)
	require.Contains(t, refused, "nothing of the tenant was imported")
	out, _ := n.tool(exitOK, "tenants", "list")
	require.NotContains(t, out, shop.id)
	other := filepath.Join(t.TempDir(), "other")
	require.NoError(t, os.WriteFile(other, bytes.Repeat([]byte("x"), 20), 0o600))
	_, refused = n.tool(exitFault, "import", "--passphrase-file="+other, path)
	require.Contains(t, refused, "does not open")
	_, refused = n.tool(exitFault, "import", "--passphrase-file="+passphrase, other)
	require.Contains(t, refused, "was not made by")
	for _, wrong := range [][]string{{"export"}, {"export", shop.id, "--all"}} {
		_, refused = n.tool(exitUsage, append(wrong, "--passphrase-file="+passphrase)...)
		require.Contains(t, refused, "name one tenant, or --all")
	}
	n.tool(exitFault, "export", "k7q2m4x5a3bc", "--passphrase-file="+passphrase)
}

// TestACopyIsKeptWhileTheTenantGoesOn.
func TestACopyIsKeptWhileTheTenantGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteDatabase(t))
	shop, ana := w.customer("Shop"), w.person("Ana")
	passphrase, file := passphraseFile(t), filepath.Join(t.TempDir(), "copy.age")
	w.tool(exitOK, "export", "--keep", shop.id, "--output="+file, "--passphrase-file="+passphrase)
	shop.text(ana.chatID(), "never off")
	ana.got("never off")
	n := w.beside(sqliteDatabase(t))
	_, refused := n.tool(exitFault, "import", "--connect", "--passphrase-file="+passphrase, file)
	require.Contains(t, refused, "KEPT_EXPORT")
	out, _ := n.tool(exitOK, "import", "--passphrase-file="+passphrase, file)
	require.Contains(t, out, "imported")
	shop.online() // nobody has thrown it out
}

// TestWhatTheOperatorSuspendedMovesSuspended; what the export alone suspended is let in on the other node.
func TestWhatTheOperatorSuspendedMovesSuspended(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteDatabase(t))
	shop, bar := w.customer("Shop"), w.customer("Bar")
	w.tool(exitOK, "tenants", "suspend", bar.id)
	passphrase, file := passphraseFile(t), filepath.Join(t.TempDir(), "tenants.age")
	_, progress := w.tool(exitOK, "export", "--all", "--output="+file, "--passphrase-file="+passphrase)
	require.Equal(t, 2, strings.Count(progress, "exported and suspended "), progress)
	_, refused := w.tool(exitFault, "session", "connect", shop.id)
	require.Contains(t, refused, "TENANT_EXPORTED")

	n := w.beside(sqliteDatabase(t))
	n.tool(exitOK, "import", "--connect", "--passphrase-file="+passphrase, file)
	for _, c := range []*customer{shop, bar} {
		c.w = n
		c.connect()
	}
	shop.online()
	bar.api.call(http.StatusForbidden, http.MethodGet, "/api/status", "")
	_, refused = n.tool(exitFault, "session", "connect", bar.id)
	require.Contains(t, refused, "SESSION_SUSPENDED")
	n.tool(exitOK, "tenants", "resume", bar.id)
	n.tool(exitOK, "session", "connect", bar.id)
	bar.online()
}
