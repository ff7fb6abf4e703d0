package api_test

import (
	"context"
	"time"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// ChangeChat changes a stored chat, as the fleet does once WhatsApp has it.
func (f *fleet) ChangeChat(ctx context.Context, id tenant.ID, chat tenant.ChatID, change session.ChatChange) (tenant.Chat, error) {
	h := f.store.Tenant(id)
	stored, err := h.Chat(ctx, chat)
	if err != nil {
		return tenant.Chat{}, err
	}
	f.mu.Lock()
	fail := f.sendErr
	f.mu.Unlock()
	if fail != nil {
		return tenant.Chat{}, fail
	}
	_, err = h.Commit(ctx, tenant.PutChat{ID: stored.ID, Archived: change.Archived, Pinned: change.Pinned, Muted: change.MutedUntil})
	if err != nil {
		return tenant.Chat{}, err
	}
	return h.Chat(ctx, chat)
}

// SyncChats counts what is stored.
func (f *fleet) SyncChats(ctx context.Context, id tenant.ID) (session.SyncResult, error) {
	f.mu.Lock()
	fail := f.sendErr
	f.mu.Unlock()
	if fail != nil {
		return session.SyncResult{}, fail
	}
	counts, err := f.store.Tenant(id).CountChats(ctx)
	return session.SyncResult{ChatCounts: counts, Took: 1500 * time.Millisecond}, err
}
