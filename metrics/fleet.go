package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Fleet is what package session feeds.
type Fleet struct {
	sessions      *prometheus.GaugeVec
	up            *prometheus.GaugeVec
	connects      *prometheus.CounterVec
	breakerOpen   prometheus.Gauge
	reconnects    *tenantCounters
	messages      *tenantCounters
	sendDuration  *prometheus.HistogramVec
	undecryptable *prometheus.CounterVec
	panics        *prometheus.CounterVec
}

func newFleet(reg prometheus.Registerer) *Fleet {
	auto := promauto.With(reg)
	f := &Fleet{
		sessions: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wafleet_sessions",
			Help: "Sessions that this node supervises, by state.",
		}, []string{labelState}),
		up: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wafleet_session_up",
			Help: "Whether the tenant's session is online (1) or not (0).",
		}, []string{labelTenant}),
		connects: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "wafleet_connect_attempts_total",
			Help: "Attempts to connect a session to WhatsApp, by outcome (online, failed, refused).",
		}, []string{"outcome"}),
		breakerOpen: auto.NewGauge(prometheus.GaugeOpts{
			Name: "wafleet_connect_breaker_open",
			Help: "Whether connecting is suspended because attempts of the whole fleet fail (1) or not (0).",
		}),
		reconnects: newTenantCounters(auto, "wafleet_session_disconnects_total",
			"Times that the tenant's session left online, by reason.", "reason"),
		messages: newTenantCounters(auto, "wafleet_messages_total",
			"Messages stored for the tenant, by direction (in, out) and type.", "direction", "type"),
		sendDuration: auto.NewHistogramVec(seconds("wafleet_send_duration_seconds",
			"Time from a send's request to WhatsApp's acknowledgement."), []string{labelTenant}),
		undecryptable: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "wafleet_undecryptable_messages_total",
			Help: "Messages that arrived for the tenant and could not be decrypted.",
		}, []string{labelTenant}),
		panics: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "wafleet_panics_total",
			Help: "Panics that were contained, by where they happened.",
		}, []string{"where"}),
	}
	for _, outcome := range []string{"online", "failed", "refused"} {
		f.connects.WithLabelValues(outcome) // from 0 on: a rate does not see the step that makes a series
	}
	return f
}

// SessionState moves a session from one state to another; "" stands for not supervised. up says whether it is online now.
func (f *Fleet) SessionState(tenant, from, to string, up bool) {
	if from != "" {
		f.sessions.WithLabelValues(from).Dec()
	}
	if to == "" {
		f.up.DeleteLabelValues(tenant)
		return
	}
	f.sessions.WithLabelValues(to).Inc()
	value := 0.0
	if up {
		value = 1
	}
	f.up.WithLabelValues(tenant).Set(value)
}

// ConnectAttempt counts an attempt to connect, by outcome: "online", "failed" or "refused".
func (f *Fleet) ConnectAttempt(outcome string) { f.connects.WithLabelValues(outcome).Inc() }

// BreakerOpen says whether connecting is suspended for the whole fleet.
func (f *Fleet) BreakerOpen(open bool) {
	value := 0.0
	if open {
		value = 1
	}
	f.breakerOpen.Set(value)
}

// Disconnected counts that a session left online. reason is one of session's reason codes.
func (f *Fleet) Disconnected(tenant, reason string) {
	f.reconnects.of(tenant, reason).Inc()
}

// Message counts a message that was stored. direction is "in" or "out".
func (f *Fleet) Message(tenant, direction, messageType string) {
	f.messages.of(tenant, direction, messageType).Inc()
}

// SendDuration observes how long WhatsApp took to acknowledge a send.
func (f *Fleet) SendDuration(tenant string, d time.Duration) {
	f.sendDuration.WithLabelValues(tenant).Observe(d.Seconds())
}

// Undecryptable counts a message that could not be decrypted.
func (f *Fleet) Undecryptable(tenant string) { f.undecryptable.WithLabelValues(tenant).Inc() }

// Panic counts a contained panic. where is a fixed word of the code's.
func (f *Fleet) Panic(where string) { f.panics.WithLabelValues(where).Inc() }

// Forget removes a tenant's series. The session's state must have moved to "" before.
func (f *Fleet) Forget(tenant string) {
	f.up.DeleteLabelValues(tenant)
	f.reconnects.forget(tenant)
	f.messages.forget(tenant)
	f.sendDuration.DeleteLabelValues(tenant)
	f.undecryptable.DeleteLabelValues(tenant)
}
