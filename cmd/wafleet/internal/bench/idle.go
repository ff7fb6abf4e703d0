package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// IdleOptions are those of [Idle].
type IdleOptions struct {
	Options

	Settle time.Duration // how long the sessions are left alone before the second look
}

// idlePromise is what an idle session may cost at most, in bare clients.
const idlePromise = 1.15

// IdleReport is what [Idle] measured.
type IdleReport struct {
	Benchmark string        `json:"benchmark"`
	Engine    string        `json:"engine"`
	Sessions  int           `json:"sessions"`
	Rounds    int           `json:"rounds"` // of each variant the round with the median RSS is reported
	SettleMS  int64         `json:"settleMs"`
	Machine   Machine       `json:"machine"`
	Reference string        `json:"reference"`
	Variants  []IdleVariant `json:"variants"`
	// Ratio is the fleet's session over the reference's, after a forced collection.
	Ratio   IdleRatio `json:"ratio"`
	Promise float64   `json:"promise"`
}

// IdleVariant is one variant's memory.
type IdleVariant struct {
	Name      Variant `json:"name"`
	Before    Memory  `json:"before"` // all but the sessions, collected
	OnlineMS  int64   `json:"onlineMs"`
	Connected Memory  `json:"connected"` // as soon as all are online
	Settled   Memory  `json:"settled"`   // later, as it is
	Collected Memory  `json:"collected"` // then, after a forced collection

	PerSession        PerSession `json:"perSession"`        // of Collected
	PerSessionSettled PerSession `json:"perSessionSettled"` // of Settled
}

// IdleRatio compares two variants per session.
type IdleRatio struct {
	RSS        float64 `json:"rss"`
	RSSSettled float64 `json:"rssSettled"`
	LiveHeap   float64 `json:"liveHeap"`
}

// Idle measures the memory of sessions that are online and have nothing to do.
func Idle(ctx context.Context, o IdleOptions) (report IdleReport, err error) {
	r, err := begin(o.Options)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, r.end()) }()
	r.exact = true
	report = IdleReport{
		Benchmark: "idle", Engine: engineOf(o.Database), Sessions: o.Sessions, Rounds: o.Rounds, SettleMS: o.Settle.Milliseconds(),
		Machine: machine(), Promise: idlePromise,
		Reference: "bare whatsmeow clients on whatsmeow's sqlstore, same engine and settings, same run",
	}
	report.Variants, err = inVariants(ctx, r, []Variant{Bare, Fleet},
		func(p *prepared, _ int) (IdleVariant, error) { return r.idle(ctx, p, o.Settle) },
		func(m IdleVariant) float64 { return m.PerSession.RSS })
	if err != nil {
		return report, err
	}
	bare, fleet := &report.Variants[0], &report.Variants[1]
	report.Ratio = IdleRatio{
		RSS:        ratio(fleet.PerSession.RSS, bare.PerSession.RSS),
		RSSSettled: ratio(fleet.PerSessionSettled.RSS, bare.PerSessionSettled.RSS),
		LiveHeap:   ratio(fleet.PerSession.LiveHeap, bare.PerSession.LiveHeap),
	}
	return report, nil
}

// ratio is 0 where there is nothing to compare with.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func (r *run) idle(ctx context.Context, p *prepared, settle time.Duration) (m IdleVariant, err error) {
	m.Name = p.plan.Variant
	if err = p.call(ctx, startTimeout, doStart, p.plan, nil); err != nil {
		return m, err
	}
	if err = p.call(ctx, measureTimeout, doMemory, true, &m.Before); err != nil {
		return m, err
	}
	r.say("%s: connecting", m.Name)
	started := time.Now()
	if err = p.call(ctx, r.sessionsTimeout(), doConnect, nil, nil); err != nil {
		return m, err
	}
	if err = r.askSimulator(ctx, r.sessionsTimeout(), doWaitOnline, r.Sessions, nil); err != nil {
		return m, err
	}
	m.OnlineMS = time.Since(started).Milliseconds()
	if err = p.call(ctx, measureTimeout, doMemory, false, &m.Connected); err != nil {
		return m, err
	}
	r.say("%s: all online, waiting %v", m.Name, settle)
	if err = pause(ctx, settle); err != nil {
		return m, err
	}
	if err = p.call(ctx, measureTimeout, doMemory, false, &m.Settled); err != nil {
		return m, err
	}
	if err = p.call(ctx, measureTimeout, doMemory, true, &m.Collected); err != nil {
		return m, err
	}
	if err = r.stillOnline(ctx); err != nil {
		return m, err
	}
	m.PerSession = m.Collected.minus(m.Before, r.Sessions)
	m.PerSessionSettled = m.Settled.minus(m.Before, r.Sessions)
	return m, p.call(ctx, measureTimeout, doCounts, nil, nil)
}

// stillOnline sees that all sessions are there after the wait.
func (r *run) stillOnline(ctx context.Context) error {
	var active int
	if err := r.askSimulator(ctx, measureTimeout, doActive, nil, &active); err != nil {
		return err
	}
	if active != r.Sessions {
		return fmt.Errorf("%w: %d of %d sessions are online after the wait", ErrCounts, active, r.Sessions)
	}
	return nil
}

// ErrCounts means that a variant did not do what was to be measured.
var ErrCounts = errors.New("wrong count")

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// WriteTable prints the report for people.
func (r *IdleReport) WriteTable(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(w, "idle: %d sessions online, %s, %s%s\n\n", r.Sessions, r.Engine, r.Machine, medianOf(r.Rounds))
	_, _ = fmt.Fprintln(out, "per session\tRSS collected\tRSS settled\tlive heap\tstacks\tgoroutines\tall online after\tprocess before\t")
	for _, v := range r.Variants {
		_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%.1f\t%.1f s\t%s\t\n", v.Name,
			kib(v.PerSession.RSS), kib(v.PerSessionSettled.RSS), kib(v.PerSession.LiveHeap), kib(v.PerSession.Stacks),
			v.PerSession.Goroutines, float64(v.OnlineMS)/1000, mib(v.Before.RSS))
	}
	_, _ = fmt.Fprintf(out, "ratio\t%.2f\t%.2f\t%.2f\t\t\t\t\t\n", r.Ratio.RSS, r.Ratio.RSSSettled, r.Ratio.LiveHeap)
	if err := out.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nsettled: %v after all were online; collected: then, after a forced collection\nreference: %s\npromise: at most %.2f × the reference\n",
		time.Duration(r.SettleMS)*time.Millisecond, r.Reference, r.Promise)
	return err
}

func kib(bytes float64) string { return fmt.Sprintf("%.1f KiB", bytes/1024) }

// size is in the unit in which it is best read.
func size(bytes int) string {
	if bytes < 1<<20 {
		return kib(float64(bytes))
	}
	return mib(int64(bytes))
}

func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
