package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/adminapi"
	"github.com/wafleet/wafleet/tenant"
)

type (
	tenantSuspendCmd struct{ TenantArg }
	tenantResumeCmd  struct{ TenantArg }
)

// Run suspends a tenant.
func (c *tenantSuspendCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (tenant.Tenant, error) {
		return client.Suspend(ctx, c.Tenant)
	}, func(w *tabwriter.Writer, t tenant.Tenant) { line(w, "suspended "+string(t.ID)) })
}

// Run resumes a tenant.
func (c *tenantResumeCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (tenant.Tenant, error) {
		return client.Resume(ctx, c.Tenant)
	}, func(w *tabwriter.Writer, t tenant.Tenant) { line(w, "resumed "+string(t.ID)) })
}

// RotateFlags say how a key is rotated. Exported because kong looks only into exported embedded fields.
type RotateFlags struct {
	Overlap time.Duration `default:"24h" placeholder:"DURATION" help:"How long the old key goes on working; 0s: it ends now."`
	Expires time.Duration `placeholder:"DURATION" help:"After how long the new key stops working; never without."`
}

func (f *RotateFlags) rotation() api.RotateKey {
	r := api.RotateKey{OverlapSeconds: new(int(f.Overlap / time.Second))}
	if f.Expires != 0 {
		r.ExpiresAt = new(time.Now().Add(f.Expires))
	}
	return r
}

type keyRotateCmd struct {
	KeyArg
	RotateFlags
}

// Run rotates an API key.
func (c *keyRotateCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (api.RotatedKey, error) {
		return client.RotateKey(ctx, c.Tenant, c.Key, c.rotation())
	}, func(w *tabwriter.Writer, k api.RotatedKey) { line(w, k.APIKey) })
}

type usageCmd struct {
	From string `placeholder:"DAY" help:"The first day, e.g. 2026-11-01; 30 days ago without."`
	To   string `placeholder:"DAY" help:"The last day; today without."`
}

// Run shows what tenants used.
func (c *usageCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) ([]tenant.UsageLine, error) {
		return client.Usage(ctx, c.From, c.To)
	}, func(w *tabwriter.Writer, all []tenant.UsageLine) {
		line(w, "TENANT", "EXTERNAL ID", "DAYS", "IN", "OUT", "BYTES IN", "BYTES OUT", "CALLS")
		for _, u := range all {
			cells := []string{string(u.Tenant), plain(u.ExternalID)}
			for _, n := range []int64{u.ActiveDays, u.MessagesIn, u.MessagesOut, u.MediaBytesIn, u.MediaBytesOut, u.APICalls} {
				cells = append(cells, strconv.FormatInt(n, 10))
			}
			line(w, cells...)
		}
	})
}

type auditCmd struct {
	Tenant    string `placeholder:"ID" help:"Only what was done to this tenant."`
	Actor     string `placeholder:"ID" help:"Only what was done with this admin key."`
	Operation string `placeholder:"NAME" help:"Only this operation, e.g. delete-tenant."`
	Limit     int    `default:"50" placeholder:"N" help:"The most entries."`
}

// Run shows the audit log.
func (c *auditCmd) Run(ctx context.Context, o *operator) error {
	query := url.Values{"limit": {strconv.Itoa(c.Limit)}}
	for name, value := range map[string]string{"tenantId": c.Tenant, "actor": c.Actor, "operation": c.Operation} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return do(o, func(client *adminapi.Client) ([]tenant.AuditEntry, error) {
		return client.Audit(ctx, query)
	}, func(w *tabwriter.Writer, all []tenant.AuditEntry) {
		line(w, "AT", "ACTOR", "ROLE", "OPERATION", "TENANT", "RESOURCE", "STATUS", "CLIENT")
		for _, e := range all {
			status := "?"
			if e.Status != 0 {
				status = strings.TrimSpace(fmt.Sprint(e.Status, " ", e.Code))
			}
			line(w, day(&e.At), plain(e.Actor), string(e.Role), e.Operation, string(e.Tenant), plain(e.Resource), status, e.Client)
		}
	})
}

type adminKeyCreateCmd struct {
	Role    string        `arg:"" enum:"owner,operator,viewer" help:"What it may do: owner, operator or viewer."`
	Label   string        `placeholder:"TEXT" help:"Whose key it is."`
	Expires time.Duration `placeholder:"DURATION" help:"After how long it stops working, e.g. 720h; never without."`
}

// Run creates an admin key.
func (c *adminKeyCreateCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (api.CreatedAdminKey, error) {
		key := api.CreateAdminKey{Label: c.Label, Role: tenant.AdminRole(c.Role)}
		if c.Expires != 0 {
			key.ExpiresAt = new(time.Now().Add(c.Expires))
		}
		return client.CreateAdminKey(ctx, key)
	}, func(w *tabwriter.Writer, k api.CreatedAdminKey) { line(w, k.Secret) })
}

type adminKeyListCmd struct{}

// Run lists admin keys.
func (adminKeyListCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) ([]tenant.AdminKey, error) {
		return client.AdminKeys(ctx)
	}, func(w *tabwriter.Writer, keys []tenant.AdminKey) {
		line(w, "ID", "LABEL", "ROLE", "CREATED", "EXPIRES", "REVOKED", "LAST USED")
		for _, k := range keys {
			line(w, string(k.ID), plain(k.Label), string(k.Role), day(&k.CreatedAt), day(k.ExpiresAt), day(k.RevokedAt), day(k.LastUsedAt))
		}
	})
}

// AdminKeyArg names an admin key on the command line. Exported because kong looks only into exported embedded fields.
type AdminKeyArg struct {
	Key string `arg:"" help:"The key's id, the part between wfa_ and the next _."`
}

type adminKeyRotateCmd struct {
	AdminKeyArg
	RotateFlags
}

// Run rotates an admin key.
func (c *adminKeyRotateCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (api.RotatedAdminKey, error) {
		return client.RotateAdminKey(ctx, c.Key, c.rotation())
	}, func(w *tabwriter.Writer, k api.RotatedAdminKey) { line(w, k.Secret) })
}

type adminKeyRevokeCmd struct{ AdminKeyArg }

// Run revokes an admin key.
func (c *adminKeyRevokeCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (string, error) {
		return c.Key, client.RevokeAdminKey(ctx, c.Key)
	}, func(w *tabwriter.Writer, id string) { line(w, "revoked "+id) })
}
