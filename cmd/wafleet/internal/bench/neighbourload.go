package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// quietPerSecond is how many requests in a second the quiet tenant makes.
	quietPerSecond = 40
	// maxAtOnce bounds the requests of one tenant that are under way.
	maxAtOnce      = 64
	requestTimeout = 30 * time.Second
)

// What the quiet tenant does, in turns.
const (
	opChats    = "list chats"
	opMessages = "50 messages"
	opSend     = "send"
)

// neighbourTurns are the operations in the order in which they are made.
func neighbourTurns() []string { return []string{opMessages, opChats, opMessages, opSend} }

// request makes one request, and returns its status.
func (n *neighbour) request(ctx context.Context, op string) (status int, err error) {
	method, path, body := http.MethodGet, "/api/chats/"+n.chat+"/messages?limit=50", ""
	switch op {
	case opChats:
		path = "/api/chats?limit=50"
	case opSend:
		method, path, body = http.MethodPost, "/api/chats/"+n.chat+"/messages", `{"message":"Hello, how are you?"}`
	}
	req, err := http.NewRequestWithContext(ctx, method, n.base+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Api-Key", n.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := n.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// samples are durations by operation.
type samples map[string][]time.Duration

func (s samples) latencies(op string) Latencies {
	all := slices.Clone(s[op])
	slices.Sort(all)
	at := func(q float64) float64 {
		if len(all) == 0 {
			return 0
		}
		return float64(all[min(len(all)-1, int(q*float64(len(all))))].Microseconds()) / 1000
	}
	return Latencies{Count: len(all), P50: at(0.5), P99: at(0.99)}
}

// measure lets the quiet tenant work alone and beside the noisy one, in turns.
func (s *street) measure(ctx context.Context, o *NeighboursOptions, report *NeighboursReport) error {
	alone, beside := samples{}, samples{}
	if err := s.quiet.work(ctx, time.Second, samples{}); err != nil { // connections are opened, caches filled
		return err
	}
	var noisy noisyCount
	var noisyFor time.Duration
	for round := range o.Rounds {
		s.run.say("round %d: alone", round+1)
		if err := s.quiet.work(ctx, o.Phase, alone); err != nil {
			return err
		}
		s.run.say("round %d: beside the noisy tenant", round+1)
		loud, hush := context.WithCancel(ctx)
		start := time.Now()
		var shouting sync.WaitGroup
		s.noisy.shout(loud, o.Limit*noise, &shouting, &noisy)
		err := s.quiet.work(ctx, o.Phase, beside)
		noisyFor += time.Since(start)
		hush()
		shouting.Wait()
		if err != nil {
			return err
		}
	}
	for _, op := range []string{opChats, opMessages, opSend} {
		m := NeighbourOperation{Name: op, Alone: alone.latencies(op), Beside: beside.latencies(op)}
		m.P50, m.P99 = ratio(m.Beside.P50, m.Alone.P50), ratio(m.Beside.P99, m.Alone.P99)
		report.Operations = append(report.Operations, m)
	}
	seconds := noisyFor.Seconds()
	report.Noisy = NoisyTenant{
		Limit: o.Limit, Asked: float64(noisy.accepted+noisy.refused) / seconds, Accepted: float64(noisy.accepted) / seconds,
		Refused: float64(noisy.refused) / seconds,
	}
	if noisy.refused == 0 {
		return fmt.Errorf("%w: the noisy tenant was never refused", ErrCounts)
	}
	return nil
}

// work makes requests at an even pace, whatever the ones before do: who waits for a slow answer before the next request does not see how
// slow it is.
func (n *neighbour) work(ctx context.Context, d time.Duration, into samples) error {
	turns := neighbourTurns()
	tick := time.NewTicker(time.Second / quietPerSecond)
	defer tick.Stop()
	var mu sync.Mutex
	var fault error
	var under sync.WaitGroup
	defer under.Wait()
	end := time.Now().Add(d)
	for i := 0; time.Now().Before(end); i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		op := turns[i%len(turns)]
		under.Go(func() {
			start := time.Now()
			status, err := n.request(ctx, op)
			took := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			if err == nil && status >= http.StatusBadRequest {
				err = fmt.Errorf("%w: %s of the quiet tenant was answered %d", ErrCounts, op, status)
			}
			if err != nil && fault == nil {
				fault = err
			}
			into[op] = append(into[op], took)
		})
	}
	under.Wait()
	return fault
}

// noisyCount is what became of the noisy tenant's requests.
type noisyCount struct {
	mu                sync.Mutex
	accepted, refused int
}

// shout makes so many requests in a second until ctx ends, evenly: voices that spoke together would keep the machine itself busy for
// milliseconds at a time, with making requests.
func (n *neighbour) shout(ctx context.Context, perSecond int, wg *sync.WaitGroup, count *noisyCount) {
	turns := neighbourTurns()
	for voice := range maxAtOnce {
		wg.Go(func() {
			begin := time.NewTimer(time.Duration(voice) * time.Second / time.Duration(perSecond))
			defer begin.Stop()
			select {
			case <-begin.C:
			case <-ctx.Done():
				return
			}
			tick := time.NewTicker(time.Duration(maxAtOnce) * time.Second / time.Duration(perSecond))
			defer tick.Stop()
			for i := voice; ; i++ {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
				status, err := n.request(ctx, turns[i%len(turns)])
				if err != nil {
					continue // ctx has ended, or the node will say so to the quiet tenant
				}
				count.mu.Lock()
				if status == http.StatusTooManyRequests {
					count.refused++
				} else {
					count.accepted++
				}
				count.mu.Unlock()
			}
		})
	}
}
