package bench

import (
	"context"
	"errors"
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

	doCorrespondent = "correspondent" // starts a phone to write to, and tells its number
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
	Groups   bool   `json:"groups"` // each sender writes to a group of all its companions
}

// simulator is the worker that plays WhatsApp and the phones that write. While messages drain no phone is online: receipts
// for them wait in queues and cost nothing.
type simulator struct {
	log *slog.Logger

	sim     *wasim.Simulator
	witness *witness
	senders uint64 // phones made so far
	answers *phone.Phone
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
		return s.drain(ctx, req, say)
	case doCorrespondent:
		return s.correspondent(ctx)
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
			var all []string
			for companion := i; companion < args.Count; companion += senders {
				all = append(all, accountNumber(args.First, companion))
			}
			if args.Groups {
				return s.fillGroup(ctx, p, all, args.Messages/args.Count, steps)
			}
			for m := range args.Messages {
				companion := m % args.Count
				if companion%senders != i {
					continue
				}
				to := accountNumber(args.First, companion)
				id, err := p.SendText(ctx, to, text(m), phone.SendOptions{})
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

func text(m int) string { return "Message " + strconv.Itoa(m) + ", as long as such things are." }

// fillGroup makes a group and writes to it.
func (s *simulator) fillGroup(ctx context.Context, p *phone.Phone, members []string, messages int, steps *steps) error {
	group, _, err := p.CreateGroup(ctx, "Group of "+p.Number(), members)
	if err != nil {
		return err
	}
	for m := range messages {
		id, err := p.SendText(ctx, group, text(m), phone.SendOptions{})
		if err != nil {
			return err
		}
		for _, to := range members {
			s.witness.expect(to, id)
			steps.one()
		}
	}
	return nil
}

// correspondent starts a phone that takes in what is sent to it.
func (s *simulator) correspondent(ctx context.Context) (number string, err error) {
	number = strconv.FormatUint(firstSender, 10)
	s.answers, err = s.sim.AddPhone(ctx, wasim.PhoneConfig{Phone: number, Name: "Correspondent", History: []phone.Chat{}})
	return number, err
}

// accountNumber is the phone number of the account that companion i belongs to.
func accountNumber(first uint64, i int) string {
	return strconv.FormatUint(first+uint64(i), 10) //nolint:gosec // an index
}

// drain waits until all messages are acknowledged, and writes a profile of the simulator to the file that the request names, if any.
func (s *simulator) drain(ctx context.Context, req request, say func(string)) (t tally, err error) {
	path, err := arguments[string](req)
	if err != nil {
		return t, err
	}
	if path != "" {
		var profile processorProfile
		if err = profile.begin(path); err != nil {
			return t, err
		}
		defer func() { err = errors.Join(err, profile.end()) }()
	}
	t, err = s.wait(ctx, say, "acknowledged", func(t tally, _ int) (int, int) { return t.Acknowledged, t.Queued })
	t.Latency = s.witness.latency()
	return t, err
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
