package blackbox

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/programtest"
)

// answer is what a call got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string {
	return fmt.Sprintf("%d %s", a.status, programtest.Tail(string(a.body)))
}

// read decodes the body of an answer.
func read[T any](t *testing.T, a answer) T {
	t.Helper()
	var out T
	require.NoError(t, json.Unmarshal(a.body, &out), "%s", a)
	return out
}

// caller calls a server with fixed headers. Safe for concurrent use.
type caller struct {
	base   string
	header map[string]string
	http   *http.Client
}

func newCaller(t *testing.T, base string, header map[string]string) *caller {
	t.Helper()
	return &caller{base: base, header: header, http: programtest.Client(t, patience)}
}

// with is the same caller with another header more.
func (c *caller) with(name, value string) *caller {
	other := *c
	other.header = maps.Clone(c.header)
	if other.header == nil {
		other.header = make(map[string]string)
	}
	other.header[name] = value
	return &other
}

// without is the same caller without that header.
func (c *caller) without(name string) *caller {
	other := *c
	other.header = maps.Clone(c.header)
	delete(other.header, name)
	return &other
}

// do makes a call. A body that does not say otherwise is JSON.
func (c *caller) do(t *testing.T, method, path, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.base+path, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range c.header {
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	require.NoError(t, err, "%s %s", method, path)
	defer func() { _ = resp.Body.Close() }()
	got, err := readAnswer(resp)
	require.NoError(t, err, "%s %s", method, path)
	return answer{status: resp.StatusCode, header: resp.Header, body: got}
}

// readAnswer reads a body; of a stream of events, which has no end, its first.
func readAnswer(resp *http.Response) ([]byte, error) {
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		return io.ReadAll(resp.Body)
	}
	var first []byte
	for lines := bufio.NewReader(resp.Body); ; {
		line, err := lines.ReadBytes('\n')
		first = append(first, line...)
		if err != nil || len(line) == 1 {
			return first, err
		}
	}
}

// must makes a call that must be answered with that status.
func (c *caller) must(t *testing.T, want int, method, path, body string) answer {
	t.Helper()
	got := c.do(t, method, path, body)
	require.Equal(t, want, got.status, "%s %s: %s", method, path, got)
	return got
}

// until makes a call again and again until its answer is the wanted one. It paces itself by a ticker: use it only for what no event
// tells of.
func (c *caller) until(t *testing.T, method, path string, wanted func(answer) bool) answer {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		got := c.do(t, method, path, "")
		if wanted(got) {
			return got
		}
		select {
		case <-tick.C:
		case <-late.C:
			require.FailNow(t, "never answered as wanted", "%s %s: %s", method, path, got)
		}
	}
}

// form is a multipart body with a file, and its content type.
func form(t *testing.T, fileName, mimeType string, file []byte, fields map[string]string) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, value := range fields {
		require.NoError(t, w.WriteField(name, value))
	}
	if fileName != "" {
		part, err := w.CreatePart(map[string][]string{
			"Content-Disposition": {fmt.Sprintf(`form-data; name="file"; filename=%q`, fileName)}, "Content-Type": {mimeType},
		})
		require.NoError(t, err)
		_, err = part.Write(file)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.String(), w.FormDataContentType()
}

// text is the body of a text.
func text(message string) string {
	raw, err := json.Marshal(map[string]string{"message": message})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// picture is a JPEG, of the size that WhatsApp shows.
func picture() []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 640, 640)), nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}
