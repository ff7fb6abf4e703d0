package api

import (
	"context"
	"net/http"

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
		ID: "k7q2m4x5a3bc", ExternalID: "customer-4711", Name: "Padaria do João", CreatedAt: exampleTime(), UpdatedAt: exampleTime(),
	}
}

// registerAdminTenants registers the operations on tenants.
func (s *Server) registerAdminTenants(d *document) {
	register(d, &operation{
		id: "create-tenant", method: http.MethodPost, path: "/admin/tenants", tag: tagTenants, status: http.StatusCreated,
		summary: "Create a tenant",
		description: "Creating with an `externalId` that a tenant has already answers 200 with that tenant, unchanged, so that the call can be " +
			"made again.",
		request:  NewTenant{Name: "Padaria do João", ExternalID: "customer-4711"},
		response: exampleTenant(),
		adjust: func(op *huma.Operation, schemas huma.Registry) {
			op.Responses["200"] = jsonResponse[tenant.Tenant](schemas)
			op.Responses["200"].Description = "The tenant existed already."
		},
	}, s.createTenant)
	register(d, &operation{
		id: "list-tenants", method: http.MethodGet, path: "/admin/tenants", tag: tagTenants,
		summary:  "List tenants",
		response: TenantList{Tenants: []tenant.Tenant{exampleTenant()}},
	}, s.listTenants)
	register(d, &operation{
		id: "get-tenant", method: http.MethodGet, path: "/admin/tenants/{tenantId}", tag: tagTenants,
		summary:  "Get a tenant",
		problems: []Code{codeTenantNotFound},
		response: exampleTenant(),
	}, s.getTenant)
	register(d, &operation{
		id: "delete-tenant", method: http.MethodDelete, path: "/admin/tenants/{tenantId}", tag: tagTenants, deadline: deadlineAction,
		summary: "Delete a tenant with all its data",
		description: "Logs the tenant's device out, ends its streams, and deletes its chats, messages, journal and keys. There is no way " +
			"back.",
		problems: []Code{codeTenantNotFound, codeGatewayTimeout},
	}, s.deleteTenant)
}

// NewTenant is the body of POST /admin/tenants.
type NewTenant struct {
	Name       string `json:"name" minLength:"1" maxLength:"200" doc:"The tenant's name." example:"Padaria do João"`
	ExternalID string `json:"externalId,omitempty" minLength:"1" maxLength:"200" doc:"Your own id of the tenant." example:"customer-4711"`
}

type createTenantInput struct {
	Body NewTenant
}

type createTenantOutput struct {
	Status int
	Body   tenant.Tenant
}

func (s *Server) createTenant(ctx context.Context, in *createTenantInput) (*createTenantOutput, error) {
	t, created, err := s.cfg.Store.Create(ctx, tenant.NewTenant{
		Name: tenant.CleanText(in.Body.Name), ExternalID: tenant.CleanText(in.Body.ExternalID),
	})
	if err != nil {
		return nil, err
	}
	out := &createTenantOutput{Status: http.StatusOK, Body: t}
	if created {
		out.Status = http.StatusCreated
	}
	return out, nil
}

type listTenantsInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Tenants in a page."`
	Cursor string `query:"cursor" maxLength:"500" doc:"nextCursor of the page before."`
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
	page, err := s.cfg.Store.List(ctx, tenant.Page{Limit: in.Limit, Cursor: in.Cursor})
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

// deleteTenant goes from the outside in: the session, the rows, then what this node remembers.
func (s *Server) deleteTenant(ctx context.Context, in *tenantInput) (*struct{}, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	if _, err := s.cfg.Store.Get(ctx, id); err != nil {
		return nil, err
	}
	if err := s.cfg.Sessions.Remove(ctx, id); err != nil {
		return nil, err
	}
	if err := s.cfg.Store.Delete(ctx, id); err != nil {
		return nil, err
	}
	s.keys.forgetTenant(id)
	s.streams.endTenant(id)
	s.cfg.Metrics.Forget(string(id))
	return nil, nil
}
