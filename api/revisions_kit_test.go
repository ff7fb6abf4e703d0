package api_test

import (
	"context"
	"time"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// revise applies a change to a stored message, as the fleet does once WhatsApp has it.
func (f *fleet) revise(ctx context.Context, id tenant.ID, ref session.MessageRef, change func(*tenant.Message) tenant.Change) (tenant.Message, error) {
	f.mu.Lock()
	fail := f.sendErr
	f.mu.Unlock()
	if fail != nil {
		return tenant.Message{}, fail
	}
	h := f.store.Tenant(id)
	m, err := h.Message(ctx, ref.Chat, ref.ID, ref.Sender)
	if err != nil {
		return tenant.Message{}, err
	}
	if _, err = h.Commit(ctx, change(&m)); err != nil {
		return tenant.Message{}, err
	}
	return h.Message(ctx, m.ChatID, m.ID, m.SenderID)
}

func (f *fleet) EditText(ctx context.Context, id tenant.ID, ref session.MessageRef, text string) (tenant.Message, error) {
	return f.revise(ctx, id, ref, func(m *tenant.Message) tenant.Change {
		return tenant.EditMessage{ChatID: m.ChatID, ID: m.ID, SenderID: m.SenderID, Text: text, At: time.Now()}
	})
}

func (f *fleet) DeleteMessage(ctx context.Context, id tenant.ID, ref session.MessageRef) error {
	_, err := f.revise(ctx, id, ref, func(m *tenant.Message) tenant.Change {
		return tenant.RevokeMessage{ChatID: m.ChatID, ID: m.ID, SenderID: m.SenderID, By: m.SenderID, At: time.Now()}
	})
	return err
}

func (f *fleet) React(ctx context.Context, id tenant.ID, ref session.MessageRef, emoji string) (tenant.Message, error) {
	return f.revise(ctx, id, ref, func(m *tenant.Message) tenant.Change {
		return tenant.React{ChatID: m.ChatID, ID: m.ID, SenderID: m.SenderID, By: "5511988880000@c.us", Emoji: emoji, At: time.Now()}
	})
}

func (f *fleet) MarkRead(ctx context.Context, id tenant.ID, chat tenant.ChatID) error {
	if err := f.ShowTyping(ctx, id, chat, session.TypingPaused); err != nil {
		return err
	}
	_, err := f.store.Tenant(id).Commit(ctx, tenant.MarkRead{ChatID: chat})
	return err
}

func (f *fleet) ShowTyping(ctx context.Context, id tenant.ID, chat tenant.ChatID, _ session.Typing) error {
	f.mu.Lock()
	fail := f.sendErr
	f.mu.Unlock()
	if fail != nil {
		return fail
	}
	_, err := f.store.Tenant(id).Chat(ctx, chat)
	return err
}

func (f *fleet) Live(tenant.ID) (<-chan tenant.Event, func()) { return f.live, func() {} }
