package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// TenantsOptions are those of [Tenants]. Sessions is not used: the tenants have no device.
type TenantsOptions struct {
	Options

	Tenants  []int // the sizes, each on a database of its own
	Requests int   // of each kind, one after the other
}

const (
	// maxLooks bounds the requests of each kind.
	maxLooks = 100_000
	// looksPerScrape is how many requests of each kind there are for one scrape, which costs as much as many of them.
	looksPerScrape = 10
	// provisionAtOnce bounds the tenants that are made, or deleted, at a time.
	provisionAtOnce = 32
)

// TenantsReport is what [Tenants] measured.
type TenantsReport struct {
	Benchmark string        `json:"benchmark"`
	Engine    string        `json:"engine"`
	Requests  int           `json:"requests"`
	Rounds    int           `json:"rounds"` // of each size the round with the median rate of provisioning is reported
	Machine   Machine       `json:"machine"`
	Reference string        `json:"reference"`
	Sizes     []TenantsSize `json:"sizes"` // in the order in which they were asked for
}

// TenantsSize is what a node with so many tenants did.
type TenantsSize struct {
	Tenants     int     `json:"tenants"`
	Provisioned float64 `json:"provisionedPerSecond"` // tenants, each with a key
	// ServingMS is from a node's start on the database with these tenants until it answers.
	ServingMS  int64              `json:"servingMs"`
	Operations []TenantsOperation `json:"operations"`
	Text       Scrape             `json:"scrapeText"`
	Protobuf   Scrape             `json:"scrapeProtobuf"`
	Series     int                `json:"tenantSeries"` // of all tenants in a scrape
	// Deleted is at what rate every second tenant was deleted; the others keep their series.
	Deleted float64 `json:"deletedPerSecond"`
}

// TenantsOperation is how long an operation took.
type TenantsOperation struct {
	Name string `json:"name"`
	Latencies
}

// Tenants measures what an operator does with few and with many tenants.
func Tenants(ctx context.Context, o TenantsOptions) (report TenantsReport, err error) {
	o.Sessions = 1
	if o.Requests < 1 || o.Requests > maxLooks || len(o.Tenants) == 0 {
		return report, fmt.Errorf("%w: 1 to %d requests, and at least one number of tenants", ErrOptions, maxLooks)
	}
	if slices.Min(o.Tenants) < 2 || slices.Max(o.Tenants) > maxSessions {
		return report, fmt.Errorf("%w: tenants must be 2 to %d", ErrOptions, maxSessions)
	}
	r, err := begin(o.Options)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, r.end()) }()
	if err = r.simulate(ctx); err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, r.sim.close()) }()
	report = TenantsReport{
		Benchmark: "tenants", Engine: engineOf(o.Database), Requests: o.Requests, Rounds: o.Rounds, Machine: machine(),
		Reference: fmt.Sprintf("%d tenants, same run", o.Tenants[0]),
	}
	report.Sizes, err = inRounds(r.Rounds, o.Tenants, func(tenants, place int) (TenantsSize, error) {
		return r.tenants(ctx, tenants, place, o.Requests)
	}, func(m TenantsSize) float64 { return m.Provisioned })
	return report, err
}

// tenants measures one size. Another node than the one that made the tenants is asked: it finds them all at its start, and what they
// used is stored.
func (r *run) tenants(ctx context.Context, size, place, requests int) (m TenantsSize, err error) {
	m.Tenants = size
	name := fmt.Sprintf("tenants-%d-%d", size, place)
	database, drop, err := r.scratch(ctx, name)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, drop()) }()
	plan := r.planNode(database, name+"-made")
	all := make([]resident, size)
	err = r.withNode(ctx, plan, func(b *bailiff) error { return b.provision(ctx, all, &m) })
	if err != nil {
		return m, err
	}
	if err = r.analyze(ctx, database); err != nil {
		return m, err
	}
	plan.Name = name
	started := time.Now()
	err = r.withNode(ctx, plan, func(b *bailiff) error {
		m.ServingMS = time.Since(started).Milliseconds()
		return b.measure(ctx, all, requests, &m)
	})
	return m, err
}

// measure does all that an operator does, with a node that has just started.
func (b *bailiff) measure(ctx context.Context, all []resident, requests int, m *TenantsSize) error {
	if err := b.useKeys(ctx, all); err != nil {
		return err
	}
	told, err := readMetrics(ctx, b.admin)
	if err != nil {
		return err
	}
	if err = checkSeries(told, all, seriesEach); err != nil {
		return err
	}
	m.Series = seriesEach * len(all)
	looks, err := b.looks(ctx, all)
	if err != nil {
		return err
	}
	b.run.say("%d tenants: %d requests of each kind", len(all), requests)
	for _, l := range looks {
		taken := samples{}
		for i := range requests {
			if err = l.look(ctx, i, taken); err != nil {
				return err
			}
		}
		m.Operations = append(m.Operations, TenantsOperation{l.name, taken.latencies(l.name)})
	}
	scrapes := max(1, requests/looksPerScrape)
	if m.Text, err = measureScrapes(ctx, b.admin, formText, scrapes); err != nil {
		return err
	}
	if m.Protobuf, err = measureScrapes(ctx, b.admin, formProtobuf, scrapes); err != nil {
		return err
	}
	return b.deleteHalf(ctx, all, m)
}

// WriteTable prints the report for people.
func (r *TenantsReport) WriteTable(w io.Writer) error {
	_, _ = fmt.Fprintf(w, "tenants: what an operator does with few and with many, %s, %s%s\n\n", r.Engine, r.Machine, medianOf(r.Rounds))
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, cell func(s *TenantsSize) string) {
		_, _ = fmt.Fprintf(out, "%s\t", name)
		for i := range r.Sizes {
			_, _ = fmt.Fprintf(out, "%s\t", cell(&r.Sizes[i]))
		}
		_, _ = fmt.Fprintln(out)
	}
	times := func(l Latencies) string { return fmt.Sprintf("%.2f / %.2f ms", l.P50, l.P99) }
	row("tenants", func(s *TenantsSize) string { return strconv.Itoa(s.Tenants) })
	row("made, with a key", func(s *TenantsSize) string { return fmt.Sprintf("%.0f/s", s.Provisioned) })
	row("a node's start", func(s *TenantsSize) string { return fmt.Sprintf("%d ms", s.ServingMS) })
	for i, op := range r.Sizes[0].Operations {
		row(op.Name, func(s *TenantsSize) string { return times(s.Operations[i].Latencies) })
	}
	for _, form := range []struct {
		name string
		of   func(s *TenantsSize) *Scrape
	}{
		{"/metrics, text", func(s *TenantsSize) *Scrape { return &s.Text }},
		{"/metrics, protobuf", func(s *TenantsSize) *Scrape { return &s.Protobuf }},
	} {
		row(form.name, func(s *TenantsSize) string { return times(form.of(s).Latencies) })
		row("its size", func(s *TenantsSize) string { return size(form.of(s).Bytes) })
		row("compressed", func(s *TenantsSize) string { return size(form.of(s).Wire) })
	}
	row("tenants' series", func(s *TenantsSize) string { return strconv.Itoa(s.Series) })
	row("deleted", func(s *TenantsSize) string { return fmt.Sprintf("%.0f/s", s.Deleted) })
	if err := out.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\ntimes are p50 / p99 of %d requests, one after the other; of /metrics, of %d\nreference: %s\n",
		r.Requests, r.Sizes[0].Text.Count, cmp.Or(r.Reference, "none"))
	return err
}
