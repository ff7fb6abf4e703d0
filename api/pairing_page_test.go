package api_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// unpaired is an account without a device and a pairing link of it.
func unpaired(t *testing.T, body string, options ...config) (a *account, id, path string) {
	t.Helper()
	n := start(t, append([]config{func(c *api.Config) { c.Limits.JoinBurst = 1000 }}, options...)...)
	n.fleet.set(func(f *fleet) { f.view = session.View{State: session.Unpaired} })
	a = n.account()
	var made struct{ ID, URL string }
	n.admin(http.MethodPost, "/admin/tenants/"+string(a.id)+"/pairing-links", body).is(201).into(&made)
	u, err := url.Parse(made.URL)
	require.NoError(t, err)
	require.Regexp(t, `^/pair/wp_`+made.ID+`_[a-z2-7]{32}$`, u.Path)
	return a, made.ID, u.Path
}

// submit sends a form of the page's.
func (n *node) submit(path string, form url.Values, headers ...string) *answer {
	n.t.Helper()
	return n.call(http.MethodPost, path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

func TestPairingLinksAreGivenOut(t *testing.T) {
	t.Parallel()
	a, id, path := unpaired(t, `{"returnUrl":"https://shop.example.com/done","phone":"+5511999990001"}`, func(c *api.Config) { c.PublicURL = "https://wa.example.com/" })
	list := "/admin/tenants/" + string(a.id) + "/pairing-links"
	listed := a.admin(http.MethodGet, list, nil).is(200)
	require.NotContains(t, string(listed.body), path[len("/pair/wp_")+len(id):], "the secret is shown once")
	require.Contains(t, string(listed.body), `"state":"active","phone":"5511999990001"`)
	for _, bad := range []string{
		`{"returnUrl":"http://shop.example.com"}`, `{"returnUrl":"https://"}`, `{"returnUrl":"javascript:alert(1)"}`, `{"returnUrl":"https://a@b/"}`,
		`{"expiresInMs":59999}`, `{"expiresInMs":604800001}`, `{"phone":"0123"}`, `{"nonsense":1}`,
	} {
		a.admin(http.MethodPost, list, bad).problem(422, "Validation error", "VALIDATION_ERROR")
	}
	a.admin(http.MethodDelete, list+"/"+id, nil).is(204)
	a.admin(http.MethodDelete, list+"/"+string(tenant.NewPairingToken(a.id).ID()), nil).problem(404, "PAIRING_LINK_NOT_FOUND", "PAIRING_LINK_NOT_FOUND")
	for range tenant.MaxPairingLinks {
		a.admin(http.MethodPost, list, `{}`).is(201)
	}
	a.admin(http.MethodPost, list, `{}`).problem(409, "TOO_MANY_PAIRING_LINKS", "TOO_MANY_PAIRING_LINKS")
}

func TestThePairingPageGivesNothingAway(t *testing.T) {
	t.Parallel()
	a, _, path := unpaired(t, `{"phone":"+5511999990001"}`)
	page := a.call(http.MethodGet, path, nil).is(200)
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow", "Content-Type": "text/html; charset=utf-8",
		"X-Content-Type-Options": "nosniff", "Content-Language": "en",
	} {
		require.Equal(t, want, page.header.Get(name), name)
	}
	policy := page.header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.Contains(t, policy, "frame-ancestors 'none'")
	require.NotContains(t, policy, "unsafe")
	require.NotContains(t, string(page.body), "5511999990001")
	require.NotRegexp(t, `(?i) style=|<style|<script>| on[a-z]+=`, string(page.body))
	for _, match := range regexp.MustCompile(`(?:src|href)="(assets/[^"]+)"`).FindAllSubmatch(page.body, -1) {
		a.call(http.MethodGet, "/pair/"+string(match[1]), nil).is(200)
	}
	require.Contains(t, a.call(http.MethodGet, "/pair/assets/icon.svg", nil).is(200).header.Get("Content-Security-Policy"), "sandbox")
	_, _, err := a.fleet.current()
	require.ErrorIs(t, err, session.ErrNoPairing, "opening the page starts nothing")

	almost := path[len("/pair/"):len(path)-1] + map[bool]string{true: "6", false: "7"}[strings.HasSuffix(path, "7")]
	for _, bad := range []string{"nonsense", "wp_x", tenant.NewPairingToken(a.id).Reveal(), almost, tenant.NewPairingToken("aaaaaaaaaaaa").Reveal()} {
		got := a.call(http.MethodGet, "/pair/"+bad, nil).is(404)
		require.Contains(t, string(got.body), "This link does not work")
		a.call(http.MethodGet, "/pair/"+bad+"/events", nil).is(404)
		a.submit("/pair/"+bad, url.Values{"do": {"qr"}}).is(404)
	}
	require.NotContains(t, a.logs.String(), path[len("/pair/"):], "the token is in no log")
}

func TestThePairingPageWorksWithoutAScript(t *testing.T) {
	t.Parallel()
	a, _, path := unpaired(t, `{"returnUrl":"https://shop.example.com/done"}`)
	got := a.submit(path+"?lang=pt", url.Values{"do": {"code"}, "phone": {"12"}}).is(422)
	require.Contains(t, string(got.body), "Este número de telefone não está completo")
	require.Contains(t, string(got.body), `aria-invalid="true"`)
	got = a.submit(path+"?lang=pt", url.Values{"do": {"code"}, "phone": {"+55 (11) 99999-0001"}}).is(303)
	require.Equal(t, path[len("/pair/"):]+"?lang=pt", got.header.Get("Location"), "relative, for proxies that take a part of the path")
	page := string(a.call(http.MethodGet, path+"?lang=pt", nil).is(200).body)
	require.Contains(t, page, "ABCD-5511")
	require.Contains(t, page, `<noscript><meta http-equiv="refresh"`)
	require.Contains(t, page, "<b>0001</b>")
	a.submit(path, url.Values{"do": {"qr"}}).is(303)
	require.Contains(t, string(a.call(http.MethodGet, path, nil).is(200).body), "<svg")
	a.submit(path, url.Values{"do": {"cancel"}}).is(303)
	require.Contains(t, string(a.call(http.MethodGet, path, nil).is(200).body), "Link your WhatsApp")
	a.submit(path, url.Values{"do": {"nonsense"}}).is(303)
	a.submit(path, url.Values{"do": {strings.Repeat("x", 5000)}}).is(400)

	a.fleet.set(func(f *fleet) {
		f.view = session.View{State: session.Online, Device: "5511999990001:1@s.whatsapp.net"}
		view := *f.pairing
		view.Phase, view.Reason = session.PairingSucceeded, ""
		f.pairing = &view
	})
	require.Contains(t, string(a.call(http.MethodGet, path, nil).is(200).body), `href="https://shop.example.com/done"`)
}

func TestThePairingPageSpeaksLanguages(t *testing.T) {
	t.Parallel()
	a, id, path := unpaired(t, `{}`)
	for accept, title := range map[string]string{
		"pt-BR,pt;q=0.9,en;q=0.8": "Conecte seu WhatsApp", "es-419": "Vincula tu WhatsApp", "de": "Link your WhatsApp",
		"de, pt-PT;q=0.5": "Conecte seu WhatsApp", "": "Link your WhatsApp", ";;nonsense": "Link your WhatsApp", strings.Repeat("pt,", 1000): "Link your WhatsApp",
	} {
		require.Contains(t, string(a.call(http.MethodGet, path, nil, "Accept-Language", accept).is(200).body), title, accept)
	}
	a.admin(http.MethodDelete, "/admin/tenants/"+string(a.id)+"/pairing-links/"+id, nil).is(204)
	require.Contains(t, string(a.call(http.MethodGet, path+"?lang=es", nil).is(410).body), "Este enlace fue retirado")
}

func TestThePairingPageFollowsThePairing(t *testing.T) {
	t.Parallel()
	a, id, path := unpaired(t, `{}`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+path+"/events", nil)
	require.NoError(t, err)
	res, err := (&http.Client{}).Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	next := func(name string) {
		t.Helper()
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var u struct {
				Name string `json:"name"`
				HTML string `json:"html"`
				Say  string `json:"say"`
			}
			require.NoError(t, json.Unmarshal([]byte(data), &u))
			require.NotEmpty(t, u.Say)
			require.NotContains(t, u.HTML, "<html")
			require.Equal(t, name, u.Name)
			return
		}
		require.Fail(t, "the stream ended", "%v", lines.Err())
	}
	next("choose")
	state := a.submit(path, url.Values{"do": {"qr"}}, "Accept", "application/json").is(200)
	require.Contains(t, string(state.body), `"name":"qr"`)
	next("qr")
	link := tenant.PairingLinkID(id)
	for i, view := range []session.PairingView{
		{Phase: session.PairingFailed, Reason: "pairing_timeout"}, {Phase: session.PairingStarting}, {Phase: session.PairingFinishing}, {Phase: session.PairingSucceeded},
	} {
		view.Version, view.Links = i+10, []tenant.PairingLinkID{link}
		a.fleet.set(func(f *fleet) {
			f.pairing = &view
			if view.Phase == session.PairingSucceeded {
				f.view = session.View{State: session.Online, Device: "5511999990001:1@s.whatsapp.net"}
			}
		})
		next([]string{"failed:pairing_timeout", "starting", "finishing", "linked"}[i])
	}
	for lines.Scan() {
		require.Empty(t, lines.Text())
	}
	require.NoError(t, lines.Err(), "the stream ends with the pairing")
	require.Contains(t, string(a.call(http.MethodGet, path+"/state", nil).is(200).body), `"final":true`)
}

func TestThePairingPageIsBounded(t *testing.T) {
	t.Parallel()
	a, _, path := unpaired(t, `{}`)
	for range 8 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+path+"/events", nil)
		require.NoError(t, err)
		res, err := (&http.Client{}).Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		require.Equal(t, 200, res.StatusCode)
	}
	a.call(http.MethodGet, path+"/events", nil).is(429)
	a.get("/api/events?after=0").is(200) // the tenant's own streams have room
	limited := 0
	for range 8 {
		if a.submit(path, url.Values{"do": {"qr"}}, "Accept", "application/json").status == 429 {
			limited++
		}
	}
	require.Positive(t, limited, "each start is a connection to WhatsApp")

	b, _, path := unpaired(t, `{}`, func(c *api.Config) { c.Limits.JoinBurst, c.Limits.JoinEvery = 2, time.Hour })
	b.call(http.MethodGet, path, nil).is(200)
	b.call(http.MethodGet, path, nil).is(200)
	require.NotEmpty(t, b.call(http.MethodGet, path, nil).is(429).header.Get("Retry-After"))
}
