package devicestore_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/store"

	"github.com/wafleet/wafleet/session"
)

func TestTogetherStoresAllOrNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		ctx := t.Context()
		dev := b.linked(t, b.tenant(t), newJID())
		together, ok := dev.Container.(session.Together)
		require.True(t, ok)
		put := func(ctx context.Context, version uint64) error {
			return errors.Join(
				dev.AppState.PutAppStateVersion(ctx, "regular", version, [128]byte{byte(version)}),
				dev.AppState.DeleteAppStateMutationMACs(ctx, "regular", [][]byte{make([]byte, 32)}),
				dev.AppState.PutAppStateMutationMACs(ctx, "regular", version, []store.AppStateMutationMAC{
					{IndexMAC: make([]byte, 32), ValueMAC: []byte{31: byte(version)}},
				}),
			)
		}
		stored := func() (uint64, []byte) {
			version, _, err := dev.AppState.GetAppStateVersion(ctx, "regular")
			require.NoError(t, err)
			mac, err := dev.AppState.GetAppStateMutationMAC(ctx, "regular", make([]byte, 32))
			require.NoError(t, err)
			return version, mac
		}
		require.NoError(t, together.Together(ctx, func(ctx context.Context) error { return put(ctx, 1) }))
		changed := errors.New("changed its mind")
		require.ErrorIs(t, together.Together(ctx, func(ctx context.Context) error {
			require.NoError(t, put(ctx, 2))
			return changed
		}), changed)
		version, mac := stored()
		require.EqualValues(t, 1, version)
		require.Equal(t, []byte{31: 1}, mac)
		require.NoError(t, together.Together(ctx, func(ctx context.Context) error { return put(ctx, 3) }), "it was no failure of the store's")
		version, mac = stored()
		require.EqualValues(t, 3, version)
		require.Equal(t, []byte{31: 3}, mac)
	})
}
