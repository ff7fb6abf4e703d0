package tenantsql_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// interrupted is a store of limits that lets something else happen when a limit is stored, and nobody knows yet.
type interrupted struct {
	tenant.LimitStore

	stored func()
}

func (s *interrupted) Tenant(id tenant.ID) tenant.Handle {
	return &interruptedHandle{s.LimitStore.Tenant(id), s.stored}
}

type interruptedHandle struct {
	tenant.Handle

	stored func()
}

func (h *interruptedHandle) SetOverrides(ctx context.Context, p tenant.LimitPatch) (tenant.Overrides, error) {
	all, err := h.Handle.SetOverrides(ctx, p)
	h.stored()
	return all, err
}

func TestALimitThatIsSetAsItsTenantIsDeletedIsForgotten(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			id := tenanttest.NewTenant(t, store).ID()
			limits := &interrupted{LimitStore: store}
			book := tenant.NewLimitBook(limits, tenant.Limits{})
			forgotten := make(chan struct{})
			limits.stored = func() {
				_, err := store.Delete(t.Context(), id, tenant.DeviceNone)
				require.NoError(t, err)
				go func() {
					defer close(forgotten)
					book.Forget(id)
				}()
				for range 10_000 { // for Forget to have its way, if it does not wait
					runtime.Gosched()
				}
			}
			require.NoError(t, book.Set(t.Context(), id, tenant.LimitPatch{"eventStreams": new(int64(5))}))
			<-forgotten
			require.Zero(t, book.Of(id).EventStreams)
			require.Empty(t, book.Overrides(id))
		})
	}
}
