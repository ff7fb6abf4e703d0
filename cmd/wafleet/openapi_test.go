package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// operation is one operation of a node's OpenAPI documents.
type operation struct {
	method, path string
	admin        bool
	OperationID  string `json:"operationId"`
	Security     []map[string][]string
	Parameters   []struct {
		Name, In string
		Required bool
	}
	RequestBody *struct {
		Content map[string]struct{ Example json.RawMessage }
	}
	Responses map[string]struct {
		Content map[string]json.RawMessage
	}
}

// documented says whether the operation may answer with that status.
func (o *operation) documented(status int) bool {
	_, found := o.Responses[strconv.Itoa(status)]
	return found
}

// public says whether it needs no key.
func (o *operation) public() bool { return len(o.Security) == 0 }

// fill puts values into the path's parameters. It reports those that values lacks: a test that meets a new parameter must be
// taught what it means.
func (o *operation) fill(t *testing.T, values map[string]string) string {
	t.Helper()
	path := o.path
	for name, value := range values {
		path = strings.ReplaceAll(path, "{"+name+"}", value)
	}
	require.NotContains(t, path, "{", "%s has a parameter that this test does not know", o.OperationID)
	return path
}

// operations reads both documents of a node, as anybody can.
func (w *world) operations() []*operation {
	w.t.Helper()
	var all []*operation
	for _, prefix := range []string{"", "/admin"} {
		var document struct {
			Paths map[string]map[string]*operation
		}
		newClient(w.t, w.base, nil).call(http.StatusOK, http.MethodGet, prefix+"/openapi.json", "").into(w.t, &document)
		require.NotEmpty(w.t, document.Paths)
		for path, item := range document.Paths {
			for method, o := range item {
				o.method, o.path, o.admin = strings.ToUpper(method), path, prefix != ""
				all = append(all, o)
			}
		}
	}
	slices.SortFunc(all, func(a, b *operation) int { return strings.Compare(a.OperationID, b.OperationID) })
	return all
}
