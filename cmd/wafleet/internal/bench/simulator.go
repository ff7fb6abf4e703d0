package bench

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
)

// What a simulator can be asked to do.
const (
	doOpen       = "open"
	doFill       = "fill"
	doWaitOnline = "wait-online"
	doWaitDrain  = "wait-drain"
	doActive     = "active"
)

const (
	// maxSenders is how many phones send: more than the machine has cores gain little.
	maxSenders = 8
	// firstSender is the number of the first phone that sends; accounts under test have other numbers.
	firstSender uint64 = 4915100000000
)

// fillArgs says whose queues are filled. Message i goes to companion i modulo Count.
type fillArgs struct {
	First    uint64 `json:"first"` // number of the first account; the others follow
	Count    int    `json:"count"`
	Messages int    `json:"messages"`
}

// simulator is the worker that plays WhatsApp and the phones that write. While messages drain no phone is online: receipts
// for them wait in queues and cost nothing.
type simulator struct {
	log *slog.Logger

	sim     *wasim.Simulator
	witness *witness
	senders uint64 // phones made so far
}

func (s *simulator) do(ctx context.Context, req request, say func(string)) (any, error) {
	switch req.Do {
	case doOpen:
		if err := s.open(ctx); err != nil {
			return nil, err
		}
		return s.sim.ControlURL(), nil
	case doFill:
		args, err := arguments[fillArgs](req)
		if err != nil {
			return nil, err
		}
		return struct{}{}, s.fill(ctx, args, say)
	case doWaitOnline:
		n, err := arguments[int](req)
		if err != nil {
			return nil, err
		}
		return s.wait(ctx, say, "online", func(_ tally, online int) (int, int) { return online, n })
	case doWaitDrain:
		return s.wait(ctx, say, "acknowledged", func(t tally, _ int) (int, int) { return t.Acknowledged, t.Queued })
	case doActive:
		return s.sim.Relay().Stats().Active, nil
	}
	return nil, fmt.Errorf("simulator cannot %q", req.Do)
}

func (s *simulator) open(ctx context.Context) (err error) {
	s.sim, err = wasim.Start(ctx, wasim.Config{Log: s.log, Relay: relay.Config{MaxQueuePerDevice: maxQueue}})
	if err != nil {
		return err
	}
	s.witness = newWitness()
	s.sim.Relay().Observe(s.witness.see) // for good
	return nil
}

// maxQueue is room for all that a benchmark queues, receipts included.
const maxQueue = 4_000_000

// fill starts phones, lets them write all messages, and turns them off.
func (s *simulator) fill(ctx context.Context, args fillArgs, say func(string)) error {
	senders := min(maxSenders, args.Count)
	work, ctx := errgroup.WithContext(ctx)
	steps := newSteps(args.Messages, say, "queued")
	for i := range senders {
		s.senders++
		number := strconv.FormatUint(firstSender+s.senders, 10)
		work.Go(func() error {
			p, err := s.sim.AddPhone(ctx, wasim.PhoneConfig{Phone: number, Name: "Sender " + strconv.Itoa(i), History: []phone.Chat{}})
			if err != nil {
				return err
			}
			defer p.Close()
			for m := range args.Messages {
				companion := m % args.Count
				if companion%senders != i {
					continue
				}
				to := accountNumber(args.First, companion)
				id, err := p.SendText(ctx, to, "Message "+strconv.Itoa(m)+", as long as such things are.", phone.SendOptions{})
				if err != nil {
					return err
				}
				s.witness.expect(to, id)
				steps.one()
			}
			return nil
		})
	}
	return work.Wait()
}

// accountNumber is the phone number of the account that companion i belongs to.
func accountNumber(first uint64, i int) string {
	return strconv.FormatUint(first+uint64(i), 10) //nolint:gosec // an index
}

// wait returns when as many as wanted were seen. It gives up when nothing happens for a while.
func (s *simulator) wait(ctx context.Context, say func(string), what string, seen func(tally, int) (have, want int)) (tally, error) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	stalled := time.NewTimer(stallTimeout)
	defer stalled.Stop()
	before := 0
	for {
		t, online := s.witness.counts()
		have, want := seen(t, online)
		if have >= want {
			return t, nil
		}
		if have > before {
			stalled.Reset(stallTimeout)
			before = have
		}
		select {
		case <-s.witness.progress:
		case <-tick.C:
			say(fmt.Sprintf("%d of %d %s", have, want, what))
		case <-stalled.C:
			return t, fmt.Errorf("%d of %d %s, and no more for %v: %+v", have, want, what, stallTimeout, t)
		case <-ctx.Done():
			return t, context.Cause(ctx)
		}
	}
}

func (s *simulator) close() error {
	if s.sim == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.sim.Close(ctx)
}
