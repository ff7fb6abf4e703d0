package session

import (
	"context"
	"errors"
	"fmt"
	"math"

	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wafleet/wafleet/tenant"
)

// ErrNotForwardable says that a message cannot be forwarded: it is a poll, or shown once only, or nothing that we could read.
var ErrNotForwardable = errors.New("message cannot be forwarded")

// maxForwardScore is what WhatsApp's apps write for what was forwarded too often to be counted.
const maxForwardScore = 127

// Forward sends a stored message to another chat, or to its own again, marked as forwarded. Files are not transferred: the new
// message refers to what lies at WhatsApp already, with the key to it.
//
// Returns [tenant.ErrChatNotFound] for either chat, [tenant.ErrMessageNotFound], *[OfflineError], ErrDeleted, ErrNotForwardable,
// and what [Fleet.SendText] does.
func (f *Fleet) Forward(ctx context.Context, id tenant.ID, ref MessageRef, chat tenant.ChatID) (msg tenant.Message, err error) {
	defer f.watch.contain("forward", &err)
	source, err := f.cfg.Store.Tenant(id).Message(ctx, ref.Chat, ref.ID, ref.Sender)
	if err != nil {
		return tenant.Message{}, fmt.Errorf("find message: %w", err)
	}
	to, err := f.address(ctx, id, chat, "", 0)
	if err != nil {
		return tenant.Message{}, err
	}
	defer to.pass.end()
	if source.DeletedAt != nil {
		return tenant.Message{}, ErrDeleted
	}
	wire, err := composeForward(&source)
	if err != nil {
		return tenant.Message{}, err
	}
	return to.sendWire(ctx, wire)
}

// composeForward writes a stored message anew, without what it answered and whom it mentioned. Returns ErrNotForwardable.
func composeForward(m *tenant.Message) (*waE2E.Message, error) {
	info := marked(nil, m.ForwardScore+1)
	switch {
	case m.Type == tenant.TypeText && m.Text != "":
		return &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: new(m.Text), ContextInfo: info}}, nil
	case m.Type == tenant.TypeLocation && m.Location != nil:
		return composePlace(m.Location, info), nil
	case m.Type == tenant.TypeContact && len(m.Contacts) > 0:
		for _, card := range m.Contacts {
			if card.VCard == "" {
				return nil, ErrNotForwardable // it was too large to be kept
			}
		}
		return composeCards(m.Contacts, m.Text, info), nil
	case m.Media != nil:
		return forwardFile(m, info)
	}
	return nil, ErrNotForwardable
}

// forwardFile is a stored file for others. Returns ErrNotForwardable.
func forwardFile(m *tenant.Message, info *waE2E.ContextInfo) (*waE2E.Message, error) {
	msg, part, err := storedFile(m)
	if err != nil {
		return nil, ErrNotForwardable
	}
	if once, ok := part.(interface{ GetViewOnce() bool }); ok && once.GetViewOnce() {
		return nil, ErrNotForwardable
	}
	// The caption may have been edited since; the file is the same.
	caption := optionalText(m.Text)
	switch p := part.(type) {
	case *waE2E.ImageMessage:
		p.ContextInfo, p.Caption = info, caption
		return &waE2E.Message{ImageMessage: p}, nil
	case *waE2E.VideoMessage:
		p.ContextInfo, p.Caption = info, caption
		if msg.PtvMessage != nil { // the round ones
			return &waE2E.Message{PtvMessage: p}, nil
		}
		return &waE2E.Message{VideoMessage: p}, nil
	case *waE2E.AudioMessage:
		p.ContextInfo = info
		return &waE2E.Message{AudioMessage: p}, nil
	case *waE2E.StickerMessage:
		p.ContextInfo = info
		return &waE2E.Message{StickerMessage: p}, nil
	case *waE2E.DocumentMessage:
		p.ContextInfo, p.Caption = info, caption
		return wrapDocument(&waE2E.Message{DocumentMessage: p}), nil
	}
	return nil, ErrNotForwardable
}

// wrapDocument puts a document that has a caption where WhatsApp's apps look for one.
func wrapDocument(document *waE2E.Message) *waE2E.Message {
	if document.GetDocumentMessage().Caption == nil {
		return document
	}
	return &waE2E.Message{DocumentWithCaptionMessage: &waE2E.FutureProofMessage{Message: document}}
}

// marked marks a message as forwarded that many times; 0: not at all.
func marked(info *waE2E.ContextInfo, score int) *waE2E.ContextInfo {
	if score <= 0 {
		return info
	}
	if info == nil {
		info = &waE2E.ContextInfo{}
	}
	info.IsForwarded = new(true)
	info.ForwardingScore = new(uint32(min(score, maxForwardScore)))
	return info
}

// firstForward is the score of what a caller wants marked as forwarded.
func firstForward(forwarded bool) int {
	if forwarded {
		return 1
	}
	return 0
}

// forwardOf says whether, and how often, a message was forwarded.
func forwardOf(info *waE2E.ContextInfo) (forwarded bool, score int) {
	score = int(min(info.GetForwardingScore(), math.MaxInt16))
	return info.GetIsForwarded() || score > 0, score
}
