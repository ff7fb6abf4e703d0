package tenant

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// RetentionMetrics is what a [Retention] reports. *metrics.Retention has these methods.
type RetentionMetrics interface {
	// Deleted counts messages and events of a tenant that were deleted because of their age or of how much is kept.
	Deleted(tenant string, messages, events int)
}

// Retention deletes what tenants' limits say is too old, or too much, in small steps: the commits of others pass between two of them.
type Retention struct {
	Store   Store
	Limits  *LimitBook
	Metrics RetentionMetrics
	Log     *slog.Logger
	// Every is how long it rests between two rounds over all tenants; 10 min.
	Every time.Duration
	// Pause is how long it rests between two steps of one tenant; 50 ms.
	Pause time.Duration
}

const (
	retentionEvery = 10 * time.Minute
	retentionPause = 50 * time.Millisecond
	// retentionStep is how many messages, and how many events, one step deletes.
	retentionStep = 200
	// retentionPage is how many tenants are read at a time.
	retentionPage = 500
	// retentionTimeout bounds one step.
	retentionTimeout = 30 * time.Second
	// maxHalvings bounds how often the time is moved on before which things are deleted because too much is kept.
	maxHalvings = 32
	// youngest is what is never deleted because too much is kept: whoever reads events needs some time to read them.
	youngest = time.Hour
)

// Run deletes until ctx ends.
func (r *Retention) Run(ctx context.Context) error {
	every := r.Every
	if every <= 0 {
		every = retentionEvery
	}
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := r.Round(ctx); err != nil && ctx.Err() == nil {
			r.Log.WarnContext(ctx, "retention goes on later", slog.Any("error", err))
		}
		timer.Reset(every)
	}
}

// Round deletes of all tenants what is to be deleted now. What failed for one tenant does not keep it from the others.
func (r *Retention) Round(ctx context.Context) error {
	var faults error
	for page := (Page{Limit: retentionPage}); ; {
		if !r.any() {
			return faults
		}
		list, err := r.Store.List(ctx, Query{Page: page})
		if err != nil {
			return errors.Join(faults, fmt.Errorf("list tenants: %w", err))
		}
		for _, t := range list.Tenants {
			err := r.tenant(ctx, t.ID)
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil && !errors.Is(err, ErrNotFound):
				faults = errors.Join(faults, fmt.Errorf("tenant %s: %w", t.ID, err))
			}
			if errors.Is(err, ErrUnavailable) {
				return faults // for the others, too
			}
		}
		if page.Cursor = list.Next; page.Cursor == "" {
			return faults
		}
	}
}

// any says whether anything is to be deleted of anybody: most nodes keep all.
func (r *Retention) any() bool {
	if defaults := r.Limits.Defaults(); defaults.retains() {
		return true
	}
	r.Limits.mu.RLock()
	defer r.Limits.mu.RUnlock()
	for _, l := range r.Limits.effective {
		if l.retains() {
			return true
		}
	}
	return false
}

// retains says whether the limits have anything deleted.
func (l *Limits) retains() bool {
	return l.MessageRetentionDays > 0 || l.EventRetentionDays > 0 || l.RetentionBytes > 0
}

// tenant deletes of one tenant what is to be deleted.
func (r *Retention) tenant(ctx context.Context, id ID) error {
	limits := r.Limits.Of(id)
	if !limits.retains() {
		return nil
	}
	h := r.Store.Tenant(id)
	now := time.Now()
	var p Prune
	if days := limits.MessageRetentionDays; days > 0 {
		p.MessagesBefore = now.AddDate(0, 0, -int(days))
	}
	if days := limits.EventRetentionDays; days > 0 {
		p.EventsBefore = now.AddDate(0, 0, -int(days))
	}
	if err := r.prune(ctx, h, p, 0); err != nil {
		return err
	}
	if limits.RetentionBytes > 0 {
		return r.shrink(ctx, h, limits.RetentionBytes, now)
	}
	return nil
}

// prune deletes what is older, step by step. With most, it ends when no more than that is kept.
func (r *Retention) prune(ctx context.Context, h Handle, p Prune, most int64) error {
	p.Limit = retentionStep
	for {
		step, cancel := context.WithTimeout(ctx, retentionTimeout)
		done, err := h.Prune(step, p)
		cancel()
		if err != nil {
			return err
		}
		if done.Messages > 0 || done.Events > 0 {
			r.Metrics.Deleted(string(h.ID()), done.Messages, done.Events)
		}
		if !done.More {
			return nil
		}
		if most > 0 {
			if stored, err := h.Stored(ctx); err != nil || stored <= most {
				return err
			}
		}
		if err = r.rest(ctx); err != nil {
			return err
		}
	}
}

// shrink deletes the oldest until no more than so many bytes are kept. How old that is shows step by step: each deletes a part of the
// time for which things are kept, as large as the part that is too much.
func (r *Retention) shrink(ctx context.Context, h Handle, most int64, now time.Time) error {
	for range maxHalvings {
		stored, err := h.Stored(ctx)
		if err != nil || stored <= most {
			return err
		}
		oldest, err := h.Oldest(ctx)
		if err != nil || oldest.IsZero() || now.Sub(oldest) <= youngest {
			return err
		}
		part := float64(stored-most) / float64(stored)
		before := oldest.Add(max(time.Minute, time.Duration(part*float64(now.Sub(oldest)))))
		if latest := now.Add(-youngest); before.After(latest) {
			before = latest
		}
		if err = r.prune(ctx, h, Prune{MessagesBefore: before, EventsBefore: before}, most); err != nil {
			return err
		}
	}
	return nil
}

func (r *Retention) rest(ctx context.Context) error {
	pause := r.Pause
	if pause <= 0 {
		pause = retentionPause
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
