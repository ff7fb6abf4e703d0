package tenantsql

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/wafleet/wafleet/tenant"
)

// putGroup stores a group as WhatsApp describes it.
func (b *batch) putGroup(ctx context.Context, id tenant.ID, p *tenant.PutGroup, result *tenant.Result) error {
	chatID := cleanID(p.Group.ID)
	if !chatID.IsGroup() {
		return fmt.Errorf("%w: not a group's id", errMalformed)
	}
	was, err := b.group(ctx, id, chatID)
	if err != nil {
		return err
	}
	known := was.group.Rev > 0
	switch {
	case p.Rev >= 0 && p.Rev != was.group.Rev:
		result.Missed = append(result.Missed, chatID)
		return nil
	case known && was.group.Role != tenant.RoleNone && older(p.Version, was.version):
		return nil
	}
	old, err := b.roster(ctx, id, chatID)
	if err != nil {
		return err
	}
	next := make(roster, len(p.Participants))
	for i := range p.Participants {
		raw := &p.Participants[i]
		member, err := b.enrolKnown(ctx, id, raw, old)
		if err != nil {
			return err
		}
		next[member.ID] = member
	}
	self, err := b.resolve(ctx, id, cleanID(p.Self))
	if err != nil {
		return err
	}
	now := *was
	g := &now.group
	g.Name, g.Description = tenant.CleanText(p.Group.Name), tenant.CleanText(p.Group.Description)
	g.DescriptionID, g.Settings, g.Digest = tenant.CleanText(p.Group.DescriptionID), p.Group.Settings, p.Group.Digest
	if g.OwnerID, err = b.resolve(ctx, id, cleanID(p.Group.OwnerID)); err != nil {
		return err
	}
	g.Role, g.Size, now.version = next[self].Role, max(len(next), p.Size), tenant.CleanText(p.Version)
	_, _ = later(p.NamedAt, &now.namedAt), later(p.DescribedAt, &now.describedAt)

	moved := old.moved(next)
	if len(moved) > 0 || now.tells(was) {
		g.Rev++
	}
	if err = b.storeRoster(ctx, id, chatID, old, next); err != nil {
		return err
	}
	if err = b.storeGroup(ctx, id, &now); err != nil {
		return err
	}
	chat, err := b.chat(ctx, id, chatID)
	if err != nil {
		return err
	}
	if !chat.exists && known && !p.Joined {
		return nil // it was deleted here, and comes back when something happens in it
	}
	if !known {
		if moved = nil; p.Joined {
			moved = movement{tenant.ParticipantsAdded: {next[self]}}
		}
	}
	return b.tellGroup(ctx, chat, was, &now, groupNews{moved: moved, by: p.By, first: !known, created: millis(p.Created)})
}

// enrolKnown is enrol for a member of whom WhatsApp has told both ids, which are linked already.
func (b *batch) enrolKnown(ctx context.Context, id tenant.ID, raw *tenant.Participant, old roster) (tenant.Participant, error) {
	role := raw.Role
	if role == tenant.RoleNone {
		role = tenant.RoleMember
	}
	if was, ok := old[raw.ID]; ok && (raw.LID == "" || was.LID == raw.LID) && !raw.ID.IsHidden() {
		was.Role = role
		return was, nil
	}
	p, err := b.enrol(ctx, id, raw.ID, role)
	if raw.LID != "" {
		p.LID = tenant.CleanText(raw.LID)
	}
	return p, err
}

// changeGroup changes what is known of a group.
func (b *batch) changeGroup(ctx context.Context, id tenant.ID, c *tenant.ChangeGroup, result *tenant.Result) error {
	chatID := cleanID(c.ID)
	if !chatID.IsGroup() {
		return fmt.Errorf("%w: not a group's id", errMalformed)
	}
	was, err := b.group(ctx, id, chatID)
	if err != nil {
		return err
	}
	if was.group.Rev == 0 {
		result.Missed = append(result.Missed, chatID)
		if c.Name == nil {
			return nil
		}
		return b.putChat(ctx, id, tenant.PutChat{ID: chatID, Name: c.Name})
	}
	now := *was
	now.apply(c)
	old, next := roster{}, roster{}
	if applies(c) {
		if old, err = b.roster(ctx, id, chatID); err != nil {
			return err
		}
		next = maps.Clone(old)
		if err = b.applyPeople(ctx, id, c, &now, next, result); err != nil {
			return err
		}
	}
	moved := old.moved(next)
	same := len(moved) == 0 && !now.tells(was)
	if c.Unsure {
		result.Missed = append(result.Missed, chatID)
	}
	switch {
	case c.Rev != nil && *c.Rev != was.group.Rev && !same:
		result.Missed = append(result.Missed, chatID)
		return nil
	case same && now == *was:
		return nil
	case !same:
		now.group.Rev++
	}
	now.group.Digest = ""
	if err = b.storeRoster(ctx, id, chatID, old, next); err != nil {
		return err
	}
	if err = b.storeGroup(ctx, id, &now); err != nil {
		return err
	}
	chat, err := b.chat(ctx, id, chatID)
	if err != nil || !chat.exists {
		return err
	}
	return b.tellGroup(ctx, chat, was, &now, groupNews{moved: moved, by: c.By})
}

// apply takes over all but the participants.
func (r *groupRow) apply(c *tenant.ChangeGroup) {
	g, s := &r.group, &r.group.Settings
	if c.Name != nil && later(c.At, &r.namedAt) {
		g.Name = tenant.CleanText(*c.Name)
	}
	if c.Description != nil && later(c.At, &r.describedAt) {
		g.Description, g.DescriptionID = tenant.CleanText(*c.Description), tenant.CleanText(c.DescriptionID)
	}
	if c.PictureID != nil && later(c.At, &r.picturedAt) {
		g.PictureID = tenant.CleanText(*c.PictureID)
	}
	if (c.Announce != nil || c.Locked != nil || c.JoinApproval != nil || c.MemberAdd != nil) && later(c.At, &r.setAt) {
		take(c.Announce, &s.Announce)
		take(c.Locked, &s.Locked)
		take(c.JoinApproval, &s.JoinApproval)
		take(c.MemberAdd, &s.MemberAdd)
	}
	if c.Gone {
		g.Role = tenant.RoleNone
	}
}

func take[T any](from, to *T) {
	if from != nil {
		*to = *from
	}
}

// applies says whether a change is about participants.
func applies(c *tenant.ChangeGroup) bool {
	return len(c.Added)+len(c.Removed)+len(c.Promoted)+len(c.Demoted) > 0 || c.Gone
}

// applyPeople takes over what happened to the participants, in next.
func (b *batch) applyPeople(
	ctx context.Context, id tenant.ID, c *tenant.ChangeGroup, now *groupRow, next roster, result *tenant.Result,
) error {
	if c.Version != "" {
		if c.Version == now.version || older(c.Version, now.version) {
			return nil // the list that is stored is of later
		}
		if c.PrevVersion != now.version && now.version != "" {
			result.Missed = append(result.Missed, now.group.ID)
		}
		now.version = tenant.CleanText(c.Version)
	}
	self, err := b.resolve(ctx, id, cleanID(c.Self))
	if err != nil {
		return err
	}
	size := len(next)
	for _, raw := range c.Added {
		member, err := b.enrol(ctx, id, raw, tenant.RoleMember)
		if err != nil {
			return err
		}
		if _, there := next[member.ID]; !there {
			next[member.ID] = member
		}
	}
	for _, list := range []struct {
		people []tenant.ChatID
		role   tenant.Role
	}{{c.Removed, tenant.RoleNone}, {c.Promoted, tenant.RoleAdmin}, {c.Demoted, tenant.RoleMember}} {
		for _, raw := range list.people {
			person, err := b.resolve(ctx, id, cleanID(raw))
			if err != nil {
				return err
			}
			next.set(person, list.role)
		}
	}
	if c.Gone {
		delete(next, self)
	}
	now.group.Role = next[self].Role
	now.group.Size = max(len(next), now.group.Size+len(next)-size)
	return nil
}

// set gives a member a role; RoleNone ends the membership. Who made the group stays superadmin as long as an admin.
func (r roster) set(person tenant.ChatID, role tenant.Role) {
	p, ok := r[person]
	switch {
	case !ok, role == tenant.RoleAdmin && p.Role == tenant.RoleSuperAdmin:
	case role == tenant.RoleNone:
		delete(r, person)
	default:
		p.Role = role
		r[person] = p
	}
}

// groupNews is what tellGroup tells besides the difference.
type groupNews struct {
	moved   movement
	by      tenant.ChatID
	first   bool // nobody knew of the group before
	created int64
}

// tellGroup shows a group that was stored on its chat, which is made if there is none, and journals what is different.
func (b *batch) tellGroup(ctx context.Context, chat *chatRow, was, now *groupRow, news groupNews) error {
	id := chat.tenant
	by, err := b.resolve(ctx, id, cleanID(news.by))
	if err != nil {
		return err
	}
	before := look{}
	if chat.exists {
		before = chat.look()
	} else {
		if err = b.makeChat(ctx, chat); err != nil {
			return err
		}
		chat.happened(fromMillis(news.created))
	}
	if len(news.moved[tenant.ParticipantsAdded]) > 0 && news.first {
		chat.happened(b.now)
	}
	if err = b.showGroup(ctx, chat, &now.group); err != nil {
		return err
	}
	changed := was.changes(now)
	if chat.look() != before || !news.first && len(changed)+len(news.moved) > 0 {
		if err = b.changed(ctx, chat); err != nil {
			return err
		}
		if err = b.announce(ctx, chat, before); err != nil {
			return err
		}
	}
	if len(changed) > 0 && !news.first {
		g := &now.group
		err = b.emit(ctx, id, tenant.EventGroupUpdated, tenant.GroupUpdated{
			ID: g.ID, Changed: changed, By: by, Name: chat.chat.Name, Description: g.Description, PictureID: g.PictureID, Settings: g.Settings,
		})
		if err != nil {
			return err
		}
	}
	for _, action := range slices.Sorted(maps.Keys(news.moved)) {
		err = b.emit(ctx, id, tenant.EventGroupParticipants, tenant.GroupParticipants{
			ID: now.group.ID, Action: action, Participants: news.moved[action], By: by,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// changes are the words for what is different.
func (r *groupRow) changes(next *groupRow) []string {
	var words []string
	was, now := &r.group, &next.group
	for _, each := range []struct {
		word      string
		different bool
	}{
		{tenant.GroupName, was.Name != now.Name},
		{tenant.GroupDescription, was.Description != now.Description},
		{tenant.GroupPicture, was.PictureID != now.PictureID},
		{tenant.GroupSetting, was.Settings != now.Settings},
		{tenant.GroupOwner, was.OwnerID != now.OwnerID},
	} {
		if each.different {
			words = append(words, each.word)
		}
	}
	return words
}
