package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
)

var (
	desktop     = device{name: "desktop", width: 1280, height: 860}
	desktopDark = device{name: "desktop-dark", width: 1280, height: 860, dark: true}
	smallPhone  = device{name: "phone", width: 360, height: 740, phone: true}
	smallDark   = device{name: "phone-dark", width: 360, height: 740, phone: true, dark: true}
)

const testLogo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><circle cx="20" cy="20" r="18" fill="#d9480f"/></svg>`

// newPairingWorld is a node with a brand of its own.
func newPairingWorld(t *testing.T, pace session.Pace) *world {
	t.Helper()
	logo := filepath.Join(t.TempDir(), "logo")
	require.NoError(t, os.WriteFile(logo, []byte(testLogo), 0o600))
	return newWorldInside(t, pace, api.Limits{JoinBurst: 10_000}, map[string]string{
		"WAFLEET_BRAND_NAME": "Mensageria <Exemplo>", "WAFLEET_BRAND_LOGO": logo,
	})
}

// pairingLink is a link as its operator gets it.
type pairingLink struct {
	ID, URL, State string
	UsedAt         *time.Time
}

func (c *customer) pairingLink(body string) pairingLink {
	c.w.t.Helper()
	var made pairingLink
	c.w.admin.call(http.StatusCreated, http.MethodPost, "/admin/tenants/"+c.id+"/pairing-links", body).into(c.w.t, &made)
	return made
}

func (c *customer) linkState(id string) string {
	c.w.t.Helper()
	var list struct{ PairingLinks []pairingLink }
	c.w.admin.call(http.StatusOK, http.MethodGet, "/admin/tenants/"+c.id+"/pairing-links", "").into(c.w.t, &list)
	for _, l := range list.PairingLinks {
		if l.ID == id {
			return l.State
		}
	}
	require.Fail(c.w.t, "no link "+id)
	return ""
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// phoneScans gives the phone a QR code over the simulator's own API.
func (p *person) phoneScans(qr string) {
	p.w.t.Helper()
	body, err := json.Marshal(map[string]string{"qr": qr})
	require.NoError(p.w.t, err)
	newClient(p.w.t, p.w.sim.ControlURL(), nil).call(http.StatusOK, http.MethodPost, "/accounts/"+p.Number()+"/scan", string(body))
}

func (p *person) phoneTypes(code string) {
	p.w.t.Helper()
	newClient(p.w.t, p.w.sim.ControlURL(), nil).call(http.StatusOK, http.MethodPost, "/accounts/"+p.Number()+"/link", fmt.Sprintf(`{"code":%q}`, code))
}

func TestAShopkeeperLinksByQRCode(t *testing.T) {
	t.Parallel()
	w := newPairingWorld(t, session.Pace{QRFirst: 3 * time.Second, QRNext: 6 * time.Second})
	chromium := browser(t)
	c := w.unpaired("Shop")
	link := c.pairingLink(`{"returnUrl":"https://shop.example.com/linked?a=1&b=2"}`)
	a, b := desktop.tab(t, chromium), desktopDark.tab(t, chromium)
	for _, page := range []*tab{a, b} {
		page.open(link.URL)
		page.shows("choose")
		page.picture("choose")
		page.sound(w.base)
	}
	require.Equal(t, "Mensageria <Exemplo>", a.text("header span"))
	require.Equal(t, "active", c.linkState(link.ID), "opening a page does nothing")

	a.do(chromedp.Click(`button[value=qr]`))
	for _, page := range []*tab{a, b} { // whichever page asked
		page.shows("qr")
	}
	first := a.scans()
	a.do(chromedp.Click(`summary`), chromedp.SendKeys(`#phone`, "+55 11"))
	b.is(fmt.Sprintf(`(window.first = window.first || document.querySelector(".qr").innerHTML) !== document.querySelector(".qr").innerHTML && %t`, true))
	second := b.scans()
	require.NotEqual(t, first, second, "WhatsApp renews the code")
	var typed string
	a.do(chromedp.Value(`#phone`, &typed))
	require.Equal(t, "+55 11", typed, "what is typed outlives the code")
	for _, page := range []*tab{a, b} {
		page.sound(w.base)
	}
	c.phoneScans(second)
	for _, page := range []*tab{a, b} {
		page.shows("linked")
		page.picture("linked")
		page.sound(w.base)
	}
	c.online()
	require.Equal(t, "used", c.linkState(link.ID))
	var href string
	a.do(chromedp.AttributeValue(`main a.button`, "href", &href, nil))
	require.Equal(t, "https://shop.example.com/linked?a=1&b=2", href)
	require.True(t, strings.HasPrefix(a.text("#say"), "Your WhatsApp is linked"), "a screen reader hears of it")

	// Whoever opens it later learns that it is used up.
	later := smallPhone.tab(t, chromium)
	w.admin.call(http.StatusOK, http.MethodPost, "/admin/tenants/"+c.id+"/session/logout", "")
	later.open(link.URL)
	later.shows("ended:used")
	later.picture("used")
	later.sound(w.base)
}

func TestAShopkeeperLinksByCodeOnAPhone(t *testing.T) {
	t.Parallel()
	w := newPairingWorld(t, session.Pace{})
	chromium := browser(t)
	c := w.unpaired("Shop")
	link := c.pairingLink(`{}`)
	p := smallPhone.tab(t, chromium)
	p.open(link.URL)
	p.shows("choose")
	p.picture("choose")
	p.sound(w.base)
	p.do(chromedp.SendKeys(`#phone`, "12"), chromedp.Click(`button[value=code]`))
	p.shows("choose:phone_not_accepted")
	p.picture("wrong-number")
	p.sound(w.base)
	require.Contains(t, p.text("#phone-wrong"), "not a whole phone number")
	p.do(chromedp.Evaluate(`document.querySelector("#phone").value = ""`, nil), chromedp.SendKeys(`#phone`, "+55 (11) 99999-9999"), chromedp.Click(`button[value=code]`))
	p.is(`document.querySelector("#phone-wrong")?.textContent.includes("does not know")`)
	typed := "+" + c.Number()[:2] + " " + c.Number()[2:4] + " " + c.Number()[4:]
	p.do(chromedp.Evaluate(`document.querySelector("#phone").value = ""`, nil), chromedp.SendKeys(`#phone`, typed), chromedp.Click(`button[value=code]`))
	p.shows("code")
	p.picture("code")
	p.sound(w.base)
	require.Contains(t, p.text(".code-box .hint"), c.Number()[len(c.Number())-4:])
	code := p.text(".code")
	require.Regexp(t, `^[0-9A-Z]{4}-[0-9A-Z]{4}$`, code)

	// There and back: the QR code, and another code.
	p.do(chromedp.Click(`button[value=qr]`))
	p.shows("qr")
	p.picture("qr")
	p.sound(w.base)
	p.do(chromedp.Click(`summary`), chromedp.SendKeys(`#phone`, typed), chromedp.Click(`button[value=code]`))
	p.shows("code")
	require.NotEqual(t, code, p.text(".code"))
	c.phoneTypes(p.text(".code"))
	p.shows("linked")
	p.picture("linked")
	p.sound(w.base)
	c.online()
	require.Equal(t, "used", c.linkState(link.ID))
}

func TestAShopkeeperIsToldWhyItDoesNotWork(t *testing.T) {
	t.Parallel()
	w := newPairingWorld(t, session.Pace{PairTimeout: 20 * time.Second})
	chromium := browser(t)
	c := w.unpaired("Shop")
	p := smallDark.tab(t, chromium)

	// A passkey, whichever way.
	link := c.pairingLink(fmt.Sprintf(`{"phone":"+%s"}`, c.Number()))
	require.NoError(t, w.sim.Relay().Fault(relay.Fault{Kind: relay.FaultPasskey, Phone: c.Number(), Count: 2}))
	p.open(link.URL)
	p.shows("choose")
	require.NotContains(t, p.text("main"), c.Number(), "strangers may open the page")
	p.picture("choose-given")
	p.do(chromedp.Click(`button[value=code]`))
	p.shows("code")
	p.picture("code")
	p.sound(w.base)
	_, err := c.Link(within(t), p.text(".code"))
	require.Error(t, err)
	p.shows("failed:passkey_required")
	p.picture("passkey")
	p.sound(w.base)
	require.Equal(t, "active", c.linkState(link.ID), "it failed: the link can be used again")
	var pairing struct{ Phase, Reason, Message, Action string }
	w.admin.call(http.StatusOK, http.MethodGet, "/admin/tenants/"+c.id+"/session/pair", "").into(t, &pairing)
	require.Equal(t, "passkey_required", pairing.Reason, "the operator is told, too")
	require.NotEmpty(t, pairing.Action)

	// Nobody confirms in time; then it is tried again, and cancelled.
	p.do(chromedp.Click(`button[value=again]`))
	p.shows("code")
	p.shows("failed:pairing_timeout")
	p.picture("timeout")
	p.sound(w.base)
	p.do(chromedp.Click(`button[value=cancel]`))
	p.shows("choose")
	p.do(chromedp.Click(`button[value=qr]`))
	p.shows("qr")
	p.picture("qr")
	p.sound(w.base)
	p.do(chromedp.Click(`button[value=cancel]`))
	p.shows("choose")

	// The operator takes the link away while its page is open, and a pairing of it under way.
	p.do(chromedp.Click(`button[value=qr]`))
	p.shows("qr")
	w.admin.call(http.StatusNoContent, http.MethodDelete, "/admin/tenants/"+c.id+"/pairing-links/"+link.ID, "")
	p.shows("ended:revoked")
	p.picture("revoked")
	p.sound(w.base)
	w.admin.call(http.StatusOK, http.MethodGet, "/admin/tenants/"+c.id+"/session/pair", "").into(t, &pairing)
	require.Equal(t, "pairing_cancelled", pairing.Reason)

	// WhatsApp cannot be reached.
	link = c.pairingLink(`{}`)
	require.NoError(t, w.sim.Relay().Fault(relay.Fault{Kind: relay.FaultConnectFailure, Code: 503, Count: 1}))
	p.open(link.URL)
	p.shows("choose")
	p.do(chromedp.Click(`button[value=qr]`))
	p.shows("failed:pairing_connect_failed")
	p.picture("unreachable")
	p.sound(w.base)

	// An account is linked already; a link that nobody made, or of another secret.
	other := w.customer("Other")
	p.open(other.pairingLink(`{}`).URL)
	p.shows("already")
	p.picture("already")
	p.sound(w.base)
	for _, address := range []string{w.base + "/pair/nonsense", link.URL[:len(link.URL)-1], w.base + "/pair/" + tenant.NewPairingToken(tenant.ID(c.id)).Reveal()} {
		p.open(address)
		p.shows("ended:unknown")
	}
	p.picture("unknown")
	p.sound(w.base)
}

// seen is the screen that the page is at, or nothing while it is being replaced.
func (b *tab) seen() (name string) {
	_ = chromedp.Run(b.ctx, chromedp.Evaluate(`document.querySelector("main")?.dataset.name ?? ""`, &name))
	return name
}

// expire is the time passing until a link has expired: no link lives for less than a minute.
func (w *world) expire(link string) {
	w.t.Helper()
	path, _ := strings.CutPrefix(w.url, "sqlite:")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, db.Close()) }()
	done, err := db.ExecContext(w.t.Context(), "UPDATE pairing_link SET expires_at=$1 WHERE link_id=$2", time.Now().Add(-time.Minute).UnixMilli(), link)
	require.NoError(w.t, err)
	rows, err := done.RowsAffected()
	require.NoError(w.t, err)
	require.EqualValues(w.t, 1, rows)
}

func TestAnExpiredLinkSaysSo(t *testing.T) {
	t.Parallel()
	w := newPairingWorld(t, session.Pace{})
	chromium := browser(t)
	c := w.unpaired("Shop")
	link := c.pairingLink(`{}`)
	p := smallPhone.tab(t, chromium)
	p.open(link.URL)
	p.shows("choose")
	w.expire(link.ID)
	p.shows("ended:expired") // by itself
	p.picture("expired")
	p.sound(w.base)
	require.Equal(t, "expired", c.linkState(link.ID))
}

// TestAShopkeeperLinksWithoutJavaScript by forms, and by a page that comes again by itself.
func TestAShopkeeperLinksWithoutJavaScript(t *testing.T) {
	t.Parallel()
	w := newPairingWorld(t, session.Pace{})
	chromium := browser(t)
	c := w.unpaired("Shop")
	link := c.pairingLink(`{}`)
	p := smallPhone.tab(t, chromium)
	p.do(emulation.SetScriptExecutionDisabled(true))
	at := func(name string) {
		t.Helper()
		until(t, "the page is at "+name, func() bool { return p.seen() == name })
	}
	p.open(link.URL)
	at("choose")
	p.picture("choose-without-script")
	require.Contains(t, p.text("body"), "JavaScript")
	p.do(chromedp.SendKeys(`#phone`, "12"), chromedp.Click(`button[value=code]`))
	at("choose:phone_not_accepted")
	require.Contains(t, p.text("#phone-wrong"), "not a whole phone number")
	p.do(chromedp.SetValue(`#phone`, "+"+c.Number()), chromedp.Click(`button[value=code]`))
	at("code") // the first screen may be that a code is coming
	p.picture("code-without-script")
	c.phoneTypes(p.text(".code"))
	at("linked")
	p.picture("linked-without-script")
	p.sound(w.base)
	c.online()

	// Who comes back with it gets no further, by a form neither.
	require.Equal(t, "used", c.linkState(link.ID))
	w.admin.call(http.StatusOK, http.MethodPost, "/admin/tenants/"+c.id+"/session/logout", "")
	p.open(link.URL)
	at("ended:used")
	form := newClient(t, link.URL, map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
	require.Contains(t, string(form.call(http.StatusGone, http.MethodPost, "", "do=qr").body), `data-name="ended:used"`)
	for _, asked := range p.requests() {
		require.NotContains(t, asked, "/events")
	}
}

// holding is a proxy that hands streams on once they have ended.
func holding(t *testing.T, node string) (address string, held *atomic.Int64) {
	t.Helper()
	target, err := url.Parse(node)
	require.NoError(t, err)
	held = &atomic.Int64{}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // net/http's own promise
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: transport,
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // pages that are closed
		ModifyResponse: func(resp *http.Response) error {
			if resp.Header.Get("Content-Type") == "text/event-stream" {
				held.Add(1)
				whole, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				resp.Body = io.NopCloser(bytes.NewReader(whole))
				return err
			}
			return nil
		},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	return server.URL, held
}

// TestAShopkeeperLinksBehindAProxyThatHoldsStreamsBack: the page finds out, and asks.
func TestAShopkeeperLinksBehindAProxyThatHoldsStreamsBack(t *testing.T) {
	t.Parallel()
	w := newPairingWorld(t, session.Pace{})
	chromium := browser(t)
	c := w.unpaired("Shop")
	address, held := holding(t, w.base)
	link := c.pairingLink(`{}`)
	p := desktop.tab(t, chromium)
	p.open(strings.Replace(link.URL, w.base, address, 1))
	p.shows("choose")
	p.do(chromedp.Click(`button[value=qr]`))
	p.shows("qr")
	until(t, "the page asks", func() bool {
		return slices.ContainsFunc(p.requests(), func(asked string) bool { return strings.HasSuffix(asked, "/state") })
	})
	require.Positive(t, held.Load())
	c.phoneScans(p.scans())
	p.shows("linked")
	p.sound(address)
	c.online()
}
