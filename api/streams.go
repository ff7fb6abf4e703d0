package api

import (
	"context"
	"errors"
	"sync"

	"github.com/wafleet/wafleet/metrics"
	"github.com/wafleet/wafleet/tenant"
)

// Why a stream ends, as the cause of its context.
var (
	errServerStops = errors.New("the server stops")
	errKeyEnded    = errors.New("the API key is no longer valid")
	errTenantGone  = errors.New("the tenant was deleted")
	errSuspended   = errors.New("the tenant was suspended")
	errPeerGone    = errors.New("the client left")
	errSilent      = errors.New("the client does not answer pings")
)

func isDeadline(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// streams knows all event streams that are open, so that they can be bounded, ended with their key or tenant, and waited for.
type streams struct {
	limits  Limits
	book    *tenant.LimitBook
	metrics *metrics.HTTP
	isGone  func(id tenant.ID) bool // the tenant was deleted

	mu      sync.Mutex
	live    map[tenant.ID]map[*stream]struct{}
	total   int
	stopped bool
	wg      sync.WaitGroup // one for each stream; Add under mu and only while not stopped
}

// stream is one event stream, waiting poll or progress of a pairing.
type stream struct {
	tenant tenant.ID
	key    tenant.KeyID  // "" when the operator opened it
	poke   chan struct{} // one slot: check the key again

	// end ends the context that open returned, with the reason.
	end context.CancelCauseFunc
}

func newStreams(m *metrics.HTTP, l Limits, isGone func(id tenant.ID) bool, book *tenant.LimitBook) *streams {
	return &streams{limits: l, book: book, metrics: m, isGone: isGone, live: map[tenant.ID]map[*stream]struct{}{}}
}

// open admits a stream, or returns the problem: too many, or stopping. The context is the stream's life, its cause the reason
// why it ended. The caller closes the stream.
func (s *streams) open(ctx context.Context, id tenant.ID, key tenant.KeyID) (context.Context, *stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return nil, nil, newProblem(codeUnavailable).because("The server is stopping.")
	case s.isGone(id):
		return nil, nil, tenant.ErrNotFound
	case s.total >= s.limits.Streams:
		return nil, nil, newProblem(codeTooManyStreams)
	}
	most := s.book.Of(id).EventStreams
	if key == "" { // whoever has links of pairing pages must not shut the tenant's own programs out, nor they the page
		most = operatorStreams
	}
	if most > 0 && int64(s.countOf(id, key == "")) >= most {
		p := newProblem(codeTooManyStreams)
		p.Limit = limitEventStreams
		return nil, nil, p
	}
	state := stateOf(ctx)
	state.streamed = true
	if state.leave != nil {
		state.leave()
	}
	life, end := context.WithCancelCause(ctx)
	st := &stream{tenant: id, key: key, poke: make(chan struct{}, 1), end: end}
	if s.live[id] == nil {
		s.live[id] = map[*stream]struct{}{}
	}
	s.live[id][st] = struct{}{}
	s.total++
	s.wg.Add(1)
	s.metrics.Stream(string(id), 1)
	return life, st, nil
}

// operatorStreams bounds the streams of a tenant that no key of its own opened: pairing pages, the progress of pairings, exports.
const operatorStreams = 64

// count is how many streams a tenant's keys have open.
func (s *streams) count(id tenant.ID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.countOf(id, false)
}

// countOf is for who holds the lock.
func (s *streams) countOf(id tenant.ID, operators bool) (n int) {
	for st := range s.live[id] {
		if (st.key == "") == operators {
			n++
		}
	}
	return n
}

// close forgets a stream.
func (s *streams) close(st *stream) {
	st.end(errPeerGone)
	s.mu.Lock()
	delete(s.live[st.tenant], st)
	if len(s.live[st.tenant]) == 0 {
		delete(s.live, st.tenant)
	}
	s.total--
	if !s.isGone(st.tenant) { // else its series went as a whole
		s.metrics.Stream(string(st.tenant), -1)
	}
	s.mu.Unlock()
	s.wg.Done()
}

// recheck makes the streams that were opened with a key check it again.
func (s *streams) recheck(key tenant.KeyID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.live[key.Tenant()] {
		if st.key != key {
			continue
		}
		select {
		case st.poke <- struct{}{}:
		default: // it will check anyway
		}
	}
}

// endTenant ends the streams of a tenant that was suspended, or deleted: then isGone must know. When it returns nothing is counted for
// a deleted one any more. The operator's own streams go on with a suspended one.
func (s *streams) endTenant(id tenant.ID, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.live[id] {
		if st.key != "" || why == errTenantGone { //nolint:errorlint // it is one of the sentinels above
			st.end(why)
		}
	}
}

// stop ends all streams, admits no more, and returns when they are gone.
func (s *streams) stop() {
	s.mu.Lock()
	s.stopped = true
	for _, of := range s.live {
		for st := range of {
			st.end(errServerStops)
		}
	}
	s.mu.Unlock()
	s.wg.Wait()
}
