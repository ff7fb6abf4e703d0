package tenantsql //nolint:testpackage // shares are inside

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func TestATenantHasNoMoreThanItsShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := shares{most: 2}
		ctx, cancel := context.WithCancelCause(t.Context())
		require.NoError(t, s.enter(ctx, "a"))
		require.NoError(t, s.enter(ctx, "a"))
		third := make(chan error, 1)
		go func() { third <- s.enter(ctx, "a") }()
		synctest.Wait()
		require.Empty(t, third)
		require.NoError(t, s.enter(ctx, "b"), "others have theirs")
		s.leave("a")
		require.NoError(t, <-third)
		go func() { third <- s.enter(ctx, "a") }()
		synctest.Wait()
		left := errors.New("the caller left")
		cancel(left)
		require.ErrorIs(t, <-third, left)
		for _, id := range []tenant.ID{"a", "a", "b"} {
			s.leave(id)
		}
		require.Empty(t, s.byID, "who has nothing costs nothing")
	})
}
