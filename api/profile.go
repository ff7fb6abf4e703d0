package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

type profileHandler struct {
	server   *Server
	sessions Sessions
}

// registerProfile registers the operations on what others see of the account, and on others' pictures and presence.
func registerProfile(d *document, sessions Sessions) {
	h := &profileHandler{server: d.server, sessions: sessions}
	tenantOperation(d, &operation{
		id: "get-profile", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/profile", tag: tagProfile, deadline: deadlineAction,
		summary:     "Get what others see of the account",
		description: "Asked of WhatsApp: the account's other devices change it, too.",
		problems:    []Code{codeActionRejected, codeGatewayTimeout},
		response:    exampleProfile(),
	}, h.get)
	tenantOperation(d, &operation{
		id: "update-profile", scope: tenant.ScopeManage, method: http.MethodPatch, path: "/api/profile", tag: tagProfile, deadline: deadlineMulti,
		summary: "Change the account's name, or the text about it",
		description: "The name is changed first, then the text. If the answer is no success the first may be done, as it then says; the same call " +
			"again does no harm.",
		problems: []Code{codeActionRejected, codeGatewayTimeout},
		request:  UpdateProfile{Name: new("Padaria do João"), About: new("Open from 6 to 20")},
		response: exampleProfile(),
	}, h.update)
	h.registerPictures(d)
	h.registerPresence(d)
}

// Profile is what others see of the account.
type Profile struct {
	ID        tenant.ChatID `json:"id" doc:"The account's own id." example:"5511988880000@c.us"`
	LID       tenant.ChatID `json:"lid,omitempty" doc:"The account's hidden id, once known." example:"104857600000009@lid"`
	Phone     string        `json:"phone" doc:"The account's phone number in digits." example:"5511988880000"`
	Name      string        `json:"name" doc:"The name that the account gave itself; empty while it is not known." example:"Padaria do João"`
	About     string        `json:"about,omitempty" doc:"The text about the account." example:"Open from 6 to 20"`
	PictureID string        `json:"pictureId,omitempty" doc:"The id of the account's picture; absent when there is none." example:"1764100000000000"`
}

func exampleProfile() Profile {
	return Profile{
		ID: "5511988880000@c.us", LID: "104857600000009@lid", Phone: "5511988880000", Name: "Padaria do João", About: "Open from 6 to 20",
		PictureID: "1764100000000000",
	}
}

type profileOutput struct {
	Body Profile
}

func outputOf(p *session.Profile) *profileOutput {
	return &profileOutput{Body: Profile{
		ID: p.ID, LID: p.LID, Phone: p.ID.Phone(), Name: p.Name, About: p.About, PictureID: p.PictureID,
	}}
}

func (h *profileHandler) get(ctx context.Context, t tenant.Handle, _ *struct{}) (*profileOutput, error) {
	p, err := h.sessions.Profile(ctx, t.ID())
	if err != nil {
		return nil, err
	}
	return outputOf(&p), nil
}

// UpdateProfile is the body of PATCH /api/profile.
type UpdateProfile struct {
	Name  *string `json:"name,omitempty" minLength:"1" maxLength:"25" doc:"The name that others see who do not have the account in their address book." example:"Padaria do João"`
	About *string `json:"about,omitempty" maxLength:"139" doc:"The text about the account; may be empty." example:"Open from 6 to 20"`
}

// Resolve checks what a schema cannot say.
func (b *UpdateProfile) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	var faults []error
	fault := func(location, message string) {
		faults = append(faults, &huma.ErrorDetail{Location: location, Message: message})
	}
	if b.Name == nil && b.About == nil {
		fault(at.String(), "expected name or about")
	}
	if b.Name != nil && *b.Name != "" {
		if message := textFault(*b.Name); message != "" {
			fault(at.With("name"), message)
		}
	}
	if b.About != nil && strings.ContainsRune(*b.About, 0) {
		fault(at.With("about"), "expected a text without the character U+0000")
	}
	return faults
}

var _ huma.ResolverWithPath = (*UpdateProfile)(nil)

type updateProfileInput struct {
	Body UpdateProfile
}

func (h *profileHandler) update(ctx context.Context, t tenant.Handle, in *updateProfileInput) (*profileOutput, error) {
	p, err := h.sessions.SetProfile(ctx, t.ID(), session.ProfileChange{Name: in.Body.Name, About: in.Body.About})
	if err != nil {
		return nil, err
	}
	return outputOf(&p), nil
}

func (h *profileHandler) registerPresence(d *document) {
	tenantOperation(d, &operation{
		id: "set-presence", scope: tenant.ScopeSend, method: http.MethodPut, path: "/api/presence", tag: tagProfile, deadline: deadlineAction,
		summary: "Show the account as there, or not",
		description: "A session begins as not there. While it is there (`available`), WhatsApp does not notify the phone of new messages, and tells of " +
			"other persons' presence; some of it WhatsApp tells only then. What was asked for last holds until the server restarts.",
		problems: []Code{codeNoName, codeActionRejected, codeGatewayTimeout},
		request:  SetPresence{State: presenceAvailable},
	}, h.presence)
	tenantOperation(d, &operation{
		id: "subscribe-presence", scope: tenant.ScopeRead, method: http.MethodPost, path: "/api/contacts/{contactId}/presence", tag: tagContacts, deadline: deadlineAction,
		summary: "Be told whether a person is there",
		description: "From now on the live event `presence` tells on `/ws` whether the person is there, and when they were there last. WhatsApp tells " +
			"nothing of those who hide it, and may tell only while this account is shown as there, and only of people who know it. The 500 persons " +
			"asked for last are watched, until the server restarts.",
		problems: []Code{codeActionRejected, codeGatewayTimeout},
	}, h.watch(h.sessions.WatchPresence))
	tenantOperation(d, &operation{
		id: "unsubscribe-presence", scope: tenant.ScopeRead, method: http.MethodDelete, path: "/api/contacts/{contactId}/presence", tag: tagContacts, deadline: deadlineAction,
		summary:  "Be told no more whether a person is there",
		problems: []Code{codeActionRejected, codeGatewayTimeout},
	}, h.watch(h.sessions.UnwatchPresence))
}

const (
	presenceAvailable = "available"
)

// SetPresence is the body of PUT /api/presence.
type SetPresence struct {
	State string `json:"state" enum:"available,unavailable" doc:"Whether the account is there." example:"available"`
}

type presenceInput struct {
	Body SetPresence
}

func (h *profileHandler) presence(ctx context.Context, t tenant.Handle, in *presenceInput) (*struct{}, error) {
	return nil, h.sessions.ShowPresence(ctx, t.ID(), in.Body.State == presenceAvailable)
}

func (*profileHandler) watch(
	do func(context.Context, tenant.ID, tenant.ChatID) error,
) func(context.Context, tenant.Handle, *contactInput) (*struct{}, error) {
	return func(ctx context.Context, t tenant.Handle, in *contactInput) (*struct{}, error) {
		id, err := in.id()
		if err != nil {
			return nil, err
		}
		return nil, do(ctx, t.ID(), id)
	}
}

// pictureProblem tells no picture from a hidden one.
func pictureProblem(err error) error {
	if errors.Is(err, session.ErrPictureHidden) {
		return newProblem(codeNoPicture).because("The person does not let this account see their picture.")
	}
	return err
}
