package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/wafleet/wafleet/tenant"
)

const (
	upsertJoinURL = `
		INSERT INTO join_url (tenant_id, chat_id, token, created_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant_id, chat_id) DO UPDATE SET token=excluded.token, created_at=excluded.created_at`

	deleteJoinURL = `DELETE FROM join_url WHERE tenant_id=$1 AND chat_id=$2`

	// selectJoinChat says of the tenant that it is not being deleted, nor suspended: nobody else asks before this is answered.
	selectJoinChat = `
		SELECT j.chat_id FROM join_url j JOIN tenant t ON t.tenant_id=j.tenant_id AND t.deleted_at=0 AND t.suspended_at=0
		WHERE j.tenant_id=$1 AND j.token=$2`
)

func (b *batch) setJoinToken(ctx context.Context, id tenant.ID, s tenant.SetJoinToken) error {
	chatID, err := b.resolve(ctx, id, cleanID(s.ChatID))
	if err != nil {
		return err
	}
	r, err := b.chat(ctx, id, chatID)
	if err != nil {
		return err
	}
	if !r.exists {
		return tenant.ErrChatNotFound
	}
	if s.Token == "" {
		return b.dropJoinToken(ctx, r)
	}
	if s.Token.Tenant() != id {
		return fmt.Errorf("%w: a join token of another tenant", errMalformed)
	}
	_, err = b.exec(ctx, id, upsertJoinURL, string(chatID), string(s.Token), b.now.UnixMilli())
	return err
}

// dropJoinToken takes a group's token away, if it has one.
func (b *batch) dropJoinToken(ctx context.Context, r *chatRow) error {
	if !r.chat.ID.IsGroup() {
		return nil
	}
	_, err := b.exec(ctx, r.tenant, deleteJoinURL, string(r.chat.ID))
	return err
}

// JoinChat returns the chat that a token of a join URL names. Returns ErrJoinTokenNotFound.
func (h *handle) JoinChat(ctx context.Context, token tenant.JoinToken) (tenant.Chat, error) {
	id, err := row(ctx, h, scanString, selectJoinChat, string(token))
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.Chat{}, tenant.ErrJoinTokenNotFound
	}
	if err != nil {
		return tenant.Chat{}, h.store.wrap(ctx, "read join token", err)
	}
	chat, err := h.Chat(ctx, tenant.ChatID(id))
	if errors.Is(err, tenant.ErrChatNotFound) || err == nil && chat.JoinToken != token { // it went in between
		return tenant.Chat{}, tenant.ErrJoinTokenNotFound
	}
	return chat, err
}
