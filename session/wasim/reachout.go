package wasim

import (
	"net/http"
	"time"
)

func (s *Simulator) postReachout(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		Until time.Time `json:"until"`
	}
	if err = decode(r, &in); err != nil {
		return 0, nil, err
	}
	if err = s.relay.Reachout(p.Number(), in.Until); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}
