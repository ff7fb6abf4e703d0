package api_test

import (
	"context"
	"sync"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// keys are the idempotency keys that have been used, with the messages they stand for.
type keys struct {
	mu   sync.Mutex
	used map[tenant.ID]map[string]usedKey
}

type usedKey struct {
	request [32]byte
	message tenant.Message
}

// Once sends once. What it is to do when messages are pending is the fleet's own; see its tests.
func (f *fleet) Once(
	ctx context.Context, id tenant.ID, key session.RequestKey, send func(context.Context) (tenant.Message, error),
) (tenant.Message, error) {
	f.keys.mu.Lock()
	defer f.keys.mu.Unlock()
	if used, ok := f.keys.used[id][key.Key]; ok {
		if used.request != key.Request {
			return tenant.Message{}, session.ErrKeyReused
		}
		return f.store.Tenant(id).Message(ctx, used.message.ChatID, used.message.ID, used.message.SenderID)
	}
	sent, err := send(ctx)
	if err != nil {
		return tenant.Message{}, err
	}
	if f.keys.used == nil {
		f.keys.used = map[tenant.ID]map[string]usedKey{}
	}
	if f.keys.used[id] == nil {
		f.keys.used[id] = map[string]usedKey{}
	}
	f.keys.used[id][key.Key] = usedKey{key.Request, sent}
	return sent, nil
}
