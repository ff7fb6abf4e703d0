package main

import (
	"context"
	"text/tabwriter"
	"time"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/adminapi"
)

// pairingLinkCmd makes a link where no other word is said: admin pairing-link TENANT.
type pairingLinkCmd struct {
	Create linkCreateCmd `cmd:"" default:"withargs" help:"Make a link and print it, once."`
	List   linkListCmd   `cmd:"" help:"List a tenant's links."`
	Revoke linkRevokeCmd `cmd:"" help:"Revoke a link."`
}

type linkCreateCmd struct {
	TenantArg

	Expires   time.Duration `default:"1h" placeholder:"DURATION" help:"After how long it stops working, 168h at most."`
	Phone     string        `placeholder:"NUMBER" help:"The number that the page makes a pairing code for; without it the page asks."`
	ReturnURL string        `placeholder:"URL" help:"Where the page leads when the account is linked; https only."`
}

// Run makes a pairing link.
func (c *linkCreateCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (api.CreatedPairingLink, error) {
		return client.CreatePairingLink(ctx, c.Tenant, api.NewPairingLink{
			ExpiresInMs: c.Expires.Milliseconds(), Phone: c.Phone, ReturnURL: c.ReturnURL,
		})
	}, func(w *tabwriter.Writer, l api.CreatedPairingLink) { line(w, l.URL) })
}

type linkListCmd struct{ TenantArg }

// Run lists a tenant's pairing links.
func (c *linkListCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) ([]api.PairingLink, error) {
		return client.PairingLinks(ctx, c.Tenant)
	}, func(w *tabwriter.Writer, links []api.PairingLink) {
		line(w, "ID", "STATE", "PHONE", "CREATED", "EXPIRES", "USED")
		for i := range links {
			l := &links[i]
			line(w, string(l.ID), string(l.State), plain(l.Phone), day(&l.CreatedAt), day(&l.ExpiresAt), day(l.UsedAt))
		}
	})
}

type linkRevokeCmd struct {
	TenantArg

	Link string `arg:"" help:"The link's id, the part of its address between wp_ and the next _."`
}

// Run revokes a pairing link.
func (c *linkRevokeCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (string, error) {
		return c.Link, client.RevokePairingLink(ctx, c.Tenant, c.Link)
	}, func(w *tabwriter.Writer, id string) { line(w, "revoked "+id) })
}
