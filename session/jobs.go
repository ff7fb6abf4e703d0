package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// jobs is what a connection has to fetch beside its stream of messages: histories, and the account's settings (app state). One
// worker at a time does them, and lives only while there is work. Guarded by the connection's mutex.
type jobs struct {
	histories []historyJob
	states    []appstate.WAPatchName
	running   bool
}

type historyJob struct {
	id   types.MessageID
	note *waE2E.HistorySyncNotification
}

// maxHistories bounds the histories that wait: a phone sends a handful after pairing.
const maxHistories = 64

// Deadlines of one job.
const (
	historyTimeout = 5 * time.Minute
	stateTimeout   = time.Minute
)

// fetchHistory queues a history that the phone has announced.
func (c *conn) fetchHistory(id types.MessageID, note *waE2E.HistorySyncNotification) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.jobs.histories) >= maxHistories {
		c.log.Warn("history left out: too many wait", "waiting", len(c.jobs.histories))
		return
	}
	c.jobs.histories = append(c.jobs.histories, historyJob{id: id, note: note})
	c.workLocked()
}

// fetchState queues a collection of the app state.
func (c *conn) fetchState(name string) {
	patch := appstate.WAPatchName(name)
	if !slices.Contains(appstate.AllPatchNames[:], patch) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.jobs.states, patch) {
		c.jobs.states = append(c.jobs.states, patch)
	}
	c.workLocked()
}

func (c *conn) workLocked() {
	if !c.jobs.running {
		c.jobs.running = c.work.run("jobs", c.doJobs)
	}
}

func (c *conn) doJobs() {
	for c.ctx.Err() == nil {
		c.mu.Lock()
		switch {
		case len(c.jobs.states) > 0:
			name := c.jobs.states[0]
			c.jobs.states = c.jobs.states[1:]
			c.mu.Unlock()
			c.readState(name)
		case len(c.jobs.histories) > 0:
			job := c.jobs.histories[0]
			c.jobs.histories = c.jobs.histories[1:]
			c.mu.Unlock()
			c.readHistory(job)
		default:
			c.jobs = jobs{}
			c.mu.Unlock()
			return
		}
	}
}

// readHistory downloads a history, stores it, and tells the phone.
func (c *conn) readHistory(job historyJob) {
	const tries = 3
	ctx, cancel := context.WithTimeout(c.ctx, historyTimeout)
	defer cancel()
	var err error
	for n := range tries {
		if err = c.storeHistory(ctx, job); err == nil || ctx.Err() != nil || errors.Is(err, ErrPanicked) {
			break
		}
		timer := time.NewTimer(jitter(time.Duration(n+1) * 4 * time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	if err != nil && c.ctx.Err() == nil {
		c.log.Warn("history could not be taken over", "error", redact(err.Error()))
	}
}

func (c *conn) storeHistory(ctx context.Context, job historyJob) (err error) {
	defer c.actor.watch.contain("history", &err)
	// A history is held in memory, packed and unpacked: only so many at a time in the whole fleet.
	if err = c.actor.fleet.histories.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("wait for a turn: %w", err)
	}
	defer c.actor.fleet.histories.Release(1)
	blob, err := c.cli.DownloadHistorySync(ctx, job.note, true)
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	if err = c.storeBlob(ctx, blob); err != nil {
		return err
	}
	if err = c.cli.SendProtocolMessageReceipt(ctx, job.id, types.ReceiptTypeHistorySync); err != nil {
		return fmt.Errorf("tell the phone: %w", err)
	}
	return nil
}

func (c *conn) storeBlob(ctx context.Context, blob *waHistorySync.HistorySync) error {
	batch := make([]tenant.Change, 0, maxHistoryChanges)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("store: %w", context.Cause(ctx))
		}
		if !c.commit(ctx, batch, nil) {
			return fmt.Errorf("store: %w", tenant.ErrUnavailable)
		}
		batch = batch[:0]
		return nil
	}
	for change := range c.me.history(blob, c.cli.ParseWebMessage) {
		if batch = append(batch, change); len(batch) == maxHistoryChanges {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// stateSeam refuses whatsmeow's own fetches of the app state and has us do them instead. whatsmeow decodes what another
// companion of the account wrote in goroutines that nothing protects: a hostile one would end the process.
type stateSeam struct {
	store.AppStateStore

	ask func(name string)
}

type ownFetch struct{}

// errAutomatic is what whatsmeow's own fetches get.
var errAutomatic = fmt.Errorf("app state is fetched by the session: %w", context.Canceled)

// GetAppStateVersion is the first thing that a fetch asks for.
func (s *stateSeam) GetAppStateVersion(ctx context.Context, name string) (version uint64, hash [128]byte, err error) {
	if ctx.Value(ownFetch{}) == nil {
		s.ask(name)
		return 0, hash, errAutomatic
	}
	return s.AppStateStore.GetAppStateVersion(ctx, name)
}

func (c *conn) readState(name appstate.WAPatchName) {
	var err error
	defer func() {
		if err != nil && c.ctx.Err() == nil {
			c.log.Warn("app state could not be fetched", "collection", string(name), "error", redact(err.Error()))
		}
	}()
	defer c.actor.watch.contain("app_state", &err)
	ctx, cancel := context.WithTimeout(context.WithValue(c.ctx, ownFetch{}, true), stateTimeout)
	defer cancel()
	err = c.cli.FetchAppState(ctx, name, false, false)
}
