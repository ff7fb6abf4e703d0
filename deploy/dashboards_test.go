package deploy_test

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

type dashboard struct {
	UID        string   `json:"uid"`
	Title      string   `json:"title"`
	Tags       []string `json:"tags"`
	Templating struct {
		List []struct {
			Name string `json:"name"`
		} `json:"list"`
	} `json:"templating"`
	Panels []panel `json:"panels"`
}

type panel struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	GridPos     struct {
		X int `json:"x"`
		Y int `json:"y"`
		W int `json:"w"`
		H int `json:"h"`
	} `json:"gridPos"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

func readDashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	paths, err := filepath.Glob("helm/wafleet/dashboards/*.json")
	require.NoError(t, err)
	list := map[string]dashboard{}
	for _, path := range paths {
		var d dashboard
		require.NoError(t, json.Unmarshal([]byte(read(t, path)), &d), path)
		list[path] = d
	}
	require.Len(t, list, 3)
	return list
}

var placeholder = regexp.MustCompile(`\$\{?([a-z_]+)\}?`)

func TestDashboardsAreWhole(t *testing.T) {
	t.Parallel()
	for path, d := range readDashboards(t) {
		require.Equal(t, strings.TrimSuffix(filepath.Base(path), ".json"), d.UID)
		require.Contains(t, d.Tags, "wafleet")
		known := map[string]bool{"__rate_interval": true, "__range": true}
		for _, variable := range d.Templating.List {
			known[variable.Name] = true
		}
		taken := map[[2]int]string{}
		for _, p := range d.Panels {
			require.NotEmpty(t, p.Description, p.Title)
			require.NotEmpty(t, p.Targets, p.Title)
			require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					require.Empty(t, taken[cell], "%s lies on another panel", p.Title)
					taken[cell] = p.Title
				}
			}
			for _, target := range p.Targets {
				for _, found := range placeholder.FindAllStringSubmatch(target.Expr, -1) {
					require.True(t, known[found[1]], "%s: %s", p.Title, found[0])
				}
			}
		}
	}
}

var metric = regexp.MustCompile(`\bwafleet_[a-z_]+`)

// TestOnlyDocumentedMetricsAreAskedFor holds rules and dashboards to docs/METRICS.md.
func TestOnlyDocumentedMetricsAreAskedFor(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(wafleet_[a-z_]+)` \\| (\\w+)").FindAllStringSubmatch(read(t, root+"/docs/METRICS.md"), -1) {
		documented[row[1]] = true
		if row[2] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				documented[row[1]+suffix] = true
			}
		}
	}
	require.Greater(t, len(documented), 17)
	check := func(where, expr string) {
		for _, name := range metric.FindAllString(expr, -1) {
			require.True(t, documented[name], "%s asks for %s", where, name)
		}
	}
	recorded := regexp.MustCompile(`\binstance:wafleet_[a-z_]+:[a-z0-9_]+`)
	records := map[string]bool{}
	for _, file := range readRules(t) {
		for _, group := range file.Groups {
			for _, rule := range group.Rules {
				records[rule.Record] = true
			}
		}
	}
	for path, file := range readRules(t) {
		for _, group := range file.Groups {
			for _, rule := range group.Rules {
				for _, name := range recorded.FindAllString(rule.Expr, -1) {
					require.True(t, records[name], "%s: %s is recorded", rule.Alert, name)
				}
				check(path, recorded.ReplaceAllString(rule.Expr, ""))
			}
		}
	}
	for path, d := range readDashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				check(path+": "+p.Title, target.Expr)
			}
		}
	}
}

// TestGrafanaIsToldWhereThingsAre holds the provisioning to what compose mounts.
func TestGrafanaIsToldWhereThingsAre(t *testing.T) {
	t.Parallel()
	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "grafana/provisioning/dashboards/wafleet.yaml")), &providers))
	var sources struct{ Datasources []struct{ URL string } }
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "grafana/provisioning/datasources/prometheus.yaml")), &sources))
	services := readCompose(t).Services
	require.Contains(t, slices.Collect(maps.Keys(services)), "prometheus")
	require.Equal(t, "http://prometheus:9090", sources.Datasources[0].URL)
	require.Contains(t, services["grafana"].Volumes, "./helm/wafleet/dashboards:"+providers.Providers[0].Options.Path+":ro")
	require.Contains(t, services["grafana"].Volumes, "./grafana/provisioning:/etc/grafana/provisioning:ro")
	require.Contains(t, services["prometheus"].Volumes, "./prometheus/prometheus.yml:/etc/prometheus/prometheus.yml:ro")
	require.Contains(t, services["prometheus"].Volumes, "./helm/wafleet/rules:/etc/prometheus/rules:ro")
}
