package session

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnOutboxOwesWhatIsGivenBack(t *testing.T) {
	t.Parallel()
	var o outbox
	owes := func() bool {
		_, may := o.owes()
		return may
	}
	require.False(t, owes())
	require.True(t, o.take("A"))
	require.False(t, owes(), "somebody sends it")
	o.release("A")
	seen, may := o.owes()
	require.True(t, may)
	o.release("B") // while somebody looks
	o.owesNone(seen)
	require.True(t, owes())
	seen, _ = o.owes()
	require.True(t, owes(), "another one looks, too")
	o.owesNone(seen)
	require.False(t, owes())
	o.drop(nil)
	require.False(t, owes(), "what is stored is settled")

	o.unsure.Store(true)
	seen, _ = o.owes()
	o.owesNone(seen)
	require.True(t, owes(), "a commit that is under way may store it yet")
}
