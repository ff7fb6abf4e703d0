package blackbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// document is a node's own description of the tenants' API.
type document struct {
	Paths      map[string]map[string]*operation
	Components struct{ Schemas map[string]*schema }
}

// operation is one operation of the document.
type operation struct {
	method, path string
	OperationID  string `json:"operationId"`
	Security     []map[string][]string
	RequestBody  *struct {
		Content map[string]struct {
			Example json.RawMessage
			Schema  *schema
		}
	}
	Responses map[string]struct {
		Content map[string]struct{ Schema *schema }
	}
}

// schema is as much of JSON Schema as the document uses.
type schema struct {
	Ref        string `json:"$ref"`
	Type       kinds
	Format     string
	Enum       []any
	Required   []string
	Properties map[string]*schema
	Items      *schema
	OneOf      []*schema

	Discriminator struct{ Mapping map[string]string }
}

// kinds are the types that a value may have; most have one.
type kinds []string

// UnmarshalJSON reads a type or a list of them.
func (k *kinds) UnmarshalJSON(raw []byte) error {
	if err := json.Unmarshal(raw, (*[]string)(k)); err == nil {
		return nil
	}
	*k = make(kinds, 1)
	return json.Unmarshal(raw, &(*k)[0])
}

// main is the type besides null.
func (k kinds) main() string {
	for _, kind := range k {
		if kind != "null" {
			return kind
		}
	}
	return ""
}

// readDocument reads the document as anybody can.
func readDocument(t *testing.T, base string) *document {
	t.Helper()
	d := read[document](t, newCaller(t, base, nil).must(t, http.StatusOK, http.MethodGet, "/openapi.json", ""))
	require.NotEmpty(t, d.Paths)
	for path, item := range d.Paths {
		for method, op := range item {
			op.method, op.path = strings.ToUpper(method), path
		}
	}
	return &d
}

// operations are all of them, by method and path.
func (d *document) operations() map[string]*operation {
	all := make(map[string]*operation)
	for _, item := range d.Paths {
		for _, op := range item {
			all[op.method+" "+op.path] = op
		}
	}
	return all
}

func (o *operation) public() bool { return len(o.Security) == 0 }

// takesJSON says whether the operation has a JSON body.
func (o *operation) takesJSON() bool {
	if o.RequestBody == nil {
		return false
	}
	_, found := o.RequestBody.Content["application/json"]
	return found
}

// resolve follows a reference.
func (d *document) resolve(s *schema) *schema {
	if s == nil || s.Ref == "" {
		return s
	}
	return d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
}

// problem is the body of every answer that is not a success.
type problem struct {
	Title, Detail, Error, Code, RequestID string
	Status                                int
	Errors                                []struct{ Location, Message string }
}

// check holds an answer to what the document says of the operation.
func (d *document) check(t *testing.T, o *operation, got answer) {
	t.Helper()
	response, documented := o.Responses[strconv.Itoa(got.status)]
	require.True(t, documented, "%s answers what its document does not know: %s", o.OperationID, got)
	require.NotEmpty(t, got.header.Get("X-Request-Id"))
	media, _, _ := strings.Cut(got.header.Get("Content-Type"), ";")
	if got.status >= http.StatusBadRequest {
		require.Equal(t, "application/problem+json", media, got)
		p := read[problem](t, got)
		require.Equal(t, got.status, p.Status)
		for _, member := range []string{p.Title, p.Detail, p.Error, p.Code, p.RequestID} {
			require.NotEmpty(t, member, got)
		}
	}
	if got.status == http.StatusServiceUnavailable || got.status == http.StatusTooManyRequests {
		seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
		require.NoError(t, err)
		require.Positive(t, seconds)
	}
	if len(got.body) == 0 {
		require.Empty(t, response.Content, "%s: %s has no body", o.OperationID, got)
		return
	}
	if _, anything := response.Content["*/*"]; anything && got.status < http.StatusBadRequest {
		return
	}
	require.Contains(t, response.Content, media, got)
	if strings.HasSuffix(media, "json") {
		var value any
		require.NoError(t, json.Unmarshal(got.body, &value))
		require.NoError(t, d.fits(response.Content[media].Schema, value, "body"), "%s: %s", o.OperationID, got)
	}
}

// fits says whether a value is as its schema says. Members that the schema does not know are faults: clients may get more one
// day, but what a node answers now is documented.
func (d *document) fits(s *schema, value any, where string) error {
	if s = d.resolve(s); s == nil {
		return nil
	}
	if value == nil && slices.Contains(s.Type, "null") {
		return nil
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, value) {
		return fmt.Errorf("%s: %v is none of %v", where, value, s.Enum)
	}
	ok := true
	switch s.Type.main() {
	case "object":
		return d.fitsObject(s, value, where)
	case "array":
		list, isList := value.([]any)
		for i, item := range list {
			if err := d.fits(s.Items, item, fmt.Sprintf("%s[%d]", where, i)); err != nil {
				return err
			}
		}
		ok = isList
	case "string":
		var text string
		text, ok = value.(string)
		if s.Format == "date-time" {
			if _, err := time.Parse(time.RFC3339, text); err != nil || !strings.HasSuffix(text, "Z") {
				return fmt.Errorf("%s: %q is no time in UTC", where, text)
			}
		}
	case "integer":
		var number float64
		number, ok = value.(float64)
		ok = ok && number == math.Trunc(number)
	case "number":
		_, ok = value.(float64)
	case "boolean":
		_, ok = value.(bool)
	}
	if !ok {
		return fmt.Errorf("%s: %v is no %s", where, value, s.Type.main())
	}
	return d.fitsOne(s, value, where)
}

func (d *document) fitsObject(s *schema, value any, where string) error {
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: %v is no object", where, value)
	}
	for _, name := range s.Required {
		if _, found := object[name]; !found {
			return fmt.Errorf("%s.%s is missing", where, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		property, known := s.Properties[name]
		if !known && len(s.Properties) > 0 {
			return fmt.Errorf("%s.%s is not documented", where, name)
		}
		if err := d.fits(property, object[name], where+"."+name); err != nil {
			return err
		}
	}
	return nil
}

// fitsOne follows a discriminator.
func (d *document) fitsOne(s *schema, value any, where string) error {
	if len(s.OneOf) == 0 {
		return nil
	}
	object, _ := value.(map[string]any)
	kind, _ := object["type"].(string)
	ref, known := s.Discriminator.Mapping[kind]
	if !known {
		return fmt.Errorf("%s: the type %q is not documented", where, kind)
	}
	return d.fits(&schema{Ref: ref}, value, where)
}

// frame says whether an event is as the document says of its type.
func (d *document) frame(e *frame) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	var value any
	if err = json.Unmarshal(raw, &value); err != nil {
		return err
	}
	return d.fits(&schema{Ref: "#/components/schemas/Frame"}, value, "frame")
}
