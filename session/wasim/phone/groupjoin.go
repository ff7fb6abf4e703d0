package phone

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// GroupInvite is an invitation into a group that came in a message; it is for this phone alone. [Phone.AcceptInvite] takes it.
type GroupInvite struct {
	Group      string    `json:"group"`
	Name       string    `json:"name,omitempty"`
	Code       string    `json:"code"`
	Expiration time.Time `json:"expiration"`
}

// InviteCode answers the code of a group's link, a new one with reset; the link is [InviteLink] and the code. Errors as of
// [Phone.ChangeGroup].
func (p *Phone) InviteCode(ctx context.Context, id string, reset bool) (string, error) {
	jid, err := group(id)
	if err != nil {
		return "", err
	}
	var link string
	err = p.ask(ctx, jid, func(ctx context.Context) (err error) {
		link, err = p.cli.GetGroupInviteLink(ctx, jid, reset)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("group link: %w", err)
	}
	return strings.TrimPrefix(link, InviteLink), nil
}

// InviteLink is what comes before the code of a link.
const InviteLink = whatsmeow.InviteLinkPrefix

// JoinGroup joins by a link or its code. pending is true when an admin has to approve it first. Errors: ErrBadInvite, ErrGone for a link that
// was reset, ErrMember, ErrNotAcceptable when it is full, ErrClosed, ErrUnlinked.
func (p *Phone) JoinGroup(ctx context.Context, code string) (id string, pending bool, err error) {
	var jid types.JID
	err = p.ask(ctx, types.GroupServerJID, func(ctx context.Context) (err error) {
		jid, err = p.cli.JoinGroupWithLink(ctx, strings.TrimPrefix(strings.TrimSpace(code), InviteLink))
		return err
	})
	var iq *whatsmeow.IQError
	switch {
	case err == nil:
	case errors.Is(err, whatsmeow.ErrInviteLinkRevoked):
		return "", false, fmt.Errorf("join group: %w: %w", ErrGone, err)
	case errors.Is(err, whatsmeow.ErrInviteLinkInvalid):
		return "", false, fmt.Errorf("join group: %w: %w", ErrBadInvite, err)
	case errors.As(err, &iq):
		return "", false, fmt.Errorf("join group: %w", inGroup(types.NewJID("", types.GroupServer), err))
	default:
		return "", false, fmt.Errorf("join group: %w", err)
	}
	// whatsmeow does not say whether it was a joining or a request.
	err = p.ask(ctx, jid, func(ctx context.Context) error {
		_, err := p.cli.GetGroupInfo(ctx, jid)
		return err
	})
	if err != nil && !errors.Is(err, ErrNotMember) {
		return "", false, fmt.Errorf("join group: %w", err)
	}
	return jid.String(), err != nil, nil
}

// JoinRequests answers the numbers of who asked to join a group. Errors as of [Phone.ChangeGroup].
func (p *Phone) JoinRequests(ctx context.Context, id string) ([]string, error) {
	jid, err := group(id)
	if err != nil {
		return nil, err
	}
	var numbers []string
	err = p.ask(ctx, jid, func(ctx context.Context) error {
		// whatsmeow's own way leaves the numbers out, and the asking are strangers
		answer, err := p.inner().SendGroupIQ(ctx, "get", jid, waBinary.Node{Tag: "membership_approval_requests"})
		if err != nil {
			return err
		}
		list := answer.GetChildByTag("membership_approval_requests")
		numbers = make([]string, 0, len(list.GetChildren()))
		for _, each := range list.GetChildrenByTag("membership_approval_request") {
			ag := each.AttrGetter()
			asking := ag.OptionalJIDOrEmpty("phone_number")
			if asking.IsEmpty() {
				asking = ag.OptionalJIDOrEmpty("jid")
			}
			numbers = append(numbers, p.numberOf(asking))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("requests to join: %w", err)
	}
	return numbers, nil
}

// DecideRequests approves or rejects requests to join and answers what became of each. Errors as of [Phone.AddMembers].
func (p *Phone) DecideRequests(ctx context.Context, id string, numbers []string, approve bool) ([]MemberResult, error) {
	jid, err := group(id)
	if err != nil {
		return nil, err
	}
	members, err := p.members(ctx, numbers)
	if err != nil {
		return nil, fmt.Errorf("requests to join: %w", err)
	}
	how := whatsmeow.ParticipantChangeReject
	if approve {
		how = whatsmeow.ParticipantChangeApprove
	}
	var list []types.GroupParticipant
	err = p.ask(ctx, jid, func(ctx context.Context) (err error) {
		list, err = p.cli.UpdateGroupRequestParticipants(ctx, jid, members, how)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("requests to join: %w", err)
	}
	return p.results(list), nil
}

// SendInvite passes the invitation of a [MemberResult] on to the user it is for, and answers the id of that message. Errors as of [Phone.SendText].
func (p *Phone) SendInvite(ctx context.Context, to string, invite GroupInvite) (string, error) {
	id, err := group(invite.Group)
	if err != nil {
		return "", err
	}
	jid, err := p.recipient(ctx, to, SendOptions{})
	if err != nil {
		return "", err
	}
	expiration := invite.Expiration.Unix()
	return p.send(ctx, jid, outgoing{part: &waE2E.Message{GroupInviteMessage: &waE2E.GroupInviteMessage{
		GroupJID: new(id.String()), GroupName: &invite.Name, InviteCode: &invite.Code, InviteExpiration: &expiration,
	}}})
}

// AcceptInvite joins with the invitation of a message. Errors: ErrUnknownMessage, ErrGone, ErrMember, ErrNotAcceptable when the group is full,
// ErrClosed, ErrUnlinked.
func (p *Phone) AcceptInvite(ctx context.Context, message string) error {
	for _, known := range p.sent.all(message) {
		m := known.msg.GetGroupInviteMessage()
		jid, err := types.ParseJID(m.GetGroupJID())
		if m == nil || err != nil || known.from.IsEmpty() {
			continue
		}
		err = p.ask(ctx, jid, func(ctx context.Context) error {
			return p.cli.JoinGroupWithInvite(ctx, jid, known.from.ToNonAD(), m.GetInviteCode(), m.GetInviteExpiration())
		})
		if err != nil {
			return fmt.Errorf("accept invitation: %w", err)
		}
		return nil
	}
	return fmt.Errorf("accept invitation: %w", ErrUnknownMessage)
}

// Who may add an account to groups.
const (
	AddedByAll      = types.PrivacySettingAll
	AddedByContacts = types.PrivacySettingContacts
	AddedByNobody   = types.PrivacySettingNone
)

// SetWhoAdds says who may add this phone to groups; others have to invite it. Errors: ErrRefused, ErrClosed, ErrUnlinked.
func (p *Phone) SetWhoAdds(ctx context.Context, who types.PrivacySetting) error {
	err := p.ask(ctx, types.ServerJID, func(ctx context.Context) error {
		_, err := p.cli.SetPrivacySetting(ctx, types.PrivacySettingTypeGroupAdd, who)
		return err
	})
	if err != nil {
		return fmt.Errorf("set privacy: %w: %w", ErrRefused, err)
	}
	return nil
}
