package main

import (
	"context"
	"log/slog"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/dev"
)

type devCmd struct {
	Data      string     `default:"wafleet-dev" placeholder:"DIR" help:"Folder of the database and of dev.env. Delete it to start afresh."`
	Listen    string     `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address of the node's API."`
	SimListen string     `default:"127.0.0.1:8081" placeholder:"HOST:PORT" help:"Address of the simulator's control API, on this machine."`
	LogLevel  slog.Level `default:"warn" placeholder:"LEVEL" help:"debug, info, warn or error."`
	LogFormat string     `default:"auto" enum:"auto,text,json" placeholder:"FORMAT" help:"text, json, or auto: text on a terminal, JSON elsewhere."`
}

// Run plays until the context ends.
func (d *devCmd) Run(ctx context.Context, p program) error {
	version, revision := buildVersion()
	return dev.Run(ctx, dev.Options{
		Data: d.Data, Listen: d.Listen, SimListen: d.SimListen,
		Log: newLogger(p.Stderr, d.LogLevel, d.LogFormat), Out: p.Stdout,
		Version: version, Revision: revision,
	})
}
