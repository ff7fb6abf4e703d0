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
	if err := h.store.commits.enter(ctx, h.id); err != nil {
		return tenant.Result{}, h.store.wrap(ctx, "commit", err)
	}
	defer h.store.commits.leave(h.id)
	h.store.riders.prepare(h.id)
	err := h.store.committer.await(ctx, &job{wish: wish{size: len(changes)}, tenant: h.id, changes: changes, apply: func(ctx context.Context, b *batch) error {
		result = tenant.Result{}
		unopened := b.unopened
		for _, change := range changes {
			if err := b.apply(ctx, h.id, change, &result); err != nil {
				return err
			}
		}
		head, err := b.head(ctx, h.id)
		if err != nil {
			return err
		}
		result.Head, result.Unopened = head.seq, b.unopened-unopened
		return nil
	}})
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
	case tenant.EditMessage, tenant.RevokeMessage, tenant.React, tenant.CastVote:
		var revised bool
		if revised, err = b.revise(ctx, id, change); err != nil {
			return fmt.Errorf("revise message: %w", err)
		}
		result.Revised = append(result.Revised, revised)
	case tenant.PutGroup:
		if err = b.putGroup(ctx, id, &c, result); err != nil {
			return fmt.Errorf("put group: %w", err)
		}
	case tenant.ChangeGroup:
		if err = b.changeGroup(ctx, id, &c, result); err != nil {
			return fmt.Errorf("change group: %w", err)
		}
	case tenant.SetJoinToken:
		if err = b.setJoinToken(ctx, id, c); err != nil {
			return fmt.Errorf("set join token: %w", err)
		}
	case tenant.SetSession:
		if err = b.setSession(ctx, id, c); err != nil {
			return fmt.Errorf("set session: %w", err)
		}
	default:
		return b.applyBeside(ctx, id, change)
	}
	return nil
}

// applyBeside makes a change that goes with others: what a request or an event needs besides what is stored of it.
func (b *batch) applyBeside(ctx context.Context, id tenant.ID, change tenant.Change) (err error) {
	switch c := change.(type) {
	case tenant.UsePairingLinks:
		if err = b.usePairingLinks(ctx, id, c); err != nil {
			return fmt.Errorf("use pairing links: %w", err)
		}
	case tenant.Spend:
		if err = b.spend(ctx, id, c); err != nil {
			return fmt.Errorf("spend: %w", err)
		}
	case tenant.KeepAnswer:
		if err = b.keepAnswer(ctx, id, c); err != nil {
			return fmt.Errorf("keep answer: %w", err)
		}
	case tenant.SettleEvent:
		return b.settleEvent(ctx, id, c)
	default:
		return b.applyToChat(ctx, id, change)
	}
	return nil
}

func (b *batch) applyToChat(ctx context.Context, id tenant.ID, change tenant.Change) error {
	switch c := change.(type) {
	case tenant.PutChat:
		if err := b.putChat(ctx, id, c); err != nil {
			return fmt.Errorf("put chat: %w", err)
		}
	case tenant.MarkRead:
		if err := b.markRead(ctx, id, c); err != nil {
			return fmt.Errorf("mark read: %w", err)
		}
	case tenant.MarkUnread:
		if err := b.markUnread(ctx, id, c); err != nil {
			return fmt.Errorf("mark unread: %w", err)
		}
	case tenant.ClearChat:
		if err := b.clearChat(ctx, id, c); err != nil {
			return fmt.Errorf("clear chat: %w", err)
		}
	case tenant.DeleteChat:
		if err := b.deleteChat(ctx, id, c); err != nil {
			return fmt.Errorf("delete chat: %w", err)
		}
	default:
		return b.applyToPeople(ctx, id, change)
	}
	return nil
}

func cleanID(id tenant.ChatID) tenant.ChatID { return tenant.ChatID(tenant.CleanText(string(id))) }

// settleEvent has the tenant's device write what the event moved, in this commit.
func (b *batch) settleEvent(ctx context.Context, id tenant.ID, s tenant.SettleEvent) error {
	list := b.boarding.of(id)
	list.settled = append(list.settled, s.Hash)
	_, err := b.touch(ctx, id)
	return err
}
