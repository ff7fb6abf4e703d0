package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/avatar"
	"github.com/wafleet/wafleet/tenant"
)

const pictureType = "image/jpeg"

func (h *profileHandler) registerPictures(d *document) {
	pictures := func(op *huma.Operation, _ huma.Registry) {
		op.Responses["200"] = &huma.Response{Description: "The picture.", Content: map[string]*huma.MediaType{
			pictureType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}}
		op.Responses["304"] = &huma.Response{Description: "The client has the picture already."}
	}
	problems := []Code{codeNoPicture, codeActionRejected, codeTransfer, codeMediaDamaged, codeGatewayTimeout}
	description := "Fetched from WhatsApp, a JPEG. `ETag` holds the picture's id: send it as `If-None-Match` to be answered 304 while it is still " +
		"the same picture."
	tenantOperation(d, &operation{
		id: "get-contact-picture", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/contacts/{contactId}/picture", tag: tagContacts, deadline: deadlineAction,
		summary: "Fetch a person's picture", description: description + " 404 when there is none, or the person hides it.",
		problems: problems, adjust: pictures,
	}, func(ctx context.Context, t tenant.Handle, in *contactPictureInput) (*huma.StreamResponse, error) {
		id, err := in.id()
		if err != nil {
			return nil, err
		}
		return h.picture(ctx, t, id, &in.PictureQuery)
	})
	tenantOperation(d, &operation{
		id: "get-chat-picture", scope: tenant.ScopeRead, method: http.MethodGet, path: groupPath + "/picture", tag: tagChats, deadline: deadlineAction,
		summary: "Fetch a chat's picture", description: description + " A group's, or the person's. 404 when there is none, or the person hides it.",
		problems: append([]Code{codeChatNotFound}, problems...), adjust: pictures,
	}, func(ctx context.Context, t tenant.Handle, in *chatPictureInput) (*huma.StreamResponse, error) {
		id, err := in.ChatID.id()
		if err != nil {
			return nil, err
		}
		if _, err = t.Chat(ctx, id); err != nil {
			return nil, err
		}
		return h.picture(ctx, t, id, &in.PictureQuery)
	})
	tenantOperation(d, &operation{
		id: "get-profile-picture", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/profile/picture", tag: tagProfile, deadline: deadlineAction,
		summary: "Fetch the account's own picture", description: description, problems: problems, adjust: pictures,
	}, func(ctx context.Context, t tenant.Handle, in *ownPictureInput) (*huma.StreamResponse, error) {
		return h.picture(ctx, t, "", &in.PictureQuery)
	})
	tenantOperation(d, &operation{
		id: "set-profile-picture", scope: tenant.ScopeManage, method: http.MethodPut, path: "/api/profile/picture", tag: tagProfile, deadline: deadlineMulti,
		summary: "Change the account's picture", description: pictureTaken,
		problems: []Code{
			codeActionRejected, codeRequestTimeout, codeTooLarge, codeUnsupportedMedia, codeGatewayTimeout,
		},
		response: PictureSet{PictureID: "1764100000000000"},
	}, h.setPicture)
	takesPicture(d, "/api/profile/picture")
	tenantOperation(d, &operation{
		id: "delete-profile-picture", scope: tenant.ScopeManage, method: http.MethodDelete, path: "/api/profile/picture", tag: tagProfile, deadline: deadlineAction,
		summary: "Remove the account's picture", description: "An account without a picture stays so.",
		problems: []Code{codeActionRejected, codeGatewayTimeout},
	}, func(ctx context.Context, t tenant.Handle, _ *struct{}) (*struct{}, error) {
		return nil, h.sessions.RemovePicture(ctx, t.ID())
	})
}

// pictureTaken is what is done with a picture, an account's or a group's.
const pictureTaken = "Takes a JPEG or PNG as multipart/form-data. Its middle is cut to a square and scaled to at most 640 pixels a side, as " +
	"WhatsApp wants it."

// takesPicture documents the form of PUT on a path that is registered: Huma would read a body that it knows of, in memory or to disk,
// without our bounds.
func takesPicture(d *document, path string) {
	const name = "SetPictureForm"
	d.huma.OpenAPI().Components.Schemas.Map()[name] = &huma.Schema{
		Type: huma.TypeObject, Required: []string{"file"}, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{"file": {
			Type: huma.TypeString, Format: "binary",
			Description: "The picture, JPEG or PNG, of at most 8 MiB and 24 megapixels, and at least 48 pixels a side.",
		}},
	}
	operationOf(d.huma.OpenAPI().Paths[path], http.MethodPut).RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{formType: {
		Schema:   &huma.Schema{Ref: schemaPrefix + name},
		Encoding: map[string]*huma.Encoding{"file": {ContentType: "image/jpeg, image/png"}},
	}}}
}

// PictureQuery is what requests for pictures share. Exported because Huma looks only into exported embedded fields.
type PictureQuery struct {
	Preview bool `query:"preview" doc:"The small picture instead of the large one."`

	known string // id of the picture that the client has
}

// Resolve notes what the answer depends on besides parameters.
func (q *PictureQuery) Resolve(hc huma.Context) []error {
	if found := pictureTag.FindStringSubmatch(strings.TrimSpace(hc.Header("If-None-Match"))); found != nil {
		q.known = found[1]
	}
	return nil
}

var _ huma.Resolver = (*PictureQuery)(nil)

// pictureTag is an entity tag of ours: the picture's id, and whether it was the small one.
var pictureTag = regexp.MustCompile(`^(?:W/)?"([0-9A-Za-z_-]{1,64})\.(?:preview|image)"$`)

func (q *PictureQuery) tag(id string) string {
	kind := "image"
	if q.Preview {
		kind = "preview"
	}
	return strconv.Quote(id + "." + kind)
}

type contactPictureInput struct {
	ContactPath
	PictureQuery
}

type chatPictureInput struct {
	ChatPath
	PictureQuery
}

type ownPictureInput struct {
	PictureQuery
}

func (h *profileHandler) picture(ctx context.Context, t tenant.Handle, of tenant.ChatID, q *PictureQuery) (*huma.StreamResponse, error) {
	picture, err := h.sessions.Picture(ctx, t.ID(), session.PictureQuery{Of: of, Preview: q.Preview, Known: q.known})
	if err != nil {
		return nil, pictureProblem(err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		header := w.Header()
		header.Set("ETag", q.tag(picture.ID))
		header.Set("Cache-Control", "private, no-cache")
		if picture.Data == nil {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		sandbox(header)
		header.Set("Content-Type", pictureType)
		header.Set("Content-Length", strconv.Itoa(len(picture.Data)))
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(picture.Data) // the client has left
	}}, nil
}

// PictureSet is the answer of PUT …/picture.
type PictureSet struct {
	PictureID string `json:"pictureId" doc:"The id of the picture." example:"1764100000000000"`
}

type pictureSetOutput struct {
	Body PictureSet
}

// PictureForm is the part of a request whose body is a form with a picture. Exported because Huma looks only into exported embedded
// fields.
type PictureForm struct{ hc huma.Context }

// Resolve keeps the request, whose body Huma does not read.
func (in *PictureForm) Resolve(hc huma.Context) []error {
	in.hc = hc
	return nil
}

var _ huma.Resolver = (*PictureForm)(nil)

type setPictureInput struct{ PictureForm }

func (h *profileHandler) setPicture(ctx context.Context, t tenant.Handle, in *setPictureInput) (*pictureSetOutput, error) {
	return h.server.setPicture(&in.PictureForm, func(file []byte) (string, error) { return h.sessions.SetPicture(ctx, t.ID(), file) })
}

// setPicture reads the picture and sets it, which says its id.
func (s *Server) setPicture(in *PictureForm, set func(file []byte) (string, error)) (*pictureSetOutput, error) {
	r, w := humago.Unwrap(in.hc)
	file, err := s.readPicture(w, r)
	if err != nil {
		w.Header().Set("Connection", "close") // or net/http would wait for the rest of the body before it answers
		return nil, err
	}
	id, err := set(file)
	switch {
	case errors.Is(err, avatar.ErrFormat), errors.Is(err, avatar.ErrDimensions):
		return nil, invalid("body.file", "expected a JPEG or PNG picture of 48 pixels a side up to 24 megapixels")
	case err != nil:
		return nil, err
	}
	return &pictureSetOutput{Body: PictureSet{PictureID: id}}, nil
}

// readPicture reads a form with one file and nothing else.
func (s *Server) readPicture(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	encoding := r.Header.Get("Content-Encoding")
	if !strings.EqualFold(strings.TrimSpace(media), formType) || encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, newProblem(codeUnsupportedMedia).because("The body must be a form: send the picture with Content-Type: multipart/form-data.")
	}
	limits := &s.limits
	if r.ContentLength > avatar.MaxFile+formOverhead {
		return nil, pictureTooLarge()
	}
	control := http.NewResponseController(w)
	r.Body = &patientBody{
		ReadCloser: http.MaxBytesReader(w, r.Body, avatar.MaxFile+formOverhead),
		control:    control, patience: limits.BodyTimeout, end: time.Now().Add(limits.ActionTimeout),
	}
	defer func() { _ = control.SetReadDeadline(time.Time{}) }() // recorders in tests know no deadlines
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, newProblem(codeUnsupportedMedia).because("The form has no boundary: send it with Content-Type: multipart/form-data; boundary=…")
	}
	var file []byte
	for {
		part, err := parts.NextPart()
		if err == io.EOF { //nolint:errorlint // as it is, it means the end; wrapped, that the form ended early
			break
		}
		if err != nil {
			return nil, s.pictureFormProblem(err)
		}
		if file, err = s.picturePart(part, file); err != nil {
			return nil, err
		}
	}
	if len(file) == 0 {
		return nil, invalid("body.file", "expected a file that is not empty")
	}
	return file, nil
}

func (s *Server) picturePart(part *multipart.Part, before []byte) ([]byte, error) {
	switch {
	case part.FormName() != "file":
		return nil, invalid(location(part.FormName()), "unexpected property")
	case before != nil:
		return nil, invalid("body.file", "expected it once")
	}
	data, err := io.ReadAll(io.LimitReader(part, avatar.MaxFile+1))
	switch {
	case err != nil:
		return nil, s.pictureFormProblem(err)
	case len(data) > avatar.MaxFile:
		return nil, pictureTooLarge()
	case data == nil:
		data = []byte{}
	}
	return data, nil
}

func (s *Server) pictureFormProblem(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return pictureTooLarge()
	}
	if p := s.bodyProblem(err); p.Code != codeBadRequest {
		return p
	}
	return newProblem(codeBadRequest).because("The form is malformed or ended early.")
}

func pictureTooLarge() *Problem {
	return newProblem(codeTooLarge).because(fmt.Sprintf("The picture is larger than %d bytes.", avatar.MaxFile))
}
