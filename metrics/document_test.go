package metrics_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/metrics"
)

var update = flag.Bool("update", false, "write docs/METRICS.md")

const document = "../docs/METRICS.md"

// TestTheDocumentTellsEveryMetric compares docs/METRICS.md with what the collectors say of themselves.
func TestTheDocumentTellsEveryMetric(t *testing.T) {
	t.Parallel()
	got := describe(t)
	if *update {
		require.NoError(t, os.WriteFile(document, []byte(got), 0o600))
	}
	want, err := os.ReadFile(document)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run go test ./metrics -run Document -update and review the diff")
}

// TestExerciseUsesEveryCollector keeps a new collector from going undocumented: what is never used is not gathered.
func TestExerciseUsesEveryCollector(t *testing.T) {
	t.Parallel()
	registered, families := gather(t)
	var gathered []string
	for _, family := range families {
		gathered = append(gathered, family.GetName())
	}
	slices.Sort(gathered)
	require.Equal(t, slices.Sorted(maps.Keys(registered)), gathered, "exercise uses all collectors")
}

// noting is a registry that remembers the names of what is registered.
type noting struct {
	*prometheus.Registry

	mu    sync.Mutex
	names map[string]bool
}

var described = regexp.MustCompile(`^Desc\{fqName: "([^"]+)"`)

func (n *noting) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 8)
	var reader sync.WaitGroup
	reader.Go(func() {
		for desc := range descs {
			n.mu.Lock()
			n.names[described.FindStringSubmatch(desc.String())[1]] = true
			n.mu.Unlock()
		}
	})
	c.Describe(descs)
	close(descs)
	reader.Wait()
	return n.Registry.Register(c)
}

func (n *noting) MustRegister(list ...prometheus.Collector) {
	for _, c := range list {
		if err := n.Register(c); err != nil {
			panic(err)
		}
	}
}

func gather(t *testing.T) (registered map[string]bool, families []*dto.MetricFamily) {
	t.Helper()
	reg := &noting{Registry: prometheus.NewRegistry(), names: map[string]bool{}}
	metrics.BuildInfo(reg, "v1.2.3", "abcdef")
	exercise(metrics.New(reg), "k7q2m4x5a3bc")
	families, err := reg.Gather()
	require.NoError(t, err)
	return reg.names, families
}

// meanings of the labels. Those of wafleet_build_info need none.
func meanings() map[string]string {
	return map[string]string{
		"cause":     "`unavailable`: the database could not be reached, or another node has taken it; callers may try again. `rejected`: the database refused one change, and those that shared its transaction were done without it.",
		"direction": "`in` or `out`; `out` is everything from the account, also what its phone sends.",
		"kind":      "`messages` or `events` (of the journal).",
		"limit":     "The limit that was used up, as in the problem's `limit`: `requests`, `concurrentRequests`, `eventStreams`, `sends`, `concurrentSends`, `coldChats`, `numberChecks`, `uploadBytes`, `downloadBytes`, `storage`, `reachout`.",
		"operation": "The `operationId` of the OpenAPI documents; `livez`, `readyz`, `metrics`; `pairing-page` and its kin for the page of pairing links; `other` for what is no operation.",
		"outcome":   "`online`: it is connected. `failed`: WhatsApp was not reached or did not answer in time. `refused`: WhatsApp answered and does not want this session (logged out, banned, replaced).",
		"reason":    "Why the session left `online`, a code as in the session's `reason` in the admin API, e.g. `connection_lost`, `stream_replaced`, `disconnected_by_operator`.",
		"state":     "State of a session: `unpaired`, `pairing`, `connecting`, `online`, `backoff`, `logged_out`, `banned`, `outdated`, `conflict`, `stopped`.",
		"status":    "`2xx`, `3xx`, `4xx` or `5xx`.",
		"tenant":    "The tenant's id. The series is made when first used and goes with the tenant.",
		"type":      "Type of a message, as in the tenant's API: `text`, `image`, `poll` and so on.",
		"where":     "A fixed word for the part of the code; the log has the stack.",

		"goversion": "", "revision": "", "version": "",
	}
}

const preamble = `# Metrics

<!-- Written by go test ./metrics -run Document -update. Do not edit. -->

` + "`GET /metrics`" + ` answers in Prometheus's formats: text, OpenMetrics, and the protobuf form that native histograms need. It asks for no
key: keep it from those who should not see tenants' ids and volumes. No label holds a phone number, a chat's id or a key. Besides these
there are the usual ` + "`go_…` and `process_…`" + ` metrics of Go's client library.

A histogram marked *classic and native* has both kinds of buckets. One marked *native* is a native histogram without classic buckets, which
keeps thousands of tenants cheap: a Prometheus that does not scrape native histograms has its ` + "`_count` and `_sum`" + ` only, thus averages.
The rules and dashboards in ` + "`deploy`" + ` work either way.

Series with a fixed set of labels exist from the start; those of a tenant when first used. After a restart counters begin at 0 again.

`

func describe(t *testing.T) string {
	t.Helper()
	_, families := gather(t)
	var b strings.Builder
	b.WriteString(preamble)
	used := map[string]bool{}
	for _, tenants := range []bool{false, true} {
		title := "## Of the node"
		if tenants {
			title = "## Of each tenant"
		}
		b.WriteString(title + "\n\n| Metric | Type | Labels | Unit | Meaning |\n|---|---|---|---|---|\n")
		for _, family := range families {
			labels := labelsOf(family)
			if slices.Contains(labels, "tenant") != tenants {
				continue
			}
			for i, label := range labels {
				used[label] = true
				labels[i] = "`" + label + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", family.GetName(), kindOf(family), strings.Join(labels, ", "),
				unitOf(family), family.GetHelp())
		}
		b.WriteString("\n")
	}
	b.WriteString("## Labels\n\n| Label | Values |\n|---|---|\n")
	told := meanings()
	require.Equal(t, slices.Sorted(maps.Keys(told)), slices.Sorted(maps.Keys(used)), "every label has a meaning")
	for _, label := range slices.Sorted(maps.Keys(told)) {
		if told[label] != "" {
			fmt.Fprintf(&b, "| `%s` | %s |\n", label, told[label])
		}
	}
	return b.String()
}

func labelsOf(family *dto.MetricFamily) []string {
	var names []string
	for _, label := range family.GetMetric()[0].GetLabel() {
		names = append(names, label.GetName())
	}
	return names
}

func kindOf(family *dto.MetricFamily) string {
	if family.GetType() != dto.MetricType_HISTOGRAM {
		return strings.ToLower(family.GetType().String())
	}
	histogram := family.GetMetric()[0].GetHistogram()
	switch native, classic := histogram.Schema != nil, len(histogram.GetBucket()) > 0; {
	case native && classic:
		return "histogram, classic and native"
	case native:
		return "histogram, native"
	default:
		return "histogram, classic"
	}
}

func unitOf(family *dto.MetricFamily) string {
	switch name := family.GetName(); {
	case strings.HasSuffix(name, "_seconds"):
		return "seconds"
	case strings.HasSuffix(name, "_bytes"):
		return "bytes"
	case strings.HasSuffix(name, "_info"):
		return "always 1"
	case strings.HasSuffix(name, "_up"), strings.HasSuffix(name, "_open"), strings.HasSuffix(name, "_locked"):
		return "0 or 1"
	default:
		return "count"
	}
}
