package console

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// stage is what the page shows.
type stage string

// The stages. They are the names of the template's parts.
const (
	stageChoose    stage = "choose"    // how to pair
	stageStarting  stage = "starting"  // connecting to WhatsApp
	stageQR        stage = "qr"        // a QR code to scan
	stageCode      stage = "code"      // a pairing code to type
	stageFinishing stage = "finishing" // the phone has confirmed
	stageLinked    stage = "linked"
	stageAlready   stage = "already" // an account is linked, though not by this link
	stageFailed    stage = "failed"
	stageEnded     stage = "ended" // the link cannot be used
	stageBusy      stage = "busy"  // we cannot answer now
)

// screen is what the page shows, in one language. It holds nothing that changes by the mere passing of time, but for the members named so.
type screen struct {
	Stage  stage
	Reason string // of failures and of notices
	Status int    // for who asks without the script

	Title, Text string
	Notice      string // above the ways to choose, or beside a code
	PhoneError  string
	PhoneTyped  string // what stood in the field that PhoneError is about
	PhoneEnd    string // the last digits of the number of a code, or of the one that is given
	PhoneGiven  bool   // the operator gave the number
	QR          template.HTML
	Code        string
	ReturnURL   string
	Mobile      bool // the page is on a phone
	Retry       bool // a pairing can be started

	turn time.Time // when the QR code is replaced
}

// step is how far the way has come, from 1 to 4; 0 where there is no way.
func (s *screen) step() int {
	switch s.Stage {
	case stageChoose:
		return 1
	case stageStarting, stageQR, stageCode:
		return 2 //nolint:mnd // of the four
	case stageFinishing:
		return 3 //nolint:mnd // of the four
	case stageLinked:
		return 4 //nolint:mnd // of the four
	case stageAlready, stageFailed, stageEnded, stageBusy:
	}
	return 0
}

// name tells screens apart that replace each other as a whole.
func (s *screen) name() string { return strings.Trim(string(s.Stage)+":"+s.Reason, ":") }

// final says that nothing follows.
func (s *screen) final() bool {
	return s.Stage == stageLinked || s.Stage == stageEnded
}

// waits says that something will follow without anybody's doing on this page.
func (s *screen) waits() bool {
	return s.Stage == stageStarting || s.Stage == stageQR || s.Stage == stageCode || s.Stage == stageFinishing
}

// visit is one look at the page: whose link it is, and for whom it is shown.
type visit struct {
	token  tenant.PairingToken
	texts  *words
	code   string // of the language
	mobile bool

	link tenant.PairingLink // once it is read
	mine bool               // the pairing at hand was begun or joined through the link
	view session.PairingView
}

// look reads the link and the pairing, and says what to show. Strangers ask: whatever is wrong with a token, they are told the same.
func (p *Pairing) look(ctx context.Context, v *visit) *screen {
	id := v.token.ID().Tenant()
	link, err := p.cfg.Store.Tenant(id).PairingLink(ctx, v.token.ID())
	if err == nil {
		err = link.Admits(v.token)
	}
	switch {
	case errors.Is(err, tenant.ErrPairingLinkNotFound), errors.Is(err, tenant.ErrNotFound):
		return p.ended(v, linkUnknown)
	case err != nil:
		return p.unavailable(ctx, v, err)
	}
	v.link = link
	view, err := p.cfg.Sessions.Pairing(ctx, id)
	if err == nil {
		v.mine, v.view = slices.Contains(view.Links, link.ID), view
	} else if !errors.Is(err, session.ErrNoPairing) {
		return p.unavailable(ctx, v, err)
	}
	account, err := p.cfg.Sessions.View(ctx, id)
	if err != nil {
		return p.unavailable(ctx, v, err)
	}
	if account.Suspended() { // which is between the tenant and the operator
		return p.ended(v, linkUnknown)
	}
	s := p.judge(v, &account)
	s.Mobile = v.mobile
	return s
}

// judge says what to show of a link, a pairing and a session.
func (p *Pairing) judge(v *visit, account *session.View) *screen {
	linked := account.Device != ""
	if v.mine && v.view.Phase == session.PairingSucceeded && linked {
		s := p.plain(v, stageLinked, v.texts.LinkedTitle, v.texts.LinkedText)
		s.ReturnURL = v.link.ReturnURL
		return s
	}
	if v.mine && v.view.Phase == session.PairingFinishing {
		s := p.plain(v, stageFinishing, v.texts.FinishingTitle, v.texts.FinishingText)
		if account.State == session.Backoff {
			s.Text = v.texts.FinishingSlow
		}
		return s
	}
	underWay := v.mine && (v.view.Phase == session.PairingStarting || v.view.Phase == session.PairingWaiting)
	state := v.link.State(time.Now())
	switch {
	case state == tenant.LinkUsed && v.mine && v.view.Phase == session.PairingFailed:
		return p.failed(v, false) // after the phone had confirmed; the link may be about to be given back
	case state == tenant.LinkActive, state == tenant.LinkExpired && underWay:
	default:
		return p.ended(v, string(state))
	}
	if linked && !underWay {
		return p.plain(v, stageAlready, v.texts.AlreadyTitle, v.texts.AlreadyText)
	}
	if !v.mine {
		return p.choose(v)
	}
	return p.progress(v)
}

// progress shows a pairing of this link's that is not through.
func (p *Pairing) progress(v *visit) *screen {
	switch v.view.Phase {
	case session.PairingWaiting:
		return p.waiting(v)
	case session.PairingFailed:
		return p.failed(v, true)
	case session.PairingStarting:
		return p.plain(v, stageStarting, v.texts.StartingTitle, v.texts.StartingText)
	case session.PairingFinishing, session.PairingSucceeded: // of an account that has been logged out since
	}
	return p.choose(v)
}

func (p *Pairing) waiting(v *visit) *screen {
	if v.view.Code != "" {
		s := p.plain(v, stageCode, v.texts.CodeTitle, "")
		s.Code, s.PhoneEnd, s.PhoneGiven = v.view.Code, phoneEnd(v.view.Phone), v.link.Phone != ""
		return s
	}
	drawing, err := p.cfg.QR(v.view.QR)
	if err != nil {
		return p.plain(v, stageStarting, v.texts.StartingTitle, v.texts.StartingText)
	}
	s := p.plain(v, stageQR, v.texts.QRTitle, "")
	s.QR, s.turn = template.HTML(drawing), v.view.QRExpires //nolint:gosec // drawn by us, from numbers alone
	s.PhoneEnd, s.PhoneGiven = phoneEnd(v.link.Phone), v.link.Phone != ""
	if v.view.Reason != "" {
		f := v.texts.failure(v.view.Reason)
		s.Notice = f.Title + ". " + v.texts.of(p.cfg.Brand.Name, f.Text)
	}
	return s
}

// Reasons that are not shown as failures.
const (
	reasonCancelled = "pairing_cancelled"
	reasonPhone     = "phone_not_accepted"
)

// failed shows why a pairing failed. retry says that another can be started.
func (p *Pairing) failed(v *visit, retry bool) *screen {
	switch {
	case !retry:
	case v.view.Reason == reasonCancelled:
		return p.choose(v)
	case v.view.Reason == reasonPhone:
		s := p.choose(v)
		s.Reason, s.PhoneError, s.PhoneTyped = reasonPhone, v.texts.PhoneRefused, "+"+v.view.Phone
		return s
	}
	f := v.texts.failure(v.view.Reason)
	s := p.plain(v, stageFailed, f.Title, f.Text)
	s.Reason, s.Retry = v.view.Reason, retry
	return s
}

func (p *Pairing) choose(v *visit) *screen {
	s := p.plain(v, stageChoose, v.texts.ChooseTitle, v.texts.ChooseText)
	s.PhoneEnd, s.PhoneGiven = phoneEnd(v.link.Phone), v.link.Phone != ""
	return s
}

// plain is a screen of which its stage, a title and a text say all.
func (p *Pairing) plain(v *visit, stage stage, title, text string) *screen {
	return &screen{
		Stage: stage, Status: http.StatusOK, Title: title, Text: v.texts.of(p.cfg.Brand.Name, text), Mobile: v.mobile,
	}
}

// linkUnknown is why a token that nobody gave out leads nowhere.
const linkUnknown = "unknown"

// ended says that the link cannot be used, and why.
func (p *Pairing) ended(v *visit, why string) *screen {
	title, text, status := v.texts.UnknownTitle, v.texts.UnknownText, http.StatusNotFound
	switch tenant.LinkState(why) {
	case tenant.LinkUsed:
		title, text, status = v.texts.UsedTitle, v.texts.UsedText, http.StatusGone
	case tenant.LinkExpired:
		title, text, status = v.texts.ExpiredTitle, v.texts.ExpiredText, http.StatusGone
	case tenant.LinkRevoked:
		title, text, status = v.texts.RevokedTitle, v.texts.RevokedText, http.StatusGone
	case tenant.LinkActive:
	}
	s := p.plain(v, stageEnded, title, text)
	s.Reason, s.Status = why, status
	return s
}

// unavailable says that we cannot answer, and nothing of our troubles.
func (p *Pairing) unavailable(ctx context.Context, v *visit, err error) *screen {
	if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		p.cfg.Log(ctx).WarnContext(ctx, "pairing page not available", "error", err)
	}
	s := p.plain(v, stageBusy, v.texts.UnavailableTitle, v.texts.UnavailableText)
	s.Reason, s.Status = "unavailable", http.StatusServiceUnavailable
	return s
}

// phoneEnd is what is shown of a number: enough to know it again, too little for who should not know it.
func phoneEnd(phone string) string {
	const shown = 4
	if len(phone) <= shown {
		return ""
	}
	return phone[len(phone)-shown:]
}
