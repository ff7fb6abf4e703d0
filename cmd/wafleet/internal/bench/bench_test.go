package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/bench"
)

// workerFlag makes the test binary a worker, as the hidden command does with the real one.
const workerFlag = "-bench-worker"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == workerFlag {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		if err := bench.Work(ctx, os.Args[2], os.Stdin, os.Stdout, log); err != nil {
			log.Error("worker failed", slog.Any("error", err))
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func small(t *testing.T) bench.Options {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return bench.Options{
		Sessions: 20, Rounds: 1, Database: "sqlite", Folder: t.TempDir(), Command: []string{self, workerFlag}, Progress: &lines{t},
	}
}

// lines gives what workers say to the test's log.
type lines struct{ t testing.TB }

func (l *lines) Write(p []byte) (int, error) {
	l.t.Log(string(bytes.TrimRight(p, "\n")))
	return len(p), nil
}

// members are the names of a report's members, for its shape is what others read.
func members(t *testing.T, report any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(report)
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(raw, &m))
	return m
}

// eachEngine measures on every database there is. Nothing may be left behind.
func eachEngine(t *testing.T, test func(t *testing.T, engine string, o bench.Options)) {
	t.Helper()
	list := map[string]string{"SQLite": "sqlite"}
	if server := os.Getenv("TEST_DATABASE_URL"); server != "" {
		list["PostgreSQL"] = server
	}
	for engine, database := range list {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			o := small(t)
			o.Database, o.Profile = database, t.TempDir()
			test(t, engine, o)
			requireEmpty(t, o.Folder)
		})
	}
}

// requireTable says that a report, printed for people, has these words.
func requireTable(t *testing.T, report interface{ WriteTable(w io.Writer) error }, words string) {
	t.Helper()
	var table bytes.Buffer
	require.NoError(t, report.WriteTable(&table))
	require.Contains(t, table.String(), words)
	t.Log(table.String())
}

func requireProfiles(t *testing.T, folder string, n int, which string) {
	t.Helper()
	profiles, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, profiles, n, which)
}

func TestIdle(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine string, o bench.Options) {
		t.Helper()
		report, err := bench.Idle(t.Context(), bench.IdleOptions{Options: o, Settle: 100 * time.Millisecond})
		require.NoError(t, err)
		checkIdle(t, engine, &report)
	})
}

func checkIdle(t *testing.T, engine string, report *bench.IdleReport) {
	t.Helper()
	m := members(t, report)
	require.Equal(t, "idle", m["benchmark"])
	require.Equal(t, engine, m["engine"])
	require.EqualValues(t, 20, m["sessions"])
	require.Contains(t, m["reference"], "bare whatsmeow")
	require.Len(t, m["variants"], 2)
	for _, v := range report.Variants {
		require.Positive(t, v.PerSession.LiveHeap, v.Name)
		require.GreaterOrEqual(t, v.PerSession.Goroutines, 4.0, "%s: whatsmeow itself runs four", v.Name)
		require.Positive(t, v.OnlineMS, v.Name)
	}
	require.Positive(t, report.Ratio.LiveHeap)
	requireTable(t, report, "ratio")
}

func TestInbound(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine string, o bench.Options) {
		t.Helper()
		report, err := bench.Inbound(t.Context(), bench.InboundOptions{Options: o, Messages: 100})
		require.NoError(t, err)
		checkInbound(t, engine, &report)
		requireProfiles(t, o.Profile, 9, "CPU and heap of three variants, CPU of the simulator beside each")
	})
}

func checkInbound(t *testing.T, engine string, report *bench.InboundReport) {
	t.Helper()
	m := members(t, report)
	require.Equal(t, "inbound", m["benchmark"])
	require.Equal(t, engine, m["engine"])
	require.EqualValues(t, 100, m["messages"])
	require.Len(t, m["variants"], 3)
	for _, v := range report.Variants {
		require.Equal(t, 100, v.Queued, v.Name)
		require.Equal(t, 100, v.Acknowledged, v.Name)
		require.Equal(t, 100, v.Stored, v.Name)
		require.Zero(t, v.Retries, v.Name)
		require.Positive(t, v.PerSecond, v.Name)
		require.Positive(t, v.ProcessorMS, v.Name)
	}
	require.Positive(t, report.Ratio.Bare)
	commits := report.Variants[2].Commits
	require.NotNil(t, commits)
	require.Positive(t, commits.Transactions)
	requireTable(t, report, "messages/s")
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*bench.InboundOptions){
		"no session":               func(o *bench.InboundOptions) { o.Sessions = 0 },
		"more than files":          func(o *bench.InboundOptions) { o.Sessions = 1 << 30 },
		"no round":                 func(o *bench.InboundOptions) { o.Rounds = 0 },
		"another database":         func(o *bench.InboundOptions) { o.Database = "mysql://" },
		"sessions with no message": func(o *bench.InboundOptions) { o.Messages = 1 },
	} {
		o := bench.InboundOptions{Options: small(t), Messages: 100}
		o.Progress = io.Discard
		spoil(&o)
		_, err := bench.Inbound(t.Context(), o)
		require.ErrorIs(t, err, bench.ErrOptions, name)
	}
}

// requireEmpty says that nothing was left behind.
func requireEmpty(t *testing.T, folder string) {
	t.Helper()
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestGivesUpCleanly cancels in the middle of each step that takes its time.
func TestGivesUpCleanly(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"linking", "queueing", "connecting"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o := small(t)
			o.Progress = &trigger{word: step, fire: cancel}
			_, err := bench.Inbound(ctx, bench.InboundOptions{Options: o, Messages: 2000})
			require.ErrorIs(t, err, context.Canceled)
			require.NotContains(t, err.Error(), "\n", "one reason is enough")
			requireEmpty(t, o.Folder)
		})
	}
}

// trigger fires when a word is written.
type trigger struct {
	word string
	fire func()
}

func (w *trigger) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.word)) {
		w.fire()
	}
	return len(p), nil
}
