package session

import (
	"context"
	"errors"
	"slices"

	"github.com/wafleet/wafleet/tenant"
)

// LinkPairing is a pairing that is begun through a pairing link, by whom the operator gave it to.
type LinkPairing struct {
	Link tenant.PairingLinkID
	// Phone is whom a pairing code is for, in digits; empty: by QR code.
	Phone string
}

// maxPairingLinks bounds the links that join one pairing.
const maxPairingLinks = tenant.MaxPairingLinks

// join notes who takes part: a link, or the operator.
func (p *pairing) join(by *LinkPairing) {
	if by == nil {
		p.operator = true
		return
	}
	if slices.Contains(p.links, by.Link) || len(p.links) >= maxPairingLinks {
		return
	}
	p.links = append(slices.Clip(p.links), by.Link)
}

// joinPairing lets a link take part in the pairing that is under way. A claimed one is past that: its links are used up already.
func (a *actor) joinPairing(by *LinkPairing) {
	if a.pair.claimed {
		return
	}
	before := len(a.pair.links)
	a.pair.join(by)
	if len(a.pair.links) == before {
		return
	}
	if view, err := a.board.read(); err == nil {
		a.showPairing(a.pair, view)
	}
}

// StartLinkPairing pairs through a pairing link, which the caller has checked. It returns as StartPairing does. A pairing that is under
// way in the same way is joined; one in the other way, or for another number, is replaced unless the phone has accepted it. When
// the phone accepts, the link is used up, in the database, before WhatsApp is answered. Returns ErrInvalidPhone,
// ErrAlreadyPaired, ErrPairingActive, ErrStopping, [tenant.ErrNotFound].
func (f *Fleet) StartLinkPairing(ctx context.Context, id tenant.ID, by LinkPairing) (PairingView, error) {
	if by.Phone != "" && !phoneNumber.MatchString(by.Phone) {
		return PairingView{}, ErrInvalidPhone
	}
	return f.startPairing(ctx, id, by.Phone, &by)
}

// EndLinkPairing takes a pairing link out of the pairing that is under way, and ends that if it was begun through this link alone and
// the phone has not accepted it. Of a pairing that has failed the link is taken out, too: whoever looks by it sees none. Without one
// nothing is done.
func (f *Fleet) EndLinkPairing(ctx context.Context, id tenant.ID, link tenant.PairingLinkID) error {
	a := f.running(id)
	if a == nil {
		return nil
	}
	err := a.do(ctx, func() error { return a.leavePairing(link) })
	if errors.Is(err, errGone) {
		return nil
	}
	return err
}

// leavePairing runs as a job.
func (a *actor) leavePairing(link tenant.PairingLinkID) error {
	view, err := a.board.read()
	if err != nil || !slices.Contains(view.Links, link) {
		return nil //nolint:nilerr // without a pairing there is nothing to do
	}
	others := slices.DeleteFunc(slices.Clone(view.Links), func(l tenant.PairingLinkID) bool { return l == link })
	switch {
	case a.pair == nil && view.Phase == PairingFailed:
		view.Links = others
		a.board.show(view)
	case a.pair == nil || a.pair.claimed:
	case len(others) == 0 && !a.pair.operator:
		return a.cancelPairing()
	default:
		a.pair.links = others
		a.showPairing(a.pair, view)
	}
	return nil
}

// useLinks stores that the links are used up. It comes before WhatsApp hears that the device is linked: a node that ends in between
// leaves a link that is used too early, never one that can be used twice.
func (a *actor) useLinks(ctx context.Context, c *conn, links []tenant.PairingLinkID) error {
	if len(links) == 0 {
		return nil
	}
	err := retryStore(ctx, a.fleet.pace.StoreTimeout, func(ctx context.Context) error {
		_, err := a.handle.Commit(ctx, tenant.UsePairingLinks{IDs: links})
		return err
	})
	if err != nil {
		return err
	}
	err = a.do(ctx, func() error {
		if a.cur != c || a.closing || a.pair == nil {
			return ErrNoPairing
		}
		return nil
	})
	if err != nil { // it failed meanwhile, and what failing gave back was taken again
		a.releaseLinks(links)
	}
	return err
}

// releaseLinks gives back the links of a pairing that failed after the phone had accepted it.
func (a *actor) releaseLinks(links []tenant.PairingLinkID) {
	if len(links) == 0 {
		return
	}
	a.tasks.run("release_links", func() {
		err := retryStore(a.life, a.fleet.pace.StoreTimeout, func(ctx context.Context) error {
			_, err := a.handle.Commit(ctx, tenant.UsePairingLinks{IDs: links, Undo: true})
			return err
		})
		if err != nil {
			a.log.Warn("pairing links stay used up", "error", err)
		}
	})
}
