package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/tenant"
)

// follower is a cursor over a tenant's journal that goes on live: what the WebSocket and the stream of server-sent events have in
// common.
//
// There is one way for events, whether they are old or new: read the journal after the last number sent, until there is no more;
// then wait to be woken. So nothing can fall between catching up and live, and nothing can come twice. The journal is the
// queue, too: a reader that does not keep up holds one batch in memory and no more.
type follower struct {
	handle  tenant.Handle
	stream  *stream
	wake    <-chan struct{}
	live    <-chan tenant.Event                           // what is in no journal
	admit   func(ctx context.Context) (tenant.Key, error) // is the key still valid?
	limits  Limits
	log     *slog.Logger
	release func() // gives back what follow took

	types []tenant.EventType // none: all
	// write hands one frame over; position is the number to come back with. It returns soon after the stream has ended.
	write func(raw []byte, position int64) error
	rest  func() error // called now and then while there is nothing to write; may be nil

	hello helloFrame
	gap   *gapFrame // nil: none
	last  int64     // seq of the last event that was sent, or counts as sent
}

const (
	// followBatch is how many events are read at once: the most that a slow reader holds in memory.
	followBatch = 64
	// staleLive is when a live event is not worth sending any more.
	staleLive = 10 * time.Second
	// lastWords is how long the end of a stream waits for a write under way.
	lastWords = 500 * time.Millisecond
	// databaseAway is how long a stream waits before it asks a database again that did not answer.
	databaseAway = time.Second
)

var errSlow = errors.New("the client reads too slowly")

// follow opens a cursor after a number, or after the newest event. The context is the stream's life. The caller sets write, and calls
// release in the end. Errors: of [streams.open], problems.
func (s *Server) follow(ctx context.Context, t tenant.Handle, since *int64) (context.Context, *follower, error) {
	life, st, err := s.streams.open(ctx, t.ID(), stateOf(ctx).key)
	if err != nil {
		return nil, nil, err
	}
	wake, stop := t.Watch() // before the bounds are read: what comes after them wakes us
	live, stopLive := s.cfg.Sessions.Live(t.ID())
	release := func() {
		stop()
		stopLive()
		s.streams.close(st)
	}
	look, cancel := context.WithTimeout(ctx, s.limits.ReadTimeout)
	defer cancel()
	oldest, latest, err := t.Bounds(look)
	if err != nil {
		release()
		return nil, nil, readTimeoutIsUnavailable(ctx, err)
	}
	f := &follower{
		handle: t, stream: st, wake: wake, live: live, release: release, limits: s.limits, log: stateOf(ctx).log, last: latest,
		hello: helloFrame{Type: "hello", Data: helloData{Oldest: oldest, Latest: latest}},
	}
	if since != nil {
		f.last = *since
		if next := max(min(*since, latest), oldest-1); next != *since {
			f.gap = &gapFrame{Type: frameGap, Data: gapData{Since: *since, Next: next + 1}}
		}
	}
	return life, f, nil
}

// keyed lets the follower ask for the request's key again, or answers that there is none.
func (s *Server) keyed(hc huma.Context, inQuery bool, f *follower) bool {
	secret, err := tenant.ParseSecret(presented(hc, inQuery))
	if err != nil {
		answer(hc, newProblem(codeInvalidKey))
		return false
	}
	f.admit = func(ctx context.Context) (tenant.Key, error) { return s.keys.admit(ctx, secret) }
	return true
}

// watchOver ends the stream with its key, or with a client that a ping shows to be gone; ping may be nil.
func (f *follower) watchOver(ctx context.Context, ping func(ctx context.Context) error) {
	tick := time.NewTicker(f.limits.PingEvery)
	defer tick.Stop()
	expiry := time.NewTimer(0) // the first check learns when the key expires
	defer expiry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.stream.poke:
		case <-expiry.C:
		case <-tick.C:
			if ping != nil && ping(ctx) != nil {
				f.stream.end(errSilent)
				return
			}
		}
		look, cancel := context.WithTimeout(ctx, f.limits.ReadTimeout)
		key, err := f.admit(look)
		cancel()
		if errors.Is(err, tenant.ErrInvalidKey) {
			f.stream.end(errKeyEnded)
			return
		}
		if errors.Is(err, tenant.ErrSuspended) {
			f.stream.end(errSuspended)
			return
		}
		if err == nil && key.ExpiresAt != nil {
			expiry.Reset(time.Until(*key.ExpiresAt))
		}
		// A database that is away proves nothing: the next ping asks again.
	}
}

// serve sends frames until the stream ends, and returns why.
func (f *follower) serve(ctx context.Context) error {
	if err := f.send(ctx, f.hello); err != nil {
		return err
	}
	if f.gap != nil {
		f.last = f.gap.Data.Next - 1
		if err := f.send(ctx, f.gap); err != nil {
			return err
		}
	}
	// The journal is looked at now and then even if nothing wakes us.
	look := time.NewTicker(f.limits.PingEvery / 2) //nolint:mnd // so that proxies, which often wait 60 s, see something twice
	defer look.Stop()
	for {
		more, err := f.forward(ctx)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.wake:
		case <-look.C:
			if f.rest != nil {
				err = f.rest()
			}
		case event := <-f.live:
			if time.Since(event.Timestamp) <= staleLive && f.wants(event.Type) {
				err = f.send(ctx, event)
			}
		}
		if err != nil {
			return err
		}
	}
}

func (f *follower) wants(kind tenant.EventType) bool {
	return len(f.types) == 0 || slices.Contains(f.types, kind)
}

// forward sends one batch of the journal. more says that there may be another.
func (f *follower) forward(ctx context.Context) (more bool, err error) {
	within, cancel := context.WithTimeout(ctx, f.limits.ReadTimeout)
	events, err := f.handle.Events(within, f.last, followBatch)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		f.log.WarnContext(ctx, "reading the journal failed", slog.Any("error", err))
		pause := time.NewTimer(databaseAway)
		defer pause.Stop()
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-pause.C:
			return true, nil
		}
	}
	for i := range events {
		event := &events[i]
		if event.Seq > f.last+1 { // retention overtook us
			gap := gapFrame{Type: frameGap, Data: gapData{Since: f.last, Next: event.Seq}}
			f.last = event.Seq - 1
			if err := f.send(ctx, gap); err != nil {
				return false, err
			}
		}
		f.last = event.Seq
		if !f.wants(event.Type) {
			continue
		}
		if err := f.send(ctx, event); err != nil {
			return false, err
		}
	}
	return len(events) == followBatch, nil
}

// send writes one frame. A client that takes it late is told that it is too slow; one that does not take it at all is cut off,
// since no close frame would reach it either.
func (f *follower) send(ctx context.Context, frame any) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	raw, err := json.Marshal(frame)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	start := time.Now()
	if err := f.write(raw, f.last); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	if time.Since(start) > f.limits.SlowAfter {
		return errSlow
	}
	return nil
}
