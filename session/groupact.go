package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// Errors of what is done to groups. All but the last two are ErrForbidden, too.
var (
	// ErrNotMember says that the account is no member of the group.
	ErrNotMember = fmt.Errorf("%w: this account is not a member of the group", ErrForbidden)
	// ErrNotAdmin says that only the group's admins may do this.
	ErrNotAdmin = fmt.Errorf("%w: only admins of the group may do that", ErrForbidden)
	// ErrAnnounceOnly says that only the group's admins may send.
	ErrAnnounceOnly = fmt.Errorf("%w: only admins may send messages to this group", ErrForbidden)
	// ErrInviteInvalid says that there is no group behind a link.
	ErrInviteInvalid = errors.New("no group has this invitation link")
	// ErrInviteRevoked says that a link was reset.
	ErrInviteRevoked = errors.New("the invitation link was reset")
)

// PartialError says that an action of several steps stopped in between, and what of it is done.
type PartialError struct {
	Done string // a sentence
	Err  error
}

// Error is for logs.
func (e *PartialError) Error() string { return e.Err.Error() + " (" + e.Done + ")" }

// Unwrap is the cause.
func (e *PartialError) Unwrap() error { return e.Err }

// groupTimeout bounds one request about a group, groupsActTimeout an action of several.
const (
	groupTimeout    = 25 * time.Second
	groupActTimeout = 80 * time.Second
)

// group finds a group whose chat is stored, and the connection to act on it. Returns [tenant.ErrChatNotFound], *OfflineError,
// ErrNotMember, *UncertainError.
func (f *Fleet) group(ctx context.Context, id tenant.ID, chat tenant.ChatID) (*conn, tenant.Group, error) {
	h := f.cfg.Store.Tenant(id)
	if _, err := h.Chat(ctx, chat); err != nil {
		return nil, tenant.Group{}, fmt.Errorf("find chat: %w", err)
	}
	c, err := f.reach(ctx, id)
	if err != nil {
		return nil, tenant.Group{}, err
	}
	g, err := c.membership(ctx, chat)
	return c, g, err
}

// membership is a group that we are a member of. One that is not known, or has let us go as far as is known, is asked for.
func (c *conn) membership(ctx context.Context, chat tenant.ChatID) (tenant.Group, error) {
	g, err := c.actor.handle.Group(ctx, chat)
	if err != nil {
		return tenant.Group{}, fmt.Errorf("read group: %w", err)
	}
	if g.Role != tenant.RoleNone {
		return g, nil
	}
	err = c.perform(ctx, "group", c.actor.fleet.pace.LookupTimeout, func(ctx context.Context) (err error) {
		g, err = c.readGroup(ctx, chat)
		return err
	})
	switch {
	case errors.Is(err, tenant.ErrChatNotFound) || err == nil && g.Role == tenant.RoleNone:
		return tenant.Group{}, ErrNotMember
	default:
		return g, err
	}
}

// adminOf is group for what only admins do.
func (f *Fleet) adminOf(ctx context.Context, id tenant.ID, chat tenant.ChatID) (*conn, tenant.Group, error) {
	c, g, err := f.group(ctx, id, chat)
	if err == nil && !g.Role.IsAdmin() {
		err = ErrNotAdmin
	}
	return c, g, err
}

// perform does something at WhatsApp. It goes on when its caller leaves: what WhatsApp has done must be seen here, too. Returns
// *UncertainError, *RefusedError, *OfflineError, and ErrNotMember and the like.
func (c *conn) perform(ctx context.Context, where string, timeout time.Duration, do func(context.Context) error) error {
	answers := make(chan error, 1)         // buffered: it goes on if the caller has left
	started := c.sends.run(where, func() { //nolint:contextcheck // it goes on when its caller leaves
		err := ErrPanicked
		defer func() { answers <- err }()
		ctx, cancel := context.WithTimeout(c.ctx, timeout)
		defer cancel()
		err = c.groupFault(do(ctx))
	})
	if !started {
		return c.offline()
	}
	select {
	case err := <-answers:
		return err
	case <-ctx.Done():
		return &UncertainError{Err: context.Cause(ctx)}
	}
}

// groupFault says what an error of whatsmeow's means.
func (c *conn) groupFault(err error) error {
	if err == nil {
		return nil
	}
	for _, ours := range []error{ErrForbidden, ErrInviteInvalid, ErrInviteRevoked, tenant.ErrChatNotFound, tenant.ErrUnavailable, tenant.ErrNotFound} {
		if errors.Is(err, ours) {
			return err
		}
	}
	if _, known := errors.AsType[*UncertainError](err); known {
		return err
	}
	switch {
	case errors.Is(err, whatsmeow.ErrInviteLinkRevoked):
		return ErrInviteRevoked
	case errors.Is(err, whatsmeow.ErrInviteLinkInvalid):
		return ErrInviteInvalid
	case errors.Is(err, whatsmeow.ErrNotConnected):
		return c.offline()
	}
	if iq, ok := errors.AsType[*whatsmeow.IQError](err); ok && iq.Code > 0 {
		c.log.Warn("WhatsApp refused", "code", iq.Code)
		switch iq.Code {
		case 401:
			return ErrNotAdmin
		case 403:
			return ErrNotMember
		case 404:
			return tenant.ErrChatNotFound
		}
		return &RefusedError{Code: iq.Code}
	}
	c.log.Warn("WhatsApp did not answer", "error", redact(err.Error()))
	return &UncertainError{Err: err}
}

// onGroup is perform for what is done to one group. What WhatsApp refuses may mean that it knows something that we do not.
func (c *conn) onGroup(ctx context.Context, g *tenant.Group, timeout time.Duration, do func(context.Context) error) error {
	err := c.perform(ctx, "group", timeout, do)
	if errors.Is(err, ErrForbidden) || errors.Is(err, tenant.ErrChatNotFound) {
		c.missed([]tenant.ChatID{g.ID})
	}
	return err
}

// echoTimeout is how long WhatsApp has to tell us of our own change, as it tells all members, before the group is read instead.
const echoTimeout = 2 * time.Second

// settle waits until what WhatsApp has done for us is stored. It comes in the stream of changes, in its order among those of others;
// storing it beside that stream would let an older change undo it. If it does not come, the group is read.
func (c *conn) settle(ctx context.Context, id tenant.ChatID, there func(context.Context, *tenant.Group) bool) error {
	waiting, stop := context.WithTimeout(ctx, echoTimeout)
	defer stop()
	for {
		news := c.groupReads.watch()
		g, err := c.actor.handle.Group(waiting, id)
		if err == nil && there(waiting, &g) {
			return nil
		}
		select {
		case <-news:
			continue
		case <-waiting.Done():
		}
		break
	}
	ctx, cancel := context.WithTimeout(ctx, c.actor.fleet.pace.LookupTimeout)
	defer cancel()
	if _, err := c.readGroup(ctx, id); err != nil && !errors.Is(err, tenant.ErrChatNotFound) {
		c.log.WarnContext(ctx, "group could not be read after a change", "error", redact(err.Error()))
		c.missed([]tenant.ChatID{id}) // it is done at WhatsApp, whatever we know of it
	}
	return nil
}

// names are how WhatsApp calls persons: by LID, if it is known.
func (c *conn) names(ctx context.Context, people []tenant.ChatID) ([]types.JID, error) {
	lids, err := c.actor.handle.LIDs(ctx, people)
	if err != nil {
		return nil, fmt.Errorf("find hidden ids: %w", err)
	}
	jids := make([]types.JID, len(people))
	for i, id := range people {
		if lid, ok := lids[id]; ok {
			id = lid
		}
		jids[i] = jidOf(id)
	}
	return jids, nil
}

// canonical are ids in their canonical form, each once.
func canonical(ctx context.Context, h tenant.Handle, people []tenant.ChatID) ([]tenant.ChatID, error) {
	ids := make([]tenant.ChatID, 0, len(people))
	seen := make(map[tenant.ChatID]bool, len(people))
	for _, raw := range people {
		id, err := h.Resolve(ctx, raw)
		if err != nil {
			return nil, fmt.Errorf("resolve id: %w", err)
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Participants returns the members of a group, as they are stored. A group that was never read is asked for.
//
// Returns [tenant.ErrChatNotFound], and if it must be asked for *[OfflineError], ErrNotMember, *[UncertainError], *[RefusedError].
func (f *Fleet) Participants(ctx context.Context, id tenant.ID, chat tenant.ChatID) (all []tenant.Participant, err error) {
	defer f.watch.contain("participants", &err)
	if _, err = f.known(ctx, id, chat); err != nil {
		return nil, err
	}
	if all, err = f.cfg.Store.Tenant(id).Participants(ctx, chat); err != nil {
		return nil, fmt.Errorf("list participants: %w", err)
	}
	return all, nil
}

// GroupSettings returns a group's settings, as they are stored. Errors as of [Fleet.Participants].
func (f *Fleet) GroupSettings(ctx context.Context, id tenant.ID, chat tenant.ChatID) (s tenant.GroupSettings, err error) {
	defer f.watch.contain("settings", &err)
	g, err := f.known(ctx, id, chat)
	return g.Settings, err
}

// known is a group whose chat is stored. If it was never read, WhatsApp is asked.
func (f *Fleet) known(ctx context.Context, id tenant.ID, chat tenant.ChatID) (tenant.Group, error) {
	h := f.cfg.Store.Tenant(id)
	if _, err := h.Chat(ctx, chat); err != nil {
		return tenant.Group{}, fmt.Errorf("find chat: %w", err)
	}
	g, err := h.Group(ctx, chat)
	if err != nil {
		return tenant.Group{}, fmt.Errorf("read group: %w", err)
	}
	if g.Rev > 0 {
		return g, nil
	}
	_, g, err = f.group(ctx, id, chat)
	return g, err
}

// GroupChange is what a group is to be called. Nil leaves what is.
type GroupChange struct {
	Name, Description *string
}

// ChangeGroup changes a group's name or description, at WhatsApp and then here, and returns its chat.
//
// Returns [tenant.ErrChatNotFound], *[OfflineError], ErrNotMember, ErrNotAdmin, *[RefusedError], *[UncertainError] and ErrStopping.
func (f *Fleet) ChangeGroup(ctx context.Context, id tenant.ID, chat tenant.ChatID, change GroupChange) (now tenant.Chat, err error) {
	defer f.watch.contain("change_group", &err)
	c, g, err := f.editorOf(ctx, id, chat)
	if err != nil {
		return tenant.Chat{}, err
	}
	if change.Name != nil {
		err = c.onGroup(ctx, &g, groupTimeout, func(ctx context.Context) error {
			if err := c.cli.SetGroupName(ctx, jidOf(g.ID), *change.Name); err != nil {
				return err
			}
			return c.settle(ctx, g.ID, func(_ context.Context, now *tenant.Group) bool { return now.Name == *change.Name })
		})
	}
	if err == nil && change.Description != nil && *change.Description != g.Description {
		err = c.onGroup(ctx, &g, groupTimeout, func(ctx context.Context) error { return c.setDescription(ctx, &g, *change.Description) })
	}
	if err != nil {
		return tenant.Chat{}, err
	}
	return f.chat(ctx, id, chat)
}

func (f *Fleet) chat(ctx context.Context, id tenant.ID, chat tenant.ChatID) (tenant.Chat, error) {
	now, err := f.Fresh(f.cfg.Store.Tenant(id)).Chat(ctx, chat)
	if err != nil {
		return tenant.Chat{}, fmt.Errorf("read chat: %w", err)
	}
	return now, nil
}

// editorOf is group for what only admins do if the group is locked.
func (f *Fleet) editorOf(ctx context.Context, id tenant.ID, chat tenant.ChatID) (*conn, tenant.Group, error) {
	c, g, err := f.group(ctx, id, chat)
	if err == nil && g.Settings.Locked && !g.Role.IsAdmin() {
		err = ErrNotAdmin
	}
	return c, g, err
}

// setDescription changes a description. WhatsApp wants to know which one is replaced, and refuses if it is another by now: then it
// is asked for.
func (c *conn) setDescription(ctx context.Context, g *tenant.Group, text string) error {
	const conflict = 409
	next := string(newMessageID())
	err := c.cli.SetGroupTopic(ctx, jidOf(g.ID), g.DescriptionID, next, text)
	if iq, ok := errors.AsType[*whatsmeow.IQError](err); ok && iq.Code == conflict {
		err = c.cli.SetGroupTopic(ctx, jidOf(g.ID), "", next, text) // whatsmeow asks
	}
	if err != nil {
		return err
	}
	return c.settle(ctx, g.ID, func(_ context.Context, now *tenant.Group) bool { return now.Description == text })
}

// SetGroupPicture makes a picture (JPEG or PNG) a group's, cropped and scaled as WhatsApp wants it, and returns its id. Returns
// [avatar.ErrFormat], [avatar.ErrDimensions]; other errors as of [Fleet.ChangeGroup].
func (f *Fleet) SetGroupPicture(ctx context.Context, id tenant.ID, chat tenant.ChatID, file []byte) (pictureID string, err error) {
	defer f.watch.contain("group_picture", &err)
	made, err := f.avatars.Make(ctx, file)
	if err != nil {
		return "", fmt.Errorf("make the picture: %w", err)
	}
	return f.changeGroupPicture(ctx, id, chat, made)
}

// RemoveGroupPicture takes a group's picture away. Errors as of [Fleet.ChangeGroup].
func (f *Fleet) RemoveGroupPicture(ctx context.Context, id tenant.ID, chat tenant.ChatID) (err error) {
	defer f.watch.contain("group_picture", &err)
	_, err = f.changeGroupPicture(ctx, id, chat, nil)
	return err
}

func (f *Fleet) changeGroupPicture(ctx context.Context, id tenant.ID, chat tenant.ChatID, jpeg []byte) (pictureID string, err error) {
	c, g, err := f.editorOf(ctx, id, chat)
	if err != nil {
		return "", err
	}
	err = c.onGroup(ctx, &g, groupTimeout, func(ctx context.Context) error {
		pictureID, err = c.cli.SetGroupPhoto(ctx, jidOf(g.ID), jpeg)
		if err != nil {
			return err
		}
		if jpeg == nil {
			pictureID = ""
		}
		return c.settle(ctx, g.ID, func(_ context.Context, now *tenant.Group) bool { return now.PictureID == pictureID })
	})
	return pictureID, err
}

// SettingsChange is what of a group's settings is to change. Nil leaves what is.
type SettingsChange struct {
	Announce, Locked, JoinApproval *bool
	MemberAdd                      *tenant.MemberAdd
}

// ChangeGroupSettings changes a group's settings one by one, and returns them. Errors as of [Fleet.ChangeGroup], in a *[PartialError]
// if some are changed already.
func (f *Fleet) ChangeGroupSettings(
	ctx context.Context, id tenant.ID, chat tenant.ChatID, change SettingsChange,
) (now tenant.GroupSettings, err error) {
	defer f.watch.contain("group_settings", &err)
	c, g, err := f.adminOf(ctx, id, chat)
	if err != nil {
		return tenant.GroupSettings{}, err
	}
	jid := jidOf(g.ID)
	var steps []settingStep
	if v := change.Announce; v != nil {
		steps = append(steps, settingStep{"announce", func(s *tenant.GroupSettings) bool { return s.Announce == *v }, func(ctx context.Context) error { return c.cli.SetGroupAnnounce(ctx, jid, *v) }})
	}
	if v := change.Locked; v != nil {
		steps = append(steps, settingStep{"locked", func(s *tenant.GroupSettings) bool { return s.Locked == *v }, func(ctx context.Context) error { return c.cli.SetGroupLocked(ctx, jid, *v) }})
	}
	if v := change.JoinApproval; v != nil {
		steps = append(steps, settingStep{"joinApproval", func(s *tenant.GroupSettings) bool { return s.JoinApproval == *v }, func(ctx context.Context) error { return c.cli.SetGroupJoinApprovalMode(ctx, jid, *v) }})
	}
	if v := change.MemberAdd; v != nil {
		mode := types.GroupMemberAddModeAllMember
		if *v == tenant.MemberAddAdmins {
			mode = types.GroupMemberAddModeAdmin
		}
		steps = append(steps, settingStep{"memberAdd", func(s *tenant.GroupSettings) bool { return s.MemberAdd == *v }, func(ctx context.Context) error { return c.cli.SetGroupMemberAddMode(ctx, jid, mode) }})
	}
	if err = c.setSettings(ctx, &g, steps); err != nil {
		return tenant.GroupSettings{}, err
	}
	stored, err := f.cfg.Store.Tenant(id).Group(ctx, g.ID)
	if err != nil {
		return tenant.GroupSettings{}, fmt.Errorf("read group: %w", err)
	}
	return stored.Settings, nil
}

type settingStep struct {
	name  string
	there func(*tenant.GroupSettings) bool
	set   func(context.Context) error
}

func (c *conn) setSettings(ctx context.Context, g *tenant.Group, steps []settingStep) error {
	var done []string
	for _, step := range steps {
		err := c.onGroup(ctx, g, groupTimeout, func(ctx context.Context) error {
			if err := step.set(ctx); err != nil {
				return err
			}
			return c.settle(ctx, g.ID, func(_ context.Context, now *tenant.Group) bool { return step.there(&now.Settings) })
		})
		switch {
		case err == nil:
			done = append(done, step.name)
		case len(done) > 0:
			return &PartialError{Done: "Already changed: " + strings.Join(done, ", ") + ". Not changed: " + step.name + " and what follows.", Err: err}
		default:
			return err
		}
	}
	return nil
}

// LeaveGroup leaves a group; its chat stays. Errors as of [Fleet.ChangeGroup].
func (f *Fleet) LeaveGroup(ctx context.Context, id tenant.ID, chat tenant.ChatID) (err error) {
	defer f.watch.contain("leave_group", &err)
	c, g, err := f.group(ctx, id, chat)
	if err != nil {
		return err
	}
	return c.onGroup(ctx, &g, groupTimeout, func(ctx context.Context) error {
		if err := c.cli.LeaveGroup(ctx, jidOf(g.ID)); err != nil {
			return err
		}
		return c.settle(ctx, g.ID, func(_ context.Context, now *tenant.Group) bool { return now.Role == tenant.RoleNone })
	})
}

// GroupInvite returns a group's invitation link, which is replaced by a new one first if reset. Errors as of [Fleet.ChangeGroup].
func (f *Fleet) GroupInvite(ctx context.Context, id tenant.ID, chat tenant.ChatID, reset bool) (link string, err error) {
	defer f.watch.contain("group_invite", &err)
	c, g, err := f.adminOf(ctx, id, chat)
	if err != nil {
		return "", err
	}
	err = c.onGroup(ctx, &g, groupTimeout, func(ctx context.Context) (err error) {
		link, err = c.cli.GetGroupInviteLink(ctx, jidOf(g.ID), reset)
		return err
	})
	if err != nil {
		return "", err
	}
	return link, nil
}

// Codes of WhatsApp's for messages to groups.
const (
	codeForbidden = 403
	codeGone      = 404
)

// mayPost says whether we may send to a group, as far as is known.
func (c *conn) mayPost(ctx context.Context, chat *tenant.Chat) error {
	announce, role := chat.Announce != nil && *chat.Announce, chat.Role
	if role == tenant.RoleNone {
		g, err := c.membership(ctx, chat.ID)
		if err != nil {
			return err
		}
		announce, role = g.Settings.Announce, g.Role
	}
	if announce && !role.IsAdmin() {
		return ErrAnnounceOnly
	}
	return nil
}

// doubt has a group read again that refused something.
func (c *conn) doubt(chat tenant.ChatID) {
	if chat.IsGroup() {
		c.missed([]tenant.ChatID{chat})
	}
}

// keyOfMember names another member's message, which we delete as an admin. Returns ErrNotMember, ErrNotAdmin.
func (c *conn) keyOfMember(ctx context.Context, m *tenant.Message) (*waCommon.MessageKey, error) {
	g, err := c.membership(ctx, m.ChatID)
	if err != nil {
		return nil, err
	}
	if !g.Role.IsAdmin() {
		return nil, ErrNotAdmin
	}
	sender, err := c.address(ctx, m.SenderID)
	if err != nil {
		return nil, err
	}
	key := c.key(m)
	key.Participant = new(sender.String())
	return key, nil
}
