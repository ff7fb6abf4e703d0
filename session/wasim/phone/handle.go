package phone

import (
	"context"
	"fmt"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

// handle takes whatsmeow's events. It answers false if a message was not taken, so that it stays unacknowledged.
func (p *Phone) handle(evt any) bool {
	switch e := evt.(type) {
	case *events.Connected:
		signal(p.connected)
	case *events.Disconnected:
		if !p.cli.IsConnected() { // else it speaks of a connection that has been replaced
			signal(p.lost)
		}
	case *events.StreamReplaced, *events.ManualLoginReconnect, *events.ConnectFailure, *events.TemporaryBan, *events.ClientOutdated:
		signal(p.lost) // whatsmeow does not say Disconnected after these
	case *events.KeepAliveTimeout:
		if time.Since(e.LastSuccess) > staleAfter {
			signal(p.lost)
		}
	case *events.LoggedOut:
		p.end(ErrUnlinked)
		signal(p.lost)
	case *events.Message:
		return p.handleMessage(e)
	case *events.UndecryptableMessage:
		p.inbox.add(p.entryOf(KindUndecryptable, e.Info.MessageSource, e.Info.Timestamp, []string{e.Info.ID}))
	case *events.Receipt:
		p.handleReceipt(e)
	case *events.ChatPresence:
		p.handleTyping(e)
	case *events.GroupInfo:
		p.handleGroupChange(e)
	case *events.JoinedGroup:
		p.handleJoinedGroup(e)
	case *events.Picture:
		p.handlePicture(e)
	case *events.Presence:
		p.handlePresence(e)
	case *events.PushNameSetting:
		if name := e.Action.GetName(); name != "" {
			p.setName(name) // a companion changed it
		}
	default:
		p.handleSetting(evt)
	}
	return true
}

func (p *Phone) handleMessage(e *events.Message) bool {
	if p.ctx.Err() != nil {
		return false
	}
	if e.Info.Category == "peer" {
		select {
		case p.peerWork <- e:
		default: // a companion asks more than a phone answers; a real one may stay silent too
			p.cfg.Log.Warn("peer message dropped")
		}
		return true
	}
	if entry, ok := p.revision(e); ok {
		p.inbox.add(entry)
		return true
	}
	if entry, ok := p.vote(e); ok {
		p.inbox.add(entry)
		return true
	}
	text, info, ok := textOf(e.Message)
	if !ok {
		return true // a key distribution or a setting: nothing a person would see
	}
	entry := p.entryOf(KindMessage, e.Info.MessageSource, e.Info.Timestamp, []string{e.Info.ID})
	entry.Text = text
	p.contextIn(&entry, info)
	_, _, entry.File = fileOf(e.Message)
	contentIn(&entry, e.Message)
	pollIn(&entry, e.Message)
	p.sent.remember(e)
	p.inbox.add(entry)
	if e.Info.IsFromMe || p.cfg.Autoreply == nil && !p.cfg.AutoRead {
		return true
	}
	select {
	case p.replies <- e:
		return true
	case <-p.ctx.Done():
		return true // it is in the inbox
	}
}

func (p *Phone) handleReceipt(e *events.Receipt) {
	switch e.Type { //nolint:exhaustive // the others are entries under their own names
	case types.ReceiptTypePeerMsg, types.ReceiptTypeHistorySync, types.ReceiptTypeRetry, types.ReceiptTypeServerError:
		return // between devices, not between people
	case types.ReceiptTypeDelivered:
		e.Type = "delivered"
	}
	entry := p.entryOf(KindReceipt, e.MessageSource, e.Timestamp, e.MessageIDs)
	entry.Receipt = string(e.Type)
	p.inbox.add(entry)
}

func (p *Phone) entryOf(kind string, src types.MessageSource, at time.Time, ids []string) Entry {
	e := Entry{
		Kind: kind, IDs: ids, FromDevice: src.Sender.Device, FromMe: src.IsFromMe, At: at,
		Chat: p.numberOf(src.Chat), From: p.numberOf(src.Sender), Via: "pn",
	}
	if src.Chat.Server == types.HiddenUserServer || src.IsGroup && src.Sender.Server == types.HiddenUserServer {
		e.Via = "lid"
	}
	return e
}

// numberOf answers the phone number of a user, or the whole id if it is not known.
func (p *Phone) numberOf(jid types.JID) string {
	switch jid.Server {
	case types.DefaultUserServer:
		return jid.User
	case types.HiddenUserServer:
		if pn, err := p.cli.Store.LIDs.GetPNForLID(p.ctx, jid.ToNonAD()); err == nil && !pn.IsEmpty() {
			return pn.User
		}
	}
	return jid.ToNonAD().String()
}

// textOf answers what a message says in words, and its context. ok is false for messages that are not shown to people.
func textOf(m *waE2E.Message) (text string, info *waE2E.ContextInfo, ok bool) {
	if part, caption, _ := fileOf(m); part != nil {
		return caption, part.GetContextInfo(), true
	}
	switch {
	case m.GetConversation() != "":
		return m.GetConversation(), nil, true
	case m.GetExtendedTextMessage() != nil:
		return m.GetExtendedTextMessage().GetText(), m.GetExtendedTextMessage().GetContextInfo(), true
	case m.GetLocationMessage() != nil:
		return "", m.GetLocationMessage().GetContextInfo(), true
	case m.GetContactMessage() != nil:
		return "", m.GetContactMessage().GetContextInfo(), true
	case m.GetContactsArrayMessage() != nil:
		return "", m.GetContactsArrayMessage().GetContextInfo(), true
	case m.GetGroupInviteMessage() != nil:
		return m.GetGroupInviteMessage().GetCaption(), m.GetGroupInviteMessage().GetContextInfo(), true
	case m.GetProtocolMessage() != nil, m.GetSenderKeyDistributionMessage() != nil:
		return "", nil, false
	default:
		return "", nil, true
	}
}

// answerMessages reads and answers what came in, in order.
func (p *Phone) answerMessages() {
	for {
		select {
		case e := <-p.replies:
			if err := p.answer(p.ctx, e); err != nil && p.ctx.Err() == nil {
				p.cfg.Log.Warn("answer failed", "error", redactText(err.Error()))
			}
		case <-p.ctx.Done():
			return
		}
	}
}

// answerTime bounds the answering of one message, reconnects included.
const answerTime = 2 * time.Minute

func (p *Phone) answer(ctx context.Context, e *events.Message) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := p.markRead(ctx, e.Info.Chat, e.Info.Sender.ToNonAD(), []types.MessageID{e.Info.ID}); err != nil {
		return fmt.Errorf("mark read: %w", err)
	}
	text, _, _ := textOf(e.Message)
	if p.cfg.Autoreply == nil || text == "" || isAutomatic(e.Info.ID) {
		return nil
	}
	reply := p.cfg.Autoreply(text)
	if reply == "" {
		return nil
	}
	_, err := p.send(ctx, e.Info.Chat, outgoing{text: reply, SendOptions: SendOptions{ID: p.automaticID(e)}})
	return err
}
