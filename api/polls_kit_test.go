package api_test

import (
	"context"
	"slices"
	"time"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

func (f *fleet) SendPoll(ctx context.Context, id tenant.ID, chat tenant.ChatID, m session.PollMessage) (tenant.Message, error) {
	sent, err := f.SendText(ctx, id, chat, session.TextMessage{Text: m.Question})
	if err != nil {
		return tenant.Message{}, err
	}
	poll := &tenant.Poll{Question: m.Question, Multiple: m.Multiple}
	for _, option := range m.Options {
		poll.Options = append(poll.Options, tenant.PollOption{Text: option})
	}
	sent.ID, sent.Type, sent.Poll = "POLL"+sent.ID, tenant.TypePoll, poll
	result, err := f.store.Tenant(id).Commit(ctx, tenant.PutMessage{Message: sent, Live: true})
	if err != nil {
		return tenant.Message{}, err
	}
	return result.Messages[0], nil
}

func (f *fleet) Vote(ctx context.Context, id tenant.ID, ref session.MessageRef, options []string) (tenant.Message, error) {
	m, err := f.store.Tenant(id).Message(ctx, ref.Chat, ref.ID, ref.Sender)
	switch {
	case err != nil:
	case m.DeletedAt != nil:
		err = session.ErrDeleted
	case m.Poll == nil:
		err = session.ErrNotPoll
	case len(options) > 1 && !m.Poll.Multiple:
		err = session.ErrSingleChoice
	}
	if err != nil {
		return tenant.Message{}, err
	}
	var chosen [][]byte
	for _, option := range options {
		if !slices.ContainsFunc(m.Poll.Options, func(o tenant.PollOption) bool { return o.Text == option }) {
			return tenant.Message{}, session.ErrUnknownOption
		}
		chosen = append(chosen, tenant.HashOption(option))
	}
	return f.revise(ctx, id, ref, func(m *tenant.Message) tenant.Change {
		return tenant.CastVote{ChatID: m.ChatID, ID: m.ID, SenderID: m.SenderID, By: "5511988880000@c.us", Chosen: chosen, At: time.Now()}
	})
}
