package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// postgres is a PostgreSQL server of a test's own, which can be killed and frozen. Its connections are few.
type postgres struct {
	t        *testing.T
	programs string
	dir      string
	as       *syscall.Credential // PostgreSQL refuses to run as root; nil: as we do
	server   *exec.Cmd
	ended    chan struct{} // closed when the server has
}

// postgresConnections is how many connections the server has, those for superusers included.
const postgresConnections = 40

// newPostgres starts a server.
func newPostgres(t *testing.T) *postgres {
	t.Helper()
	p := &postgres{t: t}
	installed, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // Debian keeps them out of PATH
	require.NoError(t, err)
	switch path, err := exec.LookPath("postgres"); {
	case len(installed) > 0:
		p.programs = filepath.Dir(installed[len(installed)-1])
	case err == nil:
		p.programs = filepath.Dir(path)
	default:
		t.Skip("PostgreSQL's programs are not installed; make test installs them")
	}
	p.dir, err = os.MkdirTemp("", "wafleet-pg") //nolint:usetesting // nobody else may enter the test's own
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(p.dir)) })
	if os.Getuid() == 0 {
		p.as = unprivileged(t)
		require.NoError(t, os.Chown(p.dir, int(p.as.Uid), int(p.as.Gid)))
	}
	made := p.command("initdb", "-D", "data", "-U", "wafleet", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	out, err := made.CombinedOutput()
	require.NoError(t, err, "%s", out)
	p.start()
	t.Cleanup(func() { p.end() })
	return p
}

func unprivileged(t *testing.T) *syscall.Credential {
	t.Helper()
	account, err := user.Lookup("postgres")
	if err != nil {
		account, err = user.Lookup("nobody")
	}
	require.NoError(t, err)
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	require.NoError(t, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (p *postgres) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.programs, program), args...)
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.as}
	return cmd
}

// url is where the server answers: on a Unix socket in its folder.
func (p *postgres) url() string { return "postgres://wafleet@/postgres?host=" + p.dir }

// start starts the server, again if it was killed, and waits until it answers. What the system holds of its files outlives the process, so
// that it need not wait for the disk.
func (p *postgres) start() {
	p.t.Helper()
	var log bytes.Buffer
	p.server = p.command("postgres", "-D", "data", "-k", p.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "log_min_messages=fatal",
		"-c", "max_connections="+strconv.Itoa(postgresConnections))
	p.server.Stdout, p.server.Stderr = &log, &log
	require.NoError(p.t, p.server.Start())
	server, ended := p.server, make(chan struct{})
	p.ended = ended
	go func() { // ends with the server, which kill waits for
		_ = server.Wait()
		close(ended)
	}()
	until(p.t, "PostgreSQL answers", func() bool {
		select {
		case <-ended:
			require.FailNow(p.t, "PostgreSQL does not start", log.String())
		default:
		}
		conn, err := p.connect()
		if err == nil {
			_ = conn.Close(testContext())
		}
		return err == nil
	})
}

// connect is a connection that does not count as the node's.
func (p *postgres) connect() (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(testContext(), patience)
	defer cancel()
	return pgx.Connect(ctx, p.url()+"&application_name=test")
}

// kill ends the server with all its processes, as kill -9 and the system's killer do, and waits for the end.
func (p *postgres) kill() {
	all := p.end()
	until(p.t, "the server's processes are gone", func() bool {
		return !slices.ContainsFunc(all, func(pid int) bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
			return err == nil && !zombie(pid)
		})
	})
}

// end kills the server and returns its processes.
func (p *postgres) end() []int {
	all := p.processes()
	p.signal(all, syscall.SIGKILL)
	p.signal(p.processes(), syscall.SIGCONT, syscall.SIGKILL) // those that were born meanwhile
	<-p.ended
	return all
}

// freeze stops the server for a while: connections stay, and nobody answers.
func (p *postgres) freeze(d time.Duration) {
	p.t.Helper()
	all := p.processes()
	p.signal(all, syscall.SIGSTOP)
	<-newTimeout(p.t, d)
	p.signal(all, syscall.SIGCONT)
}

func (p *postgres) signal(pids []int, signals ...syscall.Signal) {
	for _, pid := range pids {
		for _, signal := range signals {
			_ = syscall.Kill(pid, signal) // it may have ended by itself
		}
	}
}

// processes are the server and its children, each of which is a session of its own.
func (p *postgres) processes() []int {
	all := []int{p.server.Process.Pid}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(p.t, err)
	for _, path := range stats {
		if pid, parent, _ := procStat(path); parent == p.server.Process.Pid {
			all = append(all, pid)
		}
	}
	return all
}

func zombie(pid int) bool {
	_, _, state := procStat(fmt.Sprintf("/proc/%d/stat", pid))
	return state == "Z" || state == ""
}

// procStat reads a line such as "17 (postgres: x y) S 1 …". Zeros for a process that is gone.
func procStat(path string) (pid, parent int, state string) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err != nil {
		return 0, 0, ""
	}
	end := bytes.LastIndexByte(raw, ')')
	fields := strings.Fields(string(raw[end+1:]))
	if end < 0 || len(fields) < 2 {
		return 0, 0, ""
	}
	pid, _ = strconv.Atoi(strings.TrimSpace(string(raw[:bytes.IndexByte(raw, '(')])))
	parent, _ = strconv.Atoi(fields[1])
	return pid, parent, fields[0]
}

// hog takes all connections, those of the node included, holds them while fn runs, and gives them back.
func (p *postgres) hog(fn func()) {
	p.t.Helper()
	var held []*pgx.Conn
	defer func() {
		for _, conn := range held {
			_ = conn.Close(testContext())
		}
	}()
	const taken, terminate = `SELECT COUNT(*) FROM pg_stat_activity WHERE application_name='wafleet'`,
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name='wafleet'`
	first, err := p.connect()
	require.NoError(p.t, err)
	held = append(held, first)
	until(p.t, "the node has no connection", func() bool {
		_, err := first.Exec(p.t.Context(), terminate)
		require.NoError(p.t, err)
		for {
			conn, err := p.connect()
			if err != nil {
				break // there are no more
			}
			held = append(held, conn)
		}
		var left int
		require.NoError(p.t, first.QueryRow(p.t.Context(), taken).Scan(&left))
		return left == 0
	})
	fn()
}
