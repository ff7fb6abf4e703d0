package session

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestARushIsOverWhenAllHaveLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := rush{patience: time.Minute}
		start := time.Now()
		r.wait(t.Context()) // nobody is busy
		one, two := r.enter(), r.enter()
		over := make(chan error, 1)
		go func() {
			r.wait(t.Context())
			over <- nil
		}()
		one()
		one() // again
		synctest.Wait()
		require.Empty(t, over, "the other one is busy")
		two()
		<-over
		r.wait(t.Context())
		require.Zero(t, time.Since(start))

		r.enter() // and never leaves
		r.wait(t.Context())
		require.Equal(t, r.patience, time.Since(start))
		r.wait(t.Context())
		require.Equal(t, r.patience, time.Since(start), "it has had its time")
	})
}

func TestNobodyWaitsForEverForTheRushOfOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := rush{patience: time.Minute}
		r.enter()
		time.AfterFunc(r.patience/2, func() { r.enter() }) // so that somebody is busy all the time
		start := time.Now()
		gone, leave := context.WithCancel(t.Context())
		leave()
		r.wait(gone)
		require.Zero(t, time.Since(start), "the connection has ended")
		r.wait(t.Context())
		require.Equal(t, r.patience, time.Since(start))
		r.wait(t.Context())
		require.Equal(t, r.patience*3/2, time.Since(start))
	})
}
