package wasim

import (
	"context"
	"encoding/base64"
	"net/http"

	"github.com/wafleet/wafleet/session/wasim/phone"
)

const (
	maxName  = 100
	maxAbout = 139
)

func (s *Simulator) postProfile(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		Name       *string `json:"name"`
		About      *string `json:"about"`
		Picture    *string `json:"picture"`
		PictureFor *string `json:"pictureFor"`
	}
	if err = decode(r, &in); err != nil {
		return 0, nil, err
	}
	change := phone.ProfileChange{Name: in.Name, About: in.About, PictureFor: in.PictureFor}
	switch {
	case in.Name != nil && (*in.Name == "" || len(*in.Name) > maxName):
		return 0, nil, badRequest("name is empty, or longer than %d bytes", maxName)
	case in.About != nil && len([]rune(*in.About)) > maxAbout:
		return 0, nil, badRequest("about is longer than %d characters", maxAbout)
	case in.PictureFor != nil && *in.PictureFor != "all" && *in.PictureFor != "contacts" && *in.PictureFor != "none":
		return 0, nil, badRequest("pictureFor is none of all, contacts and none")
	}
	if in.Picture != nil {
		var data []byte
		if *in.Picture != "remove" {
			if data, err = base64.StdEncoding.DecodeString(*in.Picture); err != nil || len(data) == 0 {
				return 0, nil, badRequest(`picture is neither base64 nor "remove"`)
			}
		}
		change.Picture = &data
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	return http.StatusNoContent, nil, p.SetProfile(ctx, change)
}

func (s *Simulator) getProfile(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	seen, err := p.ProfileOf(ctx, r.URL.Query().Get("of"))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, struct {
		About     string `json:"about"`
		PictureID string `json:"pictureId,omitempty"`
		Picture   []byte `json:"picture,omitempty"` // base64
	}{seen.About, seen.PictureID, seen.Picture}, nil
}

func (s *Simulator) postPresence(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		State string `json:"state"`
		Watch string `json:"watch"`
	}
	if err = decode(r, &in); err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	switch {
	case in.Watch != "" && in.State == "":
		err = p.WatchPresence(ctx, in.Watch)
	case in.Watch == "" && (in.State == "available" || in.State == "unavailable"):
		err = p.Presence(ctx, in.State)
	default:
		err = badRequest("either state (available or unavailable) or watch (a number) is wanted")
	}
	return http.StatusNoContent, nil, err
}

func (s *Simulator) postBlock(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		Phone   string `json:"phone"`
		Blocked bool   `json:"blocked"`
	}
	if err = decode(r, &in); err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	return http.StatusNoContent, nil, p.Block(ctx, in.Phone, in.Blocked)
}
