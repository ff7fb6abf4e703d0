package tenantsql

import (
	"context"
	"errors"
	"fmt"

	"github.com/wafleet/wafleet/tenant"
)

// errMalformed says that a change lacks what it cannot do without. It is the caller's mistake: the same call will fail again.
var errMalformed = errors.New("change is malformed")

// Commit makes the changes durable together, with the events that follow from them.
func (h *handle) Commit(ctx context.Context, changes ...tenant.Change) (tenant.Result, error) {
	var result tenant.Result
	err := h.store.committer.do(ctx, len(changes), func(ctx context.Context, b *batch) error {
		result = tenant.Result{}
		for _, change := range changes {
			if err := b.apply(ctx, h.id, change, &result); err != nil {
				return err
			}
		}
		head, err := b.head(ctx, h.id)
		if err != nil {
			return err
		}
		result.Head = head.seq
		return nil
	})
	if err != nil {
		return tenant.Result{}, h.store.wrap(ctx, "commit", err)
	}
	return result, nil
}

// apply makes one change.
func (b *batch) apply(ctx context.Context, id tenant.ID, change tenant.Change, result *tenant.Result) error {
	var err error
	switch c := change.(type) {
	case tenant.PutMessage:
		var message tenant.Message
		var fresh bool
		if message, fresh, err = b.putMessage(ctx, id, c); err != nil {
			return fmt.Errorf("put message: %w", err)
		}
		result.Messages = append(result.Messages, message)
		result.Fresh = append(result.Fresh, fresh)
	case tenant.SetPayload:
		if err = b.setPayload(ctx, id, c); err != nil {
			return fmt.Errorf("set payload: %w", err)
		}
	case tenant.SetStatus:
		if err = b.setStatus(ctx, id, c); err != nil {
			return fmt.Errorf("set status: %w", err)
		}
	case tenant.LinkIDs:
		if err = b.linkIDs(ctx, id, c); err != nil {
			return fmt.Errorf("link ids: %w", err)
		}
	case tenant.PutContact:
		if err = b.putContact(ctx, id, c); err != nil {
			return fmt.Errorf("put contact: %w", err)
		}
	case tenant.PutChat:
		if err = b.putChat(ctx, id, c); err != nil {
			return fmt.Errorf("put chat: %w", err)
		}
	case tenant.MarkRead:
		if err = b.markRead(ctx, id, c); err != nil {
			return fmt.Errorf("mark read: %w", err)
		}
	case tenant.DeleteChat:
		if err = b.deleteChat(ctx, id, c); err != nil {
			return fmt.Errorf("delete chat: %w", err)
		}
	case tenant.EditMessage, tenant.RevokeMessage, tenant.React:
		var revised bool
		if revised, err = b.revise(ctx, id, change); err != nil {
			return fmt.Errorf("revise message: %w", err)
		}
		result.Revised = append(result.Revised, revised)
	case tenant.SetSession:
		if err = b.setSession(ctx, id, c); err != nil {
			return fmt.Errorf("set session: %w", err)
		}
	default:
		return fmt.Errorf("%w: unknown change %T", errMalformed, change)
	}
	return nil
}

func cleanID(id tenant.ChatID) tenant.ChatID { return tenant.ChatID(tenant.CleanText(string(id))) }
