package session

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// tidied notes when it was to delete what is old.
type tidied struct{ at []time.Time }

func (d *tidied) DeleteOldBufferedHashes(context.Context) error {
	d.at = append(d.at, time.Now())
	return nil
}

func TestWhatIsOldIsDeletedLaterAndNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var deleted tidied
		a := &actor{}
		begun := time.Now()
		for time.Since(begun) < 25*time.Hour { // messages all the time
			c := &conn{actor: a, ctx: t.Context(), old: &deleted} // none lasts
			c.tidy()
			synctest.Wait()
			time.Sleep(time.Minute)
		}
		require.Len(t, deleted.at, 3)
		first := deleted.at[0].Sub(begun)
		require.GreaterOrEqual(t, first, 10*time.Minute, "not while a node starts")
		require.LessOrEqual(t, first, 21*time.Minute)
		for i, at := range deleted.at[1:] {
			require.InDelta(t, 12*time.Hour, at.Sub(deleted.at[i]), float64(2*time.Minute))
		}
	})
}
