package tenantsql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	// messageColumns can be read of a chat without messages, too, where a join yields NULL for all of them.
	messageColumns = `
		COALESCE(m.chat_id, ''), COALESCE(m.message_id, ''), COALESCE(m.sender_id, ''), COALESCE(m.sender_name, ''),
		COALESCE(m.from_me, FALSE), COALESCE(m.sent_at, 0), COALESCE(m.ord, 0), COALESCE(m.kind, ''), COALESCE(m.body, ''),
		COALESCE(m.reply_to, ''), COALESCE(m.mentions, ''), COALESCE(m.status, 0), COALESCE(m.edited_at, 0),
		COALESCE(m.deleted_at, 0), COALESCE(m.reactions, ''), COALESCE(m.media, ''), COALESCE(m.poll, ''),
		COALESCE(m.content, '')`

	selectKnown = `SELECT 1 FROM message WHERE tenant_id=$1 AND chat_id=$2 AND message_id=$3 AND sender_id=$4`

	selectMessageByKey = `
		SELECT ` + messageColumns + `, m.payload
		FROM message m WHERE m.tenant_id=$1 AND m.chat_id=$2 AND m.message_id=$3 AND m.sender_id=$4`

	// updateTold says that the journal tells of a message. No row: it did already.
	updateTold = `
		UPDATE message SET told=TRUE
		WHERE tenant_id=$1 AND chat_id=$2 AND message_id=$3 AND sender_id=$4 AND NOT told`

	updateContent = `
		UPDATE message SET sender_name=$5, kind=$6, body=$7, folded=$8, reply_to=$9, mentions=$10, payload=$11, media=$12
		WHERE tenant_id=$1 AND chat_id=$2 AND message_id=$3 AND sender_id=$4`

	selectOwn = `
		SELECT sender_id, status, sent_at FROM message WHERE tenant_id=$1 AND chat_id=$2 AND message_id=$3 AND from_me`

	selectOwnMessages = `
		SELECT ` + messageColumns + `
		FROM message m WHERE m.tenant_id=$1 AND m.chat_id=$2 AND m.message_id=$3 AND m.from_me`

	updateStatus = `
		UPDATE message SET status=$5, sent_at=$6
		WHERE tenant_id=$1 AND chat_id=$2 AND message_id=$3 AND sender_id=$4`

	selectNewest = `
		SELECT sent_at, ord FROM message WHERE (tenant_id || '/' || chat_id)=($1 || '/' || $2) ORDER BY sent_at DESC, ord DESC LIMIT 1`
)

// messageRow is a message while it is read.
type messageRow struct {
	message                    tenant.Message
	sentAt, edited, deletedAt  int64
	mentions, reactions, media string
	poll, content              string
}

// targets are where messageColumns are scanned to.
func (r *messageRow) targets() []any {
	m := &r.message
	return []any{
		&m.ChatID, &m.ID, &m.SenderID, &m.SenderName, &m.FromMe, &r.sentAt, &m.Ord, &m.Type, &m.Text, &m.ReplyTo, &r.mentions,
		&m.Status, &r.edited, &r.deletedAt, &r.reactions, &r.media, &r.poll, &r.content,
	}
}

func (r *messageRow) done() (tenant.Message, error) {
	m := r.message
	m.Timestamp = time.UnixMilli(r.sentAt).UTC()
	m.EditedAt, m.DeletedAt = optionalTime(r.edited), optionalTime(r.deletedAt)
	if r.mentions != "" {
		if err := json.Unmarshal([]byte(r.mentions), &m.Mentions); err != nil {
			return tenant.Message{}, fmt.Errorf("decode mentions: %w", err)
		}
	}
	all, err := decodeReactions(r.reactions)
	if err != nil {
		return tenant.Message{}, err
	}
	m.Reactions = all.shown()
	if m.Media, err = decodeMedia(r.media); err != nil {
		return tenant.Message{}, err
	}
	if m.Poll, err = decodePoll(r.poll); err != nil {
		return tenant.Message{}, err
	}
	m.Locate()
	if err = decodeContent(r.content, &m); err != nil {
		return tenant.Message{}, err
	}
	return m, nil
}

func scanMessage(row dbutil.Scannable) (tenant.Message, error) {
	var r messageRow
	if err := row.Scan(r.targets()...); err != nil {
		return tenant.Message{}, err
	}
	return r.done()
}

func scanMessageWithPayload(row dbutil.Scannable) (tenant.Message, error) {
	var r messageRow
	if err := row.Scan(append(r.targets(), &r.message.Payload)...); err != nil {
		return tenant.Message{}, err
	}
	return r.done()
}

// cleanMessage makes a message storable, under canonical ids.
func (b *batch) cleanMessage(ctx context.Context, id tenant.ID, m tenant.Message) (tenant.Message, error) {
	if m.ID == "" || m.ChatID == "" || m.SenderID == "" {
		return m, fmt.Errorf("%w: a message needs an id, a chat and a sender", errMalformed)
	}
	var err error
	if m.ChatID, err = b.resolve(ctx, id, cleanID(m.ChatID)); err != nil {
		return m, err
	}
	if m.SenderID, err = b.resolve(ctx, id, cleanID(m.SenderID)); err != nil {
		return m, err
	}
	if len(m.Mentions) > 0 {
		mentions := make([]tenant.ChatID, len(m.Mentions))
		for i, mentioned := range m.Mentions {
			if mentions[i], err = b.resolve(ctx, id, cleanID(mentioned)); err != nil {
				return m, err
			}
		}
		m.Mentions = mentions
	}
	var known reactionList
	for _, one := range m.Reactions {
		if one.SenderID, err = b.resolve(ctx, id, cleanID(one.SenderID)); err != nil {
			return m, err
		}
		one.Emoji = tenant.CleanText(one.Emoji)
		known, _ = known.put(one)
	}
	m.Reactions = known
	m.ID = tenant.MessageID(tenant.CleanText(string(m.ID)))
	m.ReplyTo = tenant.MessageID(tenant.CleanText(string(m.ReplyTo)))
	m.Type = tenant.MessageType(tenant.CleanText(string(m.Type)))
	m.SenderName = tenant.CleanText(m.SenderName)
	m.Text = tenant.CleanText(m.Text)
	m.Media = cleanMedia(m.Media)
	if m.Poll, err = b.cleanPoll(ctx, id, m.Poll); err != nil {
		return m, err
	}
	m.Locate()
	cleanContent(&m)
	if m.Timestamp.IsZero() {
		m.Timestamp = b.now
	}
	m.Timestamp = time.UnixMilli(m.Timestamp.UnixMilli()).UTC()
	m.EditedAt, m.DeletedAt = optionalTime(optionalMillis(m.EditedAt)), optionalTime(optionalMillis(m.DeletedAt))
	return m, nil
}

// encodeMentions is the column of mentions.
func encodeMentions(mentions []tenant.ChatID) (string, error) {
	if len(mentions) == 0 {
		return "", nil
	}
	encoded, err := json.Marshal(mentions)
	return string(encoded), err
}

// foldedText is the column folded: the text in lower case if it is not ASCII, for which alone the engines' lower() agree.
func foldedText(text string) *string {
	for i := range len(text) {
		if text[i] >= 0x80 {
			folded := fold(text)
			return &folded
		}
	}
	return nil
}

// putMessage stores a message and makes or touches its chat. It returns the message as it is stored.
func (b *batch) putMessage(ctx context.Context, id tenant.ID, p tenant.PutMessage) (m tenant.Message, fresh bool, err error) {
	if m, err = b.cleanMessage(ctx, id, p.Message); err != nil {
		return m, false, err
	}
	h, err := b.touch(ctx, id)
	if err != nil {
		return m, false, err
	}
	stored, err := b.isStored(ctx, id, &m)
	if err != nil {
		return m, false, err
	}
	if stored {
		m, err = b.putAgain(ctx, id, p.Live, m)
		return m, false, err
	}
	h.ord++
	h.stored += messageWeight(&m)
	if p.Spend != (tenant.Spend{}) {
		if err = b.spend(ctx, id, p.Spend); err != nil {
			return m, true, err
		}
	}
	m.Ord = h.ord
	if err = b.insert(id, &m, p.Live); err != nil {
		return m, true, err
	}
	if err = b.received(ctx, id, &m, p); err != nil {
		return m, false, err
	}
	if p.Live {
		b.use(id, &m)
		if err = b.emit(ctx, id, messageEvent(&m), &m); err != nil {
			return m, true, err
		}
	}
	err = b.catchUp(ctx, id, &m)
	return m, true, err
}

// isStored says whether there is such a message already.
func (b *batch) isStored(ctx context.Context, id tenant.ID, m *tenant.Message) (bool, error) {
	key := rowKey{chatKey{id, m.ChatID}, m.ID, m.SenderID}
	if stored, known := b.stored[key]; known {
		return stored, nil
	}
	_, err := scanInt(b.row(ctx, id, selectKnown, string(m.ChatID), string(m.ID), string(m.SenderID)))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, fmt.Errorf("find: %w", err)
	}
	b.stored[key] = err == nil
	return err == nil, nil
}

func messageEvent(m *tenant.Message) tenant.EventType {
	if m.FromMe {
		return tenant.EventMessageSent
	}
	return tenant.EventMessageReceived
}

// putAgain handles a message that is stored already: the content of a placeholder is filled in, anything else is left. Whoever
// was told of the placeholder is told of the content.
func (b *batch) putAgain(ctx context.Context, id tenant.ID, live bool, m tenant.Message) (tenant.Message, error) {
	stored, err := scanMessageWithPayload(b.row(ctx, id, selectMessageByKey, string(m.ChatID), string(m.ID), string(m.SenderID)))
	if err != nil {
		return m, fmt.Errorf("read stored: %w", err)
	}
	if mergeVotes(stored.Poll, m.Poll) { // a history knows of votes that were never delivered here
		if err = b.storePoll(ctx, id, &stored); err != nil {
			return m, err
		}
	}
	if stored.Type != tenant.TypeUnsupported || m.Type == tenant.TypeUnsupported || stored.DeletedAt != nil {
		if live {
			err = b.putLate(ctx, id, &stored)
		}
		return stored, err
	}
	stored.SenderName = firstOf(m.SenderName, stored.SenderName)
	stored.Type, stored.Text, stored.ReplyTo, stored.Mentions = m.Type, m.Text, m.ReplyTo, m.Mentions
	stored.Payload, stored.Media = m.Payload, m.Media
	stored.Location, stored.Contacts, stored.Forwarded, stored.ForwardScore = m.Location, m.Contacts, m.Forwarded, m.ForwardScore
	mentions, err := encodeMentions(m.Mentions)
	if err != nil {
		return m, err
	}
	media, err := encodeMedia(m.Media)
	if err != nil {
		return m, err
	}
	_, err = b.exec(ctx, id, updateContent, string(m.ChatID), string(m.ID), string(m.SenderID),
		stored.SenderName, string(m.Type), m.Text, foldedText(m.Text), string(m.ReplyTo), mentions, m.Payload, media)
	if err != nil {
		return m, fmt.Errorf("replace placeholder: %w", err)
	}
	if stored.Poll = m.Poll; stored.Poll != nil {
		if err = b.storePoll(ctx, id, &stored); err != nil {
			return m, err
		}
	}
	if err = b.storeContent(ctx, id, &stored); err != nil {
		return m, err
	}
	if live {
		if err = b.tellContent(ctx, id, &stored); err != nil {
			return m, err
		}
	}
	return stored, b.catchUp(ctx, id, &stored)
}

// tellContent tells of a placeholder's content.
func (b *batch) tellContent(ctx context.Context, id tenant.ID, m *tenant.Message) error {
	before, err := b.head(ctx, id)
	if err != nil {
		return err
	}
	seq := before.seq
	if err = b.putLate(ctx, id, m); err != nil || before.seq > seq {
		return err
	}
	return b.emit(ctx, id, messageEvent(m), m)
}

// putLate tells of a message that a history brought before it came by itself. A message that was told of is not told of twice.
func (b *batch) putLate(ctx context.Context, id tenant.ID, m *tenant.Message) error {
	first, err := b.exec(ctx, id, updateTold, string(m.ChatID), string(m.ID), string(m.SenderID))
	if err != nil {
		return fmt.Errorf("mark as told: %w", err)
	}
	if first == 0 {
		return nil
	}
	r, err := b.chat(ctx, id, m.ChatID)
	if err != nil {
		return err
	}
	if r.exists {
		r.arrived(m)
		if err = b.changed(ctx, r); err != nil {
			return err
		}
	}
	b.use(id, m)
	return b.emit(ctx, id, messageEvent(m), m)
}

// arrived counts a message that has come by itself.
func (r *chatRow) arrived(m *tenant.Message) {
	if !m.FromMe && m.Timestamp.UnixMilli() > r.readUntil {
		r.chat.UnreadCount++
	}
}

// received makes or touches the chat of a message that was just stored.
func (b *batch) received(ctx context.Context, id tenant.ID, m *tenant.Message, p tenant.PutMessage) error {
	r, err := b.chat(ctx, id, m.ChatID)
	if err != nil {
		return err
	}
	known, before := r.exists, r.look()
	if err = b.makeChat(ctx, r); err != nil {
		return err
	}
	renamed := false
	if name := tenant.CleanText(p.ChatName); name != "" && r.given == "" {
		r.given = name
		if err = b.nameChat(ctx, r); err != nil {
			return err
		}
		renamed = known && r.chat.Name != before.name
	}
	r.last(m.Timestamp.UnixMilli(), m.Ord)
	r.happened(m.Timestamp)
	r.chat.Heard = r.chat.Heard || !m.FromMe && m.Type != tenant.TypeSystem
	if p.Live {
		r.arrived(m)
	}
	if err = b.changed(ctx, r); err != nil || !renamed {
		return err
	}
	return b.announce(ctx, r, before)
}

func (b *batch) setStatus(ctx context.Context, id tenant.ID, s tenant.SetStatus) error {
	chatID, err := b.resolve(ctx, id, cleanID(s.ChatID))
	if err != nil {
		return err
	}
	for _, messageID := range s.MessageIDs {
		messageID = tenant.MessageID(tenant.CleanText(string(messageID)))
		// One id names one message of ours. Should it ever name two, both move.
		ours, err := b.ours(ctx, rowKey{chatKey{id, chatID}, messageID, ""})
		if err != nil {
			return err
		}
		if len(ours) == 0 && s.Status > tenant.StatusSent { // a receipt; WhatsApp's own answer only comes to who has asked
			if err = b.keepEarly(ctx, id, earlyReceipt(chatID, messageID, s.Status)); err != nil {
				return err
			}
		}
		for i := range ours {
			if err = b.advance(ctx, rowKey{chatKey{id, chatID}, messageID, ours[i].sender}, &ours[i], s); err != nil {
				return err
			}
		}
	}
	return nil
}

// ours are the messages of ours that an id names in a chat.
func (b *batch) ours(ctx context.Context, key rowKey) ([]ownRow, error) {
	if ours, known := b.own[key]; known {
		return ours, nil
	}
	ours, err := ask(ctx, b, func(row dbutil.Scannable) (own ownRow, err error) {
		err = row.Scan(&own.sender, &own.status, &own.sentAt)
		return own, err
	}, selectOwn, string(key.tenant), string(key.id), string(key.message))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	b.own[key] = ours
	return ours, nil
}

// advance gives a message a status, unless it has a later one.
func (b *batch) advance(ctx context.Context, key rowKey, own *ownRow, s tenant.SetStatus) error {
	if !s.Status.Supersedes(own.status) {
		return nil
	}
	if _, err := b.touch(ctx, key.tenant); err != nil {
		return err
	}
	own.status = s.Status
	before := own.sentAt
	if !s.Timestamp.IsZero() {
		own.sentAt = s.Timestamp.UnixMilli()
	}
	b.setStatusOf(key, *own)
	if own.sentAt != before {
		if err := b.reorder(ctx, key.tenant, key.id); err != nil {
			return err
		}
	}
	return b.emit(ctx, key.tenant, tenant.EventMessageStatus, tenant.MessageStatus{ID: key.message, ChatID: key.id, Status: s.Status})
}

// reorder finds a chat's newest message anew, after messages have moved in time or between chats.
func (b *batch) reorder(ctx context.Context, id tenant.ID, chatID tenant.ChatID) error {
	r, err := b.chat(ctx, id, chatID)
	if err != nil || !r.exists {
		return err
	}
	newest, err := ask(ctx, b, func(row dbutil.Scannable) (at [2]int64, err error) {
		err = row.Scan(&at[0], &at[1])
		return at, err
	}, selectNewest, string(id), string(chatID))
	if err != nil {
		return fmt.Errorf("read newest: %w", err)
	}
	r.lastSentAt, r.lastOrd, r.chat.LastMessageAt = 0, 0, nil
	for _, at := range newest {
		r.last(at[0], at[1])
		r.happened(time.UnixMilli(at[0]).UTC())
	}
	return b.changed(ctx, r)
}
