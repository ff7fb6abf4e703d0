package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Limits counts who was refused for a limit of a tenant's, and what limits have deleted. Packages api, session and tenant feed it.
type Limits struct {
	refused  *tenantCounters
	deleted  *tenantCounters
	reachout *prometheus.GaugeVec
}

func newLimits(reg prometheus.Registerer) *Limits {
	auto := promauto.With(reg)
	return &Limits{
		refused: newTenantCounters(auto, "wafleet_rate_limited_total",
			"Requests and sends of the tenant that were refused with 429, by the limit that was used up.", "limit"),
		deleted: newTenantCounters(auto, "wafleet_retention_deleted_total",
			"Rows of the tenant that were deleted because of their age or of how much is kept, by kind (messages, events).", "kind"),
		reachout: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wafleet_reachout_locked",
			Help: "Whether WhatsApp's reach-out time lock keeps the tenant's account from writing to new contacts (1); no series when not.",
		}, []string{labelTenant}),
	}
}

// Refused counts what was refused for a limit. limit is one of a closed set of names.
func (l *Limits) Refused(tenant, limit string) {
	if l != nil {
		l.refused.of(tenant, limit).Inc()
	}
}

// Deleted counts what retention has deleted.
func (l *Limits) Deleted(tenant string, messages, events int) {
	if l == nil {
		return
	}
	if messages > 0 {
		l.deleted.of(tenant, "messages").Add(float64(messages))
	}
	if events > 0 {
		l.deleted.of(tenant, "events").Add(float64(events))
	}
}

// Reachout says whether an account is under a reach-out time lock.
func (l *Limits) Reachout(tenant string, locked bool) {
	switch {
	case l == nil:
	case locked:
		l.reachout.WithLabelValues(tenant).Set(1)
	default:
		l.reachout.DeleteLabelValues(tenant)
	}
}

// Forget removes a tenant's series.
func (l *Limits) Forget(tenant string) {
	l.refused.forget(tenant)
	l.deleted.forget(tenant)
	l.reachout.DeleteLabelValues(tenant)
}
