package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFaultsOfPostgreSQL lets the database fail in one way after the other, under load, and looks after each.
func TestFaultsOfPostgreSQL(t *testing.T) {
	t.Parallel()
	server := newPostgres(t)
	wire, through := newWire(t, server.url())
	l, random := newLoad(t, through, *faultTenants), chance(t)
	// some is a while of load that nothing disturbs, so that what comes next comes in the middle of something.
	some := func() { l.struck(1 + random.Int64N(int64(10**faultTenants))) }
	for _, fault := range []struct {
		name string
		run  func()
	}{
		{"PostgreSQL was killed", func() {
			server.kill()
			server.start()
		}},
		{"PostgreSQL stood still", func() { server.freeze(*faultFreeze) }},
		{"PostgreSQL was slow", func() {
			wire.delay.Store(int64(200 * time.Millisecond))
			defer wire.delay.Store(0)
			some()
		}},
		{"PostgreSQL had no connection left", func() {
			server.hog(func() { <-newTimeout(t, *faultFreeze/2) })
		}},
		{"connections were reset in COMMIT", func() {
			const resets = 6
			wire.commits.Store(resets)
			until(t, "all are reset", func() bool {
				l.refill()
				return wire.commits.Load() <= 0
			})
		}},
	} {
		some()
		began := time.Now()
		fault.run()
		some()
		l.settle(fault.name)
		t.Logf("%s: all is well after %s", fault.name, time.Since(began).Round(time.Millisecond))
		require.NotContains(t, l.w.node.Errors(), databaseTaken)
	}
}
