package session

import (
	"context"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/wafleet/wafleet/tenant"
)

// The limits that an action of the session may meet, as [LimitError] names them.
const (
	LimitSends           = "sends"
	LimitConcurrentSends = "concurrentSends"
	LimitColdChats       = "coldChats"
	// LimitReachout is WhatsApp's own: the account may write only to those who have written to it.
	LimitReachout      = "reachout"
	LimitNumberChecks  = "numberChecks"
	LimitUploadBytes   = "uploadBytes"
	LimitDownloadBytes = "downloadBytes"
	LimitStorage       = "storage"
)

const (
	// maxLedgers bounds the tenants whose use is remembered. Paces of one that is forgotten start anew; budgets are read again.
	maxLedgers = 50_000
	// storedFor is how long what is kept of a tenant is known without looking again.
	storedFor = time.Second
	// storageRetry is when to try again to send although too much is kept.
	storageRetry = 10 * time.Minute
	// concurrentRetry is when to try again if too much is under way.
	concurrentRetry = time.Second
)

// LimitError says that a limit of the tenant's is used up. Limit is its name.
type LimitError struct {
	Limit string
	After time.Duration // when to come again
}

// Error is for logs.
func (e *LimitError) Error() string { return "limit is used up: " + e.Limit }

// governor holds tenants to the limits of what they do to WhatsApp: what may cost them their number, and what they cost others. It
// decides from memory: a refusal costs no query, but for the first of a day. What counts over a day is written in the commit of the
// message that took it (tenant.Spend); memory adds what is under way. The node is the database's only one, so that both together are
// the whole.
type governor struct {
	limits   *tenant.LimitBook
	store    tenant.Store
	patience time.Duration // a send waits so long for its turn before it is refused
	byID     *lru.Cache[tenant.ID, *ledger]
}

func newGovernor(store tenant.Store, limits *tenant.LimitBook, patience time.Duration) *governor {
	byID, _ := lru.New[tenant.ID, *ledger](maxLedgers) // fails for sizes below 1 only
	return &governor{limits: limits, store: store, patience: patience, byID: byID}
}

// ledger is what one tenant has taken. It outlives sessions: unlinking must not renew anything.
type ledger struct {
	mu            sync.Mutex
	sends, checks tenant.Bucket
	sending       int

	// Of the day: what is stored, and what is under way.
	day      tenant.Day
	loaded   bool
	cold     map[tenant.ChatID]int // the passes that hold a chat; counted for a chat that is stored
	up, down int64

	stored   int64
	storedAt time.Time
}

// counted marks a chat that is stored as taken: it stays so, whatever becomes of passes.
const counted = 1 << 30

func (g *governor) ledger(id tenant.ID) *ledger {
	if l, ok := g.byID.Get(id); ok {
		return l
	}
	fresh := &ledger{}
	if l, known, _ := g.byID.PeekOrAdd(id, fresh); known {
		return l
	}
	return fresh
}

// forget drops a tenant that goes.
func (g *governor) forget(id tenant.ID) { g.byID.Remove(id) }

// intent is a message that somebody wants to send.
type intent struct {
	id    tenant.ID
	chat  tenant.ChatID
	cold  bool // the other side never wrote
	bytes int64
	lock  tenant.ReachoutLock
	// revision says that it changes a message that is there, and takes next to no room.
	revision bool
}

// pass lets one message through. It is held by the call and by what goes on when the caller has left; the last to leave gives back
// what the message has not taken. A nil pass is that of a message which nobody governs.
type pass struct {
	ledger *ledger
	intent intent
	day    tenant.Day
	holds  bool // the chat, or bytes, in the ledger: there are limits for them

	// Guarded by the ledger.
	users int
	kept  bool // the message is stored, or may be
}

// admit lets a message through, or says why not. It waits for the message's turn if that is soon. Returns *LimitError, or the store's
// error.
func (g *governor) admit(ctx context.Context, in intent) (*pass, error) {
	limits, l, now := g.limits.Of(in.id), g.ledger(in.id), time.Now()
	if in.cold && in.lock.Active(now) {
		return nil, &LimitError{Limit: LimitReachout, After: in.lock.Until.Sub(now)}
	}
	if !in.revision {
		if err := g.room(ctx, l, in.id, &limits, now); err != nil {
			return nil, err
		}
	}
	day := tenant.DayOf(now)
	if err := g.load(ctx, l, in.id, day, &limits); err != nil {
		return nil, err
	}
	p := &pass{ledger: l, intent: in, day: day, users: 1}
	l.mu.Lock()
	wait, err := l.enter(p, &limits, now, g.patience)
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if wait > 0 && !pause(ctx, wait) {
		p.end()
		return nil, context.Cause(ctx)
	}
	return p, nil
}

// enter takes all that a message takes, or nothing. The ledger is locked.
func (l *ledger) enter(p *pass, limits *tenant.Limits, now time.Time, patience time.Duration) (wait time.Duration, err error) {
	if most := limits.ConcurrentSends; most > 0 && int64(l.sending) >= most {
		return 0, &LimitError{Limit: LimitConcurrentSends, After: concurrentRetry}
	}
	if err = l.afford(&p.intent, limits, now); err != nil {
		return 0, err
	}
	wait, ok := l.sends.Take(now, 1, limits.Sends(), patience)
	if !ok {
		return 0, &LimitError{Limit: LimitSends, After: wait}
	}
	l.sending++
	p.holds = l.loaded && l.day == p.day
	if p.holds {
		if p.intent.cold {
			l.cold[p.intent.chat]++
		}
		l.up += p.intent.bytes
	}
	return wait, nil
}

// afford says whether the day's budgets have room for a message. The ledger is locked.
func (l *ledger) afford(in *intent, limits *tenant.Limits, now time.Time) error {
	if !l.loaded {
		return nil // there are no budgets
	}
	after := l.day.Ends().Sub(now)
	if most := limits.ColdChatsPerDay; in.cold && most > 0 && l.cold[in.chat] == 0 && int64(len(l.cold)) >= most {
		return &LimitError{Limit: LimitColdChats, After: after}
	}
	if most := limits.UploadBytesPerDay; in.bytes > 0 && most > 0 && l.up+in.bytes > most {
		return &LimitError{Limit: LimitUploadBytes, After: after}
	}
	return nil
}

// load reads the day's budgets, once a day, unless there are none.
func (g *governor) load(ctx context.Context, l *ledger, id tenant.ID, day tenant.Day, limits *tenant.Limits) error {
	budgets := limits.ColdChatsPerDay > 0 || limits.UploadBytesPerDay > 0 || limits.DownloadBytesPerDay > 0
	l.mu.Lock()
	if !budgets { // what is taken now is stored, but not known here
		l.loaded, l.cold = false, nil
	}
	known := l.loaded && l.day >= day
	l.mu.Unlock()
	if !budgets || known {
		return nil
	}
	spent, err := g.store.Tenant(id).Spent(ctx, day)
	if err != nil {
		return fmt.Errorf("read budgets: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loaded && l.day >= day {
		return nil // somebody else was faster
	}
	l.day, l.loaded, l.up, l.down = day, true, spent.UploadBytes, spent.DownloadBytes
	l.cold = make(map[tenant.ChatID]int, len(spent.ColdChats))
	for _, chat := range spent.ColdChats {
		l.cold[chat] = counted
	}
	return nil
}

// room says whether a tenant may store more. Returns *LimitError.
func (g *governor) room(ctx context.Context, l *ledger, id tenant.ID, limits *tenant.Limits, now time.Time) error {
	if limits.StorageBytes <= 0 {
		return nil
	}
	l.mu.Lock()
	stored, fresh := l.stored, now.Sub(l.storedAt) < storedFor
	l.mu.Unlock()
	if !fresh {
		var err error
		if stored, err = g.store.Tenant(id).Stored(ctx); err != nil {
			return fmt.Errorf("read what is stored: %w", err)
		}
		l.mu.Lock()
		l.stored, l.storedAt = stored, now
		l.mu.Unlock()
	}
	if stored >= limits.StorageBytes {
		return &LimitError{Limit: LimitStorage, After: storageRetry}
	}
	return nil
}

// hold keeps the pass beside the call that has it.
func (p *pass) hold() {
	if p == nil {
		return
	}
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	p.users++
}

// spend is what the message takes, to be stored with it. From now on it counts, whatever becomes of the commit.
func (p *pass) spend() tenant.Spend {
	if p == nil || !p.intent.cold && p.intent.bytes == 0 {
		return tenant.Spend{}
	}
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	p.kept = true
	s := tenant.Spend{Day: p.day, UploadBytes: p.intent.bytes}
	if p.intent.cold {
		s.ColdChat = p.intent.chat
	}
	return s
}

// refund says that the message is not stored after all.
func (p *pass) refund() {
	if p == nil {
		return
	}
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	p.kept = false
}

// cold says whether the message is for somebody who never wrote.
func (p *pass) cold() bool { return p != nil && p.intent.cold }

// end lets go of the pass.
func (p *pass) end() {
	if p == nil {
		return
	}
	l := p.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.users--; p.users > 0 {
		return
	}
	l.sending--
	if !p.holds || !l.loaded || l.day != p.day {
		return
	}
	if p.intent.cold {
		switch n := l.cold[p.intent.chat]; {
		case p.kept:
			l.cold[p.intent.chat] = counted
		case n == 1:
			delete(l.cold, p.intent.chat)
		case n < counted:
			l.cold[p.intent.chat] = n - 1
		}
	}
	if !p.kept {
		l.up -= p.intent.bytes
	}
}

// mayMeet says whether a message to somebody who is not here may be let through, before they are looked up. Returns *LimitError.
func (g *governor) mayMeet(ctx context.Context, id tenant.ID, chat tenant.ChatID, lock tenant.ReachoutLock) error {
	limits, l, now := g.limits.Of(id), g.ledger(id), time.Now()
	if lock.Active(now) {
		return &LimitError{Limit: LimitReachout, After: lock.Until.Sub(now)}
	}
	if err := g.load(ctx, l, id, tenant.DayOf(now), &limits); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.afford(&intent{chat: chat, cold: true}, &limits, now)
}

// CheckUpload says whether a file of so many bytes, or of some if bytes is 0, may come: before it does. Returns *LimitError.
func (f *Fleet) CheckUpload(ctx context.Context, id tenant.ID, bytes int64) error {
	return f.governor.mayUpload(ctx, id, bytes)
}

// checks takes n checks of phone numbers. Returns *LimitError.
func (g *governor) checks(id tenant.ID, n int, now time.Time) error {
	limits, l := g.limits.Of(id), g.ledger(id)
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait, ok := l.checks.Take(now, n, limits.NumberChecks(MaxNumberChecks), 0); !ok {
		return &LimitError{Limit: LimitNumberChecks, After: wait}
	}
	return nil
}

// mayUpload says whether a file of so many bytes, or more if that is not known, may come: before it does. Returns *LimitError.
func (g *governor) mayUpload(ctx context.Context, id tenant.ID, bytes int64) error {
	limits, l, now := g.limits.Of(id), g.ledger(id), time.Now()
	if err := g.room(ctx, l, id, &limits, now); err != nil {
		return err
	}
	if err := g.load(ctx, l, id, tenant.DayOf(now), &limits); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.afford(&intent{bytes: max(1, bytes)}, &limits, now)
}

// download lets a file of about so many bytes be fetched. took takes what it really was, or nothing, and says what to store of it.
// Returns *LimitError.
func (g *governor) download(ctx context.Context, id tenant.ID, bytes int64) (took func(bytes int64) tenant.Spend, err error) {
	limits, l, now := g.limits.Of(id), g.ledger(id), time.Now()
	day := tenant.DayOf(now)
	if err = g.load(ctx, l, id, day, &limits); err != nil {
		return nil, err
	}
	bytes = max(1, bytes)
	l.mu.Lock()
	defer l.mu.Unlock()
	holds := l.loaded && l.day == day
	if most := limits.DownloadBytesPerDay; holds && most > 0 && l.down+bytes > most {
		return nil, &LimitError{Limit: LimitDownloadBytes, After: l.day.Ends().Sub(now)}
	}
	if holds {
		l.down += bytes
	}
	return func(really int64) tenant.Spend {
		l.mu.Lock()
		defer l.mu.Unlock()
		if holds && l.loaded && l.day == day {
			l.down += really - bytes
		}
		return tenant.Spend{Day: day, DownloadBytes: really}
	}, nil
}

// Usage is what a tenant has taken of its limits: of paces what is left (0 without one), of the others what is used.
type Usage struct {
	SendsLeft, NumberChecksLeft int64
	Sending                     int64
	ColdChatsToday              int64
	UploadedToday, FetchedToday int64
	StoredBytes                 int64
	Day                         tenant.Day
}

// Usage returns what a tenant has taken of its limits. Returns [tenant.ErrNotFound].
func (f *Fleet) Usage(ctx context.Context, id tenant.ID) (Usage, error) {
	g := f.governor
	limits, now := g.limits.Of(id), time.Now()
	day := tenant.DayOf(now)
	h := g.store.Tenant(id)
	stored, err := h.Stored(ctx)
	if err != nil {
		return Usage{}, fmt.Errorf("read what is stored: %w", err)
	}
	spent, err := h.Spent(ctx, day)
	if err != nil {
		return Usage{}, fmt.Errorf("read budgets: %w", err)
	}
	u := Usage{
		StoredBytes: stored, Day: day, ColdChatsToday: int64(len(spent.ColdChats)), UploadedToday: spent.UploadBytes,
		FetchedToday: spent.DownloadBytes,
	}
	l := g.ledger(id)
	l.mu.Lock()
	defer l.mu.Unlock()
	u.Sending = int64(l.sending)
	if l.loaded && l.day == day { // with what is under way
		u.ColdChatsToday, u.UploadedToday, u.FetchedToday = int64(len(l.cold)), l.up, l.down
	}
	u.SendsLeft = l.sends.Left(now, limits.Sends())
	u.NumberChecksLeft = l.checks.Left(now, limits.NumberChecks(MaxNumberChecks))
	return u, nil
}
