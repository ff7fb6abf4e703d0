package session

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

// pairing is a pairing under way. Owned by the jobs.
type pairing struct {
	phone    string // digits; empty when pairing by QR
	deadline time.Time
	codes    []string               // QR codes that WhatsApp gave, the first is shown
	turn     time.Time              // when the next is
	asked    bool                   // the pairing code was asked for
	claimed  bool                   // the row names the device that is being linked
	linked   bool                   // the phone has linked it
	links    []tenant.PairingLinkID // through which it was begun or joined; replaced, never changed: views share it
	operator bool                   // the operator began or joined it
}

// next is when somebody must look at the pairing again.
func (p *pairing) next() time.Time {
	if !p.turn.IsZero() && p.turn.Before(p.deadline) {
		return p.turn
	}
	return p.deadline
}

// phoneNumber is a phone number in international form.
var phoneNumber = regexp.MustCompile(`^[1-9][0-9]{6,14}$`)

// failed is the last view of a pairing that failed.
func failed(why reason) PairingView {
	words := why.words()
	return PairingView{Phase: PairingFailed, Reason: string(why), Message: words.message, Action: words.action}
}

// showPairing shows a view of p, which may be over.
func (a *actor) showPairing(p *pairing, view PairingView) {
	if p != nil {
		view.Phone, view.Links = p.phone, p.links
	}
	a.board.show(view)
}

// beginPairing starts a pairing, or joins one that is under way in the same way. Runs as a job.
func (a *actor) beginPairing(phone string, by *LinkPairing) error {
	switch {
	case a.stopping || a.removed:
		return ErrStopping
	case a.fleet.suspended.has(a.id):
		return ErrSuspended
	case a.pair != nil && a.pair.phone == phone:
		a.joinPairing(by)
		return nil
	case a.pair != nil && (by == nil || a.pair.claimed):
		return ErrPairingActive
	case a.pair == nil && a.row.Device != "" && a.state != LoggedOut && a.state != Unpaired: // those two: it is being deleted
		return ErrAlreadyPaired
	}
	before := a.pair
	a.pair = &pairing{phone: phone, deadline: time.Now().Add(a.fleet.pace.PairTimeout)}
	if before != nil {
		a.pair.links, a.pair.operator = before.links, before.operator
	}
	a.pair.join(by)
	if !a.become(Pairing, reasonNone, time.Time{}) {
		a.pair = nil
		return ErrPairingActive
	}
	a.showPairing(a.pair, PairingView{Phase: PairingStarting})
	if before != nil {
		a.hangUp() // on a connection of its own it has WhatsApp's full time
	}
	a.next()
	return nil
}

// cancelPairing ends a pairing that the phone has not accepted yet. Runs as a job.
func (a *actor) cancelPairing() error {
	if a.pair == nil || a.pair.linked {
		return ErrNoPairing
	}
	a.failPairing(pairCancelled)
	return nil
}

// failPairing ends the pairing.
func (a *actor) failPairing(why reason) {
	over := a.pair
	claimed := over != nil && over.claimed
	a.pair = nil
	a.become(Unpaired, why, time.Time{})
	if claimed {
		a.releaseLinks(over.links)
	}
	a.showPairing(over, failed(why))
	// A device that was claimed may be stored already, or at any moment until the connection is closed: then it is deleted, as if
	// it had been logged out.
	if claimed && a.cur == nil {
		a.forget()
	}
	a.hangUp()
}

// gotCodes takes the QR codes of a pairing connection.
func (a *actor) gotCodes(c *conn, codes []string) {
	if a.cur != c || a.closing || a.pair == nil || a.pair.linked {
		return
	}
	if a.pair.phone != "" {
		a.askCode(c)
		return
	}
	a.pair.codes = codes
	a.showCode(a.fleet.pace.QRFirst)
}

// showCode shows the first of the codes left.
func (a *actor) showCode(shown time.Duration) {
	if len(a.pair.codes) == 0 {
		a.failPairing(pairTimeout)
		return
	}
	a.pair.turn = time.Now().Add(shown)
	a.showPairing(a.pair, PairingView{Phase: PairingWaiting, QR: a.pair.codes[0], QRExpires: a.pair.turn.UTC()})
	a.arm()
}

// turnPage shows the next QR code, or ends the pairing when its time is over.
func (a *actor) turnPage(now time.Time) {
	switch {
	case a.pair == nil:
	case !now.Before(a.pair.deadline):
		a.failPairing(pairTimeout)
	case len(a.pair.codes) > 0 && !now.Before(a.pair.turn):
		a.pair.codes = a.pair.codes[1:]
		a.showCode(a.fleet.pace.QRNext)
	default:
		a.arm()
	}
}

// newSecret changes the codes that are left: WhatsApp asked for another secret in them.
func (a *actor) newSecret(c *conn, evt *events.RotateADVSecret) {
	if a.cur != c || a.closing || a.pair == nil || len(a.pair.codes) == 0 {
		return
	}
	for i, code := range a.pair.codes {
		a.pair.codes[i] = strings.Replace(code, evt.OldSecret, evt.NewSecret, 1)
	}
	a.showPairing(a.pair, PairingView{Phase: PairingWaiting, QR: a.pair.codes[0], QRExpires: a.pair.turn.UTC()})
}

// askCode asks WhatsApp for a pairing code.
func (a *actor) askCode(c *conn) {
	if a.pair.asked {
		return
	}
	a.pair.asked = true
	phone := a.pair.phone
	a.tasks.run("pairing_code", func() {
		ctx, cancel := context.WithTimeout(c.ctx, a.fleet.pace.LookupTimeout)
		defer cancel()
		code, err := c.cli.PairPhone(ctx, phone, true, whatsmeow.PairClientChrome, pairDisplay)
		a.post(func() { a.gotCode(c, code, err) })
	})
}

func (a *actor) gotCode(c *conn, code string, err error) {
	if a.cur != c || a.closing || a.pair == nil {
		return
	}
	if err != nil {
		a.log.Warn("no pairing code", "error", redact(err.Error()))
		a.failPairing(codeRefused(err))
		return
	}
	a.showPairing(a.pair, PairingView{Phase: PairingWaiting, Code: code})
}

// codeRefused says why WhatsApp gave no pairing code.
func codeRefused(err error) reason {
	iq, isIQ := errors.AsType[*whatsmeow.IQError](err)
	switch {
	case errors.Is(err, whatsmeow.ErrPhoneNumberTooShort), errors.Is(err, whatsmeow.ErrPhoneNumberIsNotInternational):
		return pairPhone
	case isIQ && iq.Code == 429:
		return pairLimited
	case isIQ && (iq.Code == 400 || iq.Code == 404 || iq.Code == 406):
		return pairPhone
	case isIQ:
		return pairRefused
	default:
		return pairConnect
	}
}

// claim stores that the device is the tenant's, before whatsmeow stores its credentials: a node that ends in between finds a
// row without a device, which it clears, and never a device without a row. Called by whatsmeow before it answers the phone.
func (a *actor) claim(c *conn, jid types.JID) bool {
	ctx, cancel := context.WithTimeout(a.life, a.fleet.pace.LookupTimeout)
	defer cancel()
	saved := make(chan error, 1)
	var links []tenant.PairingLinkID
	err := a.do(ctx, func() error {
		if a.cur != c || a.closing || a.pair == nil || a.state != Pairing {
			return ErrNoPairing
		}
		a.pair.claimed = true
		links = a.pair.links
		a.row.Device, a.row.Wanted, a.row.PairedAt = jid.String(), true, time.Now().UTC().Truncate(time.Second)
		a.save(saved)
		return nil
	})
	if err == nil {
		select {
		case err = <-saved:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err == nil {
		err = a.useLinks(ctx, c, links)
	}
	if err != nil {
		a.log.Warn("pairing refused: the device could not be claimed", "error", err)
	}
	return err == nil
}

// linked takes the news that the phone has linked the device.
func (a *actor) linked(c *conn, evt *events.PairSuccess) {
	if a.cur != c || a.closing || a.pair == nil || !a.pair.claimed {
		return
	}
	a.pair.linked = true
	a.row.Device = evt.ID.String()
	if lid, ok := chatID(evt.LID); ok && lid.IsHidden() {
		a.row.LID = lid
	}
	a.failures = 0
	a.become(Connecting, reasonNone, time.Time{})
	a.showPairing(a.pair, PairingView{Phase: PairingFinishing})
	// WhatsApp now ends the connection; if that is not told, it is ended here.
	a.wakeIn(a.fleet.pace.LoginGrace)
}

// relogin takes the news that WhatsApp wants the freshly linked device to connect anew.
func (a *actor) relogin(c *conn) {
	if a.cur == c && a.pair != nil && a.pair.linked {
		a.hangUp()
	}
}

// pairEvent takes what whatsmeow tells on a pairing connection. Called by whatsmeow; jobs do the work.
func (c *conn) pairEvent(evt any) {
	a := c.actor
	switch evt := evt.(type) {
	case *events.QR:
		a.post(func() { a.gotCodes(c, evt.Codes) })
	case *events.RotateADVSecret:
		a.post(func() { a.newSecret(c, evt) })
	case *events.PairSuccess:
		a.post(func() { a.linked(c, evt) })
	case *events.ManualLoginReconnect:
		a.post(func() { a.relogin(c) })
	case *events.PairError:
		c.log.Warn("pairing failed", "error", redact(evt.Error.Error()))
		c.end(outcome{state: Unpaired, reason: pairRefused})
	case *events.PairPasskeyRequest, *events.PairPasskeyError, *events.PairPasskeyConfirmation:
		// The passkey is bound to WhatsApp's own pages: no page of ours can be asked for it.
		c.end(outcome{state: Unpaired, reason: pairPasskey})
	case *events.QRScannedWithoutMultidevice:
		a.post(func() {
			if n, err := a.board.read(); err == nil && a.cur == c && n.Phase == PairingWaiting {
				words := pairOldPhone.words()
				n.Reason, n.Message, n.Action = string(pairOldPhone), words.message, words.action
				a.board.show(n) // the same code can be scanned again
			}
		})
	}
}
