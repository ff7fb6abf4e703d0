package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestKilledAtAnyMomentLosesNothingAndDoublesNothing kills the node in the middle of what it does: while sessions log in, while messages
// come in and go out. A loss or a double stays, whatever comes later, so that it is enough to look at all of them in the end.
func TestKilledAtAnyMomentLosesNothingAndDoublesNothing(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			l, random := newLoad(t, database(t), *faultTenants), chance(t)
			for range *faultKills {
				l.struck(1 + random.Int64N(int64(20**faultTenants)))
				l.w.node.Kill()
				l.gather()
				l.w.launch()
				l.moved()
			}
			l.settle("killed")
		})
	}
}

// struck returns when the simulator has seen so many steps of the customers' devices, under load.
func (l *load) struck(steps int64) {
	l.t.Helper()
	l.witness.after(steps)
	more := time.NewTicker(200 * time.Millisecond)
	defer more.Stop()
	late := newTimeout(l.t, patience)
	for {
		l.refill()
		select {
		case <-l.witness.strike:
			return
		case <-more.C:
			require.False(l.t, l.t.Failed())
		case <-late:
			require.FailNow(l.t, "nothing happens any more")
		}
	}
}
