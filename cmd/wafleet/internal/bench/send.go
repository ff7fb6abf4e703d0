package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/metrics"
	"github.com/wafleet/wafleet/tenant"
)

// SendOptions are those of [Send].
type SendOptions struct {
	Options

	Messages int // of the one session, one after the other
}

// sendPromise is how much longer a send through the API may take than a bare one, by the medians, in milliseconds.
const sendPromise = 2

// SendReport is what [Send] measured.
type SendReport struct {
	Benchmark string        `json:"benchmark"`
	Engine    string        `json:"engine"`
	Sessions  int           `json:"sessions"`
	Messages  int           `json:"messages"`
	Rounds    int           `json:"rounds"` // of each variant the round with the median p50 is reported
	Machine   Machine       `json:"machine"`
	Reference string        `json:"reference"`
	Variants  []SendVariant `json:"variants"`
	// Above is how much longer the fleet's took than those of bare clients on the same engine.
	Above   Latency `json:"above"`
	Promise float64 `json:"promiseMs"`
}

// SendVariant is how long one variant's sends took, from the call to the return.
type SendVariant struct {
	Name    Variant `json:"name"`
	Latency Latency `json:"latency"`
}

// sendArgs says what a target is to send.
type sendArgs struct {
	To       string `json:"to"` // phone number
	Messages int    `json:"messages"`
}

// sender is a variant that can send. It returns how long each message took.
type sender interface {
	send(ctx context.Context, args sendArgs) ([]time.Duration, error)
}

// Send measures how long a message takes from the call to the return, that is until WhatsApp has acknowledged it: POST …/messages of the
// fleet's API over loopback, beside SendMessage of a bare client.
func Send(ctx context.Context, o SendOptions) (report SendReport, err error) {
	if o.Sessions != 1 || o.Messages < 1 || o.Messages > maxMessages {
		return report, fmt.Errorf("%w: one session, and 1 to %d messages", ErrOptions, maxMessages)
	}
	r, err := begin(o.Options)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, r.end()) }()
	report = SendReport{
		Benchmark: "send", Engine: engineOf(o.Database), Sessions: o.Sessions, Messages: o.Messages, Rounds: o.Rounds, Machine: machine(),
		Promise:   sendPromise,
		Reference: "SendMessage of a bare whatsmeow client, same run: on whatsmeow's sqlstore with the same engine and settings (bare), and on Go maps (bare-memory)",
	}
	report.Variants, err = inVariants(ctx, r, []Variant{BareMemory, Bare, Fleet},
		func(p *prepared, _ int) (SendVariant, error) { return r.send(ctx, p, o.Messages) },
		func(m SendVariant) float64 { return m.Latency.P50MS })
	if err != nil {
		return report, err
	}
	bare, fleet := report.Variants[1].Latency, report.Variants[2].Latency
	report.Above = Latency{P50MS: fleet.P50MS - bare.P50MS, P99MS: fleet.P99MS - bare.P99MS}
	return report, nil
}

func (r *run) send(ctx context.Context, p *prepared, messages int) (m SendVariant, err error) {
	m.Name = p.plan.Variant
	args := sendArgs{Messages: messages}
	if err = r.askSimulator(ctx, startTimeout, doCorrespondent, nil, &args.To); err != nil {
		return m, err
	}
	if err = p.call(ctx, startTimeout, doStart, p.plan, nil); err != nil {
		return m, err
	}
	if err = p.call(ctx, r.sessionsTimeout(), doConnect, nil, nil); err != nil {
		return m, err
	}
	if err = r.askSimulator(ctx, r.sessionsTimeout(), doWaitOnline, r.Sessions, nil); err != nil {
		return m, err
	}
	r.say("%s: sending", m.Name)
	var taken []time.Duration
	if err = p.call(ctx, startTimeout+time.Duration(messages)*perMessage, doSend, args, &taken); err != nil {
		return m, err
	}
	if len(taken) != messages {
		return m, fmt.Errorf("%w: %d of %d messages sent", ErrCounts, len(taken), messages)
	}
	m.Latency = latencyOf(taken)
	return m, p.call(ctx, measureTimeout, doCounts, nil, nil)
}

// timed sends messages one after the other. The first, for which keys must be fetched, does not count.
func timed(messages int, send func(text string) error) ([]time.Duration, error) {
	taken := make([]time.Duration, 0, messages)
	for i := range messages + 1 {
		start := time.Now()
		if err := send(text(i)); err != nil {
			return nil, fmt.Errorf("send message %d: %w", i, err)
		}
		if i > 0 {
			taken = append(taken, time.Since(start))
		}
	}
	return taken, nil
}

func (b *bareVariant) send(ctx context.Context, args sendArgs) ([]time.Duration, error) {
	to := types.NewJID(args.To, types.DefaultUserServer)
	return timed(args.Messages, func(text string) error {
		_, err := b.online[0].SendMessage(ctx, to, &waE2E.Message{Conversation: &text})
		return err
	})
}

func (f *fleetVariant) send(ctx context.Context, args sendArgs) (taken []time.Duration, err error) {
	tenants, err := f.db.List(ctx, tenant.Query{Page: tenant.Page{Limit: 1}})
	if err != nil {
		return nil, err
	}
	_, secret, err := f.db.Tenant(tenants.Tenants[0].ID).CreateKey(ctx, tenant.NewKey{})
	if err != nil {
		return nil, err
	}
	address, end, err := f.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	url := "http://" + address + "/api/chats/" + string(tenant.PersonID(args.To)) + "/messages"
	client := &http.Client{Timeout: startTimeout}
	defer client.CloseIdleConnections()
	return timed(args.Messages, func(text string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewBufferString(`{"message":"`+text+`"}`))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Api-Key", secret.Reveal())
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusCreated {
			err = fmt.Errorf("%w: %s: %s", ErrCounts, resp.Status, body)
		}
		return err
	})
}

// serve answers requests on loopback until end is called.
func (f *fleetVariant) serve(ctx context.Context) (address string, end func() error, err error) {
	api.InstallErrors()
	registry := prometheus.NewRegistry()
	handler, err := api.New(api.Config{ //nolint:contextcheck // requests have contexts of their own
		Store: f.db, Sessions: f.fleet, Metrics: metrics.New(registry), Gatherer: registry, Log: f.log,
	})
	if err != nil {
		return "", nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := api.NewHTTPServer(handler, f.log)
	life, cancel := context.WithCancel(ctx)
	served, streams := make(chan error, 1), make(chan error, 1)
	go func() { streams <- handler.Run(life) }()
	go func() { served <- server.Serve(api.Listener(listener)) }()
	return listener.Addr().String(), func() error {
		cancel()
		err := errors.Join(server.Close(), <-streams)
		if stopped := <-served; !errors.Is(stopped, http.ErrServerClosed) {
			err = errors.Join(err, stopped)
		}
		return err
	}, nil
}

// WriteTable prints the report for people.
func (r *SendReport) WriteTable(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(w, "send: %d messages of one session, one after the other, %s, %s%s\n\n", r.Messages, r.Engine, r.Machine, medianOf(r.Rounds))
	_, _ = fmt.Fprintln(out, "\tp50\tp99\t")
	for _, v := range r.Variants {
		_, _ = fmt.Fprintf(out, "%s\t%.2f ms\t%.2f ms\t\n", v.Name, v.Latency.P50MS, v.Latency.P99MS)
	}
	_, _ = fmt.Fprintf(out, "fleet - bare\t%+.2f ms\t%+.2f ms\t\n", r.Above.P50MS, r.Above.P99MS)
	if err := out.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nfrom the call (of the fleet: POST …/messages over loopback) until it returns, acknowledged by the simulator\nreference: %s\npromise: at most %d ms above bare, by the medians\n",
		r.Reference, sendPromise)
	return err
}
