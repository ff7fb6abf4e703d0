package tenantsql

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	selectHiddenReactions = `
		SELECT ` + messageColumns + `, m.payload FROM message m WHERE m.tenant_id=$1 AND m.reactions_hidden AND m.reactions LIKE $2`

	updateReactions = `
		UPDATE message SET reactions=$5, reactions_hidden=$6
		WHERE tenant_id=$1 AND chat_id=$2 AND message_id=$3 AND sender_id=$4`
)

// maxReactions bounds the reactions to one message, those that were taken back included: as many as a group has members.
const maxReactions = 1024

// reactionList is the reactions to one message, also the ones that were taken back, by who reacted.
type reactionList []tenant.Reaction

func decodeReactions(text string) (reactionList, error) {
	if text == "" {
		return nil, nil
	}
	var all reactionList
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("decode reactions: %w", err)
	}
	return all, nil
}

// shown are the reactions that stand.
func (r reactionList) shown() []tenant.Reaction {
	var shown []tenant.Reaction
	for _, one := range r {
		if one.Emoji != "" {
			shown = append(shown, one)
		}
	}
	return shown
}

// encodedReactions are the columns of reactions.
type encodedReactions struct {
	text   string
	hidden bool
}

func (r reactionList) encode() (encodedReactions, error) {
	if len(r) == 0 {
		return encodedReactions{}, nil
	}
	text, err := json.Marshal(r)
	return encodedReactions{string(text), slices.ContainsFunc(r, func(one tenant.Reaction) bool { return one.SenderID.IsHidden() })}, err
}

// put puts a reaction in the place of the same person's. False if that one is later, or the same.
func (r reactionList) put(next tenant.Reaction) (reactionList, bool) {
	i := slices.IndexFunc(r, func(one tenant.Reaction) bool { return one.SenderID == next.SenderID })
	if i < 0 {
		if len(r) >= maxReactions {
			return r, false
		}
		return append(r, next), true
	}
	old := r[i]
	if next.Timestamp.Before(old.Timestamp) || next.Emoji == old.Emoji && !next.Timestamp.After(old.Timestamp) {
		return r, false
	}
	r = slices.Clone(r)
	r[i] = next
	return r, true
}

// react applies a reaction to a message that is there.
func (b *batch) react(ctx context.Context, id tenant.ID, row *messageRow, c tenant.React) (bool, error) {
	m := &row.message
	all, err := decodeReactions(row.reactions)
	if err != nil {
		return false, err
	}
	next := tenant.Reaction{
		SenderID: c.By, Emoji: tenant.CleanText(c.Emoji), Timestamp: time.UnixMilli(c.At.UnixMilli()).UTC(),
	}
	had := slices.ContainsFunc(all.shown(), func(one tenant.Reaction) bool { return one.SenderID == c.By })
	all, changed := all.put(next)
	if !changed {
		return false, nil
	}
	if err = b.storeReactions(ctx, id, m, all); err != nil {
		return false, err
	}
	if next.Emoji == "" && !had { // taken back before it came: nobody saw it
		return false, nil
	}
	return true, b.emit(ctx, id, tenant.EventMessageReaction, tenant.MessageReaction{
		ID: m.ID, ChatID: m.ChatID, MessageSenderID: m.SenderID, SenderID: next.SenderID, Emoji: next.Emoji, Timestamp: next.Timestamp,
	})
}

func (b *batch) storeReactions(ctx context.Context, id tenant.ID, m *tenant.Message, all reactionList) error {
	encoded, err := all.encode()
	if err != nil {
		return err
	}
	_, err = b.exec(ctx, id, updateReactions, string(m.ChatID), string(m.ID), string(m.SenderID), encoded.text, encoded.hidden)
	if err != nil {
		return fmt.Errorf("write reactions: %w", err)
	}
	m.Reactions = all.shown()
	return nil
}

// linkReactions gives a person's phone number to the reactions that came under the LID.
func (b *batch) linkReactions(ctx context.Context, id tenant.ID, lid tenant.ChatID) error {
	rows, err := ask(ctx, b, scanMessageRow, selectHiddenReactions, string(id), "%"+string(lid)+"%")
	if err != nil {
		return fmt.Errorf("find reactions of lid: %w", err)
	}
	for _, row := range rows {
		old, err := decodeReactions(row.reactions)
		if err != nil {
			return err
		}
		var all reactionList
		for _, one := range old {
			if one.SenderID, err = b.resolve(ctx, id, one.SenderID); err != nil {
				return err
			}
			all, _ = all.put(one)
		}
		if err = b.storeReactions(ctx, id, &row.message, all); err != nil {
			return err
		}
	}
	return nil
}

// scanMessageRow scans a message with its payload, as it is stored.
func scanMessageRow(row dbutil.Scannable) (*messageRow, error) {
	r := &messageRow{}
	if err := row.Scan(append(r.targets(), &r.message.Payload)...); err != nil {
		return nil, err
	}
	m, err := r.done()
	r.message = m
	return r, err
}
