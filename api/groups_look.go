package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// registerLook registers what a group is called and how it is set up.
func (h *groupHandler) registerLook(d *document) {
	tenantOperation(d, &operation{
		id: "rename-group", scope: tenant.ScopeManage, method: http.MethodPatch, path: groupPath + "/name", tag: tagGroups, deadline: deadlineAction,
		summary: "Rename a group", description: "In a locked group, admins only.", problems: groupProblems(),
		request: GroupName{Name: "Family"}, response: exampleGroup(),
	}, h.rename)
	tenantOperation(d, &operation{
		id: "describe-group", scope: tenant.ScopeManage, method: http.MethodPatch, path: groupPath + "/description", tag: tagGroups, deadline: deadlineAction,
		summary: "Change a group's description", description: "An empty one takes it away. In a locked group, admins only.", problems: groupProblems(),
		request: GroupDescription{Description: "All of us"}, response: exampleGroup(),
	}, h.describe)
	tenantOperation(d, &operation{
		id: "set-group-picture", scope: tenant.ScopeManage, method: http.MethodPut, path: groupPath + "/picture", tag: tagGroups, deadline: deadlineMulti,
		summary: "Change a group's picture", description: pictureTaken + " In a locked group, admins only.",
		problems: groupProblems(codeTooLarge, codeUnsupportedMedia, codeRequestTimeout),
		response: PictureSet{PictureID: "1764100000000000"},
	}, h.setPicture)
	takesPicture(d, groupPath+"/picture")
	tenantOperation(d, &operation{
		id: "delete-group-picture", scope: tenant.ScopeManage, method: http.MethodDelete, path: groupPath + "/picture", tag: tagGroups, deadline: deadlineAction,
		summary: "Take a group's picture away", description: "In a locked group, admins only.", problems: groupProblems(),
	}, h.deletePicture)
	tenantOperation(d, &operation{
		id: "get-group-settings", scope: tenant.ScopeRead, method: http.MethodGet, path: groupPath + "/settings", tag: tagGroups, deadline: deadlineAction,
		summary: "Get a group's settings", description: "From the local database, as the participants.", problems: groupProblems(),
		response: tenant.GroupSettings{MemberAdd: tenant.MemberAddAll},
	}, h.settings)
	tenantOperation(d, &operation{
		id: "change-group-settings", scope: tenant.ScopeManage, method: http.MethodPatch, path: groupPath + "/settings", tag: tagGroups, deadline: deadlineMulti,
		summary:     "Change a group's settings",
		description: "Changes those that are given, one after the other; should one fail, `detail` says which are changed. Admins only.",
		problems:    groupProblems(),
		request:     ChangeGroupSettings{Announce: new(true)},
		response:    tenant.GroupSettings{Announce: true, MemberAdd: tenant.MemberAddAll},
	}, h.changeSettings)
	tenantOperation(d, &operation{
		id: "leave-group", scope: tenant.ScopeManage, method: http.MethodPost, path: groupPath + "/leave", tag: tagGroups, deadline: deadlineAction,
		summary: "Leave a group", description: "The chat stays, with its messages.", problems: groupProblems(),
	}, h.leave)
}

// GroupName is the body of PATCH …/name.
type GroupName struct {
	Name string `json:"name" minLength:"1" maxLength:"100" doc:"The group's subject." example:"Family"`
}

// Resolve checks what a schema cannot say of a text.
func (b *GroupName) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	return textErrors(b.Name, at, "name")
}

// GroupDescription is the body of PATCH …/description.
type GroupDescription struct {
	Description string `json:"description" maxLength:"2048" doc:"The description; empty: none." example:"All of us"`
}

// Resolve checks what a schema cannot say of a text.
func (b *GroupDescription) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	return textErrors(b.Description, at, "description")
}

type renameInput struct {
	GroupPath

	Body GroupName
}

func (h *groupHandler) rename(ctx context.Context, t tenant.Handle, in *renameInput) (*chatOutput, error) {
	return h.look(ctx, t, &in.GroupPath, session.GroupChange{Name: new(tenant.CleanText(in.Body.Name))})
}

type describeInput struct {
	GroupPath

	Body GroupDescription
}

func (h *groupHandler) describe(ctx context.Context, t tenant.Handle, in *describeInput) (*chatOutput, error) {
	return h.look(ctx, t, &in.GroupPath, session.GroupChange{Description: new(tenant.CleanText(in.Body.Description))})
}

func (h *groupHandler) look(ctx context.Context, t tenant.Handle, in *GroupPath, change session.GroupChange) (*chatOutput, error) {
	group, err := in.group()
	if err != nil {
		return nil, err
	}
	chat, err := h.sessions.ChangeGroup(ctx, t.ID(), group, change)
	if err != nil {
		return nil, err
	}
	return &chatOutput{Body: chat}, nil
}

type groupPictureInput struct {
	GroupPath
	PictureForm
}

func (h *groupHandler) setPicture(ctx context.Context, t tenant.Handle, in *groupPictureInput) (*pictureSetOutput, error) {
	return h.server.setPicture(&in.PictureForm, func(file []byte) (string, error) {
		group, err := in.group()
		if err != nil {
			return "", err
		}
		return h.sessions.SetGroupPicture(ctx, t.ID(), group, file)
	})
}

func (h *groupHandler) deletePicture(ctx context.Context, t tenant.Handle, in *groupInput) (*struct{}, error) {
	group, err := in.group()
	if err != nil {
		return nil, err
	}
	return nil, h.sessions.RemoveGroupPicture(ctx, t.ID(), group)
}

// ChangeGroupSettings is the body of PATCH …/settings.
type ChangeGroupSettings struct {
	Announce     *bool             `json:"announce,omitempty" doc:"Whether only admins may send messages." example:"true"`
	Locked       *bool             `json:"locked,omitempty" doc:"Whether only admins may change name, description and picture."`
	JoinApproval *bool             `json:"joinApproval,omitempty" doc:"Whether admins approve who joins by link."`
	MemberAdd    *tenant.MemberAdd `json:"memberAdd,omitempty" enum:"all,admins" doc:"Who may add members."`
}

// Resolve checks that there is something to change.
func (b *ChangeGroupSettings) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	if *b == (ChangeGroupSettings{}) {
		return []error{&huma.ErrorDetail{Location: at.String(), Message: "expected at least one setting"}}
	}
	return nil
}

type settingsInput struct {
	GroupPath

	Body ChangeGroupSettings
}

type settingsOutput struct {
	Body tenant.GroupSettings
}

func (h *groupHandler) settings(ctx context.Context, t tenant.Handle, in *groupInput) (*settingsOutput, error) {
	group, err := in.group()
	if err != nil {
		return nil, err
	}
	settings, err := h.sessions.GroupSettings(ctx, t.ID(), group)
	if err != nil {
		return nil, err
	}
	return &settingsOutput{Body: settings}, nil
}

func (h *groupHandler) changeSettings(ctx context.Context, t tenant.Handle, in *settingsInput) (*settingsOutput, error) {
	group, err := in.group()
	if err != nil {
		return nil, err
	}
	settings, err := h.sessions.ChangeGroupSettings(ctx, t.ID(), group, session.SettingsChange(in.Body))
	if err != nil {
		return nil, err
	}
	return &settingsOutput{Body: settings}, nil
}

func (h *groupHandler) leave(ctx context.Context, t tenant.Handle, in *groupInput) (*struct{}, error) {
	group, err := in.group()
	if err != nil {
		return nil, err
	}
	return nil, h.sessions.LeaveGroup(ctx, t.ID(), group)
}

// registerInvites registers invitation links.
func (h *groupHandler) registerInvites(d *document) {
	example := Invite{Link: "https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv", Code: "AbCdEfGhIjKlMnOpQrStUv"}
	tenantOperation(d, &operation{
		id: "get-group-invite", scope: tenant.ScopeRead, method: http.MethodGet, path: groupPath + "/invite", tag: tagGroups, deadline: deadlineAction,
		summary: "Get a group's invitation link", description: "Admins only.", problems: groupProblems(), response: example,
	}, h.invite(false))
	tenantOperation(d, &operation{
		id: "reset-group-invite", scope: tenant.ScopeManage, method: http.MethodPost, path: groupPath + "/invite/reset", tag: tagGroups, deadline: deadlineAction,
		summary: "Replace a group's invitation link", description: "The old link does not work any more. Admins only.", problems: groupProblems(), response: example,
	}, h.invite(true))
	tenantOperation(d, &operation{
		id: "join-group", scope: tenant.ScopeManage, method: http.MethodPost, path: "/api/groups/join", tag: tagGroups, deadline: deadlineMulti, status: http.StatusCreated,
		summary: "Join a group by its invitation link",
		description: "201 with the chat; 200 where the account is in the group already; 202 where admins have to approve first: the chat comes " +
			"when they do.",
		problems: []Code{codeInviteNotFound, codeInviteRevoked, codeActionRejected, codeForbidden, codeChatNotFound, codeGatewayTimeout},
		request:  JoinGroup{Invite: example.Link},
		adjust: func(op *huma.Operation, schemas huma.Registry) {
			for status, description := range map[string]string{"200": "The account is a member already.", "201": "The account is a member now."} {
				answered := jsonResponse[tenant.Chat](schemas)
				answered.Description = description
				answered.Content[jsonType].Example = exampleGroup()
				op.Responses[status] = answered
			}
			pending := jsonResponse[PendingJoin](schemas)
			pending.Description = "Admins of the group have to approve."
			pending.Content[jsonType].Example = PendingJoin{ID: exampleGroup().ID, Name: exampleGroup().Name, Status: "pending"}
			op.Responses["202"] = pending
		},
	}, h.join)
}

// Invite is a group's invitation link.
type Invite struct {
	Link string `json:"link" doc:"The link." example:"https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv"`
	Code string `json:"code" doc:"What the link ends with." example:"AbCdEfGhIjKlMnOpQrStUv"`
}

type inviteOutput struct {
	Body Invite
}

func (h *groupHandler) invite(reset bool) func(context.Context, tenant.Handle, *groupInput) (*inviteOutput, error) {
	return func(ctx context.Context, t tenant.Handle, in *groupInput) (*inviteOutput, error) {
		group, err := in.group()
		if err != nil {
			return nil, err
		}
		link, err := h.sessions.GroupInvite(ctx, t.ID(), group, reset)
		if err != nil {
			return nil, err
		}
		h.server.links.learn(t.ID(), group, link) // join URLs follow a reset
		return &inviteOutput{Body: Invite{Link: link, Code: inviteCode(link)}}, nil
	}
}

// JoinGroup is the body of POST /api/groups/join.
type JoinGroup struct {
	Invite string `json:"invite" minLength:"8" maxLength:"200" doc:"The invitation link, or the code at its end." example:"https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv"`
}

// Resolve checks that it is an invitation.
func (b *JoinGroup) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	if inviteCode(b.Invite) == "" {
		return []error{&huma.ErrorDetail{Location: at.With("invite"), Message: "expected an invitation link such as https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv, or its code"}}
	}
	return nil
}

// PendingJoin says that admins have to approve before the account is in a group.
type PendingJoin struct {
	ID     tenant.ChatID `json:"id" doc:"The group's id." example:"120363000000000001@g.us"`
	Name   string        `json:"name" doc:"The group's subject." example:"Family"`
	Status string        `json:"status" enum:"pending" doc:"Always pending." example:"pending"`
}

type joinGroupInput struct {
	Body JoinGroup
}

type joinGroupOutput struct {
	Status int
	Body   any
}

func (h *groupHandler) join(ctx context.Context, t tenant.Handle, in *joinGroupInput) (*joinGroupOutput, error) {
	joined, err := h.sessions.JoinGroup(ctx, t.ID(), inviteCode(in.Body.Invite))
	switch {
	case err != nil:
		return nil, err
	case joined.Pending:
		return &joinGroupOutput{http.StatusAccepted, PendingJoin{ID: joined.ID, Name: joined.Name, Status: "pending"}}, nil
	case joined.Already:
		return &joinGroupOutput{http.StatusOK, joined.Chat}, nil
	default:
		return &joinGroupOutput{http.StatusCreated, joined.Chat}, nil
	}
}
