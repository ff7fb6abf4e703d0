package wasim

import (
	"context"
	"net/http"

	"github.com/wafleet/wafleet/session/wasim/phone"
)

// outgoing is a message that a phone is told to send.
type outgoing struct {
	To        string          `json:"to"`
	Text      string          `json:"text"`
	ReplyTo   string          `json:"replyTo"`
	ReplyFrom string          `json:"replyFrom"`
	Forwarded bool            `json:"forwarded"`
	Mentions  []string        `json:"mentions"`
	ID        string          `json:"id"`
	Via       string          `json:"via"`
	Media     *sentMedia      `json:"media"`
	Location  *phone.Location `json:"location"`
	Contact   *phone.Contact  `json:"contact"`
	Poll      *phone.Poll     `json:"poll"`
	Vote      *vote           `json:"vote"`

	revision
}

// check says what of all this cannot be sent; revises is true for a message about an earlier one.
func (o *outgoing) check() (revises bool, err error) {
	revises, err = o.revision.check()
	kinds := 0
	for _, there := range []bool{o.Text != "" || o.Media != nil, o.Location != nil, o.Contact != nil, o.Poll != nil, o.Vote != nil} {
		if there {
			kinds++
		}
	}
	switch {
	case err != nil:
		return revises, err
	case revises && (o.Text != "" || o.Media != nil):
		return revises, badRequest("text or media and edit, delete or reaction exclude each other")
	case kinds > 1 || revises && kinds > 0:
		return revises, badRequest("text or media, location, contact, poll, vote, edit, delete and reaction exclude each other")
	case kinds == 0 && !revises:
		return revises, badRequest("text is missing")
	case o.Contact != nil && (o.Contact.Name == "" || o.Contact.VCard == ""):
		return revises, badRequest("contact has no name or no vcard")
	case o.Poll != nil && (o.Poll.Question == "" || len(o.Poll.Options) == 0 || len(o.Poll.Options) > maxPollOptions):
		return revises, badRequest("poll has no question, no options, or more than %d", maxPollOptions)
	case o.Vote != nil && (o.Vote.ID == "" || len(o.Vote.ID) > 128 || len(o.Vote.Options) > maxPollOptions):
		return revises, badRequest("vote has no id, or one longer than 128 characters, or more than %d options", maxPollOptions)
	case len(o.ID) > 128:
		return revises, badRequest("id is longer than 128 characters")
	case o.Via != "" && o.Via != "lid" && o.Via != "pn":
		return revises, badRequest(`via is neither "lid" nor "pn"`)
	}
	return revises, nil
}

func (o *outgoing) send(ctx context.Context, p *phone.Phone) (string, error) {
	opts := phone.SendOptions{
		ID: o.ID, ReplyTo: o.ReplyTo, ReplyFrom: o.ReplyFrom, Forwarded: o.Forwarded, Mentions: o.Mentions,
		ViaLID: o.Via == "lid", ViaPN: o.Via == "pn",
	}
	switch {
	case o.Media != nil:
		file, err := o.Media.file(o.Text)
		if err != nil {
			return "", err
		}
		return p.SendFile(ctx, o.To, file, opts)
	case o.Location != nil:
		return p.SendLocation(ctx, o.To, *o.Location, opts)
	case o.Poll != nil:
		return p.SendPoll(ctx, o.To, *o.Poll, opts)
	case o.Vote != nil:
		return p.VoteOn(ctx, o.To, o.Vote.ID, o.Vote.From, o.Vote.Options)
	case o.Contact != nil:
		return p.SendContact(ctx, o.To, *o.Contact, opts)
	default:
		return p.SendText(ctx, o.To, o.Text, opts)
	}
}

func (s *Simulator) postSend(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	var in outgoing
	if err = decode(r, &in); err != nil {
		return 0, nil, err
	}
	revises, err := in.check()
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	var id string
	if revises {
		id, err = in.revision.send(ctx, p, in.To)
	} else {
		id, err = in.send(ctx, p)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]string{"id": id}, nil
}
