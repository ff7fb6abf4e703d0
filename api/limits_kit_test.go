package api_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

func (f *fleet) Usage(context.Context, tenant.ID) (session.Usage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.usage, nil
}

func (f *fleet) CheckUpload(context.Context, tenant.ID, int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.noFiles
}

// holdViews makes the next View wait until hold is closed. What it returns is closed when it does.
func (f *fleet) holdViews(hold <-chan struct{}) (entered <-chan struct{}) {
	waits := make(chan struct{})
	f.set(func(f *fleet) {
		f.onView = sync.OnceFunc(func() {
			close(waits)
			<-hold
		})
	})
	return waits
}

// unsureStore stores overrides and says that it does not know whether it did.
type unsureStore struct{ tenant.LimitStore }

func (s *unsureStore) Tenant(id tenant.ID) tenant.Handle {
	return unsureHandle{s.LimitStore.Tenant(id)}
}

type unsureHandle struct{ tenant.Handle }

func (h unsureHandle) SetOverrides(ctx context.Context, p tenant.LimitPatch) (tenant.Overrides, error) {
	if _, err := h.Handle.SetOverrides(ctx, p); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", tenant.ErrUnavailable, tenant.ErrOutcomeUnknown)
}
