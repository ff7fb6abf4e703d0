package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// HTTP is what package api feeds.
type HTTP struct {
	requests *tenantCounters
	duration *prometheus.HistogramVec
	streams  *prometheus.GaugeVec
	panics   prometheus.Counter
}

func newHTTP(reg prometheus.Registerer) *HTTP {
	auto := promauto.With(reg)
	duration := seconds("wafleet_http_request_duration_seconds", "Time to answer a request, by operation.")
	duration.Buckets = []float64{0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30}
	return &HTTP{
		requests: newTenantCounters(auto, "wafleet_api_requests_total",
			"Requests of the tenant's keys, by status class (2xx, 3xx, 4xx, 5xx).", "status"),
		duration: auto.NewHistogramVec(duration, []string{"operation"}),
		streams: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wafleet_event_streams",
			Help: "Open WebSockets and streams of events of the tenant, and requests of its that wait for events.",
		}, []string{labelTenant}),
		panics: auto.NewCounter(prometheus.CounterOpts{
			Name: "wafleet_http_panics_total",
			Help: "Panics of request handlers that were contained.",
		}),
	}
}

// Request counts an answered request of a tenant; statusClass is "2xx" and the like.
func (h *HTTP) Request(tenant, statusClass string) {
	h.requests.of(tenant, statusClass).Inc()
}

// Duration observes how long an operation took; operation is an operationId or "other".
func (h *HTTP) Duration(operation string, d time.Duration) {
	h.duration.WithLabelValues(operation).Observe(d.Seconds())
}

// Stream counts a tenant's event stream that opened (+1) or closed (-1).
func (h *HTTP) Stream(tenant string, delta int) {
	h.streams.WithLabelValues(tenant).Add(float64(delta))
}

// Panic counts a contained panic of a handler.
func (h *HTTP) Panic() { h.panics.Inc() }

// Forget removes a tenant's series.
func (h *HTTP) Forget(tenant string) {
	h.requests.forget(tenant)
	h.streams.DeleteLabelValues(tenant)
}
