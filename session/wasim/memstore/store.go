// Package memstore keeps a whatsmeow device in memory: for simulated phones, and as the reference store of benchmarks.
//
// One [Store] belongs to one device. It answers copies, is safe for concurrent use, and is made for thousands of devices
// in one process: maps appear with their first entry, prekeys are derived from a seed instead of being kept, and what
// would grow for ever is bounded ([Limits]).
//
// DoDecryptionTxn is a transaction: what its function writes is seen through its context alone until it succeeds, and
// forgotten if it fails or panics. Like a database it does not keep two writers of one session apart; that is the
// business of package gate.
package memstore

import (
	"cmp"
	"context"
	"sync"
	"time"

	"go.mau.fi/util/random"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// Limits bounds what would grow with every message. Zero means the default.
type Limits struct {
	// BufferedEvents is how many hashes of decrypted messages are kept; a redelivery older than that looks undecryptable.
	BufferedEvents int
	// MessageSecrets is how many secrets of messages (reactions, votes, edits) are kept.
	MessageSecrets int
	// OutgoingEvents is how many sent messages are kept for retries.
	OutgoingEvents int
	// PreKeys is how many prekeys are made at once; whatsmeow asks for 812 at first, which takes 30 ms of CPU.
	PreKeys int
}

func (l Limits) withDefaults() Limits {
	l.BufferedEvents = cmp.Or(l.BufferedEvents, 4096)
	l.MessageSecrets = cmp.Or(l.MessageSecrets, 1024)
	l.OutgoingEvents = cmp.Or(l.OutgoingEvents, 256)
	l.PreKeys = cmp.Or(l.PreKeys, 100)
	return l
}

const (
	// WhatsApp's servers keep messages for 14 days; retries are asked for within a week.
	bufferedAge = 14 * 24 * time.Hour
	outgoingAge = 7 * 24 * time.Hour
)

var (
	_ store.AllStores       = (*Store)(nil)
	_ store.DeviceContainer = (*Store)(nil)
)

// Store implements all of whatsmeow's stores for one device, and its container.
type Store struct {
	limits Limits
	seed   [32]byte // of the prekeys

	mu         sync.Mutex
	saved      bool
	deleted    bool
	identities map[string][32]byte
	sessions   map[string][]byte
	senderKeys map[senderKeyID][]byte
	preKeys    map[uint32]bool // live ones; true = uploaded
	lastPreKey uint32
	buffered   aged[[32]byte, bufferedEvent]
	outgoing   aged[outgoingID, outgoingEvent]
	secrets    aged[secretID, []byte]

	syncKeys  map[string]store.AppStateSyncKey
	versions  map[string]appStateVersion
	coming    map[string]appStateVersion // versions whose mutation MACs have not come
	macs      map[macID]macValue
	contacts  map[types.JID]types.ContactInfo
	settings  map[types.JID]types.LocalChatSettings
	tokens    map[types.JID]store.PrivacyToken
	nctSalt   []byte
	lidToPN   map[string]string
	pnToLID   map[string]string
	preKeyGen sync.Mutex // two uploads at once must not get the same new keys
}

// New makes an empty store.
func New(limits Limits) *Store {
	s := &Store{limits: limits.withDefaults(), seed: [32]byte(random.Bytes(32))}
	s.buffered.limit = s.limits.BufferedEvents
	s.secrets.limit = s.limits.MessageSecrets
	s.outgoing.limit = s.limits.OutgoingEvents
	return s
}

type senderKeyID struct{ group, user string }

// txnKey carries a running transaction of one store in a context.
type txnKey struct{ store *Store }

// txn is what a transaction has written so far. Guarded by the store's mutex.
type txn struct {
	done       bool
	identities layer[string, [32]byte]
	sessions   layer[string, []byte]
	senderKeys layer[senderKeyID, []byte]
	preKeys    layer[uint32, bool]
	buffered   layer[[32]byte, bufferedEvent]
}

// current answers the transaction ctx belongs to; nil if there is none or it has ended. s.mu is held.
func (s *Store) current(ctx context.Context) *txn {
	t, _ := ctx.Value(txnKey{s}).(*txn)
	if t == nil || t.done {
		return nil
	}
	return t
}

// DoDecryptionTxn runs fn; what it writes with the context it is given counts only if it succeeds. Nested calls belong
// to the outer transaction.
func (s *Store) DoDecryptionTxn(ctx context.Context, fn func(context.Context) error) error {
	s.mu.Lock()
	nested := s.current(ctx) != nil
	s.mu.Unlock()
	if nested {
		return fn(ctx)
	}
	t := new(txn)
	defer func() { // also after a panic: the context may outlive us
		s.mu.Lock()
		t.done = true
		s.mu.Unlock()
	}()
	if err := fn(context.WithValue(ctx, txnKey{s}, t)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil { // a database would refuse to commit as well
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.identities.commit(&s.identities)
	t.sessions.commit(&s.sessions)
	t.senderKeys.commit(&s.senderKeys)
	t.preKeys.commit(&s.preKeys)
	for hash, c := range t.buffered {
		if !c.gone {
			s.buffered.put(hash, c.value)
		}
	}
	return nil
}

// layer holds changes on top of a map.
type layer[K comparable, V any] map[K]change[V]

type change[V any] struct {
	value V
	gone  bool
}

func (l layer[K, V]) commit(base *map[K]V) {
	for k, c := range l {
		if c.gone {
			delete(*base, k)
		} else {
			set(base, k, c.value)
		}
	}
}

// set writes to a map that may not exist yet.
func set[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[k] = v
}

// get reads through a transaction's layer, which may be nil.
func get[K comparable, V any](base map[K]V, over layer[K, V], k K) (V, bool) {
	if c, ok := over[k]; ok {
		return c.value, !c.gone
	}
	v, ok := base[k]
	return v, ok
}

// put writes to a transaction's layer if there is one.
func put[K comparable, V any](base *map[K]V, over *layer[K, V], k K, v V) {
	if over == nil {
		set(base, k, v)
		return
	}
	set((*map[K]change[V])(over), k, change[V]{value: v})
}

// remove is put's counterpart.
func remove[K comparable, V any](base map[K]V, over *layer[K, V], k K) {
	if over == nil {
		delete(base, k)
		return
	}
	set((*map[K]change[V])(over), k, change[V]{gone: true})
}

// keysOf lists the keys seen through a transaction's layer that satisfy match.
func keysOf[K comparable, V any](base map[K]V, over layer[K, V], match func(K) bool) []K {
	var keys []K
	for k := range base {
		if c, ok := over[k]; match(k) && (!ok || !c.gone) {
			keys = append(keys, k)
		}
	}
	for k, c := range over {
		if _, ok := base[k]; !ok && !c.gone && match(k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// aged is a map bounded by count: the oldest entry goes first.
type aged[K comparable, V any] struct {
	limit  int
	values map[K]V
	order  []K
}

func (a *aged[K, V]) put(k K, v V) {
	if _, ok := a.values[k]; !ok {
		if len(a.order) >= a.limit {
			delete(a.values, a.order[0])
			a.order = a.order[1:] // append moves the rest to a new array now and then
		}
		a.order = append(a.order, k)
	}
	set(&a.values, k, v)
}

// prune drops the oldest entries as long as they are expired.
func (a *aged[K, V]) prune(expired func(V) bool) {
	n := 0
	for n < len(a.order) && expired(a.values[a.order[n]]) {
		delete(a.values, a.order[n])
		n++
	}
	a.order = a.order[n:]
}
