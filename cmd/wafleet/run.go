package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/config"
)

// program is what a process gives a program; a test gives its own.
type program struct {
	Args           []string
	Getenv         func(name string) string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Exit codes.
const (
	exitOK    = 0
	exitFault = 1 // what was asked could not be done
	exitUsage = 2 // the command line or the configuration is wrong
)

// usageError marks what the user must write differently.
type usageError struct{ error }

// Unwrap is the error itself.
func (e usageError) Unwrap() error { return e.error }

// cli is the command line. Commands are structs with a Run method; kong hands them the context, the program and itself.
type cli struct {
	Serve   serveCmd   `cmd:"" help:"Run a node: sessions, API, docs, metrics."`
	Dev     devCmd     `cmd:"" help:"Try it: a node with an embedded database, a simulated WhatsApp, a paired tenant and contacts that answer."`
	Sim     simCmd     `cmd:"" help:"Run the simulated WhatsApp alone."`
	Migrate migrateCmd `cmd:"" help:"Bring the database to this version. Nodes do so at start, too."`
	Backup  backupCmd  `cmd:"" help:"Copy the embedded database into a file, also while a node runs on it."`
	Admin   adminCmd   `cmd:"" help:"Tenants, keys, sessions and pairing, through a node's admin API."`
	Health  healthCmd  `cmd:"" help:"Ask a node on this machine whether it is ready, as health checks do."`
	Bench   benchCmd   `cmd:"" help:"Measure the fleet beside bare whatsmeow clients on this machine."`
	Version versionCmd `cmd:"" help:"Show the version."`
}

// run is the program: it returns the exit code when everything it started has ended.
func run(ctx context.Context, p program) int {
	code := -1
	vars := kong.Vars{}
	for _, s := range config.Settings() {
		vars["help_"+strings.ReplaceAll(s.Name, "-", "_")] = s.Usage + " [$" + s.Env() + "]"
	}
	parser, err := kong.New(&cli{},
		kong.Name("wafleet"),
		kong.Description("A multi-tenant fleet controller for WhatsApp.\n\n"+
			"Exit codes: 0 it was done; 1 it could not be done; 2 the command line or the configuration is wrong."),
		kong.Writers(p.Stdout, p.Stderr),
		kong.Exit(func(c int) { code = c }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.ValueFormatter(helpWithDefault),
		kong.Resolvers(fromEnvironment(p.Getenv)),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(p),
		vars,
	)
	if err != nil {
		return report(p.Stderr, fmt.Errorf("command line: %w", err))
	}
	command, err := parser.Parse(p.Args)
	if code >= 0 { // --help has been answered
		return code
	}
	if err != nil {
		return report(p.Stderr, usageError{fmt.Errorf("%w; see wafleet --help", err)})
	}
	return report(p.Stderr, command.Run())
}

// helpWithDefault tells the default as well, which kong shows only in place of the placeholder.
func helpWithDefault(value *kong.Value) string {
	if value.HasDefault && value.Default != "" {
		return value.Help + " (default " + value.Default + ")"
	}
	return value.Help
}

// fromEnvironment fills flags with the tag fromenv that were not given. (kong's own env tag reads the process's environment,
// past a test's.)
func fromEnvironment(getenv func(string) string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if name := flag.Tag.Get("fromenv"); name != "" {
			if value := getenv(name); value != "" {
				return value, nil
			}
		}
		return nil, nil // there is no value
	})
}

// report prints an error, one fault per line, and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	if lines := faults(err); len(lines) == 1 {
		_, _ = fmt.Fprintf(w, "wafleet: %s\n", lines[0])
	} else {
		_, _ = fmt.Fprintf(w, "wafleet: %d faults:\n  %s\n", len(lines), strings.Join(lines, "\n  "))
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFault
}

// faults are the errors that were joined, each on one line. An error whose text has several lines is one fault all the same.
func faults(err error) []string {
	if several, ok := err.(interface{ Unwrap() []error }); ok { // not what it wraps: what it is
		var lines, texts []string
		for _, e := range several.Unwrap() {
			texts = append(texts, e.Error())
			lines = append(lines, faults(e)...)
		}
		if err.Error() == strings.Join(texts, "\n") { // errors.Join's, and no fmt.Errorf with several %w
			return lines
		}
	}
	if inner := errors.Unwrap(err); inner != nil && inner.Error() == err.Error() { // a mark, as usageError is
		return faults(inner)
	}
	return []string{strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")}
}

// newLogger makes the process's logger. Logs go to stderr, what a command prints to stdout.
func newLogger(w io.Writer, level slog.Level, format string) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if format == config.LogText || (format == config.LogAuto && isTerminal(w)) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
