package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	groupColumns = `
		g.chat_id, g.subject, g.named_at, g.description, g.description_id, g.described_at, g.owner_id, g.announce, g.locked,
		g.join_approval, g.admins_add, g.set_at, g.picture_id, g.pictured_at, g.own_role, g.size, g.version, g.digest, g.rev`

	selectGroup  = `SELECT ` + groupColumns + ` FROM group_info g WHERE g.tenant_id=$1 AND g.chat_id=$2`
	selectGroups = `
		SELECT g.chat_id, '', 0, '', '', 0, g.owner_id, g.announce, g.locked, g.join_approval, g.admins_add, g.set_at, g.picture_id,
			g.pictured_at, g.own_role, g.size, g.version, g.digest, g.rev
		FROM group_info g WHERE g.tenant_id=$1`

	upsertGroup = `
		INSERT INTO group_info (
			tenant_id, chat_id, subject, named_at, description, description_id, described_at, owner_id, announce, locked,
			join_approval, admins_add, set_at, picture_id, pictured_at, own_role, size, version, digest, rev, updated_at
		) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
		ON CONFLICT (tenant_id, chat_id) DO UPDATE SET
			subject=excluded.subject, named_at=excluded.named_at, description=excluded.description,
			description_id=excluded.description_id, described_at=excluded.described_at, owner_id=excluded.owner_id,
			announce=excluded.announce, locked=excluded.locked, join_approval=excluded.join_approval,
			admins_add=excluded.admins_add, set_at=excluded.set_at, picture_id=excluded.picture_id,
			pictured_at=excluded.pictured_at, own_role=excluded.own_role, size=excluded.size, version=excluded.version,
			digest=excluded.digest, rev=excluded.rev, updated_at=excluded.updated_at`

	// chatGroupColumns are what a chat shows of its group; NULLs become what a person's chat has.
	chatGroupColumns = `
		COALESCE(g.description, ''), COALESCE(g.owner_id, ''), COALESCE(g.size, 0), COALESCE(g.own_role, ''),
		COALESCE(g.announce, FALSE), COALESCE(g.locked, FALSE)`
	joinGroup = `LEFT JOIN group_info g ON g.tenant_id=c.tenant_id AND g.chat_id=c.chat_id AND c.kind='group'`
)

// groupRow is a group inside a batch.
type groupRow struct {
	group   tenant.Group
	version string
	// When what was set; 0 if unknown. What is older does not count any more.
	namedAt, describedAt, setAt, picturedAt int64
}

func scanGroup(row dbutil.Scannable) (*groupRow, error) {
	r := &groupRow{}
	g, s := &r.group, &r.group.Settings
	var adminsAdd bool
	err := row.Scan(&g.ID, &g.Name, &r.namedAt, &g.Description, &g.DescriptionID, &r.describedAt, &g.OwnerID, &s.Announce, &s.Locked,
		&s.JoinApproval, &adminsAdd, &r.setAt, &g.PictureID, &r.picturedAt, &g.Role, &g.Size, &r.version, &g.Digest, &g.Rev)
	if s.MemberAdd = tenant.MemberAddAll; adminsAdd {
		s.MemberAdd = tenant.MemberAddAdmins
	}
	return r, err
}

// Group returns what is known of a group.
func (h *handle) Group(ctx context.Context, id tenant.ChatID) (tenant.Group, error) {
	found, err := row(ctx, h, scanGroup, selectGroup, string(cleanID(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.Group{ID: id}, nil
	}
	if err != nil {
		return tenant.Group{}, h.store.wrap(ctx, "read group", err)
	}
	return found.group, nil
}

// Groups returns all groups that are known, without names and descriptions.
func (h *handle) Groups(ctx context.Context) ([]tenant.Group, error) {
	found, err := rows(ctx, h, scanGroup, selectGroups)
	if err != nil {
		return nil, h.store.wrap(ctx, "list groups", err)
	}
	all := make([]tenant.Group, 0, len(found))
	for _, r := range found {
		all = append(all, r.group)
	}
	return all, nil
}

// group returns a group as the transaction sees it. One that is not known has no Rev.
func (b *batch) group(ctx context.Context, id tenant.ID, chatID tenant.ChatID) (*groupRow, error) {
	r, err := scanGroup(b.row(ctx, id, selectGroup, string(chatID)))
	if errors.Is(err, sql.ErrNoRows) {
		return &groupRow{group: tenant.Group{ID: chatID}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read group: %w", err)
	}
	return r, nil
}

// storeGroup writes a group.
func (b *batch) storeGroup(ctx context.Context, id tenant.ID, r *groupRow) error {
	g, s := &r.group, &r.group.Settings
	_, err := b.exec(ctx, id, upsertGroup, string(g.ID), g.Name, r.namedAt, g.Description, g.DescriptionID, r.describedAt,
		string(g.OwnerID), s.Announce, s.Locked, s.JoinApproval, s.MemberAdd == tenant.MemberAddAdmins, r.setAt, g.PictureID,
		r.picturedAt, string(g.Role), g.Size, r.version, g.Digest, g.Rev, b.now.UnixMilli())
	if err != nil {
		return fmt.Errorf("write group: %w", err)
	}
	return nil
}

// namedByGroup says whether a chat is called as its group is, which is known: a history may tell an older name.
func (b *batch) namedByGroup(ctx context.Context, id tenant.ID, chatID tenant.ChatID) (bool, error) {
	if !chatID.IsGroup() {
		return false, nil
	}
	g, err := b.group(ctx, id, chatID)
	if err != nil {
		return false, err
	}
	return g.group.Name != "", nil
}

// tells says whether a group is other than before in what anybody sees of it. Only that makes a new revision: WhatsApp repeats our
// own changes to us, and only their version is news.
func (r *groupRow) tells(before *groupRow) bool {
	now, was := r.group, before.group
	now.Digest, was.Digest = "", ""
	return now != was || was.Rev == 0
}

// showGroup puts what is known of a group on its chat.
func (b *batch) showGroup(ctx context.Context, chat *chatRow, g *tenant.Group) error {
	chat.showGroup(g.Description, g.OwnerID, g.Size, g.Role, g.Settings.Announce, g.Settings.Locked)
	if g.Name == "" || g.Name == chat.given {
		return nil
	}
	chat.given = g.Name
	return b.nameChat(ctx, chat)
}

// showGroup sets the members of a chat that belong to groups alone.
func (r *chatRow) showGroup(description string, owner tenant.ChatID, size int, role tenant.Role, announce, locked bool) {
	c := &r.chat
	if c.Type != tenant.ChatGroup {
		return
	}
	c.Description, c.OwnerID, c.Role = description, owner, role
	c.ParticipantCount, c.IsAdmin, c.Announce, c.Locked = new(size), new(role.IsAdmin()), new(announce), new(locked)
}

// groupLook is what a chat shows of its group.
type groupLook struct {
	description      string
	owner            tenant.ChatID
	size             int
	isAdmin          bool
	announce, locked bool
}

func lookOfGroup(c *tenant.Chat) groupLook {
	if c.ParticipantCount == nil {
		return groupLook{}
	}
	return groupLook{c.Description, c.OwnerID, *c.ParticipantCount, *c.IsAdmin, *c.Announce, *c.Locked}
}

// older says whether a version of participants is older than another: they are numbers that grow. False if that cannot be told.
func older(version, than string) bool {
	v, err := strconv.ParseUint(version, 10, 64)
	t, err2 := strconv.ParseUint(than, 10, 64)
	return err == nil && err2 == nil && v < t
}

// later says whether something that was set at a time replaces what was set before, and notes when. Times that are not known
// always do.
func later(at time.Time, before *int64) bool {
	ms := millis(at)
	if ms == 0 {
		return true
	}
	if ms < *before {
		return false
	}
	*before = ms
	return true
}
