package phone

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
)

// MemberResult is what became of one user of a change of a group's members, or of its requests to join.
type MemberResult struct {
	Phone string `json:"phone"`
	// Code is 200, or why not: 401 blocked, 403 forbidden, 404 not on WhatsApp or nobody of whom it could be said, 408 left a short
	// while ago, 409 a member already, 419 the group is full.
	Code int `json:"code"`
	// Invite is given with 403 to who may add, when only the user's own settings forbid it.
	Invite *AddInvite `json:"invite,omitempty"`
}

// AddInvite is an invitation for one user who may not be added; [Phone.SendInvite] passes it on.
type AddInvite struct {
	Code       string    `json:"code"`
	Expiration time.Time `json:"expiration"`
}

// GroupSettings are what can be changed of a group. Members that are nil stay as they are.
type GroupSettings struct {
	Name, Description              *string
	Announce, Locked, JoinApproval *bool // only admins send; only admins change what it is called; admins approve who joins by link
	AdminsAdd                      *bool
	Picture                        *[]byte // a JPEG; empty: none
}

// groupID reads the id of a group.
func groupID(s string) (types.JID, bool) {
	id, ok := strings.CutSuffix(strings.TrimSpace(s), "@"+types.GroupServer)
	if !ok || id == "" || len(id) > 32 || strings.Trim(id, "0123456789-") != "" {
		return types.EmptyJID, false
	}
	return types.NewJID(id, types.GroupServer), true
}

// group reads the id of a group. Error: ErrUnknownGroup.
func group(s string) (types.JID, error) {
	jid, ok := groupID(s)
	if !ok {
		return jid, fmt.Errorf("%w: %q is not an id like 120363…@g.us", ErrUnknownGroup, s)
	}
	return jid, nil
}

// inGroup names what the server or whatsmeow says about a group.
func inGroup(chat types.JID, err error) error {
	if err == nil || chat.Server != types.GroupServer {
		return err
	}
	var named error
	var iq *whatsmeow.IQError
	switch {
	case errors.Is(err, whatsmeow.ErrNotInGroup):
		named = ErrNotMember
	case errors.Is(err, whatsmeow.ErrGroupNotFound):
		named = ErrUnknownGroup
	case errors.Is(err, whatsmeow.ErrServerReturnedError) && strings.HasSuffix(err.Error(), " 403"):
		named = ErrNotAllowed // or not a member any more
	case errors.Is(err, whatsmeow.ErrServerReturnedError) && strings.HasSuffix(err.Error(), " 404"):
		named = ErrUnknownGroup
	case errors.As(err, &iq):
		named = map[int]error{
			400: ErrNotAcceptable, 401: ErrNotAllowed, 403: ErrNotMember, 404: ErrUnknownGroup, 406: ErrNotAcceptable, 409: ErrMember, 410: ErrGone, 419: ErrNotAcceptable,
		}[iq.Code]
	}
	if named == nil {
		return err
	}
	return fmt.Errorf("%w: %w", named, err)
}

// ask makes a request about a group, with one attempt once the phone is online: whatsmeow itself repeats what a lost connection has
// swallowed, with the same id.
func (p *Phone) ask(ctx context.Context, about types.JID, request func(context.Context) error) error {
	ctx, cancel := p.own(ctx)
	defer cancel()
	for {
		if err := p.WaitOnline(ctx); err != nil {
			return err
		}
		err := request(ctx)
		switch {
		case errors.Is(err, whatsmeow.ErrNotConnected): // nothing was sent
			if sleep(ctx, p.cfg.MinBackoff) {
				continue
			}
			return context.Cause(ctx)
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		default:
			return inGroup(about, err)
		}
	}
}

// members answers what whatsmeow is given for numbers: the LIDs of users, the number of who has none.
func (p *Phone) members(ctx context.Context, numbers []string) ([]types.JID, error) {
	list := make([]types.JID, len(numbers))
	for i, each := range numbers {
		lid, err := p.lidOfNumber(ctx, each)
		if errors.Is(err, ErrUnknownUser) {
			number, _ := Number(each)
			lid, err = types.NewJID(number, types.DefaultUserServer), nil // the server says so itself
		}
		if err != nil {
			return nil, err
		}
		list[i] = lid
	}
	return list, nil
}

func (p *Phone) results(list []types.GroupParticipant) []MemberResult {
	results := make([]MemberResult, 0, len(list))
	for _, each := range list {
		r := MemberResult{Phone: p.numberOf(each.JID), Code: 200}
		if !each.PhoneNumber.IsEmpty() {
			r.Phone = each.PhoneNumber.User
		}
		if each.Error != 0 {
			r.Code = each.Error
		}
		if each.AddRequest != nil {
			r.Invite = &AddInvite{Code: each.AddRequest.Code, Expiration: each.AddRequest.Expiration}
		}
		results = append(results, r)
	}
	return results
}

// CreateGroup makes a group with other members and answers its id and what became of each. Errors: ErrBadNumber, ErrNotAcceptable, ErrClosed,
// ErrUnlinked.
func (p *Phone) CreateGroup(ctx context.Context, name string, others []string) (string, []MemberResult, error) {
	members, err := p.members(ctx, others)
	if err != nil {
		return "", nil, fmt.Errorf("create group: %w", err)
	}
	var made *types.GroupInfo
	err = p.ask(ctx, types.GroupServerJID, func(ctx context.Context) (err error) {
		made, err = p.cli.CreateGroup(ctx, whatsmeow.ReqCreateGroup{Name: name, Participants: members})
		return err
	})
	if err != nil {
		return "", nil, fmt.Errorf("create group: %w", err)
	}
	results := slices.DeleteFunc(p.results(made.Participants), func(r MemberResult) bool { return r.Phone == p.cfg.Phone })
	return made.JID.String(), results, nil
}

// ChangeGroup changes what is not nil, one after another. Errors: ErrUnknownGroup, ErrNotMember, ErrNotAllowed, ErrNotAcceptable, ErrClosed,
// ErrUnlinked.
func (p *Phone) ChangeGroup(ctx context.Context, id string, s GroupSettings) error {
	jid, err := group(id)
	if err != nil {
		return err
	}
	set := func(on *bool, do func(context.Context, types.JID, bool) error) func(context.Context) error {
		if on == nil {
			return nil
		}
		return func(ctx context.Context) error { return do(ctx, jid, *on) }
	}
	steps := []func(context.Context) error{
		set(s.Announce, p.cli.SetGroupAnnounce), set(s.Locked, p.cli.SetGroupLocked), set(s.JoinApproval, p.cli.SetGroupJoinApprovalMode),
		set(s.AdminsAdd, func(ctx context.Context, jid types.JID, on bool) error {
			mode := types.GroupMemberAddModeAllMember
			if on {
				mode = types.GroupMemberAddModeAdmin
			}
			return p.cli.SetGroupMemberAddMode(ctx, jid, mode)
		}),
	}
	if s.Name != nil {
		steps = append(steps, func(ctx context.Context) error { return p.cli.SetGroupName(ctx, jid, *s.Name) })
	}
	if s.Description != nil {
		steps = append(steps, func(ctx context.Context) error { return p.cli.SetGroupTopic(ctx, jid, "", "", *s.Description) })
	}
	if s.Picture != nil {
		steps = append(steps, func(ctx context.Context) error {
			picture := *s.Picture
			if len(picture) == 0 {
				picture = nil
			}
			_, err := p.cli.SetGroupPhoto(ctx, jid, picture)
			return err
		})
	}
	for _, step := range steps {
		if step == nil {
			continue
		}
		if err := p.ask(ctx, jid, step); err != nil {
			return fmt.Errorf("change group: %w", err)
		}
	}
	return nil
}

// AddMembers adds users to a group and answers what became of each. Errors as of [Phone.ChangeGroup], and ErrBadNumber.
func (p *Phone) AddMembers(ctx context.Context, id string, numbers []string) ([]MemberResult, error) {
	return p.changeMembers(ctx, id, numbers, whatsmeow.ParticipantChangeAdd)
}

// RemoveMembers is [Phone.AddMembers], the other way.
func (p *Phone) RemoveMembers(ctx context.Context, id string, numbers []string) ([]MemberResult, error) {
	return p.changeMembers(ctx, id, numbers, whatsmeow.ParticipantChangeRemove)
}

// Promote makes members of a group its admins; otherwise as [Phone.AddMembers].
func (p *Phone) Promote(ctx context.Context, id string, numbers []string) ([]MemberResult, error) {
	return p.changeMembers(ctx, id, numbers, whatsmeow.ParticipantChangePromote)
}

// Demote is [Phone.Promote], the other way.
func (p *Phone) Demote(ctx context.Context, id string, numbers []string) ([]MemberResult, error) {
	return p.changeMembers(ctx, id, numbers, whatsmeow.ParticipantChangeDemote)
}

func (p *Phone) changeMembers(ctx context.Context, id string, numbers []string, how whatsmeow.ParticipantChange) ([]MemberResult, error) {
	jid, err := group(id)
	if err != nil {
		return nil, err
	}
	members, err := p.members(ctx, numbers)
	if err != nil {
		return nil, fmt.Errorf("change members: %w", err)
	}
	var list []types.GroupParticipant
	err = p.ask(ctx, jid, func(ctx context.Context) (err error) {
		list, err = p.cli.UpdateGroupParticipants(ctx, jid, members, how)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("change members: %w", err)
	}
	return p.results(list), nil
}

// LeaveGroup leaves a group. Errors as of [Phone.ChangeGroup].
func (p *Phone) LeaveGroup(ctx context.Context, id string) error {
	jid, err := group(id)
	if err != nil {
		return err
	}
	if err = p.ask(ctx, jid, func(ctx context.Context) error { return p.cli.LeaveGroup(ctx, jid) }); err != nil {
		return fmt.Errorf("leave group: %w", err)
	}
	return nil
}
