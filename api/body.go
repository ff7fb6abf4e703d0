package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// jsonType is the one content type of bodies, besides problems.
const jsonType = "application/json"

// readBody reads a JSON body before Huma does, because Huma's reader answers 500 to a body that ends early, and leaves its read
// deadline on the connection, where it cancels the request when it passes.
func (s *Server) readBody(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	if p := notJSON(r.Header); p != nil {
		answer(ctx, p)
		return
	}
	r.Header.Set("Content-Type", jsonType) // Huma is stricter about its spelling than the RFC
	if r.ContentLength > s.limits.Body {
		answer(ctx, s.tooLarge())
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(s.limits.BodyTimeout)) // recorders in tests know no deadlines
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.limits.Body))
	_ = control.SetReadDeadline(time.Time{})
	if err != nil {
		w.Header().Set("Connection", "close") // or net/http would wait for the rest of the body before it answers
		answer(ctx, s.bodyProblem(err))
		return
	}
	if !utf8.Valid(body) {
		answer(ctx, newProblem(codeMalformedJSON).because("The body is not JSON: it is not valid UTF-8."))
		return
	}
	if p := halfCharacters(body); p != nil {
		answer(ctx, p)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	next(ctx)
}

// halfCharacters is a problem when the body has an escape of one half of a surrogate pair without the other. encoding/json would
// make U+FFFD of it, and the text would go out damaged.
func halfCharacters(body []byte) *Problem {
	if !loneSurrogate(body) {
		return nil
	}
	const message = "expected whole characters: an escape from \\ud800 to \\udfff stands without its other half"
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return invalid("body", message)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if loneSurrogate(fields[name]) {
			return invalid("body."+name, message)
		}
	}
	return invalid("body", message) // it is in a name
}

// loneSurrogate looks for such an escape. What is no escape at all is for the decoder to find.
func loneSurrogate(raw []byte) bool {
	const size = len(`\u0000`)
	unit := func(at int) (rune, bool) {
		if at+size > len(raw) || raw[at] != '\\' || raw[at+1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(string(raw[at+2:at+size]), 16, 16)
		return rune(n), err == nil
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		first, ok := unit(i)
		if !ok {
			i++ // the character that is escaped, which may be a backslash
			continue
		}
		i += size - 1
		if !utf16.IsSurrogate(first) {
			continue
		}
		second, _ := unit(i + 1)
		if utf16.DecodeRune(first, second) == utf8.RuneError {
			return true
		}
		i += size
	}
	return false
}

func (s *Server) tooLarge() *Problem {
	return newProblem(codeTooLarge).because(fmt.Sprintf("The body is larger than %d bytes.", s.limits.Body))
}

func (s *Server) bodyProblem(err error) *Problem {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return s.tooLarge()
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return newProblem(codeRequestTimeout)
	}
	return newProblem(codeBadRequest).because("The body ended early or is not encoded as its headers say.")
}

// notJSON says what is wrong with a body that its headers do not call plain JSON. A body without a content type is taken for JSON.
func notJSON(h http.Header) *Problem {
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return newProblem(codeUnsupportedMedia).because("Compressed bodies are not supported.")
	}
	given := h.Get("Content-Type")
	if given == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(given)
	switch {
	case err == nil && (media == jsonType || strings.HasSuffix(media, "+json")):
		return nil
	case strings.HasPrefix(media, "multipart/"):
		return newProblem(codeUnsupportedMedia).because("This operation does not take files: send JSON with Content-Type: application/json.")
	default:
		return newProblem(codeUnsupportedMedia)
	}
}

// extendWrite gives the client that long from now to take the answer. Zero: as long as it likes.
func extendWrite(ctx huma.Context, d time.Duration) {
	_, w := humago.Unwrap(ctx)
	at := time.Time{}
	if d > 0 {
		at = time.Now().Add(d)
	}
	_ = http.NewResponseController(w).SetWriteDeadline(at) // recorders in tests know no deadlines
}
