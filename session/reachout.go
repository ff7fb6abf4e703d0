package session

import (
	"context"
	"time"

	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

// codeReachout is how WhatsApp refuses a message to somebody who never wrote, while it does not trust the account with new contacts.
const codeReachout = 463

// maxReachoutPause bounds how long sends to new contacts pause when WhatsApp only refused one.
const maxReachoutPause = 24 * time.Hour

// timelock takes WhatsApp's word on the account's reach-out time lock. It returns when that is stored: WhatsApp tells it once.
func (c *conn) timelock(evt *events.NotifyAccountReachoutTimelock) bool {
	var lock tenant.ReachoutLock
	if evt.IsActive {
		lock = tenant.ReachoutLock{Since: time.Now().UTC(), Until: evt.TimeEnforcementEnds.UTC(), Cause: tenant.ReachoutNotified}
	}
	a := c.actor
	saved := make(chan error, 1)
	if !a.post(func() { a.lockReachout(lock, saved) }) {
		return false
	}
	ctx, cancel := context.WithTimeout(c.ctx, a.fleet.pace.StoreBlocked)
	defer cancel()
	select {
	case err := <-saved:
		return err == nil
	case <-ctx.Done():
		return false
	}
}

// refusedReachout pauses sends to new contacts because WhatsApp refused one, longer with each time in a row. Runs as a job.
func (a *actor) refusedReachout() {
	now := time.Now()
	if a.row.Reachout.Active(now) {
		return // others were on their way
	}
	wait := a.fleet.pace.ReachoutPause
	for range min(a.strikes, 16) {
		wait = min(2*wait, maxReachoutPause)
	}
	a.strikes++
	a.lockReachout(tenant.ReachoutLock{Since: now.UTC(), Until: now.Add(wait).UTC(), Cause: tenant.ReachoutRefused}, nil)
}

// lockReachout sets the time lock, or lifts it if it does not hold. saved, if not nil, receives whether that is stored. Runs as a job.
func (a *actor) lockReachout(lock tenant.ReachoutLock, saved chan error) {
	before := a.row.Reachout
	if !lock.Active(time.Now()) {
		lock = tenant.ReachoutLock{}
	} else if !before.Since.IsZero() {
		lock.Since = before.Since // it goes on
	}
	if lock != before {
		a.log.Warn("reach-out time lock", "locked", !lock.Until.IsZero(), "until", lock.Until, "cause", lock.Cause)
	}
	a.row.Reachout = lock
	a.watchReachout()
	a.publish()
	a.save(saved)
}

// watchReachout sets the alarm for the end of the lock, and the gauge. Runs as a job.
func (a *actor) watchReachout() {
	a.lockAlarm.off()
	locked := !a.row.Reachout.Until.IsZero()
	a.fleet.cfg.Limited.Reachout(string(a.id), locked)
	if locked {
		a.lockAlarm.after(time.Until(a.row.Reachout.Until), a, a.endReachout)
	}
}

// endReachout lifts a lock whose time is over. Runs as a job.
func (a *actor) endReachout() {
	if !a.row.Reachout.Until.IsZero() {
		a.lockReachout(a.row.Reachout, nil)
	}
}
