package api_test

import (
	"context"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/tenant"
)

// countingStore counts the keys that are looked up.
type countingStore struct {
	tenant.Store

	looks atomic.Int64
	hold  func() // called before each look; may be nil
}

func (s *countingStore) look() {
	s.looks.Add(1)
	if s.hold != nil {
		s.hold()
	}
}

func (s *countingStore) Key(ctx context.Context, id tenant.KeyID) (tenant.Key, error) {
	s.look()
	return s.Store.Key(ctx, id)
}

func (s *countingStore) AdminKey(ctx context.Context, id tenant.AdminKeyID) (tenant.AdminKey, error) {
	s.look()
	return s.Store.AdminKey(ctx, id)
}

func (s *countingStore) AdminKeys(ctx context.Context) ([]tenant.AdminKey, error) {
	s.look()
	return s.Store.AdminKeys(ctx)
}

// strange is a node that lets an address name two keys that do not exist, and has no memory of rows.
func strange(t *testing.T, options ...config) (*node, *countingStore) {
	t.Helper()
	store := &countingStore{}
	return start(t, append([]config{func(c *api.Config) {
		store.Store = c.Store
		c.Store = store
		c.Limits.UnknownKeyBurst, c.Limits.UnknownKeyEvery, c.Limits.KeyCacheTTL = 2, time.Hour, time.Nanosecond
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}}, options...)...), store
}

// invented is a key that does not exist.
func invented(t *testing.T) string {
	t.Helper()
	return tenant.NewSecret(tenant.NewID()).Reveal()
}

func TestInventedKeysHaveAPaceForEachAddress(t *testing.T) {
	t.Parallel()
	n, store := strange(t)
	a, late := n.account(), n.account()
	ask := func(from, key string) *answer {
		return n.call(http.MethodGet, "/api/chats", nil, "X-Forwarded-For", from, "X-API-Key", key)
	}
	for _, same := range [][3]string{
		{"203.0.113.1", "203.0.113.1", "::ffff:203.0.113.1"},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2::3"}, // one network
	} {
		ask(same[0], a.key).is(http.StatusOK)
		for range 10 {
			ask(same[0], a.key[:len(a.key)-4]+"2222").is(http.StatusForbidden) // a key that exists: no more than its row is read
			ask(same[0], "nonsense").is(http.StatusForbidden)                  // costs nothing
		}
		ask(same[0], invented(t)).problem(403, "Invalid API key", "INVALID_API_KEY")
		ask(same[1], invented(t)).problem(403, "Invalid API key", "INVALID_API_KEY")
		before := store.looks.Load()
		for range 10 {
			got := ask(same[2], invented(t)).problem(429, "TOO_MANY_REQUESTS", "TOO_MANY_REQUESTS")
			require.Regexp(t, "^(3[56][0-9]{2})$", got.header.Get("Retry-After"))
		}
		require.Equal(t, before, store.looks.Load(), "the database is not asked")

		ask(same[2], a.key).is(http.StatusOK) // which is not in the cache any more
		n.admin(http.MethodPatch, "/admin/tenants/"+string(a.id)+"/keys/"+string(a.keyID), `{"label":"another"}`).is(http.StatusOK)
		ask(same[2], a.key).is(http.StatusOK)
	}
	ask("203.0.113.1", late.key).is(http.StatusTooManyRequests) // nobody can know that it exists
	ask("203.0.113.2", late.key).is(http.StatusOK)
	ask("203.0.113.1", late.key).is(http.StatusOK)
	require.NoError(t, a.handle.RevokeKey(t.Context(), a.keyID))
	require.Eventually(t, func() bool { return ask("203.0.113.1", a.key).status == http.StatusForbidden }, patience, 10*time.Millisecond)
}

// TestKeysThatAreMadeHereAreNoStrangers: whoever gets one may be behind an address that others have spoilt.
func TestKeysThatAreMadeHereAreNoStrangers(t *testing.T) {
	t.Parallel()
	n, _ := strange(t)
	a := n.account()
	const from = "203.0.113.1"
	ask := func(key string) *answer {
		return n.call(http.MethodGet, "/api/chats", nil, "X-Forwarded-For", from, "X-API-Key", key)
	}
	operate := func(key string) *answer {
		return n.call(http.MethodGet, "/admin/tenants", nil, "X-Forwarded-For", from, "Authorization", "Bearer "+key)
	}
	ask(invented(t)).is(http.StatusForbidden)
	ask(invented(t)).is(http.StatusForbidden)
	ask(invented(t)).is(http.StatusTooManyRequests)

	var made struct {
		ID     string `json:"id"`
		APIKey string `json:"apiKey"`
		Secret string `json:"adminKey"`
	}
	keys := "/admin/tenants/" + string(a.id) + "/keys"
	n.admin(http.MethodPost, keys, `{"label":"new"}`).is(http.StatusCreated).into(&made)
	ask(made.APIKey).is(http.StatusOK)
	n.admin(http.MethodPost, keys+"/"+made.ID+"/rotate", `{}`).is(http.StatusCreated).into(&made)
	ask(made.APIKey).is(http.StatusOK)
	n.admin(http.MethodPost, "/admin/keys", `{"label":"new","role":"viewer"}`).is(http.StatusCreated).into(&made)
	operate(made.Secret).is(http.StatusOK)
	n.admin(http.MethodPost, "/admin/keys/"+made.ID+"/rotate", `{}`).is(http.StatusCreated).into(&made)
	operate(made.Secret).is(http.StatusOK)
}

func TestInventedAdminKeysHaveAPaceForEachAddress(t *testing.T) {
	t.Parallel()
	n, store := strange(t, func(c *api.Config) { c.AdminKey = api.NewAdminKey("") })
	ask := func(from, key string) *answer {
		return n.call(http.MethodGet, "/admin/tenants", nil, "X-Forwarded-For", from, "Authorization", "Bearer "+key)
	}
	ask("203.0.113.1", "nonsense").problem(500, "Server misconfigured", "SERVER_MISCONFIGURED")
	ask("203.0.113.1", "nonsense").problem(500, "Server misconfigured", "SERVER_MISCONFIGURED")
	before := store.looks.Load()
	ask("203.0.113.1", "nonsense").problem(429, "TOO_MANY_REQUESTS", "TOO_MANY_REQUESTS")
	require.Equal(t, before, store.looks.Load())

	_, secret, err := n.store.CreateAdminKey(t.Context(), tenant.NewAdminKey{Role: tenant.RoleViewer})
	require.NoError(t, err)
	key := secret.Reveal()
	ask("203.0.113.2", key).is(http.StatusOK)
	ask("203.0.113.2", "nonsense").problem(403, "Invalid API key", "INVALID_API_KEY")
	guess := func() string { return tenant.NewAdminSecret().Reveal() }
	ask("203.0.113.2", guess()).problem(403, "Invalid API key", "INVALID_API_KEY")
	ask("203.0.113.2", guess()).problem(403, "Invalid API key", "INVALID_API_KEY")
	before = store.looks.Load()
	ask("203.0.113.2", guess()).problem(429, "TOO_MANY_REQUESTS", "TOO_MANY_REQUESTS")
	for range 10 {
		ask("203.0.113.2", "nonsense").problem(403, "Invalid API key", "INVALID_API_KEY")
		ask("203.0.113.2", "").problem(401, "Missing API key", "MISSING_API_KEY")
	}
	require.Equal(t, before, store.looks.Load(), "that there is an admin key need not be asked twice")
	ask("203.0.113.2", key).is(http.StatusOK)
	ask("203.0.113.1", key).is(http.StatusOK)
}

// TestInventedKeysThatComeAtOnceAreOwed: all were let in since none had failed yet; what is too much is waited for later, to an end.
func TestInventedKeysThatComeAtOnceAreOwed(t *testing.T) {
	t.Parallel()
	const atOnce = 10
	n, store := strange(t)
	entered, hold := make(chan struct{}, atOnce), make(chan struct{})
	store.hold = func() {
		entered <- struct{}{}
		<-hold
	}
	var all errgroup.Group
	for range atOnce {
		key := invented(t)
		all.Go(func() error {
			n.call(http.MethodGet, "/api/chats", nil, "X-API-Key", key).is(http.StatusForbidden)
			return nil
		})
	}
	for range atOnce {
		<-entered
	}
	close(hold)
	require.NoError(t, all.Wait())
	got := n.call(http.MethodGet, "/api/chats", nil, "X-API-Key", invented(t)).problem(429, "TOO_MANY_REQUESTS", "TOO_MANY_REQUESTS")
	require.Regexp(t, "^10(7[0-9]{2}|800)$", got.header.Get("Retry-After"), "three hours: one, and a burst that is owed")
}
