package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/tenant"
)

// bailiff does through the HTTP API what an operator does.
type bailiff struct {
	run   *run
	admin *caller
}

// resident is one tenant of many.
type resident struct {
	id       tenant.ID
	external string
	name     string
	key      string
}

// withNode starts a node, and ends it when fn has returned.
func (r *run) withNode(ctx context.Context, plan nodePlan, fn func(b *bailiff) error) (err error) {
	n, err := r.node(ctx, plan)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.process.close()) }()
	b := n.bailiff(r)
	defer b.admin.http.CloseIdleConnections()
	return fn(b)
}

func (n *runningNode) bailiff(r *run) *bailiff {
	return &bailiff{run: r, admin: &caller{
		base: n.base, http: &http.Client{Transport: connections(), Timeout: requestTimeout},
		header: http.Header{"Authorization": {"Bearer " + n.plan.AdminKey}},
	}}
}

// forEach calls fn for so many, some at a time, and tells how far it is.
func (b *bailiff) forEach(ctx context.Context, n int, what string, fn func(ctx context.Context, i int) error) (took time.Duration, err error) {
	steps := newSteps(n, func(progress string) { b.run.say("  %s", progress) }, what)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(provisionAtOnce)
	started := time.Now()
	for i := range n {
		work.Go(func() error {
			if err := fn(ctx, i); err != nil {
				return err
			}
			steps.one()
			return nil
		})
	}
	err = work.Wait()
	return time.Since(started), err
}

// provision makes the tenants, each with a key, and lets each key be used once, so that each tenant has used something.
func (b *bailiff) provision(ctx context.Context, all []resident, m *TenantsSize) error {
	b.run.say("%d tenants: making them", len(all))
	took, err := b.forEach(ctx, len(all), "tenants made", func(ctx context.Context, i int) error {
		t := &all[i]
		t.name, t.external = fmt.Sprintf("Tenant %06d of the bench", i), fmt.Sprintf("customer-%06d", i)
		var made tenant.Tenant
		err := b.admin.call(ctx, http.MethodPost, "/admin/tenants", api.NewTenant{Name: t.name, ExternalID: t.external}, &made)
		if err != nil {
			return err
		}
		t.id = made.ID
		var key api.CreatedKey
		err = b.admin.call(ctx, http.MethodPost, "/admin/tenants/"+string(t.id)+"/keys", api.NewKey{Label: "bench"}, &key)
		t.key = key.APIKey
		return err
	})
	if err != nil {
		return err
	}
	m.Provisioned = float64(len(all)) / took.Seconds()
	_, err = b.forEach(ctx, len(all), "keys used", func(ctx context.Context, i int) error {
		return b.use(ctx, &all[i], "/api/chats", http.StatusOK)
	})
	return err
}

// use makes a request of a tenant's, which must be answered so.
func (b *bailiff) use(ctx context.Context, t *resident, path string, want int) error {
	own := &caller{base: b.admin.base, http: b.admin.http, header: http.Header{"X-Api-Key": {t.key}}}
	status, _, err := own.ask(ctx, http.MethodGet, path, nil)
	if err == nil && status != want {
		err = fmt.Errorf("%w: GET %s of a tenant was answered %d, not %d", ErrCounts, path, status, want)
	}
	return err
}

// seriesEach is how many series a tenant has after useKeys.
const seriesEach = 2

// useKeys lets each tenant make two requests with different outcomes, as most do sooner or later.
func (b *bailiff) useKeys(ctx context.Context, all []resident) error {
	_, err := b.forEach(ctx, len(all), "tenants at work", func(ctx context.Context, i int) error {
		return errors.Join(
			b.use(ctx, &all[i], "/api/chats", http.StatusOK),
			b.use(ctx, &all[i], "/api/chats/5511988880000@c.us", http.StatusNotFound),
		)
	})
	return err
}

// checkSeries holds a scrape to the tenants that there are.
func checkSeries(told families, all []resident, each int) error {
	series := told.tenants()
	for i := range all {
		id := string(all[i].id)
		if series[id] != each {
			return fmt.Errorf("%w: tenant %d has %d series, not %d", ErrCounts, i, series[id], each)
		}
		delete(series, id)
	}
	if len(series) > 0 {
		return fmt.Errorf("%w: there are series of %d tenants that do not exist", ErrCounts, len(series))
	}
	return nil
}

// look is one thing that an operator looks at.
type look struct {
	name string
	look func(ctx context.Context, i int, into samples) error
}

// tenthsDeep is how deep the deep page lies.
const tenthsDeep = 9

// looks are all of them. It walks the lists on the way, and counts what is in them.
func (b *bailiff) looks(ctx context.Context, all []resident) ([]look, error) {
	limit := "limit=" + strconv.Itoa(max(1, min(50, len(all)/2)))
	tenants, usage := "/admin/tenants?"+limit, "/admin/usage?per=tenant&"+limit
	deepTenants, err := b.walk(ctx, tenants, len(all))
	if err != nil {
		return nil, err
	}
	deepUsage, err := b.walk(ctx, usage, len(all))
	if err != nil {
		return nil, err
	}
	pick := func(i int) *resident { return &all[i*7919%len(all)] }
	get := func(name string, path func(i int) string, right func(i int, answer []byte) bool) look {
		return look{name, func(ctx context.Context, i int, into samples) error {
			started := time.Now()
			status, answer, err := b.admin.ask(ctx, http.MethodGet, path(i), nil)
			into[name] = append(into[name], time.Since(started))
			if err == nil && (status != http.StatusOK || !right(i, answer)) {
				err = fmt.Errorf("%w: %s was answered %d, with what is not right", ErrCounts, name, status)
			}
			return err
		}}
	}
	fixed := func(path string) func(int) string { return func(int) string { return path } }
	one := func(i int, answer []byte) bool {
		var found api.TenantList
		return json.Unmarshal(answer, &found) == nil && len(found.Tenants) == 1 && found.Tenants[0].ID == pick(i).id
	}
	same := func(i int, answer []byte) bool {
		var found tenant.Tenant
		return json.Unmarshal(answer, &found) == nil && found.ID == pick(i).id
	}
	page := func(_ int, answer []byte) bool {
		_, n, err := readPage(answer)
		return err == nil && n > 0
	}
	used := func(i int, answer []byte) bool {
		var found api.UsageOfTenant
		return json.Unmarshal(answer, &found) == nil && found.Total.APICalls > 0
	}
	return []look{
		get("first page of tenants", fixed(tenants), page),
		get("a deep page", fixed(deepTenants), page),
		get("search by name", func(i int) string { return tenants + "&q=" + url.QueryEscape(pick(i).name) }, one),
		get("search by external id", func(i int) string { return tenants + "&q=" + pick(i).external }, one),
		get("one tenant", func(i int) string { return "/admin/tenants/" + string(pick(i).id) }, same),
		get("usage of one", func(i int) string { return "/admin/tenants/" + string(pick(i).id) + "/usage" }, used),
		get("first page of usage", fixed(usage), page),
		get("a deep page of usage", fixed(deepUsage), page),
	}, nil
}

// walk reads a list from its first page to its last, which must have so many entries, and returns the path of a page deep in it.
func (b *bailiff) walk(ctx context.Context, path string, want int) (deep string, err error) {
	pages, entries := []string{path}, 0
	for at := path; ; {
		_, answer, err := b.admin.ask(ctx, http.MethodGet, at, nil)
		if err != nil {
			return "", err
		}
		next, n, err := readPage(answer)
		if err != nil {
			return "", err
		}
		if entries += n; next == "" || entries > want {
			break
		}
		at = path + "&cursor=" + url.QueryEscape(next)
		pages = append(pages, at)
	}
	if entries != want {
		return "", fmt.Errorf("%w: %s lists %d, not %d", ErrCounts, path, entries, want)
	}
	return pages[min(len(pages)-1, (len(pages)*tenthsDeep+9)/10)], nil
}

// readPage reads a page of tenants, of usage or of sessions.
func readPage(answer []byte) (next string, entries int, err error) {
	var page struct {
		Tenants    []json.RawMessage `json:"tenants"`
		Usage      []json.RawMessage `json:"usage"`
		Sessions   []json.RawMessage `json:"sessions"`
		NextCursor string            `json:"nextCursor"`
	}
	if err = json.Unmarshal(answer, &page); err != nil {
		return "", 0, fmt.Errorf("read a page: %w", err)
	}
	return page.NextCursor, len(page.Tenants) + len(page.Usage) + len(page.Sessions), nil
}

// deleteHalf deletes every second tenant, and sees that those are gone and the others are not.
func (b *bailiff) deleteHalf(ctx context.Context, all []resident, m *TenantsSize) error {
	b.run.say("%d tenants: deleting every second", len(all))
	var left, gone []resident
	for i := range all {
		if i%2 == 0 {
			gone = append(gone, all[i])
		} else {
			left = append(left, all[i])
		}
	}
	took, err := b.forEach(ctx, len(gone), "tenants deleted", func(ctx context.Context, i int) error {
		return b.admin.call(ctx, http.MethodDelete, "/admin/tenants/"+string(gone[i].id), nil, nil)
	})
	if err != nil {
		return err
	}
	m.Deleted = float64(len(gone)) / took.Seconds()
	told, err := readMetrics(ctx, b.admin)
	if err != nil {
		return err
	}
	if err = checkSeries(told, left, seriesEach); err != nil {
		return fmt.Errorf("after every second tenant was deleted: %w", err)
	}
	for _, list := range []string{"/admin/tenants?limit=1000", "/admin/usage?per=tenant&limit=1000"} {
		if _, err = b.walk(ctx, list, len(left)); err != nil {
			return fmt.Errorf("after every second tenant was deleted: %w", err)
		}
	}
	return nil
}
