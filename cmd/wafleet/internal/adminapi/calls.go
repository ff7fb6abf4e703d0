package adminapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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

// Tenants returns all tenants.
func (c *Client) Tenants(ctx context.Context) (all []tenant.Tenant, err error) {
	query := url.Values{"limit": {"1000"}}
	for {
		var page api.TenantList
		if err = c.Do(ctx, http.MethodGet, "/admin/tenants?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Tenants...)
		if page.NextCursor == "" {
			return all, nil
		}
		query.Set("cursor", page.NextCursor)
	}
}

// Tenant returns one tenant.
func (c *Client) Tenant(ctx context.Context, id string) (t tenant.Tenant, err error) {
	err = c.Do(ctx, http.MethodGet, tenantPath(id), nil, &t)
	return t, err
}

// DeleteTenant deletes a tenant with all its data.
func (c *Client) DeleteTenant(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, tenantPath(id), nil, nil)
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
