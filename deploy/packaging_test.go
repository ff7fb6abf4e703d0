package deploy_test

import (
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

//nolint:tagliatelle // the names are those of compose files
type compose struct {
	Services map[string]struct {
		Image       string
		ReadOnly    bool     `yaml:"read_only"`
		CapDrop     []string `yaml:"cap_drop"`
		Environment map[string]string
		Ports       []string
		Volumes     []string
		Deploy      any
		Scale       any
		Logging     struct{ Options map[string]string }
	}
	Volumes map[string]any
}

func readCompose(t *testing.T) compose {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(read(t, "compose.yaml")))
	var c compose
	require.NoError(t, decoder.Decode(&c))
	return c
}

func TestComposeHoldsTogether(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	require.Equal(t, []string{"grafana", "postgres", "prometheus", "wafleet"}, slices.Sorted(maps.Keys(c.Services)))
	node := c.Services["wafleet"]
	require.True(t, node.ReadOnly)
	require.Equal(t, []string{"ALL"}, node.CapDrop)
	require.Nil(t, node.Deploy, "one node")
	require.Nil(t, node.Scale, "one node")
	require.Contains(t, read(t, "prometheus/prometheus.yml"), `targets: ["wafleet:8080"]`)
	for name, service := range c.Services {
		if name != "wafleet" {
			require.Regexp(t, `:v?\d+(\.\d+)*$`, service.Image, "%s is pinned", name)
		}
		require.NotEmpty(t, service.Logging.Options["max-size"], "%s logs without end", name)
		for _, port := range service.Ports {
			require.True(t, strings.HasPrefix(port, "127.0.0.1:"), "%s: %s is open to others", name, port)
		}
		for _, volume := range service.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if strings.HasPrefix(source, "./") {
				_, err := os.Stat(source)
				require.NoError(t, err, name)
				continue
			}
			require.Contains(t, c.Volumes, source, name)
		}
	}
}

// TestOnlySettingsAreSet holds the environment of image, compose file, unit and chart to what serve knows.
func TestOnlySettingsAreSet(t *testing.T) {
	t.Parallel()
	binary, err := built()
	require.NoError(t, err)
	known := map[string]bool{}
	for _, name := range regexp.MustCompile(`\$(WAFLEET_[A-Z_]+)\]`).FindAllStringSubmatch(command(t, binary, "serve", "--help"), -1) {
		known[name[1]] = true
	}
	require.True(t, known["WAFLEET_LISTEN"])
	for _, path := range []string{"Dockerfile", "compose.yaml", "wafleet.service", "helm/wafleet/templates/deployment.yaml"} {
		count := 0
		for _, set := range regexp.MustCompile(`\b(WAFLEET_[A-Z_]+)(=|: |, )`).FindAllStringSubmatch(read(t, path), -1) {
			require.True(t, known[set[1]], "%s sets %s", path, set[1])
			count++
		}
		require.GreaterOrEqual(t, count, 2, path)
	}
}

// TestHealthTellsThatNobodyAnswers: what it says of a node that is there is seen by [TestEveryPanelShowsSomething].
func TestHealthTellsThatNobodyAnswers(t *testing.T) {
	t.Parallel()
	require.Contains(t, read(t, "Dockerfile"), `CMD ["/usr/local/bin/wafleet", "health"]`)
	binary, err := built()
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), binary, "health", "--url", "http://127.0.0.1:1").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "connection refused")
}

func TestSystemdAcceptsTheUnit(t *testing.T) {
	t.Parallel()
	analyze := tool(t, "systemd-analyze", "systemd")
	unit := filepath.Join(t.TempDir(), "wafleet.service")
	// The program must be there to be verified.
	text := strings.ReplaceAll(read(t, "wafleet.service"), "ExecStart=/usr/local/bin/wafleet", "ExecStart=/bin/true")
	require.NoError(t, os.WriteFile(unit, []byte(text), 0o600))
	require.Empty(t, command(t, analyze, "verify", unit))
	const exposure = "15" // tenths: 100 is a unit without any hardening
	command(t, analyze, "security", "--no-pager", "--offline=true", "--threshold="+exposure, unit)
}

// helm is the pinned one. Building it takes minutes: only CI does so from here.
func helm(t *testing.T) string {
	t.Helper()
	script := read(t, root+"/.ci/tool")
	version := regexp.MustCompile(`helm\).*version=(\S+)`).FindStringSubmatch(script)[1]
	path, err := filepath.Abs(filepath.Join(root, "bin", "tools", version, "helm"))
	require.NoError(t, err)
	if _, err = os.Stat(path); err != nil && os.Getenv("WAFLEET_CI") == "" {
		t.Skip("helm is not built: .ci/tool helm does so")
	}
	return strings.TrimSpace(command(t, "sh", "-c", "cd "+root+" && .ci/tool helm 2>/dev/null"))
}

// manifest is an object of Kubernetes's, as far as needed.
type manifest struct {
	Kind     string
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Spec struct {
		Replicas int
		Strategy struct{ Type string }
		JobLabel string `yaml:"jobLabel"`
		Groups   []any
		Template struct {
			Spec struct {
				SecurityContext struct {
					RunAsNonRoot bool `yaml:"runAsNonRoot"`
				} `yaml:"securityContext"`
				Containers []struct {
					SecurityContext struct {
						ReadOnlyRootFilesystem   bool `yaml:"readOnlyRootFilesystem"`
						AllowPrivilegeEscalation bool `yaml:"allowPrivilegeEscalation"`
					} `yaml:"securityContext"`
				}
			}
		}
	}
	Data map[string]string
}

func render(t *testing.T, helm string, args ...string) map[string]manifest {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(command(t, "sh", "-c", helm+" template shop helm/wafleet "+strings.Join(args, " ")+" 2>/dev/null")))
	found := map[string]manifest{}
	for {
		var m manifest
		err := decoder.Decode(&m)
		if err == io.EOF { //nolint:errorlint // as it is
			return found
		}
		require.NoError(t, err)
		found[m.Kind] = m
	}
}

func TestHelmAcceptsTheChart(t *testing.T) {
	t.Parallel()
	program := helm(t)
	command(t, program, "lint", "--strict", "helm/wafleet")

	plain := render(t, program)
	require.Equal(t, []string{"Deployment", "PersistentVolumeClaim", "Service"}, slices.Sorted(maps.Keys(plain)))
	deployment := plain["Deployment"].Spec
	require.Equal(t, 1, deployment.Replicas)
	require.Equal(t, "Recreate", deployment.Strategy.Type)
	require.True(t, deployment.Template.Spec.SecurityContext.RunAsNonRoot)
	require.True(t, deployment.Template.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem)
	require.False(t, deployment.Template.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation)

	all := render(t, program, "--set", "persistence.enabled=false,ingress.enabled=true,ingress.className=nginx,ingress.tlsSecret=tls,"+
		"monitoring.serviceMonitor=true,monitoring.rules=true,monitoring.dashboards=true,monitoring.labels.release=prometheus,"+
		"env.WAFLEET_PUBLIC_URL=https://wa.example.com")
	require.Equal(t, []string{"ConfigMap", "Deployment", "Ingress", "PrometheusRule", "Service", "ServiceMonitor"}, slices.Sorted(maps.Keys(all)))
	require.Len(t, all["PrometheusRule"].Spec.Groups, 2)
	require.Len(t, all["ConfigMap"].Data, 3)
	require.Equal(t, "app.kubernetes.io/name", all["ServiceMonitor"].Spec.JobLabel)
	require.Equal(t, "wafleet", all["Service"].Metadata.Labels["app.kubernetes.io/name"], "the job that rules and dashboards ask for")
	require.Equal(t, "prometheus", all["ServiceMonitor"].Metadata.Labels["release"])
}
