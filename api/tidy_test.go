package api_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocumentsMakeGoodClients holds what generators stumble on: lists of words without a name, forms without one, values that may
// be null though they never are, references that lead nowhere or round in a circle, bodies without an example.
func TestDocumentsMakeGoodClients(t *testing.T) {
	t.Parallel()
	for _, golden := range []string{"openapi.json", "admin-openapi.json"} {
		raw, err := os.ReadFile(filepath.Join("testdata", golden))
		require.NoError(t, err)
		var document map[string]any
		require.NoError(t, json.Unmarshal(raw, &document))
		schemas := at[map[string]any](t, document, "components", "schemas")
		for name, schema := range schemas {
			require.NotContains(t, references(schema), "#/components/schemas/"+name, "%s: %s refers to itself", golden, name)
		}
		each(document, nil, func(path []string, node map[string]any) {
			where := golden + ": " + strings.Join(path, "/")
			if enum, ok := node["enum"].([]any); ok && len(enum) > 1 && !slices.Contains(path, "parameters") {
				require.Len(t, path, len([]string{"components", "schemas", "Name"}), "%s: words without a name", where)
			}
			if types, ok := node["type"].([]any); ok {
				description, _ := node["description"].(string)
				require.True(t, !slices.Contains(types, "null") || strings.Contains(description, "null"), "%s may be null without a word about it", where)
			}
			if ref, ok := node["$ref"].(string); ok {
				require.Contains(t, schemas, strings.TrimPrefix(ref, "#/components/schemas/"), where)
			}
			if node["type"] == "object" && node["properties"] != nil {
				require.Equal(t, "components", path[0], "%s: a shape without a name", where)
			}
			if oneOf, ok := node["oneOf"].([]any); ok {
				require.Len(t, at[map[string]any](t, node, "discriminator", "mapping"), len(oneOf), where)
			}
			if body, ok := node["application/json"].(map[string]any); ok {
				require.True(t, body["example"] != nil || body["examples"] != nil, "%s: no example", where)
			}
		})
	}
}

// TestEveryEventIsInTheUnions compares the types of events that there are with those that clients are told to expect.
func TestEveryEventIsInTheUnions(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("testdata", "openapi.json"))
	require.NoError(t, err)
	var document map[string]any
	require.NoError(t, json.Unmarshal(raw, &document))
	schemas := at[map[string]any](t, document, "components", "schemas")
	var frames, events []string // and what is live only is no event of the journal
	sources, err := filepath.Glob("../tenant/*.go")
	require.NoError(t, err)
	declared := regexp.MustCompile(`EventType = "([a-z.]+)"`)
	for _, source := range sources {
		text, err := os.ReadFile(source)
		require.NoError(t, err)
		for _, match := range declared.FindAllStringSubmatch(string(text), -1) {
			frames = append(frames, match[1])
			if !slices.Contains([]string{"typing", "presence", "sync.progress", "history.progress"}, match[1]) {
				events = append(events, match[1])
			}
		}
	}
	require.Greater(t, len(events), 10)
	for path, kinds := range map[string][]string{"/api/events": events, "/api/events/stream": frames} {
		for _, param := range at[[]any](t, document, "paths", path, "get", "parameters") {
			if at[string](t, param, "name") == "types" {
				var words []string
				for _, word := range at[[]any](t, param, "schema", "items", "enum") {
					words = append(words, word.(string)) //nolint:forcetypeassert // a test
				}
				require.ElementsMatch(t, kinds, words, path)
			}
		}
	}
	for union, kinds := range map[string][]string{"Frame": append(frames, "hello", "gap"), "Event": events} {
		mapping := at[map[string]any](t, schemas, union, "discriminator", "mapping")
		require.ElementsMatch(t, kinds, slices.Collect(maps.Keys(mapping)), union)
		for kind, ref := range mapping {
			name, _ := ref.(string)
			frame := at[map[string]any](t, schemas, strings.TrimPrefix(name, "#/components/schemas/"))
			require.Equal(t, []any{kind}, at[[]any](t, frame, "properties", "type", "enum"))
			required := at[[]any](t, frame, "required")
			require.Equal(t, slices.Contains(events, kind), slices.Contains(required, any("seq")), kind)
		}
	}
}

// each calls fn for every object of a document that is no example.
func each(node any, path []string, fn func(path []string, node map[string]any)) {
	switch node := node.(type) {
	case map[string]any:
		fn(path, node)
		for name, child := range node {
			if name != "example" && name != "examples" {
				each(child, append(slices.Clone(path), name), fn)
			}
		}
	case []any:
		for _, child := range node {
			each(child, append(slices.Clone(path), "[]"), fn)
		}
	}
}

func references(node any) []string {
	var all []string
	each(node, nil, func(_ []string, node map[string]any) {
		if ref, ok := node["$ref"].(string); ok {
			all = append(all, ref)
		}
	})
	return all
}

// at is what lies at that path.
func at[T any](t *testing.T, node any, path ...string) T {
	t.Helper()
	for _, name := range path {
		object, ok := node.(map[string]any)
		require.True(t, ok && object[name] != nil, "no %s", name)
		node = object[name]
	}
	found, ok := node.(T)
	require.True(t, ok, "%v", path)
	return found
}
