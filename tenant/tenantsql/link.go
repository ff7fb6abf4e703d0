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
		SELECT a.chat_id, a.message_id, a.kind, a.status, b.kind, b.status, a.told, b.told, a.from_me, a.sent_at
		FROM message a
		JOIN message b ON b.tenant_id=a.tenant_id AND b.chat_id=a.chat_id AND b.message_id=a.message_id AND b.sender_id=$3
		WHERE a.tenant_id=$1 AND a.sender_id=$2 AND a.sender_hidden`

	// selectMovedTwins yields messages that are in two chats that become one.
	selectMovedTwins = `
		SELECT a.sender_id, a.message_id, a.kind, a.status, b.kind, b.status, a.told, b.told, a.from_me, a.sent_at
		FROM message a
		JOIN message b ON b.tenant_id=a.tenant_id AND b.chat_id=$3 AND b.message_id=a.message_id AND b.sender_id=a.sender_id
		WHERE a.tenant_id=$1 AND a.chat_id=$2`

	deleteToldMessage = `DELETE FROM message WHERE tenant_id=$1 AND chat_id=$2 AND message_id=$3 AND sender_id=$4 AND told`

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
	known, err := b.phoneOf(ctx, id, lid)
	if err != nil || known == phone {
		return err
	}
	if _, err = b.touch(ctx, id); err != nil {
		return err
	}
	key := chatKey{id, lid}
	b.learn(key, phone)
	if !b.traceless.has(key) || b.met.has(key) {
		if err = b.linkTraces(ctx, id, lid, phone); err != nil {
			return err
		}
	}
	if err = b.linkChats(ctx, id, lid, phone); err != nil {
		return err
	}
	return b.linkEarly(ctx, id, lid, phone)
}

// linkTraces moves what is stored under the LID, chats aside.
func (b *batch) linkTraces(ctx context.Context, id tenant.ID, lid, phone tenant.ChatID) error {
	if err := b.linkContacts(ctx, id, lid, phone); err != nil {
		return err
	}
	if err := b.linkSenders(ctx, id, lid, phone); err != nil {
		return err
	}
	if err := b.linkReactions(ctx, id, lid); err != nil {
		return err
	}
	if err := b.linkParticipants(ctx, id, lid, phone); err != nil {
		return err
	}
	return b.linkVotes(ctx, id, lid)
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
	both := contact{
		name: firstOf(known.name, hidden.name), pushName: firstOf(known.pushName, hidden.pushName), blocked: known.blocked || hidden.blocked,
	}
	if both != known {
		if err = b.storeContact(ctx, id, phone, both); err != nil {
			return err
		}
	}
	// Even if it looks as before: consumers forget the other contact by its lid, and must know this one.
	if err = b.announceContact(ctx, id, phone, both); err != nil {
		return err
	}
	if hidden.blocked {
		delete(b.blocked, id) // it names the person by the id that goes
	}
	if _, err = b.exec(ctx, id, deleteContact, string(lid)); err != nil {
		return fmt.Errorf("drop contact: %w", err)
	}
	b.contacts[chatKey{id, lid}] = contact{}
	return nil
}

// linkSenders gives the phone number to the messages that the person sent.
func (b *batch) linkSenders(ctx context.Context, id tenant.ID, lid, phone tenant.ChatID) error {
	chats, err := ask(ctx, b, scanString, selectHiddenChats, string(id), string(lid))
	if err != nil {
		return fmt.Errorf("find messages of lid: %w", err)
	}
	if len(chats) == 0 {
		return nil
	}
	twins, err := ask(ctx, b, scanTwin, selectTwins, string(id), string(lid), string(phone))
	if err != nil {
		return fmt.Errorf("find twins: %w", err)
	}
	for _, t := range twins {
		loser, winner := lid, phone
		if t.better() {
			loser, winner = phone, lid
		}
		chat := tenant.ChatID(t.other)
		if err = b.mergeTwins(ctx, id, t.message, messageKey{chat, loser}, messageKey{chat, winner}); err != nil {
			return err
		}
		r, err := b.chat(ctx, id, chat)
		if err != nil {
			return err
		}
		if r.exists && t.countedTwice(r.readUntil) {
			r.chat.UnreadCount = max(0, r.chat.UnreadCount-1)
		}
	}
	if _, err = b.move(ctx, id, updateSender, string(lid), string(phone)); err != nil {
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
	if err := b.readBoth(ctx, from, to); err != nil {
		return err
	}
	twins, err := ask(ctx, b, scanTwin, selectMovedTwins, string(id), string(old), string(next))
	if err != nil {
		return fmt.Errorf("find twins: %w", err)
	}
	for _, t := range twins {
		loser, winner := old, next
		if t.better() {
			loser, winner = next, old
		}
		sender := tenant.ChatID(t.other)
		if err = b.mergeTwins(ctx, id, t.message, messageKey{loser, sender}, messageKey{winner, sender}); err != nil {
			return err
		}
		if t.countedTwice(to.readUntil) {
			from.chat.UnreadCount = max(0, from.chat.UnreadCount-1)
		}
	}
	if _, err = b.move(ctx, id, updateChatID, string(old), string(next)); err != nil {
		return fmt.Errorf("move messages: %w", err)
	}

	c, f := &to.chat, &from.chat
	to.given = firstOf(to.given, from.given)
	c.Heard = c.Heard || f.Heard
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
	aTold, bTold     bool
	fromMe           bool
	sentAt           int64
}

func scanTwin(row dbutil.Scannable) (t twin, err error) {
	err = row.Scan(&t.other, &t.message, &t.aKind, &t.aStatus, &t.bKind, &t.bStatus, &t.aTold, &t.bTold, &t.fromMe, &t.sentAt)
	return t, err
}

// better says whether a is worth more than b: it has content where b has none, or has come further.
func (t twin) better() bool {
	if empty := t.bKind == tenant.TypeUnsupported; empty != (t.aKind == tenant.TypeUnsupported) {
		return empty
	}
	return t.aStatus.Supersedes(t.bStatus)
}

// countedTwice says whether both are among the unread ones of a chat that was read up to a time in ms.
func (t twin) countedTwice(readUntil int64) bool {
	return t.aTold && t.bTold && !t.fromMe && t.sentAt > readUntil
}

// readBoth brings two chats that become one to the later of their read marks.
func (b *batch) readBoth(ctx context.Context, chats ...*chatRow) error {
	var until int64
	for _, r := range chats {
		until = max(until, r.readUntil)
	}
	for _, r := range chats {
		before := r.readUntil
		if r.readUntil = until; before == until || r.chat.UnreadCount == 0 {
			continue
		}
		unread, err := b.stillUnread(ctx, r, before)
		if err != nil {
			return err
		}
		r.chat.UnreadCount = unread
	}
	return nil
}

// mergeTwins saves what happened to a message that is stored twice, before one of the two goes.
func (b *batch) mergeTwins(ctx context.Context, id tenant.ID, message string, loser, winner messageKey) error {
	read := func(k messageKey) (*messageRow, error) {
		row, err := scanMessageRow(b.row(ctx, id, selectMessageByKey, string(k.chat), message, string(k.sender)))
		if err != nil {
			return nil, fmt.Errorf("read twin: %w", err)
		}
		return row, nil
	}
	from, err := read(loser)
	if err != nil {
		return err
	}
	to, err := read(winner)
	if err != nil {
		return err
	}
	if err = b.mergeRows(ctx, id, from, to); err != nil {
		return err
	}
	told, err := b.move(ctx, id, deleteToldMessage, string(loser.chat), message, string(loser.sender))
	if err != nil {
		return fmt.Errorf("drop twin: %w", err)
	}
	if told > 0 {
		_, err = b.exec(ctx, id, updateTold, string(winner.chat), message, string(winner.sender))
	} else {
		_, err = b.move(ctx, id, deleteMessage, string(loser.chat), message, string(loser.sender))
	}
	if err != nil {
		return fmt.Errorf("drop twin: %w", err)
	}
	return nil
}

// mergeRows brings one record of a message up to another. The journal has told of all that.
func (b *batch) mergeRows(ctx context.Context, id tenant.ID, from, to *messageRow) error {
	f, m := &from.message, &to.message
	if f.Status.Supersedes(m.Status) {
		_, err := b.move(ctx, id, updateStatus, string(m.ChatID), string(m.ID), string(m.SenderID), int64(f.Status), m.Timestamp.UnixMilli())
		if err != nil {
			return fmt.Errorf("write status: %w", err)
		}
	}
	switch {
	case m.DeletedAt != nil:
		return nil
	case f.DeletedAt != nil:
		to.remove(*f.DeletedAt)
		if err := b.storePoll(ctx, id, m); err != nil {
			return err
		}
		return b.writeRevised(ctx, id, to)
	}
	if mergeVotes(m.Poll, f.Poll) {
		if err := b.storePoll(ctx, id, m); err != nil {
			return err
		}
	}
	if f.EditedAt != nil && (m.EditedAt == nil || f.EditedAt.After(*m.EditedAt)) && m.Type != tenant.TypeUnsupported {
		m.EditedAt, m.Text, m.Mentions = f.EditedAt, f.Text, f.Mentions
	}
	mine, err := decodeReactions(to.reactions)
	if err != nil {
		return err
	}
	theirs, err := decodeReactions(from.reactions)
	if err != nil {
		return err
	}
	for _, one := range theirs {
		mine, _ = mine.put(one)
	}
	encoded, err := mine.encode()
	if err != nil {
		return err
	}
	to.reactions = encoded.text
	return b.writeRevised(ctx, id, to)
}
