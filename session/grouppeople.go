package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// ParticipantAction is what is done to participants.
type ParticipantAction string

// The actions.
const (
	AddParticipants     ParticipantAction = "add"
	RemoveParticipants  ParticipantAction = "remove"
	PromoteParticipants ParticipantAction = "promote"
	DemoteParticipants  ParticipantAction = "demote"
	ApproveRequests     ParticipantAction = "approve"
	RejectRequests      ParticipantAction = "reject"
)

// maxPeople bounds the persons of one request to WhatsApp.
const maxPeople = 256

// outcomes are the words for what WhatsApp answers about one participant.
func (p ParticipantAction) outcomes() (done string, byCode map[int]string) {
	absent := map[int]string{404: tenant.ResultNotInGroup}
	switch p {
	case AddParticipants:
		return tenant.ResultAdded, map[int]string{404: tenant.ResultNotOnWA, 409: tenant.ResultAlreadyIn}
	case RemoveParticipants:
		return tenant.ResultRemoved, absent
	case PromoteParticipants:
		return tenant.ResultPromoted, absent
	case DemoteParticipants:
		return tenant.ResultDemoted, absent
	case ApproveRequests:
		return tenant.ResultApproved, map[int]string{404: tenant.ResultNotRequested}
	case RejectRequests:
		return tenant.ResultRejected, map[int]string{404: tenant.ResultNotRequested}
	}
	return tenant.ResultFailed, nil
}

// done says whether it shows in somebody's role that it was done.
func (p ParticipantAction) done(r tenant.Role) bool {
	switch p {
	case AddParticipants, ApproveRequests:
		return r != tenant.RoleNone
	case RemoveParticipants:
		return r == tenant.RoleNone
	case PromoteParticipants:
		return r.IsAdmin()
	case DemoteParticipants:
		return !r.IsAdmin()
	case RejectRequests:
	}
	return true
}

// why is the sentence for a code that has no word of its own.
func (p ParticipantAction) why(code int) string {
	switch {
	case code == 401 && p == AddParticipants:
		return "The person does not let this account add them."
	case code == 403 && p == AddParticipants:
		return "The person's settings do not let this account add them."
	case code == 403:
		return "Nobody can do that to who made the group."
	case code == 408:
		return "The person left the group recently."
	case code == 419:
		return "The group is full."
	}
	return fmt.Sprintf("WhatsApp refused with code %d.", code)
}

// ChangeParticipants adds, removes, promotes or demotes participants, or decides on their requests to join, and says what became of
// each. Who may not be added gets an invitation as a message, as WhatsApp's own apps send it.
//
// Errors as of [Fleet.ChangeGroup].
func (f *Fleet) ChangeParticipants(
	ctx context.Context, id tenant.ID, chat tenant.ChatID, action ParticipantAction, people []tenant.ChatID,
) (results []tenant.ParticipantResult, err error) {
	defer f.watch.contain("participants", &err)
	c, g, err := f.group(ctx, id, chat)
	if err != nil {
		return nil, err
	}
	if !g.Role.IsAdmin() && (action != AddParticipants || g.Settings.MemberAdd == tenant.MemberAddAdmins) {
		return nil, ErrNotAdmin
	}
	if people, err = canonical(ctx, c.actor.handle, people); err != nil {
		return nil, err
	}
	m := &moves{conn: c, group: &g, action: action}
	err = c.onGroup(ctx, &g, groupActTimeout, func(ctx context.Context) error {
		for some := range slices.Chunk(people, maxPeople) {
			if err := m.move(ctx, some); err != nil {
				if len(m.results) == 0 {
					return err
				}
				m.giveUp(people[len(m.results):], c.groupFault(err))
				break
			}
		}
		m.inviteAll(ctx)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m.results, nil
}

// moves is an action on participants under way.
type moves struct {
	conn    *conn
	group   *tenant.Group
	action  ParticipantAction
	results []tenant.ParticipantResult
	invites []invitation
}

// invitation is one that has to be passed on.
type invitation struct {
	at      int // in results
	request types.GroupParticipantAddRequest
}

// giveUp says of those that were not come to why.
func (m *moves) giveUp(rest []tenant.ChatID, err error) {
	why := "Not done: WhatsApp refused."
	if _, uncertain := errors.AsType[*UncertainError](err); uncertain {
		why = "WhatsApp did not answer in time; it may be done."
	}
	for _, id := range rest {
		m.results = append(m.results, tenant.ParticipantResult{ID: id, Status: tenant.ResultFailed, Error: why})
	}
}

// move does the action to some, in one request.
func (m *moves) move(ctx context.Context, people []tenant.ChatID) error {
	c := m.conn
	jids, err := c.names(ctx, people)
	if err != nil {
		return err
	}
	var answers []types.GroupParticipant
	ctx, cancel := context.WithTimeout(ctx, groupTimeout)
	defer cancel()
	switch m.action {
	case ApproveRequests, RejectRequests:
		answers, err = c.cli.UpdateGroupRequestParticipants(ctx, jidOf(m.group.ID), jids, whatsmeow.ParticipantRequestChange(m.action))
	case AddParticipants, RemoveParticipants, PromoteParticipants, DemoteParticipants:
		answers, err = c.cli.UpdateGroupParticipants(ctx, jidOf(m.group.ID), jids, whatsmeow.ParticipantChange(m.action))
	}
	if err != nil {
		return err
	}
	done := m.take(people, jids, answers)
	if len(done) == 0 || m.action == RejectRequests {
		return nil
	}
	return c.settle(ctx, m.group.ID, func(ctx context.Context, _ *tenant.Group) bool { return m.settled(ctx, done) })
}

// settled says whether it is stored that the action was done to some.
func (m *moves) settled(ctx context.Context, people []tenant.ChatID) bool {
	members, err := m.conn.actor.handle.Participants(ctx, m.group.ID)
	if err != nil {
		return false
	}
	roles := make(map[tenant.ChatID]tenant.Role, len(members))
	for _, p := range members {
		roles[p.ID] = p.Role
	}
	for _, id := range people {
		id, err = m.conn.actor.handle.Resolve(ctx, id) // the change may have told who it is
		if err != nil || !m.action.done(roles[id]) {
			return false
		}
	}
	return true
}

// take reads what WhatsApp says of each, and returns those to whom it was done.
func (m *moves) take(people []tenant.ChatID, jids []types.JID, answers []types.GroupParticipant) (done []tenant.ChatID) {
	at := make(map[types.JID]int, 2*len(people))
	base := len(m.results)
	for i, id := range people {
		at[jids[i]], at[jidOf(id)] = base+i, base+i
		m.results = append(m.results, tenant.ParticipantResult{ID: id, Status: tenant.ResultFailed, Error: "WhatsApp said nothing about this person."})
	}
	good, byCode := m.action.outcomes()
	for i := range answers {
		p := &answers[i]
		n, ok := at[p.JID.ToNonAD()]
		for _, other := range []types.JID{p.PhoneNumber, p.LID} {
			if !ok {
				n, ok = at[other.ToNonAD()]
			}
		}
		if !ok {
			continue
		}
		r := &m.results[n]
		switch word := byCode[p.Error]; {
		case p.Error == 0:
			r.Status, r.Error = good, ""
			done = append(done, r.ID)
		case word != "":
			r.Status, r.Error = word, ""
		default:
			r.Error = m.action.why(p.Error)
			if p.AddRequest != nil && p.AddRequest.Code != "" {
				m.invites = append(m.invites, invitation{n, *p.AddRequest})
			}
		}
	}
	return done
}

// inviteAll passes the invitations on that WhatsApp has made.
func (m *moves) inviteAll(ctx context.Context) {
	for _, each := range m.invites {
		r := &m.results[each.at]
		if ctx.Err() != nil {
			r.Error = "The person's settings do not let this account add them; the invitation was not sent in time."
			continue
		}
		if err := m.conn.invite(ctx, m.group, r.ID, &each.request); err != nil {
			m.conn.log.WarnContext(ctx, "invitation not sent", "error", redact(err.Error()))
			r.Error = "The person's settings do not let this account add them; the invitation could not be sent."
			continue
		}
		r.Status, r.Error = tenant.ResultInvited, ""
	}
}

// inviteCaption is what WhatsApp's own apps write.
const inviteCaption = "Invitation to join my WhatsApp group"

// invite sends an invitation as a message of ours. One that is not acknowledged goes out later.
func (c *conn) invite(ctx context.Context, g *tenant.Group, person tenant.ChatID, request *types.GroupParticipantAddRequest) error {
	var stored *tenant.Chat
	switch found, err := c.actor.handle.Chat(ctx, person); {
	case err == nil:
		stored = &found
	case !errors.Is(err, tenant.ErrChatNotFound):
		return fmt.Errorf("find chat: %w", err)
	}
	pass, err := c.admit(ctx, person, stored, 0)
	if err != nil {
		return err
	}
	defer pass.end()
	wire := &waE2E.Message{GroupInviteMessage: &waE2E.GroupInviteMessage{
		GroupJID: new(jidOf(g.ID).String()), InviteCode: new(request.Code), InviteExpiration: new(request.Expiration.Unix()),
		GroupName: new(g.Name), Caption: new(inviteCaption),
	}}
	msg := c.draft(person, tenant.TypeText, wire)
	msg.Text = inviteCaption + ": " + g.Name
	_, err = (&address{conn: c, chat: person, pass: pass}).deliver(ctx, msg, wire)
	if _, later := errors.AsType[*UnansweredError](err); later {
		return nil
	}
	return err
}

// JoinRequests returns who has asked to join a group. Errors as of [Fleet.ChangeGroup].
func (f *Fleet) JoinRequests(ctx context.Context, id tenant.ID, chat tenant.ChatID) (all []tenant.JoinRequest, err error) {
	defer f.watch.contain("join_requests", &err)
	c, g, err := f.adminOf(ctx, id, chat)
	if err != nil {
		return nil, err
	}
	var found []types.GroupParticipantRequest
	err = c.onGroup(ctx, &g, groupTimeout, func(ctx context.Context) (err error) {
		found, err = c.cli.GetGroupRequestParticipants(ctx, jidOf(g.ID))
		return err
	})
	if err != nil {
		return nil, err
	}
	all = make([]tenant.JoinRequest, 0, len(found))
	for i := range found {
		raw, ok := chatID(found[i].JID)
		if !ok {
			continue
		}
		who, err := c.actor.handle.Resolve(ctx, raw)
		if err != nil {
			return nil, fmt.Errorf("resolve id: %w", err)
		}
		r := tenant.JoinRequest{ID: who, Phone: who.Phone()}
		if raw.IsHidden() {
			r.LID = string(raw)
		}
		if at := whenKnown(found[i].RequestedAt); !at.IsZero() {
			r.RequestedAt = &at
		}
		all = append(all, r)
	}
	return all, nil
}

// CreateGroup makes a group, and says what became of each of those who were to be in it.
//
// Returns *[OfflineError], *[RefusedError], *[PartialError] around an *[UncertainError] if it is not known whether the group was made,
// and ErrStopping.
func (f *Fleet) CreateGroup(
	ctx context.Context, id tenant.ID, name string, people []tenant.ChatID,
) (chat tenant.Chat, results []tenant.ParticipantResult, err error) {
	defer f.watch.contain("create_group", &err)
	c, err := f.reach(ctx, id)
	if err != nil {
		return tenant.Chat{}, nil, err
	}
	if people, err = canonical(ctx, c.actor.handle, people); err != nil {
		return tenant.Chat{}, nil, err
	}
	people = slices.DeleteFunc(people, c.me.isMe)
	m := &moves{conn: c, action: AddParticipants}
	err = c.perform(ctx, "create_group", groupActTimeout, func(ctx context.Context) error { return m.create(ctx, name, people) })
	if err != nil {
		if _, uncertain := errors.AsType[*UncertainError](err); uncertain {
			err = &PartialError{Done: "WhatsApp did not answer in time. It may have made the group: look for it among the chats before you make it again.", Err: err}
		}
		return tenant.Chat{}, nil, err
	}
	chat, err = f.chat(ctx, id, m.group.ID)
	return chat, m.results, err
}

// create makes the group.
func (m *moves) create(ctx context.Context, name string, people []tenant.ChatID) error {
	c := m.conn
	jids, err := c.names(ctx, people)
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, groupTimeout)
	defer cancel()
	info, err := c.cli.CreateGroup(asking, whatsmeow.ReqCreateGroup{Name: name, Participants: jids})
	if err != nil {
		return err
	}
	put, links, ok := c.me.describe(info)
	if !ok {
		return &UncertainError{Err: errors.New("WhatsApp's answer names no group")}
	}
	put.Rev, put.Joined, put.By = -1, true, c.me.id
	if err = c.storeGroup(c.ctx, put, links); err != nil { //nolint:contextcheck // the group is there, whoever waits
		return err
	}
	m.group = &put.Group
	m.take(people, jids, info.Participants)
	m.inviteAll(ctx)
	return nil
}

// Joining is what came of an invitation link.
type Joining struct {
	Chat    tenant.Chat // if it is not pending
	Already bool        // we were a member before
	Pending bool        // admins have to approve
	ID      tenant.ChatID
	Name    string
}

// JoinGroup joins a group by the code of its invitation link, or asks to.
//
// Returns *[OfflineError], ErrInviteInvalid, ErrInviteRevoked, *[RefusedError], *[UncertainError] and ErrStopping.
func (f *Fleet) JoinGroup(ctx context.Context, id tenant.ID, code string) (j Joining, err error) {
	defer f.watch.contain("join_group", &err)
	c, err := f.reach(ctx, id)
	if err != nil {
		return Joining{}, err
	}
	err = c.perform(ctx, "join_group", groupActTimeout, func(ctx context.Context) (err error) {
		j, err = c.join(ctx, code)
		return err
	})
	if err != nil || j.Pending {
		return j, err
	}
	j.Chat, err = f.chat(ctx, id, j.ID)
	return j, err
}

func (c *conn) join(ctx context.Context, code string) (j Joining, err error) {
	info, err := short(ctx, func(ctx context.Context) (*types.GroupInfo, error) { return c.cli.GetGroupInfoFromLink(ctx, code) })
	if err != nil {
		return j, err
	}
	var ok bool
	if j.ID, ok = chatID(info.JID); !ok {
		return j, ErrInviteInvalid
	}
	j.Name = cleanName(info.Name)
	_, err = short(ctx, func(ctx context.Context) (types.JID, error) { return c.cli.JoinGroupWithLink(ctx, code) })
	const conflict = 409
	if iq, refused := errors.AsType[*whatsmeow.IQError](err); refused && iq.Code == conflict {
		j.Already, err = true, nil
	}
	if err != nil {
		return j, err
	}
	// WhatsApp answers alike whether we are in or admins have to approve; only members may ask for the group.
	full, err := short(ctx, func(ctx context.Context) (*types.GroupInfo, error) { return c.cli.GetGroupInfo(ctx, info.JID) })
	if errors.Is(err, whatsmeow.ErrNotInGroup) {
		j.Pending = true
		return j, nil
	}
	if err != nil {
		return j, err
	}
	put, links, ok := c.me.describe(full)
	if !ok {
		return j, ErrInviteInvalid
	}
	put.Rev, put.Joined, put.By = -1, true, c.me.id
	return j, c.storeGroup(c.ctx, put, links) //nolint:contextcheck // we are in, whoever waits
}

// short bounds one of several requests.
func short[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	const limit = 25 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return ask(ctx)
}
