package api

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/tenant"
)

// registerAdminLimits registers the operations on a tenant's limits.
func (s *Server) registerAdminLimits(d *document) {
	example := AdminLimits{Limits: explained(tenant.DefaultLimits(), tenant.Overrides{"coldChatsPerDay": 50}), LimitUsage: exampleUsage()}
	register(d, &operation{
		id: "get-tenant-limits", method: http.MethodGet, path: "/admin/tenants/{tenantId}/limits", tag: tagTenants,
		summary:     "Show a tenant's limits and what is left of them",
		description: "Each limit with the value that holds, the node's default, and which of the two it is.",
		problems:    []Code{codeTenantNotFound}, response: example,
	}, s.getTenantLimits)
	register(d, &operation{
		id: "change-tenant-limits", method: http.MethodPatch, path: "/admin/tenants/{tenantId}/limits", tag: tagTenants,
		summary: "Change a tenant's limits",
		description: "Limits that are named are the tenant's own from now on, without a restart; `null` takes one back to the node's default, 0 " +
			"means no limit. Others stay.",
		problems: []Code{codeTenantNotFound},
		request:  map[string]any{"coldChatsPerDay": 50, "requestsPerSecond": nil}, response: example,
	}, s.changeTenantLimits)
}

// LimitChanges are limits to change, by name. Exported because Huma names schemas after types.
type LimitChanges map[string]*int64

// Schema has a member for each limit.
func (LimitChanges) Schema(r huma.Registry) *huma.Schema {
	return limitSchema(r, "LimitChanges", "Limits to change; null takes one back to the node's default.", func(s *tenant.LimitSetting) *huma.Schema {
		return &huma.Schema{
			Type: huma.TypeInteger, Format: "int64", Nullable: true, Minimum: new(0.0), Maximum: new(float64(s.Max)),
			Description: s.Usage + " 0: no limit; null: the default.", Examples: []any{s.Default},
		}
	}, false)
}

// LimitValue is a limit and where it comes from.
type LimitValue struct {
	Value   int64  `json:"value" doc:"What holds; 0: no limit." example:"50"`
	Default int64  `json:"default" doc:"The node's default." example:"200"`
	Source  string `json:"source" enum:"default,tenant" doc:"Where the value comes from: the node's default, or the tenant's own limits." example:"tenant"`
}

// ExplainedLimits are limits by name, with where each comes from. Exported because Huma names schemas after types.
type ExplainedLimits map[string]LimitValue

// Schema has a member for each limit.
func (ExplainedLimits) Schema(r huma.Registry) *huma.Schema {
	value := r.Schema(reflect.TypeFor[LimitValue](), true, "LimitValue")
	return limitSchema(r, "ExplainedLimits", "Limits by name.", func(s *tenant.LimitSetting) *huma.Schema {
		return &huma.Schema{Ref: value.Ref, Description: s.Usage}
	}, true)
}

// explained are limits with where they come from.
func explained(defaults tenant.Limits, own tenant.Overrides) ExplainedLimits {
	all := ExplainedLimits{}
	for _, s := range tenant.LimitSettings() {
		v := LimitValue{Value: *s.Field(&defaults), Default: *s.Field(&defaults), Source: "default"}
		if value, ok := own[s.Name]; ok {
			v.Value, v.Source = value, "tenant"
		}
		all[s.Name] = v
	}
	return all
}

// AdminLimits is the answer of …/limits.
type AdminLimits struct {
	LimitUsage

	Limits ExplainedLimits `json:"limits" doc:"The limits, and where each comes from."`
}

type adminLimitsOutput struct {
	Body AdminLimits
}

func (s *Server) getTenantLimits(ctx context.Context, in *tenantInput) (*adminLimitsOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	if _, err = s.cfg.Store.Get(ctx, id); err != nil {
		return nil, err
	}
	usage, err := s.usage(ctx, id)
	if err != nil {
		return nil, err
	}
	book := s.turnstile.book
	return &adminLimitsOutput{Body: AdminLimits{Limits: explained(book.Defaults(), book.Overrides(id)), LimitUsage: *usage}}, nil
}

type changeLimitsInput struct {
	TenantPath

	Body LimitChanges
}

func (s *Server) changeTenantLimits(ctx context.Context, in *changeLimitsInput) (*adminLimitsOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	if err = s.turnstile.book.Set(ctx, id, tenant.LimitPatch(in.Body)); err != nil {
		return nil, badLimit(err)
	}
	return s.getTenantLimits(ctx, &tenantInput{in.TenantPath})
}
