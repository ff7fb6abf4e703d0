package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/tenant"
)

// deletionWait is how long a request waits for a tenant's data to go. It goes on going after that.
const deletionWait = 20 * time.Second

func exampleDeletion() tenant.Deletion {
	return tenant.Deletion{
		Tenant: "k7q2m4x5a3bc", ExternalID: "customer-4711", Device: tenant.DeviceUnlinked, RequestedAt: exampleTime(), CompletedAt: new(exampleTime()),
		Deleted: map[string]int64{"messages": 1250, "events": 3100, "chats": 64, "contacts": 210, "apiKeys": 2},
	}
}

// registerAdminDeletions registers the deletion of tenants and its records.
func (s *Server) registerAdminDeletions(d *document) {
	register(d, &operation{
		id: "delete-tenant", method: http.MethodDelete, path: "/admin/tenants/{tenantId}", tag: tagTenants, deadline: deadlineAction,
		status:  http.StatusOK,
		summary: "Delete a tenant with all its data",
		description: "Logs the tenant's device out, ends its streams, and deletes all that it owns: chats, messages, contacts, groups, journal, keys, " +
			"usage. There is no way back. The answer counts what was deleted, kind by kind; the record stays at " +
			"`GET /admin/deletions/{tenantId}`, and its end is in the audit log. What is not gone after 20 s goes on going, over restarts, " +
			"too (202); nobody sees the tenant any more from the beginning. Fetch its usage before, should you still bill it.",
		problems: []Code{codeTenantNotFound, codeGatewayTimeout},
		response: exampleDeletion(),
		adjust: func(op *huma.Operation, schemas huma.Registry) {
			op.Responses["202"] = jsonResponse[tenant.Deletion](schemas)
			op.Responses["202"].Description = "The tenant is gone for everybody; what it owned goes on being deleted."
		},
	}, s.deleteTenant)
	register(d, &operation{
		id: "get-deletion", method: http.MethodGet, path: "/admin/deletions/{tenantId}", tag: tagTenants,
		summary:     "Show what was deleted with a tenant",
		description: "The record of a tenant's deletion, which stays for good: how many rows of each kind went, counted in the transactions that deleted them.",
		problems:    []Code{codeDeletionNotFound},
		response:    exampleDeletion(),
	}, s.getDeletion)
	register(d, &operation{
		id: "list-deletions", method: http.MethodGet, path: "/admin/deletions", tag: tagTenants,
		summary:  "List deletions of tenants",
		response: DeletionList{Deletions: []tenant.Deletion{exampleDeletion()}},
	}, s.listDeletions)
}

type deletionOutput struct {
	Status int
	Body   tenant.Deletion
}

// deleteTenant goes from the outside in: the session, the rows, then what this node remembers.
func (s *Server) deleteTenant(ctx context.Context, in *tenantInput) (*deletionOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	if _, err := s.cfg.Store.Get(ctx, id); err != nil {
		return nil, err
	}
	device, err := s.cfg.Sessions.Remove(ctx, id)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, newProblem(codeGatewayTimeout).because("The session did not end in time. The tenant is not deleted, but its device is logged out. Delete it again.")
		}
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, deletionWait)
	defer cancel()
	record, err := s.cfg.Store.Delete(wait, id, device)
	if errors.Is(err, tenant.ErrOutcomeUnknown) {
		s.doubts.add(id)
		return nil, newProblem(codeUnavailable).because("The database did not answer in time: the tenant may be deleted or not. Delete it again; 404 says that it is.")
	}
	if err != nil {
		return nil, err
	}
	s.forgetTenant(id)
	noteDetail(ctx, "device", string(record.Device))
	for kind, n := range record.Deleted {
		noteDetail(ctx, kind, strconv.FormatInt(n, 10))
	}
	out := &deletionOutput{Status: http.StatusOK, Body: record}
	if record.CompletedAt == nil {
		out.Status = http.StatusAccepted
	}
	return out, nil
}

// forgetTenant drops what this node remembers of a tenant that is deleted.
func (s *Server) forgetTenant(id tenant.ID) {
	s.keys.forgetTenant(id)
	s.cfg.TenantLimits.Forget(id)
	s.turnstile.byID.Remove(id)
	s.streams.endTenant(id, errTenantGone)
	s.cfg.Metrics.Forget(string(id))
}

func (s *Server) getDeletion(ctx context.Context, in *tenantInput) (*deletionOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	record, err := s.cfg.Store.Deletion(ctx, id)
	if err != nil {
		return nil, err
	}
	return &deletionOutput{Status: http.StatusOK, Body: record}, nil
}

// DeletionList is the answer of GET /admin/deletions.
type DeletionList struct {
	Deletions  []tenant.Deletion `json:"deletions" nullable:"false" doc:"Newest first."`
	NextCursor string            `json:"nextCursor,omitempty" doc:"Where the next page starts; absent on the last."`
}

type deletionListOutput struct {
	Body DeletionList
}

type pageInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many in a page."`
	Cursor string `query:"cursor" maxLength:"500" doc:"nextCursor of the page before."`
}

func (s *Server) listDeletions(ctx context.Context, in *pageInput) (*deletionListOutput, error) {
	page, err := s.cfg.Store.Deletions(ctx, tenant.Page{Limit: in.Limit, Cursor: in.Cursor})
	if err != nil {
		return nil, err
	}
	if page.Deletions == nil {
		page.Deletions = []tenant.Deletion{}
	}
	return &deletionListOutput{Body: DeletionList{Deletions: page.Deletions, NextCursor: page.Next}}, nil
}
