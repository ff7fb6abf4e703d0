package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/appstate"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

// The account's settings (archived, pinned, muted and read chats, names of contacts) lie in collections, which WhatsApp numbers by
// version. A collection is fetched from the version that is stored; so the version is stored after what came with it, and
// whatever ends the node, the connection or the database in between, the same is fetched again.

// ErrNoStateKey says that the phone has not shared the keys to the account's settings yet, or not all of them. Nothing was done.
var ErrNoStateKey = fmt.Errorf("the phone has not shared the keys to the account's settings: %w", tenant.ErrUnavailable)

// errStateConflict says that a collection has changed since it was fetched.
var errStateConflict = errors.New("collection has changed at WhatsApp")

// errStateRefused says that WhatsApp does not deliver a collection.
var errStateRefused = errors.New("WhatsApp refused the collection")

// owed is the collections that must be fetched. It outlives connections: WhatsApp tells of a change but once.
type owed struct {
	mu    sync.Mutex
	n     uint64
	names map[appstate.WAPatchName]uint64
	// begun says that all collections were asked for since the node started, which may have ended in the middle of one.
	begun bool
}

// add notes that a collection must be fetched.
func (o *owed) add(name appstate.WAPatchName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.names == nil {
		o.names = make(map[appstate.WAPatchName]uint64)
	}
	o.n++
	o.names[name] = o.n
}

// now is the number of what is owed of a collection, which done takes.
func (o *owed) now(name appstate.WAPatchName) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.names[name]
}

// done notes that a collection was fetched, unless it was asked for again meanwhile.
func (o *owed) done(name appstate.WAPatchName, n uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.names[name] == n {
		delete(o.names, name)
	}
}

// due is what a new connection has to fetch: all, for the first of the node's.
func (o *owed) due() []appstate.WAPatchName {
	o.mu.Lock()
	defer o.mu.Unlock()
	var due []appstate.WAPatchName
	for _, name := range appstate.AllPatchNames {
		if _, ok := o.names[name]; ok || !o.begun {
			due = append(due, name)
		}
	}
	o.begun = true
	return due
}

// forget is for when the device goes.
func (o *owed) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.names, o.begun = nil, false
}

// stateAccess is a connection's way to the app state.
type stateAccess struct {
	store store.AppStateStore // below the seam; see stateTxn
	turn  chan struct{}       // buffered 1: held while a collection is fetched or sent
	run   *syncRun            // the synchronisation under way; guarded by the connection's mutex
	fault *atomic.Int64       // code of the error that the last answer about a collection was, or 0
}

func newStateAccess() stateAccess {
	return stateAccess{turn: make(chan struct{}, 1), fault: new(atomic.Int64)}
}

// overhear notes an answer that refuses a collection. whatsmeow takes it for one that has nothing new, as after a version so old that
// WhatsApp does not know any more what came after it.
func (s *stateAccess) overhear(iq *waBinary.Node) {
	collection, ok := iq.GetOptionalChildByTag("sync", "collection")
	if !ok || collection.AttrGetter().OptionalString("type") != "error" {
		return
	}
	fault, _ := collection.GetOptionalChildByTag("error")
	s.fault.Store(int64(max(1, fault.AttrGetter().OptionalInt("code"))))
}

// withState runs fn while no other collection of the connection's is fetched or sent.
func (c *conn) withState(ctx context.Context, fn func() error) error {
	select {
	case c.state.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.state.turn }()
	return fn()
}

// readState fetches a collection that is owed. What does not work out stays owed to the next connection.
func (c *conn) readState(name appstate.WAPatchName) {
	const tries = 3
	var err error
	for n := range tries {
		full := stale(err)
		err = c.withState(c.ctx, func() error { return c.syncState(c.ctx, name, full, nil) })
		if err == nil || c.ctx.Err() != nil || errors.Is(err, ErrPanicked) || errors.Is(err, ErrNoStateKey) {
			break
		}
		timer := time.NewTimer(jitter(time.Duration(n+1) * 4 * time.Second))
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
		}
	}
	awaited := errors.Is(err, ErrNoStateKey) && !errors.Is(err, appstate.ErrKeyNotFound) // just linked
	if err != nil && c.ctx.Err() == nil && !awaited {
		c.log.Warn("app state could not be fetched", "collection", string(name), "error", redact(err.Error()))
	}
}

// stale says that what is stored of a collection is of no use any more: it must be fetched in whole.
func stale(err error) bool {
	return errors.Is(err, appstate.ErrMismatchingLTHash) || errors.Is(err, errStateRefused)
}

// syncState fetches what is new in a collection, or all of it, and stores it. told, if not nil, hears how far it has come. The
// caller has the turn.
func (c *conn) syncState(ctx context.Context, name appstate.WAPatchName, full bool, told func(done, total int)) (err error) {
	defer c.actor.watch.contain("app_state", &err)
	mark := c.actor.owed.now(name)
	key, err := c.dev.AppStateKeys.GetLatestAppStateSyncKeyID(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read app-state key: %w", err)
	case key == nil:
		return ErrNoStateKey
	}
	txn := &stateTxn{store: c.state.store, name: string(name)}
	fetch, cancel := context.WithTimeout(context.WithValue(ctx, ownFetch{}, txn), stateTimeout)
	defer cancel()
	inner := c.cli.DangerousInternals() //nolint:staticcheck // what is not dangerous hands each event on without asking what became of it
	c.state.fault.Store(0)
	evts, err := inner.FetchAppState(fetch, name, full, false)
	if err != nil {
		return fmt.Errorf("fetch: %w", keyFault(err)) // whatsmeow has asked the phone for the key
	}
	if code := c.state.fault.Load(); code != 0 {
		return fmt.Errorf("fetch: %w with code %d", errStateRefused, code)
	}
	if err = c.storeState(ctx, evts, told); err != nil {
		return err
	}
	if err = c.atOnce(ctx, txn.flush); err != nil {
		return fmt.Errorf("store version: %w", err)
	}
	c.actor.owed.done(name, mark)
	return nil
}

// keyFault marks the error of a key that is not there.
func keyFault(err error) error {
	if errors.Is(err, appstate.ErrKeyNotFound) {
		return fmt.Errorf("%w: %w", ErrNoStateKey, err)
	}
	return err
}

// storeState stores what the events of a collection say.
func (c *conn) storeState(ctx context.Context, evts []any, told func(done, total int)) error {
	if told == nil {
		told = func(int, int) {}
	}
	// One chat may be named twice, by the number and by the hidden id: then the later word counts. A collection in whole comes in
	// no order.
	slices.SortStableFunc(evts, func(a, b any) int { return cmp.Compare(stateTime(a), stateTime(b)) })
	var changes []tenant.Change
	for _, evt := range evts {
		if named, ok := evt.(*events.PushNameSetting); ok {
			c.actor.post(func() { c.actor.rename(c, named.Action.GetName()) })
			continue
		}
		of, _ := about(evt)
		changes = append(changes, of...)
	}
	total := len(changes)
	told(0, total)
	for batch := range slices.Chunk(changes, maxHistoryChanges) {
		if !c.commit(ctx, batch, nil) {
			return fmt.Errorf("store: %w", cmp.Or(context.Cause(ctx), tenant.ErrUnavailable))
		}
		total -= len(batch)
		told(len(changes)-total, len(changes))
	}
	return nil
}

// stateTime is when a setting was made, in ms; 0 for events that are none.
func stateTime(evt any) int64 {
	var at time.Time
	switch evt := evt.(type) {
	case *events.Archive:
		at = evt.Timestamp
	case *events.Pin:
		at = evt.Timestamp
	case *events.Mute:
		at = evt.Timestamp
	case *events.MarkChatAsRead:
		at = evt.Timestamp
	case *events.Contact:
		at = evt.Timestamp
	case *events.DeleteChat:
		at = evt.Timestamp
	case *events.ClearChat:
		at = evt.Timestamp
	case *events.PushNameSetting:
		at = evt.Timestamp
	}
	if at.IsZero() {
		return 0
	}
	return at.UnixMilli()
}

// atOnce runs fn so that it stores all or nothing, where the device store can do that.
func (c *conn) atOnce(ctx context.Context, fn func(context.Context) error) error {
	if t, ok := c.stop.(Together); ok {
		return t.Together(ctx, fn)
	}
	return fn(ctx)
}

// sendState changes a collection at WhatsApp. It is fetched first, since WhatsApp takes a change of the newest version only; if
// another device is faster, it is fetched again. stored is called when WhatsApp has taken the change, before anything newer is
// fetched. Returns errStateConflict if others are faster every time.
func (c *conn) sendState(ctx context.Context, patch appstate.PatchInfo, stored func() error) error {
	const tries = 4
	return c.withState(ctx, func() (err error) {
		for n := range tries {
			full := n == tries-2 || stale(err)
			if err = c.syncState(ctx, patch.Type, full, nil); stale(err) {
				continue
			}
			if err == nil {
				err = c.pushState(ctx, patch)
			}
			if err == nil {
				return stored()
			}
			if !errors.Is(err, errStateConflict) {
				return err
			}
		}
		return err
	})
}

// pushState sends one change over the version that is stored.
func (c *conn) pushState(ctx context.Context, patch appstate.PatchInfo) (err error) {
	defer c.actor.watch.contain("app_state", &err)
	ctx = context.WithValue(ctx, ownFetch{}, &stateTxn{store: c.state.store, name: string(patch.Type)})
	key, err := c.dev.AppStateKeys.GetLatestAppStateSyncKeyID(ctx)
	if err != nil {
		return fmt.Errorf("read app-state key: %w", err)
	}
	version, hash, err := c.dev.AppState.GetAppStateVersion(ctx, string(patch.Type))
	if err != nil {
		return fmt.Errorf("read version: %w", err)
	}
	coder := appstate.NewProcessor(c.dev, clientLog{log: c.log})
	raw, err := coder.EncodePatch(ctx, key, appstate.HashState{Version: version, Hash: hash}, patch)
	if err != nil {
		return fmt.Errorf("encode: %w", keyFault(err))
	}
	answer, err := c.cli.DangerousInternals().SendIQ(ctx, whatsmeow.DangerousInfoQuery{ //nolint:staticcheck // the only way to send a query
		Namespace: "w:sync:app:state", Type: "set", To: types.ServerJID,
		Content: []waBinary.Node{{Tag: "sync", Content: []waBinary.Node{{
			Tag: "collection",
			Attrs: waBinary.Attrs{
				"name": string(patch.Type), "version": strconv.FormatUint(version, 10), "return_snapshot": "false",
			},
			Content: []waBinary.Node{{Tag: "patch", Content: raw}},
		}}}},
	})
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	// WhatsApp does not tell the device of what the device did; and the version must not fall behind.
	defer c.fetchState(string(patch.Type))
	return stateFault(answer)
}

// stateFault is what WhatsApp has against a change. Returns nil, errStateConflict, *RefusedError.
func stateFault(answer *waBinary.Node) error {
	collection, ok := answer.GetOptionalChildByTag("sync", "collection")
	if !ok {
		return &whatsmeow.ElementMissingError{Tag: "collection", In: "app state send response"}
	}
	if collection.AttrGetter().OptionalString("type") != "error" {
		return nil
	}
	fault, _ := collection.GetOptionalChildByTag("error")
	code := fault.AttrGetter().OptionalInt("code")
	if code == 409 {
		return errStateConflict
	}
	return &RefusedError{Code: code}
}

// stateSeam lets nobody at the app state but fetches of ours. whatsmeow's own decode what another companion of the account wrote
// in goroutines that nothing protects, where a hostile one would end the process, and lose what cannot be stored. They are
// refused, and we fetch instead.
type stateSeam struct {
	store.AppStateStore

	ask func(name string)
}

// ownFetch is the context's key of the [stateTxn] of a fetch of ours.
type ownFetch struct{}

// errAutomatic is what whatsmeow's own fetches get.
var errAutomatic = fmt.Errorf("app state is fetched by the session: %w", context.Canceled)

func stateTxnOf(ctx context.Context) (*stateTxn, error) {
	if t, ok := ctx.Value(ownFetch{}).(*stateTxn); ok {
		return t, nil
	}
	return nil, errAutomatic
}

// GetAppStateVersion is the first thing that a fetch asks for.
func (s *stateSeam) GetAppStateVersion(ctx context.Context, name string) (version uint64, hash [128]byte, err error) {
	t, err := stateTxnOf(ctx)
	if err != nil {
		s.ask(name)
		return 0, hash, err
	}
	if t.reset || t.put {
		return t.version, t.hash, nil
	}
	return s.AppStateStore.GetAppStateVersion(ctx, name)
}

// PutAppStateVersion keeps the version until the fetch is stored.
func (s *stateSeam) PutAppStateVersion(ctx context.Context, _ string, version uint64, hash [128]byte) error {
	t, err := stateTxnOf(ctx)
	if err == nil {
		t.version, t.hash, t.put = version, hash, true
	}
	return err
}

// DeleteAppStateVersion begins a full fetch.
func (s *stateSeam) DeleteAppStateVersion(ctx context.Context, _ string) error {
	t, err := stateTxnOf(ctx)
	if err == nil {
		*t = stateTxn{store: t.store, name: t.name, reset: true}
	}
	return err
}

// PutAppStateMutationMACs keeps the MACs until the fetch is stored.
func (s *stateSeam) PutAppStateMutationMACs(ctx context.Context, _ string, _ uint64, mutations []store.AppStateMutationMAC) error {
	t, err := stateTxnOf(ctx)
	if err == nil {
		for _, m := range mutations {
			t.set(m.IndexMAC, m.ValueMAC)
		}
	}
	return err
}

// DeleteAppStateMutationMACs likewise.
func (s *stateSeam) DeleteAppStateMutationMACs(ctx context.Context, _ string, indexMACs [][]byte) error {
	t, err := stateTxnOf(ctx)
	if err == nil {
		for _, index := range indexMACs {
			t.set(index, nil)
		}
	}
	return err
}

// GetAppStateMutationMAC sees what the fetch has brought.
func (s *stateSeam) GetAppStateMutationMAC(ctx context.Context, name string, indexMAC []byte) ([]byte, error) {
	t, err := stateTxnOf(ctx)
	if err != nil {
		return nil, err
	}
	if mac, ok := t.macs[string(indexMAC)]; ok || t.reset {
		return mac, nil
	}
	return s.AppStateStore.GetAppStateMutationMAC(ctx, name, indexMAC)
}

// stateTxn is what one fetch of a collection changes in the device store. It is written after what the fetch brought is stored.
type stateTxn struct {
	store   store.AppStateStore
	name    string
	reset   bool // all that the store has is void
	put     bool // version and hash are set
	version uint64
	hash    [128]byte
	macs    map[string][]byte // by index; nil: gone
}

func (t *stateTxn) set(index, value []byte) {
	if t.macs == nil {
		t.macs = make(map[string][]byte)
	}
	t.macs[string(index)] = slices.Clone(value)
}

// maxMACs bounds the MACs that are written at once.
const maxMACs = 500

func (t *stateTxn) flush(ctx context.Context) error {
	if t.reset {
		if err := t.store.DeleteAppStateVersion(ctx, t.name); err != nil {
			return err
		}
	}
	if !t.put {
		return nil
	}
	if err := t.store.PutAppStateVersion(ctx, t.name, t.version, t.hash); err != nil {
		return err
	}
	var gone [][]byte
	var there []store.AppStateMutationMAC
	for index, value := range t.macs {
		if !t.reset {
			gone = append(gone, []byte(index)) // those of before, too: the store would keep them beside the new ones
		}
		if value != nil {
			there = append(there, store.AppStateMutationMAC{IndexMAC: []byte(index), ValueMAC: value})
		}
	}
	for part := range slices.Chunk(gone, maxMACs) {
		if err := t.store.DeleteAppStateMutationMACs(ctx, t.name, part); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(there, maxMACs) {
		if err := t.store.PutAppStateMutationMACs(ctx, t.name, t.version, part); err != nil {
			return err
		}
	}
	return nil
}
