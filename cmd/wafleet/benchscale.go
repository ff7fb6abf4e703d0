package main

import (
	"context"
	"time"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/bench"
)

type benchTenantsCmd struct {
	benchFlags

	Tenants  []int `default:"100,10000" placeholder:"N,…" help:"How many tenants; the first number is the reference for the others."`
	Requests int   `default:"200" placeholder:"N" help:"How many requests of each kind; of scrapes a tenth."`
}

// Run measures until all is measured or the context ends.
func (b *benchTenantsCmd) Run(ctx context.Context, p program) error {
	o, err := b.options(p)
	if err != nil {
		return err
	}
	measured, err := bench.Tenants(ctx, bench.TenantsOptions{Options: o, Tenants: b.Tenants, Requests: b.Requests})
	if err != nil {
		return benchError(err)
	}
	return b.report(p.Stdout, &measured)
}

type benchFleetCmd struct {
	benchFlags

	Tenants           []int         `default:"10000" placeholder:"N,…" help:"How many tenants, each with a paired device; of several numbers, one run each."`
	Settle            time.Duration `default:"45s" placeholder:"DURATION" help:"How long the sessions are left alone before the last look at the memory."`
	ConnectsPerSecond float64       `default:"0" placeholder:"N" help:"The node's pace, as wafleet serve takes it; 0: as fast as it goes."`
}

// Run measures until all is measured or the context ends.
func (b *benchFleetCmd) Run(ctx context.Context, p program) error {
	o, err := b.options(p)
	if err != nil {
		return err
	}
	return (&manySessions{b.Tenants}).each(func(sessions int) error {
		o.Sessions = sessions
		measured, err := bench.Startup(ctx, bench.StartupOptions{Options: o, Settle: b.Settle, Connects: b.ConnectsPerSecond})
		if err != nil {
			return benchError(err)
		}
		return b.report(p.Stdout, &measured)
	})
}
