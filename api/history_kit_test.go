package api_test

import (
	"context"

	"github.com/wafleet/wafleet/tenant"
)

// FetchHistory finds what is stored.
func (f *fleet) FetchHistory(ctx context.Context, id tenant.ID, chat tenant.ChatID, limit int) ([]tenant.Message, error) {
	f.mu.Lock()
	fail := f.sendErr
	f.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	page, err := f.store.Tenant(id).Messages(ctx, chat, tenant.MessageQuery{Limit: limit})
	return page.Messages, err
}
