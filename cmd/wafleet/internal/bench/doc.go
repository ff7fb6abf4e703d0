// Package bench measures the fleet beside bare whatsmeow clients on the same store, in one run on one machine.
//
// Each side of a measurement is a process of its own: the simulated WhatsApp, and for each variant a worker that holds nothing
// but that variant. They are this very binary, started again ([Work]), and obey their parent over a pipe: one line of JSON
// asks, one or more answer. When the pipe closes they end, so that none outlives its parent.
//
// What a variant did is told by who is not under test: the simulator says when a message was acknowledged and whether it was
// acknowledged once, the kernel how much memory a process has, the tenants' own store how many messages it holds. A count that
// is not what it must be fails the benchmark; no time ever does.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"
)

// Options are what all benchmarks take.
type Options struct {
	Sessions int
	// Database is "sqlite", which means a file in a temporary folder, or the URL of a PostgreSQL server on which databases may be
	// created; each variant gets an empty one that is dropped afterwards.
	Database string
	// Folder is where the temporary folder is made; empty means where the system makes its own. SQLite is as fast as the disk there.
	Folder string
	// Rounds is how often all variants are measured, one after the other; of each the median is reported. On a machine that has other
	// things to do one round says little.
	Rounds int
	// Profile is a folder for CPU and heap profiles of each variant; empty for none.
	Profile string

	// Command starts a worker: this binary and the arguments that make it call [Work]. The role is added as last argument.
	Command []string
	// Progress is told what goes on; workers log their faults to it.
	Progress io.Writer
}

// ErrOptions means that the options do not make sense, or that the machine does not admit of them.
var ErrOptions = errors.New("benchmark options")

const (
	maxSessions = 50_000
	maxRounds   = 100
	// spareFiles are the files that a process has open beside one socket per session.
	spareFiles = 256
	// sparePorts are the ports of this machine that others hold, or that the kernel keeps for a while after a connection.
	sparePorts = 2000
)

func (o *Options) validate() error {
	if o.Sessions < 1 || o.Sessions > maxSessions {
		return fmt.Errorf("%w: sessions must be 1 to %d", ErrOptions, maxSessions)
	}
	if o.Rounds < 1 || o.Rounds > maxRounds {
		return fmt.Errorf("%w: rounds must be 1 to %d", ErrOptions, maxRounds)
	}
	if engineOf(o.Database) == "" {
		return fmt.Errorf("%w: database must be sqlite or postgres://…", ErrOptions)
	}
	if limit, known := openFiles(); known && limit < uint64(o.Sessions)+spareFiles {
		return fmt.Errorf("%w: %d sessions need %d open files, this process may have %d: raise it with ulimit -n",
			ErrOptions, o.Sessions, o.Sessions+spareFiles, limit)
	}
	if ports, known := loopbackPorts(); known && ports < o.Sessions+sparePorts {
		return fmt.Errorf("%w: %d sessions need %d ports on loopback, this system gives out %d: widen net.ipv4.ip_local_port_range",
			ErrOptions, o.Sessions, o.Sessions+sparePorts, ports)
	}
	return nil
}

func (o *Options) say(format string, args ...any) {
	_, _ = fmt.Fprintf(o.Progress, format+"\n", args...)
}

const (
	engineSQLite   = "SQLite"
	enginePostgres = "PostgreSQL"
)

func engineOf(database string) string {
	switch {
	case database == "sqlite":
		return engineSQLite
	case strings.HasPrefix(database, "postgres://"), strings.HasPrefix(database, "postgresql://"):
		return enginePostgres
	}
	return ""
}

// Machine is where a benchmark ran.
type Machine struct {
	Cores int    `json:"cores"`
	Go    string `json:"go"`
	OS    string `json:"os"`
	Arch  string `json:"arch"`
}

func machine() Machine {
	return Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
}

func (m Machine) String() string {
	return fmt.Sprintf("%d cores, %s, %s/%s", m.Cores, m.Go, m.OS, m.Arch)
}

// run is one benchmark in progress: its temporary folder, and the simulator of the variant that is being measured.
type run struct {
	Options

	dir     string
	exact   bool // see plan.Exact
	sim     *child
	control string // URL of the simulator's control API
}

func begin(o Options) (*run, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Folder, "wafleet-bench-")
	if err != nil {
		return nil, fmt.Errorf("temporary folder: %w", err)
	}
	return &run{Options: o, dir: dir}, nil
}

func (r *run) end() error { return os.RemoveAll(r.dir) }

// simulate starts a simulator.
func (r *run) simulate(ctx context.Context) (err error) {
	if r.sim, err = spawn(ctx, r.Command, roleSimulator, r.Progress); err != nil {
		return err
	}
	if err = r.askSimulator(ctx, startTimeout, doOpen, nil, &r.control); err != nil {
		return errors.Join(err, r.sim.close())
	}
	return nil
}

// Deadlines of steps. Those that grow with the work are made for a machine ten times slower than a laptop.
const (
	startTimeout   = time.Minute
	measureTimeout = time.Minute
	closeTimeout   = time.Minute // fleet.Run drains
	stallTimeout   = time.Minute // nothing was acknowledged for so long
	perSession     = 100 * time.Millisecond
	perMessage     = 100 * time.Millisecond
)

func (r *run) sessionsTimeout() time.Duration {
	return 2*time.Minute + time.Duration(r.Sessions)*perSession
}

// Work is what a worker process does until in ends. The role is what the parent added to [Options.Command].
func Work(ctx context.Context, role string, in io.Reader, out io.Writer, log *slog.Logger) error {
	switch role {
	case roleSimulator:
		return work(ctx, &simulator{log: log}, in, out)
	case roleTarget:
		return work(ctx, &target{log: log}, in, out)
	case roleNode:
		return work(ctx, &nodeWorker{log: log}, in, out)
	}
	return fmt.Errorf("%w: no role %q", ErrOptions, role)
}
