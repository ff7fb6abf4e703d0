package bench

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"
)

// Forms of /metrics: what Prometheus asks for by default, and what it asks for when it is to have native histograms.
const (
	formText     = "application/openmetrics-text;version=1.0.0"
	formProtobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

// Scrape is what a scrape of /metrics takes.
type Scrape struct {
	Latencies

	Bytes int `json:"bytes"`
	Wire  int `json:"wireBytes"` // of them, compressed by gzip
}

// measureScrapes makes so many scrapes, one after the other.
func measureScrapes(ctx context.Context, c *caller, form string, times int) (s Scrape, err error) {
	const op = "scrape"
	taken := samples{}
	for range times {
		start := time.Now()
		packed, err := scrape(ctx, c, form)
		if err != nil {
			return s, err
		}
		taken[op] = append(taken[op], time.Since(start))
		body, err := unpack(packed)
		if err != nil {
			return s, err
		}
		s.Bytes, s.Wire = len(body), len(packed)
	}
	s.Latencies = taken.latencies(op)
	return s, nil
}

// scrape asks as Prometheus does, and returns what came over the wire.
func scrape(ctx context.Context, c *caller, form string) ([]byte, error) {
	scraper := &caller{base: c.base, http: c.http, header: http.Header{"Accept": {form}, "Accept-Encoding": {"gzip"}}}
	status, packed, err := scraper.ask(ctx, http.MethodGet, "/metrics", nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("GET /metrics: %d: %w", status, ErrWorker)
	}
	return packed, err
}

func unpack(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	return body, nil
}

// families are what a scrape tells, by name.
type families map[string]*dto.MetricFamily

func readMetrics(ctx context.Context, c *caller) (families, error) {
	packed, err := scrape(ctx, c, formProtobuf)
	if err != nil {
		return nil, err
	}
	body, err := unpack(packed)
	if err != nil {
		return nil, err
	}
	all := families{}
	unlimited := protodelim.UnmarshalOptions{MaxSize: -1}
	for r := bytes.NewReader(body); ; {
		f := &dto.MetricFamily{}
		switch err = unlimited.UnmarshalFrom(r, f); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("scrape: %w", err)
		}
		all[f.GetName()] = f
	}
}

// tenants counts the series of each tenant.
func (f families) tenants() map[string]int {
	series := make(map[string]int)
	for _, family := range f {
		for _, metric := range family.GetMetric() {
			if tenant := label(metric, "tenant"); tenant != "" {
				series[tenant]++
			}
		}
	}
	return series
}

// sum adds up the series of a gauge or counter that have a label's value; of all if the label has no name.
func (f families) sum(name, labelName, value string) (total float64) {
	for _, metric := range f[name].GetMetric() {
		if labelName == "" || label(metric, labelName) == value {
			total += metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return total
}

func label(metric *dto.Metric, name string) string {
	for _, l := range metric.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// histogram is one without labels; nil if there is none.
func (f families) histogram(name string) *dto.Histogram {
	for _, metric := range f[name].GetMetric() {
		return metric.GetHistogram()
	}
	return nil
}

// quantile of a native histogram: the upper end of the bucket that holds it, so at most a bucket's width too much; 0 of an empty one.
func quantile(h *dto.Histogram, q float64) float64 {
	rank := q * float64(h.GetSampleCount())
	seen := float64(h.GetZeroCount())
	if seen >= rank {
		return 0
	}
	base := math.Exp2(math.Exp2(-float64(h.GetSchema())))
	index, at, inBucket := int32(0), 0, int64(0)
	for _, span := range h.GetPositiveSpan() {
		index += span.GetOffset()
		for range span.GetLength() {
			inBucket += h.GetPositiveDelta()[at]
			at++
			if seen += float64(inBucket); seen >= rank {
				return math.Pow(base, float64(index))
			}
			index++
		}
	}
	return math.Pow(base, float64(index))
}

// commitsIn is what a node says of its group commit since it began.
func commitsIn(f families) StartupCommits {
	took, batch := f.histogram("wafleet_commit_duration_seconds"), f.histogram("wafleet_commit_batch_size")
	return StartupCommits{
		Commits: Commits{
			Transactions: int64(took.GetSampleCount()), Callers: int64(batch.GetSampleSum()), //nolint:gosec // counts
			BusyMS: int64(took.GetSampleSum() * 1000), Failures: int64(f.sum("wafleet_commit_failures_total", "", "")),
		},
		Latency: Latency{P50MS: quantile(took, 0.5) * 1000, P99MS: quantile(took, 0.99) * 1000},
	}
}
