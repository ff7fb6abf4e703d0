package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wafleet/wafleet/tenant"
)

// auditEntry is what is known of an admin request before it is done. Bodies are not looked at: they may hold secrets.
func auditEntry(ctx huma.Context, op *operation) tenant.AuditEntry {
	state := stateOf(ctx.Context())
	entry := tenant.AuditEntry{
		Actor: state.actor, Role: state.role, Operation: op.id, RequestID: state.id,
	}
	if state.client.IsValid() {
		entry.Client = state.client.String()
	}
	if id, err := tenant.ParseID(ctx.Param("tenantId")); err == nil {
		entry.Tenant = id
	}
	if key, err := tenant.ParseKeyID(ctx.Param("keyId")); err == nil {
		entry.Resource = string(key)
	}
	if key, err := tenant.ParseAdminKeyID(ctx.Param("adminKeyId")); err == nil {
		entry.Resource = string(key)
	}
	return entry
}

// audited lets an action begin only once the audit log has its entry, and then notes there what came of it. If the node ends in
// between, the entry stays without an outcome, which is the truth.
func (s *Server) audited(op *operation) middleware {
	return func(ctx huma.Context, next func(huma.Context)) {
		state := stateOf(ctx.Context())
		write, cancel := context.WithTimeout(ctx.Context(), s.limits.ReadTimeout)
		id, err := s.cfg.Store.BeginAudit(write, auditEntry(ctx, op))
		cancel()
		if err != nil {
			p := problemOf(err, false)
			if isDeadline(err) {
				p = newProblem(codeUnavailable)
			}
			logProblem(ctx.Context(), p, err)
			answer(ctx, p)
			return
		}
		defer func() { // also when the handler panics
			outcome := state.audit
			outcome.Status, outcome.Code = http.StatusInternalServerError, string(codeInternal)
			_, w := humago.Unwrap(ctx)
			if rec, ok := w.(*recorder); ok && rec.status != 0 {
				outcome.Status, outcome.Code = rec.status, string(state.code)
			}
			s.endAudit(ctx.Context(), id, outcome)
		}()
		next(ctx)
	}
}

func (s *Server) endAudit(ctx context.Context, id int64, outcome tenant.AuditOutcome) {
	write, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.ReadTimeout)
	defer cancel()
	if err := s.cfg.Store.EndAudit(write, id, outcome); err != nil {
		stateOf(ctx).log.WarnContext(ctx, "outcome is missing in the audit log", slog.Int64("entry", id), slog.Int("status", outcome.Status),
			slog.Any("error", err))
	}
}

// auditRefusal notes that somebody tried what their role does not cover.
func (s *Server) auditRefusal(ctx huma.Context, op *operation, p *Problem) {
	entry := auditEntry(ctx, op)
	entry.Status, entry.Code = p.Status, string(p.Code)
	write, cancel := context.WithTimeout(ctx.Context(), s.limits.ReadTimeout)
	defer cancel()
	if _, err := s.cfg.Store.BeginAudit(write, entry); err != nil {
		stateOf(ctx.Context()).log.WarnContext(ctx.Context(), "refusal is missing in the audit log", slog.Any("error", err))
	}
}

// noteTenant and noteResource tell the audit log what an action was done to, where the path does not say.
func noteTenant(ctx context.Context, id tenant.ID) { stateOf(ctx).audit.Tenant = id }

func noteResource(ctx context.Context, id string) { stateOf(ctx).audit.Resource = id }

// noteDetail tells the audit log more. Never a secret, never what people wrote.
func noteDetail(ctx context.Context, key, value string) {
	state := stateOf(ctx)
	if state.audit.Detail == nil {
		state.audit.Detail = make(map[string]string)
	}
	state.audit.Detail[key] = value
}

// AuditList is the answer of GET /admin/audit.
type AuditList struct {
	Entries    []tenant.AuditEntry `json:"entries" nullable:"false" doc:"Newest first."`
	NextCursor string              `json:"nextCursor,omitempty" doc:"Where the next page starts; absent on the last."`
}

type auditListOutput struct {
	Body AuditList
}

type listAuditInput struct {
	Limit     int       `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Entries in a page."`
	Cursor    string    `query:"cursor" maxLength:"500" doc:"nextCursor of the page before."`
	Tenant    string    `query:"tenantId" pattern:"^[a-z2-7]{12}$" patternDescription:"a tenant's id" doc:"Only what was done to this tenant, also after it was deleted." example:"k7q2m4x5a3bc"`
	Actor     string    `query:"actor" maxLength:"100" doc:"Only what was done with this admin key." example:"m3x7q2k4a5cb"`
	Operation string    `query:"operation" maxLength:"100" doc:"Only this operationId." example:"create-key"`
	From      time.Time `query:"from" doc:"Only what was done then or later."`
	To        time.Time `query:"to" doc:"Only what was done before that."`
}

// registerAdminAudit registers the audit log.
func (s *Server) registerAdminAudit(d *document) {
	register(d, &operation{
		id: "list-audit", method: http.MethodGet, path: "/admin/audit", tag: tagOperators,
		summary: "Read the audit log",
		description: "Every request to the admin API that changes something, or was refused because of the key's role, newest first. An entry is " +
			"stored before the action begins; `status` is filled in when it is answered. Entries outlive their tenants. They hold no secrets and nothing of " +
			"bodies but ids and the names of members. Reads are not in it.",
		response: AuditList{Entries: []tenant.AuditEntry{{
			ID: 41, At: exampleTime(), Actor: "m3x7q2k4a5cb", Role: tenant.RoleOperator, Operation: "create-key", Tenant: "k7q2m4x5a3bc",
			Resource: "k7q2m4x5a3bcp6t2ya", Status: http.StatusCreated, Client: "192.0.2.7", RequestID: "7f4df2e07ba94be2",
		}}},
	}, s.listAudit)
}

func (s *Server) listAudit(ctx context.Context, in *listAuditInput) (*auditListOutput, error) {
	page, err := s.cfg.Store.Audit(ctx, tenant.AuditQuery{
		Page: tenant.Page{Limit: in.Limit, Cursor: in.Cursor}, Tenant: tenant.ID(in.Tenant), Actor: tenant.CleanText(in.Actor),
		Operation: tenant.CleanText(in.Operation), From: in.From, To: in.To,
	})
	if err != nil {
		return nil, err
	}
	if page.Entries == nil {
		page.Entries = []tenant.AuditEntry{}
	}
	return &auditListOutput{Body: AuditList{Entries: page.Entries, NextCursor: page.Next}}, nil
}
