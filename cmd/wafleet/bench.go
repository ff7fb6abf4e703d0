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
	Worker  benchWorkerCmd  `cmd:"" hidden:"" help:"One process of a benchmark; benchmarks start it themselves."`
}

type benchFlags struct {
	Sessions int    `default:"1000" placeholder:"N" help:"How many sessions."`
	Database string `default:"sqlite" placeholder:"URL" help:"sqlite: a temporary file; or the postgres://… of a server where databases may be created."`
	Rounds   int    `default:"1" placeholder:"N" help:"Measure so often, in turns, and report the medians."`
	Folder   string `placeholder:"DIR" help:"Where the temporary folder is made; SQLite is as fast as the disk there."`
	JSON     bool   `help:"Print JSON in place of the table."`
	Profile  string `placeholder:"DIR" help:"Write CPU and heap profiles of each variant there."`
}

func (f *benchFlags) options(p program) (bench.Options, error) {
	o := bench.Options{Sessions: f.Sessions, Rounds: f.Rounds, Database: f.Database, Folder: f.Folder, Progress: p.Stderr}
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

type benchIdleCmd struct {
	benchFlags

	Settle time.Duration `default:"45s" placeholder:"DURATION" help:"How long the sessions are left alone before the last look."`
}

// Run measures until all is measured or the context ends.
func (b *benchIdleCmd) Run(ctx context.Context, p program) error {
	o, err := b.options(p)
	if err != nil {
		return err
	}
	measured, err := bench.Idle(ctx, bench.IdleOptions{Options: o, Settle: b.Settle})
	if err != nil {
		return benchError(err)
	}
	return b.report(p.Stdout, &measured)
}

type benchInboundCmd struct {
	benchFlags

	Messages int `default:"10000" placeholder:"N" help:"How many messages, over all sessions."`
}

// Run measures until all is measured or the context ends.
func (b *benchInboundCmd) Run(ctx context.Context, p program) error {
	o, err := b.options(p)
	if err != nil {
		return err
	}
	measured, err := bench.Inbound(ctx, bench.InboundOptions{Options: o, Messages: b.Messages})
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
