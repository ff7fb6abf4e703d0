package phone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"
)

// automatic begins the ids of automatic answers, which are not answered automatically.
const automatic = "AUT0"

func isAutomatic(id types.MessageID) bool { return strings.HasPrefix(id, automatic) }

// automaticID is the same for one message, however often it is delivered. In a group others answer too, and ids are their senders' own.
func (p *Phone) automaticID(e *events.Message) types.MessageID {
	what := e.Info.Chat.String() + "/" + e.Info.ID
	if e.Info.IsGroup {
		what += "/" + e.Info.Sender.ToNonAD().String() + "/" + p.cfg.Phone
	}
	sum := sha256.Sum256([]byte(what))
	return automatic + strings.ToUpper(hex.EncodeToString(sum[:9]))
}

// SendOptions are the details of a message.
type SendOptions struct {
	// ID of the message, for sending it again; a fresh one if empty.
	ID string
	// ReplyTo is the id of the message it quotes; its text is quoted if the phone still remembers it. ReplyFrom is the number of its
	// author: for ids that several members of a group have used, and for messages that the phone does not remember.
	ReplyTo, ReplyFrom string
	// Forwarded marks it as forwarded.
	Forwarded bool
	// Mentions are the numbers of who is mentioned.
	Mentions []string
	// ViaLID gives whatsmeow the recipient's LID, ViaPN puts the phone number on the wire as older clients do. With
	// neither, whatsmeow gets the phone number and chooses (the LID, if there is one).
	ViaLID, ViaPN bool
}

type outgoing struct {
	text string
	part *waE2E.Message // nil: it is a text
	SendOptions
}

// SendText sends a text to a phone number or a group (…@g.us) and answers its id once the server has it. It goes on over
// reconnects, always with the same id, until ctx ends. Errors: ErrBadNumber, ErrUnknownUser, ErrRefused, ErrClosed, ErrUnlinked; in
// groups also ErrUnknownGroup, ErrNotMember and ErrNotAllowed.
func (p *Phone) SendText(ctx context.Context, to, text string, opts SendOptions) (string, error) {
	jid, err := p.recipient(ctx, to, opts)
	if err != nil {
		return "", err
	}
	return p.send(ctx, jid, outgoing{text: text, SendOptions: opts})
}

func (p *Phone) send(ctx context.Context, to types.JID, out outgoing) (string, error) {
	if out.ID == "" {
		out.ID = p.cli.GenerateMessageID()
	}
	msg, err := p.compose(ctx, to, out)
	if err != nil {
		return "", err
	}
	return out.ID, p.sendMessage(ctx, to, out.ID, msg, out.ViaPN && !out.ViaLID && to.Server != types.GroupServer)
}

// sendMessage sends what is composed, and remembers it.
func (p *Phone) sendMessage(ctx context.Context, to types.JID, id string, msg *waE2E.Message, onWirePN bool) error {
	p.sent.keep(to, id, msg)
	err := p.persist(ctx, func(ctx context.Context) error {
		if onWirePN {
			return p.sendOnWirePN(ctx, to, id, msg)
		}
		_, err := p.cli.SendMessage(ctx, to, proto.CloneOf(msg), whatsmeow.SendRequestExtra{ID: id, Timeout: p.cfg.SendTimeout})
		return err
	})
	if err != nil {
		return fmt.Errorf("send: %w", inGroup(to, err))
	}
	return nil
}

func (p *Phone) compose(ctx context.Context, to types.JID, out outgoing) (*waE2E.Message, error) {
	info, err := p.contextOf(ctx, to, out.SendOptions)
	switch {
	case err != nil:
		return nil, err
	case out.part != nil && info == nil:
		return out.part, nil
	case out.part != nil:
		return withContext(out.part, info), nil
	case info == nil:
		return &waE2E.Message{Conversation: new(out.text)}, nil
	}
	return &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: new(out.text), ContextInfo: info}}, nil
}

// contextOf is what a message says besides its content; nil if that is nothing.
func (p *Phone) contextOf(ctx context.Context, to types.JID, opts SendOptions) (*waE2E.ContextInfo, error) {
	if opts.ReplyTo == "" && !opts.Forwarded && len(opts.Mentions) == 0 {
		return nil, nil //nolint:nilnil // as said above
	}
	info := new(waE2E.ContextInfo)
	if opts.Forwarded {
		info.IsForwarded, info.ForwardingScore = new(true), new(uint32(1))
	}
	for _, each := range opts.Mentions {
		lid, err := p.lidOfNumber(ctx, each)
		if err != nil {
			return nil, fmt.Errorf("mention: %w", err)
		}
		info.MentionedJID = append(info.MentionedJID, lid.String())
	}
	if opts.ReplyTo == "" {
		return info, nil
	}
	author, msg, err := p.author(ctx, to, opts.ReplyTo, opts.ReplyFrom)
	if err != nil {
		return nil, fmt.Errorf("reply: %w", err)
	}
	info.StanzaID, info.QuotedMessage = new(opts.ReplyTo), &waE2E.Message{Conversation: new("")}
	if msg != nil {
		info.QuotedMessage = proto.CloneOf(msg)
	}
	if !author.IsEmpty() {
		info.Participant = new(author.ToNonAD().String())
	}
	return info, nil
}

// persist makes attempts at what needs the connection, each behind the gate, until one succeeds, fails for good, or ctx
// ends.
func (p *Phone) persist(ctx context.Context, attempt func(context.Context) error) error {
	ctx, cancel := p.own(ctx)
	defer cancel()
	for pause := p.cfg.MinBackoff; ; pause = min(2*pause, p.cfg.MaxBackoff) {
		if err := p.WaitOnline(ctx); err != nil {
			return err
		}
		err := p.gate.Send(ctx, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 2*p.cfg.SendTimeout)
			defer cancel()
			return attempt(ctx)
		})
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, whatsmeow.ErrServerReturnedError):
			return fmt.Errorf("%w: %w", ErrRefused, err)
		case !isTemporary(err):
			return err
		}
		p.cfg.Log.DebugContext(ctx, "attempt failed", "error", redactText(err.Error()))
		if !sleep(ctx, pause) {
			return context.Cause(ctx)
		}
	}
}

// sendOnWirePN does by hand what whatsmeow does not any more: it addresses the stanza and its copies by phone number.
// The sessions are those of the LID all the same.
func (p *Phone) sendOnWirePN(ctx context.Context, to types.JID, id string, msg *waE2E.Message) error {
	own := p.cli.Store.ID.ToNonAD()
	plain, err := proto.Marshal(msg)
	if err != nil {
		return fmt.Errorf("marshal message: %w", err)
	}
	forOwn, err := proto.Marshal(&waE2E.Message{
		DeviceSentMessage: &waE2E.DeviceSentMessage{DestinationJID: new(to.String()), Message: msg},
	})
	if err != nil {
		return fmt.Errorf("marshal message: %w", err)
	}
	devs, err := p.cli.GetUserDevices(ctx, []types.JID{to, own})
	if err != nil {
		return fmt.Errorf("look devices up: %w", err)
	}
	if err = p.keepSecret(ctx, to, id, msg); err != nil {
		return err
	}
	inner := p.inner()
	copies, withIdentity, err := inner.EncryptMessageForDevices(ctx, devs, id, plain, forOwn, waBinary.Attrs{})
	if err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	content := []waBinary.Node{{Tag: "participants", Content: copies}}
	if withIdentity {
		content = append(content, inner.MakeDeviceIdentityNode())
	}
	return p.sendAndWait(ctx, waBinary.Node{
		Tag: "message", Attrs: waBinary.Attrs{"id": id, "type": stanzaType(msg), "to": to}, Content: content,
	})
}

func stanzaType(msg *waE2E.Message) string {
	if part, _, _ := fileOf(msg); part != nil {
		return "media"
	}
	if pollOf(msg) != nil {
		return "poll"
	}
	return "text"
}

// sendAndWait sends a stanza and waits for its acknowledgement.
func (p *Phone) sendAndWait(ctx context.Context, n waBinary.Node) error {
	inner := p.inner()
	id, _ := n.Attrs["id"].(string)
	answer := inner.WaitResponse(id)
	if err := inner.SendNode(ctx, n); err != nil {
		inner.CancelResponse(id, answer)
		return fmt.Errorf("send stanza: %w", err)
	}
	timer := time.NewTimer(p.cfg.SendTimeout)
	defer timer.Stop()
	select {
	case ack := <-answer:
		switch {
		case ack == nil || ack.Tag != "ack":
			return whatsmeow.ErrNotConnected // the connection ended
		case ack.AttrGetter().OptionalString("error") != "":
			return fmt.Errorf("%w %s", whatsmeow.ErrServerReturnedError, ack.AttrGetter().OptionalString("error"))
		}
		return nil
	case <-timer.C:
		inner.CancelResponse(id, answer)
		return whatsmeow.ErrMessageTimedOut
	case <-ctx.Done():
		inner.CancelResponse(id, answer)
		return context.Cause(ctx)
	}
}

// lidOf answers a user's LID, asking the server if need be. Error: ErrUnknownUser.
func (p *Phone) lidOf(ctx context.Context, pn types.JID) (types.JID, error) {
	lid, err := p.cli.Store.LIDs.GetLIDForPN(ctx, pn)
	if err == nil && !lid.IsEmpty() {
		return lid, nil
	}
	err = p.persist(ctx, func(ctx context.Context) error {
		info, err := p.cli.GetUserInfo(ctx, []types.JID{pn})
		lid = info[pn].LID
		return err
	})
	if err != nil {
		return types.EmptyJID, fmt.Errorf("look user up: %w", err)
	}
	if lid.IsEmpty() {
		return types.EmptyJID, ErrUnknownUser
	}
	return lid, nil
}
