package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

const updateRevised = `
	UPDATE message
	SET body=$5, folded=$6, reply_to=$7, mentions=$8, edited_at=$9, deleted_at=$10, payload=$11, reactions=$12,
		reactions_hidden=$13, media=$14,
		content=CASE WHEN CAST($10 AS BIGINT)=0 THEN content ELSE '' END
	WHERE tenant_id=$1 AND chat_id=$2 AND message_id=$3 AND sender_id=$4`

// revise applies an edit, a deletion, a reaction or a vote to its message, or keeps it until the message comes. It returns whether a
// message changed.
func (b *batch) revise(ctx context.Context, id tenant.ID, change tenant.Change) (bool, error) {
	e, err := b.entry(ctx, id, change)
	if err != nil {
		return false, err
	}
	if e.by != e.sender && e.kind == earlyDelete && !e.chat.IsGroup() {
		return false, nil // nobody can
	}
	row, err := scanMessageRow(b.row(ctx, id, selectMessageByKey, string(e.chat), string(e.message), string(e.sender)))
	if errors.Is(err, sql.ErrNoRows) {
		return false, b.keepEarly(ctx, id, &e)
	}
	if err != nil {
		return false, fmt.Errorf("read message: %w", err)
	}
	return b.reviseRow(ctx, id, row, &e)
}

// reviseRow applies a change to a message that is there.
func (b *batch) reviseRow(ctx context.Context, id tenant.ID, row *messageRow, e *early) (bool, error) {
	m := &row.message
	switch {
	case m.DeletedAt != nil:
		return false, nil // nothing happens to it any more
	case e.kind == earlyReaction:
		return b.react(ctx, id, row, tenant.React{By: e.by, Emoji: e.body, At: e.at})
	case e.kind == earlyVote && m.Type != tenant.TypeUnsupported:
		return b.vote(ctx, id, m, e)
	case e.kind == earlyDelete:
		poll := m.Poll != nil
		row.remove(e.at)
		if poll {
			if err := b.storePoll(ctx, id, m); err != nil {
				return false, err
			}
		}
		return true, b.storeRevised(ctx, id, row, tenant.EventMessageDeleted)
	case m.Type == tenant.TypeUnsupported:
		return false, b.keepEarly(ctx, id, e) // a placeholder: the content that is edited has not come
	case m.EditedAt != nil && e.at.Before(*m.EditedAt), m.EditedAt != nil && m.Text == e.body && !e.at.After(*m.EditedAt):
		return false, nil
	}
	m.EditedAt, m.Text, m.Mentions = &e.at, e.body, e.mentions
	if e.payload != nil && m.Media == nil { // that of a file holds the keys to it
		m.Payload = e.payload
	}
	return true, b.storeRevised(ctx, id, row, tenant.EventMessageEdited)
}

// remove takes a message's content away.
func (r *messageRow) remove(at time.Time) {
	m := &r.message
	m.DeletedAt, m.EditedAt = &at, nil
	m.Text, m.ReplyTo, m.Mentions, m.Payload, m.Media, m.Reactions, m.Poll, r.reactions = "", "", nil, nil, nil, nil, nil, ""
	forgetContent(m)
}

func (b *batch) storeRevised(ctx context.Context, id tenant.ID, row *messageRow, event tenant.EventType) error {
	if err := b.writeRevised(ctx, id, row); err != nil {
		return err
	}
	return b.emit(ctx, id, event, &row.message)
}

func (b *batch) writeRevised(ctx context.Context, id tenant.ID, row *messageRow) error {
	m := &row.message
	mentions, err := encodeMentions(m.Mentions)
	if err != nil {
		return err
	}
	all, err := decodeReactions(row.reactions)
	if err != nil {
		return err
	}
	reactions, err := all.encode()
	if err != nil {
		return err
	}
	media, err := encodeMedia(m.Media)
	if err != nil {
		return err
	}
	_, err = b.exec(ctx, id, updateRevised, string(m.ChatID), string(m.ID), string(m.SenderID),
		m.Text, foldedText(m.Text), string(m.ReplyTo), mentions, optionalMillis(m.EditedAt), optionalMillis(m.DeletedAt),
		m.Payload, reactions.text, reactions.hidden, media)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// entry is a change in the form in which it is kept, under canonical ids.
func (b *batch) entry(ctx context.Context, id tenant.ID, change tenant.Change) (early, error) {
	var e early
	switch c := change.(type) {
	case tenant.EditMessage:
		e = early{
			chat: c.ChatID, message: c.ID, sender: c.SenderID, kind: earlyEdit, by: c.SenderID, at: c.At, body: c.Text,
			mentions: c.Mentions, payload: c.Payload,
		}
	case tenant.RevokeMessage:
		e = early{chat: c.ChatID, message: c.ID, sender: c.SenderID, kind: earlyDelete, by: c.By, at: c.At}
	case tenant.React:
		e = early{chat: c.ChatID, message: c.ID, sender: c.SenderID, kind: earlyReaction, by: c.By, at: c.At, body: c.Emoji}
	case tenant.CastVote:
		e = early{chat: c.ChatID, message: c.ID, sender: c.SenderID, kind: earlyVote, by: c.By, at: c.At}
		var err error
		if e.body, err = ballotOf(&c); err != nil {
			return e, err
		}
	}
	if e.message == "" || e.chat == "" || e.sender == "" || e.by == "" {
		return e, fmt.Errorf("%w: need the message's chat, id and sender, and who acts", errMalformed)
	}
	if e.at.IsZero() {
		e.at = b.now
	}
	e.at = time.UnixMilli(e.at.UnixMilli()).UTC()
	e.message = tenant.MessageID(tenant.CleanText(string(e.message)))
	e.body = tenant.CleanText(e.body)
	return e, b.resolveEarly(ctx, id, &e)
}

// resolveEarly brings the ids of a change into their canonical form.
func (b *batch) resolveEarly(ctx context.Context, id tenant.ID, e *early) (err error) {
	for _, of := range []*tenant.ChatID{&e.chat, &e.sender, &e.by} {
		if *of, err = b.resolve(ctx, id, cleanID(*of)); err != nil {
			return err
		}
	}
	e.mentions = slices.Clone(e.mentions)
	for i, mentioned := range e.mentions {
		if e.mentions[i], err = b.resolve(ctx, id, cleanID(mentioned)); err != nil {
			return err
		}
	}
	return nil
}
