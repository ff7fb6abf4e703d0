package main

import (
	"path/filepath"
	"testing"

	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// TestFaultsOfADisk fills the disk of a SQLite database up, under load, and makes room again.
func TestFaultsOfADisk(t *testing.T) {
	t.Parallel()
	disk := tenanttest.NewDisk(t)
	l, random := newLoad(t, "sqlite:"+filepath.Join(disk.Dir, "wafleet.db"), *faultTenants, "--data", t.TempDir()), chance(t)
	const times, refusals = 3, 2 // each takes as long as a request may
	for range times {
		l.struck(1 + random.Int64N(int64(10**faultTenants)))
		before := l.refusals.Load()
		until(t, "nothing can be stored any more", func() bool {
			l.refill()
			disk.Fill()
			return l.refusals.Load() >= before+refusals
		})
		disk.Empty()
		l.settle("the disk was full")
	}
}
