package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	selectPhone = `SELECT phone FROM lid_map WHERE tenant_id=$1 AND lid=$2`

	selectLID = `SELECT lid FROM lid_map WHERE tenant_id=$1 AND phone=$2 ORDER BY learned_at DESC, lid DESC LIMIT 1`

	// selectLIDs takes a fixed number of phone-number ids, so that its text is always the same.
	selectLIDs = `
		SELECT l.phone, l.lid FROM lid_map l
		WHERE l.tenant_id=$1 AND l.phone IN ($2, $3, $4, $5, $6, $7, $8, $9)
		ORDER BY l.learned_at, l.lid`
)

// lidChunk is how many ids selectLIDs takes.
const lidChunk = 8

// Resolve returns the canonical id of a chat or person: the phone number's, once the pair is known.
func (h *handle) Resolve(ctx context.Context, id tenant.ChatID) (tenant.ChatID, error) {
	if !id.IsHidden() {
		return cleanID(id), nil
	}
	phone, err := row(ctx, h, scanString, selectPhone, string(cleanID(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return cleanID(id), nil
	}
	if err != nil {
		return "", h.store.wrap(ctx, "resolve id", err)
	}
	return tenant.ChatID(phone), nil
}

// LIDs returns the LIDs known for phone-number ids; of several the one that was learned last.
func (h *handle) LIDs(ctx context.Context, phones []tenant.ChatID) (map[tenant.ChatID]tenant.ChatID, error) {
	lids := make(map[tenant.ChatID]tenant.ChatID, len(phones))
	for chunk := range slices.Chunk(phones, lidChunk) {
		args := make([]any, lidChunk)
		for i := range args {
			args[i] = string(cleanID(chunk[min(i, len(chunk)-1)])) // the last one fills the rest
		}
		found, err := rows(ctx, h, scanPair, selectLIDs, args...)
		if err != nil {
			return nil, h.store.wrap(ctx, "list lids", err)
		}
		for _, pair := range found {
			lids[pair.phone] = pair.lid
		}
	}
	return lids, nil
}

type lidPair struct{ phone, lid tenant.ChatID }

func scanPair(row dbutil.Scannable) (p lidPair, err error) {
	err = row.Scan(&p.phone, &p.lid)
	return p, err
}

// resolve returns the canonical id, as the transaction sees it. Something may be stored under it.
func (b *batch) resolve(ctx context.Context, id tenant.ID, chatID tenant.ChatID) (tenant.ChatID, error) {
	if !chatID.IsHidden() {
		return chatID, nil
	}
	phone, err := b.phoneOf(ctx, id, chatID)
	if phone.IsHidden() {
		b.met.add(chatKey{id, phone})
	}
	return phone, err
}

// phoneOf returns the phone-number id known for a LID, or the LID itself.
func (b *batch) phoneOf(ctx context.Context, id tenant.ID, chatID tenant.ChatID) (tenant.ChatID, error) {
	key := chatKey{id, chatID}
	if phone, ok := b.phones[key]; ok {
		return phone, nil
	}
	phone := chatID
	err := b.rowBeside(ctx, id, selectPhone, string(chatID)).Scan(&phone)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("resolve id: %w", err)
	}
	b.phones[key] = phone
	return phone, nil
}

// lidOf returns the LID known for a phone-number id, or "".
func (b *batch) lidOf(ctx context.Context, id tenant.ID, phone tenant.ChatID) (lid tenant.ChatID, err error) {
	key := chatKey{id, phone}
	if lid, known := b.lids[key]; known {
		return lid, nil
	}
	err = b.row(ctx, id, selectLID, string(phone)).Scan(&lid)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("find lid: %w", err)
	}
	b.lids[key] = lid
	return lid, nil
}
