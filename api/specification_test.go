package api_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// specification is docs/SPECIFICATION.md, the OpenAPI document, and what both are held to.
type specification struct {
	document map[string]any
	page     string
	sections map[string]string // of the page, by number; "" is what goes beyond
}

func readSpecification(t *testing.T) *specification {
	t.Helper()
	s := &specification{sections: make(map[string]string)}
	raw, err := os.ReadFile(filepath.Join("testdata", "openapi.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &s.document))
	raw, err = os.ReadFile("../docs/SPECIFICATION.md")
	require.NoError(t, err)
	s.page = string(raw)
	for _, section := range strings.Split(s.page, "\n## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		number := ""
		if rest, numbered := strings.CutPrefix(title, "§"); numbered {
			number, _, _ = strings.Cut(rest, " ")
		}
		s.sections[number] = text
	}
	return s
}

// TestTheSpecificationIsMet holds the page and the OpenAPI document to the specification, to each other, and to the tests.
func TestTheSpecificationIsMet(t *testing.T) {
	t.Parallel()
	s := readSpecification(t)
	for number := range 10 {
		require.Contains(t, s.sections, strconv.Itoa(number+1), "the page has no such section")
	}
	raw, err := os.ReadFile(filepath.Join("testdata", "specification.txt"))
	require.NoError(t, err)
	lines := 0
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		lines++
		words := strings.Split(line, " | ")
		s.holds(t, line, words[0], words[1], words[2:])
	}
	require.Greater(t, lines, 40)
}

// holds checks one line.
func (s *specification) holds(t *testing.T, line, section, kind string, args []string) {
	t.Helper()
	op := s.operation(args[0])
	if strings.HasPrefix(args[0], "GET /") || strings.Contains(args[0], " /") {
		require.NotNil(t, op, "the document has no such operation: %s", line)
		require.Contains(t, s.sections[section], "`"+args[0]+"`", "§%s of the page does not list it: %s", section, line)
	}
	text := s.sections[section]
	switch kind {
	case "endpoint":
	case "public":
		require.Empty(t, op["security"], line)
	case "group":
		require.Contains(t, errorsOf(op, "400"), "NOT_A_GROUP", line)
	case "query":
		require.NotNil(t, parameter(op, args[1]), line)
		require.Contains(t, text, args[1], line)
	case "maximum":
		schema, _ := parameter(op, args[1])["schema"].(map[string]any)
		require.Equal(t, args[2], jsonNumber(schema["maximum"]), line)
		require.Contains(t, text, args[2], line)
	case "body", "member", "form", "option":
		media := map[bool]string{true: "application/json", false: "multipart/form-data"}[kind == "body" || kind == "member"]
		schema := s.resolve(at[map[string]any](t, op, "requestBody", "content", media, "schema"))
		require.Contains(t, schema["properties"], args[1], line)
		required, _ := schema["required"].([]any)
		require.Equal(t, kind == "body" || kind == "form", slices.Contains(required, any(args[1])), line)
		require.Contains(t, text, "`"+args[1]+"`", line)
	case "answer":
		schema := s.resolve(at[map[string]any](t, op, "responses", "200", "content", "application/json", "schema"))
		require.Contains(t, schema["properties"], args[1], line)
		require.Contains(t, text, args[1], line)
	case "word":
		require.Contains(t, at[[]any](t, s.document, "components", "schemas", args[0], "enum"), any(args[1]), line)
		require.Contains(t, text, "`"+args[1]+"`", line)
	case "text":
		require.True(t, holdsText(s.document, args[0]), line)
		require.Contains(t, text, "`"+args[0]+"`", line)
	case "error", "chats":
		for key, op := range s.operations() {
			if kind == "error" && op["security"] != nil || kind == "chats" && strings.Contains(key, "{chatId}") {
				require.Contains(t, errorsOf(op, args[0]), args[1], "%s: %s", key, line)
			}
		}
		require.Contains(t, text, args[0]+" `"+args[1]+"`", line)
	case "refusal":
		require.Contains(t, errorsOf(op, args[1]), args[2], line)
		require.Contains(t, text, args[1], line)
	case "header", "socket":
		schemes := at[map[string]any](t, s.document, "components", "securitySchemes")
		in := map[string]string{"header": "header", "socket": "query"}[kind]
		require.True(t, slices.ContainsFunc(slices.Collect(maps.Values(schemes)), func(v any) bool {
			scheme, _ := v.(map[string]any)
			return scheme["name"] == args[0] && scheme["in"] == in
		}), line)
		require.Contains(t, text, args[0], line)
	default:
		require.Fail(t, "no such kind of line: "+line)
	}
}

var listed = regexp.MustCompile("`((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`")

// TestThePageListsEveryOperation compares the operations of the page and of the document.
func TestThePageListsEveryOperation(t *testing.T) {
	t.Parallel()
	s := readSpecification(t)
	var onPage []string
	for line := range strings.Lines(s.page) {
		for _, match := range listed.FindAllStringSubmatch(line, -1) {
			require.NotNil(t, s.operation(match[1]), "the document has no %s", match[1])
			onPage = append(onPage, match[1])
		}
	}
	for key := range s.operations() {
		require.Contains(t, onPage, key, "docs/SPECIFICATION.md does not list it")
	}
}

var testName = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`)

// TestThePageNamesTestsThatExist holds that each rule of the page names a test, and that there are such tests.
func TestThePageNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	s := readSpecification(t)
	exist := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	require.NoError(t, filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == "bin" { // what was fetched or built
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, match := range declared.FindAllSubmatch(raw, -1) {
			exist[string(match[1])] = true
		}
		return err
	}))
	for _, name := range testName.FindAllString(s.page, -1) {
		require.True(t, exist[name], "there is no test %s", name)
	}
	for number, text := range s.sections {
		rules := 0
		for line := range strings.Lines(text) {
			cells := strings.Split(strings.TrimSpace(line), " | ")
			if !strings.HasPrefix(line, "| ") || cells[len(cells)-1] == "shown by |" {
				continue
			}
			rules++
			require.Len(t, cells, 3, line)
			require.NotEmpty(t, testName.FindAllString(cells[2], -1), "a rule that no test shows: %s", line)
		}
		require.Positive(t, rules, "§%s", number)
	}
}

// operations are those of the document, by method and path.
func (s *specification) operations() map[string]map[string]any {
	all := make(map[string]map[string]any)
	paths, _ := s.document["paths"].(map[string]any)
	for path, item := range paths {
		methods, _ := item.(map[string]any)
		for method, op := range methods {
			all[strings.ToUpper(method)+" "+path], _ = op.(map[string]any)
		}
	}
	return all
}

func (s *specification) operation(key string) map[string]any { return s.operations()[key] }

// resolve follows a reference.
func (s *specification) resolve(schema map[string]any) map[string]any {
	ref, isRef := schema["$ref"].(string)
	if !isRef {
		return schema
	}
	components, _ := s.document["components"].(map[string]any)
	schemas, _ := components["schemas"].(map[string]any)
	found, _ := schemas[strings.TrimPrefix(ref, "#/components/schemas/")].(map[string]any)
	return found
}

func parameter(op map[string]any, name string) map[string]any {
	list, _ := op["parameters"].([]any)
	for _, item := range list {
		if p, _ := item.(map[string]any); p["name"] == name {
			return p
		}
	}
	return nil
}

// errorsOf are the texts in error of the examples of a status.
func errorsOf(op map[string]any, status string) []string {
	responses, _ := op["responses"].(map[string]any)
	var texts []string
	var look func(node any)
	look = func(node any) {
		object, _ := node.(map[string]any)
		if text, ok := object["error"].(string); ok {
			texts = append(texts, text)
		}
		for _, child := range object {
			look(child)
		}
	}
	look(responses[status])
	return texts
}

// holdsText says whether a string anywhere in a document is that text.
func holdsText(node any, text string) bool {
	switch node := node.(type) {
	case string:
		return node == text
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(node)), func(v any) bool { return holdsText(v, text) })
	case []any:
		return slices.ContainsFunc(node, func(v any) bool { return holdsText(v, text) })
	}
	return false
}

func jsonNumber(value any) string {
	number, _ := value.(float64)
	return strconv.FormatFloat(number, 'f', -1, 64)
}
