package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/wafleet/wafleet/tenant"
)

// AdminKey is the operator's key, kept as its hash alone. The zero value admits nobody.
type AdminKey struct {
	hash [sha256.Size]byte
	set  bool
}

// NewAdminKey makes the key from its text. An empty text admits nobody.
func NewAdminKey(text string) AdminKey {
	return AdminKey{hash: sha256.Sum256([]byte(text)), set: text != ""}
}

// String hides the key.
func (AdminKey) String() string { return "***" }

// LogValue hides the key from logs.
func (AdminKey) LogValue() slog.Value { return slog.StringValue("***") }

func (k AdminKey) admits(text string) bool {
	given := sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(given[:], k.hash[:]) == 1
}

// keyring checks API keys. It keeps rows of keys for a moment, known and unknown ones apart, so that guessing cannot push out
// what is used. (The expirable LRU of the same module starts a goroutine that nobody can stop: the times are kept here.)
type keyring struct {
	store   tenant.Store
	ttl     time.Duration
	known   *lru.Cache[tenant.KeyID, remembered]
	unknown *lru.Cache[tenant.KeyID, time.Time]
	gone    *lru.Cache[tenant.ID, struct{}] // tenants deleted lately; ids are never used again
	// met are keys that were found or made here, the operator's and the tenants', however long ago. They are looked up whoever asks.
	met *lru.Cache[string, struct{}]
	// strangers paces addresses that name keys which do not exist: each costs a look into the database.
	strangers *throttle
	// changes counts forgets: a row that was read before a forget must not be kept after it.
	changes atomic.Int64
}

// remembered is a key's row and when it was read.
type remembered struct {
	row tenant.Key
	at  time.Time
}

const (
	// goneEntries bounds the memory of deleted tenants, whose last requests may still be on their way.
	goneEntries = 4096
	// metEntries bounds the memory of keys that were found: some 100 bytes each.
	metEntries = 100_000
)

func newKeyring(store tenant.Store, l *Limits) (*keyring, error) {
	k := &keyring{store: store, ttl: l.KeyCacheTTL}
	var errs [5]error
	k.known, errs[0] = lru.New[tenant.KeyID, remembered](l.KeyCacheEntries)
	k.unknown, errs[1] = lru.New[tenant.KeyID, time.Time](l.KeyCacheEntries)
	k.gone, errs[2] = lru.New[tenant.ID, struct{}](goneEntries)
	k.met, errs[3] = lru.New[string, struct{}](metEntries)
	k.strangers, errs[4] = newThrottle(l.UnknownKeyEvery, l.UnknownKeyBurst)
	return k, errors.Join(errs[:]...)
}

// admit says whether an API key may be used now, and returns its row. Returns tenant.ErrInvalidKey, or the store's error.
func (k *keyring) admit(ctx context.Context, secret tenant.Secret) (tenant.Key, error) {
	row, err := k.row(ctx, secret.ID())
	if err != nil {
		return tenant.Key{}, err
	}
	if err := row.Admits(secret, time.Now()); err != nil {
		return tenant.Key{}, err
	}
	return row, nil
}

// admitFrom is admit for a request that comes from an address. If that has named many keys that do not exist, it may not have yet another
// looked up. Keys that were found before are not held up by neighbours behind the same address. Returns *Problem, too.
func (k *keyring) admitFrom(ctx context.Context, secret tenant.Secret, client netip.Addr) (tenant.Key, error) {
	id := secret.ID()
	if k.isMet(string(id)) || k.isUnknown(id, time.Now()) {
		return k.admit(ctx, secret)
	}
	if wait := k.strangers.wait(client); wait > 0 {
		return tenant.Key{}, tooFast(wait).because(tooManyKeys)
	}
	row, err := k.admit(ctx, secret)
	if errors.Is(err, tenant.ErrInvalidKey) && !k.isMet(string(id)) {
		k.strangers.charge(client)
	}
	return row, err
}

// meet notes a key that exists.
func (k *keyring) meet(id string) { k.met.Add(id, struct{}{}) }

// isMet says whether a key was found before.
func (k *keyring) isMet(id string) bool {
	_, met := k.met.Get(id)
	return met
}

// isUnknown says whether a key was looked for in vain a moment ago.
func (k *keyring) isUnknown(id tenant.KeyID, now time.Time) bool {
	at, ok := k.unknown.Get(id)
	return ok && now.Sub(at) < k.ttl
}

func (k *keyring) row(ctx context.Context, id tenant.KeyID) (tenant.Key, error) {
	now := time.Now()
	if kept, ok := k.known.Get(id); ok && now.Sub(kept.at) < k.ttl {
		return kept.row, nil
	}
	if k.isUnknown(id, now) {
		return tenant.Key{}, fmt.Errorf("%w: unknown a moment ago", tenant.ErrInvalidKey)
	}
	before := k.changes.Load()
	row, err := k.store.Key(ctx, id)
	switch {
	case errors.Is(err, tenant.ErrInvalidKey):
		k.known.Remove(id)
		k.met.Remove(string(id))
		k.unknown.Add(id, now)
		return tenant.Key{}, err
	case err != nil:
		return tenant.Key{}, fmt.Errorf("look up api key: %w", err)
	}
	k.meet(string(id))
	k.known.Add(id, remembered{row: row, at: now})
	if k.changes.Load() != before {
		k.known.Remove(id) // it may have been revoked while we read it
	}
	return row, nil
}

// forget drops what is kept of a key.
func (k *keyring) forget(id tenant.KeyID) {
	k.changes.Add(1)
	k.known.Remove(id)
	k.unknown.Remove(id)
}

// forgetTenant drops what is kept of a deleted tenant's keys.
func (k *keyring) forgetTenant(id tenant.ID) {
	k.gone.Add(id, struct{}{})
	k.forgetKeysOf(id)
}

// forgetKeysOf drops what is kept of a tenant's keys, which have changed all at once.
func (k *keyring) forgetKeysOf(id tenant.ID) {
	k.changes.Add(1)
	for _, key := range k.known.Keys() {
		if key.Tenant() == id {
			k.known.Remove(key)
		}
	}
}

// welcome ends what forgetTenant has begun: the tenant has come back.
func (k *keyring) welcome(id tenant.ID) { k.gone.Remove(id) }

// isGone says that the tenant was deleted lately: nothing must be counted for it any more.
func (k *keyring) isGone(id tenant.ID) bool { return k.gone.Contains(id) }

const tooManyKeys = "Too many keys that do not exist came from this address: wait as long as Retry-After says."

const (
	headerKey  = "X-API-Key"
	queryKey   = "apiKey"
	bearerWord = "Bearer"
)

type middleware = func(ctx huma.Context, next func(huma.Context))

// presented is the API key that a request carries, or "". Only streams may carry it in the query, since browsers cannot set
// headers on a WebSocket (client API v2 §2).
func presented(ctx huma.Context, inQuery bool) string {
	if key := ctx.Header(headerKey); key != "" || !inQuery {
		return key
	}
	return ctx.Query(queryKey)
}

// authenticateTenant lets a request pass that carries a valid API key with the operation's scope, under the key's tenant (client
// API v2 §3).
func (s *Server) authenticateTenant(op *operation) middleware {
	return func(ctx huma.Context, next func(huma.Context)) {
		text := presented(ctx, op.mayStream)
		if text == "" {
			answer(ctx, newProblem(codeMissingKey))
			return
		}
		look, cancel := context.WithTimeout(ctx.Context(), s.limits.ReadTimeout)
		key, err := s.checkKey(look, text)
		cancel()
		if err != nil {
			answer(ctx, s.authProblem(ctx.Context(), err))
			return
		}
		id := key.ID.Tenant()
		state := stateOf(ctx.Context())
		state.tenant, state.key = id, key.ID
		if !key.Scopes.Has(op.scope) {
			p := newProblem(codeScope)
			p.Scope = op.scope
			answer(ctx, p)
			return
		}
		next(huma.WithContext(ctx, tenant.NewContext(ctx.Context(), id)))
	}
}

func (s *Server) checkKey(ctx context.Context, text string) (tenant.Key, error) {
	secret, err := tenant.ParseSecret(text)
	if err != nil {
		return tenant.Key{}, err
	}
	return s.keys.admitFrom(ctx, secret, stateOf(ctx).client)
}

// authProblem tells a bad key from a database that is away for a while and from a node that cannot check keys at all.
func (s *Server) authProblem(ctx context.Context, err error) *Problem {
	p, paced := errors.AsType[*Problem](err)
	switch {
	case paced:
		stateOf(ctx).quiet = true // those before it are in the log, with the address
	case errors.Is(err, tenant.ErrInvalidKey):
		p = newProblem(codeInvalidKey)
	case errors.Is(err, tenant.ErrSuspended):
		p = newProblem(codeSuspended)
	case errors.Is(err, context.Canceled):
		p = newProblem(codeClientGone)
	case errors.Is(err, tenant.ErrUnavailable), errors.Is(err, tenant.ErrClosed), errors.Is(err, context.DeadlineExceeded):
		p = newProblem(codeUnavailable)
	default:
		p = newProblem(codeMisconfigured)
	}
	logProblem(ctx, p, err)
	return p
}

// answer writes a problem from within a middleware.
func answer(ctx huma.Context, p *Problem) {
	r, w := humago.Unwrap(ctx)
	p.RequestID = stateOf(ctx.Context()).id
	p.write(w, r)
}
