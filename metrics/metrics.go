// Package metrics holds the Prometheus collectors of a node. It imports none of our packages: labels are plain strings from
// closed sets, or a tenant's id. A tenant's series are made when first used and go with the tenant ([Fleet.Forget],
// [HTTP.Forget]); no label ever holds a phone number, a chat id or a key.
package metrics

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Names of labels.
const (
	labelTenant = "tenant"
	labelState  = "state"
)

// Metrics is every collector of a node, by who feeds it.
type Metrics struct {
	Fleet  *Fleet
	HTTP   *HTTP
	Commit *Commit
}

// New registers all collectors. It panics when reg has some of them already.
func New(reg prometheus.Registerer) *Metrics {
	return &Metrics{Fleet: newFleet(reg), HTTP: newHTTP(reg), Commit: newCommit(reg)}
}

// BuildInfo registers wafleet_build_info, whose value is always 1.
func BuildInfo(reg prometheus.Registerer, version, revision string) {
	promauto.With(reg).NewGauge(prometheus.GaugeOpts{
		Name:        "wafleet_build_info",
		Help:        "What this node was built from; the value is always 1.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": runtime.Version()},
	}).Set(1)
}

// Forget removes a tenant's series.
func (m *Metrics) Forget(tenant string) {
	m.Fleet.Forget(tenant)
	m.HTTP.Forget(tenant)
}

// nativeBucketFactor makes native histograms resolve about 10 %: they cost a series only for the buckets that are used.
const nativeBucketFactor = 1.1

// seconds are the options of a histogram of durations. Tenants' histograms have no classic buckets: those would cost a dozen
// series for each tenant.
func seconds(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name:                           name,
		Help:                           help,
		NativeHistogramBucketFactor:    nativeBucketFactor,
		NativeHistogramMaxBucketNumber: 100,
	}
}
