package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/mdp/qrterminal/v3"
	"golang.org/x/term"
	"rsc.io/qr"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/adminapi"
	"github.com/wafleet/wafleet/session"
)

type pairCmd struct {
	TenantArg

	Phone  string `placeholder:"NUMBER" help:"Link by a code that is typed into the phone with this number, instead of a QR code."`
	NoWait bool   `help:"Print the code, or the QR code's text, and leave: for programs. The pairing goes on."`
}

// cancelTimeout bounds the cancelling of a pairing after an interrupt.
const cancelTimeout = 5 * time.Second

// Run pairs, and follows the pairing to its end unless told otherwise.
func (c *pairCmd) Run(ctx context.Context, o *operator) error {
	if c.NoWait {
		return do(o, func(client *adminapi.Client) (api.PairingInfo, error) {
			return client.StartPairing(ctx, c.Tenant, c.Phone)
		}, func(w *tabwriter.Writer, p api.PairingInfo) { line(w, cmp.Or(p.Code, p.QR)) })
	}
	return do(o, func(client *adminapi.Client) (api.SessionInfo, error) {
		if _, err := client.StartPairing(ctx, c.Tenant, c.Phone); err != nil {
			return api.SessionInfo{}, err
		}
		// Progress goes to stderr, so that stdout holds the result alone.
		// A program that wants JSON wants the code's text, too.
		screen := &pairingScreen{w: o.Stderr, terminal: isTerminal(o.Stderr) && !o.json, picture: client.PictureURL(c.Tenant)}
		screen.size = func() (columns, rows int) { return terminalSize(o.Stderr) }
		last, err := client.FollowPairing(ctx, c.Tenant, screen.show)
		if ctx.Err() != nil {
			cancelling, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
			defer cancel()
			return api.SessionInfo{}, errors.Join(errors.New("pairing was cancelled"), client.CancelPairing(cancelling, c.Tenant))
		}
		if refusal, ok := errors.AsType[*adminapi.RefusalError](err); ok && refusal.Code == noPairing {
			return forgotten(ctx, client, c.Tenant)
		}
		if err != nil {
			return api.SessionInfo{}, err
		}
		if last.Phase == session.PairingFailed {
			return api.SessionInfo{}, fmt.Errorf("pairing failed: %s (%s)", strings.TrimSuffix(last.Message, "."), last.Reason)
		}
		return client.Session(ctx, c.Tenant)
	}, func(w *tabwriter.Writer, s api.SessionInfo) { sessionTable(w, s) })
}

// noPairing is what a node answers that knows of no pairing.
const noPairing = "NO_PAIRING"

// forgotten is how a pairing ended that the node, started anew meanwhile, does not remember: the session tells.
func forgotten(ctx context.Context, client *adminapi.Client, id string) (api.SessionInfo, error) {
	s, err := client.Session(ctx, id)
	if err != nil || s.Device != "" {
		return s, err
	}
	why := strings.TrimSuffix(s.Message, ".")
	if why != "" {
		why = ": " + plain(why)
	}
	return s, fmt.Errorf("the node started anew and forgot the pairing; the session is %s%s. Call admin pair again", s.State, why)
}

// pairingScreen shows a pairing. On a terminal each picture takes the place of the one before.
type pairingScreen struct {
	w        io.Writer
	terminal bool
	size     func() (columns, rows int) // of the terminal; nil or 0: unknown
	picture  string                     // where the QR code is as a picture
	shown    string                     // what is on the screen now
	lines    int                        // that it takes
}

func (s *pairingScreen) show(p api.PairingInfo) {
	text := s.text(&p)
	if text == s.shown {
		return
	}
	if s.terminal && s.lines > 0 {
		_, _ = fmt.Fprintf(s.w, "\x1b[%dA\x1b[J", s.lines) // up, and clear from there
	}
	_, _ = io.WriteString(s.w, text)
	s.shown, s.lines = text, strings.Count(text, "\n")
}

// text is what to show, with a picture only if the terminal has room for all of it: half a code cannot be scanned.
func (s *pairingScreen) text(p *api.PairingInfo) string {
	text := pairingText(p, s.terminal)
	if !s.terminal || p.Phase != session.PairingWaiting || p.Code != "" || s.size == nil {
		return text
	}
	columns, rows := s.size()
	if columns <= 0 || rows <= 0 {
		return text
	}
	wide, high := 0, 1 // one for the cursor below
	for line := range strings.Lines(text) {
		wide, high = max(wide, utf8.RuneCountInString(strings.TrimRight(line, "\n"))), high+1
	}
	if wide <= columns && high <= rows {
		return text
	}
	return fmt.Sprintf(`The QR code needs a terminal of %d columns and %d rows; this one has %d and %d.
Make the window larger or its font smaller, and the next code is shown;
or link by number instead: Ctrl-C, then admin pair with --phone;
or get the picture, with the admin key, from
%s
`, wide, high, columns, rows, s.picture)
}

func terminalSize(w any) (columns, rows int) {
	if f, ok := w.(*os.File); ok {
		columns, rows, _ = term.GetSize(int(f.Fd())) // 0 when it is no terminal
	}
	return columns, rows
}

func pairingText(p *api.PairingInfo, picture bool) string {
	var b strings.Builder
	switch p.Phase {
	case session.PairingStarting:
		b.WriteString("Connecting to WhatsApp …\n")
	case session.PairingWaiting:
		switch {
		case p.Code != "":
			fmt.Fprintf(&b, "On the phone: WhatsApp › Linked devices › Link a device › Link with phone number instead. Type this code:\n\n    %s\n\n", p.Code)
		case picture:
			b.WriteString("On the phone: WhatsApp › Linked devices › Link a device. Scan this code:\n\n")
			drawQR(&b, p.QR)
			if p.QRExpiresAt != nil {
				fmt.Fprintf(&b, "\nIt is replaced at %s.\n", p.QRExpiresAt.Local().Format(time.TimeOnly)) //nolint:gosmopolitan // for the user's own eyes
			}
		default: // not a terminal: whoever reads this makes a picture of it
			fmt.Fprintf(&b, "QR %s\n", p.QR)
		}
	case session.PairingFinishing:
		b.WriteString("The phone has accepted. Logging in …\n")
	case session.PairingSucceeded:
		b.WriteString("Linked.\n")
	case session.PairingFailed:
		b.WriteString("Not linked.\n")
	}
	return b.String()
}

func drawQR(w io.Writer, text string) {
	const quiet = 2
	qrterminal.GenerateWithConfig(text, qrterminal.Config{
		Level: qr.L, Writer: w, HalfBlocks: true, QuietZone: quiet,
		BlackChar: qrterminal.BLACK_BLACK, BlackWhiteChar: qrterminal.BLACK_WHITE,
		WhiteChar: qrterminal.WHITE_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
	})
}
