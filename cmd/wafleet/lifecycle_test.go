package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim/relay"
)

func TestStopsGentlyAndComesBackWithoutPairing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteDatabase(t))
	c, ana := w.customer("Shop"), w.person("Ana")
	feed := c.feed(0)
	ana.send(c.person, "before")
	feed.received("before")

	require.Zero(t, w.node.Term())
	require.Equal(t, websocket.StatusGoingAway, feed.closedWith())
	require.Contains(t, w.node.Errors(), `"msg":"drained"`)

	ana.send(c.person, "while it was away")
	w.start()
	c.connect()
	c.online()
	again := c.feed(feed.seen())
	again.received("while it was away")
	require.Len(t, c.messages(ana.chatID()), 2)
	sent := c.text(ana.chatID(), "back again")
	ana.got("back again")
	again.status(sent.ID, 2)
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteDatabase(t))
	c := w.customer("Shop")
	// A send that WhatsApp does not answer keeps the node from draining.
	require.NoError(t, w.sim.Relay().Fault(relay.Fault{Kind: relay.FaultStall, Phone: c.Number()}))
	ana := w.person("Ana")
	go func() {
		_, _ = c.api.try(http.MethodPost, "/api/chats/"+string(ana.chatID())+"/messages", textBody("hi"))
	}()
	require.NoError(t, w.node.Cmd.Process.Signal(os.Interrupt))
	w.node.Logged("draining")
	until(t, "the process is gone", func() bool {
		_ = w.node.Cmd.Process.Signal(os.Interrupt)
		select {
		case <-w.node.Done:
			return true
		default:
			return false
		}
	})
}

func TestFaultsAtStartAreSentences(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, taken.Close()) })
	dir := t.TempDir()
	file := filepath.Join(dir, "wafleet.yaml")
	require.NoError(t, os.WriteFile(file, []byte("lissten: x\ndrain: soon\n"), 0o600))

	for name, test := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"DatabaseGone": {
			[]string{"serve", "--listen", "127.0.0.1:0", "--database", "postgres://me:hunter2@127.0.0.1:1/x"},
			exitFault,
			[]string{"the database postgres://me:xxxxx@127.0.0.1:1/x cannot be reached"},
		},
		"DatabaseGoneForMigrate": {
			[]string{"migrate", "--database", "postgres://me:hunter2@127.0.0.1:1/x"}, exitFault, []string{"cannot be reached"},
		},
		"DataFolderNotWritable": {
			[]string{"serve", "--listen", "127.0.0.1:0", "--data", "/proc/nowhere"}, exitFault, []string{"folder of the embedded database"},
		},
		"PortInUse": {
			[]string{"serve", "--data", dir, "--listen", taken.Addr().String()},
			exitFault,
			[]string{"address " + taken.Addr().String() + " is in use", "--listen"},
		},
		"SimulatorPortInUse": {
			[]string{"sim", "--listen", taken.Addr().String()}, exitFault, []string{"address " + taken.Addr().String() + " is in use", "--listen"},
		},
		"DevSimulatorPortInUse": {
			[]string{"dev", "--data", dir, "--listen", "127.0.0.1:0", "--sim-listen", taken.Addr().String()},
			exitFault,
			[]string{"address " + taken.Addr().String() + " is in use", "--sim-listen"},
		},
		"SimulatorGone": {
			[]string{"serve", "--listen", "127.0.0.1:0", "--data", dir, "--whatsapp", "http://127.0.0.1:1"},
			exitFault,
			[]string{"simulated WhatsApp"},
		},
		"ConfigurationWrong": {
			[]string{"serve", "--config", file, "--log-level", "loud"},
			exitUsage,
			[]string{`unknown setting "lissten"`, `drain: "soon"`, `--log-level: "loud"`},
		},
		"CommandUnknown": {[]string{"server"}, exitUsage, []string{"server"}},
		"NoCommand":      {nil, exitUsage, []string{"wafleet"}},
		"NoAdminKey":     {[]string{"admin", "tenants", "list"}, exitFault, []string{"WAFLEET_ADMIN_KEY"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, nil, test.args...)
			require.Equal(t, test.code, p.Exit())
			for _, text := range test.says {
				require.Contains(t, p.Errors(), text)
			}
			require.NotContains(t, p.Errors(), "hunter2")
			require.NotContains(t, p.Errors(), "goroutine ")
		})
	}
}

func TestGoesOnWhenTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	wire, through := newWire(t, postgresDatabase(t))
	w := newWorld(t, through)
	c, ana := w.customer("Shop"), w.person("Ana")
	feed := c.feed(0)
	ana.send(c.person, "before")
	feed.received("before")

	wire.set(true)
	for _, path := range []string{"/api/chats", "/api/chats/" + string(ana.chatID()), "/api/chats/" + string(ana.chatID()) + "/messages"} {
		got := c.api.call(http.StatusServiceUnavailable, http.MethodGet, path, "")
		require.NotEmpty(t, got.header.Get("Retry-After"))
		require.Contains(t, string(got.body), "SERVICE_UNAVAILABLE")
	}
	c.api.call(http.StatusOK, http.MethodGet, "/api/health", "")
	w.admin.call(http.StatusServiceUnavailable, http.MethodGet, "/readyz", "")
	ana.send(c.person, "during")
	require.Positive(t, w.sim.Relay().Stats().UnacknowledgedByPhone[c.Number()], "nothing is acknowledged that is not stored")

	wire.set(false)
	until(t, "reads are answered again", func() bool {
		got, err := c.api.try(http.MethodGet, "/api/chats", "")
		return err == nil && got.status == http.StatusOK
	})
	until(t, "the message is stored", func() bool { return len(c.messages(ana.chatID())) == 2 })
	until(t, "it is acknowledged", func() bool { return w.sim.Relay().Stats().UnacknowledgedByPhone[c.Number()] == 0 })
	c.online()
	c.text(ana.chatID(), "after")
	ana.got("after")
	c.feed(0).received("during") // and the journal has no gap
}
