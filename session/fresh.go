package session

import (
	"context"
	"iter"

	"github.com/wafleet/wafleet/tenant"
)

// fates are what became of messages of ours.
type fates map[tenant.MessageID]fate

// tell brings a message that was read up to date.
func (o fates) tell(m *tenant.Message) {
	if came, ok := o[m.ID]; ok && m.FromMe && came.status.Supersedes(m.Status) {
		m.Status = came.status
		if !came.at.IsZero() {
			m.Timestamp = came.at
		}
	}
}

func (o fates) tellLast(c *tenant.Chat) {
	if c.LastMessage != nil {
		o.tell(c.LastMessage)
	}
}

// Fresh is a tenant's handle whose reads know what has become of its messages by now. That is stored a moment after callers are told of it:
// who was answered that a message is sent must not read that it is pending. Good for one request.
func (f *Fleet) Fresh(h tenant.Handle) tenant.Handle {
	a := f.running(h.ID())
	if a == nil {
		return h
	}
	known := a.outbox.unstored()
	if known == nil {
		return h
	}
	return &freshHandle{h, known}
}

// freshHandle implements [Fleet.Fresh].
type freshHandle struct {
	tenant.Handle

	known fates
}

// Chats yields chats, with their last messages as they are now.
func (h *freshHandle) Chats(ctx context.Context, q tenant.ChatQuery) iter.Seq2[tenant.Chat, error] {
	return func(yield func(tenant.Chat, error) bool) {
		for chat, err := range h.Handle.Chats(ctx, q) {
			h.known.tellLast(&chat)
			if !yield(chat, err) {
				return
			}
		}
	}
}

// Chat returns a chat, with its last message as it is now.
func (h *freshHandle) Chat(ctx context.Context, id tenant.ChatID) (tenant.Chat, error) {
	chat, err := h.Handle.Chat(ctx, id)
	h.known.tellLast(&chat)
	return chat, err
}

// Messages returns messages as they are now.
func (h *freshHandle) Messages(ctx context.Context, id tenant.ChatID, q tenant.MessageQuery) (tenant.Messages, error) {
	page, err := h.Handle.Messages(ctx, id, q)
	return h.told(page), err
}

// Media returns messages as they are now.
func (h *freshHandle) Media(ctx context.Context, id tenant.ChatID, q tenant.MediaQuery) (tenant.Messages, error) {
	page, err := h.Handle.Media(ctx, id, q)
	return h.told(page), err
}

// Message returns a message as it is now.
func (h *freshHandle) Message(ctx context.Context, chat tenant.ChatID, id tenant.MessageID, sender tenant.ChatID) (tenant.Message, error) {
	m, err := h.Handle.Message(ctx, chat, id, sender)
	h.known.tell(&m)
	return m, err
}

func (h *freshHandle) told(page tenant.Messages) tenant.Messages {
	for i := range page.Messages {
		h.known.tell(&page.Messages[i])
	}
	return page
}
