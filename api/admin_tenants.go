package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/tenant"
)

// TenantPath is the part of a request that names a tenant. Exported because Huma looks only into exported embedded fields.
type TenantPath struct {
	TenantID string `path:"tenantId" pattern:"^[a-z2-7]{12}$" patternDescription:"a tenant's id" maxLength:"12" doc:"The tenant's id." example:"k7q2m4x5a3bc"`
}

func (p *TenantPath) id() (tenant.ID, error) { return tenant.ParseID(p.TenantID) }

func exampleTenant() tenant.Tenant {
	return tenant.Tenant{
		ID: "k7q2m4x5a3bc", ExternalID: "customer-4711", Name: "Padaria do João", Metadata: map[string]string{"plan": "pro"},
		SessionState: "online", CreatedAt: exampleTime(), UpdatedAt: exampleTime(),
	}
}

// registerAdminTenants registers the operations on tenants.
func (s *Server) registerAdminTenants(d *document) {
	register(d, &operation{
		id: "create-tenant", method: http.MethodPost, path: "/admin/tenants", tag: tagTenants, status: http.StatusCreated,
		summary: "Create a tenant",
		description: "Creating with an `externalId` that a tenant has already answers 200 with that tenant, unchanged, so that the call can be " +
			"made again.",
		request:  NewTenant{Name: "Padaria do João", ExternalID: "customer-4711", Metadata: Metadata{"plan": "pro"}},
		response: exampleTenant(),
		adjust: func(op *huma.Operation, schemas huma.Registry) {
			op.Responses["200"] = jsonResponse[tenant.Tenant](schemas)
			op.Responses["200"].Description = "The tenant existed already."
		},
	}, s.createTenant)
	register(d, &operation{
		id: "list-tenants", method: http.MethodGet, path: "/admin/tenants", tag: tagTenants,
		summary:     "List and search tenants",
		description: "In the order of their ids, in pages. What is asked for is combined: a tenant must meet all of it.",
		response:    TenantList{Tenants: []tenant.Tenant{exampleTenant()}},
	}, s.listTenants)
	register(d, &operation{
		id: "get-tenant", method: http.MethodGet, path: "/admin/tenants/{tenantId}", tag: tagTenants,
		summary:  "Get a tenant",
		problems: []Code{codeTenantNotFound},
		response: exampleTenant(),
	}, s.getTenant)
	register(d, &operation{
		id: "change-tenant", method: http.MethodPatch, path: "/admin/tenants/{tenantId}", tag: tagTenants, status: http.StatusOK,
		summary: "Change a tenant",
		description: "Members that are absent stay as they are; at least one must be there. An empty `externalId` takes it away. Of `metadata` the " +
			"keys that are named are set, or removed when they are null; the others stay.",
		problems: []Code{codeTenantNotFound, codeExternalIDTaken, codeMetadataFull},
		request:  map[string]any{"name": "Padaria do João", "metadata": map[string]any{"plan": "pro"}},
		response: exampleTenant(),
	}, s.changeTenant)
	suspended := exampleTenant()
	suspended.SessionState, suspended.SuspendedAt = "stopped", new(exampleTime())
	register(d, &operation{
		id: "suspend-tenant", method: http.MethodPost, path: "/admin/tenants/{tenantId}/suspend", tag: tagTenants,
		deadline: deadlineAction, status: http.StatusOK,
		summary: "Suspend a tenant",
		description: "From now on every request of the tenant's keys is answered 403 `TENANT_SUSPENDED`, its open streams end, its join URLs " +
			"lead nowhere, and its session goes offline. The device stays linked and nothing is deleted; WhatsApp keeps what " +
			"arrives, for as long as it does. Suspending twice is suspending once.",
		problems: []Code{codeTenantNotFound, codeGatewayTimeout},
		response: suspended,
	}, s.suspendTenant)
	register(d, &operation{
		id: "resume-tenant", method: http.MethodPost, path: "/admin/tenants/{tenantId}/resume", tag: tagTenants,
		deadline: deadlineAction, status: http.StatusOK,
		summary:     "Resume a tenant",
		description: "Lets a suspended tenant in again, under the keys that it had, and brings its session back unless that rested before.",
		problems:    []Code{codeTenantNotFound, codeGatewayTimeout},
		response:    exampleTenant(),
	}, s.resumeTenant)
}

// Metadata is what the operator notes about a tenant.
type Metadata map[string]string

// Schema bounds the values; Resolve bounds the keys.
func (Metadata) Schema(huma.Registry) *huma.Schema { return metadataSchema(false) }

func metadataSchema(nullable bool) *huma.Schema {
	value := "A text."
	if nullable {
		value = "A text, or null to remove the key."
	}
	return &huma.Schema{
		Type: huma.TypeObject, MaxProperties: new(tenant.MaxMetadata),
		Description:          "What you note about the tenant: up to 50 keys of letters, digits, _, . and -, and texts of up to 500 characters.",
		AdditionalProperties: &huma.Schema{Type: huma.TypeString, Description: value, MaxLength: new(tenant.MaxMetadataValue), Nullable: nullable},
		Examples:             []any{map[string]any{"plan": "pro"}},
	}
}

func metadataFaults[T any](metadata map[string]T, at *huma.PathBuffer) []error {
	var faults []error
	for key := range metadata {
		if !tenant.ValidMetadataKey(key) {
			if utf8.RuneCountInString(key) > maxEchoed {
				key = "…"
			}
			faults = append(faults, fieldFault(at.With("metadata."+key), "expected a key of 1 to 64 letters, digits, _, . and -"))
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return faults
}

// NewTenant is the body of POST /admin/tenants.
type NewTenant struct {
	Name       string   `json:"name" minLength:"1" maxLength:"200" doc:"The tenant's name." example:"Padaria do João"`
	ExternalID string   `json:"externalId,omitempty" minLength:"1" maxLength:"200" doc:"Your own id of the tenant." example:"customer-4711"`
	Metadata   Metadata `json:"metadata,omitempty" doc:"What you note about the tenant."`
}

// Resolve checks what a schema cannot say.
func (b *NewTenant) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	return metadataFaults(b.Metadata, at)
}

var _ huma.ResolverWithPath = (*NewTenant)(nil)

type createTenantInput struct {
	Body NewTenant
}

type createTenantOutput struct {
	Status int
	Body   tenant.Tenant
}

func (s *Server) createTenant(ctx context.Context, in *createTenantInput) (*createTenantOutput, error) {
	t, created, err := s.cfg.Store.Create(ctx, tenant.NewTenant{
		Name: tenant.CleanText(in.Body.Name), ExternalID: tenant.CleanText(in.Body.ExternalID), Metadata: in.Body.Metadata,
	})
	if err != nil {
		return nil, err
	}
	noteTenant(ctx, t.ID)
	out := &createTenantOutput{Status: http.StatusOK, Body: t}
	if created {
		out.Status = http.StatusCreated
	}
	return out, nil
}

type listTenantsInput struct {
	Limit     int            `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Tenants in a page."`
	Cursor    string         `query:"cursor" maxLength:"500" doc:"nextCursor of the page before."`
	Search    string         `query:"q" maxLength:"200" doc:"Part of the name, the external id or the id; capitals do not matter." example:"padaria"`
	Metadata  []string       `query:"metadata" maxItems:"5" doc:"Only tenants with these metadata: key=value, several separated by commas." example:"plan=pro"`
	State     string         `query:"state" enum:"unpaired,pairing,connecting,online,backoff,logged_out,banned,outdated,conflict,stopped" doc:"Only tenants whose session is in this state, as it was stored last." example:"logged_out"`
	Suspended optional[bool] `query:"suspended" doc:"Only tenants that are suspended, or only those that are not."`
}

// TenantList is the answer of GET /admin/tenants.
type TenantList struct {
	Tenants    []tenant.Tenant `json:"tenants" nullable:"false" doc:"In the order of their ids."`
	NextCursor string          `json:"nextCursor,omitempty" doc:"Where the next page starts; absent on the last."`
}

type listTenantsOutput struct {
	Body TenantList
}

func (s *Server) listTenants(ctx context.Context, in *listTenantsInput) (*listTenantsOutput, error) {
	q := tenant.Query{
		Page: tenant.Page{Limit: in.Limit, Cursor: in.Cursor}, Search: in.Search, State: in.State, Suspended: in.Suspended.pointer(),
	}
	for _, pair := range in.Metadata {
		key, value, found := strings.Cut(pair, "=")
		if !found || !tenant.ValidMetadataKey(key) {
			return nil, invalid("query.metadata", "expected key=value")
		}
		if q.Metadata == nil {
			q.Metadata = make(map[string]string)
		}
		q.Metadata[key] = value
	}
	page, err := s.cfg.Store.List(ctx, q)
	if err != nil {
		return nil, err
	}
	if page.Tenants == nil {
		page.Tenants = []tenant.Tenant{}
	}
	return &listTenantsOutput{Body: TenantList{Tenants: page.Tenants, NextCursor: page.Next}}, nil
}

type tenantInput struct {
	TenantPath
}

type tenantOutput struct {
	Body tenant.Tenant
}

func (s *Server) getTenant(ctx context.Context, in *tenantInput) (*tenantOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	t, err := s.cfg.Store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return &tenantOutput{Body: t}, nil
}

// MetadataChange is what is to be changed of a tenant's metadata.
type MetadataChange map[string]*string

// Schema bounds the values; Resolve bounds the keys.
func (MetadataChange) Schema(huma.Registry) *huma.Schema { return metadataSchema(true) }

// ChangeTenant is the body of PATCH /admin/tenants/{tenantId}.
type ChangeTenant struct {
	Name       *string        `json:"name,omitempty" minLength:"1" maxLength:"200" doc:"The tenant's name." example:"Padaria do João"`
	ExternalID *string        `json:"externalId,omitempty" maxLength:"200" doc:"Your own id of the tenant; empty for none." example:"customer-4711"`
	Metadata   MetadataChange `json:"metadata,omitempty" doc:"Keys to set, or to remove: null."`
}

// Resolve checks what a schema cannot say.
func (b *ChangeTenant) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	if b.Name == nil && b.ExternalID == nil && len(b.Metadata) == 0 {
		return []error{&huma.ErrorDetail{Location: at.String(), Message: "expected at least one of name, externalId and metadata"}}
	}
	return metadataFaults(b.Metadata, at)
}

var _ huma.ResolverWithPath = (*ChangeTenant)(nil)

type changeTenantInput struct {
	TenantPath

	Body ChangeTenant
}

func (s *Server) changeTenant(ctx context.Context, in *changeTenantInput) (*tenantOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	var members []string
	for member, there := range map[string]bool{
		"name": in.Body.Name != nil, "externalId": in.Body.ExternalID != nil, "metadata": len(in.Body.Metadata) > 0,
	} {
		if there {
			members = append(members, member)
		}
	}
	slices.Sort(members)
	noteDetail(ctx, "changed", strings.Join(members, ","))
	t, err := s.cfg.Store.Change(ctx, id, tenant.Patch{Name: in.Body.Name, ExternalID: in.Body.ExternalID, Metadata: in.Body.Metadata})
	if err != nil {
		return nil, err
	}
	return &tenantOutput{Body: t}, nil
}

// suspendTenant goes from the outside in: from the first commit on the keys open nothing any more.
func (s *Server) suspendTenant(ctx context.Context, in *tenantInput) (*tenantOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	t, err := s.cfg.Store.Suspend(ctx, id)
	if errors.Is(err, tenant.ErrOutcomeUnknown) {
		// If it is suspended after all, its session ends now, or when the database is back, and not with the next call.
		if s.obeySuspension(context.WithoutCancel(ctx), id) != nil {
			s.unsettled.add(id)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := s.shutOut(ctx, id); err != nil {
		return nil, err
	}
	return &tenantOutput{Body: t}, nil
}

// obeySuspension shuts a tenant out that is suspended. It looks by a change of nothing, which takes its turn behind the commit whose
// outcome is not known: whoever asked for that may have left before it was made.
func (s *Server) obeySuspension(ctx context.Context, id tenant.ID) error {
	ctx, cancel := context.WithTimeout(ctx, s.limits.ActionTimeout)
	defer cancel()
	t, err := s.cfg.Store.Change(ctx, id, tenant.Patch{})
	if err != nil || t.SuspendedAt == nil {
		return err
	}
	return s.shutOut(ctx, id)
}

// shutOut ends what a tenant has open that is suspended.
func (s *Server) shutOut(ctx context.Context, id tenant.ID) error {
	// Store.KeysChanged says the same, a moment later: when this is answered, the tenant is shut out.
	s.keys.forgetKeysOf(id)
	s.streams.endTenant(id, errSuspended)
	return s.cfg.Sessions.Suspend(ctx, id)
}

func (s *Server) resumeTenant(ctx context.Context, in *tenantInput) (*tenantOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	t, err := s.cfg.Store.Resume(ctx, id)
	if err != nil {
		return nil, err
	}
	s.keys.forgetKeysOf(id)
	if err := s.cfg.Sessions.Resume(ctx, id); err != nil {
		return nil, err
	}
	return &tenantOutput{Body: t}, nil
}
