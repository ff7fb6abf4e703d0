package main

import (
	"context"
	"time"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/bench"
)

type benchNeighboursCmd struct {
	benchFlags

	Limit int           `default:"10" placeholder:"N" help:"Requests in a second that the noisy tenant may make."`
	Phase time.Duration `default:"15s" placeholder:"DURATION" help:"How long the quiet tenant is measured alone, and how long beside the noisy one, in each round."`
}

// Run measures until all is measured or the context ends.
func (b *benchNeighboursCmd) Run(ctx context.Context, p program) error {
	o, err := b.options(p)
	if err != nil {
		return err
	}
	measured, err := bench.Neighbours(ctx, bench.NeighboursOptions{Options: o, Limit: b.Limit, Phase: b.Phase})
	if err != nil {
		return benchError(err)
	}
	return b.report(p.Stdout, &measured)
}
