package phone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
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

// automaticID is the same for one message, however often it is delivered.
func automaticID(chat types.JID, id types.MessageID) types.MessageID {
	sum := sha256.Sum256([]byte(chat.String() + "/" + id))
	return automatic + strings.ToUpper(hex.EncodeToString(sum[:9]))
}

// SendOptions are the details of a message.
type SendOptions struct {
	// ID of the message, for sending it again; a fresh one if empty.
	ID string
	// ReplyTo is the id of the message it quotes; its text is quoted if the phone still remembers it.
	ReplyTo string
	// ViaLID gives whatsmeow the recipient's LID, ViaPN puts the phone number on the wire as older clients do. With
	// neither, whatsmeow gets the phone number and chooses (the LID, if there is one).
	ViaLID, ViaPN bool
}

type outgoing struct {
	id, text, replyTo string
	onWirePN          bool
	file              *waE2E.Message // nil: it is a text
}

// SendText sends a text to a phone number and answers its id once the server has it. It goes on over reconnects, always
// with the same id, until ctx ends. Errors: ErrBadNumber, ErrUnknownUser, ErrRefused, ErrClosed, ErrUnlinked.
func (p *Phone) SendText(ctx context.Context, to, text string, opts SendOptions) (string, error) {
	jid, err := p.recipient(ctx, to, opts)
	if err != nil {
		return "", err
	}
	return p.send(ctx, jid, outgoing{id: opts.ID, text: text, replyTo: opts.ReplyTo, onWirePN: opts.ViaPN && !opts.ViaLID})
}

func (p *Phone) send(ctx context.Context, to types.JID, out outgoing) (string, error) {
	if out.id == "" {
		out.id = p.cli.GenerateMessageID()
	}
	msg := p.compose(to, out)
	p.sent.keep(out.id, msg)
	err := p.persist(ctx, func(ctx context.Context) error {
		if out.onWirePN {
			return p.sendOnWirePN(ctx, to, out.id, msg)
		}
		_, err := p.cli.SendMessage(ctx, to, proto.CloneOf(msg), whatsmeow.SendRequestExtra{ID: out.id, Timeout: p.cfg.SendTimeout})
		return err
	})
	if err != nil {
		return out.id, fmt.Errorf("send: %w", err)
	}
	return out.id, nil
}

func (p *Phone) compose(to types.JID, out outgoing) *waE2E.Message {
	if out.replyTo == "" {
		if out.file != nil {
			return out.file
		}
		return &waE2E.Message{Conversation: new(out.text)}
	}
	info := &waE2E.ContextInfo{StanzaID: new(out.replyTo)}
	author := to
	info.QuotedMessage = &waE2E.Message{Conversation: new("")}
	if known, ok := p.sent.get(out.replyTo); ok {
		info.QuotedMessage = proto.CloneOf(known.msg)
		if author = known.from; author.IsEmpty() {
			author = p.lid
		}
	}
	info.Participant = new(author.ToNonAD().String())
	if out.file != nil {
		return withContext(out.file, info)
	}
	return &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: new(out.text), ContextInfo: info}}
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

// MarkRead sends a read receipt for messages that came from a phone number. Errors as of [Phone.SendText].
func (p *Phone) MarkRead(ctx context.Context, chat string, ids []string) error {
	number, err := Number(chat)
	if err != nil {
		return err
	}
	jid := types.NewJID(number, types.DefaultUserServer)
	if known := p.sent.chatOf(ids); !known.IsEmpty() {
		jid = known // answered in the namespace it came in
	} else if lid, err := p.cli.Store.LIDs.GetLIDForPN(ctx, jid); err == nil && !lid.IsEmpty() {
		jid = lid
	}
	if err = p.markRead(ctx, jid, ids); err != nil {
		return fmt.Errorf("mark read: %w", err)
	}
	return nil
}

func (p *Phone) markRead(ctx context.Context, chat types.JID, ids []types.MessageID) error {
	return p.persist(ctx, func(ctx context.Context) error {
		return p.cli.MarkRead(ctx, ids, time.Now(), chat, chat)
	})
}

// sentMessages remembers the latest messages, sent and received: for retries, quotes and companions that missed one.
type sentMessages struct {
	mu    sync.Mutex
	byID  map[types.MessageID]remembered
	order []types.MessageID
}

type remembered struct {
	msg  *waE2E.Message
	from types.JID // empty: this phone
	chat types.JID
	at   time.Time
}

// rememberedMessages is four times what whatsmeow keeps for retries by itself.
const rememberedMessages = 1024

func newSentMessages() *sentMessages {
	return &sentMessages{byID: make(map[types.MessageID]remembered)}
}

func (s *sentMessages) put(id types.MessageID, r remembered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byID[id]; !ok {
		if len(s.order) >= rememberedMessages {
			delete(s.byID, s.order[0])
			s.order = s.order[1:]
		}
		s.order = append(s.order, id)
	}
	s.byID[id] = r
}

func (s *sentMessages) get(id types.MessageID) (remembered, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.byID[id]
	return r, ok
}

func (s *sentMessages) keep(id types.MessageID, msg *waE2E.Message) {
	s.put(id, remembered{msg: msg, at: time.Now()})
}

func (s *sentMessages) remember(chat types.JID, id types.MessageID, e *events.Message) {
	s.put(id, remembered{msg: e.Message, from: e.Info.Sender, chat: chat, at: e.Info.Timestamp})
}

// forRetry is whatsmeow's question for a message that somebody could not decrypt.
func (s *sentMessages) forRetry(_, _ types.JID, id types.MessageID) *waE2E.Message {
	r, ok := s.get(id)
	if !ok || !r.from.IsEmpty() {
		return nil // never give a message of somebody else away
	}
	return proto.CloneOf(r.msg)
}

func (s *sentMessages) chatOf(ids []types.MessageID) types.JID {
	if len(ids) == 0 {
		return types.EmptyJID
	}
	r, _ := s.get(ids[0])
	return r.chat
}
