package session

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"

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
	job := historyJob{id: id, note: note}
	if note.GetSyncType() == waE2E.HistorySyncType_ON_DEMAND { // somebody waits for it
		c.jobs.histories = slices.Insert(c.jobs.histories, 0, job)
	} else {
		c.jobs.histories = append(c.jobs.histories, job)
	}
	c.workLocked()
}

// fetchState queues a collection of the app state.
func (c *conn) fetchState(name string) {
	patch := appstate.WAPatchName(name)
	if !slices.Contains(appstate.AllPatchNames[:], patch) {
		return
	}
	c.actor.owed.add(patch)
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
	c.mu.Lock()
	defer c.mu.Unlock()
	c.actor.leftover.put(c.jobs.histories...)
	c.jobs.histories = nil
}

// readHistory downloads a history, stores it, and tells the phone. If the connection ends before, the next one goes on with it:
// the phone announces it but once.
func (c *conn) readHistory(job historyJob) {
	const tries = 3
	// A history is held in memory, packed and unpacked: only so many at a time in the whole fleet. Waiting behind other tenants
	// does not count against the deadline.
	if c.actor.fleet.histories.Acquire(c.ctx, 1) != nil {
		c.actor.leftover.put(job)
		return
	}
	defer c.actor.fleet.histories.Release(1)
	ctx, cancel := context.WithTimeout(c.ctx, historyTimeout)
	defer cancel()
	var err error
	for n := range tries {
		if err = c.storeHistory(ctx, job); err == nil || ctx.Err() != nil || errors.Is(err, ErrPanicked) || errors.Is(err, errHistoryTooLarge) {
			break
		}
		timer := time.NewTimer(jitter(time.Duration(n+1) * 4 * time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	switch {
	case err != nil && c.ctx.Err() != nil && !errors.Is(err, ErrPanicked):
		c.actor.leftover.put(job)
	case err != nil:
		c.log.Warn("history could not be taken over", "error", redact(err.Error()))
		c.backfills.answered(job.note, pageAnswer{err: err})
	}
}

func (c *conn) storeHistory(ctx context.Context, job historyJob) (err error) {
	defer c.actor.watch.contain("history", &err)
	blob, err := c.downloadHistory(ctx, job.note)
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	came, err := c.storeBlob(ctx, blob)
	if err != nil {
		return err
	}
	c.tellTaken(blob, came)
	c.backfills.answered(job.note, pageOf(blob, came))
	if err = c.cli.SendProtocolMessageReceipt(ctx, job.id, types.ReceiptTypeHistorySync); err != nil {
		return fmt.Errorf("tell the phone: %w", err)
	}
	return nil
}

// maxHistoryBytes bounds a history unpacked. Phones send a few MB at a time.
const maxHistoryBytes = 256 << 20

var errHistoryTooLarge = errors.New("history is too large when unpacked")

// downloadHistory fetches a history. whatsmeow unpacks without a limit, so it is measured first: a few packed MB can hold gigabytes.
func (c *conn) downloadHistory(ctx context.Context, note *waE2E.HistorySyncNotification) (*waHistorySync.HistorySync, error) {
	packed := note.GetInitialHistBootstrapInlinePayload()
	if packed == nil {
		var err error
		if packed, err = c.cli.Download(ctx, note); err != nil {
			return nil, err
		}
	}
	if err := measure(packed, maxHistoryBytes); err != nil {
		return nil, err
	}
	note = proto.CloneOf(note)
	note.InitialHistBootstrapInlinePayload = packed // not fetched again
	return c.cli.DownloadHistorySync(ctx, note, true)
}

// measure unpacks data to nowhere. Returns errHistoryTooLarge if that is more than limit.
func measure(packed []byte, limit int64) error {
	r, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return fmt.Errorf("unpack: %w", err)
	case n > limit:
		return errHistoryTooLarge
	}
	return nil
}

// leftover keeps the histories that a connection did not get to for the next one.
type leftover struct {
	mu   sync.Mutex
	jobs []historyJob
}

func (l *leftover) put(jobs ...historyJob) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs = append(l.jobs, jobs[:min(len(jobs), maxHistories-len(l.jobs))]...)
}

func (l *leftover) take() []historyJob {
	l.mu.Lock()
	defer l.mu.Unlock()
	jobs := l.jobs
	l.jobs = nil
	return jobs
}

// storeBlob stores a history and returns how many messages it brought.
func (c *conn) storeBlob(ctx context.Context, blob *waHistorySync.HistorySync) (came int, err error) {
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
		if _, message := change.(tenant.PutMessage); message {
			came++
		}
		if batch = append(batch, change); len(batch) == maxHistoryChanges {
			if err = flush(); err != nil {
				return came, err
			}
		}
	}
	return came, flush()
}
