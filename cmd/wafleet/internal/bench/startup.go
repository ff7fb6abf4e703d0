package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"
)

// StartupOptions are those of [Startup]. There is one session for each tenant.
type StartupOptions struct {
	Options

	Settle time.Duration // how long the sessions are left alone before the last look at the memory
	// Connects is how many sessions come online in a second, as with connects-per-second; 0: as many as can.
	Connects float64
}

// StartupReport is what [Startup] measured.
type StartupReport struct {
	Benchmark string  `json:"benchmark"`
	Engine    string  `json:"engine"`
	Sessions  int     `json:"sessions"`
	Rounds    int     `json:"rounds"` // of each variant the round with the median time is reported
	SettleMS  int64   `json:"settleMs"`
	Connects  float64 `json:"connectsPerSecond"` // of the node; 0: as many as can
	Machine   Machine `json:"machine"`
	Reference string  `json:"reference"`

	Variants []StartupVariant `json:"variants"`
	Ratio    StartupRatio     `json:"ratio"` // of the node to the reference
}

// StartupVariant is how one variant came online.
type StartupVariant struct {
	Name Variant `json:"name"`
	// ServingMS is when a node answered requests, OnlineMS when the simulator saw the last session, both from its start.
	ServingMS int64   `json:"servingMs,omitempty"`
	OnlineMS  int64   `json:"onlineMs"`
	PerSecond float64 `json:"perSecond"`

	Before    Memory `json:"before"` // the process without sessions, collected; of a node, on an empty database
	Connected Memory `json:"connected"`
	Collected Memory `json:"collected"` // after the wait and a forced collection

	PerSessionConnected PerSession `json:"perSessionConnected"`
	PerSession          PerSession `json:"perSession"` // of Collected

	Node *StartedNode `json:"node,omitempty"`
}

// StartedNode is what a node tells of itself when all are online.
type StartedNode struct {
	Commits StartupCommits `json:"commits"` // from its start until then
	// Failed are attempts to connect that failed and were made again, Lost sessions that were online and had to connect again.
	Failed int `json:"failedConnects"`
	Lost   int `json:"lostSessions"`
	// List is a page of 50 sessions, and Deep one near their end.
	List     Latencies `json:"listSessions"`
	Deep     Latencies `json:"listSessionsDeep"`
	Text     Scrape    `json:"scrapeText"`
	Protobuf Scrape    `json:"scrapeProtobuf"`
	StopMS   int64     `json:"stopMs"` // from the signal to the end of the process
}

// StartupCommits is what the group commit did, and how long its transactions took.
type StartupCommits struct {
	Commits
	Latency
}

// StartupRatio compares two variants.
type StartupRatio struct {
	Online float64 `json:"online"`
	RSS    float64 `json:"rss"`
	Heap   float64 `json:"liveHeap"`
}

const (
	// startupScrapes is how often /metrics is read.
	startupScrapes = 20
	// startupLooks is how often each page of sessions is.
	startupLooks = 100
)

// Startup measures how a whole node comes online with all its sessions, beside bare clients.
func Startup(ctx context.Context, o StartupOptions) (report StartupReport, err error) {
	if o.Connects < 0 || o.Connects > maxSessions || o.Settle < 0 {
		return report, fmt.Errorf("%w: connects in a second must be 0 to %d, and the wait not below 0", ErrOptions, maxSessions)
	}
	r, err := begin(o.Options)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, r.end()) }()
	report = StartupReport{
		Benchmark: "fleet", Engine: engineOf(o.Database), Sessions: o.Sessions, Rounds: o.Rounds, SettleMS: o.Settle.Milliseconds(),
		Connects: o.Connects, Machine: machine(),
		Reference: "bare whatsmeow clients on whatsmeow's sqlstore, same engine and settings, as many at a time, same run",
	}
	report.Variants, err = inVariants(ctx, r, []Variant{Bare, Node}, func(p *prepared, place int) (StartupVariant, error) {
		return r.startup(ctx, p, place, &o)
	}, func(m StartupVariant) float64 { return float64(m.OnlineMS) })
	if err != nil {
		return report, err
	}
	bare, node := &report.Variants[0], &report.Variants[1]
	report.Ratio = StartupRatio{
		Online: ratio(float64(node.OnlineMS), float64(bare.OnlineMS)),
		RSS:    ratio(node.PerSession.RSS, bare.PerSession.RSS), Heap: ratio(node.PerSession.LiveHeap, bare.PerSession.LiveHeap),
	}
	return report, nil
}

func (r *run) startup(ctx context.Context, p *prepared, place int, o *StartupOptions) (m StartupVariant, err error) {
	m.Name = p.plan.Variant
	start := r.startBare
	if m.Name == Node {
		if m.Before, err = r.emptyNode(ctx, place); err != nil {
			return m, err
		}
		start = r.startNode
	}
	if err = start(ctx, p, o, &m); err != nil {
		return m, err
	}
	m.PerSecond = ratio(float64(r.Sessions), float64(m.OnlineMS)/1000)
	m.PerSession, m.PerSessionConnected = m.Collected.minus(m.Before, r.Sessions), m.Connected.minus(m.Before, r.Sessions)
	return m, nil
}

// emptyNode is the memory of a node without tenants.
func (r *run) emptyNode(ctx context.Context, place int) (m Memory, err error) {
	database, drop, err := r.scratch(ctx, fmt.Sprintf("empty-%d", place))
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, drop()) }()
	n, err := r.node(ctx, r.planNode(database, "empty"))
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, n.process.close()) }()
	return n.memory(ctx, true)
}

func (r *run) startBare(ctx context.Context, p *prepared, o *StartupOptions, m *StartupVariant) (err error) {
	if err = p.call(ctx, startTimeout, doStart, p.plan, nil); err != nil {
		return err
	}
	if err = p.call(ctx, measureTimeout, doMemory, true, &m.Before); err != nil {
		return err
	}
	r.say("%s: connecting", m.Name)
	started := time.Now()
	if err = p.call(ctx, r.sessionsTimeout(), doConnect, nil, nil); err != nil {
		return err
	}
	if err = r.awaitOnline(ctx, started, m); err != nil {
		return err
	}
	look := func(force bool, into *Memory) error { return p.call(ctx, measureTimeout, doMemory, force, into) }
	if err = r.settle(ctx, o.Settle, look, m); err != nil {
		return err
	}
	return p.call(ctx, measureTimeout, doCounts, nil, nil)
}

// awaitOnline waits for the simulator to see all sessions.
func (r *run) awaitOnline(ctx context.Context, started time.Time, m *StartupVariant) error {
	timeout := r.sessionsTimeout()
	if err := r.askSimulator(ctx, timeout, doWaitOnline, r.Sessions, nil); err != nil {
		return err
	}
	m.OnlineMS = time.Since(started).Milliseconds()
	return nil
}

// settle leaves the sessions alone, looks at the memory before and after, and sees that all are still there.
func (r *run) settle(ctx context.Context, wait time.Duration, look func(force bool, into *Memory) error, m *StartupVariant) error {
	if err := look(false, &m.Connected); err != nil {
		return err
	}
	r.say("%s: all online after %d ms, waiting %v", m.Name, m.OnlineMS, wait)
	if err := pause(ctx, wait); err != nil {
		return err
	}
	if err := look(true, &m.Collected); err != nil {
		return err
	}
	return r.stillOnline(ctx)
}

// startNode starts a node whose tenants have devices, and ends it.
func (r *run) startNode(ctx context.Context, p *prepared, o *StartupOptions, m *StartupVariant) error {
	plan := r.planNode(p.plan.Database, string(Node))
	plan.MasterKey, plan.Connects = p.plan.MasterKey, o.Connects
	n := &runningNode{process: p.target, plan: plan}
	r.say("%s: starting", m.Name)
	started := time.Now()
	if err := n.serve(ctx); err != nil {
		return err
	}
	m.ServingMS = time.Since(started).Milliseconds()
	if err := r.awaitOnline(ctx, started, m); err != nil {
		return err
	}
	b := n.bailiff(r)
	defer b.admin.http.CloseIdleConnections()
	told, err := r.awaitTold(ctx, b.admin)
	if err != nil {
		return err
	}
	m.Node = &StartedNode{
		Commits: commitsIn(told), Failed: int(told.sum("wafleet_connect_attempts_total", "outcome", "failed")),
		Lost: int(told.sum("wafleet_connect_attempts_total", "outcome", "online")) - r.Sessions,
	}
	look := func(force bool, into *Memory) (err error) {
		*into, err = n.memory(ctx, force)
		return err
	}
	if err = r.settle(ctx, o.Settle, look, m); err != nil {
		return err
	}
	if err = b.watch(ctx, r.Sessions, m.Node); err != nil {
		return err
	}
	b.admin.http.CloseIdleConnections()
	r.say("%s: stopping", m.Name)
	stopped := time.Now()
	err = p.end()
	m.Node.StopMS = time.Since(stopped).Milliseconds()
	return err
}

// watch looks at all sessions as an operator and Prometheus do.
func (b *bailiff) watch(ctx context.Context, sessions int, n *StartedNode) (err error) {
	const list = "/admin/sessions?limit=50"
	deep, err := b.walk(ctx, list, sessions)
	if err != nil {
		return err
	}
	for _, page := range []struct {
		path string
		into *Latencies
	}{{list, &n.List}, {deep, &n.Deep}} {
		taken := samples{}
		for range startupLooks {
			started := time.Now()
			if err = b.admin.call(ctx, http.MethodGet, page.path, nil, nil); err != nil {
				return err
			}
			taken[page.path] = append(taken[page.path], time.Since(started))
		}
		*page.into = taken.latencies(page.path)
	}
	if n.Text, err = measureScrapes(ctx, b.admin, formText, startupScrapes); err != nil {
		return err
	}
	n.Protobuf, err = measureScrapes(ctx, b.admin, formProtobuf, startupScrapes)
	return err
}

// awaitTold waits until the node's metrics tell the same as the simulator, which sees a login before the node has heard its answer.
func (r *run) awaitTold(ctx context.Context, c *caller) (told families, err error) {
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	for {
		now, err := readMetrics(ctx, c)
		if err == nil {
			told = now
			if err = checkOnline(told, r.Sessions); err == nil {
				return told, nil
			}
		}
		if pause(ctx, tellEvery) != nil {
			return told, errors.Join(context.Cause(ctx), err)
		}
	}
}

const tellEvery = 250 * time.Millisecond

// checkOnline holds a node's metrics to what they must tell of so many sessions, all of them online.
func checkOnline(told families, sessions int) error {
	want := float64(sessions)
	for what, got := range map[string]float64{
		"online":              told.sum("wafleet_sessions", "state", "online"),
		"supervised":          told.sum("wafleet_sessions", "", ""),
		"tenants that are up": told.sum("wafleet_session_up", "", ""),
		"tenants with series": float64(len(told.tenants())),
	} {
		if got != want {
			return fmt.Errorf("%w: the node's metrics tell of %.0f %s, not %d", ErrCounts, got, what, sessions)
		}
	}
	if failures := told.sum("wafleet_commit_failures_total", "", ""); failures > 0 {
		return fmt.Errorf("%w: %.0f transactions failed", ErrCounts, failures)
	}
	return nil
}

// WriteTable prints the report for people.
func (r *StartupReport) WriteTable(w io.Writer) error {
	pace := "as fast as it goes"
	if r.Connects > 0 {
		pace = fmt.Sprintf("at %g a second", r.Connects)
	}
	_, _ = fmt.Fprintf(w, "fleet: %d sessions come online, %s, %s, %s%s\n\n", r.Sessions, pace, r.Engine, r.Machine, medianOf(r.Rounds))
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(out, "\tall online after\tsessions/s\tRSS online\tRSS collected\tlive heap\tgoroutines\tprocess before\t")
	for i := range r.Variants {
		v := &r.Variants[i]
		_, _ = fmt.Fprintf(out, "%s\t%.1f s\t%.0f\t%s\t%s\t%s\t%.1f\t%s\t\n", v.Name, float64(v.OnlineMS)/1000, v.PerSecond,
			kib(v.PerSessionConnected.RSS), kib(v.PerSession.RSS), kib(v.PerSession.LiveHeap), v.PerSession.Goroutines, mib(v.Before.RSS))
	}
	_, _ = fmt.Fprintf(out, "ratio\t%.2f\t\t\t%.2f\t%.2f\t\t\t\n", r.Ratio.Online, r.Ratio.RSS, r.Ratio.Heap)
	if err := out.Flush(); err != nil {
		return err
	}
	for i := range r.Variants {
		if v := &r.Variants[i]; v.Node != nil {
			v.Node.write(w, v.ServingMS)
		}
	}
	_, err := fmt.Fprintf(w, "\nmemory is per session, above the process before; collected: %v later, after a forced collection\nreference: %s\n",
		time.Duration(r.SettleMS)*time.Millisecond, r.Reference)
	return err
}

func (n *StartedNode) write(w io.Writer, servingMS int64) {
	_, _ = fmt.Fprintf(w, "\nthe node: answered after %.1f s, stopped in %.1f s; %d attempts to connect failed, %d sessions were lost\n", float64(servingMS)/1000,
		float64(n.StopMS)/1000, n.Failed, n.Lost)
	_, _ = fmt.Fprintf(w, "group commit until all were online: %d commits in %d transactions, p50 %.1f ms, p99 %.1f ms, busy %.1f s\n",
		n.Commits.Callers, n.Commits.Transactions, n.Commits.P50MS, n.Commits.P99MS, float64(n.Commits.BusyMS)/1000)
	_, _ = fmt.Fprintf(w, "list of sessions: a page p50 %.1f ms, p99 %.1f ms; a deep one p50 %.1f ms, p99 %.1f ms\n", n.List.P50, n.List.P99, n.Deep.P50,
		n.Deep.P99)
	_, _ = fmt.Fprintf(w, "/metrics: text p50 %.1f ms, p99 %.1f ms, %s (%s compressed); protobuf p50 %.1f ms, p99 %.1f ms, %s (%s compressed)\n",
		n.Text.P50, n.Text.P99, size(n.Text.Bytes), size(n.Text.Wire),
		n.Protobuf.P50, n.Protobuf.P99, size(n.Protobuf.Bytes), size(n.Protobuf.Wire))
}
