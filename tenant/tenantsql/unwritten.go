package tenantsql

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/wafleet/wafleet/tenant"
)

const (
	// The statements below are completed by the tuples of many rows.

	upsertContacts = `
		INSERT INTO contact (tenant_id, contact_id, name, push_name, blocked, folded, sort_name, updated_at) VALUES %s
		ON CONFLICT (tenant_id, contact_id) DO UPDATE SET
			name=excluded.name, push_name=excluded.push_name, blocked=excluded.blocked, folded=excluded.folded,
			sort_name=excluded.sort_name, updated_at=excluded.updated_at`
	upsertContactsTuple = `(?, ?, ?, ?, ?, ?, ?, ?)`

	upsertLIDs = `
		INSERT INTO lid_map (tenant_id, lid, phone, learned_at) VALUES %s
		ON CONFLICT (tenant_id, lid) DO UPDATE SET phone=excluded.phone, learned_at=excluded.learned_at`
	upsertLIDsTuple = `(?, ?, ?, ?)`

	updateStatuses = `
		UPDATE message SET status=v.column5, sent_at=v.column6
		FROM (VALUES %s) v
		WHERE message.tenant_id=v.column1 AND message.chat_id=v.column2 AND message.message_id=v.column3 AND message.sender_id=v.column4`
	updateStatusesTuple = `(?, ?, ?, ?, CAST(? AS SMALLINT), CAST(? AS BIGINT))`
)

var messageColumnNames = []string{ //nolint:gochecknoglobals // does not change
	"tenant_id", "chat_id", "message_id", "sender_id", "sender_hidden", "sender_name", "from_me", "sent_at", "ord", "kind", "body", "folded",
	"reply_to", "mentions", "status", "edited_at", "deleted_at", "payload", "reactions", "reactions_hidden", "media", "poll", "poll_hidden",
	"content", "told",
}

// unwritten is what a batch is about to write into the tables message, contact, lid_map and session: the changes that come in masses leave
// their rows here, so that one statement writes those of many. Anything else that is done to these tables goes through row, ask, exec
// and their kin, which write what waits before.
type unwritten struct {
	messages [][]any
	statuses map[rowKey]ownRow
	contacts set[chatKey]              // whose rows have changed in batch.contacts
	pairs    map[chatKey]tenant.ChatID // phone numbers by LID
	sessions map[tenant.ID]tenant.Session
}

// settle writes what waits.
func (b *batch) settle(ctx context.Context) error {
	w := b.unwritten
	b.unwritten = unwritten{}
	return b.tx.together(ctx, w.writes(b))
}

// writes are the statements that write it.
func (w *unwritten) writes(b *batch) []statement {
	return slices.Concat(
		b.sessionWrites(w.sessions),
		manyWrites("write pairs", upsertLIDs, upsertLIDsTuple, slices.SortedFunc(maps.Keys(w.pairs), chatKey.compare), func(lid chatKey) []any {
			return append(lid.values(), string(w.pairs[lid]), b.now.UnixMilli())
		}),
		manyWrites("write contacts", upsertContacts, upsertContactsTuple, slices.SortedFunc(maps.Keys(w.contacts), chatKey.compare), func(key chatKey) []any {
			c := b.contacts[key]
			return append(key.values(), c.name, c.pushName, c.blocked,
				fold(c.name+"\n"+c.pushName+"\n"+key.id.Phone()), sortName(key.id, c), b.now.UnixMilli())
		}),
		inserts("write messages", "message", messageColumnNames, w.messages),
		manyWrites("write statuses", updateStatuses, updateStatusesTuple, slices.SortedFunc(maps.Keys(w.statuses), rowKey.compare), func(key rowKey) []any {
			own := w.statuses[key]
			return append(key.values(), string(key.message), string(key.sender), int64(own.status), own.sentAt)
		}),
	)
}

func (k chatKey) compare(other chatKey) int {
	return cmp.Or(cmp.Compare(k.tenant, other.tenant), cmp.Compare(k.id, other.id))
}

func (k rowKey) compare(other rowKey) int {
	return cmp.Or(k.chatKey.compare(other.chatKey), cmp.Compare(k.message, other.message), cmp.Compare(k.sender, other.sender))
}

// learn has a pair written.
func (b *batch) learn(lid chatKey, phone tenant.ChatID) {
	if b.unwritten.pairs == nil {
		b.unwritten.pairs = map[chatKey]tenant.ChatID{}
	}
	b.unwritten.pairs[lid] = phone
	b.phones[lid] = phone
	delete(b.lids, chatKey{lid.tenant, phone}) // which of several counts, the table says
}

// write has a contact written.
func (b *batch) write(key chatKey, c contact) {
	if b.unwritten.contacts == nil {
		b.unwritten.contacts = set[chatKey]{}
	}
	b.unwritten.contacts.add(key)
	b.contacts[key] = c
}

// insert has a message written that is not stored; told says that the journal tells of it now.
func (b *batch) insert(id tenant.ID, m *tenant.Message, told bool) error {
	mentions, err := encodeMentions(m.Mentions)
	if err != nil {
		return err
	}
	reactions, err := reactionList(m.Reactions).encode()
	if err != nil {
		return err
	}
	media, err := encodeMedia(m.Media)
	if err != nil {
		return err
	}
	poll, pollHidden, err := encodePoll(m.Poll)
	if err != nil {
		return err
	}
	content, err := encodeContent(m)
	if err != nil {
		return err
	}
	chat := chatKey{id, m.ChatID}
	b.unwritten.messages = append(b.unwritten.messages, []any{
		string(id), string(m.ChatID), string(m.ID), string(m.SenderID), m.SenderID.IsHidden(), m.SenderName, m.FromMe,
		m.Timestamp.UnixMilli(), m.Ord, string(m.Type), m.Text, foldedText(m.Text), string(m.ReplyTo), mentions, int64(m.Status),
		optionalMillis(m.EditedAt), optionalMillis(m.DeletedAt), m.Payload, reactions.text, reactions.hidden, media, poll, pollHidden,
		content, told,
	})
	b.stored[rowKey{chat, m.ID, m.SenderID}] = true
	if m.FromMe {
		delete(b.own, rowKey{chat, m.ID, ""})
	}
	return nil
}

// setStatusOf has the status of a message of ours written.
func (b *batch) setStatusOf(key rowKey, own ownRow) {
	if b.unwritten.statuses == nil {
		b.unwritten.statuses = map[rowKey]ownRow{}
	}
	b.unwritten.statuses[key] = own
}
