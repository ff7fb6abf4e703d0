// Package metrics holds the Prometheus collectors of a node. It imports none of our packages: labels are plain strings from
// closed sets, or a tenant's id. A tenant's series are made when first used and go with the tenant ([Metrics.Forget]); no label ever holds a phone number, a chat id or a key.
package metrics

import (
	"runtime"
	"strings"
	"sync"

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
	Limits *Limits
}

// New registers all collectors. It panics when reg has some of them already.
func New(reg prometheus.Registerer) *Metrics {
	return &Metrics{Fleet: newFleet(reg), HTTP: newHTTP(reg), Commit: newCommit(reg), Limits: newLimits(reg)}
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
	m.Limits.Forget(tenant)
}

// tenantCounters are a counter's series whose first label is a tenant. The other labels are from closed sets, so those that were ever used
// are few; by them a tenant's series are found without looking at those of all tenants, whose counting would wait meanwhile.
type tenantCounters struct {
	*prometheus.CounterVec

	used sync.Map // others, joined by separator
}

// separator is in no label: they are words of ours.
const separator = "\x00"

func newTenantCounters(auto promauto.Factory, name, help string, others ...string) *tenantCounters {
	return &tenantCounters{CounterVec: auto.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{labelTenant}, others...))}
}

// of returns the series of a tenant, making it if there is none.
func (t *tenantCounters) of(tenant string, others ...string) prometheus.Counter {
	key := strings.Join(others, separator)
	if _, known := t.used.Load(key); !known {
		t.used.Store(key, others) // before the series is there: forget finds it
	}
	return t.WithLabelValues(append([]string{tenant}, others...)...)
}

func (t *tenantCounters) forget(tenant string) {
	t.used.Range(func(_, others any) bool {
		t.DeleteLabelValues(append([]string{tenant}, others.([]string)...)...) //nolint:errcheck,forcetypeassert // of is the only one that stores
		return true
	})
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
