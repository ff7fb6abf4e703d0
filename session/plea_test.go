package session

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"
)

func TestPleasAreDroppedWithTheConnection(t *testing.T) {
	t.Parallel()
	p := newPleas() // whose budget is enough for this
	ctx, cancel := context.WithCancel(t.Context())
	add := func(id string) (start, ok bool) {
		return p.add(plea{id: id, sender: types.NewJID(id, types.HiddenUserServer)})
	}
	start, _ := add("1")
	require.True(t, start)
	_, ok := add("2")
	require.True(t, ok)
	p.answer(ctx, func(next plea) {
		require.Equal(t, "1", next.id)
		cancel()
	})
	start, ok = add("3")
	require.True(t, start && ok)
	p.answer(t.Context(), func(next plea) { require.Equal(t, "3", next.id) })

	start, _ = add("4")
	require.True(t, start)
	require.Panics(t, func() { p.answer(t.Context(), func(plea) { panic("asking") }) })
	start, _ = add("5")
	require.True(t, start, "another asks")
}
