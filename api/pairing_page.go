package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/wafleet/wafleet/api/console"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// LinkSessions is what the API needs of the fleet for pairing links.
type LinkSessions interface {
	// StartLinkPairing pairs through a pairing link, which the caller has checked. Returns session.ErrInvalidPhone,
	// session.ErrAlreadyPaired, session.ErrPairingActive.
	StartLinkPairing(ctx context.Context, id tenant.ID, by session.LinkPairing) (session.PairingView, error)
	// EndLinkPairing takes a link out of the pairing that is under way, and ends that if it was the link's alone.
	EndLinkPairing(ctx context.Context, id tenant.ID, link tenant.PairingLinkID) error
}

// registerPairingPage serves the page of pairing links, which is for whoever has one.
func (s *Server) registerPairingPage() error {
	pace, err := newThrottle(s.limits.JoinEvery, s.limits.JoinBurst)
	if err != nil {
		return fmt.Errorf("make throttle: %w", err)
	}
	page, err := console.NewPairing(console.Config{
		Store: s.cfg.Store, Sessions: s.cfg.Sessions, Brand: s.cfg.Brand, QR: qrSVG,
		Wait: func(r *http.Request) time.Duration { return pace.take(stateOf(r.Context()).client) },
		Stream: func(ctx context.Context, id tenant.ID) (context.Context, func(), error) {
			life, st, err := s.streams.open(ctx, id, "")
			if err != nil {
				return nil, nil, err
			}
			return life, func() { s.streams.close(st) }, nil
		},
		Log:         func(ctx context.Context) *slog.Logger { return stateOf(ctx).log },
		ReadTimeout: s.limits.ReadTimeout, ActionTimeout: s.limits.ActionTimeout, BodyTimeout: s.limits.BodyTimeout,
		WriteTimeout: s.limits.WriteTimeout,
	})
	if err != nil {
		return fmt.Errorf("pairing page: %w", err)
	}
	for _, route := range page.Routes() {
		s.mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) {
			stateOf(r.Context()).operation = route.Name
			route.Serve(w, r)
		})
	}
	for _, file := range page.Assets() {
		serve := asset(file.Body, file.ContentType)
		s.mux.HandleFunc("GET "+file.Path, func(w http.ResponseWriter, r *http.Request) {
			if file.Policy != "" {
				w.Header().Set("Content-Security-Policy", file.Policy)
			}
			serve.ServeHTTP(w, r)
		})
	}
	return nil
}
