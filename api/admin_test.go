package api_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"image/png"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"rsc.io/qr"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

func TestTenantsAreProvisioned(t *testing.T) {
	t.Parallel()
	n := start(t)
	require.JSONEq(t, `{"tenants":[]}`, string(n.admin(http.MethodGet, "/admin/tenants", nil).is(200).body))
	var first, again, other tenant.Tenant
	n.admin(http.MethodPost, "/admin/tenants", `{"name":"Padaria","externalId":"c1"}`).is(201).into(&first)
	n.admin(http.MethodPost, "/admin/tenants", `{"name":"Another name","externalId":"c1"}`).is(200).into(&again)
	require.Equal(t, first, again)
	n.admin(http.MethodPost, "/admin/tenants", `{"name":"Padaria"}`).is(201).into(&other)
	require.NotEqual(t, first.ID, other.ID)
	n.admin(http.MethodGet, "/admin/tenants/"+string(first.ID), nil).is(200).into(&again)
	require.Equal(t, first, again)

	seen := map[tenant.ID]bool{}
	path := "/admin/tenants?limit=1"
	for next := path; ; {
		var page struct {
			Tenants    []tenant.Tenant
			NextCursor string
		}
		n.admin(http.MethodGet, next, nil).is(200).into(&page)
		require.Len(t, page.Tenants, 1)
		seen[page.Tenants[0].ID] = true
		if page.NextCursor == "" {
			break
		}
		next = path + "&cursor=" + url.QueryEscape(page.NextCursor)
	}
	require.Equal(t, map[tenant.ID]bool{first.ID: true, other.ID: true}, seen)
}

func TestADeletedTenantLeavesNothing(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	a.receive(ana, "M1", "hello")
	a.get("/api/chats").is(200)
	sock := a.dial("/ws", nil)
	sock.next()
	n.admin(http.MethodDelete, "/admin/tenants/"+string(a.id), nil).is(200)
	a.get("/api/chats").problem(403, "Invalid API key", "INVALID_API_KEY")
	sock.closedWith(1008)
	require.Equal(t, []tenant.ID{a.id}, n.fleet.removed)
	n.admin(http.MethodGet, "/admin/tenants/"+string(a.id), nil).problem(404, "TENANT_NOT_FOUND", "TENANT_NOT_FOUND")
	n.admin(http.MethodDelete, "/admin/tenants/"+string(a.id), nil).problem(404, "TENANT_NOT_FOUND", "TENANT_NOT_FOUND")
	require.NotContains(t, string(n.call(http.MethodGet, "/metrics", nil).is(200).body), string(a.id))
}

func TestKeysAreShownOnce(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	path := fmt.Sprintf("/admin/tenants/%s/keys", a.id)
	var made struct {
		tenant.Key

		APIKey string
	}
	n.admin(http.MethodPost, path, `{"label":"production"}`).is(201).into(&made)
	require.Regexp(t, `^wf_[a-z2-7]{18}_[a-z2-7]{40}$`, made.APIKey)
	n.call(http.MethodGet, "/api/chats", nil, "X-API-Key", made.APIKey).is(200)

	listed := n.admin(http.MethodGet, path, nil).is(200)
	require.NotContains(t, string(listed.body), made.APIKey[22:])
	require.NotContains(t, string(listed.body), "hash")
	var list struct{ Keys []tenant.Key }
	listed.into(&list)
	require.Len(t, list.Keys, 2)

	n.admin(http.MethodDelete, path+"/"+string(made.ID), nil).is(204)
	n.admin(http.MethodDelete, path+"/"+string(made.ID), nil).is(204)
	n.call(http.MethodGet, "/api/chats", nil, "X-API-Key", made.APIKey).problem(403, "Invalid API key", "INVALID_API_KEY")
	a.get("/api/chats").is(200)

	b := n.account()
	n.admin(http.MethodDelete, path+"/"+string(b.keyID), nil).problem(404, "KEY_NOT_FOUND", "KEY_NOT_FOUND")
	b.get("/api/chats").is(200)
	n.admin(http.MethodPost, path, `{"expiresAt":"2020-01-01T00:00:00Z"}`).problem(422, "Validation error", "VALIDATION_ERROR")
	n.admin(http.MethodPost, "/admin/tenants/aaaaaaaaaaaa/keys", `{}`).problem(404, "TENANT_NOT_FOUND", "TENANT_NOT_FOUND")
	n.admin(http.MethodGet, "/admin/tenants/aaaaaaaaaaaa/keys", nil).problem(404, "TENANT_NOT_FOUND", "TENANT_NOT_FOUND")
}

func TestSessionsAreSteered(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	path := fmt.Sprintf("/admin/tenants/%s/session", a.id)
	for action, state := range map[string]session.State{"disconnect": session.Stopped, "connect": session.Online, "logout": session.LoggedOut} {
		var info struct {
			State session.State
			Ready bool
		}
		n.admin(http.MethodPost, path+"/"+action, nil).is(200).into(&info)
		require.Equal(t, state, info.State)
		n.admin(http.MethodGet, path, nil).is(200).into(&info)
		require.Equal(t, state, info.State)
		require.Equal(t, state == session.Online, info.Ready)
	}
	n.fleet.set(func(f *fleet) { f.fail = session.ErrNotPaired })
	n.admin(http.MethodPost, path+"/connect", nil).problem(409, "NOT_PAIRED", "NOT_PAIRED")
	n.fleet.set(func(f *fleet) { f.fail = session.ErrAlreadyPaired })
	n.admin(http.MethodPost, path+"/pair", `{"method":"qr"}`).problem(409, "ALREADY_PAIRED", "ALREADY_PAIRED")
	n.fleet.set(func(f *fleet) { f.fail = session.ErrPairingActive })
	n.admin(http.MethodPost, path+"/pair", `{"method":"qr"}`).problem(409, "PAIRING_ACTIVE", "PAIRING_ACTIVE")
	n.fleet.set(func(f *fleet) { f.fail = session.ErrInvalidPhone })
	n.admin(http.MethodPost, path+"/pair", `{"method":"code","phone":"551199"}`).problem(422, "Validation error", "VALIDATION_ERROR")
	n.admin(http.MethodGet, "/admin/tenants/aaaaaaaaaaaa/session", nil).problem(404, "TENANT_NOT_FOUND", "TENANT_NOT_FOUND")
	n.admin(http.MethodGet, "/admin/tenants/NONSENSE/session", nil).problem(422, "Validation error", "VALIDATION_ERROR")
}

func TestPairing(t *testing.T) {
	t.Parallel()
	n := start(t)
	a := n.account()
	path := fmt.Sprintf("/admin/tenants/%s/session/pair", a.id)
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		n.admin(method, path, nil).problem(404, "NO_PAIRING", "NO_PAIRING")
	}
	n.admin(http.MethodGet, path+"/qr.png", nil).problem(404, "NO_PAIRING", "NO_PAIRING")
	for _, bad := range []string{
		`{}`, `{"method":"passkey"}`, `{"method":"code"}`, `{"method":"qr","phone":"5511999990001"}`,
		`{"method":"code","phone":"11 99"}`, `{"method":"code","phone":"x"}`,
	} {
		n.admin(http.MethodPost, path, bad).problem(422, "Validation error", "VALIDATION_ERROR")
	}
	var info struct{ Phase, QR, Code string }
	n.admin(http.MethodPost, path, `{"method":"qr"}`).is(200).into(&info)
	require.Equal(t, "waiting", info.Phase)
	require.NotEmpty(t, info.QR)

	picture := n.admin(http.MethodGet, path+"/qr.png", nil).is(200)
	require.Equal(t, "image/png", picture.header.Get("Content-Type"))
	img, err := png.Decode(bytes.NewReader(picture.body))
	require.NoError(t, err)
	code, err := qr.Encode(info.QR, qr.L)
	require.NoError(t, err)
	require.Equal(t, (code.Size+8)*8, img.Bounds().Dx())

	drawing := n.admin(http.MethodGet, path+"/qr.svg", nil).is(200)
	require.Equal(t, "image/svg+xml", drawing.header.Get("Content-Type"))
	requireSameModules(t, code, drawing.body)

	n.admin(http.MethodDelete, path, nil).is(204)
	n.admin(http.MethodPost, path, `{"method":"code","phone":"+5511999990001"}`).is(200).into(&info)
	require.Equal(t, "ABCD-5511", info.Code)
	n.admin(http.MethodGet, path+"/qr.svg", nil).problem(404, "NO_PAIRING", "NO_PAIRING")
}

// requireSameModules paints the path of an SVG and compares it with the code, module by module.
func requireSameModules(t *testing.T, code *qr.Code, svg []byte) {
	t.Helper()
	var parsed struct {
		Paths []struct {
			D string `xml:"d,attr"`
		} `xml:"path"`
	}
	require.NoError(t, xml.Unmarshal(svg, &parsed))
	require.Len(t, parsed.Paths, 2)
	black := map[[2]int]bool{}
	for run := range strings.SplitSeq(strings.TrimSuffix(parsed.Paths[1].D, "z"), "z") {
		var x, y, length, back int
		_, err := fmt.Sscanf(run, "M%d %dh%dv1h-%d", &x, &y, &length, &back)
		require.NoError(t, err, run)
		require.Equal(t, length, back)
		for i := range length {
			black[[2]int{x + i - 4, y - 4}] = true
		}
	}
	for y := -4; y < code.Size+4; y++ {
		for x := -4; x < code.Size+4; x++ {
			require.Equal(t, code.Black(x, y), black[[2]int{x, y}], "module %d,%d", x, y)
		}
	}
}

type pairingEvent struct {
	Phase string `json:"phase"`
	QR    string `json:"qr"`
}

func TestAPairingIsFollowedToItsEnd(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *api.Config) { c.TenantLimits = tenant.NewLimitBook(c.Store, tenant.Limits{EventStreams: 1}) })
	a := n.account()
	a.dial("/ws", nil).next() // all that the tenant may have open: the operator's are bounded by themselves
	path := fmt.Sprintf("/admin/tenants/%s/session/pair", a.id)
	n.admin(http.MethodGet, path+"/events", nil).problem(404, "NO_PAIRING", "NO_PAIRING")
	n.admin(http.MethodPost, path, `{"method":"qr"}`).is(200)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url+path+"/events", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+adminKey)
	res, err := (&http.Client{}).Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	lines := bufio.NewScanner(res.Body)
	event := func() (view pairingEvent) {
		t.Helper()
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				require.NoError(t, json.Unmarshal([]byte(data), &view))
				return view
			}
		}
		require.Fail(t, "the stream ended", lines.Err())
		return view
	}
	require.Equal(t, "waiting", event().Phase)
	a.get("/api/events/stream").problem(429, "TOO_MANY_STREAMS", "TOO_MANY_STREAMS")
	for i, view := range []session.PairingView{
		{Phase: session.PairingWaiting, QR: "2@next", QRExpires: time.Now()}, {Phase: session.PairingFinishing}, {Phase: session.PairingSucceeded},
	} {
		view.Version = i + 2
		n.fleet.set(func(f *fleet) { f.pairing = &view })
		got := event()
		require.Equal(t, string(view.Phase), got.Phase)
		require.Equal(t, view.QR, got.QR)
	}
	for lines.Scan() {
		require.Empty(t, lines.Text())
	}
	require.NoError(t, lines.Err(), "the stream ends with the pairing")
}
