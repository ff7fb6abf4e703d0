package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/api/console"
	"github.com/wafleet/wafleet/tenant"
)

const pairingLinksPath = "/admin/tenants/{tenantId}/pairing-links"

// registerAdminLinks registers the links by which tenants' own customers pair.
func (s *Server) registerAdminLinks(d *document) {
	register(d, &operation{
		id: "create-pairing-link", method: http.MethodPost, path: pairingLinksPath, tag: tagPairing, status: http.StatusCreated,
		summary: "Create a pairing link",
		description: "Makes the address of a page on which the tenant's own customer links a WhatsApp account, by QR code or by pairing code, with " +
			"progress and help. The address is in `url`, now and never again: the server keeps only a hash. It works for one pairing, until " +
			"it expires, and is used up when the phone has accepted; opening it does nothing, so that messengers may make previews. The account " +
			"that is linked is not checked against `phone`, which only spares the customer the typing.",
		problems: []Code{codeTenantNotFound, codeTooManyLinks},
		request:  NewPairingLink{ExpiresInMs: defaultLinkLife.Milliseconds(), ReturnURL: "https://shop.example.com/whatsapp/linked"},
		response: CreatedPairingLink{
			PairingLink: examplePairingLink(), URL: "https://wa.example.com/pair/wp_k7q2m4x5a3bcp6t2ya_…",
		},
	}, s.createPairingLink)
	register(d, &operation{
		id: "list-pairing-links", method: http.MethodGet, path: pairingLinksPath, tag: tagPairing,
		summary:     "List pairing links",
		description: "Newest first. Those that cannot be used any more are listed, too, the last 50 of them.",
		problems:    []Code{codeTenantNotFound},
		response:    PairingLinkList{PairingLinks: []PairingLink{examplePairingLink()}},
	}, s.listPairingLinks)
	register(d, &operation{
		id: "revoke-pairing-link", method: http.MethodDelete, path: pairingLinksPath + "/{linkId}", tag: tagPairing, deadline: deadlineAction,
		summary: "Revoke a pairing link",
		description: "The page says so at once. A pairing that was begun through this link alone ends, unless the phone has accepted it. " +
			"Revoking a link that was used, or again, changes nothing.",
		problems: []Code{codeTenantNotFound, codeLinkNotFound, codeGatewayTimeout},
	}, s.revokePairingLink)
}

// The life of pairing links.
const (
	defaultLinkLife = time.Hour
	maxLinkLife     = 7 * 24 * time.Hour
)

// NewPairingLink is the body of POST …/pairing-links.
type NewPairingLink struct {
	ExpiresInMs int64  `json:"expiresInMs,omitempty" minimum:"60000" maximum:"604800000" default:"3600000" doc:"How long it may be used, in milliseconds: an hour without, 7 days at most." example:"3600000"`
	Phone       string `json:"phone,omitempty" pattern:"^\\+?[1-9][0-9]{6,14}$" patternDescription:"a phone number in international form" maxLength:"16" doc:"The number that the page makes a pairing code for; without one it asks." example:"5511988880000"`
	ReturnURL   string `json:"returnUrl,omitempty" maxLength:"2000" doc:"Where the page leads when the account is linked; https only." example:"https://shop.example.com/whatsapp/linked"`
}

var _ huma.ResolverWithPath = (*NewPairingLink)(nil)

// Resolve checks the return URL.
func (b *NewPairingLink) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	if b.ReturnURL == "" {
		return nil
	}
	u, err := url.Parse(b.ReturnURL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.ContainsFunc(b.ReturnURL, isControl) {
		return []error{&huma.ErrorDetail{Location: at.With("returnUrl"), Message: "expected an address https://host/…", Value: b.ReturnURL}}
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// PairingLink is a pairing link as the API shows it.
type PairingLink struct {
	ID        tenant.PairingLinkID `json:"id" doc:"The link's id; its token starts with it." example:"k7q2m4x5a3bcp6t2ya"`
	State     tenant.LinkState     `json:"state" enum:"active,used,expired,revoked" doc:"Whether it can be used." example:"active"`
	Phone     string               `json:"phone,omitempty" doc:"The number that the page makes a pairing code for." example:"5511988880000"`
	ReturnURL string               `json:"returnUrl,omitempty" doc:"Where the page leads when the account is linked." example:"https://shop.example.com/whatsapp/linked"`
	CreatedAt time.Time            `json:"createdAt" doc:"When it was made."`
	ExpiresAt time.Time            `json:"expiresAt" doc:"When it stops working by itself."`
	UsedAt    *time.Time           `json:"usedAt,omitempty" doc:"When an account was linked by it."`
	RevokedAt *time.Time           `json:"revokedAt,omitempty" doc:"When it was revoked."`
}

// CreatedPairingLink is the answer of POST …/pairing-links.
type CreatedPairingLink struct {
	PairingLink

	URL string `json:"url" doc:"The page's address. It is shown here once." example:"https://wa.example.com/pair/wp_k7q2m4x5a3bcp6t2ya_…"`
}

// PairingLinkList is the answer of GET …/pairing-links.
type PairingLinkList struct {
	PairingLinks []PairingLink `json:"pairingLinks" nullable:"false" doc:"Newest first."`
}

func examplePairingLink() PairingLink {
	return PairingLink{
		ID: "k7q2m4x5a3bcp6t2ya", State: tenant.LinkActive, ReturnURL: "https://shop.example.com/whatsapp/linked",
		CreatedAt: exampleTime(), ExpiresAt: exampleTime().Add(defaultLinkLife),
	}
}

func pairingLinkInfo(l *tenant.PairingLink, at time.Time) PairingLink {
	return PairingLink{
		ID: l.ID, State: l.State(at), Phone: l.Phone, ReturnURL: l.ReturnURL, CreatedAt: l.CreatedAt, ExpiresAt: l.ExpiresAt,
		UsedAt: l.UsedAt, RevokedAt: l.RevokedAt,
	}
}

type createLinkInput struct {
	TenantPath

	Body NewPairingLink
}

type createLinkOutput struct {
	Body CreatedPairingLink
}

func (s *Server) createPairingLink(ctx context.Context, in *createLinkInput) (*createLinkOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	link, token, err := s.cfg.Store.Tenant(id).CreatePairingLink(ctx, tenant.NewPairingLink{
		Phone: strings.TrimPrefix(in.Body.Phone, "+"), ReturnURL: in.Body.ReturnURL,
		ExpiresAt: now.Add(time.Duration(in.Body.ExpiresInMs) * time.Millisecond),
	})
	if err != nil {
		return nil, err
	}
	return &createLinkOutput{Body: CreatedPairingLink{
		PairingLink: pairingLinkInfo(&link, now), URL: publicBase(ctx, s.cfg.PublicURL) + console.Path(token),
	}}, nil
}

type linkListOutput struct {
	Body PairingLinkList
}

func (s *Server) listPairingLinks(ctx context.Context, in *tenantInput) (*linkListOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	links, err := s.cfg.Store.Tenant(id).PairingLinks(ctx)
	if err != nil {
		return nil, err
	}
	list, now := make([]PairingLink, 0, len(links)), time.Now()
	for i := range links {
		list = append(list, pairingLinkInfo(&links[i], now))
	}
	return &linkListOutput{Body: PairingLinkList{PairingLinks: list}}, nil
}

type linkInput struct {
	TenantPath

	LinkID string `path:"linkId" pattern:"^[a-z2-7]{18}$" patternDescription:"a pairing link's id" maxLength:"18" doc:"The link's id." example:"k7q2m4x5a3bcp6t2ya"`
}

func (s *Server) revokePairingLink(ctx context.Context, in *linkInput) (*struct{}, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	if _, err = s.cfg.Store.Get(ctx, id); err != nil {
		return nil, err
	}
	link, err := tenant.ParsePairingLinkID(in.LinkID)
	if err != nil {
		return nil, err
	}
	if err = s.cfg.Store.Tenant(id).RevokePairingLink(ctx, link); err != nil {
		return nil, err
	}
	return nil, s.cfg.Sessions.EndLinkPairing(ctx, id, link)
}
