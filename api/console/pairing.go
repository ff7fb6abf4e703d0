package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// Sessions is what the page needs of the fleet.
type Sessions interface {
	// View returns a snapshot of the tenant's session. Returns tenant.ErrNotFound.
	View(ctx context.Context, id tenant.ID) (session.View, error)
	// Pairing returns the current or last pairing. Returns session.ErrNoPairing.
	Pairing(ctx context.Context, id tenant.ID) (session.PairingView, error)
	// PairingChanged waits until the pairing's Version is above version. Returns session.ErrNoPairing, session.ErrStopping, or the
	// context's error.
	PairingChanged(ctx context.Context, id tenant.ID, version int) (session.PairingView, error)
	// StartLinkPairing pairs through a link: see [session.Fleet.StartLinkPairing].
	StartLinkPairing(ctx context.Context, id tenant.ID, by session.LinkPairing) (session.PairingView, error)
	// EndLinkPairing takes a link out of the pairing that is under way, and ends that if it was the link's alone.
	EndLinkPairing(ctx context.Context, id tenant.ID, link tenant.PairingLinkID) error
}

// Config is what the page is made of. All but Brand is required.
type Config struct {
	Store    tenant.Store
	Sessions Sessions
	Brand    Brand
	// QR draws a QR code as SVG.
	QR func(text string) ([]byte, error)
	// Wait says how long the client of a request must wait before it may ask; zero: it may go on.
	Wait func(r *http.Request) time.Duration
	// Stream admits a stream of a tenant's, whose life is the context, until closed. Its error is not looked into.
	Stream func(ctx context.Context, id tenant.ID) (life context.Context, closed func(), err error)
	// Log is the logger of a request.
	Log func(ctx context.Context) *slog.Logger

	ReadTimeout   time.Duration // for looking
	ActionTimeout time.Duration // for starting a pairing
	BodyTimeout   time.Duration // for a form to arrive
	WriteTimeout  time.Duration // for the client to take an answer
}

// Bounds of the page.
const (
	prefix = "/pair/"
	// maxForm bounds a form, in bytes.
	maxForm = 4 << 10
	// startEvery and startBurst are a link's pace of starting: each start is a connection to WhatsApp, and each code a notification on
	// somebody's phone.
	startEvery, startBurst = 10 * time.Second, 6
	// maxStarters bounds the links whose pace is remembered; whichever is forgotten starts anew.
	maxStarters = 10_000
	// streamsPerLink bounds the pages of one link that are kept up to date by a stream; others ask again.
	streamsPerLink = 8
)

// Path is where the page of a pairing link is, below the address of the node.
func Path(token tenant.PairingToken) string { return prefix + token.Reveal() }

// Pairing serves the page of pairing links.
type Pairing struct {
	cfg    Config
	page   *template.Template
	texts  *dictionary
	assets []Asset

	mu      sync.Mutex
	starts  *lru.Cache[tenant.PairingLinkID, *rate.Limiter]
	streams map[tenant.PairingLinkID]int
}

// NewPairing makes the page.
func NewPairing(cfg Config) (*Pairing, error) {
	page, err := template.New("page.html").Funcs(template.FuncMap{"add": func(a, b int) int { return a + b }}).ParseFS(files, "page.html")
	if err != nil {
		return nil, fmt.Errorf("parse page: %w", err)
	}
	starts, err := lru.New[tenant.PairingLinkID, *rate.Limiter](maxStarters)
	if err != nil {
		return nil, fmt.Errorf("make pace: %w", err)
	}
	loaded, err := assets(&cfg.Brand)
	if err != nil {
		return nil, err
	}
	return &Pairing{
		cfg: cfg, page: page, texts: newDictionary(), assets: loaded, starts: starts, streams: make(map[tenant.PairingLinkID]int),
	}, nil
}

// Assets are the files that the page loads, for the server to serve.
func (p *Pairing) Assets() []Asset { return p.assets }

// Route is an address of the page's.
type Route struct {
	Pattern string // of [http.ServeMux]
	Name    string
	Serve   http.HandlerFunc
}

// Routes are all addresses but the assets'.
func (p *Pairing) Routes() []Route {
	return []Route{
		{"GET " + prefix + "{token}", "pairing-page", p.show},
		{"POST " + prefix + "{token}", "pairing-page-act", p.act},
		{"GET " + prefix + "{token}/state", "pairing-page-state", p.state},
		{"GET " + prefix + "{token}/events", "pairing-page-events", p.follow},
	}
}

// visit begins to answer a request: headers, pace, language. It has answered itself when it returns nil.
func (p *Pairing) visit(w http.ResponseWriter, r *http.Request) *visit {
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer") // whoever knows the address may link an account
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know the policy's word for it
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	v := &visit{mobile: strings.Contains(r.UserAgent(), "Mobi")}
	v.code, v.texts = p.texts.choose(r.URL.Query().Get("lang"), r.Header.Get("Accept-Language"))
	h.Set("Content-Language", v.code)
	if wait := p.cfg.Wait(r); wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		s := p.plain(v, stageBusy, v.texts.BusyTitle, v.texts.BusyText)
		s.Reason, s.Status = "busy", http.StatusTooManyRequests
		p.answer(w, r, v, s)
		return nil
	}
	token, err := tenant.ParsePairingToken(r.PathValue("token"))
	if err != nil {
		p.answer(w, r, v, p.ended(v, linkUnknown))
		return nil
	}
	v.token = token
	return v
}

// show shows the page. It does nothing else: messengers open links to make previews of them.
func (p *Pairing) show(w http.ResponseWriter, r *http.Request) {
	v := p.visit(w, r)
	if v == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), p.cfg.ReadTimeout)
	defer cancel()
	p.answer(w, r, v, p.look(ctx, v))
}

// state tells the script what to show, where it cannot follow.
func (p *Pairing) state(w http.ResponseWriter, r *http.Request) {
	r.Header.Set("Accept", jsonType)
	p.show(w, r)
}

const jsonType = "application/json"

// The actions, as the forms name them.
const (
	doQR     = "qr"
	doCode   = "code"
	doAgain  = "again" // as last time
	doCancel = "cancel"
)

// act does what a form asks for. There is no protection against forms of other sites: they would have to know the token, which is all
// that the page itself knows.
func (p *Pairing) act(w http.ResponseWriter, r *http.Request) {
	v := p.visit(w, r)
	if v == nil {
		return
	}
	form, err := p.form(w, r)
	if err != nil {
		s := p.plain(v, stageBusy, v.texts.UnavailableTitle, v.texts.UnavailableText)
		s.Reason, s.Status = "form", http.StatusBadRequest
		w.Header().Set("Connection", "close")
		p.answer(w, r, v, s)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(p.cfg.ActionTimeout + p.cfg.WriteTimeout))
	ctx, cancel := context.WithTimeout(r.Context(), p.cfg.ReadTimeout)
	s := p.look(ctx, v)
	cancel()
	if !s.final() && s.Stage != stageBusy {
		s = p.do(r.Context(), v, s, form)
	}
	if s.PhoneError == "" && s.Notice == "" && s.Status == http.StatusOK && !wantsJSON(r) {
		target := url.URL{Path: v.token.Reveal(), RawQuery: r.URL.RawQuery}
		w.Header().Set("Location", target.String()) // relative, as all addresses of the page
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	p.answer(w, r, v, s)
}

// form reads a form.
func (p *Pairing) form(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(p.cfg.BodyTimeout)) // recorders in tests know no deadlines
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	_ = control.SetReadDeadline(time.Time{})
	if err != nil {
		return nil, fmt.Errorf("read form: %w", err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("parse form: %w", err)
	}
	return form, nil
}

// do does what a form asks for, from the screen on which it stood or a later one, and says what to show now.
func (p *Pairing) do(ctx context.Context, v *visit, s *screen, form url.Values) *screen {
	id := v.token.ID().Tenant()
	by := session.LinkPairing{Link: v.link.ID}
	switch form.Get("do") {
	case doCancel:
		return p.leave(ctx, v)
	case doQR:
	case doCode:
		if by.Phone = v.link.Phone; by.Phone == "" {
			typed := form.Get("phone")
			if by.Phone = digits(typed); !wholeNumber.MatchString(by.Phone) {
				s = p.choose(v)
				s.PhoneError, s.PhoneTyped, s.Reason = v.texts.PhoneBad, typed[:min(len(typed), maxTyped)], reasonPhone
				s.Status = http.StatusUnprocessableEntity
				return s
			}
		}
	case doAgain:
		by.Phone = v.view.Phone
	default:
		return s
	}
	if s.Stage == stageAlready || s.Stage == stageFinishing || v.link.State(time.Now()) != tenant.LinkActive {
		return s
	}
	if !p.mayStart(v.link.ID) {
		s.Notice, s.Status = v.texts.TooOften, http.StatusTooManyRequests
		return s
	}
	starting, cancel := context.WithTimeout(ctx, p.cfg.ActionTimeout)
	defer cancel()
	_, err := p.cfg.Sessions.StartLinkPairing(starting, id, by)
	looking, done := context.WithTimeout(ctx, p.cfg.ReadTimeout)
	defer done()
	switch {
	case errors.Is(err, session.ErrSuspended):
		return p.ended(v, linkUnknown)
	case errors.Is(err, session.ErrStopping):
		f := v.texts.failure("node_stopping")
		s = p.plain(v, stageFailed, f.Title, f.Text)
		s.Reason, s.Status, s.Retry = "node_stopping", http.StatusServiceUnavailable, true
		return s
	case errors.Is(err, tenant.ErrUnavailable), errors.Is(err, tenant.ErrClosed):
		return p.unavailable(ctx, v, err)
	}
	return p.look(looking, v) // whatever else there was to say, the pairing says
}

// leave ends this link's part in a pairing.
func (p *Pairing) leave(ctx context.Context, v *visit) *screen {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.ReadTimeout)
	defer cancel()
	if err := p.cfg.Sessions.EndLinkPairing(ctx, v.token.ID().Tenant(), v.link.ID); err != nil && !errors.Is(err, session.ErrNoPairing) {
		return p.unavailable(ctx, v, err)
	}
	return p.look(ctx, v)
}

// mayStart keeps a link to its pace.
func (p *Pairing) mayStart(link tenant.PairingLinkID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	bucket, ok := p.starts.Get(link)
	if !ok {
		bucket = rate.NewLimiter(rate.Every(startEvery), startBurst)
		p.starts.Add(link, bucket)
	}
	return bucket.Allow()
}

// maxTyped bounds what is shown again of a number that is none, in bytes.
const maxTyped = 40

// wholeNumber is a phone number in international form.
var wholeNumber = regexp.MustCompile(`^[1-9][0-9]{6,14}$`)

// digits takes out of a phone number what people put in between. What is no number stays none.
func digits(typed string) string {
	typed = strings.NewReplacer(" ", "", "\u00a0", "", "-", "", "\u2011", "", "(", "", ")", "", ".", "", "/", "").Replace(strings.TrimSpace(typed))
	if international, ok := strings.CutPrefix(typed, "00"); ok {
		return international
	}
	return strings.TrimPrefix(typed, "+")
}

// wantsJSON says that the script asks.
func wantsJSON(r *http.Request) bool { return r.Header.Get("Accept") == jsonType }

// update is what the script gets.
type update struct {
	Name   string `json:"name"` // of the screen: another one takes the place of all that was
	HTML   string `json:"html"`
	Title  string `json:"title"`            // of the window
	Say    string `json:"say"`              // for screen readers
	At     int64  `json:"at"`               // when it was so, in microseconds: an older one that comes late is not shown
	LeftMs int64  `json:"leftMs,omitempty"` // until the QR code is replaced
	Final  bool   `json:"final,omitempty"`  // nothing follows
}

// answer answers with a page, or with an update for the script.
func (p *Pairing) answer(w http.ResponseWriter, r *http.Request, v *visit, s *screen) {
	h := w.Header()
	if wantsJSON(r) {
		u, err := p.update(v, s)
		if err == nil {
			h.Set("Content-Type", jsonType)
			w.WriteHeader(s.Status)
			_ = json.NewEncoder(w).Encode(u) //nolint:errchkjson // the status is sent; a client that left learns nothing more
			return
		}
		p.broken(w, r, err)
		return
	}
	var page strings.Builder
	if err := p.page.Execute(&page, p.data(r, v, s)); err != nil {
		p.broken(w, r, err)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(s.Status)
	_, _ = io.WriteString(w, page.String()) // a client that left learns nothing more
}

func (p *Pairing) broken(w http.ResponseWriter, r *http.Request, err error) {
	p.cfg.Log(r.Context()).ErrorContext(r.Context(), "pairing page could not be rendered", "error", err)
	http.Error(w, "Internal error.", http.StatusInternalServerError)
}

// update renders a screen for the script.
func (p *Pairing) update(v *visit, s *screen) (*update, error) {
	var part strings.Builder
	if err := p.page.ExecuteTemplate(&part, "screen", p.data(nil, v, s)); err != nil {
		return nil, fmt.Errorf("render screen: %w", err)
	}
	u := &update{Name: s.name(), HTML: part.String(), Title: p.title(v, s), Say: s.say(), At: time.Now().UnixMicro(), Final: s.final()}
	if !s.turn.IsZero() {
		u.LeftMs = max(0, time.Until(s.turn).Milliseconds())
	}
	return u, nil
}

// say is what a screen reader says of a screen.
func (s *screen) say() string {
	texts := []string{s.Title, s.Text, s.Code, s.Notice, s.PhoneError}
	return strings.Join(slices.DeleteFunc(texts, func(text string) bool { return text == "" }), ". ")
}

func (p *Pairing) title(v *visit, s *screen) string {
	title := v.texts.PageTitle
	if s.final() || s.Stage == stageFailed {
		title = s.Title
	}
	if p.cfg.Brand.Name != "" {
		title += " · " + p.cfg.Brand.Name
	}
	return title
}

// pageData is what the template gets.
type pageData struct {
	*screen

	T         *words
	Lang      string
	Brand     string
	HasLogo   bool
	Title     string
	Heading   string
	Name      string
	Say       string
	Step      int
	Steps     []step
	Languages []choice
	Refresh   bool
	Final     bool
	LeftMs    int64
}

// step is a step of the way.
type step struct {
	Name          string
	Done, Current bool
}

// choice is a language to choose.
type choice struct {
	Code, Name string
	Current    bool
}

func (p *Pairing) data(r *http.Request, v *visit, s *screen) *pageData {
	d := &pageData{
		screen: s, T: v.texts, Lang: v.code, Brand: p.cfg.Brand.Name, HasLogo: p.cfg.Brand.Logo != nil, Title: p.title(v, s),
		Heading: s.Title, Name: s.name(), Say: s.say(), Step: s.step(), Refresh: s.waits(), Final: s.final(),
	}
	if !s.turn.IsZero() {
		d.LeftMs = max(0, time.Until(s.turn).Milliseconds())
	}
	if d.Step > 0 {
		for i, name := range v.texts.StepNames {
			d.Steps = append(d.Steps, step{Name: name, Done: i+1 < d.Step || s.Stage == stageLinked, Current: i+1 == d.Step})
		}
	}
	if r != nil {
		for i, code := range p.texts.codes {
			d.Languages = append(d.Languages, choice{Code: code, Name: p.texts.texts[i].Name, Current: code == v.code})
		}
	}
	return d
}
