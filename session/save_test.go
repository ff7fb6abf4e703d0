package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

type savings struct {
	mu   sync.Mutex
	rows []string
	fail func(n int) error
	n    int
	wg   sync.WaitGroup
}

func (s *savings) saver() *saver {
	return &saver{
		calm: 3 * time.Second, each: time.Second, news: make(chan struct{}, 1),
		spawn: func(_ string, fn func()) bool { s.wg.Go(fn); return true },
		commit: func(_ context.Context, row tenant.Session) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.n++
			if s.fail != nil {
				if err := s.fail(s.n); err != nil {
					return err
				}
			}
			s.rows = append(s.rows, row.Status.State)
			return nil
		},
	}
}

func (s *savings) saved() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.rows...)
}

func row(s State) tenant.Session { return tenant.Session{Status: status(s, reasonNone)} }

func TestPassingStatesAreStoredOnlyIfTheyLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got savings
		s := got.saver()
		put := func(st State) { s.put(t.Context(), row(st), st.passing(), nil) }
		put(Online)
		synctest.Wait()
		require.Equal(t, []string{"online"}, got.saved())
		put(Backoff)
		put(Connecting)
		put(Online) // a hiccup: nobody hears of it but "online", which changes nothing
		synctest.Wait()
		require.Equal(t, []string{"online", "online"}, got.saved())
		put(Backoff)
		time.Sleep(2 * time.Second)
		put(Connecting)
		time.Sleep(900 * time.Millisecond)
		require.Len(t, got.saved(), 2)
		time.Sleep(200 * time.Millisecond) // flapping does not put it off
		require.Equal(t, []string{"online", "online", "connecting"}, got.saved())
		got.wg.Wait()
	})
}

func TestLastingStatesAreNeverLeftOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := savings{fail: func(n int) error {
			if n <= 3 {
				return fmt.Errorf("commit: %w", tenant.ErrUnavailable)
			}
			return nil
		}}
		s := got.saver()
		put := func(st State) { s.put(t.Context(), row(st), st.passing(), nil) }
		put(Conflict)
		put(Connecting)
		put(Backoff)
		put(Stopped)
		put(Connecting)
		put(LoggedOut)
		time.Sleep(time.Minute)
		require.Equal(t, []string{"conflict", "stopped", "logged_out"}, got.saved())
		got.wg.Wait()
	})
}

func TestSaverTellsTheOutcomeAndStopsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got savings
		s := got.saver()
		ctx, cancel := context.WithCancel(t.Context())
		saved := make(chan error, 1)
		s.put(ctx, row(Pairing), true, saved) // somebody waits: at once
		synctest.Wait()
		require.NoError(t, <-saved)

		got.fail = func(int) error { return errors.New("refused") }
		s.put(ctx, row(Pairing), true, saved)
		synctest.Wait()
		require.EqualError(t, <-saved, "refused")

		s.put(ctx, row(Backoff), true, nil)
		synctest.Wait()
		cancel()
		got.wg.Wait() // dropped
		got.fail = nil
		s.put(ctx, row(Backoff), true, nil)
		synctest.Wait()
		require.Equal(t, []string{"pairing"}, got.saved())
	})
}

func TestRetryStoreGoesOnUntilTheStoreAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		require.NoError(t, retryStore(t.Context(), time.Second, func(ctx context.Context) error {
			if n++; n < 5 {
				<-ctx.Done() // hangs: its deadline counts as away
				return ctx.Err()
			}
			return nil
		}))
		require.Equal(t, 5, n)
		refused := errors.New("refused")
		require.ErrorIs(t, retryStore(t.Context(), time.Second, func(context.Context) error { return refused }), refused)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := retryStore(ctx, time.Second, func(context.Context) error { return tenant.ErrUnavailable })
		require.ErrorIs(t, err, tenant.ErrUnavailable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
