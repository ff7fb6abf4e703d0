package deploy_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

type ruleFile struct {
	Groups []struct {
		Rules []rule `yaml:"rules"`
	} `yaml:"groups"`
}

type rule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func readRules(t *testing.T) map[string]ruleFile {
	t.Helper()
	paths, err := filepath.Glob("helm/wafleet/rules/*.yml")
	require.NoError(t, err)
	files := map[string]ruleFile{}
	for _, path := range paths {
		var file ruleFile
		require.NoError(t, yaml.Unmarshal([]byte(read(t, path)), &file))
		files[path] = file
	}
	require.Len(t, files, 2)
	return files
}

func TestPromtoolAcceptsRulesAndConfig(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool", "prometheus")
	command(t, promtool, append([]string{"check", "rules"}, slices.Sorted(maps.Keys(readRules(t)))...)...)
	command(t, promtool, "check", "config", "prometheus/prometheus.yml")
}

// TestEveryAlertIsInTheRunbook and every entry of the runbook is of an alert.
func TestEveryAlertIsInTheRunbook(t *testing.T) {
	t.Parallel()
	entries := map[string]bool{}
	for line := range strings.Lines(read(t, root+"/docs/RUNBOOK.md")) {
		if name, is := strings.CutPrefix(strings.TrimSpace(line), "## "); is && strings.HasPrefix(name, "Wafleet") {
			entries[name] = true
		}
	}
	alerts := map[string]bool{}
	for _, file := range readRules(t) {
		for _, group := range file.Groups {
			for _, rule := range group.Rules {
				if rule.Alert == "" {
					continue
				}
				alerts[rule.Alert] = true
				require.Contains(t, []string{"critical", "warning"}, rule.Labels["severity"], rule.Alert)
				require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
				require.Equal(t, "docs/RUNBOOK.md#"+strings.ToLower(rule.Alert), rule.Annotations["runbook"], rule.Alert)
			}
		}
	}
	require.Equal(t, slices.Sorted(maps.Keys(alerts)), slices.Sorted(maps.Keys(entries)))
}

// series are samples, one a minute, in promtool's notation, by what follows the labels that all have.
type series map[string]string

// healthy is a node of which no alert may speak, though some of what it does looks like something is wrong.
func healthy() series {
	return series{
		"up":                                                "1x180",
		"process_start_time_seconds":                        "1000x180",
		"process_open_fds":                                  "200x180",
		"process_max_fds":                                   "1024x180",
		"scrape_duration_seconds":                           "0.05x180",
		"wafleet_connect_breaker_open":                      "0x180",
		`wafleet_sessions state="online"`:                   "99x180",
		`wafleet_sessions state="backoff"`:                  "1x180",
		`wafleet_sessions state="logged_out"`:               "7x180",
		`wafleet_sessions state="unpaired"`:                 "30x180",
		`wafleet_sessions state="banned"`:                   "0x180",
		`wafleet_commit_failures_total cause="rejected"`:    "0x180",
		`wafleet_commit_queue_length`:                       "0x60 900 0x118",
		`wafleet_commit_failures_total cause="unavailable"`: "0x180",

		// An operator disconnects and connects as often as they like.
		`wafleet_session_disconnects_total tenant="t",reason="disconnected_by_operator"`: "0+1x180",
		`wafleet_session_disconnects_total tenant="t",reason="connection_lost"`:          "3x180",
		`wafleet_undecryptable_messages_total tenant="t"`:                                "0x90 5x90",

		`wafleet_commit_duration_seconds_bucket le="0.3"`:  "0+100x180",
		`wafleet_commit_duration_seconds_bucket le="3"`:    "0+100x180",
		`wafleet_commit_duration_seconds_bucket le="+Inf"`: "0+100x180",

		// A client that asks for what is not there is no fault of the node's.
		`wafleet_api_requests_total tenant="t",status="2xx"`: "0+600x180",
		`wafleet_api_requests_total tenant="t",status="4xx"`: "0+300x180",
		`wafleet_api_requests_total tenant="t",status="5xx"`: "0+6x180",

		`wafleet_http_request_duration_seconds_bucket operation="list-chats",le="0.1"`:  "0+100x180",
		`wafleet_http_request_duration_seconds_bucket operation="list-chats",le="10"`:   "0+100x180",
		`wafleet_http_request_duration_seconds_bucket operation="list-chats",le="+Inf"`: "0+100x180",
		// Films take their time.
		`wafleet_http_request_duration_seconds_bucket operation="get-message-media",le="10"`:   "0x180",
		`wafleet_http_request_duration_seconds_bucket operation="get-message-media",le="+Inf"`: "0+100x180",

		`wafleet_send_duration_seconds_sum tenant="t"`:   "0+12x180",
		`wafleet_send_duration_seconds_count tenant="t"`: "0+60x180",

		// Long ago.
		`wafleet_panics_total where="send"`: "1x180",
		"wafleet_http_panics_total":         "0x180",
	}
}

// cause is one thing wrong with the healthy node, from minute 30 on.
type cause struct {
	alert  string // the one that fires; no other does
	what   string
	change series // "" takes a series away
	quiet  int    // a minute in which it does not fire yet
	fires  int    // a minute in which it does; 0: never
}

// causes has the healthy node's trouble, alert by alert.
func causes() []cause {
	return []cause{
		{"WafleetDown", "no answer", series{"up": "1x29 0x150"}, 31, 33},
		{"WafleetDown", "no target", series{"up": "", `wafleet_panics_total where="send"`: ""}, 1, 3},
		{"WafleetRestarts", "a crash loop", series{"process_start_time_seconds": "1000x30 2000x5 3000x5 4000x150"}, 42, 44},
		{"WafleetRestarts", "an upgrade", series{"process_start_time_seconds": "1000x30 2000x150"}, 44, 0},
		{"WafleetConnectBreakerOpen", "open", series{"wafleet_connect_breaker_open": "0x29 1x150"}, 34, 36},
		{"WafleetSessionsOffline", "a fifth", series{
			`wafleet_sessions state="online"`: "99x29 80x150", `wafleet_sessions state="backoff"`: "1x29 20x150",
		}, 39, 41},
		{"WafleetSessionsOffline", "few sessions say nothing", series{
			`wafleet_sessions state="online"`: "5x180", `wafleet_sessions state="backoff"`: "4x180",
		}, 60, 0},
		{"WafleetClientOutdated", "refused", series{`wafleet_sessions state="outdated"`: "0x29 4x150"}, 34, 36},
		{"WafleetBans", "one", series{`wafleet_sessions state="banned"`: "0x29 1x150"}, 29, 31},
		{"WafleetReachoutLocked", "one", series{`wafleet_reachout_locked tenant="t"`: "_x30 1x150"}, 29, 31},
		{"WafleetLogoutsRise", "ten", series{`wafleet_sessions state="logged_out"`: "7x69 17x110"}, 69, 75},
		{"WafleetTenantFlaps", "each minute", series{
			`wafleet_session_disconnects_total tenant="t",reason="connection_lost"`: "3x60 3+1x110",
		}, 65, 90},
		{"WafleetUndecryptable", "each minute", series{`wafleet_undecryptable_messages_total tenant="t"`: "0x60 0+1x110"}, 65, 100},
		{"WafleetCommitsFail", "each minute", series{`wafleet_commit_failures_total cause="unavailable"`: "0x29 0+5x150"}, 29, 32},
		{"WafleetCommitsRejected", "one", series{`wafleet_commit_failures_total cause="rejected"`: "0x29 1x150"}, 29, 31},
		{"WafleetCommitsSlow", "all of them", series{`wafleet_commit_duration_seconds_bucket le="0.3"`: "0+100x29 2900x150"}, 38, 45},
		{"WafleetCommitsQueue", "it stays", series{"wafleet_commit_queue_length": "0x29 900x150"}, 33, 37},
		{"WafleetApiErrors", "a quarter", series{`wafleet_api_requests_total tenant="t",status="5xx"`: "0+6x29 174+300x150"}, 33, 39},
		{"WafleetApiSlow", "all of them", series{
			`wafleet_http_request_duration_seconds_bucket operation="list-chats",le="0.1"`: "0+100x29 2900x150",
		}, 38, 45},
		{"WafleetSendsSlow", "ten seconds", series{`wafleet_send_duration_seconds_sum tenant="t"`: "0+12x29 348+600x150"}, 38, 47},
		{"WafleetPanics", "again", series{`wafleet_panics_total where="send"`: "1x29 2x150"}, 29, 31},
		{"WafleetPanics", "of a part that never did", series{`wafleet_panics_total where="vote"`: "_x30 1x150"}, 29, 31},
		{"WafleetPanics", "of a request", series{"wafleet_http_panics_total": "0x29 1x150"}, 29, 31},
		{"WafleetFileDescriptors", "nine tenths", series{"process_open_fds": "200x29 920x150"}, 33, 37},
		{"WafleetScrapesSlow", "four seconds", series{"scrape_duration_seconds": "0.05x29 4x150"}, 38, 42},
	}
}

// promtool's file of tests, as far as needed.
//
//nolint:tagliatelle // the names are promtool's
type (
	ruleTests struct {
		RuleFiles          []string   `yaml:"rule_files"`
		EvaluationInterval string     `yaml:"evaluation_interval"`
		Tests              []ruleTest `yaml:"tests"`
	}
	ruleTest struct {
		Name     string      `yaml:"name"`
		Interval string      `yaml:"interval"`
		Input    []ruleInput `yaml:"input_series"`
		Expect   []ruleCheck `yaml:"promql_expr_test"`
	}
	ruleInput struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	}
	ruleCheck struct {
		Expr    string       `yaml:"expr"`
		At      string       `yaml:"eval_time"`
		Samples []ruleSample `yaml:"exp_samples"`
	}
	ruleSample struct {
		Labels string  `yaml:"labels"`
		Value  float64 `yaml:"value"`
	}
)

// input is the healthy node's series with changes.
func input(change series) []ruleInput {
	all := healthy()
	maps.Copy(all, change)
	var list []ruleInput
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if all[key] == "" {
			continue
		}
		name, labels, _ := strings.Cut(key, " ")
		list = append(list, ruleInput{strings.TrimSuffix(name+`{job="wafleet",instance="n:8080",`+labels, ",") + "}", all[key]})
	}
	return list
}

// firing are the alerts that fire at a minute.
func firing(minute int, alerts ...string) ruleCheck {
	check := ruleCheck{Expr: `count by (alertname) (ALERTS{alertstate="firing"})`, At: fmt.Sprintf("%dm", minute)}
	for _, alert := range alerts {
		check.Samples = append(check.Samples, ruleSample{`{alertname="` + alert + `"}`, 1})
	}
	return check
}

// TestEachAlertFiresForItsCauseAlone lets promtool evaluate the rules over three hours, for each cause on its own: the alert fires,
// not before its time, and no other does.
func TestEachAlertFiresForItsCauseAlone(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool", "prometheus")
	tests := ruleTests{EvaluationInterval: "1m"}
	alerts, caused := map[string]bool{}, map[string]bool{}
	for path, file := range readRules(t) {
		absolute, err := filepath.Abs(path)
		require.NoError(t, err)
		tests.RuleFiles = append(tests.RuleFiles, absolute)
		for _, group := range file.Groups {
			for _, rule := range group.Rules {
				if rule.Alert != "" {
					alerts[rule.Alert] = true
				}
			}
		}
	}
	calm := ruleTest{Name: "nothing is wrong", Interval: "1m", Input: input(nil)}
	for minute := 20; minute < 180; minute += 10 {
		calm.Expect = append(calm.Expect, ruleCheck{Expr: "count by (alertname) (ALERTS)", At: fmt.Sprintf("%dm", minute)})
	}
	tests.Tests = append(tests.Tests, calm)
	for _, c := range causes() {
		test := ruleTest{Name: c.alert + ": " + c.what, Interval: "1m", Input: input(c.change), Expect: []ruleCheck{firing(c.quiet)}}
		if c.fires > 0 {
			caused[c.alert] = true
			test.Expect = append(test.Expect, firing(c.fires, c.alert))
		}
		tests.Tests = append(tests.Tests, test)
	}
	require.Equal(t, slices.Sorted(maps.Keys(alerts)), slices.Sorted(maps.Keys(caused)), "every alert has a cause")

	raw, err := yaml.Marshal(tests)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "tests.yml")
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	command(t, promtool, "test", "rules", path)
}
