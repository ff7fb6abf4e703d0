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
	errPeerGone    = errors.New("the client left")
	errSilent      = errors.New("the client does not answer pings")
)

func isDeadline(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// streams knows all event streams that are open, so that they can be bounded, ended with their key or tenant, and waited for.
type streams struct {
	limits  Limits
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

func newStreams(m *metrics.HTTP, l Limits, isGone func(id tenant.ID) bool) *streams {
	return &streams{limits: l, metrics: m, isGone: isGone, live: map[tenant.ID]map[*stream]struct{}{}}
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
	case len(s.live[id]) >= s.limits.StreamsPerTenant, s.total >= s.limits.Streams:
		return nil, nil, newProblem(codeTooManyStreams)
	}
	stateOf(ctx).streamed = true
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

// endTenant ends the streams of a deleted tenant, which isGone must know. When it returns nothing is counted for it any more.
func (s *streams) endTenant(id tenant.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.live[id] {
		st.end(errTenantGone)
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
