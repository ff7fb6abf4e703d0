package tenantsql

import (
	"context"
	"encoding/json"
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
		COALESCE(m.deleted_at, 0), COALESCE(m.reactions, ''), COALESCE(m.media, '')`

	insertMessage = `
		INSERT INTO message (
			tenant_id, chat_id, message_id, sender_id, sender_hidden, sender_name, from_me, sent_at, ord, kind, body, folded,
			reply_to, mentions, status, edited_at, deleted_at, payload, reactions, reactions_hidden, media
		) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
		ON CONFLICT (tenant_id, chat_id, message_id, sender_id) DO NOTHING`

	selectMessageByKey = `
		SELECT ` + messageColumns + `, m.payload
		FROM message m WHERE m.tenant_id=$1 AND m.chat_id=$2 AND m.message_id=$3 AND m.sender_id=$4`

	updateContent = `
		UPDATE message SET sender_name=$5, kind=$6, body=$7, folded=$8, reply_to=$9, mentions=$10, payload=$11, media=$12
		WHERE tenant_id=$1 AND chat_id=$2 AND message_id=$3 AND sender_id=$4`

	selectOwnMessages = `
		SELECT ` + messageColumns + `
		FROM message m WHERE m.tenant_id=$1 AND m.chat_id=$2 AND m.message_id=$3 AND m.from_me`

	updateStatus = `
		UPDATE message SET status=$5, sent_at=$6
		WHERE tenant_id=$1 AND chat_id=$2 AND message_id=$3 AND sender_id=$4`

	selectNewest = `
		SELECT sent_at, ord FROM message WHERE tenant_id=$1 AND chat_id=$2 ORDER BY sent_at DESC, ord DESC LIMIT 1`
)

// messageRow is a message while it is read.
type messageRow struct {
	message                    tenant.Message
	sentAt, edited, deletedAt  int64
	mentions, reactions, media string
}

// targets are where messageColumns are scanned to.
func (r *messageRow) targets() []any {
	m := &r.message
	return []any{
		&m.ChatID, &m.ID, &m.SenderID, &m.SenderName, &m.FromMe, &r.sentAt, &m.Ord, &m.Type, &m.Text, &m.ReplyTo, &r.mentions,
		&m.Status, &r.edited, &r.deletedAt, &r.reactions, &r.media,
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
	m.Locate()
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
	m.Locate()
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
	mentions, err := encodeMentions(m.Mentions)
	if err != nil {
		return m, false, err
	}
	reactions, err := reactionList(m.Reactions).encode()
	if err != nil {
		return m, false, err
	}
	media, err := encodeMedia(m.Media)
	if err != nil {
		return m, false, err
	}
	m.Ord = h.ord + 1
	inserted, err := b.exec(ctx, id, insertMessage,
		string(m.ChatID), string(m.ID), string(m.SenderID), m.SenderID.IsHidden(), m.SenderName, m.FromMe, m.Timestamp.UnixMilli(),
		m.Ord, string(m.Type), m.Text, foldedText(m.Text), string(m.ReplyTo), mentions, int64(m.Status),
		optionalMillis(m.EditedAt), optionalMillis(m.DeletedAt), m.Payload, reactions.text, reactions.hidden, media)
	if err != nil {
		return m, false, fmt.Errorf("insert: %w", err)
	}
	if inserted == 0 {
		m, err = b.putAgain(ctx, id, p.Live, m, mentions, media)
		return m, false, err
	}
	h.ord++
	if err = b.received(ctx, id, &m, p); err != nil {
		return m, false, err
	}
	if p.Live {
		if err = b.emit(ctx, id, messageEvent(&m), &m); err != nil {
			return m, true, err
		}
	}
	err = b.catchUp(ctx, id, &m)
	return m, true, err
}

func messageEvent(m *tenant.Message) tenant.EventType {
	if m.FromMe {
		return tenant.EventMessageSent
	}
	return tenant.EventMessageReceived
}

// putAgain handles a message that is stored already: the content of a placeholder is filled in, anything else is left. Whoever
// was told of the placeholder is told of the content.
func (b *batch) putAgain(
	ctx context.Context, id tenant.ID, live bool, m tenant.Message, mentions, media string,
) (tenant.Message, error) {
	stored, err := scanMessageWithPayload(b.row(ctx, id, selectMessageByKey, string(m.ChatID), string(m.ID), string(m.SenderID)))
	if err != nil {
		return m, fmt.Errorf("read stored: %w", err)
	}
	if stored.Type != tenant.TypeUnsupported || m.Type == tenant.TypeUnsupported || stored.DeletedAt != nil {
		return stored, nil
	}
	stored.SenderName = firstOf(m.SenderName, stored.SenderName)
	stored.Type, stored.Text, stored.ReplyTo, stored.Mentions = m.Type, m.Text, m.ReplyTo, m.Mentions
	stored.Payload, stored.Media = m.Payload, m.Media
	_, err = b.exec(ctx, id, updateContent, string(m.ChatID), string(m.ID), string(m.SenderID),
		stored.SenderName, string(m.Type), m.Text, foldedText(m.Text), string(m.ReplyTo), mentions, m.Payload, media)
	if err != nil {
		return m, fmt.Errorf("replace placeholder: %w", err)
	}
	if live {
		if err = b.emit(ctx, id, messageEvent(&stored), &stored); err != nil {
			return m, err
		}
	}
	return stored, b.catchUp(ctx, id, &stored)
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
	if p.Live && !m.FromMe {
		r.chat.UnreadCount++
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
		ours, err := collect(ctx, b.tx, scanMessage, selectOwnMessages, string(id), string(chatID), string(messageID))
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		for i := range ours {
			if err = b.advance(ctx, id, &ours[i], s); err != nil {
				return err
			}
		}
	}
	return nil
}

// advance gives a message a status, unless it has a later one.
func (b *batch) advance(ctx context.Context, id tenant.ID, m *tenant.Message, s tenant.SetStatus) error {
	if !s.Status.Supersedes(m.Status) {
		return nil
	}
	before := m.Timestamp.UnixMilli()
	sentAt := before
	if !s.Timestamp.IsZero() {
		sentAt = s.Timestamp.UnixMilli()
	}
	_, err := b.exec(ctx, id, updateStatus, string(m.ChatID), string(m.ID), string(m.SenderID), int64(s.Status), sentAt)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	if sentAt != before {
		if err = b.reorder(ctx, id, m.ChatID); err != nil {
			return err
		}
	}
	return b.emit(ctx, id, tenant.EventMessageStatus, tenant.MessageStatus{ID: m.ID, ChatID: m.ChatID, Status: s.Status})
}

// reorder finds a chat's newest message anew, after messages have moved in time or between chats.
func (b *batch) reorder(ctx context.Context, id tenant.ID, chatID tenant.ChatID) error {
	r, err := b.chat(ctx, id, chatID)
	if err != nil || !r.exists {
		return err
	}
	newest, err := collect(ctx, b.tx, func(row dbutil.Scannable) (at [2]int64, err error) {
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
