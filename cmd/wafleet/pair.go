package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mdp/qrterminal/v3"
	"rsc.io/qr"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/adminapi"
	"github.com/wafleet/wafleet/session"
)

type pairCmd struct {
	TenantArg

	Phone string `placeholder:"NUMBER" help:"Link by a code that is typed into the phone with this number, instead of a QR code."`
}

// cancelTimeout bounds the cancelling of a pairing after an interrupt.
const cancelTimeout = 5 * time.Second

// Run pairs and follows the pairing to its end.
func (c *pairCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (api.SessionInfo, error) {
		if _, err := client.StartPairing(ctx, c.Tenant, c.Phone); err != nil {
			return api.SessionInfo{}, err
		}
		// Progress goes to stderr, so that stdout holds the result alone.
		screen := &pairingScreen{w: o.Stderr, terminal: isTerminal(o.Stderr)}
		last, err := client.FollowPairing(ctx, c.Tenant, screen.show)
		if ctx.Err() != nil {
			cancelling, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
			defer cancel()
			return api.SessionInfo{}, errors.Join(errors.New("pairing was cancelled"), client.CancelPairing(cancelling, c.Tenant))
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

// pairingScreen shows a pairing. On a terminal each picture takes the place of the one before.
type pairingScreen struct {
	w        io.Writer
	terminal bool
	shown    string // what is on the screen now
	lines    int    // that it takes
}

func (s *pairingScreen) show(p api.PairingInfo) {
	text := pairingText(&p, s.terminal)
	if text == s.shown {
		return
	}
	if s.terminal && s.lines > 0 {
		_, _ = fmt.Fprintf(s.w, "\x1b[%dA\x1b[J", s.lines) // up, and clear from there
	}
	_, _ = io.WriteString(s.w, text)
	s.shown, s.lines = text, strings.Count(text, "\n")
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
