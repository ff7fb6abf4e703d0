package tenantsql

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/wafleet/wafleet/tenant"
)

const (
	// updateContentColumn is a statement of its own since few messages have any of this.
	updateContentColumn = `
		UPDATE message SET content=$5 WHERE tenant_id=$1 AND chat_id=$2 AND message_id=$3 AND sender_id=$4`

	// selectFiles says of media what the index message_file says, to the letter.
	selectFiles = `
		SELECT ` + messageColumns + `
		FROM message m
		WHERE (m.tenant_id || '/' || m.chat_id)=($1 || '/' || $2) AND m.media <> ''
			AND (m.sent_at, m.ord) < ($3, $4)
			AND ($5 = '' OR m.kind = $5)
		ORDER BY m.sent_at DESC, m.ord DESC
		LIMIT $6`
)

// contentColumn is the column of what a message says besides its text and its file, as JSON.
type contentColumn struct {
	Location  *tenant.Location     `json:"location,omitempty"`
	Contacts  []tenant.ContactCard `json:"contacts,omitempty"`
	Forwarded bool                 `json:"forwarded,omitempty"`
	Score     int                  `json:"score,omitempty"`
}

func encodeContent(m *tenant.Message) (string, error) {
	if m.Location == nil && len(m.Contacts) == 0 && !m.Forwarded && m.ForwardScore == 0 {
		return "", nil
	}
	encoded, err := json.Marshal(contentColumn{m.Location, m.Contacts, m.Forwarded, m.ForwardScore})
	return string(encoded), err
}

// decodeContent fills in what the column says.
func decodeContent(column string, m *tenant.Message) error {
	if column == "" {
		return nil
	}
	var c contentColumn
	if err := json.Unmarshal([]byte(column), &c); err != nil {
		return fmt.Errorf("decode content: %w", err)
	}
	m.Location, m.Contacts, m.Forwarded, m.ForwardScore = c.Location, c.Contacts, c.Forwarded, c.Score
	return nil
}

// cleanContent makes what a stranger says storable.
func cleanContent(m *tenant.Message) {
	if m.Location != nil {
		place := *m.Location
		place.Name, place.Address = tenant.CleanText(place.Name), tenant.CleanText(place.Address)
		m.Location = nil
		if place.OnEarth() { // JSON has no words for what is no number
			m.Location = &place
		}
	}
	if len(m.Contacts) > 0 {
		cards := make([]tenant.ContactCard, len(m.Contacts))
		for i, card := range m.Contacts {
			cards[i] = tenant.ContactCard{Name: tenant.CleanText(card.Name), VCard: tenant.CleanText(card.VCard)}
			for _, phone := range card.Phones {
				cards[i].Phones = append(cards[i].Phones, tenant.CleanText(phone))
			}
		}
		m.Contacts = cards
	}
}

// forgetContent takes away what a deleted message said.
func forgetContent(m *tenant.Message) {
	m.Location, m.Contacts, m.Forwarded, m.ForwardScore = nil, nil, false, 0
}

// storeContent writes the column of a message that is stored already, if it has any of this.
func (b *batch) storeContent(ctx context.Context, id tenant.ID, m *tenant.Message) error {
	column, err := encodeContent(m)
	if err != nil || column == "" {
		return err
	}
	_, err = b.exec(ctx, id, updateContentColumn, string(m.ChatID), string(m.ID), string(m.SenderID), column)
	if err != nil {
		return fmt.Errorf("write content: %w", err)
	}
	return nil
}

// Media returns the messages of a chat that are files, newest first. Returns ErrChatNotFound, ErrInvalidCursor.
func (h *handle) Media(ctx context.Context, id tenant.ChatID, q tenant.MediaQuery) (tenant.Messages, error) {
	beforeAt, beforeOrd := int64(math.MaxInt64), int64(math.MaxInt64)
	if q.Cursor != "" {
		at, ord, err := tenant.ParseMessageCursor(q.Cursor)
		if err != nil {
			return tenant.Messages{}, err
		}
		beforeAt, beforeOrd = at.UnixMilli(), ord
	}
	if q.Limit <= 0 {
		return tenant.Messages{}, nil
	}
	id, err := h.Resolve(ctx, id)
	if err != nil {
		return tenant.Messages{}, err
	}
	found, err := rows(ctx, h, scanMessage, selectFiles, string(id), beforeAt, beforeOrd, string(q.Type), q.Limit+1)
	if err != nil {
		return tenant.Messages{}, h.store.wrap(ctx, "list files", err)
	}
	if len(found) == 0 {
		return tenant.Messages{}, h.chatExists(ctx, id)
	}
	page := tenant.Messages{Messages: found}
	if len(found) > q.Limit {
		page.Messages = found[:q.Limit]
		page.Next = found[q.Limit-1].Cursor()
	}
	return page, nil
}
