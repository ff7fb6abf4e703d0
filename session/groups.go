package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

// Groups are stored as WhatsApp describes them, and follow what it tells of their changes. What may have been missed (over a
// reconnect, or because changes came in another order) is read again by a job of the connection.

// groupReads are the groups that a connection has to read. One worker at a time does it, and lives only while there is work.
type groupReads struct {
	mu      sync.Mutex
	all     bool
	some    []tenant.ChatID
	running bool
	news    chan struct{} // closed with the next change that is stored; nil if nobody watches
}

// watch returns a channel that is closed with the next change of a group that is stored.
func (r *groupReads) watch() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.news == nil {
		r.news = make(chan struct{})
	}
	return r.news
}

func (r *groupReads) stored() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.news != nil {
		close(r.news)
		r.news = nil
	}
}

const (
	// maxGroupReaders bounds the readers of all tenants: a list of groups is as large as their members are many.
	maxGroupReaders = 8
	// maxGroupReads is how many groups wait to be read one by one; more are read all at once.
	maxGroupReads = 32
	// groupsTimeout bounds reading all groups.
	groupsTimeout = time.Minute
	// rereadPause is how long a group that changes while it is read waits for the next try.
	rereadPause = time.Second
	// maxLinks bounds one commit of who is who: live messages of all tenants wait behind it.
	maxLinks = 200
)

// readGroups has all groups read, unless that was done a short while ago: what happens in between is told.
func (c *conn) readGroups() {
	if last := c.actor.groupsRead.Load(); last > 0 && time.Since(time.UnixMilli(last)) < c.actor.fleet.pace.GroupsEvery {
		return
	}
	c.groupReads.mu.Lock()
	defer c.groupReads.mu.Unlock()
	c.groupReads.all = true
	c.readGroupsLocked()
}

// missed has some groups read again.
func (c *conn) missed(ids []tenant.ChatID) {
	if len(ids) == 0 {
		return
	}
	r := &c.groupReads
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if !slices.Contains(r.some, id) {
			r.some = append(r.some, id)
		}
	}
	if len(r.some) > maxGroupReads {
		r.some, r.all = nil, true
	}
	c.readGroupsLocked()
}

func (c *conn) readGroupsLocked() {
	if !c.groupReads.running {
		c.groupReads.running = c.work.run("groups", c.doGroupReads)
	}
}

func (c *conn) doGroupReads() {
	r := &c.groupReads
	last := map[tenant.ChatID]bool{}
	for c.ctx.Err() == nil {
		r.mu.Lock()
		all, some := r.all, r.some
		r.all, r.some = false, nil
		if !all && len(some) == 0 {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		if slices.ContainsFunc(some, func(id tenant.ChatID) bool { return last[id] }) {
			c.rest(rereadPause)
		}
		if c.actor.fleet.groupReaders.Acquire(c.ctx, 1) != nil {
			return
		}
		last = c.readSome(all, some)
		c.actor.fleet.groupReaders.Release(1)
	}
}

// rest waits, or until the connection ends.
func (c *conn) rest(pause time.Duration) {
	timer := time.NewTimer(jitter(pause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	}
}

func (c *conn) readSome(all bool, some []tenant.ChatID) map[tenant.ChatID]bool {
	read := make(map[tenant.ChatID]bool, len(some))
	var err error
	defer func() {
		if err != nil && c.ctx.Err() == nil {
			c.log.Warn("groups could not be read", "error", redact(err.Error()))
		}
	}()
	defer c.actor.watch.contain("groups", &err)
	ctx, cancel := context.WithTimeout(c.ctx, groupsTimeout)
	defer cancel()
	if all {
		if err = c.readAllGroups(ctx, nil); err == nil {
			c.actor.groupsRead.Store(time.Now().UnixMilli())
		}
		return read
	}
	for _, id := range some {
		read[id] = true
		if _, each := c.readGroup(ctx, id); each != nil && !errors.Is(each, tenant.ErrChatNotFound) {
			err = errors.Join(err, each)
		}
	}
	return read
}

// readAllGroups brings all groups up to date. It is not whatsmeow's GetJoinedGroups, which keeps the members of all groups in
// memory for as long as the connection lasts. found, if not nil, is told of each group before it is stored, and how many there are.
func (c *conn) readAllGroups(ctx context.Context, found func(g *tenant.Group, of int)) error {
	known, err := c.actor.handle.Groups(ctx)
	if err != nil {
		return fmt.Errorf("list what is known: %w", err)
	}
	internals := c.cli.DangerousInternals() //nolint:staticcheck // see above
	resp, err := internals.SendGroupIQ(ctx, "get", types.GroupServerJID, waBinary.Node{
		Tag: "participating", Content: []waBinary.Node{{Tag: "participants"}, {Tag: "description"}},
	})
	if err != nil {
		return fmt.Errorf("ask for the groups: %w", err)
	}
	left := make(map[tenant.ChatID]tenant.Group, len(known))
	for _, g := range known {
		left[g.ID] = g
	}
	list := resp.GetChildByTag("groups")
	nodes := list.GetChildrenByTag("group")
	for _, node := range nodes {
		info, err := internals.ParseGroupNode(&node)
		if err != nil {
			c.log.WarnContext(ctx, "group cannot be read", "error", redact(err.Error()))
			continue
		}
		put, links, ok := c.me.describe(info)
		if !ok {
			continue
		}
		if found != nil {
			found(&put.Group, len(nodes))
		}
		was := left[put.Group.ID]
		delete(left, put.Group.ID)
		if was.Digest != "" && was.Digest == put.Group.Digest {
			continue
		}
		put.Rev = was.Rev
		if err = c.storeGroup(ctx, put, links); err != nil {
			return err
		}
	}
	for _, g := range left {
		if g.Role == tenant.RoleNone {
			continue
		}
		if !c.commit(ctx, []tenant.Change{tenant.ChangeGroup{ID: g.ID, Self: c.me.id, Gone: true, Rev: &g.Rev}}, nil) {
			return tenant.ErrUnavailable
		}
	}
	return nil
}

// readGroup brings one group up to date and returns it. Returns [tenant.ErrChatNotFound] if there is none that is ours.
func (c *conn) readGroup(ctx context.Context, id tenant.ChatID) (tenant.Group, error) {
	h := c.actor.handle
	was, err := h.Group(ctx, id)
	if err != nil {
		return tenant.Group{}, fmt.Errorf("read group: %w", err)
	}
	info, err := c.cli.GetGroupInfo(ctx, jidOf(id))
	switch {
	case errors.Is(err, whatsmeow.ErrGroupNotFound), errors.Is(err, whatsmeow.ErrNotInGroup):
		if was.Role != tenant.RoleNone && !c.commit(ctx, []tenant.Change{tenant.ChangeGroup{ID: id, Self: c.me.id, Gone: true, Rev: &was.Rev}}, nil) {
			return tenant.Group{}, tenant.ErrUnavailable
		}
		return tenant.Group{}, tenant.ErrChatNotFound
	case err != nil:
		return tenant.Group{}, fmt.Errorf("ask for the group: %w", err)
	}
	put, links, ok := c.me.describe(info)
	if !ok || put.Group.ID != id {
		return tenant.Group{}, tenant.ErrChatNotFound
	}
	put.Rev = was.Rev
	if err = c.storeGroup(ctx, put, links); err != nil {
		return tenant.Group{}, err
	}
	now, err := h.Group(ctx, id)
	if err != nil {
		return tenant.Group{}, fmt.Errorf("read group: %w", err)
	}
	return now, nil
}

// storeGroup stores who is who among a group's members, as far as that is news, and then the group.
func (c *conn) storeGroup(ctx context.Context, put tenant.PutGroup, links []tenant.LinkIDs) error {
	linked := map[tenant.ChatID]string{}
	if len(links) > 0 {
		members, err := c.actor.handle.Participants(ctx, put.Group.ID)
		if err != nil {
			return fmt.Errorf("read participants: %w", err)
		}
		for _, p := range members {
			linked[p.ID] = p.LID
		}
	}
	var news []tenant.Change
	for _, l := range links {
		if linked[l.Phone] != string(l.LID) {
			news = append(news, l)
		}
	}
	news = c.unseen(news)
	for some := range slices.Chunk(news, maxLinks) {
		if !c.commit(ctx, some, nil) {
			return fmt.Errorf("store who is who: %w", tenant.ErrUnavailable)
		}
	}
	if !c.commit(ctx, []tenant.Change{put}, nil) {
		return fmt.Errorf("store group: %w", tenant.ErrUnavailable)
	}
	c.groupReads.stored()
	return nil
}

// person is a JID as an id of ours; we ourselves are always named by our number.
func (a account) person(jids ...types.JID) (tenant.ChatID, bool) {
	var hidden tenant.ChatID
	for _, jid := range jids {
		id, ok := chatID(jid)
		switch {
		case !ok || id.IsGroup():
		case a.isMe(id):
			return a.id, true
		case id.Phone() != "":
			return id, true
		default:
			hidden = id
		}
	}
	return hidden, hidden != ""
}

// describe translates what WhatsApp says of a group, with who is who among its members.
func (a account) describe(info *types.GroupInfo) (put tenant.PutGroup, links []tenant.LinkIDs, ok bool) {
	id, ok := chatID(info.JID)
	if !ok || !id.IsGroup() {
		return put, nil, false
	}
	put = tenant.PutGroup{
		Self: a.id, Version: info.ParticipantVersionID, Size: min(info.ParticipantCount, maxGroupSize),
		Created: whenKnown(info.GroupCreated), NamedAt: whenKnown(info.NameSetAt), DescribedAt: whenKnown(info.TopicSetAt),
		Group: tenant.Group{
			ID: id, Name: cleanName(info.Name), Description: cleanDescription(info.Topic), DescriptionID: string(messageID(info.TopicID)),
			Settings: tenant.GroupSettings{
				Announce: info.IsAnnounce, Locked: info.IsLocked, JoinApproval: info.IsJoinApprovalRequired, MemberAdd: tenant.MemberAddAll,
			},
		},
	}
	if info.MemberAddMode == types.GroupMemberAddModeAdmin {
		put.Group.Settings.MemberAdd = tenant.MemberAddAdmins
	}
	put.Group.OwnerID, _ = a.person(info.OwnerPN, info.OwnerJID)
	for i := range info.Participants {
		p := &info.Participants[i]
		who, known := a.person(p.PhoneNumber, p.JID, p.LID)
		if !known || p.Error != 0 || len(put.Participants) >= maxGroupSize {
			continue
		}
		member := tenant.Participant{ID: who, Role: tenant.RoleMember}
		if lid, has := chatID(p.LID); has && lid.IsHidden() {
			member.LID = string(lid)
			if who.Phone() != "" {
				links = append(links, tenant.LinkIDs{LID: lid, Phone: who})
			}
		}
		switch {
		case p.IsSuperAdmin:
			member.Role = tenant.RoleSuperAdmin
		case p.IsAdmin:
			member.Role = tenant.RoleAdmin
		}
		put.Participants = append(put.Participants, member)
	}
	put.Group.Digest = digest(&put)
	return put, links, true
}

// maxGroupSize bounds the members of one group that are stored: WhatsApp has no more than 1,024 in a group, and 5,000 in the
// announcements of a community.
const maxGroupSize = 8192

func cleanDescription(text string) string {
	if limit := 4 * tenant.MaxGroupDescription; len(text) > limit {
		text = text[:limit]
	}
	return tenant.CleanText(text)
}

// whenKnown is a time of WhatsApp's, or zero for what is none.
func whenKnown(t time.Time) time.Time {
	if s := t.Unix(); s <= 0 || s > latest {
		return time.Time{}
	}
	return t.UTC()
}

// digest is the same for the same description of a group.
func digest(put *tenant.PutGroup) string {
	members := slices.Clone(put.Participants)
	slices.SortFunc(members, func(a, b tenant.Participant) int { return strings.Compare(string(a.ID), string(b.ID)) })
	text, err := json.Marshal([]any{put.Group, members, put.Size, put.Version, put.Self})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

// joined takes the news that we are a member of a group.
func (c *conn) joined(evt *events.JoinedGroup) bool {
	put, links, ok := c.me.describe(&evt.GroupInfo)
	if !ok {
		return true
	}
	put.Rev = -1
	put.Joined = slices.ContainsFunc(put.Participants, func(p tenant.Participant) bool { return p.ID == c.me.id })
	put.By, _ = c.me.person(deref(evt.SenderPN), deref(evt.Sender))
	return c.storeGroup(c.ctx, put, links) == nil
}

func deref(jid *types.JID) types.JID {
	if jid == nil {
		return types.EmptyJID
	}
	return *jid
}

// groupChange translates a change of a group. False if it is of none of ours.
func (a account) groupChange(evt *events.GroupInfo) (tenant.ChangeGroup, bool) {
	id, ok := chatID(evt.JID)
	if !ok || !id.IsGroup() {
		return tenant.ChangeGroup{}, false
	}
	c := tenant.ChangeGroup{
		ID: id, Self: a.id, At: whenKnown(evt.Timestamp),
		Added: a.people(evt.Join), Removed: a.people(evt.Leave), Promoted: a.people(evt.Promote), Demoted: a.people(evt.Demote),
		Gone: evt.Delete != nil && evt.Delete.Deleted,
		// whatsmeow does not tell whether approval was switched on or off.
		Unsure: evt.MembershipApprovalMode != nil,
	}
	c.By, _ = a.person(deref(evt.SenderPN), deref(evt.Sender))
	if len(c.Added)+len(c.Removed)+len(c.Promoted)+len(c.Demoted) > 0 {
		c.Version, c.PrevVersion = evt.ParticipantVersionID, evt.PrevParticipantVersionID
	}
	if evt.Name != nil {
		c.Name = new(cleanName(evt.Name.Name))
		if set := whenKnown(evt.Name.NameSetAt); !set.IsZero() {
			c.At = set
		}
	}
	if evt.Topic != nil {
		c.Description = new(cleanDescription(evt.Topic.Topic))
		if !evt.Topic.TopicDeleted {
			c.DescriptionID = string(messageID(evt.Topic.TopicID))
		}
	}
	if evt.Announce != nil {
		c.Announce = &evt.Announce.IsAnnounce
	}
	if evt.Locked != nil {
		c.Locked = &evt.Locked.IsLocked
	}
	for _, node := range evt.UnknownChanges {
		if node.Tag == "member_add_mode" {
			mode, _ := node.Content.([]byte)
			c.MemberAdd = new(tenant.MemberAddAll)
			if types.GroupMemberAddMode(mode) == types.GroupMemberAddModeAdmin {
				c.MemberAdd = new(tenant.MemberAddAdmins)
			}
		}
	}
	return c, true
}

func (a account) people(jids []types.JID) []tenant.ChatID {
	var ids []tenant.ChatID
	for _, jid := range jids {
		if id, ok := a.person(jid); ok && len(ids) < maxGroupSize {
			ids = append(ids, id)
		}
	}
	return ids
}

// groupPicture translates a change of a group's picture. False if it is another's.
func (a account) groupPicture(evt *events.Picture) (tenant.ChangeGroup, bool) {
	id, ok := chatID(evt.JID)
	if !ok || !id.IsGroup() {
		return tenant.ChangeGroup{}, false
	}
	c := tenant.ChangeGroup{ID: id, Self: a.id, At: whenKnown(evt.Timestamp), PictureID: new("")}
	if !evt.Remove {
		c.PictureID = new(string(messageID(evt.PictureID)))
	}
	c.By, _ = a.person(evt.Author)
	return c, true
}

// groupEvent stores what an event tells of a group. mine is false if it is about something else; ok as of [conn.inbound].
func (c *conn) groupEvent(evt any) (ok, mine bool) {
	var change tenant.ChangeGroup
	switch evt := evt.(type) {
	case *events.JoinedGroup:
		return c.joined(evt), true
	case *events.GroupInfo:
		change, mine = c.me.groupChange(evt)
	case *events.Picture:
		change, mine = c.me.groupPicture(evt)
	}
	if !mine {
		return true, false
	}
	ok = c.commit(c.ctx, []tenant.Change{change}, nil)
	c.groupReads.stored()
	return ok, true
}
