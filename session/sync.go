package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/appstate"

	"github.com/wafleet/wafleet/tenant"
)

// The stages of a synchronisation.
const (
	stageGroups   = "groups"
	stageContacts = "contacts"
	stageSettings = "settings"
)

// maxGroups bounds the groups that are stored in one commit: live messages of all tenants wait behind it.
const maxGroups = 50

// SyncResult is what a synchronisation came to: the chats that are stored now.
type SyncResult struct {
	tenant.ChatCounts

	Took time.Duration
}

// SyncError says that a synchronisation did not come to its end, because of Err. What is done is stored.
type SyncError struct {
	Done, Left []string // stages
	Err        error
}

// Error is for logs.
func (e *SyncError) Error() string {
	return fmt.Sprintf("synchronisation: done: %s; not done: %s: %v", strings.Join(e.Done, ", "), strings.Join(e.Left, ", "), e.Err)
}

// Unwrap is why the rest was not done.
func (e *SyncError) Unwrap() error { return e.Err }

// syncRun is a synchronisation under way, which its callers share.
type syncRun struct {
	over   chan struct{} // closed at its end; result and err are set then
	result SyncResult
	err    error

	mu   sync.Mutex
	done []string
}

// stage notes that a stage is done.
func (r *syncRun) stage(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = append(r.done, name)
}

// fault is err, with what was done before.
func (r *syncRun) fault(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &SyncError{Done: slices.Clone(r.done), Err: err}
	for _, stage := range []string{stageGroups, stageContacts, stageSettings} {
		if !slices.Contains(e.Done, stage) {
			e.Left = append(e.Left, stage)
		}
	}
	return e
}

// SyncChats takes the account's groups, contacts and settings over anew, and counts the chats. Callers at the same time share
// one run, which goes on when they leave; [Fleet.Live] tells how far it has come.
//
// Returns *[OfflineError], ErrStopping, *[SyncError].
func (f *Fleet) SyncChats(ctx context.Context, id tenant.ID) (result SyncResult, err error) {
	defer f.watch.contain("sync", &err)
	c, err := f.reach(ctx, id)
	if err != nil {
		return SyncResult{}, err
	}
	run := c.startSync() //nolint:contextcheck // it goes on when its callers leave
	if run == nil {
		return SyncResult{}, c.offline()
	}
	select {
	case <-run.over:
		return run.result, run.err
	case <-ctx.Done():
		return SyncResult{}, run.fault(context.Cause(ctx))
	}
}

// startSync joins the run under way, or starts one. Nil if the connection ends.
func (c *conn) startSync() *syncRun {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.run != nil {
		return c.state.run
	}
	run := &syncRun{over: make(chan struct{})}
	started := c.work.run("sync", func() {
		err := ErrPanicked
		defer func() {
			run.err = err
			c.mu.Lock()
			c.state.run = nil
			c.mu.Unlock()
			close(run.over)
		}()
		run.result, err = c.sync(run)
	})
	if !started {
		return nil
	}
	c.state.run = run
	return run
}

func (c *conn) sync(run *syncRun) (SyncResult, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(c.ctx, c.actor.fleet.pace.SyncTimeout)
	defer cancel()
	for _, stage := range []struct {
		name string
		do   func(context.Context) error
	}{{stageGroups, c.syncGroups}, {stageContacts, c.syncContacts}, {stageSettings, c.syncSettings}} {
		if err := stage.do(ctx); err != nil {
			c.log.Warn("synchronisation ended", "stage", stage.name, "error", redact(err.Error()))
			if c.lost(ctx, err) {
				err = c.offline()
			}
			return SyncResult{}, run.fault(err)
		}
		run.stage(stage.name)
	}
	counts, err := c.actor.handle.CountChats(ctx)
	if err != nil {
		return SyncResult{}, run.fault(err)
	}
	return SyncResult{ChatCounts: counts, Took: time.Since(start)}, nil
}

// lost says that an error came from the end of the connection.
func (c *conn) lost(ctx context.Context, err error) bool {
	switch {
	case c.ctx.Err() != nil, errors.Is(err, whatsmeow.ErrNotConnected):
		return true
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded): // which is a net.Error, too
		return false
	}
	_, disconnected := errors.AsType[*whatsmeow.DisconnectedError](err)
	_, socket := errors.AsType[net.Error](err)
	return disconnected || socket || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF)
}

// progress tells who watches how far a stage is.
func (c *conn) progress(stage string, done, total int) {
	data, err := json.Marshal(tenant.SyncProgress{Stage: stage, Done: done, Total: total})
	if err != nil {
		return
	}
	c.actor.fleet.live.publish(c.actor.id, tenant.Event{Type: tenant.EventSyncProgress, Timestamp: time.Now().UTC(), Data: data})
}

// syncGroups reads all groups. A group whose chat was deleted here gets it back.
func (c *conn) syncGroups(ctx context.Context) error {
	c.progress(stageGroups, 0, 0)
	var chats []tenant.Change
	err := c.readAllGroups(ctx, func(g *tenant.Group, of int) {
		chats = append(chats, tenant.PutChat{ID: g.ID, Name: new(g.Name)})
		if len(chats)%maxGroups == 0 {
			c.progress(stageGroups, len(chats), of)
		}
	})
	if err != nil {
		return err
	}
	for part := range slices.Chunk(chats, maxGroups) {
		if !c.commit(ctx, part, nil) {
			return fmt.Errorf("store groups: %w", tenant.ErrUnavailable)
		}
	}
	c.progress(stageGroups, len(chats), len(chats))
	return nil
}

func (c *conn) syncContacts(ctx context.Context) error {
	c.progress(stageContacts, 0, 0)
	return c.withState(ctx, func() error {
		return c.syncState(ctx, appstate.WAPatchCriticalUnblockLow, true, func(done, total int) {
			c.progress(stageContacts, done, total)
		})
	})
}

// syncSettings fetches the other collections; each counts as one.
func (c *conn) syncSettings(ctx context.Context) error {
	names := []appstate.WAPatchName{
		appstate.WAPatchCriticalBlock, appstate.WAPatchRegularHigh, appstate.WAPatchRegularLow, appstate.WAPatchRegular,
	}
	c.progress(stageSettings, 0, len(names))
	for i, name := range names {
		err := c.withState(ctx, func() error { return c.syncState(ctx, name, true, nil) })
		if err != nil {
			return err
		}
		c.progress(stageSettings, i+1, len(names))
	}
	return nil
}
