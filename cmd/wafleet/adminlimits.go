package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/adminapi"
	"github.com/wafleet/wafleet/tenant"
)

type limitsShowCmd struct{ TenantArg }

// Run shows a tenant's limits.
func (c *limitsShowCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (api.AdminLimits, error) {
		return client.Limits(ctx, c.Tenant)
	}, limitsTable)
}

type limitsSetCmd struct {
	TenantArg

	Limits []string `arg:"" placeholder:"NAME=VALUE" help:"A limit and its value, as limits show names it: coldChatsPerDay=50; 0: no limit; default: the node's own."`
}

// byDefault takes a limit back to the node's default.
const byDefault = "default"

// patch reads the command line. Returns what the user must write differently, all of it.
func (c *limitsSetCmd) patch() (api.LimitChanges, error) {
	changes := api.LimitChanges{}
	var faults []error
	for _, word := range c.Limits {
		name, value, found := strings.Cut(word, "=")
		if found && value == byDefault {
			changes[name] = nil
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if !found || err != nil {
			faults = append(faults, fmt.Errorf("%q is not NAME=NUMBER or NAME=%s", word, byDefault))
			continue
		}
		changes[name] = &n
	}
	if err := tenant.LimitPatch(changes).Check(); err != nil {
		faults = append(faults, err)
	}
	return changes, errors.Join(faults...)
}

// Run changes a tenant's limits.
func (c *limitsSetCmd) Run(ctx context.Context, o *operator) error {
	changes, err := c.patch()
	if err != nil {
		return usageError{err}
	}
	return do(o, func(client *adminapi.Client) (api.AdminLimits, error) {
		return client.ChangeLimits(ctx, c.Tenant, changes)
	}, limitsTable)
}

func limitsTable(w *tabwriter.Writer, l api.AdminLimits) {
	line(w, "LIMIT", "VALUE", "DEFAULT", "SOURCE")
	for _, s := range tenant.LimitSettings() {
		v := l.Limits[s.Name]
		line(w, s.Name, limitCell(v.Value), limitCell(v.Default), v.Source)
	}
	line(w)
	line(w, "LEFT OF", "") // by the names that a 429 has in limit
	r := &l.Remaining
	for _, row := range []struct {
		name string
		left *int64
	}{
		{"requests", r.Requests},
		{"concurrentRequests", r.ConcurrentRequests},
		{"eventStreams", r.EventStreams},
		{"sends", r.Sends},
		{"concurrentSends", r.ConcurrentSends},
		{"coldChats", r.ColdChats},
		{"numberChecks", r.NumberChecks},
		{"uploadBytes", r.UploadBytes},
		{"downloadBytes", r.DownloadBytes},
		{"storage", r.StorageBytes},
	} {
		if row.left != nil {
			line(w, row.name, strconv.FormatInt(*row.left, 10))
		}
	}
	line(w, "stored bytes", strconv.FormatInt(l.StoredBytes, 10))
	line(w, "budgets begin anew", day(&l.ResetsAt))
	if lock := l.ReachoutLock; lock != nil {
		line(w, "reach-out lock until", day(&lock.Until))
	}
}

func limitCell(n int64) string {
	if n == 0 {
		return "none"
	}
	return strconv.FormatInt(n, 10)
}
