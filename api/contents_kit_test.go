package api_test

import (
	"context"
	"fmt"
	"time"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// keep stores a message as the fleet does that has sent it.
func (f *fleet) keep(ctx context.Context, id tenant.ID, chat tenant.ChatID, m tenant.Message) (tenant.Message, error) {
	f.mu.Lock()
	fail := f.sendErr
	f.mu.Unlock()
	if fail != nil {
		return tenant.Message{}, fail
	}
	m.ID, m.ChatID = tenant.MessageID(fmt.Sprintf("SENT%d", f.sent.Add(1))), chat
	m.SenderID, m.FromMe, m.Status, m.Timestamp = "5511988880000@c.us", true, tenant.StatusSent, time.Now().UTC().Truncate(time.Second)
	result, err := f.store.Tenant(id).Commit(ctx, tenant.PutMessage{Live: true, Message: m})
	if err != nil {
		return tenant.Message{}, err
	}
	return result.Messages[0], nil
}

func (f *fleet) SendLocation(ctx context.Context, id tenant.ID, chat tenant.ChatID, m *session.LocationMessage) (tenant.Message, error) {
	return f.keep(ctx, id, chat, tenant.Message{
		Type: tenant.TypeLocation, Location: &m.Location, ReplyTo: m.ReplyTo, Forwarded: m.Forwarded,
	})
}

func (f *fleet) SendContact(ctx context.Context, id tenant.ID, chat tenant.ChatID, m *session.CardMessage) (tenant.Message, error) {
	return f.keep(ctx, id, chat, tenant.Message{
		Type: tenant.TypeContact, Contacts: []tenant.ContactCard{{Name: m.Name, VCard: m.VCard, Phones: []string{m.Phone}}},
		ReplyTo: m.ReplyTo, Forwarded: m.Forwarded,
	})
}

func (f *fleet) Forward(ctx context.Context, id tenant.ID, ref session.MessageRef, chat tenant.ChatID) (tenant.Message, error) {
	m, err := f.store.Tenant(id).Message(ctx, ref.Chat, ref.ID, ref.Sender)
	switch {
	case err != nil:
		return tenant.Message{}, err
	case m.DeletedAt != nil:
		return tenant.Message{}, session.ErrDeleted
	case m.Type == tenant.TypeUnsupported:
		return tenant.Message{}, session.ErrNotForwardable
	}
	return f.keep(ctx, id, chat, tenant.Message{Type: m.Type, Text: m.Text, Forwarded: true, ForwardScore: m.ForwardScore + 1})
}
