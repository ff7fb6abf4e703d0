package bench

import (
	"fmt"
	"sync"
	"time"
)

const progressEvery = 2 * time.Second

// steps tells how far a long step is, now and then.
type steps struct {
	total int
	say   func(string)
	what  string

	mu   sync.Mutex
	done int
	next time.Time
}

func newSteps(total int, say func(string), what string) *steps {
	return &steps{total: total, say: say, what: what, next: time.Now().Add(progressEvery)}
}

func (s *steps) one() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done++
	if now := time.Now(); now.After(s.next) {
		s.next = now.Add(progressEvery)
		s.say(fmt.Sprintf("%d of %d %s", s.done, s.total, s.what))
	}
}

// medianOf says of how many rounds a table shows the median.
func medianOf(rounds int) string {
	if rounds == 1 {
		return ""
	}
	return fmt.Sprintf(", median of %d rounds", rounds)
}
