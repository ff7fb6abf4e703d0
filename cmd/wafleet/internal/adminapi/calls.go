package adminapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

func tenantPath(id string, more ...string) string {
	parts := []string{"/admin/tenants", url.PathEscape(id)}
	for _, part := range more {
		parts = append(parts, url.PathEscape(part))
	}
	return strings.Join(parts, "/")
}

// CreateTenant makes a tenant, or returns the one that has the external id.
func (c *Client) CreateTenant(ctx context.Context, n api.NewTenant) (t tenant.Tenant, err error) {
	err = c.Do(ctx, http.MethodPost, "/admin/tenants", n, &t)
	return t, err
}

// everything reads all pages of a list; take says what is in a page and where the next begins.
func everything[Page, Item any](
	ctx context.Context, c *Client, path string, query url.Values, take func(*Page) (items []Item, next string),
) ([]Item, error) {
	all := []Item{}
	query.Set("limit", "1000")
	for {
		var page Page
		if err := c.Do(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		items, next := take(&page)
		all = append(all, items...)
		if next == "" {
			return all, nil
		}
		query.Set("cursor", next)
	}
}

// asked is a query of what is not empty.
func asked(values map[string]string) url.Values {
	query := url.Values{}
	for name, value := range values {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query
}

// Tenants returns all tenants that a query asks for, in the order of their ids.
func (c *Client) Tenants(ctx context.Context, q tenant.Query) ([]tenant.Tenant, error) {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(q.Metadata)) {
		pairs = append(pairs, key+"="+q.Metadata[key])
	}
	query := asked(map[string]string{"q": q.Search, "state": q.State, "metadata": strings.Join(pairs, ",")})
	if q.Suspended != nil {
		query.Set("suspended", strconv.FormatBool(*q.Suspended))
	}
	return everything(ctx, c, "/admin/tenants", query, func(p *api.TenantList) ([]tenant.Tenant, string) { return p.Tenants, p.NextCursor })
}

// Tenant returns one tenant.
func (c *Client) Tenant(ctx context.Context, id string) (t tenant.Tenant, err error) {
	err = c.Do(ctx, http.MethodGet, tenantPath(id), nil, &t)
	return t, err
}

// DeleteTenant deletes a tenant with all its data, and returns the record.
func (c *Client) DeleteTenant(ctx context.Context, id string) (d tenant.Deletion, err error) {
	err = c.Do(ctx, http.MethodDelete, tenantPath(id), nil, &d)
	return d, err
}

// ChangeTenant changes a tenant.
func (c *Client) ChangeTenant(ctx context.Context, id string, change api.ChangeTenant) (t tenant.Tenant, err error) {
	err = c.Do(ctx, http.MethodPatch, tenantPath(id), change, &t)
	return t, err
}

// Suspend shuts a tenant out, Resume lets it in again.
func (c *Client) Suspend(ctx context.Context, id string) (t tenant.Tenant, err error) {
	err = c.Do(ctx, http.MethodPost, tenantPath(id, "suspend"), nil, &t)
	return t, err
}

// Resume lets a suspended tenant in again.
func (c *Client) Resume(ctx context.Context, id string) (t tenant.Tenant, err error) {
	err = c.Do(ctx, http.MethodPost, tenantPath(id, "resume"), nil, &t)
	return t, err
}

// RotateKey makes the successor of an API key.
func (c *Client) RotateKey(ctx context.Context, id, key string, r api.RotateKey) (k api.RotatedKey, err error) {
	err = c.Do(ctx, http.MethodPost, tenantPath(id, "keys", key, "rotate"), r, &k)
	return k, err
}

// Limits returns a tenant's limits.
func (c *Client) Limits(ctx context.Context, id string) (l api.AdminLimits, err error) {
	err = c.Do(ctx, http.MethodGet, tenantPath(id, "limits"), nil, &l)
	return l, err
}

// ChangeLimits changes a tenant's limits and returns all of them.
func (c *Client) ChangeLimits(ctx context.Context, id string, changes api.LimitChanges) (l api.AdminLimits, err error) {
	err = c.Do(ctx, http.MethodPatch, tenantPath(id, "limits"), changes, &l)
	return l, err
}

// Deletion returns the record of a tenant's deletion.
func (c *Client) Deletion(ctx context.Context, id string) (d tenant.Deletion, err error) {
	err = c.Do(ctx, http.MethodGet, "/admin/deletions/"+url.PathEscape(id), nil, &d)
	return d, err
}

// Deletions returns the records of all deletions, newest first.
func (c *Client) Deletions(ctx context.Context) ([]tenant.Deletion, error) {
	return everything(ctx, c, "/admin/deletions", url.Values{}, func(p *api.DeletionList) ([]tenant.Deletion, string) { return p.Deletions, p.NextCursor })
}

// Sessions returns the sessions that the node supervises, of a state and for a reason, or all.
func (c *Client) Sessions(ctx context.Context, state session.State, reason string) ([]api.SessionOfTenant, error) {
	query := asked(map[string]string{"state": string(state), "reason": reason})
	return everything(ctx, c, "/admin/sessions", query, func(p *api.SessionList) ([]api.SessionOfTenant, string) { return p.Sessions, p.NextCursor })
}

// Nodes returns the node.
func (c *Client) Nodes(ctx context.Context) ([]api.NodeInfo, error) {
	var list api.NodeList
	err := c.Do(ctx, http.MethodGet, "/admin/nodes", nil, &list)
	return list.Nodes, err
}

// Usage returns what all tenants used in a period, one line for each; empty days are the node's defaults.
func (c *Client) Usage(ctx context.Context, from, to string) ([]tenant.UsageLine, error) {
	query := asked(map[string]string{"per": "tenant", "from": from, "to": to})
	return everything(ctx, c, "/admin/usage", query, func(p *api.UsageList) ([]tenant.UsageLine, string) { return p.Usage, p.NextCursor })
}

// Audit returns the newest entries of the audit log.
func (c *Client) Audit(ctx context.Context, query url.Values) ([]tenant.AuditEntry, error) {
	var page api.AuditList
	err := c.Do(ctx, http.MethodGet, "/admin/audit?"+query.Encode(), nil, &page)
	return page.Entries, err
}

// CreateAdminKey makes an admin key.
func (c *Client) CreateAdminKey(ctx context.Context, n api.CreateAdminKey) (k api.CreatedAdminKey, err error) {
	err = c.Do(ctx, http.MethodPost, "/admin/keys", n, &k)
	return k, err
}

// AdminKeys returns the admin keys.
func (c *Client) AdminKeys(ctx context.Context) ([]tenant.AdminKey, error) {
	var list api.AdminKeyList
	err := c.Do(ctx, http.MethodGet, "/admin/keys", nil, &list)
	return list.Keys, err
}

// RotateAdminKey makes the successor of an admin key.
func (c *Client) RotateAdminKey(ctx context.Context, key string, r api.RotateKey) (k api.RotatedAdminKey, err error) {
	err = c.Do(ctx, http.MethodPost, "/admin/keys/"+url.PathEscape(key)+"/rotate", r, &k)
	return k, err
}

// RevokeAdminKey ends an admin key.
func (c *Client) RevokeAdminKey(ctx context.Context, key string) error {
	return c.Do(ctx, http.MethodDelete, "/admin/keys/"+url.PathEscape(key), nil, nil)
}

// CreateKey makes an API key.
func (c *Client) CreateKey(ctx context.Context, id string, n api.NewKey) (k api.CreatedKey, err error) {
	err = c.Do(ctx, http.MethodPost, tenantPath(id, "keys"), n, &k)
	return k, err
}

// Keys returns a tenant's API keys.
func (c *Client) Keys(ctx context.Context, id string) ([]tenant.Key, error) {
	var list api.KeyList
	err := c.Do(ctx, http.MethodGet, tenantPath(id, "keys"), nil, &list)
	return list.Keys, err
}

// ChangeKey changes an API key.
func (c *Client) ChangeKey(ctx context.Context, id, key string, change tenant.KeyChange) (k tenant.Key, err error) {
	body := map[string]any{} // nobody but api can write an expiry into its ChangeKey
	if change.Label != nil {
		body["label"] = *change.Label
	}
	if change.Scopes != nil {
		body["scopes"] = change.Scopes
	}
	switch at := change.ExpiresAt; {
	case at != nil && at.IsZero():
		body["expiresAt"] = nil
	case at != nil:
		body["expiresAt"] = *at
	}
	err = c.Do(ctx, http.MethodPatch, tenantPath(id, "keys", key), body, &k)
	return k, err
}

// RevokeKey ends an API key.
func (c *Client) RevokeKey(ctx context.Context, id, key string) error {
	return c.Do(ctx, http.MethodDelete, tenantPath(id, "keys", key), nil, nil)
}

// Session returns a tenant's session.
func (c *Client) Session(ctx context.Context, id string) (s api.SessionInfo, err error) {
	err = c.Do(ctx, http.MethodGet, tenantPath(id, "session"), nil, &s)
	return s, err
}

// ChangeSession does connect, disconnect or logout to a tenant's session.
func (c *Client) ChangeSession(ctx context.Context, id, action string) (s api.SessionInfo, err error) {
	err = c.Do(ctx, http.MethodPost, tenantPath(id, "session", action), nil, &s)
	return s, err
}

// StartPairing starts a pairing: by the code for that phone number, or by QR code when phone is empty.
func (c *Client) StartPairing(ctx context.Context, id, phone string) (p api.PairingInfo, err error) {
	how := api.StartPairing{Method: "qr"}
	if phone != "" {
		how = api.StartPairing{Method: "code", Phone: phone}
	}
	err = c.Do(ctx, http.MethodPost, tenantPath(id, "session", "pair"), how, &p)
	return p, err
}

// CreatePairingLink makes a pairing link.
func (c *Client) CreatePairingLink(ctx context.Context, id string, n api.NewPairingLink) (l api.CreatedPairingLink, err error) {
	err = c.Do(ctx, http.MethodPost, tenantPath(id, "pairing-links"), n, &l)
	return l, err
}

// PairingLinks returns a tenant's pairing links.
func (c *Client) PairingLinks(ctx context.Context, id string) ([]api.PairingLink, error) {
	var list api.PairingLinkList
	err := c.Do(ctx, http.MethodGet, tenantPath(id, "pairing-links"), nil, &list)
	return list.PairingLinks, err
}

// RevokePairingLink ends a pairing link.
func (c *Client) RevokePairingLink(ctx context.Context, id, link string) error {
	return c.Do(ctx, http.MethodDelete, tenantPath(id, "pairing-links", link), nil, nil)
}

// PictureURL is where the QR code can be got as a PNG, with the admin key.
func (c *Client) PictureURL(id string) string {
	return strings.TrimSuffix(c.base.String(), "/") + tenantPath(id, "session", "pair", "qr.png")
}

// CancelPairing ends a pairing.
func (c *Client) CancelPairing(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, tenantPath(id, "session", "pair"), nil, nil)
}

// Bounds of following a pairing.
const (
	silence   = time.Minute // the node sends a comment every 15 s
	reopenIn  = time.Second
	mostEnds  = 5
	maxRecord = 1 << 20
)

// FollowPairing calls show with the pairing as it is and after each change, until it has succeeded or failed, which is what it
// returns. The stream is opened again when it breaks.
func (c *Client) FollowPairing(ctx context.Context, id string, show func(api.PairingInfo)) (api.PairingInfo, error) {
	for ends := 0; ; {
		last, err := c.watch(ctx, id, func(p api.PairingInfo) {
			ends = 0
			show(p)
		})
		if last.Phase == session.PairingSucceeded || last.Phase == session.PairingFailed {
			return last, nil
		}
		if _, answered := errors.AsType[*RefusalError](err); answered || ctx.Err() != nil {
			return last, err
		}
		if ends++; ends >= mostEnds {
			return last, fmt.Errorf("the node's answers break off: %w", err)
		}
		again := time.NewTimer(reopenIn)
		select {
		case <-ctx.Done():
			again.Stop()
			return last, context.Cause(ctx)
		case <-again.C:
		}
	}
}

var (
	errSilent = errors.New("the node is silent")
	errBroken = errors.New("the event stream ended")
)

func (c *Client) watch(ctx context.Context, id string, show func(api.PairingInfo)) (last api.PairingInfo, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dead := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer dead.Stop()
	resp, err := c.call(ctx, http.MethodGet, tenantPath(id, "session", "pair", "events"), nil)
	if err != nil {
		return last, err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxRecord)
	for lines.Scan() {
		dead.Reset(silence)
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var p api.PairingInfo
		if err = json.Unmarshal([]byte(data), &p); err != nil {
			return last, fmt.Errorf("read the node's event: %w", err)
		}
		last = p
		show(p)
	}
	if ctx.Err() != nil {
		return last, context.Cause(ctx)
	}
	return last, errors.Join(errBroken, lines.Err())
}
