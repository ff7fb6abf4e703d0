package api_test

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/avatar"
	"github.com/wafleet/wafleet/tenant"
)

// ownID is the account that the test fleet speaks for.
const ownID tenant.ChatID = "5511988880000@c.us"

// inGroup is what every action on a group checks first.
func (f *fleet) inGroup(ctx context.Context, id tenant.ID, chat tenant.ChatID) (tenant.Handle, error) {
	h := f.store.Tenant(id)
	if _, err := h.Chat(ctx, chat); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return h, f.sendErr
}

func (f *fleet) change(ctx context.Context, h tenant.Handle, chat tenant.ChatID, change tenant.ChangeGroup) error {
	change.ID, change.Self, change.By = chat, ownID, ownID
	_, err := h.Commit(ctx, change)
	return err
}

func (f *fleet) Participants(ctx context.Context, id tenant.ID, chat tenant.ChatID) ([]tenant.Participant, error) {
	h, err := f.inGroup(ctx, id, chat)
	if err != nil {
		return nil, err
	}
	return h.Participants(ctx, chat)
}

func (f *fleet) ChangeParticipants(
	ctx context.Context, id tenant.ID, chat tenant.ChatID, action session.ParticipantAction, people []tenant.ChatID,
) ([]tenant.ParticipantResult, error) {
	h, err := f.inGroup(ctx, id, chat)
	if err != nil {
		return nil, err
	}
	status, change := map[session.ParticipantAction]string{
		session.AddParticipants: tenant.ResultAdded, session.RemoveParticipants: tenant.ResultRemoved,
		session.PromoteParticipants: tenant.ResultPromoted, session.DemoteParticipants: tenant.ResultDemoted,
		session.ApproveRequests: tenant.ResultApproved, session.RejectRequests: tenant.ResultRejected,
	}[action], tenant.ChangeGroup{}
	switch action {
	case session.AddParticipants, session.ApproveRequests:
		change.Added = people
	case session.RemoveParticipants:
		change.Removed = people
	case session.PromoteParticipants:
		change.Promoted = people
	case session.DemoteParticipants:
		change.Demoted = people
	case session.RejectRequests:
	}
	results := make([]tenant.ParticipantResult, 0, len(people))
	for _, p := range people {
		results = append(results, tenant.ParticipantResult{ID: p, Status: status})
	}
	return results, f.change(ctx, h, chat, change)
}

func (f *fleet) JoinRequests(ctx context.Context, id tenant.ID, chat tenant.ChatID) ([]tenant.JoinRequest, error) {
	if _, err := f.inGroup(ctx, id, chat); err != nil {
		return nil, err
	}
	return []tenant.JoinRequest{{ID: ana, RequestedAt: new(time.Now().UTC())}}, nil
}

func (f *fleet) ChangeGroup(ctx context.Context, id tenant.ID, chat tenant.ChatID, c session.GroupChange) (tenant.Chat, error) {
	h, err := f.inGroup(ctx, id, chat)
	if err == nil {
		err = f.change(ctx, h, chat, tenant.ChangeGroup{Name: c.Name, Description: c.Description})
	}
	if err != nil {
		return tenant.Chat{}, err
	}
	return h.Chat(ctx, chat)
}

func (f *fleet) SetGroupPicture(ctx context.Context, id tenant.ID, chat tenant.ChatID, file []byte) (string, error) {
	made, err := avatar.New().Make(ctx, file)
	if err != nil {
		return "", fmt.Errorf("make the picture: %w", err)
	}
	picture := strconv.Itoa(len(made))
	return picture, f.changeGroupPicture(ctx, id, chat, picture)
}

func (f *fleet) RemoveGroupPicture(ctx context.Context, id tenant.ID, chat tenant.ChatID) error {
	return f.changeGroupPicture(ctx, id, chat, "")
}

func (f *fleet) changeGroupPicture(ctx context.Context, id tenant.ID, chat tenant.ChatID, picture string) error {
	h, err := f.inGroup(ctx, id, chat)
	if err != nil {
		return err
	}
	return f.change(ctx, h, chat, tenant.ChangeGroup{PictureID: &picture})
}

func (f *fleet) GroupSettings(ctx context.Context, id tenant.ID, chat tenant.ChatID) (tenant.GroupSettings, error) {
	h, err := f.inGroup(ctx, id, chat)
	if err != nil {
		return tenant.GroupSettings{}, err
	}
	g, err := h.Group(ctx, chat)
	return g.Settings, err
}

func (f *fleet) ChangeGroupSettings(ctx context.Context, id tenant.ID, chat tenant.ChatID, c session.SettingsChange) (tenant.GroupSettings, error) {
	h, err := f.inGroup(ctx, id, chat)
	if err == nil {
		err = f.change(ctx, h, chat, tenant.ChangeGroup{Announce: c.Announce, Locked: c.Locked, JoinApproval: c.JoinApproval, MemberAdd: c.MemberAdd})
	}
	if err != nil {
		return tenant.GroupSettings{}, err
	}
	return f.GroupSettings(ctx, id, chat)
}

func (f *fleet) LeaveGroup(ctx context.Context, id tenant.ID, chat tenant.ChatID) error {
	h, err := f.inGroup(ctx, id, chat)
	if err != nil {
		return err
	}
	return f.change(ctx, h, chat, tenant.ChangeGroup{Gone: true})
}

func (f *fleet) GroupInvite(ctx context.Context, id tenant.ID, chat tenant.ChatID, reset bool) (string, error) {
	if _, err := f.inGroup(ctx, id, chat); err != nil {
		return "", err
	}
	if reset {
		return "https://chat.whatsapp.com/ANOTHERCODE", nil
	}
	return "https://chat.whatsapp.com/THEFIRSTCODE", nil
}

func (f *fleet) CreateGroup(ctx context.Context, id tenant.ID, name string, people []tenant.ChatID) (tenant.Chat, []tenant.ParticipantResult, error) {
	f.mu.Lock()
	err := f.sendErr
	f.mu.Unlock()
	if err != nil {
		return tenant.Chat{}, nil, err
	}
	put := tenant.PutGroup{
		Group: tenant.Group{ID: group, Name: name, OwnerID: ownID, Settings: tenant.GroupSettings{MemberAdd: tenant.MemberAddAll}},
		Self:  ownID, Rev: -1, Joined: true, Participants: []tenant.Participant{{ID: ownID, Role: tenant.RoleSuperAdmin}},
	}
	var results []tenant.ParticipantResult
	for _, p := range people {
		put.Participants = append(put.Participants, tenant.Participant{ID: p, Role: tenant.RoleMember})
		results = append(results, tenant.ParticipantResult{ID: p, Status: tenant.ResultAdded})
	}
	h := f.store.Tenant(id)
	if _, err = h.Commit(ctx, put); err != nil {
		return tenant.Chat{}, nil, err
	}
	chat, err := h.Chat(ctx, group)
	return chat, results, err
}

func (f *fleet) JoinGroup(ctx context.Context, id tenant.ID, code string) (session.Joining, error) {
	switch code {
	case "PENDINGCODE":
		return session.Joining{Pending: true, ID: group, Name: "Family"}, nil
	case "UNKNOWNCODE":
		return session.Joining{}, session.ErrInviteInvalid
	case "REVOKEDCODE":
		return session.Joining{}, session.ErrInviteRevoked
	}
	_, err := f.store.Tenant(id).Chat(ctx, group)
	already := err == nil
	chat, _, err := f.CreateGroup(ctx, id, "Family", nil)
	return session.Joining{ID: group, Chat: chat, Already: already}, err
}
