package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/adminapi"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

type sessionsCmd struct {
	State  session.State `placeholder:"STATE" help:"Only sessions in this state, e.g. conflict."`
	Reason string        `placeholder:"CODE" help:"Only sessions that are in their state for this reason, e.g. stream_replaced."`
}

// Run lists sessions.
func (c *sessionsCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) ([]api.SessionOfTenant, error) {
		return client.Sessions(ctx, c.State, c.Reason)
	}, func(w *tabwriter.Writer, all []api.SessionOfTenant) {
		line(w, "TENANT", "STATE", "SINCE", "UNTIL", "PHONE", "REASON", "ACTION")
		for i := range all {
			s := &all[i]
			line(w, string(s.Tenant), string(s.State), day(&s.Since), day(s.Until), plain(s.Phone), plain(s.Reason), plain(s.Action))
		}
	})
}

type nodesCmd struct{}

// Run shows the node.
func (nodesCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) ([]api.NodeInfo, error) {
		return client.Nodes(ctx)
	}, func(w *tabwriter.Writer, nodes []api.NodeInfo) {
		line(w, "HOLDER", "VERSION", "STARTED", "ENGINE", "EPOCH", "SESSIONS")
		for i := range nodes {
			n := &nodes[i]
			var counts []string
			for _, state := range slices.Sorted(maps.Keys(n.Sessions)) {
				counts = append(counts, fmt.Sprint(n.Sessions[state], " ", state))
			}
			line(w, plain(n.Holder), plain(n.Version), day(&n.StartedAt), n.Engine, strconv.FormatInt(n.Epoch, 10), strings.Join(counts, ", "))
		}
	})
}

type deletionsCmd struct {
	Tenant string `arg:"" optional:"" help:"The id of a tenant that is gone; all of them, newest first, without."`
}

// Run shows what was deleted.
func (c *deletionsCmd) Run(ctx context.Context, o *operator) error {
	if c.Tenant != "" {
		return do(o, func(client *adminapi.Client) (tenant.Deletion, error) {
			return client.Deletion(ctx, c.Tenant)
		}, deletionTable)
	}
	return do(o, func(client *adminapi.Client) ([]tenant.Deletion, error) {
		return client.Deletions(ctx)
	}, func(w *tabwriter.Writer, all []tenant.Deletion) {
		line(w, "TENANT", "EXTERNAL ID", "DEVICE", "REQUESTED", "COMPLETED", "MESSAGES")
		for i := range all {
			d := &all[i]
			line(w, string(d.Tenant), plain(d.ExternalID), string(d.Device), day(&d.RequestedAt), day(d.CompletedAt),
				strconv.FormatInt(d.Deleted["messages"], 10))
		}
	})
}

func deletionTable(w *tabwriter.Writer, d tenant.Deletion) {
	line(w, "deleted "+string(d.Tenant))
	line(w, "device", string(d.Device))
	for _, kind := range slices.Sorted(maps.Keys(d.Deleted)) {
		line(w, kind, strconv.FormatInt(d.Deleted[kind], 10))
	}
	if d.CompletedAt == nil {
		line(w, "the rest goes on being deleted")
	}
}
