package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Commit is what the store's group commit feeds.
type Commit struct {
	batch    prometheus.Histogram
	duration prometheus.Histogram
	queue    prometheus.Gauge
	failures *prometheus.CounterVec
}

func newCommit(reg prometheus.Registerer) *Commit {
	auto := promauto.With(reg)
	duration := seconds("wafleet_commit_duration_seconds", "Time of one transaction of the group commit.")
	duration.Buckets = []float64{0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3}
	c := &Commit{
		batch: auto.NewHistogram(prometheus.HistogramOpts{
			Name:    "wafleet_commit_batch_size",
			Help:    "Commits that shared one transaction.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256},
		}),
		duration: auto.NewHistogram(duration),
		queue: auto.NewGauge(prometheus.GaugeOpts{
			Name: "wafleet_commit_queue_length",
			Help: "Commits that wait for a transaction.",
		}),
		failures: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "wafleet_commit_failures_total",
			Help: "Transactions of the group commit that failed, by cause (unavailable, rejected).",
		}, []string{"cause"}),
	}
	for _, cause := range []string{"unavailable", "rejected"} {
		c.failures.WithLabelValues(cause) // from 0 on: a rate does not see the step that makes a series
	}
	return c
}

// Batch observes a transaction that shared size commits and took d.
func (c *Commit) Batch(size int, d time.Duration) {
	c.batch.Observe(float64(size))
	c.duration.Observe(d.Seconds())
}

// QueueLength says how many commits wait.
func (c *Commit) QueueLength(n int) { c.queue.Set(float64(n)) }

// Failure counts a failed transaction; cause is "unavailable" or "rejected".
func (c *Commit) Failure(cause string) { c.failures.WithLabelValues(cause).Inc() }
