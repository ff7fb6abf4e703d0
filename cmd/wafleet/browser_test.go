package main

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/programtest"
)

// browser starts a Chromium of its own, which ends with the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := installed(t, "chromium")
	ctx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()),
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless,
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("no-proxy-server", true), chromedp.Flag("lang", "en-GB"),
	)
	t.Cleanup(func() {
		cancel()
		chromedp.FromContext(ctx).Allocator.Wait()
	})
	ctx, stop := chromedp.NewContext(ctx)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx); stop() })
	require.NoError(t, chromedp.Run(ctx))
	return ctx
}

// device is what a page is looked at with.
type device struct {
	name          string
	width, height int64
	phone, dark   bool
	language      string
}

const phoneAgent = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36"

// tab is a page that somebody looks at. It notes what the page asks for and what goes wrong in it.
type tab struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // chromedp keeps the browser's page in it
	device device

	mu       sync.Mutex
	asked    []string // addresses
	failures []string // exceptions, and what the policy forbade
}

// tab opens an empty page.
func (d device) tab(t *testing.T, in context.Context) *tab { //nolint:revive // the test comes first
	t.Helper()
	ctx, cancel := chromedp.NewContext(in)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, device: d}
	chromedp.ListenTarget(ctx, b.note)
	scheme, scale := "light", 1.0
	if d.dark {
		scheme = "dark"
	}
	// Of several tabs all are to be as if somebody looked at them.
	actions := []chromedp.Action{network.Enable(), log.Enable(), emulation.SetFocusEmulationEnabled(true), emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
	})}
	agent := emulation.SetUserAgentOverride("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36")
	if d.phone {
		agent, scale = emulation.SetUserAgentOverride(phoneAgent), 2
	}
	if d.language != "" {
		agent = agent.WithAcceptLanguage(d.language)
	}
	actions = append(actions, agent, emulation.SetDeviceMetricsOverride(d.width, d.height, scale, d.phone))
	require.NoError(t, chromedp.Run(ctx, actions...))
	return b
}

func (b *tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.asked = append(b.asked, e.Request.URL)
	case *runtime.EventExceptionThrown:
		b.failures = append(b.failures, e.ExceptionDetails.Error())
	case *log.EventEntryAdded:
		if e.Entry.Source == log.SourceSecurity || strings.Contains(e.Entry.Text, "Content Security Policy") {
			b.failures = append(b.failures, e.Entry.Text)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError {
			b.failures = append(b.failures, fmt.Sprint(e.Args))
		}
	case *page.EventJavascriptDialogOpening:
		b.failures = append(b.failures, e.Message)
	}
}

func (b *tab) do(actions ...chromedp.Action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	require.NoError(b.t, chromedp.Run(ctx, actions...))
}

func (b *tab) open(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
}

// shows waits until the page is at that screen.
func (b *tab) shows(name string) {
	b.t.Helper()
	var now string
	err := chromedp.Run(b.ctx, chromedp.Poll(fmt.Sprintf(`document.querySelector("main") && document.querySelector("main").dataset.name === %q`, name),
		nil, chromedp.WithPollingTimeout(patience), chromedp.WithPollingInterval(50*time.Millisecond)))
	_ = chromedp.Run(b.ctx, chromedp.OuterHTML("main", &now))
	require.NoError(b.t, err, "the page does not show %q but %s", name, programtest.Tail(now))
}

// text is what an element says.
func (b *tab) text(selector string) string {
	b.t.Helper()
	var text string
	b.do(chromedp.Text(selector, &text, chromedp.ByQuery))
	return strings.TrimSpace(text)
}

// is waits until an expression holds in the page.
func (b *tab) is(expression string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Run(b.ctx, chromedp.Poll(expression, nil, chromedp.WithPollingTimeout(patience), chromedp.WithPollingInterval(50*time.Millisecond))), expression)
}

// picture is what the page looks like. WAFLEET_SCREENSHOTS names a folder in which pictures are kept.
func (b *tab) picture(name string) []byte {
	b.t.Helper()
	var shot []byte
	b.do(page.BringToFront(), chromedp.FullScreenshot(&shot, 100)) // what is behind is not painted
	if dir := os.Getenv("WAFLEET_SCREENSHOTS"); dir != "" {
		require.NoError(b.t, os.WriteFile(filepath.Join(dir, b.device.name+"-"+name+".png"), shot, 0o600))
	}
	return shot
}

// scans reads the QR code from a picture of the page, as a phone does.
func (b *tab) scans() string {
	b.t.Helper()
	b.picture("qr")
	var raw []byte
	b.do(chromedp.ScreenshotScale(".qr", 2, &raw, chromedp.ByQuery)) // as near as somebody holds a phone to it
	shot, err := png.Decode(bytes.NewReader(raw))
	require.NoError(b.t, err)
	bitmap, err := gozxing.NewBinaryBitmapFromImage(shot)
	require.NoError(b.t, err)
	found, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_TRY_HARDER: true})
	require.NoError(b.t, err)
	return found.GetText()
}

// requests are the addresses that the page asked for.
func (b *tab) requests() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked)
}

// sound checks what every screen must keep to: nothing but this server, no fault, nothing wider than the screen, texts that can be read.
func (b *tab) sound(base string) {
	b.t.Helper()
	own, err := url.Parse(base)
	require.NoError(b.t, err)
	b.mu.Lock()
	failures := slices.Clone(b.failures)
	b.mu.Unlock()
	for _, address := range b.requests() {
		u, err := url.Parse(address)
		require.NoError(b.t, err)
		require.Equal(b.t, own.Host, u.Host, "a request to another host: %s", address)
		require.Equal(b.t, own.Scheme, u.Scheme, address)
	}
	require.Empty(b.t, failures)
	var wide bool
	b.do(chromedp.Evaluate(`document.documentElement.scrollWidth > innerWidth`, &wide))
	require.False(b.t, wide, "the page is wider than the screen")
	var pale []string
	b.do(chromedp.Evaluate(contrast, &pale))
	require.Empty(b.t, pale, "contrast of text below 4.5:1")
	var unnamed []string
	b.do(chromedp.Evaluate(`[...document.querySelectorAll("button, input, a, summary")].filter(e => e.checkVisibility() &&
		!(e.textContent.trim() || e.getAttribute("aria-label") || (e.labels && e.labels.length))).map(e => e.outerHTML)`, &unnamed))
	require.Empty(b.t, unnamed, "nothing says what these are for")
}

// contrast lists the texts that stand out too little from what is behind them (WCAG 2.2, 1.4.3).
const contrast = `(() => {
	const parse = c => (c.match(/[\d.]+/g) || []).map(Number);
	const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = e => {
		for (; e; e = e.parentElement) {
			const c = parse(getComputedStyle(e).backgroundColor);
			if (c.length < 4 || c[3] > 0) return c;
		}
		return [255, 255, 255];
	};
	const pale = [];
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()) continue;
		const a = light(parse(getComputedStyle(e).color)), b = light(behind(e));
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) pale.push(ratio.toFixed(2) + " " + e.textContent.trim());
	}
	return pale;
})()`
