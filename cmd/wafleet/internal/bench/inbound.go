package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"
)

// InboundOptions are those of [Inbound].
type InboundOptions struct {
	Options

	Messages int  // over all sessions
	Groups   bool // in groups, rather than to each alone
}

const maxMessages = 1_000_000

// InboundReport is what [Inbound] measured.
type InboundReport struct {
	Benchmark string           `json:"benchmark"`
	Engine    string           `json:"engine"`
	Sessions  int              `json:"sessions"`
	Messages  int              `json:"messages"`
	Groups    bool             `json:"groups"`
	Rounds    int              `json:"rounds"` // of each variant the round with the median rate is reported
	Machine   Machine          `json:"machine"`
	Reference string           `json:"reference"`
	Variants  []InboundVariant `json:"variants"`
	Ratio     InboundRatio     `json:"ratio"`
}

// InboundVariant is how one variant took the messages in.
type InboundVariant struct {
	Name Variant `json:"name"`
	// PerSecond is the rate from the first to the last acknowledgement, as the simulator saw them.
	PerSecond float64 `json:"perSecond"`
	DrainMS   float64 `json:"drainMs"`
	// TotalMS is from the beginning of the first login to the last acknowledgement.
	TotalMS float64 `json:"totalMs"`
	// Latency is from a message's arrival at the client's socket to its acknowledgement. While a queue drains it holds the wait behind
	// the messages that came before.
	Latency Latency `json:"latency"`
	// ProcessorMS is how long the variant's process kept processors busy for each message, logins included.
	ProcessorMS float64 `json:"processorMsPerMessage"`

	Queued       int `json:"queued"`
	Acknowledged int `json:"acknowledged"`
	Stored       int `json:"stored"` // by bare clients: handed to the event handler
	Retries      int `json:"retries"`

	Commits *Commits `json:"commits,omitempty"` // of the fleet
}

// InboundRatio compares the fleet's rate with the others', and its use of processors.
type InboundRatio struct {
	Bare            float64 `json:"bare"`
	BareMemory      float64 `json:"bareMemory"`
	BareTotal       float64 `json:"bareTotal"` // by the whole time, logins included
	MemoryTotal     float64 `json:"bareMemoryTotal"`
	BareProcessor   float64 `json:"bareProcessor"`
	MemoryProcessor float64 `json:"bareMemoryProcessor"`
}

// Inbound measures how fast messages that were queued for offline devices are taken in. It fails with [ErrCounts] unless each
// was acknowledged once and stored once, and none had to be asked for again.
func Inbound(ctx context.Context, o InboundOptions) (report InboundReport, err error) {
	if o.Messages < o.Sessions || o.Messages > maxMessages {
		return report, fmt.Errorf("%w: messages must be at least one per session and at most %d", ErrOptions, maxMessages)
	}
	r, err := begin(o.Options)
	if err != nil {
		return report, err
	}
	if o.Groups {
		o.Messages -= o.Messages % o.Sessions // each message goes to all members
	}
	defer func() { err = errors.Join(err, r.end()) }()
	report = InboundReport{
		Benchmark: "inbound", Engine: engineOf(o.Database), Sessions: o.Sessions, Messages: o.Messages, Groups: o.Groups, Rounds: o.Rounds, Machine: machine(),
		Reference: "bare whatsmeow clients with SynchronousAck and EnableDecryptedEventBuffer, same run: on whatsmeow's sqlstore with the " +
			"same engine and settings (bare), and on Go maps (bare-memory: the limit, nothing is stored)",
	}
	report.Variants, err = inVariants(ctx, r, []Variant{BareMemory, Bare, Fleet},
		func(p *prepared, _ int) (InboundVariant, error) { return r.inbound(ctx, p, o) },
		func(m InboundVariant) float64 { return m.PerSecond })
	if err != nil {
		return report, err
	}
	memory, bare, fleet := &report.Variants[0], &report.Variants[1], &report.Variants[2]
	report.Ratio = InboundRatio{
		Bare: ratio(fleet.PerSecond, bare.PerSecond), BareMemory: ratio(fleet.PerSecond, memory.PerSecond),
		BareTotal: ratio(bare.TotalMS, fleet.TotalMS), MemoryTotal: ratio(memory.TotalMS, fleet.TotalMS),
		BareProcessor:   ratio(fleet.ProcessorMS, bare.ProcessorMS),
		MemoryProcessor: ratio(fleet.ProcessorMS, memory.ProcessorMS),
	}
	return report, nil
}

func (r *run) inbound(ctx context.Context, p *prepared, o InboundOptions) (m InboundVariant, err error) {
	v, messages := p.plan.Variant, o.Messages
	m.Name = v
	r.say("%s: queueing %d messages", v, messages)
	work := r.sessionsTimeout() + time.Duration(messages)*perMessage
	err = r.askSimulator(ctx, work, doFill, fillArgs{First: p.plan.First, Count: r.Sessions, Messages: messages, Groups: o.Groups}, nil)
	if err != nil {
		return m, err
	}
	if err = p.call(ctx, startTimeout, doStart, p.plan, nil); err != nil {
		return m, err
	}
	// the same heap to start from, whatever the preparations left behind
	if err = p.call(ctx, measureTimeout, doMemory, true, nil); err != nil {
		return m, err
	}
	r.say("%s: connecting and draining", v)
	started := time.Now()
	if err = p.call(ctx, work, doConnect, nil, nil); err != nil {
		return m, err
	}
	var seen tally
	profile := ""
	if r.Profile != "" {
		profile = filepath.Join(r.Profile, fmt.Sprintf("simulator-of-%s.pprof", v))
	}
	if err = r.askSimulator(ctx, work, doWaitDrain, profile, &seen); err != nil {
		return m, err
	}
	var got counts
	if err = p.call(ctx, work, doCounts, nil, &got); err != nil {
		return m, err
	}
	drain := seen.Last.Sub(seen.First)
	m.DrainMS, m.TotalMS = milliseconds(drain), milliseconds(seen.Last.Sub(started))
	m.Latency = seen.Latency
	m.PerSecond = ratio(float64(seen.Acknowledged), drain.Seconds())
	m.ProcessorMS = ratio(milliseconds(got.Processor), float64(messages))
	m.Queued, m.Acknowledged, m.Stored, m.Retries = seen.Queued, seen.Acknowledged, got.Messages, seen.Retries
	if v == Fleet {
		m.Commits = &got.Commits
	}
	return m, check(messages, seen, got)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// check says what went wrong with the messages.
func check(messages int, seen tally, got counts) error {
	var faults []error
	want := func(what string, have, want int) {
		if have != want {
			faults = append(faults, fmt.Errorf("%w: %s: %d, not %d", ErrCounts, what, have, want))
		}
	}
	want("queued", seen.Queued, messages)
	want("acknowledged", seen.Acknowledged, messages)
	want("acknowledged a second time", seen.Twice, 0)
	want("acknowledged that nobody sent", seen.Unexpected, 0)
	want("asked for again by retry receipt", seen.Retries, 0)
	want("refused", seen.Refused, 0)
	want("lost by the simulator", seen.Dropped, 0)
	want("stored", got.Messages, messages)
	want("distinct", got.Distinct, messages)
	want("not decrypted", got.Undecrypted, 0)
	return errors.Join(faults...)
}

// WriteTable prints the report for people.
func (r *InboundReport) WriteTable(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(w, "inbound: %d messages queued for %d sessions%s, %s, %s%s\n\n", r.Messages, r.Sessions, map[bool]string{true: " in groups"}[r.Groups],
		r.Engine, r.Machine, medianOf(r.Rounds))
	_, _ = fmt.Fprintln(out, "\tmessages/s\tdrained in\twith logins\tp50\tp99\tCPU per message\tacknowledged\tstored\tretries\t")
	for _, v := range r.Variants {
		_, _ = fmt.Fprintf(out, "%s\t%.0f\t%.2f s\t%.2f s\t%.0f ms\t%.0f ms\t%.2f ms\t%d\t%d\t%d\t\n", v.Name, v.PerSecond, v.DrainMS/1000, v.TotalMS/1000,
			v.Latency.P50MS, v.Latency.P99MS, v.ProcessorMS, v.Acknowledged, v.Stored, v.Retries)
	}
	_, _ = fmt.Fprintf(out, "fleet : bare\t%.2f\t\t%.2f\t\t\t%.2f\t\t\t\t\n", r.Ratio.Bare, r.Ratio.BareTotal, r.Ratio.BareProcessor)
	_, _ = fmt.Fprintf(out, "fleet : bare-memory\t%.2f\t\t%.2f\t\t\t%.2f\t\t\t\t\n", r.Ratio.BareMemory, r.Ratio.MemoryTotal, r.Ratio.MemoryProcessor)
	if err := out.Flush(); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(w, "\nmessages/s: from the first to the last acknowledgement, as the simulator saw them; with logins: from the first login")
	_, _ = fmt.Fprintln(w, "p50, p99: from a message's arrival at the socket to its acknowledgement, the wait behind those before it included")
	_, _ = fmt.Fprintln(w, "ratios: of rates, so that more is better; of CPU per message, so that less is better")
	for _, v := range r.Variants {
		if c := v.Commits; c != nil {
			_, _ = fmt.Fprintf(w, "%s's group commit: %d transactions for %d callers, busy for %.2f s\n",
				v.Name, c.Transactions, c.Callers, float64(c.BusyMS)/1000)
		}
	}
	_, err := fmt.Fprintln(w, "reference:", r.Reference)
	return err
}
