package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/wafleet/wafleet/session/transport"
)

// What a target can be asked to do, in this order.
const (
	doPrepare = "prepare" // make the devices; those of a variant on SQL are left in its database
	doStart   = "start"   // all that there is before the sessions
	doMemory  = "memory"
	doConnect = "connect" // bring the sessions online
	doSend    = "send"
	doCounts  = "counts"
)

// Variant is what is measured.
type Variant string

// The variants.
const (
	// Fleet is this product: gate, supervision, a durable commit before each acknowledgement.
	Fleet Variant = "fleet"
	// Bare is whatsmeow's clients on whatsmeow's sqlstore, and an event handler that counts.
	Bare Variant = "bare"
	// BareMemory is the same on a store of Go maps: nothing outlives the process, nothing waits for a disk.
	BareMemory Variant = "bare-memory"
	// Node is the fleet in a whole node, as wafleet serve makes it. Its devices are made as the fleet's are.
	Node Variant = "node"
)

// plan is what a target is to be.
type plan struct {
	Variant  Variant `json:"variant"`
	Database string  `json:"database"`
	Control  string  `json:"control"` // URL of the simulator's control API
	First    uint64  `json:"first"`   // number of the first account
	Sessions int     `json:"sessions"`
	Profile  string  `json:"profile"` // folder, or empty
	Exact    bool    `json:"exact"`   // whether memory is what is measured: seeing all of it costs time
	// MasterKey is the fleet's: the process that prepares and the one that connects are not the same.
	MasterKey string `json:"masterKey"`
}

// counts is what a variant says that it got.
type counts struct {
	Messages    int           `json:"messages"` // stored by the fleet, or handed to the handler of bare clients
	Distinct    int           `json:"distinct"`
	Undecrypted int           `json:"undecrypted"`
	Processor   time.Duration `json:"processor"` // since doConnect
	Commits     Commits       `json:"commits"`
}

// Commits is what the fleet's group commit did since its process began.
type Commits struct {
	Transactions int64 `json:"transactions"`
	Callers      int64 `json:"callers"` // that shared them
	BusyMS       int64 `json:"busyMs"`
	Failures     int64 `json:"failures"`
}

// variant is one thing to measure, in a process that holds nothing else.
type variant interface {
	prepare(ctx context.Context, say func(string)) error
	start(ctx context.Context) error
	// connect begins to bring all sessions online, and returns when that is under way or done.
	connect(ctx context.Context) error
	counts(ctx context.Context) (counts, error)
	close() error
}

// target is the worker that holds one variant.
type target struct {
	log *slog.Logger

	plan    plan
	variant variant
	busy    time.Duration // of the processors, before the sessions
	profile profiler
}

func (t *target) do(ctx context.Context, req request, say func(string)) (any, error) {
	switch req.Do {
	case doPrepare:
		return struct{}{}, t.with(req, func() error { return t.variant.prepare(ctx, say) })
	case doStart:
		return struct{}{}, t.with(req, func() error { return t.variant.start(ctx) })
	case doMemory:
		return t.profile.memory(req)
	case doConnect:
		t.busy = processorTime()
		if err := t.profile.begin(); err != nil {
			return nil, err
		}
		return struct{}{}, t.variant.connect(ctx)
	case doSend:
		args, err := arguments[sendArgs](req)
		if err != nil {
			return nil, err
		}
		s, ok := t.variant.(sender)
		if !ok {
			return nil, fmt.Errorf("variant %q cannot send", t.plan.Variant)
		}
		return s.send(ctx, args)
	case doCounts:
		busy := processorTime() - t.busy
		if err := t.profile.end(); err != nil {
			return nil, err
		}
		c, err := t.variant.counts(ctx)
		c.Processor = busy
		return c, err
	}
	return nil, fmt.Errorf("target cannot %q", req.Do)
}

// with makes the variant at the first request.
func (t *target) with(req request, fn func() error) error {
	if t.variant == nil {
		var err error
		if t.plan, err = arguments[plan](req); err != nil {
			return err
		}
		t.profile = profiler{folder: t.plan.Profile, name: profileName(string(t.plan.Variant), t.plan.Database)}
		if t.plan.Profile != "" && t.plan.Exact {
			runtime.MemProfileRate = profileRate // before there is anything to see
		}
		if t.variant, err = t.newVariant(); err != nil {
			return err
		}
	}
	return fn()
}

// profileRate makes heap profiles exact enough to tell single kilobytes of a session apart; in bytes.
const profileRate = 4096

func (t *target) newVariant() (variant, error) {
	switch t.plan.Variant {
	case Fleet, Node:
		return &fleetVariant{plan: t.plan, log: t.log}, nil
	case Bare:
		return &bareVariant{plan: t.plan, source: &sqlSource{plan: t.plan, log: t.log}, log: t.log}, nil
	case BareMemory:
		return &bareVariant{plan: t.plan, source: &memorySource{plan: t.plan}, log: t.log}, nil
	}
	return nil, fmt.Errorf("no variant %q", t.plan.Variant)
}

func (t *target) close() error {
	err := t.profile.end()
	if t.variant != nil {
		err = errors.Join(err, t.variant.close())
	}
	return err
}

// reach makes the clients for the simulator.
func reach(ctx context.Context, control string) (*transport.Clients, error) {
	endpoint, root, err := transport.FetchSimulator(ctx, control)
	if err != nil {
		return nil, err
	}
	if err = transport.TrustRoot(root); err != nil {
		return nil, err
	}
	return transport.NewClients(endpoint)
}
