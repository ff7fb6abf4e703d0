package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/wafleet/wafleet/session/avatar"
	"github.com/wafleet/wafleet/session/spool"
	"github.com/wafleet/wafleet/tenant"
)

// maxHistoryWorkers bounds the histories that are taken over at once, over the whole fleet.
const maxHistoryWorkers = 4

// errGone says that an actor ended while somebody was about to ask it: the next one answers.
var errGone = errors.New("session has come to rest")

// Fleet runs the sessions of all tenants. Its methods are safe for concurrent use; actions are refused with ErrStopping
// unless Run runs.
type Fleet struct {
	cfg       Config
	pace      *Pace
	watch     watch
	pacer     *pacer
	rush      rush
	histories *semaphore.Weighted
	live      live
	spool     *spool.Spool
	// groupReaders bounds the connections that read their groups.
	groupReaders *semaphore.Weighted
	avatars      *avatar.Maker
	governor     *governor
	twins        twins
	suspended    suspensions

	// life ends when a drain has run out of time.
	life    context.Context //nolint:containedctx // made by New and ended by Run: sessions outlive the calls that made them
	kill    context.CancelCauseFunc
	stop    chan struct{} // closed when the drain begins
	started chan struct{} // closed when the start-up list was read

	mu     sync.RWMutex
	phase  phase
	actors map[tenant.ID]*actor
	wg     sync.WaitGroup // one per actor
}

type phase int8

const (
	phaseNew     phase = iota
	phaseLoading       // who is suspended is being read
	phaseRunning
	phaseStopping
)

// New makes a fleet. Nothing happens until Run. Returns an error that names all that is missing in cfg.
func New(cfg Config) (*Fleet, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	files, err := spool.New(cfg.Spool)
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	pace := withDefaults(cfg.Pace)
	f := &Fleet{
		cfg: cfg, pace: &pace, watch: watch{log: cfg.Log, metrics: cfg.Metrics},
		pacer:        newPacer(&pace, cfg.Metrics.BreakerOpen),
		rush:         rush{patience: pace.RushPatience},
		histories:    semaphore.NewWeighted(maxHistoryWorkers),
		spool:        files,
		groupReaders: semaphore.NewWeighted(maxGroupReaders),
		avatars:      avatar.New(), governor: newGovernor(cfg.Store, cfg.Limits, pace.SendPatience),
		stop: make(chan struct{}), started: make(chan struct{}),
		actors: make(map[tenant.ID]*actor),
	}
	f.life, f.kill = context.WithCancelCause(context.Background())
	return f, nil
}

// Run brings the linked sessions online at the fleet's pace. It blocks until ctx is cancelled; then it lets running sends
// finish within Pace.DrainTimeout, disconnects all sessions, and returns when nothing runs any more. It runs once.
func (f *Fleet) Run(ctx context.Context) error {
	f.mu.Lock()
	if f.phase != phaseNew {
		f.mu.Unlock()
		return errors.New("fleet has run already")
	}
	f.phase = phaseLoading
	f.mu.Unlock()

	err := f.loadSuspended(ctx)
	if err == nil {
		f.mu.Lock()
		f.phase = phaseRunning
		f.mu.Unlock()
		err = f.load(ctx)
	}
	if err == nil {
		close(f.started)
		<-ctx.Done()
	} else if ctx.Err() != nil {
		err = nil // stopped while starting
	}
	f.drain()
	return err
}

// Started is closed when the list of linked sessions was read: from then on their states are known.
func (f *Fleet) Started() <-chan struct{} { return f.started }

func (f *Fleet) drain() {
	f.mu.Lock()
	f.phase = phaseStopping // no actor comes from now on
	actors := slices.Collect(maps.Values(f.actors))
	f.mu.Unlock()
	close(f.stop)
	timer := time.AfterFunc(f.pace.DrainTimeout, func() { f.kill(errors.New("the drain ran out of time")) })
	defer timer.Stop()
	for _, a := range actors {
		go a.post(a.stop) // one that hangs holds up none of the others; over at the latest when the session is
	}
	f.wg.Wait()
	f.kill(ErrStopping)
}

// load makes an actor for each linked session, waiting for the store if it must.
func (f *Fleet) load(ctx context.Context) error {
	err := retryStore(ctx, time.Hour, func(ctx context.Context) error { // the list may be long: its queries have deadlines
		for linked, err := range f.cfg.Store.Linked(ctx) {
			if err != nil {
				return err
			}
			f.adopt(linked.ID, linked.Session, linked.Pending)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list the linked sessions: %w", err)
	}
	return nil
}

// adopt returns the tenant's actor, making it from its row if there is none; pending says that it may have messages to send again. Nil if
// the fleet does not run.
func (f *Fleet) adopt(id tenant.ID, row tenant.Session, pending bool) *actor {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a := f.actors[id]; a != nil {
		return a
	}
	if f.phase != phaseRunning {
		return nil
	}
	a := newActor(f, id, row)
	if pending {
		a.outbox.given.Add(1)
	}
	f.actors[id] = a
	f.wg.Add(1) // until a.end
	a.post(a.begin)
	return a
}

// retire forgets an actor that ends.
func (f *Fleet) retire(a *actor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.actors[a.id] == a {
		delete(f.actors, a.id)
	}
}

// running returns the tenant's actor, or nil.
func (f *Fleet) running(id tenant.ID) *actor {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.actors[id]
}

// summon returns the tenant's actor, making it if there is none. Returns tenant.ErrNotFound, ErrStopping.
func (f *Fleet) summon(ctx context.Context, id tenant.ID) (*actor, error) {
	if a := f.running(id); a != nil {
		return a, nil
	}
	row, err := f.cfg.Store.Tenant(id).Session(ctx)
	if err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	if a := f.adopt(id, row, true); a != nil {
		return a, nil
	}
	return nil, ErrStopping
}

// ask runs fn on the tenant's loop.
func (f *Fleet) ask(ctx context.Context, id tenant.ID, fn func(*actor) error) (*actor, error) {
	for {
		a, err := f.summon(ctx, id)
		if err != nil {
			return nil, err
		}
		err = a.do(ctx, func() error { return fn(a) })
		if !errors.Is(err, errGone) {
			return a, err
		}
		if f.stopping() {
			return nil, ErrStopping
		}
		f.retire(a)
	}
}

func (f *Fleet) stopping() bool {
	select {
	case <-f.stop:
		return true
	default:
		return false
	}
}

// View returns a snapshot of the tenant's session. Returns [tenant.ErrNotFound].
func (f *Fleet) View(ctx context.Context, id tenant.ID) (View, error) {
	if a := f.running(id); a != nil {
		return *a.view.Load(), nil
	}
	row, err := f.cfg.Store.Tenant(id).Session(ctx)
	if err != nil {
		return View{}, fmt.Errorf("read session: %w", err)
	}
	return f.stored(id, &row), nil
}

// stored is what a row says about a session that nobody runs.
func (f *Fleet) stored(id tenant.ID, row *tenant.Session) View {
	a := actor{id: id, row: *row, since: time.Now()}
	a.state, a.reason, a.until = f.initial(id, row, a.since)
	a.publish()
	return *a.view.Load()
}

// Connect brings the tenant's session online, also out of a state that does not end by itself. It returns at once; the View
// tells how far it has come. Returns ErrNotPaired, ErrSuspended, ErrExported, ErrStopping, [tenant.ErrNotFound].
func (f *Fleet) Connect(ctx context.Context, id tenant.ID) (View, error) {
	return f.act(ctx, id, (*actor).connect)
}

// Disconnect takes the tenant's session offline, until Connect; it stays so after a restart. Returns ErrNotPaired,
// ErrStopping, [tenant.ErrNotFound].
func (f *Fleet) Disconnect(ctx context.Context, id tenant.ID) (View, error) {
	return f.act(ctx, id, (*actor).disconnect)
}

func (f *Fleet) act(ctx context.Context, id tenant.ID, fn func(*actor) error) (View, error) {
	a, err := f.ask(ctx, id, fn)
	if err != nil {
		return View{}, err
	}
	return *a.view.Load(), nil
}

func (a *actor) connect() error {
	switch {
	case a.reason == reasonExported: // above all: the device runs elsewhere, whatever else holds it back here
		return ErrExported
	case a.fleet.suspended.has(a.id):
		return ErrSuspended
	}
	switch a.state {
	case Unpaired, Pairing, LoggedOut:
		return ErrNotPaired
	case Connecting, Online:
		return nil
	case Backoff, Banned, Outdated, Conflict, Stopped:
	}
	a.row.Wanted = true
	a.failures = 0
	a.become(Connecting, reasonNone, time.Time{})
	a.next()
	return nil
}

func (a *actor) disconnect() error {
	switch a.state {
	case Unpaired, Pairing, LoggedOut:
		return ErrNotPaired
	case Stopped:
		return nil
	case Connecting, Online, Backoff, Banned, Outdated, Conflict:
	}
	a.row.Wanted = false
	a.become(Stopped, reasonStopped, time.Time{})
	if over := a.pair; over != nil {
		a.pair = nil
		a.showPairing(over, failed(pairCancelled))
	}
	a.hangUp()
	return nil
}

// Logout unlinks the tenant's device at WhatsApp and deletes its credentials. When WhatsApp cannot be told, the device is
// deleted here alone; the View says so. Returns ErrNotPaired, ErrStopping, [tenant.ErrNotFound].
func (f *Fleet) Logout(ctx context.Context, id tenant.ID) (View, error) {
	told := false
	if a := f.running(id); a != nil {
		if c := a.online.Load(); c != nil {
			told = c.logout(ctx)
		}
	}
	return f.act(ctx, id, func(a *actor) error { return a.logOut(told) }) //nolint:contextcheck // the session outlives the request
}

// logOut goes to LoggedOut. told says that WhatsApp knows.
func (a *actor) logOut(told bool) error {
	why := outLocally
	if told {
		why = outByOperator
	}
	switch a.state {
	case Unpaired, Pairing:
		return ErrNotPaired
	case LoggedOut:
		if !told {
			return ErrNotPaired
		}
	case Connecting, Online, Backoff, Banned, Outdated, Conflict, Stopped:
	}
	a.settle(outcome{state: LoggedOut, reason: why})
	switch {
	case a.cur != nil:
		a.hangUp()
	case a.row.Device != "":
		a.forget()
	}
	return nil
}

// Remove takes a tenant that is about to be deleted out of the fleet: its session is logged out, its credentials and its
// series are deleted. It says what became of the device. Returns ErrStopping, or the context's cause if that took too long: then the
// tenant stays, logged out.
func (f *Fleet) Remove(ctx context.Context, id tenant.ID) (tenant.DeviceFate, error) {
	fate := tenant.DeviceNone
	switch out, err := f.Logout(ctx, id); {
	case err == nil && out.Reason == string(outByOperator):
		fate = tenant.DeviceUnlinked
	case err == nil:
		fate = tenant.DeviceForgotten
	case !errors.Is(err, ErrNotPaired) && !errors.Is(err, tenant.ErrNotFound):
		return fate, err
	}
	if a := f.running(id); a != nil {
		err := a.do(ctx, func() error { //nolint:contextcheck // the session outlives the request
			a.removed = true
			if a.pair != nil {
				a.failPairing(pairCancelled)
			}
			a.next()
			return nil
		})
		if err == nil {
			err = await(ctx, a.done)
		}
		if err != nil && !errors.Is(err, errGone) && !a.remain() { //nolint:contextcheck // the request's time is over
			return fate, err
		}
		f.retire(a)
	}
	f.suspended.remove(id)
	f.cfg.Metrics.Forget(string(id))
	f.governor.forget(id)
	return fate, nil
}

// remain takes a removal back that took too long, so that the tenant can be paired again. It returns true if the session has come to
// rest all the same.
func (a *actor) remain() (gone bool) {
	err := a.do(a.life, func() error {
		a.removed = false
		a.arm()
		a.next()
		return nil
	})
	return errors.Is(err, errGone)
}

// StartPairing pairs by QR code. It returns when the first code can be shown, or when the pairing has failed; a pairing by QR
// that is under way is joined. Returns ErrAlreadyPaired, ErrPairingActive, ErrStopping, [tenant.ErrNotFound].
func (f *Fleet) StartPairing(ctx context.Context, id tenant.ID) (PairingView, error) {
	return f.startPairing(ctx, id, "", nil)
}

// StartPhonePairing pairs by a code that is typed into the phone of that number (digits, international form). It returns with
// the code, or when the pairing has failed. Returns ErrInvalidPhone and what StartPairing does.
func (f *Fleet) StartPhonePairing(ctx context.Context, id tenant.ID, phone string) (PairingView, error) {
	if !phoneNumber.MatchString(phone) {
		return PairingView{}, ErrInvalidPhone
	}
	return f.startPairing(ctx, id, phone, nil)
}

func (f *Fleet) startPairing(ctx context.Context, id tenant.ID, phone string, by *LinkPairing) (PairingView, error) {
	a, err := f.ask(ctx, id, func(a *actor) error { return a.beginPairing(phone, by) }) //nolint:contextcheck // the pairing outlives the request
	if err != nil {
		return PairingView{}, err
	}
	view, err := a.board.await(ctx, a.done, func(v *PairingView) bool { return v.Phase != PairingStarting })
	if err == nil && view.Phase == PairingFailed && view.Reason == string(pairPhone) {
		err = ErrInvalidPhone
	}
	return view, err
}

// Pairing returns the current pairing, or the last one while it is remembered. Returns ErrNoPairing.
func (f *Fleet) Pairing(_ context.Context, id tenant.ID) (PairingView, error) {
	if a := f.running(id); a != nil {
		return a.board.read()
	}
	return PairingView{}, ErrNoPairing
}

// PairingChanged waits until the pairing's Version is above version. Returns ErrNoPairing, ErrStopping, or the context's
// cause.
func (f *Fleet) PairingChanged(ctx context.Context, id tenant.ID, version int) (PairingView, error) {
	a := f.running(id)
	if a == nil {
		return PairingView{}, ErrNoPairing
	}
	return a.board.await(ctx, a.done, func(v *PairingView) bool { return v.Version > version })
}

// CancelPairing ends a pairing that the phone has not accepted yet. Returns ErrNoPairing.
func (f *Fleet) CancelPairing(ctx context.Context, id tenant.ID) error {
	a := f.running(id)
	if a == nil {
		return ErrNoPairing
	}
	err := a.do(ctx, a.cancelPairing)
	if errors.Is(err, errGone) {
		return ErrNoPairing
	}
	return err
}
