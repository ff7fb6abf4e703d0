// Package session runs the fleet: one whatsmeow client per tenant under one supervisor. It pairs devices, keeps sessions
// online, translates WhatsApp's events into the tenant's changes and the tenant's sends into WhatsApp messages. It knows nothing
// of HTTP and nothing of SQL.
//
// Each tenant's session is an actor: jobs that callers post own its state, one at a time, and readers load a snapshot (a [View]).
// The [Fleet] owns the actors, paces their connects, and waits for them when it stops.
package session
