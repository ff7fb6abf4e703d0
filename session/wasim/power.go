package wasim

import (
	"context"
	"net/http"
)

func (s *Simulator) postOffline(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		Offline *bool `json:"offline"`
	}
	if err = decode(r, &in); err != nil {
		return 0, nil, err
	}
	if in.Offline == nil {
		return 0, nil, badRequest("offline is missing")
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	if err = p.SetOffline(ctx, *in.Offline); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}

func (s *Simulator) postSilent(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		Silent *bool `json:"silent"`
	}
	if err = decode(r, &in); err != nil {
		return 0, nil, err
	}
	if in.Silent == nil {
		return 0, nil, badRequest("silent is missing")
	}
	p.SetSilent(*in.Silent)
	return http.StatusNoContent, nil, nil
}
