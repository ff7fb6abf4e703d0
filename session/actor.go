package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// actor is one tenant's session. Its jobs run one after the other, each in a goroutine of its own, so that a session with nothing to do
// has none. All fields below "owned by the jobs" are touched by them alone. A job never waits; whatever takes time runs in a child that
// posts its result.
type actor struct {
	fleet  *Fleet
	id     tenant.ID
	handle tenant.Handle
	log    *slog.Logger
	watch  watch
	// life ends when the fleet's drain has run out of time: children, connections and their callbacks live no longer.
	life context.Context //nolint:containedctx // whatsmeow's callbacks and the jobs have none of their own

	turn  chan struct{} // buffered 1: full while a job runs, and for good once the last one has
	done  chan struct{} // closed when the last job has run
	gone  chan struct{} // closed when the children have ended, too
	tasks group         // all children

	view     atomic.Pointer[View]
	online   atomic.Pointer[conn] // where sends go; nil unless online
	board    board
	saver    saver
	outbox   outbox
	presence presence
	// leftover outlives connections: the phone announces a history but once.
	leftover leftover
	// groupsRead is when all groups were read last, in Unix milliseconds; 0 if they were not.
	groupsRead atomic.Int64
	owed       owed // likewise
	// tidied is when the device store was told last to delete what is old, in Unix milliseconds; 0 if nobody has thought of it yet. Likewise:
	// no connection may last until it is time.
	tidied atomic.Int64
	pleas  *pleas

	// Owned by the jobs.
	row        tenant.Session
	state      State
	reason     reason
	since      time.Time
	until      time.Time // end of a ban, or the next attempt
	name       string    // the account's own
	cur        *conn     // the connection, from its making until it is closed; there is never a second one
	gen        int       // number of the connection made last
	closing    bool      // cur is being closed
	failures   int       // attempts that failed in a row
	loggedInAt time.Time
	pair       *pairing
	forgetting bool // the device's credentials are being deleted
	stopping   bool // the fleet drains
	removed    bool // the tenant goes
	over       bool // this is the last job
	alarm      alarm
	lockAlarm  alarm // of row.Reachout
	strikes    int   // messages to new contacts that WhatsApp refused in a row
}

func newActor(f *Fleet, id tenant.ID, row tenant.Session) *actor {
	a := &actor{
		fleet: f, id: id, handle: f.cfg.Store.Tenant(id), life: f.life,
		log:  f.cfg.Log.With("tenant", string(id)),
		turn: make(chan struct{}, 1), done: make(chan struct{}), gone: make(chan struct{}), pleas: newPleas(),
		row: row, since: time.Now(),
	}
	a.watch = watch{log: a.log, metrics: f.cfg.Metrics}
	a.tasks.watch = &a.watch
	a.saver = saver{
		calm: f.pace.Calm, each: f.pace.StoreTimeout, spawn: a.tasks.run, news: make(chan struct{}, 1),
		commit: func(ctx context.Context, row tenant.Session) (err error) {
			defer a.watch.contain("save", &err)
			_, err = a.handle.Commit(ctx, tenant.SetSession{Session: row})
			if err != nil && !errors.Is(err, tenant.ErrUnavailable) && !errors.Is(ctx.Err(), context.DeadlineExceeded) { // else the saver tries again
				a.log.ErrorContext(ctx, "state of the session was not stored", "state", row.Status.State, "error", err)
			}
			return err
		},
	}
	a.state, a.reason, a.until = f.initial(id, &row, a.since)
	a.publish()
	f.cfg.Metrics.SessionState(string(id), "", string(a.state), false)
	return a
}

// initial is the state of a session whose row was just read. One that was suspended or resumed while its state was not stored yet is
// put right.
func (f *Fleet) initial(id tenant.ID, row *tenant.Session, now time.Time) (State, reason, time.Time) {
	suspended := f.suspended.has(id)
	state, why, until := initial(row, now, f.pace)
	switch {
	case suspended && state == Connecting:
		return Stopped, reasonSuspended, time.Time{}
	case !suspended && state == Stopped && why == reasonSuspended && row.Wanted:
		return Connecting, reasonNone, time.Time{}
	}
	return state, why, until
}

func initial(row *tenant.Session, now time.Time, p *Pace) (State, reason, time.Time) {
	stored, why := State(row.Status.State), reason(row.Status.Reason)
	if row.Device == "" {
		if stored == LoggedOut {
			return LoggedOut, why, time.Time{}
		}
		return Unpaired, reasonNone, time.Time{}
	}
	switch stored {
	case LoggedOut, Conflict, Stopped:
		return stored, why, time.Time{}
	case Banned:
		if now.Before(row.Until) {
			return Banned, why, row.Until
		}
	case Outdated:
		// The node may have been restarted because it was updated: look soon, but not with everybody else.
		return Outdated, why, now.Add(jitter(min(p.BackoffMax, p.OutdatedRetry)))
	case Unpaired, Pairing, Connecting, Online, Backoff:
	}
	if !row.Wanted {
		return Stopped, reasonStopped, time.Time{}
	}
	return Connecting, reasonNone, time.Time{}
}

// end follows the last job, and returns when nothing of the session is left.
func (a *actor) end() {
	close(a.done)
	a.alarm.off()
	a.lockAlarm.off()
	a.saver.drain()
	<-a.tasks.close()
	close(a.gone)
	a.fleet.cfg.Metrics.SessionState(string(a.id), string(a.state), "", false)
	a.fleet.cfg.Limited.Reachout(string(a.id), false)
	a.fleet.wg.Done()
}

func (a *actor) guarded(job func()) {
	defer a.watch.contain("session", nil)
	job()
}

// begin starts what the stored state asks for. It is the first job: until then no alarm is set, which could go off at once.
func (a *actor) begin() {
	a.watchReachout()
	if a.state == LoggedOut && a.row.Device != "" {
		a.forget() // the node ended between logging out and deleting the credentials
		return
	}
	a.arm()
	a.next()
}

// post runs a job when those before it are through. It returns as soon as the job's turn has come; false if the session is over. Never
// called by a job.
func (a *actor) post(job func()) bool {
	select {
	case a.turn <- struct{}{}:
		go a.take(job)
		return true
	case <-a.done:
		return false
	}
}

// take runs the job whose turn it is.
func (a *actor) take(job func()) {
	a.guarded(job)
	if a.over {
		a.end()
		return
	}
	<-a.turn
}

// do runs fn as a job and returns its error. Returns errGone when the session is over, or the context's cause.
func (a *actor) do(ctx context.Context, fn func() error) error {
	reply := make(chan error, 1) // buffered: the job never waits for a caller that left
	select {
	case a.turn <- struct{}{}:
	case <-a.done:
		return errGone
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	go a.take(func() {
		var err error
		defer func() { reply <- err }()
		defer a.watch.contain("session", &err)
		err = fn()
	})
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// alarm has one job run later. It is owned by the jobs.
type alarm struct {
	timer *time.Timer // nil if off
	set   int         // counts: what has gone off and waits for its turn is of the past once the alarm is set anew
}

// after sets the alarm, in place of what it was set to.
func (l *alarm) after(d time.Duration, a *actor, job func()) {
	l.off()
	set := l.set
	l.timer = time.AfterFunc(max(0, d), func() {
		a.post(func() {
			if l.set == set {
				job()
			}
		})
	})
}

func (l *alarm) off() {
	l.set++
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// become moves the session to another state, or changes what is said about the one it is in. A move that the table does not
// know is refused: it is a bug, and a terminal state must not be lost to one.
func (a *actor) become(next State, why reason, until time.Time) bool {
	if next != a.state && !a.state.mayBecome(next) {
		a.fleet.cfg.Metrics.Panic("illegal_state")
		a.log.Error("illegal change of state refused", "from", string(a.state), "to", string(next), "reason", string(why))
		return false
	}
	if next != a.state {
		a.log.Info("session changed", "from", string(a.state), "to", string(next), "reason", string(why))
		a.fleet.cfg.Metrics.SessionState(string(a.id), string(a.state), string(next), next == Online)
		if a.state == Online {
			a.fleet.cfg.Metrics.Disconnected(string(a.id), string(why))
		}
		a.since = time.Now()
	}
	a.state, a.reason, a.until = next, why, until
	a.publish()
	a.save(nil)
	a.arm()
	return true
}

// publish renews the snapshot.
func (a *actor) publish() {
	words := a.reason.words()
	v := &View{
		Tenant: a.id, State: a.state, Reason: string(a.reason), Message: words.message, Action: words.action,
		Since: a.since, Until: a.until, Reachout: a.row.Reachout,
	}
	if a.state != LoggedOut && a.row.Device != "" {
		v.Device, v.LID, v.Name = a.row.Device, a.row.LID, a.name
		if jid, err := types.ParseJID(a.row.Device); err == nil {
			v.Phone = jid.User
		}
	}
	a.view.Store(v)
}

// save stores the row with the current state. saved, if not nil, receives the outcome.
func (a *actor) save(saved chan error) {
	a.row.Status = status(a.state, a.reason)
	a.row.Until = time.Time{}
	if a.state == Banned {
		a.row.Until = a.until
	}
	a.saver.put(a.life, a.row, a.state.passing(), saved)
}

// arm sets the alarm for what the state waits for; see wake.
func (a *actor) arm() {
	a.alarm.off()
	switch a.state {
	case Backoff, Banned, Outdated:
		a.wakeIn(time.Until(a.until))
	case Unpaired, LoggedOut:
		a.wakeIn(a.fleet.pace.Linger)
	case Pairing:
		if a.pair != nil {
			a.wakeIn(time.Until(a.pair.next()))
		}
	case Connecting, Online, Conflict, Stopped:
	}
}

func (a *actor) wakeIn(d time.Duration) { a.alarm.after(d, a, a.wake) }

// wake does what the alarm was set for.
func (a *actor) wake() {
	switch a.state {
	case Backoff, Banned, Outdated:
		if a.fleet.suspended.has(a.id) {
			a.become(Stopped, reasonSuspended, time.Time{})
		} else if a.become(Connecting, reasonNone, time.Time{}) {
			a.next()
		}
	case Unpaired, LoggedOut:
		if a.cur == nil && !a.forgetting {
			a.fleet.retire(a)
			a.over = true
		}
	case Pairing:
		a.turnPage(time.Now())
	case Connecting:
		if a.cur != nil && a.cur.pairing { // the end of the pairing connection was not told
			a.hangUp()
		}
	case Online:
		a.startResend()
	case Conflict, Stopped:
	}
}

// next starts what the state asks for, once the connection before it is closed.
func (a *actor) next() {
	if a.cur != nil || a.forgetting {
		return
	}
	if a.stopping || a.removed {
		a.over = true
		return
	}
	switch a.state {
	case Connecting:
		a.open(a.newConn(false))
	case Pairing:
		if a.row.Device != "" { // of a logout that was not through when the pairing began
			a.forget()
			return
		}
		a.open(a.newConn(true))
	case Unpaired, Online, Backoff, LoggedOut, Banned, Outdated, Conflict, Stopped:
	}
}

// open lets a connection be made by a child.
func (a *actor) open(c *conn) {
	a.cur = c
	a.tasks.run("connect", func() {
		defer close(c.opened)
		var err error
		defer func() {
			if err != nil {
				c.end(outcome{state: Backoff, reason: lostFault})
			}
		}()
		defer a.watch.contain("connect", &err)
		c.open()
	})
}

// loggedIn takes the news that a connection is online.
func (a *actor) loggedIn(c *conn) {
	if a.cur != c || a.closing || a.state != Connecting {
		return
	}
	a.name = c.name
	if a.row.LID == "" && c.lid.IsHidden() {
		a.row.LID = c.lid
	}
	a.loggedInAt = time.Now()
	a.online.Store(c) // first: who is told that the session is online may act
	if !a.become(Online, reasonNone, time.Time{}) {
		a.online.Store(nil)
		return
	}
	fresh := a.pair
	if fresh != nil {
		a.pair = nil
		a.showPairing(fresh, PairingView{Phase: PairingSucceeded})
	}
	a.startResend()
	c.renewPresence()
	for _, name := range a.owed.due() {
		c.fetchState(string(name))
	}
	for _, job := range a.leftover.take() {
		c.fetchHistory(job.id, job.note)
	}
	c.work.run("housekeeping", func() {
		if fresh == nil { // else somebody is looking, and what is stored may be of another time
			a.fleet.rush.wait(c.ctx)
		}
		if known, _ := c.blocklistCurrent(); !known {
			c.followBlocklist()
		}
		c.readGroups()
	})
}

// ended takes the news that a connection is of no use any more.
func (a *actor) ended(c *conn) {
	if a.cur != c || a.closing { // what it told is looked at again when it is closed
		a.overruled(c)
		return
	}
	switch {
	case !c.pairing:
		a.settle(c.verdict())
		a.hangUp()
	case a.state == Pairing:
		why := c.verdict().reason
		if why == pairConnect && a.pair != nil && len(a.pair.codes) == 1 {
			why = pairTimeout // WhatsApp hangs up when the last code has been shown
		}
		a.failPairing(why)
	default: // the phone has linked the device
		a.hangUp()
	}
}

// overruled lets a terminal end of the last connection replace what was told first: WhatsApp closes the socket behind what it
// says, and whatsmeow tells of both at once. That the device was unlinked stands above everything.
func (a *actor) overruled(c *conn) {
	o := c.verdict()
	if c.pairing || c.gen != a.gen || !o.state.ends() || o.state == a.state {
		return
	}
	if a.state != Backoff && (o.state != LoggedOut || !a.state.mayBecome(LoggedOut)) {
		return
	}
	a.settle(o)
	if a.cur == nil && a.state == LoggedOut {
		a.forget()
	}
}

// settle goes to the state that the end of a connection leads to.
func (a *actor) settle(o outcome) {
	a.online.Store(nil)
	if o.state == Backoff {
		if !a.loggedInAt.IsZero() && time.Since(a.loggedInAt) >= a.fleet.pace.Stable {
			a.failures = 0
		}
		a.failures++
		o.until = time.Now().Add(a.fleet.pace.backoff(a.failures))
	}
	a.loggedInAt = time.Time{}
	ends := o.state.ends()
	if ends {
		a.failures = 0
	}
	a.become(o.state, o.reason, o.until)
	if over := a.pair; ends && over != nil {
		a.pair = nil
		if o.state == LoggedOut { // and can be paired again
			a.releaseLinks(over.links)
		}
		a.showPairing(over, failed(o.reason))
	}
}

// hangUp closes the connection in a child. next goes on when it is closed.
func (a *actor) hangUp() {
	a.online.Store(nil)
	c := a.cur
	if c == nil || a.closing {
		return
	}
	a.closing = true
	a.tasks.run("disconnect", func() {
		parted := sync.OnceFunc(func() { a.post(func() { a.closed(c) }) })
		defer parted()
		c.close(parted)
	})
}

// closed takes the news that a connection is closed, or cannot act any more.
func (a *actor) closed(c *conn) {
	a.overruled(c)
	a.cur, a.closing = nil, false
	if (a.state == LoggedOut || a.state == Unpaired) && a.row.Device != "" {
		a.forget()
		return
	}
	a.next()
}

// forget deletes the device's credentials, then clears the row. In this order: a node that ends in between finds the row and
// goes on.
func (a *actor) forget() {
	if a.forgetting {
		return
	}
	jid, err := types.ParseJID(a.row.Device)
	if err != nil {
		a.log.Error("device of the session is not a JID", "device", redact(a.row.Device))
		return
	}
	a.forgetting = true
	a.leftover.take() // it was the device's
	a.groupsRead.Store(0)
	a.presence.reset()
	a.owed.forget()
	a.tasks.run("forget", func() {
		var err error
		defer func() { a.post(func() { a.forgotten(err) }) }()
		defer a.watch.contain("forget", &err)
		err = retryStore(a.life, a.fleet.pace.StoreTimeout, func(ctx context.Context) error {
			return a.fleet.cfg.Devices.Delete(ctx, a.id, jid)
		})
	})
}

func (a *actor) forgotten(err error) {
	a.forgetting = false
	if err != nil {
		a.log.Error("device could not be deleted", "error", err) // the row keeps its name: the next start tries again
		if a.state == Pairing {
			a.failPairing(pairConnect)
		}
	} else {
		a.row.Device, a.row.LID, a.row.PairedAt, a.row.Wanted = "", "", time.Time{}, false
		a.row.Reachout, a.strikes = tenant.ReachoutLock{}, 0 // another account may be linked next
		a.watchReachout()
		a.name = ""
		a.publish()
		a.save(nil)
	}
	a.arm()
	a.next()
}

// stop brings the session to rest because the node stops. Its state stays: the next start goes on from it.
func (a *actor) stop() {
	a.stopping = true
	if over := a.pair; over != nil {
		a.pair = nil
		a.showPairing(over, failed(pairStopped))
	}
	if a.cur != nil && !a.closing {
		a.cur.draining.Store(true)
		a.hangUp()
	}
	a.next()
}
