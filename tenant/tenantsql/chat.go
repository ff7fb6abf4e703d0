package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	chatColumns = `
		c.chat_id, c.kind, c.lid, c.given_name, c.name, c.unread, c.archived, c.pinned, c.muted_until, c.last_sent_at,
		c.last_ord, c.activity, c.created_at, c.updated_at, c.read_until, c.heard, ` + chatGroupColumns

	selectChatRow = `SELECT ` + chatColumns + ` FROM chat c ` + joinGroup + ` WHERE c.tenant_id=$1 AND c.chat_id=$2`

	// upsertChats is completed by the tuples of many chats.
	upsertChats = `
		INSERT INTO chat (
			tenant_id, chat_id, kind, lid, given_name, name, folded, unread, archived, pinned, muted_until, last_sent_at,
			last_ord, activity, created_at, updated_at, read_until, heard
		) VALUES %s
		ON CONFLICT (tenant_id, chat_id) DO UPDATE SET
			kind=excluded.kind, lid=excluded.lid, given_name=excluded.given_name, name=excluded.name,
			folded=excluded.folded, unread=excluded.unread, archived=excluded.archived, pinned=excluded.pinned,
			muted_until=excluded.muted_until, last_sent_at=excluded.last_sent_at, last_ord=excluded.last_ord,
			activity=excluded.activity, created_at=excluded.created_at, updated_at=excluded.updated_at,
			read_until=excluded.read_until, heard=excluded.heard`
	upsertChatsTuple = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	deleteChatRow      = `DELETE FROM chat WHERE tenant_id=$1 AND chat_id=$2`
	deleteChatMessages = `DELETE FROM message WHERE tenant_id=$1 AND chat_id=$2`
)

// chatRow is a chat inside a batch.
type chatRow struct {
	tenant tenant.ID
	chat   tenant.Chat // as it is shown, without its last message
	given  string
	// lastSentAt and lastOrd name the newest message; 0 and 0 when there is none.
	lastSentAt, lastOrd int64
	// readUntil is up to when the account has read the chat, in ms.
	readUntil int64

	exists bool // whether there is such a chat now
	dirty  bool // whether flush must write it
}

func scanChatRow(row dbutil.Scannable) (*chatRow, error) {
	r := &chatRow{}
	return r, r.scan(row)
}

func (r *chatRow) scan(row dbutil.Scannable, more ...any) error {
	var muted, activity, created, updated int64
	var group groupLook
	var role tenant.Role
	c := &r.chat
	err := row.Scan(append([]any{
		&c.ID, &c.Type, &c.LID, &r.given, &c.Name, &c.UnreadCount, &c.Archived, &c.Pinned, &muted, &r.lastSentAt,
		&r.lastOrd, &activity, &created, &updated, &r.readUntil, &c.Heard,
		&group.description, &group.owner, &group.size, &role, &group.announce, &group.locked,
	}, more...)...)
	if err != nil {
		return err
	}
	c.Phone = c.ID.Phone()
	r.showGroup(group.description, group.owner, group.size, role, group.announce, group.locked)
	c.MutedUntil = optionalTime(muted)
	c.LastMessageAt = optionalTime(r.lastSentAt)
	c.Activity = time.UnixMilli(activity).UTC()
	c.CreatedAt, c.UpdatedAt = fromMillis(created), fromMillis(updated)
	r.exists = true
	return nil
}

func (r *chatRow) values() []any {
	c := &r.chat
	return []any{
		string(r.tenant), string(c.ID), string(c.Type), c.LID, r.given, c.Name, fold(c.Name + "\n" + c.Phone), c.UnreadCount,
		c.Archived, c.Pinned, optionalMillis(c.MutedUntil), r.lastSentAt,
		r.lastOrd, c.Activity.UnixMilli(), millis(c.CreatedAt), millis(c.UpdatedAt), r.readUntil, c.Heard,
	}
}

// chat returns a chat by its canonical id. Whether there is one, the row says.
func (b *batch) chat(ctx context.Context, id tenant.ID, chatID tenant.ChatID) (*chatRow, error) {
	key := chatKey{id, chatID}
	if r, ok := b.chats[key]; ok {
		return r, nil
	}
	r, err := scanChatRow(b.row(ctx, id, selectChatRow, string(chatID)))
	if errors.Is(err, sql.ErrNoRows) {
		r, err = &chatRow{}, nil
		r.chat.ID = chatID
	}
	if err != nil {
		return nil, fmt.Errorf("read chat: %w", err)
	}
	r.tenant = id
	b.chats[key] = r
	return r, nil
}

// makeChat makes the chat if there is none.
func (b *batch) makeChat(ctx context.Context, r *chatRow) error {
	if r.exists {
		return nil
	}
	chatID := r.chat.ID
	*r = chatRow{tenant: r.tenant, exists: true}
	r.chat = tenant.Chat{ID: chatID, Type: chatID.Type(), Phone: chatID.Phone(), CreatedAt: b.now, Activity: time.UnixMilli(0).UTC()}
	switch {
	case chatID.IsHidden():
		r.chat.LID = string(chatID)
	case !chatID.IsGroup():
		lid, err := b.lidOf(ctx, r.tenant, chatID)
		if err != nil {
			return err
		}
		r.chat.LID = string(lid)
	default:
		g, err := b.group(ctx, r.tenant, chatID)
		if err != nil {
			return err
		}
		if err = b.showGroup(ctx, r, &g.group); err != nil {
			return err
		}
	}
	if err := b.nameChat(ctx, r); err != nil {
		return err
	}
	if err := b.catchUpReads(ctx, r); err != nil {
		return err
	}
	return b.changed(ctx, r)
}

// changed notes that a chat must be written.
func (b *batch) changed(ctx context.Context, r *chatRow) error {
	if _, err := b.touch(ctx, r.tenant); err != nil {
		return err
	}
	r.dirty = true
	r.chat.UpdatedAt = b.now
	return nil
}

// nameChat finds the name to show: a group's subject; a person's name in the address book, else the name that they gave
// themselves, else what WhatsApp calls the chat, else the phone number. Without any of them the id has to do.
func (b *batch) nameChat(ctx context.Context, r *chatRow) error {
	name := r.given
	if r.chat.Type == tenant.ChatDirect {
		c, err := b.contact(ctx, r.tenant, r.chat.ID)
		if err != nil {
			return err
		}
		name = firstOf(c.name, c.pushName, r.given, r.chat.Phone)
	}
	r.chat.Name = firstOf(name, string(r.chat.ID))
	return nil
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// happened notes that something happened in the chat at a time.
func (r *chatRow) happened(at time.Time) {
	if at.After(r.chat.Activity) {
		r.chat.Activity = at
	}
}

// last notes a message, which may be the newest.
func (r *chatRow) last(sentAt, ord int64) {
	if sentAt > r.lastSentAt || sentAt == r.lastSentAt && ord > r.lastOrd {
		r.lastSentAt, r.lastOrd = sentAt, ord
		r.chat.LastMessageAt = optionalTime(sentAt)
	}
}

// look is what consumers see of a chat and are told about when it changes; messages have events of their own.
type look struct {
	name, lid        string
	unread           int
	archived, pinned bool
	muted            int64
	group            groupLook
}

func (r *chatRow) look() look {
	c := &r.chat
	return look{c.Name, c.LID, c.UnreadCount, c.Archived, c.Pinned, optionalMillis(c.MutedUntil), lookOfGroup(c)}
}

// announce journals chat.updated if the chat looks other than before.
func (b *batch) announce(ctx context.Context, r *chatRow, before look) error {
	if r.look() == before {
		return nil
	}
	return b.emit(ctx, r.tenant, tenant.EventChatUpdated, &r.chat)
}

func (b *batch) putChat(ctx context.Context, id tenant.ID, p tenant.PutChat) error {
	if p.ID == "" {
		return fmt.Errorf("%w: no chat id", errMalformed)
	}
	chatID, err := b.resolve(ctx, id, cleanID(p.ID))
	if err != nil {
		return err
	}
	r, err := b.chat(ctx, id, chatID)
	if err != nil {
		return err
	}
	if p.IfStored && !r.exists {
		return nil
	}
	before, activity := look{}, r.chat.Activity
	if r.exists {
		before = r.look()
	} else if err = b.makeChat(ctx, r); err != nil {
		return err
	}
	given := r.given
	named, err := b.namedByGroup(ctx, id, chatID)
	if err != nil {
		return err
	}
	if p.Name != nil && !named {
		r.given = tenant.CleanText(*p.Name)
		if err = b.nameChat(ctx, r); err != nil {
			return err
		}
	}
	if p.Unread != nil {
		r.chat.UnreadCount = max(0, *p.Unread)
	}
	if p.Archived != nil {
		r.chat.Archived = *p.Archived
	}
	if p.Pinned != nil {
		r.chat.Pinned = *p.Pinned
	}
	if p.Muted != nil {
		r.chat.MutedUntil = optionalTime(millis(*p.Muted))
	}
	r.happened(time.UnixMilli(millis(p.Activity)).UTC())
	if r.look() == before && r.given == given && r.chat.Activity.Equal(activity) {
		return nil
	}
	if err = b.changed(ctx, r); err != nil {
		return err
	}
	return b.announce(ctx, r, before)
}

func (b *batch) deleteChat(ctx context.Context, id tenant.ID, d tenant.DeleteChat) error {
	chatID, err := b.resolve(ctx, id, cleanID(d.ID))
	if err != nil {
		return err
	}
	r, err := b.chat(ctx, id, chatID)
	if err != nil {
		return err
	}
	if !r.exists {
		if _, err = b.head(ctx, id); err != nil {
			return err
		}
		return tenant.ErrChatNotFound
	}
	if err = b.dropChat(ctx, r); err != nil {
		return err
	}
	if err = b.lightenBy(ctx, id, selectChatWeight, string(chatID)); err != nil {
		return err
	}
	if _, err = b.move(ctx, id, deleteChatMessages, string(chatID)); err != nil {
		return err
	}
	return b.emit(ctx, id, tenant.EventChatDeleted, tenant.ChatDeleted{ID: chatID})
}

// dropChat removes the chat's row.
func (b *batch) dropChat(ctx context.Context, r *chatRow) error {
	r.exists, r.dirty = false, false
	if _, err := b.exec(ctx, r.tenant, deleteChatRow, string(r.chat.ID)); err != nil {
		return err
	}
	return b.dropJoinToken(ctx, r)
}
