package wasim

import (
	"context"
	"net/http"

	"github.com/wafleet/wafleet/session/wasim/phone"
)

// revision is the part of a send that is about an earlier message; at most one member is there.
type revision struct {
	Edit     *edit     `json:"edit"`
	Delete   *deletion `json:"delete"`
	Reaction *reaction `json:"reaction"`
}

type edit struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

type deletion struct {
	ID   string `json:"id"`
	From string `json:"from"`
}

type reaction struct {
	ID    string `json:"id"`
	From  string `json:"from"`
	Emoji string `json:"emoji"`
}

// check says whether the send is about an earlier message.
func (r *revision) check() (bool, error) {
	n, id := 0, ""
	if r.Edit != nil {
		n, id = n+1, r.Edit.ID
		if r.Edit.Text == "" {
			return true, badRequest("edit has no text")
		}
	}
	if r.Delete != nil {
		n, id = n+1, r.Delete.ID
	}
	if r.Reaction != nil {
		n, id = n+1, r.Reaction.ID
	}
	switch {
	case n > 1:
		return true, badRequest("edit, delete and reaction exclude each other")
	case n == 1 && (id == "" || len(id) > 128):
		return true, badRequest("id is missing, or longer than 128 characters")
	}
	return n == 1, nil
}

func (r *revision) send(ctx context.Context, p *phone.Phone, to string) (string, error) {
	switch {
	case r.Edit != nil:
		return p.Edit(ctx, to, r.Edit.ID, r.Edit.Text)
	case r.Delete != nil:
		return p.DeleteFrom(ctx, to, r.Delete.ID, r.Delete.From)
	default:
		return p.ReactTo(ctx, to, r.Reaction.ID, r.Reaction.From, r.Reaction.Emoji)
	}
}

func (s *Simulator) postTyping(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		To    string `json:"to"`
		State string `json:"state"`
	}
	if err = decode(r, &in); err != nil {
		return 0, nil, err
	}
	if in.State != "composing" && in.State != "recording" && in.State != "paused" {
		return 0, nil, badRequest("state is none of composing, recording and paused")
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	return http.StatusNoContent, nil, p.Typing(ctx, in.To, in.State)
}
