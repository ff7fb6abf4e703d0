package tenanttest

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

// keeping is a commit of a message of ours under an idempotency key.
func keeping(key, request string, m tenant.Message) []tenant.Change {
	return keptLongAgo(0, key, request, m)
}

// keptLongAgo is the same, asked that long ago.
func keptLongAgo(ago time.Duration, key, request string, m tenant.Message) []tenant.Change {
	keep := tenant.KeepAnswer{Key: key, Answer: tenant.Answer{
		Request: []byte(request), ChatID: m.ChatID, SenderID: m.SenderID, MessageID: m.ID,
	}}
	if ago > 0 {
		keep.At = time.Now().Add(-ago)
	}
	return []tenant.Change{keep, live(m)}
}

func answerChecks() []check {
	return []check{
		{"AreKeptWithTheirMessages", func(t tester, s tenant.Store) {
			h, other := NewTenant(t, s), NewTenant(t, s)
			_, err := h.Answer(t.Context(), "k")
			require.ErrorIs(t, err, tenant.ErrAnswerNotFound)
			m := own("A", ana, "hello", 1)
			head := commit(t, h, keeping("k", "one", m)...).Head
			got, err := h.Answer(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, tenant.Answer{Request: []byte("one"), ChatID: ana, SenderID: me, MessageID: "A"}, got)
			require.Equal(t, head, commit(t, h, keeping("k", "one", m)...).Head, "made again it changes nothing")
			_, err = h.Answer(t.Context(), "K")
			require.ErrorIs(t, err, tenant.ErrAnswerNotFound, "keys are compared as they are")
			_, err = other.Answer(t.Context(), "k")
			require.ErrorIs(t, err, tenant.ErrAnswerNotFound, "keys are each tenant's own")
			commit(t, other, keeping("k", "two", own("B", beto, "hello", 1))...)
			got, err = h.Answer(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, "one", string(got.Request))
		}},
		{"RefuseASecondMessage", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			head := commit(t, h, keeping("k", "one", own("A", ana, "hello", 1))...).Head
			_, err := h.Commit(t.Context(), keeping("k", "one", own("B", ana, "hello", 2))...)
			require.ErrorIs(t, err, tenant.ErrKeyTaken)
			require.NotErrorIs(t, err, tenant.ErrRefused)
			require.Equal(t, []tenant.MessageID{"A"}, messageIDs(t, h, ana), "nothing of it is stored")
			_, latest, err := h.Bounds(t.Context())
			require.NoError(t, err)
			require.Equal(t, head, latest)
			_, err = h.Commit(t.Context(), tenant.KeepAnswer{Key: "x"})
			require.ErrorIs(t, err, tenant.ErrRefused, "a key without an answer")
		}},
		{"TakeOneOfManyAtOnce", takesOneOfMany},
		{"AreForgottenAfterADay", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, keptLongAgo(tenant.AnswerAge-time.Minute, "young", "one", own("A", ana, "hello", 1))...)
			for i := range 20 {
				commit(t, h, keptLongAgo(tenant.AnswerAge+time.Minute, "old"+strconv.Itoa(i), "one", own(numbered(i), ana, "hello", 2+i))...)
			}
			_, err := h.Answer(t.Context(), "young")
			require.NoError(t, err)
			_, err = h.Answer(t.Context(), "old19")
			require.ErrorIs(t, err, tenant.ErrAnswerNotFound)
			commit(t, h, keeping("old19", "two", own("B", ana, "hello", 60))...)
			got, err := h.Answer(t.Context(), "old19")
			require.NoError(t, err)
			require.Equal(t, "two", string(got.Request), "an old key may be used anew")
		}},
		{"FollowTheirChats", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			commit(t, h, keeping("k", "one", own("A", anaLID, "hello", 1))...)
			commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana})
			got, err := h.Answer(t.Context(), "k")
			require.NoError(t, err)
			m, err := h.Message(t.Context(), got.ChatID, got.MessageID, got.SenderID)
			require.NoError(t, err)
			require.Equal(t, ana, m.ChatID)
			commit(t, h, tenant.DeleteChat{ID: ana})
			_, err = h.Answer(t.Context(), "k")
			require.NoError(t, err, "a message that was deleted here was sent all the same")
		}},
	}
}

func takesOneOfMany(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	var taken atomic.Int32
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			_, err := h.Commit(t.Context(), keeping("k", "one", own(numbered(i), ana, "hello", i))...)
			if err == nil {
				taken.Add(1)
			} else if !errors.Is(err, tenant.ErrKeyTaken) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 1, taken.Load())
	got, err := h.Answer(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, []tenant.MessageID{got.MessageID}, messageIDs(t, h, ana))
}
