package api_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/tenant"
)

// unsureDeleter says that it does not know whether it has deleted a tenant, which it has if deletes is set.
type unsureDeleter struct {
	tenant.Store

	deletes bool
	asked   chan struct{} // gets what Gone has answered
}

func (s *unsureDeleter) Delete(ctx context.Context, id tenant.ID, device tenant.DeviceFate) (tenant.Deletion, error) {
	if s.deletes {
		if _, err := s.Store.Delete(ctx, id, device); err != nil {
			return tenant.Deletion{}, err
		}
	}
	return tenant.Deletion{}, fmt.Errorf("%w: %w", tenant.ErrUnavailable, tenant.ErrOutcomeUnknown)
}

func (s *unsureDeleter) Gone(ctx context.Context, id tenant.ID) (bool, error) {
	gone, err := s.Store.Gone(ctx, id)
	s.asked <- struct{}{}
	return gone, err
}

// doubtful is an account, with limits of its own, whose deletion was asked for and has an unknown outcome.
func doubtful(t *testing.T, deletes bool) (a *account, book *tenant.LimitBook, asked <-chan struct{}) {
	t.Helper()
	store := &unsureDeleter{deletes: deletes, asked: make(chan struct{}, 1)}
	n := start(t, func(c *api.Config) {
		store.Store, book = c.Store, tenant.NewLimitBook(c.Store, tenant.Limits{})
		c.Store, c.TenantLimits = store, book
	})
	a = n.account()
	n.admin(http.MethodPatch, "/admin/tenants/"+string(a.id)+"/limits", `{"eventStreams":5}`).is(http.StatusOK)
	a.get("/api/chats").is(http.StatusOK)
	n.admin(http.MethodDelete, "/admin/tenants/"+string(a.id), nil).problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	return a, book, store.asked
}

func TestATenantThatTurnsOutToBeDeletedIsForgotten(t *testing.T) {
	t.Parallel()
	a, book, asked := doubtful(t, true)
	<-asked
	a.stop() // waits for what follows from the answer
	require.Zero(t, book.Of(a.id).EventStreams)
	require.NotContains(t, string(a.call(http.MethodGet, "/metrics", nil).body), string(a.id))
	a.get("/api/chats").is(http.StatusForbidden)
	require.NotContains(t, string(a.call(http.MethodGet, "/metrics", nil).body), string(a.id), "nothing is counted for it any more")
}

func TestATenantThatTurnsOutToLiveStays(t *testing.T) {
	t.Parallel()
	a, book, asked := doubtful(t, false)
	<-asked
	a.stop()
	require.EqualValues(t, 5, book.Of(a.id).EventStreams)
	require.Contains(t, string(a.call(http.MethodGet, "/metrics", nil).body), string(a.id))
	a.get("/api/chats").is(http.StatusOK)
}

// stuckStore does not answer what a tenant's limits are until it is let go.
type stuckStore struct {
	unsureStore

	asked, hold chan struct{}
}

func (s *stuckStore) Tenant(id tenant.ID) tenant.Handle {
	return stuckHandle{s.unsureStore.Tenant(id), s}
}

type stuckHandle struct {
	tenant.Handle

	store *stuckStore
}

func (h stuckHandle) Overrides(ctx context.Context) (tenant.Overrides, error) {
	select {
	case h.store.asked <- struct{}{}:
	case <-h.store.hold:
	}
	<-h.store.hold
	return h.Handle.Overrides(ctx)
}

// TestKeysEndWhileTheDatabaseIsAskedForLimits: a revocation does not wait for that.
func TestKeysEndWhileTheDatabaseIsAskedForLimits(t *testing.T) {
	t.Parallel()
	store := &stuckStore{asked: make(chan struct{}), hold: make(chan struct{})}
	n := start(t, func(c *api.Config) {
		store.LimitStore = c.Store
		c.TenantLimits = tenant.NewLimitBook(store, tenant.Limits{})
		c.Limits.KeyCacheTTL = time.Hour // not the cache's time is what ends it
	})
	defer close(store.hold)
	a := n.account()
	a.get("/api/chats").is(http.StatusOK)
	n.admin(http.MethodPatch, "/admin/tenants/"+string(a.id)+"/limits", `{"eventStreams":5}`).is(http.StatusServiceUnavailable)
	<-store.asked
	require.NoError(t, a.handle.RevokeKey(t.Context(), a.keyID))
	require.Eventually(t, func() bool { return a.get("/api/chats").status == http.StatusForbidden }, patience, 10*time.Millisecond)
}
