package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

type adminPairing struct {
	store    tenant.Store
	sessions Sessions
	streams  *streams
}

// registerAdminPairing registers the linking of a tenant's WhatsApp account.
func registerAdminPairing(d *document, store tenant.Store, sessions Sessions, st *streams) {
	const path = "/admin/tenants/{tenantId}/session/pair"
	h := &adminPairing{store: store, sessions: sessions, streams: st}
	byQR := PairingInfo{Phase: session.PairingWaiting, QR: "2@…", QRExpiresAt: new(exampleTime()), Version: 2}
	register(d, &operation{
		id: "start-pairing", method: http.MethodPost, path: path, tag: tagPairing, deadline: deadlineAction, status: http.StatusOK,
		summary: "Start pairing",
		description: "By `qr`: answers when the first QR code can be shown, or with the pairing that is under way. By `code`: answers with the " +
			"code that is typed into the phone under *Linked devices › Link with phone number*.",
		problems: []Code{codeTenantNotFound, codeAlreadyPaired, codePairingActive, codeSessionSuspended, codeGatewayTimeout},
		request:  StartPairing{Method: pairByQR}, response: byQR,
	}, h.start)
	register(d, &operation{
		id: "get-pairing", role: tenant.RoleOperator, method: http.MethodGet, path: path, tag: tagPairing,
		summary: "Show the pairing", description: "The one under way, or the last one.",
		problems: []Code{codeTenantNotFound, codeNoPairing}, response: byQR,
	}, h.get)
	register(d, &operation{
		id: "cancel-pairing", method: http.MethodDelete, path: path, tag: tagPairing, deadline: deadlineAction,
		summary: "Cancel the pairing", problems: []Code{codeTenantNotFound, codeNoPairing, codeGatewayTimeout},
	}, h.cancel)
	for _, picture := range []struct {
		form, contentType string
		render            func(text string) ([]byte, error)
	}{{"png", "image/png", qrPNG}, {"svg", "image/svg+xml", qrSVG}} {
		register(d, &operation{
			id: "get-pairing-qr-" + picture.form, role: tenant.RoleOperator, method: http.MethodGet, path: path + "/qr." + picture.form, tag: tagPairing,
			summary:     "Show the QR code as " + strings.ToUpper(picture.form),
			description: "The code that is valid now. It is replaced every 20 to 60 seconds: see `qrExpiresAt`.",
			problems:    []Code{codeTenantNotFound, codeNoPairing},
			adjust: func(op *huma.Operation, _ huma.Registry) {
				op.Responses["200"] = &huma.Response{
					Description: "The picture.",
					Content: map[string]*huma.MediaType{
						picture.contentType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
					},
				}
			},
		}, h.picture(picture.contentType, picture.render))
	}
	register(d, &operation{
		id: "watch-pairing", role: tenant.RoleOperator, method: http.MethodGet, path: path + "/events", tag: tagPairing, deadline: deadlineNone,
		summary: "Watch the pairing (server-sent events)",
		description: "Sends the pairing now and after each change, as events named `pairing`, and ends after `succeeded` or `failed`. " +
			"Comments keep the connection open.",
		problems: []Code{codeTenantNotFound, codeNoPairing, codeTooManyStreams},
		adjust: func(op *huma.Operation, schemas huma.Registry) {
			op.Responses["200"] = &huma.Response{
				Description: "The schema is that of each event's data.",
				Content:     map[string]*huma.MediaType{eventStreamType: {Schema: schemaOf[PairingInfo](schemas)}},
			}
		},
	}, h.watch)
}

// The ways to pair.
const (
	pairByQR   = "qr"
	pairByCode = "code"
)

// StartPairing is the body of POST …/session/pair.
type StartPairing struct {
	Method string `json:"method" enum:"qr,code" doc:"How the phone links the device." example:"qr"`
	Phone  string `json:"phone,omitempty" pattern:"^\\+?[0-9]{7,15}$" patternDescription:"a phone number in international form" doc:"The phone's number with its country code; for code only." example:"5511988880000"`
}

var _ huma.ResolverWithPath = (*StartPairing)(nil)

// Resolve checks that there is a number exactly when it is needed.
func (b *StartPairing) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	switch {
	case b.Method == pairByCode && b.Phone == "":
		return []error{&huma.ErrorDetail{Location: at.With("phone"), Message: "required with method code"}}
	case b.Method == pairByQR && b.Phone != "":
		return []error{&huma.ErrorDetail{Location: at.With("phone"), Message: "allowed with method code only"}}
	}
	return nil
}

// PairingInfo is a pairing as the API shows it.
type PairingInfo struct {
	Phase       session.PairingPhase `json:"phase" enum:"starting,waiting,finishing,succeeded,failed" doc:"How far it has come." example:"waiting"`
	QR          string               `json:"qr,omitempty" doc:"The text of the QR code to show now." example:"2@…"`
	QRExpiresAt *time.Time           `json:"qrExpiresAt,omitempty" doc:"When the QR code is replaced by the next."`
	Code        string               `json:"code,omitempty" doc:"The code to type into the phone." example:"ABCD-EFGH"`
	Reason      string               `json:"reason,omitempty" doc:"Why it failed, for programs." example:"timeout"`
	Message     string               `json:"message,omitempty" doc:"The same as a sentence."`
	Action      string               `json:"action,omitempty" doc:"What to do about it, as a sentence."`
	Phone       string               `json:"phone,omitempty" doc:"The number that the code is for." example:"5511988880000"`
	Version     int                  `json:"version" doc:"Grows with every change." example:"2"`
}

func pairingInfo(v *session.PairingView) PairingInfo {
	info := PairingInfo{Phase: v.Phase, QR: v.QR, Code: v.Code, Reason: v.Reason, Message: v.Message, Action: v.Action, Phone: v.Phone, Version: v.Version}
	if !v.QRExpires.IsZero() {
		info.QRExpiresAt = new(v.QRExpires.UTC())
	}
	return info
}

type pairingOutput struct {
	Body PairingInfo
}

func (h *adminPairing) tenant(ctx context.Context, p *TenantPath) (tenant.ID, error) {
	id, err := p.id()
	if err != nil {
		return "", err
	}
	_, err = h.store.Get(ctx, id)
	return id, err
}

type startPairingInput struct {
	TenantPath

	Body StartPairing
}

func (h *adminPairing) start(ctx context.Context, in *startPairingInput) (*pairingOutput, error) {
	id, err := h.tenant(ctx, &in.TenantPath)
	if err != nil {
		return nil, err
	}
	var view session.PairingView
	if in.Body.Method == pairByCode {
		view, err = h.sessions.StartPhonePairing(ctx, id, strings.TrimPrefix(in.Body.Phone, "+"))
	} else {
		view, err = h.sessions.StartPairing(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	return &pairingOutput{Body: pairingInfo(&view)}, nil
}

func (h *adminPairing) current(ctx context.Context, p *TenantPath) (tenant.ID, session.PairingView, error) {
	id, err := h.tenant(ctx, p)
	if err != nil {
		return "", session.PairingView{}, err
	}
	view, err := h.sessions.Pairing(ctx, id)
	return id, view, err
}

func (h *adminPairing) get(ctx context.Context, in *tenantInput) (*pairingOutput, error) {
	_, view, err := h.current(ctx, &in.TenantPath)
	if err != nil {
		return nil, err
	}
	return &pairingOutput{Body: pairingInfo(&view)}, nil
}

func (h *adminPairing) cancel(ctx context.Context, in *tenantInput) (*struct{}, error) {
	id, err := h.tenant(ctx, &in.TenantPath)
	if err != nil {
		return nil, err
	}
	return nil, h.sessions.CancelPairing(ctx, id)
}

type pictureOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Body        []byte
}

func (h *adminPairing) picture(
	contentType string, render func(text string) ([]byte, error),
) func(ctx context.Context, in *tenantInput) (*pictureOutput, error) {
	return func(ctx context.Context, in *tenantInput) (*pictureOutput, error) {
		_, view, err := h.current(ctx, &in.TenantPath)
		if err != nil {
			return nil, err
		}
		if view.QR == "" {
			return nil, newProblem(codeNoPairing).because("The pairing has no QR code to show now.")
		}
		body, err := render(view.QR)
		if err != nil {
			return nil, err
		}
		return &pictureOutput{ContentType: contentType, Body: body}, nil
	}
}

const (
	eventStreamType = "text/event-stream"
	// heartbeat is how often a quiet event stream sends a comment.
	heartbeat = 15 * time.Second
)

func (h *adminPairing) watch(ctx context.Context, in *tenantInput) (*huma.StreamResponse, error) {
	id, view, err := h.current(ctx, &in.TenantPath)
	if err != nil {
		return nil, err
	}
	life, st, err := h.streams.open(ctx, id, "")
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer h.streams.close(st)
		_, w := humago.Unwrap(hc)
		hc.SetHeader("Content-Type", eventStreamType)
		write := func(text string) bool {
			extendWrite(hc, h.streams.limits.WriteTimeout)
			_, err := io.WriteString(w, text)
			return err == nil && http.NewResponseController(w).Flush() == nil
		}
		h.follow(life, write, id, &view)
	}}, nil
}

// follow sends the pairing and its changes until it is over. write says false when the client left.
func (h *adminPairing) follow(ctx context.Context, write func(text string) bool, id tenant.ID, view *session.PairingView) {
	for {
		data, err := json.Marshal(pairingInfo(view))
		if err != nil || !write(fmt.Sprintf("id: %d\nevent: pairing\ndata: %s\n\n", view.Version, data)) {
			return
		}
		if view.Phase == session.PairingSucceeded || view.Phase == session.PairingFailed {
			return
		}
		for {
			wait, cancel := context.WithTimeout(ctx, heartbeat)
			next, err := h.sessions.PairingChanged(wait, id, view.Version)
			cancel()
			if err == nil {
				view = &next
				break
			}
			if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) || !write(": still waiting\n\n") {
				return
			}
		}
	}
}
