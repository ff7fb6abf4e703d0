package tenantsql

import (
	"context"
	"fmt"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	// selectTwins yields messages that are stored twice, under a person's LID and under the phone number.
	selectTwins = `
		SELECT a.chat_id, a.message_id, a.kind, a.status, b.kind, b.status
		FROM message a
		JOIN message b ON b.tenant_id=a.tenant_id AND b.chat_id=a.chat_id AND b.message_id=a.message_id AND b.sender_id=$3
		WHERE a.tenant_id=$1 AND a.sender_id=$2 AND a.sender_hidden`

	// selectMovedTwins yields messages that are in two chats that become one.
	selectMovedTwins = `
		SELECT a.sender_id, a.message_id, a.kind, a.status, b.kind, b.status
		FROM message a
		JOIN message b ON b.tenant_id=a.tenant_id AND b.chat_id=$3 AND b.message_id=a.message_id AND b.sender_id=a.sender_id
		WHERE a.tenant_id=$1 AND a.chat_id=$2`

	deleteMessage = `DELETE FROM message WHERE tenant_id=$1 AND chat_id=$2 AND message_id=$3 AND sender_id=$4`

	selectHiddenChats = `
		SELECT DISTINCT chat_id FROM message WHERE tenant_id=$1 AND sender_id=$2 AND sender_hidden`

	updateSender = `
		UPDATE message SET sender_id=$3, sender_hidden=FALSE WHERE tenant_id=$1 AND sender_id=$2 AND sender_hidden`

	updateChatID = `UPDATE message SET chat_id=$3 WHERE tenant_id=$1 AND chat_id=$2`
)

// linkIDs makes one person of a LID and a phone number. What was stored under the LID moves to the phone number, so that reads
// need not look twice; the LID stays an alias.
func (b *batch) linkIDs(ctx context.Context, id tenant.ID, l tenant.LinkIDs) error {
	lid, phone := cleanID(l.LID), cleanID(l.Phone)
	if !lid.IsHidden() || phone.Phone() == "" {
		return fmt.Errorf("%w: need a lid and a phone number", errMalformed)
	}
	known, err := b.resolve(ctx, id, lid)
	if err != nil || known == phone {
		return err
	}
	if _, err = b.exec(ctx, id, upsertLID, string(lid), string(phone), b.now.UnixMilli()); err != nil {
		return fmt.Errorf("write pair: %w", err)
	}
	b.phones[chatKey{id, lid}] = phone
	if err = b.linkContacts(ctx, id, lid, phone); err != nil {
		return err
	}
	if err = b.linkSenders(ctx, id, lid, phone); err != nil {
		return err
	}
	if err = b.linkReactions(ctx, id, lid); err != nil {
		return err
	}
	return b.linkChats(ctx, id, lid, phone)
}

func (b *batch) linkContacts(ctx context.Context, id tenant.ID, lid, phone tenant.ChatID) error {
	hidden, err := b.contact(ctx, id, lid)
	if err != nil || hidden == (contact{}) {
		return err
	}
	known, err := b.contact(ctx, id, phone)
	if err != nil {
		return err
	}
	both := contact{name: firstOf(known.name, hidden.name), pushName: firstOf(known.pushName, hidden.pushName)}
	if both != known {
		if err = b.storeContact(ctx, id, phone, both); err != nil {
			return err
		}
	}
	if _, err = b.exec(ctx, id, deleteContact, string(lid)); err != nil {
		return fmt.Errorf("drop contact: %w", err)
	}
	b.contacts[chatKey{id, lid}] = contact{}
	return nil
}

// linkSenders gives the phone number to the messages that the person sent.
func (b *batch) linkSenders(ctx context.Context, id tenant.ID, lid, phone tenant.ChatID) error {
	chats, err := collect(ctx, b.tx, scanString, selectHiddenChats, string(id), string(lid))
	if err != nil {
		return fmt.Errorf("find messages of lid: %w", err)
	}
	if len(chats) == 0 {
		return nil
	}
	twins, err := collect(ctx, b.tx, scanTwin, selectTwins, string(id), string(lid), string(phone))
	if err != nil {
		return fmt.Errorf("find twins: %w", err)
	}
	for _, t := range twins {
		loser := lid
		if t.better() {
			loser = phone
		}
		if _, err = b.exec(ctx, id, deleteMessage, t.other, t.message, string(loser)); err != nil {
			return fmt.Errorf("drop twin: %w", err)
		}
	}
	if _, err = b.exec(ctx, id, updateSender, string(lid), string(phone)); err != nil {
		return fmt.Errorf("move sender: %w", err)
	}
	if len(twins) == 0 {
		return nil
	}
	for _, chatID := range chats { // the newest message may have been a twin
		if err = b.reorder(ctx, id, tenant.ChatID(chatID)); err != nil {
			return err
		}
	}
	return nil
}

// linkChats makes one chat of the person's two.
func (b *batch) linkChats(ctx context.Context, id tenant.ID, lid, phone tenant.ChatID) error {
	from, err := b.chat(ctx, id, lid)
	if err != nil {
		return err
	}
	to, err := b.chat(ctx, id, phone)
	if err != nil || !from.exists && !to.exists {
		return err
	}
	before := to.look()
	if from.exists {
		if err = b.mergeChats(ctx, from, to); err != nil {
			return err
		}
		// Even if it looks as before: consumers forget the other chat, and must know this one.
		before = look{}
	}
	to.chat.LID = string(lid)
	if err = b.nameChat(ctx, to); err != nil {
		return err
	}
	if err = b.changed(ctx, to); err != nil {
		return err
	}
	return b.announce(ctx, to, before)
}

// mergeChats moves all of one chat into another, which is made if need be.
func (b *batch) mergeChats(ctx context.Context, from, to *chatRow) error {
	id, old, next := from.tenant, from.chat.ID, to.chat.ID
	if err := b.makeChat(ctx, to); err != nil {
		return err
	}
	twins, err := collect(ctx, b.tx, scanTwin, selectMovedTwins, string(id), string(old), string(next))
	if err != nil {
		return fmt.Errorf("find twins: %w", err)
	}
	for _, t := range twins {
		loser := old
		if t.better() {
			loser = next
		}
		if _, err = b.exec(ctx, id, deleteMessage, string(loser), t.message, t.other); err != nil {
			return fmt.Errorf("drop twin: %w", err)
		}
	}
	if _, err = b.exec(ctx, id, updateChatID, string(old), string(next)); err != nil {
		return fmt.Errorf("move messages: %w", err)
	}

	c, f := &to.chat, &from.chat
	to.given = firstOf(to.given, from.given)
	c.UnreadCount += f.UnreadCount
	c.Archived = c.Archived && f.Archived
	c.Pinned = c.Pinned || f.Pinned
	if f.MutedUntil != nil && (c.MutedUntil == nil || f.MutedUntil.After(*c.MutedUntil)) {
		c.MutedUntil = f.MutedUntil
	}
	if f.CreatedAt.Before(c.CreatedAt) {
		c.CreatedAt = f.CreatedAt
	}
	to.happened(f.Activity)
	if err = b.dropChat(ctx, from); err != nil {
		return err
	}
	if err = b.reorder(ctx, id, next); err != nil {
		return err
	}
	return b.emit(ctx, id, tenant.EventChatDeleted, tenant.ChatDeleted{ID: old, MergedInto: next})
}

// twin is a message that is stored twice, of which one must go: a under the id that is given up, b under the one that stays.
type twin struct {
	other            string // the part of the key that both share, beside the message's id
	message          string
	aKind, bKind     tenant.MessageType
	aStatus, bStatus tenant.Status
}

func scanTwin(row dbutil.Scannable) (t twin, err error) {
	err = row.Scan(&t.other, &t.message, &t.aKind, &t.aStatus, &t.bKind, &t.bStatus)
	return t, err
}

// better says whether a is worth more than b: it has content where b has none, or has come further.
func (t twin) better() bool {
	if empty := t.bKind == tenant.TypeUnsupported; empty != (t.aKind == tenant.TypeUnsupported) {
		return empty
	}
	return t.aStatus.Supersedes(t.bStatus)
}
