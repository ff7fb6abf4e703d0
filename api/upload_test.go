package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/spool"
	"github.com/wafleet/wafleet/tenant"
)

// field is a part of a form. One with a fileName is a file.
type field struct{ name, fileName, contentType, value string }

// form is a multipart body and its content type.
func form(tb testing.TB, fields ...field) (body, contentType string) {
	tb.Helper()
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	for _, f := range fields {
		params := map[string]string{"name": f.name}
		if f.fileName != "" {
			params["filename"] = f.fileName
		}
		header := textproto.MIMEHeader{"Content-Disposition": {mime.FormatMediaType("form-data", params)}}
		if f.contentType != "" {
			header.Set("Content-Type", f.contentType)
		}
		part, err := w.CreatePart(header)
		require.NoError(tb, err)
		_, err = io.WriteString(part, f.value)
		require.NoError(tb, err)
	}
	require.NoError(tb, w.Close())
	return out.String(), w.FormDataContentType()
}

// upload sends a form to a chat.
func (a *account) upload(fields ...field) *answer {
	a.t.Helper()
	body, contentType := form(a.t, fields...)
	return a.call(http.MethodPost, "/api/chats/"+ana+"/messages", body, "X-API-Key", a.key, "Content-Type", contentType)
}

func bytesOf(size int) string {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	return string(data)
}

func TestAFileIsSentAndFetched(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	a.receive(ana, "IN1", "hello")
	data := bytesOf(300_001)
	hash := sha256.Sum256([]byte(data))
	var sent tenant.Message
	a.upload(
		field{"caption", "", "", "The invoice for May"}, field{"file", "Rechnung für Mai €.pdf", "application/pdf", data},
		field{"replyTo", "", "", "IN1"}, field{"mentions", "", "", ana}, field{"mentions", "", "", bia},
	).is(http.StatusCreated).into(&sent)
	require.Equal(t, tenant.TypeDocument, sent.Type)
	require.Equal(t, "The invoice for May", sent.Text)
	require.Equal(t, tenant.MessageID("IN1"), sent.ReplyTo)
	require.Equal(t, []tenant.ChatID{ana, bia}, sent.Mentions)
	require.Equal(t, tenant.Media{
		MimeType: "application/pdf", FileName: "Rechnung für Mai €.pdf", Size: 300_001, SHA256: hex.EncodeToString(hash[:]),
		URL: "/api/chats/" + ana + "/messages/" + string(sent.ID) + "/media",
	}, *sent.Media)

	got := a.get(sent.Media.URL).is(http.StatusOK)
	require.Equal(t, data, string(got.body))
	require.Equal(t, "application/pdf", got.header.Get("Content-Type"))
	require.Equal(t, "300001", got.header.Get("Content-Length"))
	require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
	require.Contains(t, got.header.Get("Content-Security-Policy"), "sandbox")
	_, params, err := mime.ParseMediaType(strings.Replace(got.header.Get("Content-Disposition"), "filename=", "fallback=", 1))
	require.NoError(t, err)
	require.Equal(t, "Rechnung für Mai €.pdf", params["filename"])
	require.Equal(t, "Rechnung f_r Mai _.pdf", params["fallback"])

	etag := got.header.Get("ETag")
	require.Equal(t, `"`+hex.EncodeToString(hash[:])+`"`, etag)
	got = a.send(http.MethodGet, sent.Media.URL, nil, "If-None-Match", etag).is(http.StatusNotModified)
	require.Empty(t, got.body)
	got = a.call(http.MethodHead, sent.Media.URL, nil, "X-API-Key", a.key).is(http.StatusOK)
	require.Equal(t, "300001", got.header.Get("Content-Length"))
	require.Empty(t, got.body)

	for asked, want := range map[string]string{
		"bytes=0-0": data[:1], "bytes=100-199": data[100:200], "bytes=300000-": data[300_000:], "bytes=-7": data[len(data)-7:],
		"bytes=5-999999": data[5:],
	} {
		got = a.send(http.MethodGet, sent.Media.URL, nil, "Range", asked).is(http.StatusPartialContent)
		require.Equal(t, want, string(got.body), asked)
		require.Contains(t, got.header.Get("Content-Range"), "/300001")
	}
	got = a.send(http.MethodGet, sent.Media.URL, nil, "Range", "bytes=300001-")
	got.problem(http.StatusRequestedRangeNotSatisfiable, "RANGE_NOT_SATISFIABLE", "RANGE_NOT_SATISFIABLE")
	got = a.send(http.MethodGet, sent.Media.URL, nil, "Range", "bytes=0-9", "If-Range", `"other"`).is(http.StatusOK)
	require.Len(t, got.body, len(data))
	a.get(sent.Media.URL+"/thumbnail").problem(404, "MEDIA_NOT_FOUND", "MEDIA_NOT_FOUND")
	a.get("/api/chats/"+ana+"/messages/IN1/media").problem(404, "MEDIA_NOT_FOUND", "MEDIA_NOT_FOUND")
	a.get("/api/chats/"+ana+"/messages/NONE/media").problem(404, "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND")
	a.get("/api/chats/"+bia+"/messages/IN1/media").problem(404, "Chat not found", "CHAT_NOT_FOUND")
	n.fleet.nothingLeft(t)
}

// nothingLeft asserts that all temporary files are gone.
func (f *fleet) nothingLeft(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		files, space := f.spool.Usage()
		return files == 0 && space == 0
	}, patience, 5*time.Millisecond)
}

func TestFilesAreKnownByTheirContentType(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	opus := "OggS" + strings.Repeat("\x00", 24) + "OpusHead" + strings.Repeat("\x01", 100)
	for _, tc := range []struct {
		declared, value string
		mimeType        string
		kind            tenant.MessageType
	}{
		{"image/jpeg", "x", "image/jpeg", tenant.TypeImage},
		{"image/jpg", "x", "image/jpeg", tenant.TypeImage},
		{"IMAGE/PNG", "x", "image/png", tenant.TypeImage},
		{"image/webp", "x", "image/webp", tenant.TypeSticker},
		{"image/svg+xml", "<svg/>", "image/svg+xml", tenant.TypeDocument},
		{"video/mp4", "x", "video/mp4", tenant.TypeVideo},
		{"video/webm", "x", "video/webm", tenant.TypeDocument},
		{"audio/mpeg", "x", "audio/mpeg", tenant.TypeAudio},
		{"audio/ogg", "x", "audio/ogg", tenant.TypeAudio},
		{"audio/ogg", opus, "audio/ogg; codecs=opus", tenant.TypeVoice},
		{"audio/ogg; codecs=opus", "x", "audio/ogg; codecs=opus", tenant.TypeVoice},
		{"text/plain; charset=utf-8", "x", "text/plain; charset=utf-8", tenant.TypeDocument},
		{"", "\xff\xd8\xff\xe0", "image/jpeg", tenant.TypeImage},
		{"", "%PDF-1.7", "application/pdf", tenant.TypeDocument},
		{"", opus, "audio/ogg; codecs=opus", tenant.TypeVoice},
		{"application/octet-stream", "\x89PNG\r\n\x1a\n", "image/png", tenant.TypeImage},
		{"nonsense", "\x00\x01", "application/octet-stream", tenant.TypeDocument},
	} {
		var sent tenant.Message
		a.upload(field{"file", "f", tc.declared, tc.value}).is(http.StatusCreated).into(&sent)
		require.Equal(t, tc.kind, sent.Type, "%q %q", tc.declared, tc.value)
		require.Equal(t, tc.mimeType, sent.Media.MimeType, "%q %q", tc.declared, tc.value)
	}
	n.fleet.nothingLeft(t)
}

func TestBadForms(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	n := start(t, func(c *api.Config) { c.Limits.File = limit })
	a := n.account()
	good := field{"file", "a.pdf", "application/pdf", "hello"}
	for name, tc := range map[string]struct {
		fields []field
		status int
		code   string
	}{
		"Nothing":           {nil, 422, "VALIDATION_ERROR"},
		"NoFile":            {[]field{{"caption", "", "", "x"}}, 422, "VALIDATION_ERROR"},
		"EmptyFile":         {[]field{{"file", "a", "image/png", ""}}, 422, "VALIDATION_ERROR"},
		"TwoFiles":          {[]field{good, good}, 422, "VALIDATION_ERROR"},
		"FileIsText":        {[]field{{"file", "", "", "@/tmp/a.pdf"}}, 422, "VALIDATION_ERROR"},
		"UnknownField":      {[]field{good, {"nope", "", "", "x"}}, 422, "VALIDATION_ERROR"},
		"UnknownFile":       {[]field{good, {"other", "b.pdf", "", "x"}}, 422, "VALIDATION_ERROR"},
		"NoName":            {[]field{good, {"", "", "", "x"}}, 422, "VALIDATION_ERROR"},
		"TwoCaptions":       {[]field{good, {"caption", "", "", "x"}, {"caption", "", "", "y"}}, 422, "VALIDATION_ERROR"},
		"LongCaption":       {[]field{good, {"caption", "", "", strings.Repeat("x", 65537)}}, 422, "VALIDATION_ERROR"},
		"CaptionOfSticker":  {[]field{{"file", "a", "image/webp", "x"}, {"caption", "", "", "y"}}, 422, "VALIDATION_ERROR"},
		"BadReply":          {[]field{good, {"replyTo", "", "", "a b"}}, 422, "VALIDATION_ERROR"},
		"LongReply":         {[]field{good, {"replyTo", "", "", strings.Repeat("A", 129)}}, 422, "VALIDATION_ERROR"},
		"MentionsGroup":     {[]field{good, {"mentions", "", "", group}}, 422, "VALIDATION_ERROR"},
		"MentionsNonsense":  {[]field{good, {"mentions", "", "", "ana"}}, 422, "VALIDATION_ERROR"},
		"LongFileName":      {[]field{{"file", strings.Repeat("n", 300), "", "x"}}, 422, "VALIDATION_ERROR"},
		"OverTheLimit":      {[]field{{"file", "a", "", strings.Repeat("x", limit+1)}}, 413, "PAYLOAD_TOO_LARGE"},
		"FarOverTheLimit":   {[]field{{"file", "a", "", strings.Repeat("x", 3*limit)}}, 413, "PAYLOAD_TOO_LARGE"},
		"AtTheLimit":        {[]field{{"file", "a", "", strings.Repeat("x", limit)}}, 201, ""},
		"CaptionAsItsLimit": {[]field{good, {"caption", "", "", strings.Repeat("é", 65536)}}, 201, ""},
	} {
		got := a.upload(tc.fields...)
		require.Equal(t, tc.status, got.status, "%s: %s", name, got.body)
		if tc.code != "" {
			require.Contains(t, string(got.body), `"code":"`+tc.code+`"`, name)
		}
	}
	body, contentType := form(t, good)
	path := "/api/chats/" + ana + "/messages"
	post := func(path, body string, headers ...string) *answer {
		return a.call(http.MethodPost, path, body, append([]string{"X-API-Key", a.key, "Content-Type", contentType}, headers...)...)
	}
	post(path, body, "Content-Type", "multipart/form-data").problem(415, "UNSUPPORTED_MEDIA_TYPE", "UNSUPPORTED_MEDIA_TYPE")
	post(path, body, "Content-Encoding", "gzip").problem(415, "UNSUPPORTED_MEDIA_TYPE", "UNSUPPORTED_MEDIA_TYPE")
	post(path, body[:strings.Index(body, "hello")+2]).problem(400, "BAD_REQUEST", "BAD_REQUEST")
	post(path, "hello").problem(400, "BAD_REQUEST", "BAD_REQUEST")
	post(path+"?nope=1", body).problem(422, "Validation error", "VALIDATION_ERROR")
	post("/api/chats/nobody/messages", body).problem(422, "Validation error", "VALIDATION_ERROR")
	post(path, body, "X-API-Key", "").problem(401, "Missing API key", "MISSING_API_KEY")
	// Without a length to refuse it by.
	long, contentType2 := form(t, field{"file", "a", "", strings.Repeat("x", 3*limit)})
	a.call(http.MethodPost, path, io.MultiReader(strings.NewReader(long)), "X-API-Key", a.key, "Content-Type", contentType2).
		problem(413, "PAYLOAD_TOO_LARGE", "PAYLOAD_TOO_LARGE")
	for err, status := range map[error]int{
		tenant.ErrChatNotFound: 404, session.ErrTransfer: 502, spool.ErrFull: 503, session.ErrStopping: 503,
		&session.OfflineError{View: session.View{State: session.Backoff}}: 503, &session.UnansweredError{Err: io.EOF}: 504,
	} {
		n.fleet.set(func(f *fleet) { f.sendErr = err })
		require.Equal(t, status, post(path, body).status, err)
	}
	n.fleet.nothingLeft(t)
}

func TestAFileThatCannotBeFetchedIsAProblem(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	var sent tenant.Message
	a.upload(field{"file", "a.bin", "", "hello"}).is(http.StatusCreated).into(&sent)
	for err, want := range map[error]string{
		session.ErrMediaGone: "410 MEDIA_GONE", session.ErrMediaDamaged: "502 MEDIA_DAMAGED", session.ErrTransfer: "502 MEDIA_TRANSFER_FAILED",
		session.ErrPhoneSilent: "504 PHONE_SILENT", spool.ErrFull: "503 SERVICE_UNAVAILABLE",
		&session.OfflineError{View: session.View{State: session.Backoff}}: "503 SERVICE_UNAVAILABLE",
	} {
		n.fleet.set(func(f *fleet) { f.sendErr = err })
		got := a.get(sent.Media.URL)
		var code string
		_, _ = fmt.Sscanf(want[4:], "%s", &code)
		require.Equal(t, want[:3], strconv.Itoa(got.status))
		require.Contains(t, string(got.body), code)
	}
	a.call(http.MethodHead, sent.Media.URL, nil, "X-API-Key", a.key).is(http.StatusOK)
}

// FuzzForms sends whatever a stranger writes as a form: it is sent or refused, never our fault, and leaves no file.
func FuzzForms(f *testing.F) {
	whole, _ := form(f, field{"file", "a.pdf", "application/pdf", "hello"}, field{"caption", "", "", "see"})
	whole = "--x" + strings.ReplaceAll(whole[62:], whole[2:62], "x")
	for _, seed := range []string{
		"", "--x--", "--x\r\n\r\n--x--", whole, whole[:len(whole)/2],
		"--x\r\nContent-Disposition: form-data; name=file; filename=\"../../etc/passwd\"\r\n\r\nroot\r\n--x--",
		"--x\r\nContent-Disposition: form-data; name=file; filename*=UTF-8''%00%ff\r\nContent-Type: ;;\r\n\r\nz\r\n--x--",
	} {
		f.Add(seed)
	}
	n := start(f)
	a := n.account()
	f.Fuzz(func(t *testing.T, body string) {
		at := *a
		node := *a.node
		node.t, at.node = t, &node
		got := at.call(http.MethodPost, "/api/chats/"+ana+"/messages", body, "X-API-Key", at.key, "Content-Type", "multipart/form-data; boundary=x")
		require.Contains(t, []int{http.StatusCreated, http.StatusBadRequest, http.StatusUnprocessableEntity}, got.status, string(got.body))
		n.fleet.nothingLeft(t)
		if got.status == http.StatusCreated {
			n.fleet.mu.Lock()
			defer n.fleet.mu.Unlock()
			require.NotContains(t, n.fleet.got.FileName, "/")
		}
	})
}
