package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files")

// TestDocumentsAreTheReviewedOnes compares the documents with the committed ones: their diff is the review of the API.
func TestDocumentsAreTheReviewedOnes(t *testing.T) {
	t.Parallel()
	n := start(t)
	for path, golden := range map[string]string{"/openapi.json": "openapi.json", "/admin/openapi.json": "admin-openapi.json"} {
		got := n.call(http.MethodGet, path, nil).is(http.StatusOK).body
		file := filepath.Join("testdata", golden)
		if *update {
			require.NoError(t, os.MkdirAll("testdata", 0o750))
			require.NoError(t, os.WriteFile(file, got, 0o600))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "%s differs: run go test ./api -run TestDocuments -update and review the diff", golden)
	}
}

// TestEveryOperationIsDescribed holds what a reader and a generator need.
func TestEveryOperationIsDescribed(t *testing.T) {
	t.Parallel()
	n := start(t)
	ids := map[string]bool{}
	for _, path := range []string{"/openapi.json", "/admin/openapi.json"} {
		doc := n.document(path)
		require.Equal(t, "3.1.0", doc.OpenAPI)
		require.NotContains(t, string(n.call(http.MethodGet, path, nil).body), "$schema")
		for route, item := range doc.Paths {
			for method, op := range item {
				name := method + " " + route
				require.NotEmpty(t, op.OperationID, name)
				require.False(t, ids[op.OperationID], "operationId %s is used twice", op.OperationID)
				ids[op.OperationID] = true
				require.NotEmpty(t, op.Summary, name)
				for _, param := range op.Parameters {
					require.True(t, param.In != "path" || param.Example != nil, "%s: %s can be tried out", name, param.Name)
				}
				require.Len(t, op.Tags, 1, name)
				require.Contains(t, op.Responses, "500", name)
				for status, response := range op.Responses {
					if status < "400" {
						continue
					}
					media, ok := response.Content["application/problem+json"]
					require.True(t, ok, "%s %s", name, status)
					require.NotEmpty(t, media.Examples, "%s %s", name, status)
				}
				if route != "/api/health" && route != "/api/groups/join/{token}" {
					require.NotEmpty(t, op.Security, name)
				}
			}
		}
	}
}

// documented is every operation of the golden documents.
var documented = sync.OnceValue(func() []documentedOperation {
	var all []documentedOperation
	for _, file := range []string{"openapi.json", "admin-openapi.json"} {
		raw, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			return nil // the test that writes them may be under way
		}
		var doc document
		if err := json.Unmarshal(raw, &doc); err != nil {
			return nil
		}
		for route, item := range doc.Paths {
			pattern := regexp.MustCompile("^" + regexp.MustCompile(`\\{[^/]+\\}`).ReplaceAllString(regexp.QuoteMeta(route), "[^/]+") + "$")
			for method, op := range item {
				known := documentedOperation{method: strings.ToUpper(method), path: pattern, name: op.OperationID, statuses: map[int]bool{}}
				for status := range op.Responses {
					number, _ := strconv.Atoi(status)
					known.statuses[number] = true
				}
				all = append(all, known)
			}
		}
	}
	return all
})

type documentedOperation struct {
	method   string
	path     *regexp.Regexp
	name     string
	statuses map[int]bool
}

// requireDocumented holds, for every request of every test, that the operation's document knows the status of the answer.
func requireDocumented(tb testing.TB, method, path string, status int) {
	tb.Helper()
	for _, op := range documented() {
		if op.method == method && op.path.MatchString(path) {
			require.True(tb, op.statuses[status], "%s answered %d, which its document does not know", op.name, status)
		}
	}
}

// TestEveryOperationChecksItsKeyFirst asks every operation without a key, with a bad one, and with nonsense in its path.
func TestEveryOperationChecksItsKeyFirst(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	for file, good := range map[string][2]string{
		"/openapi.json": {"X-API-Key", a.key}, "/admin/openapi.json": {"Authorization", "Bearer " + adminKey},
	} {
		for route, item := range n.document(file).Paths {
			for method := range item {
				method := strings.ToUpper(method)
				if route == "/api/health" || route == "/api/groups/join/{token}" {
					continue
				}
				path := regexp.MustCompile(`\{[^/]+\}`).ReplaceAllString(route, "nonsense")
				n.call(method, path, nil).problem(401, "Missing API key", "MISSING_API_KEY")
				n.call(method, path, nil, good[0], good[1]+"x").problem(403, "Invalid API key", "INVALID_API_KEY")
				if path != route && !slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, method) { // these have bodies
					n.call(method, path, nil, good[0], good[1]).problem(422, "Validation error", "VALIDATION_ERROR")
				}
			}
		}
	}
}

// document is what tests look at of an OpenAPI document.
type document struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Summary     string `json:"summary"`
		Parameters  []struct {
			Name    string `json:"name"`
			In      string `json:"in"`
			Example any    `json:"example"`
		} `json:"parameters"`
		Tags      []string              `json:"tags"`
		Security  []map[string][]string `json:"security"`
		Responses map[string]struct {
			Content map[string]struct {
				Examples map[string]json.RawMessage `json:"examples"`
			} `json:"content"`
		} `json:"responses"`
	} `json:"paths"`
}

func (n *node) document(path string) *document {
	n.t.Helper()
	var doc document
	n.call(http.MethodGet, path, nil).is(http.StatusOK).into(&doc)
	return &doc
}

func TestDocumentsComeInEveryForm(t *testing.T) {
	t.Parallel()
	n := start(t)
	for _, prefix := range []string{"", "/admin"} {
		yaml := n.call(http.MethodGet, prefix+"/openapi.yaml", nil).is(http.StatusOK)
		require.Contains(t, string(yaml.body), "openapi: 3.1.0")
		old := n.call(http.MethodGet, prefix+"/openapi-3.0.json", nil).is(http.StatusOK)
		require.Contains(t, string(old.body), `"openapi":"3.0.3"`)
		again := n.call(http.MethodGet, prefix+"/openapi.json", nil)
		n.call(http.MethodGet, prefix+"/openapi.json", nil, "If-None-Match", again.header.Get("ETag")).is(http.StatusNotModified)
	}
}

func TestTheBareAddressLeadsToAPage(t *testing.T) {
	t.Parallel()
	n := start(t)
	require.Equal(t, "/docs", n.call(http.MethodGet, "/", nil).is(http.StatusFound).header.Get("Location"))
	require.Equal(t, "/admin/docs", n.call(http.MethodGet, "/admin", nil).is(http.StatusFound).header.Get("Location"))
}

// TestPagesLoadNothingFromElsewhere follows every reference of the pages and of what they load.
func TestPagesLoadNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	n := start(t)
	reference := regexp.MustCompile(`(?:src|href|data-document)="([^"]+)"`)
	for _, page := range []string{"/docs", "/admin/docs"} {
		a := n.call(http.MethodGet, page, nil).is(http.StatusOK)
		require.Equal(t, "text/html; charset=utf-8", a.header.Get("Content-Type"))
		policy := a.header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'")
		require.NotContains(t, policy, "unsafe")
		require.NotContains(t, policy, "http")
		found := reference.FindAllSubmatch(a.body, -1)
		require.GreaterOrEqual(t, len(found), 6)
		for _, match := range found {
			require.True(t, strings.HasPrefix(string(match[1]), "/"), string(match[1]))
			n.call(http.MethodGet, string(match[1]), nil).is(http.StatusOK)
		}
	}
	plain := n.call(http.MethodGet, "/docs/assets/swagger-ui.css", nil, "Accept-Encoding", "identity").is(http.StatusOK)
	require.Contains(t, string(plain.body), ".swagger-ui")
	require.Empty(t, plain.header.Get("Content-Encoding"))
}
