package api_test

import (
	"context"
	"slices"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// StartLinkPairing begins a pairing by code for a number, and by QR code without one.
func (f *fleet) StartLinkPairing(ctx context.Context, id tenant.ID, by session.LinkPairing) (session.PairingView, error) {
	var err error
	if by.Phone == "" {
		_, err = f.StartPairing(ctx, id)
	} else {
		_, err = f.StartPhonePairing(ctx, id, by.Phone)
	}
	if err != nil {
		return session.PairingView{}, err
	}
	f.set(func(f *fleet) {
		view := *f.pairing
		view.Links, view.Phone = []tenant.PairingLinkID{by.Link}, by.Phone
		f.pairing = &view
	})
	view, _, err := f.current()
	return view, err
}

// EndLinkPairing lets the pairing fail that was begun through the link.
func (f *fleet) EndLinkPairing(_ context.Context, _ tenant.ID, link tenant.PairingLinkID) error {
	f.set(func(f *fleet) {
		if f.pairing == nil || !slices.Contains(f.pairing.Links, link) {
			return
		}
		f.pairing = &session.PairingView{Phase: session.PairingFailed, Reason: "pairing_cancelled", Links: f.pairing.Links, Version: f.pairing.Version + 1}
	})
	return nil
}
