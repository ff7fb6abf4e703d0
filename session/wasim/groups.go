package wasim

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
)

func groupEndpoints() []endpoint {
	return []endpoint{
		{"POST", "/groups", `a phone makes a group: {"by":"+5511…","name":"…","participants":["+5511…"],"addressing":"lid" or "pn", as in groups older than LIDs}`, (*Simulator).postGroup},
		{"GET", "/groups", "all groups, as the server sees them", (*Simulator).getGroups},
		{"GET", "/groups/{id}", "a group as the server sees it: members, roles, settings, link, requests to join", (*Simulator).getGroup},
		{"PATCH", "/groups/{id}", `a phone changes a group: {"by":"+5511…","name":"…","description":"…","announce":true,"locked":true,"joinApproval":true,"memberAdd":"all|admins","picture":"<base64 of a JPEG>" or "remove"}, all but by optional`, (*Simulator).patchGroup},
		{"POST", "/groups/{id}/participants", `a phone changes the members: {"by":"+5511…","add|remove|promote|demote":["+5511…"]}, one of them; "invite":true sends an invitation to who may not be added`, (*Simulator).postParticipants},
		{"POST", "/groups/{id}/leave", `a phone leaves: {"by":"+5511…"}`, (*Simulator).postLeave},
		{"POST", "/groups/{id}/invite", `a phone asks for the link: {"by":"+5511…","reset":true}`, (*Simulator).postInvite},
		{"POST", joinPath, `a phone joins by the code of a link: {"by":"+5511…"}; 202 when an admin has to approve`, (*Simulator).postJoin},
		{"POST", "/groups/accept", `a phone takes an invitation out of its inbox: {"by":"+5511…","message":"…"}`, (*Simulator).postAccept},
		{"GET", "/groups/{id}/requests", "who asked to join, as an admin's phone sees it: ?by=+5511…; without by as the server does", (*Simulator).getRequests},
		{"POST", "/groups/{id}/requests", `a phone decides: {"by":"+5511…","approve|reject":["+5511…"]}, one of them`, (*Simulator).postRequests},
		{"POST", "/accounts/{phone}/privacy", `who may add the phone to groups: {"groupAdd":"all|contacts|none"}`, (*Simulator).postPrivacy},
	}
}

const joinPath = "/groups/join/{code}"

// isGroupAction tells the paths that a mux cannot tell from each other: /groups/join/{code} and /groups/{id}/leave.
func isGroupAction(path string) bool {
	return path == joinPath || strings.HasPrefix(path, "/groups/{id}/")
}

func (s *Simulator) groupAction(byPath map[string][]endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, action := r.PathValue("id"), r.PathValue("action")
		path := "/groups/{id}/" + action
		if id == "join" {
			path = joinPath
			r.SetPathValue("code", action)
		}
		list := byPath[path]
		if len(list) == 0 {
			notFound(w, r)
			return
		}
		s.oneOf(path, list)(w, r)
	}
}

// group is how the control API shows a group.
type group struct {
	ID           string        `json:"id"`
	Name         string        `json:"name"`
	Description  string        `json:"description"`
	Creator      string        `json:"creator"`
	Participants []groupMember `json:"participants"`
	Announce     bool          `json:"announce"`
	Locked       bool          `json:"locked"`
	JoinApproval bool          `json:"joinApproval"`
	MemberAdd    string        `json:"memberAdd"`
	Invite       string        `json:"invite"` // code of the link
	Picture      string        `json:"picture,omitempty"`
	Requests     []string      `json:"requests"`
	Addressing   string        `json:"addressing"`
}

type groupMember struct {
	Phone string `json:"phone"`
	LID   string `json:"lid"`
	Role  string `json:"role"` // member, admin, owner
}

// Ways to say who may add members.
const (
	addAll    = "all"
	addAdmins = "admins"
)

const groupServer = "@g.us"

func groupShown(g relay.Group) group {
	out := group{
		ID: g.ID + groupServer, Name: g.Subject, Description: g.Description, Creator: g.Creator, Participants: []groupMember{},
		Announce: g.Announce, Locked: g.Locked, JoinApproval: g.Approval, MemberAdd: addAll,
		Invite: g.Invite, Picture: g.Picture, Requests: append([]string{}, g.Requests...),
		Addressing: string(types.AddressingModeLID),
	}
	if g.ByNumber {
		out.Addressing = string(types.AddressingModePN)
	}
	if g.AdminsAdd {
		out.MemberAdd = addAdmins
	}
	for _, m := range g.Members {
		role := "member"
		switch {
		case m.Owner:
			role = "owner"
		case m.Admin:
			role = "admin"
		}
		out.Participants = append(out.Participants, groupMember{Phone: m.Phone, LID: m.LID.User, Role: role})
	}
	return out
}

// groupResults is a group with what became of each user.
type groupResults struct {
	group

	Results []phone.MemberResult `json:"results"`
}

// groupIn answers the server's view of the group of an id.
func (s *Simulator) groupIn(id string) (group, error) {
	g, err := s.relay.Group(strings.TrimSuffix(id, groupServer))
	if err != nil {
		return group{}, err //nolint:wrapcheck // named
	}
	return groupShown(g), nil
}

// by is the part of a call about a group that names who acts.
type by struct {
	By string `json:"by"`
}

func (b *by) actor() string { return b.By }

// act reads a call into in, which names who acts, and gives that phone time to do it.
func (s *Simulator) act(r *http.Request, in interface{ actor() string }, do func(context.Context, *phone.Phone) error) error {
	if err := decode(r, in); err != nil {
		return err
	}
	if in.actor() == "" {
		return badRequest("by is missing: the number of the phone that does it")
	}
	p, err := s.phoneBy(in.actor())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	return do(ctx, p)
}

func groupPath(r *http.Request) string {
	return strings.TrimSuffix(r.PathValue("id"), groupServer) + groupServer
}

func (s *Simulator) postGroup(r *http.Request) (int, any, error) {
	var in struct {
		by

		Name         string   `json:"name"`
		Participants []string `json:"participants"`
		Addressing   string   `json:"addressing"`
	}
	var out groupResults
	err := s.act(r, &in, func(ctx context.Context, p *phone.Phone) (err error) {
		var id string
		mode := types.AddressingMode(cmp.Or(in.Addressing, string(types.AddressingModeLID)))
		if mode != types.AddressingModeLID && mode != types.AddressingModePN {
			return badRequest(`addressing is neither "lid" nor "pn"`)
		}
		if err = s.relay.AddressGroups(p.Number(), mode); err != nil {
			return err //nolint:wrapcheck // named
		}
		defer func() { _ = s.relay.AddressGroups(p.Number(), types.AddressingModeLID) }() // the account is still there
		if id, out.Results, err = p.CreateGroup(ctx, in.Name, in.Participants); err != nil {
			return err
		}
		out.group, err = s.groupIn(id)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, out, nil
}

func (s *Simulator) getGroups(*http.Request) (int, any, error) {
	list := []group{}
	for _, g := range s.relay.Groups() {
		list = append(list, groupShown(g))
	}
	return http.StatusOK, map[string][]group{"groups": list}, nil
}

func (s *Simulator) getGroup(r *http.Request) (int, any, error) {
	g, err := s.groupIn(r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, g, nil
}

func (s *Simulator) patchGroup(r *http.Request) (int, any, error) {
	var in struct {
		by

		Name         *string `json:"name"`
		Description  *string `json:"description"`
		Announce     *bool   `json:"announce"`
		Locked       *bool   `json:"locked"`
		JoinApproval *bool   `json:"joinApproval"`
		MemberAdd    *string `json:"memberAdd"`
		Picture      *string `json:"picture"`
	}
	var g group
	err := s.act(r, &in, func(ctx context.Context, p *phone.Phone) error {
		change := phone.GroupSettings{
			Name: in.Name, Description: in.Description, Announce: in.Announce, Locked: in.Locked, JoinApproval: in.JoinApproval,
		}
		if in.MemberAdd != nil {
			if *in.MemberAdd != addAll && *in.MemberAdd != addAdmins {
				return badRequest("memberAdd is neither %q nor %q", addAll, addAdmins)
			}
			change.AdminsAdd = new(*in.MemberAdd == addAdmins)
		}
		if in.Picture != nil {
			picture, err := pictureIn(*in.Picture)
			if err != nil {
				return err
			}
			change.Picture = &picture
		}
		if err := p.ChangeGroup(ctx, groupPath(r), change); err != nil {
			return err
		}
		var err error
		g, err = s.groupIn(r.PathValue("id"))
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, g, nil
}

func (s *Simulator) postParticipants(r *http.Request) (int, any, error) {
	var in struct {
		by

		Add     []string `json:"add"`
		Remove  []string `json:"remove"`
		Promote []string `json:"promote"`
		Demote  []string `json:"demote"`
		Invite  bool     `json:"invite"`
	}
	var out groupResults
	err := s.act(r, &in, func(ctx context.Context, p *phone.Phone) error {
		id := groupPath(r)
		var do func(context.Context, string, []string) ([]phone.MemberResult, error)
		var who []string
		n := 0
		for _, each := range []struct {
			who []string
			do  func(context.Context, string, []string) ([]phone.MemberResult, error)
		}{{in.Add, p.AddMembers}, {in.Remove, p.RemoveMembers}, {in.Promote, p.Promote}, {in.Demote, p.Demote}} {
			if len(each.who) > 0 {
				n, who, do = n+1, each.who, each.do
			}
		}
		if n != 1 {
			return badRequest("exactly one of add, remove, promote and demote is wanted, with at least one number")
		}
		var err error
		if out.Results, err = do(ctx, id, who); err != nil {
			return err
		}
		if out.group, err = s.groupIn(id); err != nil && !errors.Is(err, relay.ErrUnknownGroup) {
			return err
		}
		if in.Invite {
			return sendInvites(ctx, p, out)
		}
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, out, nil
}

// pictureIn reads what a picture is to be: none if it is to be removed.
func pictureIn(s string) ([]byte, error) {
	if s == "remove" {
		return nil, nil
	}
	data, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(data) == 0 {
		return nil, badRequest(`picture is neither the base64 of a JPEG nor "remove"`)
	}
	return data, nil
}

// sendInvites passes the invitations on that came for users who may not be added.
func sendInvites(ctx context.Context, p *phone.Phone, out groupResults) error {
	for _, each := range out.Results {
		if each.Invite == nil {
			continue
		}
		_, err := p.SendInvite(ctx, each.Phone, phone.GroupInvite{
			Group: out.ID, Name: out.Name, Code: each.Invite.Code, Expiration: each.Invite.Expiration,
		})
		if err != nil {
			return err //nolint:wrapcheck // named
		}
	}
	return nil
}

func (s *Simulator) postLeave(r *http.Request) (int, any, error) {
	var in by
	err := s.act(r, &in, func(ctx context.Context, p *phone.Phone) error { return p.LeaveGroup(ctx, groupPath(r)) })
	return http.StatusNoContent, nil, err
}

func (s *Simulator) postInvite(r *http.Request) (int, any, error) {
	var in struct {
		by

		Reset bool `json:"reset"`
	}
	var code string
	err := s.act(r, &in, func(ctx context.Context, p *phone.Phone) (err error) {
		code, err = p.InviteCode(ctx, groupPath(r), in.Reset)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]string{"code": code, "link": phone.InviteLink + code}, nil
}

func (s *Simulator) postJoin(r *http.Request) (int, any, error) {
	var in by
	status := http.StatusOK
	answer := map[string]any{}
	err := s.act(r, &in, func(ctx context.Context, p *phone.Phone) error {
		id, pending, err := p.JoinGroup(ctx, r.PathValue("code"))
		answer["id"], answer["pending"] = id, pending
		if pending {
			status = http.StatusAccepted
		}
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	return status, answer, nil
}

func (s *Simulator) postAccept(r *http.Request) (int, any, error) {
	var in struct {
		by

		Message string `json:"message"`
	}
	err := s.act(r, &in, func(ctx context.Context, p *phone.Phone) error { return p.AcceptInvite(ctx, in.Message) })
	return http.StatusNoContent, nil, err
}

func (s *Simulator) getRequests(r *http.Request) (int, any, error) {
	who := r.URL.Query().Get("by")
	if who == "" {
		g, err := s.groupIn(r.PathValue("id"))
		return http.StatusOK, map[string][]string{"requests": g.Requests}, err
	}
	p, err := s.phoneBy(who)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	list, err := p.JoinRequests(ctx, groupPath(r))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string][]string{"requests": list}, nil
}

func (s *Simulator) postRequests(r *http.Request) (int, any, error) {
	var in struct {
		by

		Approve []string `json:"approve"`
		Reject  []string `json:"reject"`
	}
	var results []phone.MemberResult
	err := s.act(r, &in, func(ctx context.Context, p *phone.Phone) (err error) {
		if (len(in.Approve) > 0) == (len(in.Reject) > 0) {
			return badRequest("exactly one of approve and reject is wanted, with at least one number")
		}
		results, err = p.DecideRequests(ctx, groupPath(r), append(in.Approve, in.Reject...), len(in.Approve) > 0)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string][]phone.MemberResult{"results": results}, nil
}

func (s *Simulator) postPrivacy(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		GroupAdd string `json:"groupAdd"`
	}
	if err = decode(r, &in); err != nil {
		return 0, nil, err
	}
	who := types.PrivacySetting(in.GroupAdd)
	if who != phone.AddedByAll && who != phone.AddedByContacts && who != phone.AddedByNobody {
		return 0, nil, badRequest("groupAdd is none of all, contacts and none")
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	return http.StatusNoContent, nil, p.SetWhoAdds(ctx, who)
}
