package api

import (
	"context"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/spool"
	"github.com/wafleet/wafleet/tenant"
)

type mediaHandler struct {
	sessions Sessions
	limits   Limits
	meter    *meter
}

// registerMedia registers the operations on messages' files.
func registerMedia(d *document, sessions Sessions) {
	h := &mediaHandler{sessions: sessions, limits: d.server.limits, meter: d.server.meter}
	tenantOperation(d, &operation{
		id: "get-message-media", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/chats/{chatId}/messages/{messageId}/media", tag: tagMessages,
		deadline: deadlineMulti,
		summary:  "Fetch a message's file",
		description: "The file of a message, sent or received: fetched from WhatsApp, decrypted, and verified before its first byte is answered. " +
			"When WhatsApp has dropped the file, the phone is asked to upload it again. Ranges (`Range`), `HEAD` and `If-None-Match` are " +
			"supported; `ETag` is the file's hash.",
		problems: []Code{
			codeChatNotFound, codeMessageNotFound, codeNoMedia, codeMediaGone, codeRange, codeMediaDamaged, codeTransfer, codeGatewayTimeout, codePhoneSilent,
		},
		adjust: func(op *huma.Operation, _ huma.Registry) {
			content := map[string]*huma.MediaType{"*/*": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
			op.Responses["200"] = &huma.Response{Description: "The file.", Content: content}
			op.Responses["206"] = &huma.Response{Description: "The part of the file that was asked for.", Content: content}
			op.Responses["304"] = &huma.Response{Description: "The client has the file already."}
		},
	}, h.file)
	tenantOperation(d, &operation{
		id: "get-message-thumbnail", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/chats/{chatId}/messages/{messageId}/media/thumbnail", tag: tagMessages,
		summary:     "Fetch the small picture of a message's file",
		description: "The picture that the sender gave with the file, from the local database; 404 when there is none.",
		problems:    []Code{codeChatNotFound, codeMessageNotFound, codeNoMedia},
		adjust: func(op *huma.Operation, _ huma.Registry) {
			binary := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
			op.Responses["200"] = &huma.Response{
				Description: "The picture.", Content: map[string]*huma.MediaType{"image/jpeg": binary, "image/png": binary},
			}
		},
	}, h.thumbnail)
}

// MediaPath is the part of a request that names a message with a file. Exported because Huma looks only into exported embedded
// fields.
type MediaPath struct {
	ChatPath

	MessageID string       `path:"messageId" minLength:"1" maxLength:"128" pattern:"^[!-~]+$" patternDescription:"a message id" doc:"The message's id." example:"3EB0C767D097B7C7C8F5"`
	Sender    personIDText `query:"sender" doc:"Who sent the message, where members of a group share an id. Without it our own message is meant, else the newest." example:"5511999990001@c.us"`
}

// message is the message with its payload. Returns tenant.ErrNoMedia when it has no file.
func (p *MediaPath) message(ctx context.Context, t tenant.Handle) (tenant.Message, error) {
	chat, err := p.ChatID.id()
	if err != nil {
		return tenant.Message{}, err
	}
	var sender tenant.ChatID
	if p.Sender != "" {
		if sender, err = tenant.ParseChatID(string(p.Sender)); err != nil {
			return tenant.Message{}, invalid("query.sender", err.Error())
		}
	}
	m, err := t.Message(ctx, chat, tenant.MessageID(p.MessageID), sender)
	if err != nil {
		return tenant.Message{}, err
	}
	if m.Media == nil || m.DeletedAt != nil {
		return tenant.Message{}, tenant.ErrNoMedia
	}
	return m, nil
}

type fileInput struct {
	MediaPath

	method  string
	matches string // If-None-Match
}

// Resolve notes what the answer depends on besides parameters.
func (in *fileInput) Resolve(hc huma.Context) []error {
	in.method, in.matches = hc.Method(), hc.Header("If-None-Match")
	return nil
}

var _ huma.Resolver = (*fileInput)(nil)

func (h *mediaHandler) file(ctx context.Context, t tenant.Handle, in *fileInput) (*huma.StreamResponse, error) {
	m, err := in.message(ctx, t)
	if err != nil {
		return nil, err
	}
	etag := ""
	if m.Media.SHA256 != "" {
		etag = `"` + m.Media.SHA256 + `"`
	}
	if known := etag != "" && strings.Contains(in.matches, etag); known || in.method == http.MethodHead {
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			_, w := humago.Unwrap(hc)
			fileHeaders(w.Header(), &m, etag)
			if known {
				w.Header().Del("Content-Type")
				w.WriteHeader(http.StatusNotModified)
				return
			}
			w.Header().Set("Accept-Ranges", "bytes")
			w.Header().Set("Content-Length", strconv.FormatInt(m.Media.Size, 10))
			w.WriteHeader(http.StatusOK)
		}}, nil
	}
	file, err := h.sessions.FetchFile(ctx, t.ID(), &m)
	if err != nil {
		return nil, err
	}
	if size, err := file.Size(); err == nil {
		h.meter.fetched(t.ID(), size)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer file.Discard()
		h.serve(hc, file, &m, etag)
	}}, nil
}

// serve answers with a file that is whole and verified.
func (h *mediaHandler) serve(hc huma.Context, file *spool.File, m *tenant.Message, etag string) {
	r, w := humago.Unwrap(hc)
	fileHeaders(w.Header(), m, etag)
	out := &fileWriter{patientWriter: patientWriter{hc, h.limits.WriteTimeout}, ResponseWriter: w, request: r}
	http.ServeContent(out, r, "", time.Time{}, file)
}

// fileHeaders are the headers of a file that a stranger sent: no browser may take it for a page of ours.
func fileHeaders(h http.Header, m *tenant.Message, etag string) {
	contentType := "application/octet-stream"
	if media, params, err := mime.ParseMediaType(m.Media.MimeType); err == nil && strings.Contains(media, "/") {
		if formatted := mime.FormatMediaType(media, params); formatted != "" {
			contentType = formatted
		}
	}
	h.Set("Content-Type", contentType)
	h.Set("Content-Disposition", disposition(fileNameOf(m)))
	h.Set("Cache-Control", "private, no-cache")
	if etag != "" {
		h.Set("ETag", etag)
	}
	sandbox(h)
}

func sandbox(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
}

// disposition names a file (RFC 6266): plainly for old clients, and as it is called for the others (RFC 8187).
func disposition(name string) string {
	var plain, encoded strings.Builder
	ascii := true
	for _, c := range name {
		if c < ' ' || c > '~' || strings.ContainsRune(`"\/%`, c) {
			plain.WriteByte('_')
			ascii = false
			continue
		}
		plain.WriteRune(c)
	}
	value := `attachment; filename="` + plain.String() + `"`
	if ascii {
		return value
	}
	const hexDigits = "0123456789ABCDEF"
	for _, b := range []byte(name) {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', strings.IndexByte("!#$&+-.^_`|~", b) >= 0:
			encoded.WriteByte(b)
		default:
			encoded.WriteByte('%')
			encoded.WriteByte(hexDigits[b>>4])
			encoded.WriteByte(hexDigits[b&15])
		}
	}
	return value + "; filename*=UTF-8''" + encoded.String()
}

// fileWriter gives the client some time for each piece, and makes the refusal of a range a problem like all others.
type fileWriter struct {
	patientWriter
	http.ResponseWriter

	request *http.Request
	refused bool
}

// WriteHeader writes the status.
func (w *fileWriter) WriteHeader(status int) {
	if status == http.StatusRequestedRangeNotSatisfiable {
		w.refused = true
		h := w.Header()
		for _, name := range []string{"Content-Disposition", "ETag", "Cache-Control", "Content-Length"} {
			h.Del(name)
		}
		newProblem(codeRange).write(w.ResponseWriter, w.request)
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write writes a piece.
func (w *fileWriter) Write(p []byte) (int, error) {
	if w.refused {
		return len(p), nil
	}
	return w.patientWriter.Write(p)
}

type thumbnailOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Options     string `header:"X-Content-Type-Options" hidden:"true"`
	Policy      string `header:"Content-Security-Policy" hidden:"true"`
	Body        []byte
}

func (h *mediaHandler) thumbnail(ctx context.Context, t tenant.Handle, in *MediaPath) (*thumbnailOutput, error) {
	m, err := in.message(ctx, t)
	if err != nil {
		return nil, err
	}
	picture, mimeType, err := session.Thumbnail(&m)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	sandbox(header)
	return &thumbnailOutput{
		ContentType: mimeType, Options: header.Get("X-Content-Type-Options"), Policy: header.Get("Content-Security-Policy"), Body: picture,
	}, nil
}
