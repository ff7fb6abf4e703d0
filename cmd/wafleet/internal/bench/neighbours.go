package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/adminapi"
)

// NeighboursOptions are what [Neighbours] takes. Sessions is not used: there are two.
type NeighboursOptions struct {
	Options

	// Limit is how many requests in a second the noisy tenant may make. It makes a hundred times as many.
	Limit int
	// Phase is how long the quiet tenant is measured alone, and how long beside the noisy one, in each round.
	Phase time.Duration
}

const (
	// noise is how many times its limit the noisy tenant asks for.
	noise = 100
	// maxNeighbourLimit keeps the load from being more than the machine of the load can make.
	maxNeighbourLimit = 1000
	// neighbourPromise is the ratio of the p99.
	neighbourPromise = 1.5
	// pastMessages are the messages that each tenant's chat has.
	pastMessages = 200
)

// NeighboursReport is what [Neighbours] measured.
type NeighboursReport struct {
	Benchmark  string               `json:"benchmark"`
	Engine     string               `json:"engine"`
	Rounds     int                  `json:"rounds"`
	PhaseMS    int64                `json:"phaseMs"`
	Machine    Machine              `json:"machine"`
	Reference  string               `json:"reference"`
	Operations []NeighbourOperation `json:"operations"` // of the quiet tenant
	Noisy      NoisyTenant          `json:"noisy"`
	Promise    float64              `json:"promise"`
}

// NeighbourOperation is how long an operation of the quiet tenant took.
type NeighbourOperation struct {
	Name   string    `json:"name"`
	Alone  Latencies `json:"alone"`
	Beside Latencies `json:"beside"`
	P50    float64   `json:"p50Ratio"`
	P99    float64   `json:"p99Ratio"`
}

// Latencies are quantiles, in milliseconds.
type Latencies struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50Ms"`
	P99   float64 `json:"p99Ms"`
}

// NoisyTenant is what became of the noisy tenant's requests, per second.
type NoisyTenant struct {
	Limit    int     `json:"limitPerSecond"`
	Asked    float64 `json:"askedPerSecond"`
	Accepted float64 `json:"acceptedPerSecond"`
	Refused  float64 `json:"refusedPerSecond"`
}

// Neighbours measures what a tenant notices of another that asks for a hundred times its limit.
func Neighbours(ctx context.Context, o NeighboursOptions) (report NeighboursReport, err error) {
	o.Sessions = 2
	if o.Limit < 1 || o.Limit > maxNeighbourLimit || o.Phase <= 0 {
		return report, fmt.Errorf("%w: limit must be 1 to %d, phase more than 0", ErrOptions, maxNeighbourLimit)
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
	street, done, err := r.street(ctx, o.Limit)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, done()) }()
	report = NeighboursReport{
		Benchmark: "neighbours", Engine: engineOf(o.Database), Rounds: o.Rounds, PhaseMS: o.Phase.Milliseconds(), Machine: machine(),
		Promise: neighbourPromise, Reference: "the same tenant alone, same node, same run",
	}
	return report, street.measure(ctx, &o, &report)
}

// street is a node with two tenants.
type street struct {
	run          *run
	http         http.Client
	quiet, noisy *neighbour
}

// connections are those of one tenant's program.
func connections() *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: maxAtOnce, MaxConnsPerHost: maxAtOnce}
}

func (s *street) close() {
	s.http.CloseIdleConnections()
	for _, n := range []*neighbour{s.quiet, s.noisy} {
		if n != nil {
			n.http.CloseIdleConnections()
		}
	}
}

// street starts a node and makes its tenants. done ends it.
func (r *run) street(ctx context.Context, limit int) (s *street, done func() error, err error) {
	database, drop, err := r.scratch(ctx, "neighbours")
	if err != nil {
		return nil, nil, err
	}
	n, err := r.node(ctx, r.planNode(database, "neighbours"))
	if err != nil {
		return nil, nil, errors.Join(err, drop())
	}
	s = &street{run: r, http: http.Client{Transport: connections(), Timeout: requestTimeout}}
	done = func() error {
		s.close()
		return errors.Join(n.process.close(), drop())
	}
	start, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err = s.settle(start, n.base, n.plan.AdminKey, limit); err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return s, done, nil
}

func (s *street) settle(ctx context.Context, base, adminKey string, limit int) (err error) {
	admin, err := adminapi.New(base, adminKey)
	if err != nil {
		return err
	}
	defer admin.Close()
	none := map[string]int{"requestsPerSecond": 0, "sendsPerMinute": 0, "coldChatsPerDay": 0}
	if s.quiet, err = s.neighbour(ctx, admin, base, adminKey, 0, none); err != nil {
		return fmt.Errorf("the quiet tenant: %w", err)
	}
	some := map[string]int{"requestsPerSecond": limit, "requestBurst": limit, "sendsPerMinute": 0, "coldChatsPerDay": 0}
	if s.noisy, err = s.neighbour(ctx, admin, base, adminKey, 1, some); err != nil {
		return fmt.Errorf("the noisy tenant: %w", err)
	}
	return nil
}

// neighbour is one tenant with a chat.
type neighbour struct {
	base, key, chat string
	http            *http.Client
}

// Numbers of the accounts: two for each tenant.
const firstNeighbour = 4915200000000

// neighbour makes a tenant, pairs it with a phone that has a chat, and waits until the chat is there.
func (s *street) neighbour(ctx context.Context, admin *adminapi.Client, base, adminKey string, n int, limits any) (*neighbour, error) {
	own, friend := strconv.Itoa(firstNeighbour+2*n), strconv.Itoa(firstNeighbour+2*n+1)
	past := make([]map[string]any, pastMessages)
	for i := range past {
		past[i] = map[string]any{
			"id": fmt.Sprintf("PAST%06d", i), "text": "Message " + strconv.Itoa(i) + ", as long as such things are.",
			"at": time.Now().Add(time.Duration(i-pastMessages) * time.Minute).UTC().Format(time.RFC3339),
		}
	}
	control := &caller{base: s.run.control, http: &s.http}
	if err := control.call(ctx, http.MethodPost, "/accounts", map[string]any{"phone": friend, "name": "Friend", "history": []any{}}, nil); err != nil {
		return nil, err
	}
	history := []any{map[string]any{"phone": friend, "name": "Friend", "messages": past}}
	if err := control.call(ctx, http.MethodPost, "/accounts", map[string]any{"phone": own, "name": "Shop", "history": history}, nil); err != nil {
		return nil, err
	}
	t, err := admin.CreateTenant(ctx, api.NewTenant{Name: "Tenant " + strconv.Itoa(n)})
	if err != nil {
		return nil, err
	}
	key, err := admin.CreateKey(ctx, string(t.ID), api.NewKey{Label: "bench"})
	if err != nil {
		return nil, err
	}
	shown, err := admin.StartPairing(ctx, string(t.ID), "")
	if err != nil {
		return nil, err
	}
	if err = control.call(ctx, http.MethodPost, "/accounts/"+own+"/scan", map[string]any{"qr": shown.QR}, nil); err != nil {
		return nil, err
	}
	made := &neighbour{base: base, key: key.APIKey, chat: friend + "@c.us", http: &http.Client{Transport: connections(), Timeout: requestTimeout}}
	if err = made.await(ctx); err != nil {
		return nil, err
	}
	asAdmin := &caller{base: base, http: &s.http, header: http.Header{"Authorization": {"Bearer " + adminKey}}}
	return made, asAdmin.call(ctx, http.MethodPatch, "/admin/tenants/"+string(t.ID)+"/limits", limits, nil)
}

// await waits until the tenant is online and has its chat.
func (n *neighbour) await(ctx context.Context) error {
	mine := &caller{base: n.base, http: n.http, header: http.Header{"X-Api-Key": {n.key}}}
	for {
		var status api.ServerStatus
		var page api.MessageList
		err := mine.call(ctx, http.MethodGet, "/api/status", nil, &status)
		if err == nil && status.Ready {
			err = mine.call(ctx, http.MethodGet, "/api/chats/"+n.chat+"/messages?limit=1000", nil, &page)
		}
		if err == nil && len(page.Messages) >= pastMessages {
			return nil
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("wait for the tenant's chat: %w", errors.Join(context.Cause(ctx), err))
		}
	}
}

// caller calls an HTTP API with JSON.
type caller struct {
	base   string
	http   *http.Client
	header http.Header
}

// call makes a request that must succeed.
func (c *caller) call(ctx context.Context, method, path string, body, into any) error {
	status, raw, err := c.ask(ctx, method, path, body)
	switch {
	case err != nil:
		return err
	case status >= http.StatusBadRequest:
		return fmt.Errorf("%s %s: %d: %w", method, path, status, ErrWorker)
	case into == nil:
		return nil
	}
	return json.Unmarshal(raw, into)
}

// ask makes a request, and returns what was answered.
func (c *caller) ask(ctx context.Context, method, path string, body any) (status int, answer []byte, err error) {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return 0, nil, err
	}
	maps.Copy(req.Header, c.header)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return res.StatusCode, answer, err
}

const maxAnswer = 64 << 20

// WriteTable prints the report for people.
func (r *NeighboursReport) WriteTable(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(w, "neighbours: a tenant beside one at %d times its limit, %s, %s, %d × %v each\n\n", noise, r.Engine, r.Machine, r.Rounds,
		time.Duration(r.PhaseMS)*time.Millisecond)
	_, _ = fmt.Fprintln(out, "quiet tenant\tcalls\talone p50\talone p99\tbeside p50\tbeside p99\tp50 ratio\tp99 ratio\t")
	for _, o := range r.Operations {
		_, _ = fmt.Fprintf(out, "%s\t%d\t%.2f ms\t%.2f ms\t%.2f ms\t%.2f ms\t%.2f\t%.2f\t\n", o.Name, o.Alone.Count+o.Beside.Count,
			o.Alone.P50, o.Alone.P99, o.Beside.P50, o.Beside.P99, o.P50, o.P99)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nnoisy tenant, limit %d/s: asked %.0f/s, accepted %.0f/s, refused %.0f/s\nreference: %s\npromise: p99 at most %.1f × the reference\n",
		r.Noisy.Limit, r.Noisy.Asked, r.Noisy.Accepted, r.Noisy.Refused, r.Reference, r.Promise)
	return err
}
