package tenantsql_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// BenchmarkCommit commits received messages, each its own caller, beside a bare insert and commit on the same database.
func BenchmarkCommit(b *testing.B) {
	for _, engine := range tenanttest.Engines() {
		b.Run(engine.Name+"/Bare", func(b *testing.B) {
			db := engine.Open(b).Database()
			if _, err := db.Exec(b.Context(), "CREATE TABLE bare (id BIGINT PRIMARY KEY, body TEXT NOT NULL)"); err != nil {
				b.Fatal(err)
			}
			n := 0
			for b.Loop() {
				n++
				if _, err := db.Exec(b.Context(), "INSERT INTO bare (id, body) VALUES ($1, $2)", n, "hello"); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
		for _, writers := range []int{1, 50} {
			b.Run(fmt.Sprintf("%s/%dWriters", engine.Name, writers), func(b *testing.B) {
				store := engine.Open(b)
				handles := make([]tenant.Handle, writers)
				for w := range handles {
					handles[w] = tenanttest.NewTenant(b, store)
				}
				var next atomic.Int64
				b.ResetTimer()
				var wg sync.WaitGroup
				for _, h := range handles {
					wg.Go(func() {
						for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
							if _, err := h.Commit(b.Context(), message(strconv.FormatInt(n, 10))); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			})
		}
	}
}
