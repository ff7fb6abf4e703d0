package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/wafleet/wafleet/api"
)

// listen opens the address of the HTTP API.
func listen(ctx context.Context, address, flag string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, ListenError(err, flag)
	}
	return listener, nil
}

// ListenError makes a sentence of why an address could not be opened. flag is where the user can name another.
func ListenError(err error, flag string) error {
	op, ok := errors.AsType[*net.OpError](err)
	switch {
	case !ok:
		return err
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("address %s is in use by another program: choose another with %s", op.Addr, flag)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("address %s may not be opened by this user: choose a port above 1023 with %s", op.Addr, flag)
	default:
		return fmt.Errorf("%s: %w", flag, err)
	}
}

// task is a part that runs until it is told to stop.
type task struct {
	stop context.CancelFunc
	done chan error // receives once, when it has ended
}

// begin runs a part. Its context does not end with ctx: parts are stopped one after the other.
func begin(ctx context.Context, run func(context.Context) error) *task {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &task{stop: cancel, done: make(chan error, 1)}
	go func() { t.done <- run(ctx) }() // end waits for it
	return t
}

// end tells the part to stop and waits for it until ctx ends.
func (t *task) end(ctx context.Context) error {
	t.stop()
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
		return errDeadline
	}
}

var errDeadline = errors.New("did not stop before the deadline")

// errTaken says that another node has taken the database. What this one still has to write is refused.
var errTaken = errors.New("another node has taken the database: this one stops")

// serve answers requests and runs the fleet until ctx ends or one of them fails. Then all are stopped.
func (n *node) serve(ctx context.Context, listener, adminListener net.Listener) error {
	web := api.NewHTTPServer(n.api, n.log)
	fleet := begin(ctx, n.fleet.Run)
	streams := begin(ctx, n.api.Run)
	keys := begin(ctx, n.devices.Rewrap)
	defer func() { _ = keys.end(context.WithoutCancel(ctx)) }() // it has told what failed, and goes on at the next start
	pruning := begin(ctx, n.pruning.Run)
	requests := begin(ctx, func(context.Context) error { return web.Serve(api.Listener(listener)) })

	admin, adminRequests := n.serveAdmin(ctx, adminListener)

	address := listener.Addr().String()
	n.log.InfoContext(ctx, "serving", slog.String("address", address))
	if n.config.AdminKey == "" {
		n.log.InfoContext(ctx, "no admin key is configured: the admin API takes those of the database, if there are any")
	}
	if n.serving != nil {
		n.serving(address)
	}
	var cause error
	select {
	case <-ctx.Done():
	case cause = <-requests.done:
		requests.done <- nil
		cause = fmt.Errorf("serve requests: %w", cause)
	case cause = <-adminRequests.done:
		adminRequests.done <- nil
		cause = fmt.Errorf("serve the admin API: %w", cause)
	case <-n.claimed.Lost():
		cause = errTaken
	case cause = <-fleet.done:
		fleet.done <- nil
		cause = fmt.Errorf("the fleet ended by itself: %w", errors.Join(cause, errors.ErrUnsupported))
	}
	patience := n.config.Drain
	if errors.Is(cause, errTaken) { // nothing can be stored any more, and the other node runs the sessions
		patience = min(patience, takenDrain)
	}
	fault := n.drain(ctx, patience, web, requests, streams, pruning, fleet)
	// The operator sees the node to the end.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), takenDrain)
	defer cancel()
	if admin.Shutdown(last) != nil {
		_ = admin.Close()
	}
	_ = adminRequests.end(context.WithoutCancel(ctx)) // it has nothing to wait for: its listener is closed
	return errors.Join(cause, fault)
}

// serveAdmin serves the admin API at an address of its own, if it has one.
func (n *node) serveAdmin(ctx context.Context, listener net.Listener) (*http.Server, *task) {
	admin := api.NewHTTPServer(n.api.AdminHandler(), n.log)
	if listener == nil {
		return admin, begin(ctx, func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		})
	}
	n.log.InfoContext(ctx, "serving the admin API", slog.String("address", listener.Addr().String()))
	return admin, begin(ctx, func(context.Context) error { return admin.Serve(api.Listener(listener)) })
}

// takenDrain is the deadline of a stop because another node has taken the database.
const takenDrain = 2 * time.Second

// drain stops everything within the deadline, in the order in which data flows, so that nobody is left with work that the next
// in line no longer takes: no new requests, event streams end (WebSockets with 1001), requests under way are answered, sessions
// go offline after what they received is stored.
func (n *node) drain(ctx context.Context, patience time.Duration, web *http.Server, requests, streams, pruning, fleet *task) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	n.log.InfoContext(ctx, "draining", slog.Int64("deadline_ms", patience.Milliseconds()))

	var faults []error
	check := func(what string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", what, err))
		}
	}
	shutdown := begin(ctx, func(context.Context) error { return web.Shutdown(ctx) })
	// Serve returns as soon as Shutdown has closed the listener. Only then do streams end: their clients may come back at once.
	if err := requests.end(ctx); !errors.Is(err, http.ErrServerClosed) {
		check("requests", err)
	}
	check("event streams", streams.end(ctx))
	if err := shutdown.end(ctx); err != nil {
		check("requests were cut off", err)
		_ = web.Close()
	}
	check("retention", pruning.end(ctx))
	check("fleet", fleet.end(ctx))
	check("usage", n.api.Flush(ctx))
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	n.log.InfoContext(ctx, "drained", slog.Int64("took_ms", time.Since(began).Milliseconds()))
	return nil
}
