package main

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestASecondNodeOnADatabaseSaysSoAndStops(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			second := start(t, []string{"WAFLEET_DATABASE=" + w.url}, "serve", "--listen", "127.0.0.1:0", "--log-format", "json")
			require.Equal(t, exitFault, second.Exit())
			host, err := os.Hostname()
			require.NoError(t, err)
			require.Contains(t, second.Errors(), fmt.Sprintf("another node (%s, process %d) runs on this database since ", host, w.node.Cmd.Process.Pid))
			require.Contains(t, second.Errors(), "stop it first")
			w.admin.call(http.StatusOK, http.MethodGet, "/readyz", "")

			w.node.Kill()
			w.start() // the lock has gone with the process
		})
	}
}

func TestANodeWhoseDatabaseWasTakenStopsByItself(t *testing.T) {
	t.Parallel()
	database := postgresDatabase(t)
	wire, through := newWire(t, database)
	w := newWorld(t, through)
	c := w.customer("Shop")
	first := w.node
	first.loses = true

	wire.set(true)
	w.url = database
	w.start()
	wire.set(false)
	require.Equal(t, exitFault, first.Exit())
	require.Contains(t, first.Errors(), databaseTaken)
	c.connect()
	c.online()
}
