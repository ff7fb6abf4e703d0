package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestANodeGoesOnFromABackup that was made while it ran.
func TestANodeGoesOnFromABackup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteDatabase(t))
	shop, ana := w.customer("Shop"), w.person("Ana")
	shop.text(ana.chatID(), "before")
	ana.got("before")
	copied := filepath.Join(t.TempDir(), "copy.db")
	code, out, errs := runHere(t.Context(), "backup", "--database="+w.url, "--to="+copied)
	require.Equal(t, exitOK, code, errs)
	require.Contains(t, out, "a verified copy of "+w.url)
	info, err := os.Stat(copied)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode())
	code, _, errs = runHere(t.Context(), "backup", "--database="+w.url, "--to="+copied)
	require.Equal(t, exitFault, code)
	require.Contains(t, errs, "is there already")

	require.Equal(t, exitOK, w.node.Term())
	w.url = "sqlite:" + copied
	w.start()
	shop.connect()
	shop.online()
	require.Len(t, shop.messages(ana.chatID()), 1)
	w.admin.call(http.StatusOK, http.MethodGet, "/admin/tenants/"+shop.id, "")
}

func TestOnlyWhatCanBeBackedUpIs(t *testing.T) {
	t.Parallel()
	to := filepath.Join(t.TempDir(), "copy.db")
	code, _, errs := runHere(t.Context(), "backup", "--database=postgres://x@127.0.0.1:1/x", "--to="+to)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "pg_dump")
	code, _, errs = runHere(t.Context(), "backup", "--database=sqlite:"+filepath.Join(t.TempDir(), "none.db"), "--to="+to)
	require.Equal(t, exitFault, code)
	require.Contains(t, errs, "no such file")
	require.NoFileExists(t, to)
}

// TestANodeGoesOnFromADump, made by PostgreSQL's own tools as docs/BACKUP.md has it.
func TestANodeGoesOnFromADump(t *testing.T) {
	t.Parallel()
	database, restored := postgresDatabase(t), postgresDatabase(t)
	for _, tool := range []string{"pg_dump", "pg_restore"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (Debian: postgresql-client)", tool)
		}
	}
	w := newWorld(t, database)
	shop, ana := w.customer("Shop"), w.person("Ana")
	shop.text(ana.chatID(), "before")
	ana.got("before")
	dump := filepath.Join(t.TempDir(), "wafleet.dump")
	tool(t, "pg_dump", "--format=custom", "--file="+dump, database)
	require.Equal(t, exitOK, w.node.Term())
	tool(t, "pg_restore", "--no-owner", "--exit-on-error", "--dbname="+restored, dump)
	w.url = restored
	w.start()
	shop.connect()
	shop.online()
	require.Len(t, shop.messages(ana.chatID()), 1)
	ana.send(shop.person, "after")
	until(t, "what comes now is there", func() bool { return len(shop.messages(ana.chatID())) == 2 })
}

func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
}
