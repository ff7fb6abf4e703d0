package api

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// GroupSessions is what the API needs of the fleet for groups. What acts on a group returns tenant.ErrChatNotFound,
// *session.OfflineError, session.ErrNotMember, session.ErrNotAdmin, *session.RefusedError and *session.UncertainError, in this order.
type GroupSessions interface {
	// Participants returns a group's members; WhatsApp is asked only about a group that was never read.
	Participants(ctx context.Context, id tenant.ID, chat tenant.ChatID) ([]tenant.Participant, error)
	// ChangeParticipants does something to participants and says what became of each.
	ChangeParticipants(
		ctx context.Context, id tenant.ID, chat tenant.ChatID, action session.ParticipantAction, people []tenant.ChatID,
	) ([]tenant.ParticipantResult, error)
	// JoinRequests returns who has asked to join.
	JoinRequests(ctx context.Context, id tenant.ID, chat tenant.ChatID) ([]tenant.JoinRequest, error)
	// ChangeGroup changes what a group is called.
	ChangeGroup(ctx context.Context, id tenant.ID, chat tenant.ChatID, change session.GroupChange) (tenant.Chat, error)
	// SetGroupPicture changes a group's picture and returns its id. Returns avatar.ErrFormat and avatar.ErrDimensions, too.
	SetGroupPicture(ctx context.Context, id tenant.ID, chat tenant.ChatID, file []byte) (string, error)
	// RemoveGroupPicture takes a group's picture away.
	RemoveGroupPicture(ctx context.Context, id tenant.ID, chat tenant.ChatID) error
	// GroupSettings returns a group's settings, as Participants does.
	GroupSettings(ctx context.Context, id tenant.ID, chat tenant.ChatID) (tenant.GroupSettings, error)
	// ChangeGroupSettings changes settings; a *session.PartialError says if some are changed already.
	ChangeGroupSettings(ctx context.Context, id tenant.ID, chat tenant.ChatID, change session.SettingsChange) (tenant.GroupSettings, error)
	// LeaveGroup leaves a group.
	LeaveGroup(ctx context.Context, id tenant.ID, chat tenant.ChatID) error
	// GroupInvite returns the invitation link, a new one if reset.
	GroupInvite(ctx context.Context, id tenant.ID, chat tenant.ChatID, reset bool) (link string, err error)
	// CreateGroup makes a group. Returns *session.OfflineError, *session.RefusedError, *session.PartialError.
	CreateGroup(ctx context.Context, id tenant.ID, name string, people []tenant.ChatID) (tenant.Chat, []tenant.ParticipantResult, error)
	// JoinGroup joins by the code of a link. Returns *session.OfflineError, session.ErrInviteInvalid, session.ErrInviteRevoked,
	// *session.RefusedError, *session.UncertainError.
	JoinGroup(ctx context.Context, id tenant.ID, code string) (session.Joining, error)
}

type groupHandler struct {
	sessions Sessions
	server   *Server
}

const (
	groupPath        = "/api/chats/{chatId}"
	participantsPath = groupPath + "/participants"
	requestsPath     = groupPath + "/join-requests"
)

// registerGroups registers what only groups have (client API v2 §7).
func registerGroups(d *document, sessions Sessions) {
	h := &groupHandler{sessions: sessions, server: d.server}
	h.registerParticipants(d)
	h.registerRequests(d)
	h.registerLook(d)
	h.registerInvites(d)
	register := &operation{
		id: "create-group", scope: tenant.ScopeManage, method: http.MethodPost, path: "/api/groups/create", tag: tagGroups, deadline: deadlineMulti, status: http.StatusCreated,
		summary: "Create a group",
		description: "Makes a group with this account as its owner and says in `results` what became of each of the others; who may not be added " +
			"gets an invitation as a message. When WhatsApp does not answer in time (504), the group may have been made.",
		problems: []Code{codeActionRejected, codeGatewayTimeout},
		request:  CreateGroup{Name: "Family", Participants: []personIDText{"5511999990001@c.us"}},
		response: CreatedGroup{Chat: exampleGroup(), Results: exampleResults(tenant.ResultAdded)},
	}
	tenantOperation(d, register, h.create)
}

func exampleGroup() tenant.Chat {
	return tenant.Chat{
		ID: "120363000000000001@g.us", Type: tenant.ChatGroup, Name: "Family", OwnerID: "5511999990001@c.us", ParticipantCount: new(2),
		IsAdmin: new(true), Announce: new(false), Locked: new(false), CreatedAt: exampleTime(), UpdatedAt: exampleTime(),
	}
}

func exampleResults(status string) []tenant.ParticipantResult {
	return []tenant.ParticipantResult{{ID: "5511999990001@c.us", Status: status}}
}

// groupProblems are those of all that is done to one group.
func groupProblems(more ...Code) []Code {
	return append([]Code{codeNotAGroup, codeChatNotFound, codeForbidden, codeActionRejected, codeGatewayTimeout}, more...)
}

// GroupPath is the part of a request that names a group.
type GroupPath struct {
	ChatID chatIDText `path:"chatId" doc:"The group's id: …@g.us. A person's is refused with 400 NOT_A_GROUP." example:"120363000000000001@g.us"`
}

// group is the group's id in our form.
func (p *GroupPath) group() (tenant.ChatID, error) {
	id, err := p.ChatID.id()
	if err == nil && !id.IsGroup() {
		err = newProblem(codeNotAGroup)
	}
	return id, err
}

type groupInput struct {
	GroupPath
}

func (h *groupHandler) registerParticipants(d *document) {
	tenantOperation(d, &operation{
		id: "list-participants", scope: tenant.ScopeRead, method: http.MethodGet, path: participantsPath, tag: tagGroups, deadline: deadlineAction,
		summary: "List the participants of a group",
		description: "From the local database, admins first, whatever the state of the connection. Only a group that was never read from WhatsApp " +
			"before is asked for there.",
		problems: groupProblems(),
		response: ParticipantList{Participants: []tenant.Participant{
			{ID: "5511999990001@c.us", LID: "104857600000001@lid", Phone: "5511999990001", Name: "Ana", Role: tenant.RoleSuperAdmin},
		}},
	}, h.participants)
	for _, each := range []struct {
		id, path, summary, description string
		action                         session.ParticipantAction
		result                         string
	}{
		{
			"add-participants", participantsPath, "Add participants to a group",
			"Whose settings do not let them be added gets an invitation as a message (`invited`). Admins only, unless the group's settings let " +
				"members add.", session.AddParticipants, tenant.ResultAdded,
		},
		{"promote-participants", participantsPath + "/promote", "Make participants admins", "Admins only.", session.PromoteParticipants, tenant.ResultPromoted},
		{"demote-participants", participantsPath + "/demote", "Make admins mere members", "Admins only.", session.DemoteParticipants, tenant.ResultDemoted},
		{"approve-join-requests", requestsPath + "/approve", "Let people join who asked", "Admins only.", session.ApproveRequests, tenant.ResultApproved},
		{"reject-join-requests", requestsPath + "/reject", "Refuse people who asked to join", "Admins only.", session.RejectRequests, tenant.ResultRejected},
	} {
		tenantOperation(d, &operation{
			id: each.id, scope: tenant.ScopeManage, method: http.MethodPost, path: each.path, tag: tagGroups, deadline: deadlineMulti, summary: each.summary,
			description: "Says in `results` what became of each. " + each.description, problems: groupProblems(),
			request:  ParticipantIDs{Participants: []personIDText{"5511999990001@c.us"}},
			response: ParticipantResults{Results: exampleResults(each.result)},
		}, h.change(each.action))
	}
	tenantOperation(d, &operation{
		id: "remove-participants", scope: tenant.ScopeManage, method: http.MethodDelete, path: participantsPath, tag: tagGroups, deadline: deadlineMulti,
		summary:     "Remove participants from a group",
		description: "Says in `results` what became of each. Name them in the body, or, where that is lost on its way, in the query. Admins only.",
		problems:    groupProblems(),
		request:     ParticipantIDs{Participants: []personIDText{"5511999990001@c.us"}},
		response:    ParticipantResults{Results: exampleResults(tenant.ResultRemoved)},
	}, h.remove)
}

func (h *groupHandler) registerRequests(d *document) {
	tenantOperation(d, &operation{
		id: "list-join-requests", scope: tenant.ScopeRead, method: http.MethodGet, path: requestsPath, tag: tagGroups, deadline: deadlineAction,
		summary:     "List who has asked to join a group",
		description: "As WhatsApp tells it now. Admins only.",
		problems:    groupProblems(),
		response:    JoinRequestList{Requests: []tenant.JoinRequest{{ID: "5511999990001@c.us", Phone: "5511999990001", RequestedAt: new(exampleTime())}}},
	}, h.requests)
}

// ParticipantIDs is the body of what is done to participants.
type ParticipantIDs struct {
	Participants []personIDText `json:"participants" minItems:"1" maxItems:"1024" nullable:"false" doc:"Who: persons' ids." example:"5511999990001@c.us"`
}

// ParticipantResults is the answer of what is done to participants.
type ParticipantResults struct {
	Results []tenant.ParticipantResult `json:"results" nullable:"false" doc:"What became of each, in the order of the request."`
}

type resultsOutput struct {
	Body ParticipantResults
}

type peopleInput struct {
	GroupPath

	Body ParticipantIDs
}

func (h *groupHandler) change(action session.ParticipantAction) func(context.Context, tenant.Handle, *peopleInput) (*resultsOutput, error) {
	return func(ctx context.Context, t tenant.Handle, in *peopleInput) (*resultsOutput, error) {
		group, err := in.group()
		if err != nil {
			return nil, err
		}
		return h.act(ctx, t, group, action, in.Body.Participants, "body.participants")
	}
}

func (h *groupHandler) act(
	ctx context.Context, t tenant.Handle, group tenant.ChatID, action session.ParticipantAction, texts []personIDText, where string,
) (*resultsOutput, error) {
	people, err := personIDs(texts)
	if err != nil {
		return nil, invalid(where, err.Error())
	}
	results, err := h.sessions.ChangeParticipants(ctx, t.ID(), group, action, people)
	if err != nil {
		return nil, err
	}
	return &resultsOutput{Body: ParticipantResults{Results: results}}, nil
}

type removeInput struct {
	GroupPath

	Participants []personIDText `query:"participants,explode" maxItems:"1024" doc:"Who, for clients whose DELETE has no body: repeated for each." example:"5511999990001@c.us"`
	Body         *ParticipantIDs
}

func (h *groupHandler) remove(ctx context.Context, t tenant.Handle, in *removeInput) (*resultsOutput, error) {
	where, people := "query.participants", in.Participants
	switch {
	case in.Body != nil && len(people) > 0:
		return nil, invalid("query.participants", "expected none where the body names participants")
	case in.Body != nil:
		where, people = "body.participants", in.Body.Participants
	case len(people) == 0:
		return nil, invalid("body.participants", "expected at least one, in the body or in the query")
	}
	group, err := in.group()
	if err != nil {
		return nil, err
	}
	return h.act(ctx, t, group, session.RemoveParticipants, people, where)
}

// ParticipantList is the answer of GET …/participants.
type ParticipantList struct {
	Participants []tenant.Participant `json:"participants" nullable:"false" doc:"Admins first."`
}

type participantsOutput struct {
	Body ParticipantList
}

func (h *groupHandler) participants(ctx context.Context, t tenant.Handle, in *groupInput) (*participantsOutput, error) {
	group, err := in.group()
	if err != nil {
		return nil, err
	}
	all, err := h.sessions.Participants(ctx, t.ID(), group)
	if err != nil {
		return nil, err
	}
	if all == nil {
		all = []tenant.Participant{}
	}
	return &participantsOutput{Body: ParticipantList{Participants: all}}, nil
}

// JoinRequestList is the answer of GET …/join-requests.
type JoinRequestList struct {
	Requests []tenant.JoinRequest `json:"requests" nullable:"false" doc:"Who has asked to join."`
}

type requestsOutput struct {
	Body JoinRequestList
}

func (h *groupHandler) requests(ctx context.Context, t tenant.Handle, in *groupInput) (*requestsOutput, error) {
	group, err := in.group()
	if err != nil {
		return nil, err
	}
	all, err := h.sessions.JoinRequests(ctx, t.ID(), group)
	if err != nil {
		return nil, err
	}
	if all == nil {
		all = []tenant.JoinRequest{}
	}
	return &requestsOutput{Body: JoinRequestList{Requests: all}}, nil
}

// CreateGroup is the body of POST /api/groups/create.
type CreateGroup struct {
	Name         string         `json:"name" minLength:"1" maxLength:"100" doc:"The group's subject." example:"Family"`
	Participants []personIDText `json:"participants" maxItems:"1023" nullable:"false" doc:"Who is to be in it, besides this account." example:"5511999990001@c.us"`
}

// Resolve checks what a schema cannot say of a text.
func (b *CreateGroup) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	return textErrors(b.Name, at, "name")
}

// textErrors is textFault for a resolver.
func textErrors(text string, at *huma.PathBuffer, field string) []error {
	if fault := textFault(text); fault != "" {
		return []error{&huma.ErrorDetail{Location: at.With(field), Message: fault}}
	}
	return nil
}

// CreatedGroup is the answer of POST /api/groups/create.
type CreatedGroup struct {
	tenant.Chat

	Results []tenant.ParticipantResult `json:"results" nullable:"false" doc:"What became of each of those who were to be in it."`
}

type createGroupInput struct {
	Body CreateGroup
}

type createGroupOutput struct {
	Body CreatedGroup
}

func (h *groupHandler) create(ctx context.Context, t tenant.Handle, in *createGroupInput) (*createGroupOutput, error) {
	people, err := personIDs(in.Body.Participants)
	if err != nil {
		return nil, invalid("body.participants", err.Error())
	}
	chat, results, err := h.sessions.CreateGroup(ctx, t.ID(), tenant.CleanText(in.Body.Name), people)
	if err != nil {
		return nil, err
	}
	if results == nil {
		results = []tenant.ParticipantResult{}
	}
	return &createGroupOutput{Body: CreatedGroup{Chat: chat, Results: results}}, nil
}

var inviteForm = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)

// inviteCode reads an invitation link, or the code at its end. Empty if it is neither.
func inviteCode(text string) string {
	text = strings.TrimSpace(text)
	for _, prefix := range []string{"https://", "http://"} {
		text = strings.TrimPrefix(text, prefix)
	}
	if rest, isLink := strings.CutPrefix(text, "chat.whatsapp.com/"); isLink {
		rest, _, _ = strings.Cut(rest, "?")
		text = strings.TrimSuffix(strings.TrimPrefix(rest, "invite/"), "/")
	}
	if !inviteForm.MatchString(text) {
		return ""
	}
	return text
}

// groupProblem is the problem that an error of a group stands for, or nil.
func groupProblem(err error) *Problem {
	if partial, ok := errors.AsType[*session.PartialError](err); ok {
		return problemOf(partial.Err, true).because(partial.Done)
	}
	if rejected, ok := errors.AsType[*session.RejectedError](err); ok && rejected.Message.ChatID.IsGroup() {
		code := map[int]Code{http.StatusForbidden: codeForbidden, http.StatusNotFound: codeChatNotFound}[rejected.Code]
		if code == "" {
			return nil
		}
		p := newProblem(code).because("WhatsApp refused the message with code " + strconv.Itoa(rejected.Code) +
			": the group is gone, or this account may not send to it. The message is stored as failed.")
		p.MessageID, p.MessageStatus = rejected.Message.ID, tenant.StatusFailed.String()
		return p
	}
	for cause, detail := range map[error]string{
		session.ErrNotMember:    "This account is not a member of the group.",
		session.ErrNotAdmin:     "Only admins of the group may do that.",
		session.ErrAnnounceOnly: "Only admins may send messages to this group.",
	} {
		if errors.Is(err, cause) {
			return newProblem(codeForbidden).because(detail)
		}
	}
	return nil
}
