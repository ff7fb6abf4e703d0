package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/spool"
	"github.com/wafleet/wafleet/tenant"
)

const (
	formType = "multipart/form-data"
	// formOverhead is what a form may have beside its file, in bytes.
	formOverhead = 1 << 20
	// maxCaption is the longest caption, in characters.
	maxCaption = tenant.MaxTextLength
	// maxMentions is how many people a message may mention.
	maxMentions = 1024
	copyBuffer  = 64 << 10
)

// uploads takes the multipart bodies of an operation whose other bodies are JSON. Huma's own forms hold files in memory, or write
// them without our bounds.
type uploads struct {
	server   *Server
	sessions Sessions
}

// fileForm is a form with a file. Its file is discarded by whoever has the form.
type fileForm struct {
	file     *spool.File
	fileName string
	declared string // the file's content type, as its sender calls it
	sha256   string // of the file, in hex; what is sent of it is encrypted in place
	caption  string
	replyTo  tenant.MessageID
	mentions []tenant.ChatID
	// forwarded marks it as forwarded.
	forwarded bool
}

func (f *fileForm) discard() {
	if f.file != nil {
		f.file.Discard()
	}
}

// multipart lets op's file handler take bodies that are forms; all others go on to be read as JSON.
func (d *document) multipart(op *operation) middleware {
	return func(ctx huma.Context, next func(huma.Context)) {
		media, _, _ := strings.Cut(ctx.Header("Content-Type"), ";")
		if !strings.EqualFold(strings.TrimSpace(media), formType) {
			next(ctx)
			return
		}
		body, err := op.files(ctx)
		_, w := humago.Unwrap(ctx)
		if err != nil {
			w.Header().Set("Connection", "close") // or net/http would wait for the rest of the body before it answers
			answer(ctx, d.problem(ctx.Context(), op, err))
			return
		}
		w.Header().Set("Content-Type", jsonType)
		w.WriteHeader(op.status)
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(body) // the status is sent; a client that left learns nothing more
	}
}

// take reads a form, sends its file and returns the message. The deadline of the action begins when the form has arrived.
func (u *uploads) take(hc huma.Context) (any, error) {
	r, w := humago.Unwrap(hc)
	id, err := tenant.FromContext(hc.Context())
	if err != nil {
		return nil, err
	}
	for name := range r.URL.Query() {
		return nil, invalid("query."+name, "unknown query parameter")
	}
	chat, err := tenant.ParseChatID(hc.Param("chatId"))
	if err != nil {
		return nil, err
	}
	// The deadline that came with the operation is that of an action without a body.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(hc.Context()))
	defer cancel(nil)
	defer context.AfterFunc(r.Context(), func() { cancel(context.Canceled) })()

	if stateOf(ctx).once == nil { // a request that is repeated may have its message already, whatever is left of limits
		if err = u.sessions.CheckUpload(ctx, id, max(0, r.ContentLength-formOverhead)); err != nil {
			return nil, err
		}
	}
	form, err := u.read(w, r, id)
	defer form.discard()
	if err != nil {
		return nil, err
	}
	message, err := form.message()
	if err != nil {
		return nil, err
	}
	limits := &u.server.limits
	extendWrite(hc, limits.MultiTimeout+limits.WriteTimeout)
	ctx, stop := context.WithTimeout(ctx, limits.MultiTimeout)
	defer stop()
	return sendOnce(ctx, u.sessions, id, form.said(), func(ctx context.Context) (tenant.Message, error) {
		sent, err := u.sessions.SendFile(ctx, id, chat, message)
		if _, unanswered := errors.AsType[*session.UnansweredError](err); err == nil || unanswered { // it has been uploaded
			if size, sizeErr := message.File.Size(); sizeErr == nil {
				u.server.meter.sent(id, size)
			}
		}
		return sent, err
	})
}

// said is what the form says, whatever the order and the boundary of its parts.
func (f *fileForm) said() any {
	return struct {
		SHA256, FileName, Type, Caption string
		ReplyTo                         tenant.MessageID
		Mentions                        []tenant.ChatID
		Forwarded                       bool
	}{f.sha256, f.fileName, f.declared, f.caption, f.replyTo, f.mentions, f.forwarded}
}

// message is the form as a message to send.
func (f *fileForm) message() (*session.FileMessage, error) {
	if f.file == nil {
		return nil, invalid("body.file", "expected a file")
	}
	size, err := f.file.Size()
	if err != nil {
		return nil, err
	}
	if size == 0 {
		return nil, invalid("body.file", "expected a file that is not empty")
	}
	head := make([]byte, min(size, session.SniffLength))
	if _, err = f.file.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	mimeType, kind := session.Classify(f.declared, head)
	if f.caption != "" && !session.Captioned(kind) {
		return nil, invalid("body.caption", "expected no caption: WhatsApp shows none with "+string(kind)+" messages")
	}
	return &session.FileMessage{
		File: f.file, Kind: kind, MimeType: mimeType, FileName: f.fileName, Caption: f.caption, ReplyTo: f.replyTo, Mentions: f.mentions,
		Forwarded: f.forwarded,
	}, nil
}

// read reads the form of a request. The form must be discarded also when there is an error.
func (u *uploads) read(w http.ResponseWriter, r *http.Request, id tenant.ID) (*fileForm, error) {
	form := &fileForm{}
	limits := &u.server.limits
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return form, newProblem(codeUnsupportedMedia).because("Compressed bodies are not supported.")
	}
	if r.ContentLength > limits.File+formOverhead {
		return form, u.tooLarge()
	}
	control := http.NewResponseController(w)
	r.Body = &patientBody{
		ReadCloser: http.MaxBytesReader(w, r.Body, limits.File+formOverhead),
		control:    control, patience: limits.BodyTimeout, end: time.Now().Add(limits.UploadTimeout),
	}
	_ = control.SetWriteDeadline(time.Now().Add(limits.UploadTimeout + limits.WriteTimeout)) // recorders in tests know no deadlines
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	parts, err := r.MultipartReader()
	if err != nil {
		return form, newProblem(codeUnsupportedMedia).because("The form has no boundary: send it with Content-Type: multipart/form-data; boundary=…")
	}
	return form, u.parts(parts, form, func() (*spool.File, error) { return u.sessions.NewFile(id) })
}

// parts reads a form part by part.
func (u *uploads) parts(parts *multipart.Reader, form *fileForm, newFile func() (*spool.File, error)) error {
	seen := map[string]bool{}
	for {
		part, err := parts.NextPart()
		if err == io.EOF { //nolint:errorlint // as it is, it means the end; wrapped, that the form ended early
			return nil
		}
		if err != nil {
			return u.formProblem(err)
		}
		name := part.FormName()
		if seen[name] && name != "mentions" {
			return invalid(location(name), "expected it once")
		}
		seen[name] = true
		if name == "file" {
			err = u.file(part, form, newFile)
		} else {
			err = u.field(name, part, form)
		}
		if err != nil {
			return err
		}
	}
}

// location is a form's field as validation errors name it.
func location(name string) string {
	if len(name) > maxEchoed || !utf8.ValidString(name) {
		return "body"
	}
	return "body." + name
}

func (u *uploads) file(part *multipart.Part, form *fileForm, newFile func() (*spool.File, error)) error {
	_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil || params["filename"] == "" {
		return invalid("body.file", "expected a file with a file name, not a text")
	}
	name := strings.ReplaceAll(tenant.CleanText(params["filename"]), `\`, "/") // some send whole paths, of Windows too
	if form.fileName = path.Base(name); form.fileName == "/" || form.fileName == "." || form.fileName == ".." {
		form.fileName = ""
	}
	if utf8.RuneCountInString(form.fileName) > maxFileName {
		return invalid("body.file", fmt.Sprintf("expected a file name of at most %d characters", maxFileName))
	}
	form.declared = part.Header.Get("Content-Type")
	if form.file, err = newFile(); err != nil {
		return err
	}
	limit := u.server.limits.File
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(form.file, sum), io.LimitReader(part, limit+1), make([]byte, copyBuffer))
	form.sha256 = hex.EncodeToString(sum.Sum(nil))
	switch {
	case n > limit, errors.Is(err, spool.ErrTooLarge):
		return u.tooLarge()
	case errors.Is(err, spool.ErrFull):
		return err
	case err != nil:
		return u.formProblem(err)
	}
	return nil
}

const (
	maxFileName  = 255 // characters
	maxMessageID = 128
)

var messageIDForm = regexp.MustCompile(`^[!-~]+$`)

func (u *uploads) field(name string, part *multipart.Part, form *fileForm) error {
	limits := map[string]int{"caption": maxCaption * utf8.UTFMax, "replyTo": maxMessageID, "mentions": maxChatID, "forwarded": len("false")}
	limit, known := limits[name]
	if !known {
		return invalid(location(name), "unexpected property")
	}
	raw, err := io.ReadAll(io.LimitReader(part, int64(limit)+1))
	if err != nil {
		return u.formProblem(err)
	}
	text := string(raw)
	switch name {
	case "caption":
		if utf8.RuneCountInString(text) > maxCaption || len(raw) > limit {
			return invalid("body.caption", fmt.Sprintf("expected length <= %d", maxCaption))
		}
		form.caption = tenant.CleanText(text)
	case "replyTo":
		if len(raw) > limit || text != "" && !messageIDForm.MatchString(text) {
			return invalid("body.replyTo", "expected string to be a message id")
		}
		form.replyTo = tenant.MessageID(text)
	case "mentions":
		person, err := tenant.ParseChatID(text)
		if err != nil || person.IsGroup() || len(form.mentions) >= maxMentions {
			return invalid("body.mentions", "expected at most 1024 persons' ids such as 5511999990001@c.us, each in a field of its own")
		}
		form.mentions = append(form.mentions, person)
	case "forwarded":
		if text != "true" && text != "false" {
			return invalid("body.forwarded", "expected true or false")
		}
		form.forwarded = text == "true"
	}
	return nil
}

func (u *uploads) tooLarge() *Problem {
	return newProblem(codeTooLarge).because(fmt.Sprintf("The file is larger than %d bytes.", u.server.limits.File))
}

func (u *uploads) formProblem(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return u.tooLarge()
	}
	if p := u.server.bodyProblem(err); p.Code != codeBadRequest {
		return p
	}
	return newProblem(codeBadRequest).because("The form is malformed or ended early.")
}

// patientBody gives a client some time for each piece of a body, and so much for all of it.
type patientBody struct {
	io.ReadCloser

	control  *http.ResponseController
	patience time.Duration
	end      time.Time
}

// Read reads a piece.
func (b *patientBody) Read(p []byte) (int, error) {
	at := time.Now().Add(b.patience)
	if at.After(b.end) {
		at = b.end
	}
	_ = b.control.SetReadDeadline(at) // recorders in tests know no deadlines
	return b.ReadCloser.Read(p)
}

// describeForm adds the form to the operation's documentation.
func describeForm(op *huma.Operation) {
	text := func(description string, example any) *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Description: description, Examples: []any{example}}
	}
	caption := text("The text that goes with the file: with pictures, films and documents only.", "The invoice for May")
	caption.MaxLength = new(maxCaption)
	mentions := &huma.Schema{
		Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString, Pattern: personIDPattern}, MaxItems: new(maxMentions),
		Description: "Who is mentioned in the caption: a field for each.",
	}
	replyTo := text("The id of a message of the same chat that this one answers.", "3EB0C767D097B7C7C8F5")
	replyTo.MaxLength = new(maxMessageID)
	op.RequestBody.Content[formType] = &huma.MediaType{
		Schema: &huma.Schema{
			Type: huma.TypeObject, Required: []string{"file"}, AdditionalProperties: false,
			Properties: map[string]*huma.Schema{
				"file": {
					Type: huma.TypeString, Format: "binary",
					Description: "The file, up to 100 MB. Its content type says how it is shown: image/jpeg and image/png as a picture, video/mp4, " +
						"video/3gpp and video/quicktime as a film, audio/ogg with Opus as a voice note, other audio as audio, image/webp as a " +
						"sticker, everything else as a document. Without a content type, or with application/octet-stream, the file's " +
						"beginning tells.",
				},
				"caption": caption, "replyTo": replyTo, "mentions": mentions,
				"forwarded": {Type: huma.TypeBoolean, Description: "Marks the message as forwarded: true or false."},
			},
		},
		Encoding: map[string]*huma.Encoding{"file": {ContentType: "*/*"}, "mentions": {Explode: new(true), Style: "form"}},
	}
}

// fileNameOf is what a message's file is called when it is fetched.
func fileNameOf(m *tenant.Message) string {
	name := path.Base(strings.ReplaceAll(m.Media.FileName, `\`, "/"))
	if name != "." && name != "/" && name != ".." {
		return name
	}
	media, _, _ := mime.ParseMediaType(m.Media.MimeType)
	return string(m.ID) + cmp.Or(map[string]string{
		"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/gif": ".gif", "video/mp4": ".mp4", "video/3gpp": ".3gp",
		"video/quicktime": ".mov", "audio/ogg": ".ogg", "audio/mpeg": ".mp3", "audio/mp4": ".m4a", "audio/aac": ".aac", "audio/amr": ".amr",
		"application/pdf": ".pdf", "text/plain": ".txt",
	}[media], ".bin")
}
