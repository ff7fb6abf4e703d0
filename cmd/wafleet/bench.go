package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/bench"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/config"
)

type benchCmd struct {
	Idle    benchIdleCmd    `cmd:"" help:"Memory of an idle online session, beside a bare whatsmeow client on the same store."`
	Inbound benchInboundCmd `cmd:"" help:"Queued messages taken in per second, beside bare whatsmeow clients."`
	Send    benchSendCmd    `cmd:"" help:"Time of a send through the API, beside that of a bare whatsmeow client."`

	Fleet   benchFleetCmd   `cmd:"" help:"A node's start with thousands of paired tenants: all online, memory, group commit; beside bare whatsmeow clients."`
	Tenants benchTenantsCmd `cmd:"" help:"What an operator does with many tenants: making, listing, searching, scraping, deleting; beside few."`

	Neighbours benchNeighboursCmd `cmd:"" help:"What a tenant notices of another that asks for a hundred times its limit."`

	Worker benchWorkerCmd `cmd:"" hidden:"" help:"One process of a benchmark; benchmarks start it themselves."`
}

type benchFlags struct {
	Database string `default:"sqlite" placeholder:"URL" help:"sqlite: a temporary file; or the postgres://… of a server where databases may be created."`
	Rounds   int    `default:"1" placeholder:"N" help:"Measure so often, in turns, and report the medians."`
	Folder   string `placeholder:"DIR" help:"Where the temporary folder is made; SQLite is as fast as the disk there."`
	JSON     bool   `help:"Print JSON in place of the table."`
	Profile  string `placeholder:"DIR" help:"Write CPU and heap profiles of each variant there."`
}

func (f *benchFlags) options(p program) (bench.Options, error) {
	o := bench.Options{Rounds: f.Rounds, Database: f.Database, Folder: f.Folder, Progress: p.Stderr}
	self, err := os.Executable()
	if err != nil {
		return o, fmt.Errorf("this program's file: %w", err)
	}
	o.Command = []string{self, "bench", "worker"}
	if f.Profile == "" {
		return o, nil
	}
	if o.Profile, err = filepath.Abs(f.Profile); err != nil {
		return o, fmt.Errorf("--profile: %w", err)
	}
	if err = os.MkdirAll(o.Profile, 0o750); err != nil {
		return o, fmt.Errorf("--profile: %w", err)
	}
	return o, nil
}

// report prints what was measured.
func (f *benchFlags) report(w io.Writer, measured interface{ WriteTable(w io.Writer) error }) error {
	if !f.JSON {
		return measured.WriteTable(w) //nolint:wrapcheck // stdout is gone
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(measured) //nolint:wrapcheck // stdout is gone
}

// manySessions are the sizes at which a benchmark is run, one after the other.
type manySessions struct {
	Sessions []int `default:"1000" placeholder:"N,…" help:"How many sessions; of several numbers, one run each."`
}

// each runs a benchmark at each size.
func (m *manySessions) each(run func(sessions int) error) error {
	for _, n := range m.Sessions {
		if err := run(n); err != nil {
			return err
		}
	}
	return nil
}

type benchIdleCmd struct {
	benchFlags
	manySessions

	Settle time.Duration `default:"45s" placeholder:"DURATION" help:"How long the sessions are left alone before the last look."`
}

// Run measures until all is measured or the context ends.
func (b *benchIdleCmd) Run(ctx context.Context, p program) error {
	o, err := b.options(p)
	if err != nil {
		return err
	}
	return b.each(func(sessions int) error {
		o.Sessions = sessions
		measured, err := bench.Idle(ctx, bench.IdleOptions{Options: o, Settle: b.Settle})
		if err != nil {
			return benchError(err)
		}
		return b.report(p.Stdout, &measured)
	})
}

type benchInboundCmd struct {
	benchFlags
	manySessions

	Messages int  `default:"10000" placeholder:"N" help:"How many messages, over all sessions."`
	Groups   bool `help:"In groups: each of the senders writes to one of all sessions that it writes to."`
}

// Run measures until all is measured or the context ends.
func (b *benchInboundCmd) Run(ctx context.Context, p program) error {
	o, err := b.options(p)
	if err != nil {
		return err
	}
	return b.each(func(sessions int) error {
		o.Sessions = sessions
		measured, err := bench.Inbound(ctx, bench.InboundOptions{Options: o, Messages: b.Messages, Groups: b.Groups})
		if err != nil {
			return benchError(err)
		}
		return b.report(p.Stdout, &measured)
	})
}

type benchSendCmd struct {
	benchFlags

	Messages int `default:"500" placeholder:"N" help:"How many messages, one after the other."`
}

// Run measures until all is measured or the context ends.
func (b *benchSendCmd) Run(ctx context.Context, p program) error {
	o, err := b.options(p)
	if err != nil {
		return err
	}
	o.Sessions = 1
	measured, err := bench.Send(ctx, bench.SendOptions{Options: o, Messages: b.Messages})
	if err != nil {
		return benchError(err)
	}
	return b.report(p.Stdout, &measured)
}

func benchError(err error) error {
	if errors.Is(err, bench.ErrOptions) {
		return usageError{err}
	}
	return err
}

type benchWorkerCmd struct {
	Role string `arg:"" help:"What the process is to be."`
}

// Run works until standard input ends.
func (b *benchWorkerCmd) Run(ctx context.Context, p program) error {
	return bench.Work(ctx, b.Role, p.Stdin, p.Stdout, newLogger(p.Stderr, slog.LevelError, config.LogText))
}
