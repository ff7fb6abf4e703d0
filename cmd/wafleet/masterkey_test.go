package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/programtest"
	"github.com/wafleet/wafleet/session/devicestore"
)

func TestMasterKeyIsReplacedWhileSessionsGoOn(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			c, ana := w.customer("Shop"), w.person("Ana")
			talk := func(text string) {
				c.connect()
				c.online()
				ana.send(c.person, text)
				c.text(ana.chatID(), "answer to "+text)
				ana.got("answer to " + text)
			}
			talk("first")
			fresh := devicestore.NewMasterKey()

			w.node.Kill()
			w.start("--master-key", fresh+" "+programtest.MasterKey)
			w.node.Logged("no device's key is encrypted by this master key any more: it can be left out")
			talk("second")

			w.node.Kill()
			wrong := start(t, []string{"WAFLEET_DATABASE=" + w.url}, "serve", "--listen", "127.0.0.1:0")
			require.Equal(t, exitFault, wrong.Exit())
			require.Contains(t, wrong.Errors(), "the keys of 1 devices are encrypted by the master key ")
			require.Contains(t, wrong.Errors(), "WAFLEET_MASTER_KEY")
			require.NotContains(t, wrong.Errors(), programtest.MasterKey)
			w.start("--master-key", fresh)
			talk("third")
			require.NotContains(t, w.node.Errors(), fresh)
		})
	}
}

func TestMakesAMasterKeyBesideItsOwnDatabase(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	serve := func() *process {
		return start(t, []string{"WAFLEET_MASTER_KEY=", "WAFLEET_DATA=" + data}, "serve", "--listen", "127.0.0.1:0", "--log-format", "json")
	}
	node := serve()
	path := filepath.Join(data, "master.key")
	require.Equal(t, path, node.Logged("made a master key, without which nothing of devices can be read: keep a copy, apart from the database's backups")["file"])
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	key, err := os.ReadFile(path)
	require.NoError(t, err)
	node.Logged("serving")
	require.Zero(t, node.Term())
	require.NotContains(t, node.Errors(), strings.TrimSpace(string(key)))

	node = serve()
	node.Logged("serving")
	require.NotContains(t, node.Errors(), "made a master key")
	require.Zero(t, node.Term())

	require.NoError(t, os.WriteFile(path, []byte("nonsense\n"), 0o600))
	node = serve()
	require.Equal(t, exitFault, node.Exit())
	require.Contains(t, node.Errors(), "not a master key: 32 random bytes in base64")
	require.NotContains(t, node.Errors(), "nonsense")
}

func TestAsksForAMasterKeyOnPostgreSQL(t *testing.T) {
	t.Parallel()
	node := start(t, []string{"WAFLEET_MASTER_KEY=", "WAFLEET_DATABASE=" + postgresDatabase(t)}, "serve", "--listen", "127.0.0.1:0")
	require.Equal(t, exitFault, node.Exit())
	require.Contains(t, node.Errors(), "no master key is set")
	require.Contains(t, node.Errors(), "openssl rand -base64 32")
}
