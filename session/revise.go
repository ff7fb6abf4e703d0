package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/tenant"
)

// Errors of what is done to messages.
var (
	// ErrForbidden says that WhatsApp lets only others do this: the message's sender, or a group's admins.
	ErrForbidden = errors.New("not allowed")
	// ErrNotText says that the message is not a text.
	ErrNotText = errors.New("not a text message")
	// ErrDeleted says that the message is deleted.
	ErrDeleted = errors.New("message is deleted")
	// ErrEditWindow says that the message was sent too long ago to be edited.
	ErrEditWindow = errors.New("message is too old to be edited")
)

// UncertainError says that WhatsApp did not answer in time. It may have done what was asked; nothing has changed here, and
// asking again does no harm.
type UncertainError struct{ Err error }

// Error is for logs.
func (e *UncertainError) Error() string { return fmt.Sprintf("no answer from WhatsApp: %v", e.Err) }

// Unwrap is the cause.
func (e *UncertainError) Unwrap() error { return e.Err }

// RefusedError says that WhatsApp refused to do what was asked. Code is WhatsApp's. Nothing has changed.
type RefusedError struct{ Code int }

// Error is for logs.
func (e *RefusedError) Error() string { return fmt.Sprintf("WhatsApp refused with code %d", e.Code) }

// MessageRef names a message. Sender is optional: without it our own message is meant if there is one of that id, else the
// newest.
type MessageRef struct {
	Chat   tenant.ChatID
	ID     tenant.MessageID
	Sender tenant.ChatID
}

// EditText replaces the text of a message of ours, at WhatsApp and then here, and returns the message as it is now.
//
// Returns [tenant.ErrChatNotFound], [tenant.ErrMessageNotFound], *[OfflineError], ErrForbidden if the message is not ours,
// ErrDeleted, ErrNotText, ErrEditWindow, *[LimitError], *[UncertainError], *[RefusedError] and ErrStopping, in this order.
func (f *Fleet) EditText(ctx context.Context, id tenant.ID, ref MessageRef, text string) (msg tenant.Message, err error) {
	defer f.watch.contain("edit", &err)
	c, msg, err := f.find(ctx, id, ref)
	switch {
	case err != nil:
		return tenant.Message{}, err
	case !msg.FromMe:
		return tenant.Message{}, ErrForbidden
	case msg.DeletedAt != nil:
		return tenant.Message{}, ErrDeleted
	case msg.Type != tenant.TypeText:
		return tenant.Message{}, ErrNotText
	case time.Since(msg.Timestamp) > tenant.EditWindow:
		return tenant.Message{}, ErrEditWindow
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	next := reword(&msg, text)
	wire := &waE2E.Message{EditedMessage: &waE2E.FutureProofMessage{Message: &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
		Key: c.key(&msg), Type: waE2E.ProtocolMessage_MESSAGE_EDIT.Enum(), EditedMessage: next, TimestampMS: new(now.UnixMilli()),
	}}}}
	change := tenant.EditMessage{
		ChatID: msg.ChatID, ID: msg.ID, SenderID: msg.SenderID, Text: tenant.CleanText(text), Mentions: msg.Mentions, At: now, Payload: encode(next),
	}
	if err = c.revise(ctx, &msg, wire, change); err != nil {
		return tenant.Message{}, err
	}
	return c.reread(ctx, &msg)
}

// DeleteMessage deletes a message of ours for everyone, or of anybody in a group whose admin we are, at WhatsApp and then here. One that is deleted already stays so. Errors
// as of [Fleet.EditText].
func (f *Fleet) DeleteMessage(ctx context.Context, id tenant.ID, ref MessageRef) (err error) {
	defer f.watch.contain("delete", &err)
	c, msg, err := f.find(ctx, id, ref)
	switch {
	case err != nil:
		return err
	case !msg.FromMe && !msg.ChatID.IsGroup():
		return ErrForbidden
	}
	key := c.key(&msg)
	if !msg.FromMe {
		if key, err = c.keyOfMember(ctx, &msg); err != nil {
			return err
		}
	}
	if msg.DeletedAt != nil {
		return nil
	}
	wire := &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{Key: key, Type: waE2E.ProtocolMessage_REVOKE.Enum()}}
	return c.revise(ctx, &msg, wire, tenant.RevokeMessage{
		ChatID: msg.ChatID, ID: msg.ID, SenderID: msg.SenderID, By: c.me.id, At: time.Now(),
	})
}

// React puts our reaction to a message, in the place of the one before, or takes it back if emoji is empty. Errors as of
// [Fleet.EditText].
func (f *Fleet) React(ctx context.Context, id tenant.ID, ref MessageRef, emoji string) (msg tenant.Message, err error) {
	defer f.watch.contain("react", &err)
	c, msg, err := f.find(ctx, id, ref)
	switch {
	case err != nil:
		return tenant.Message{}, err
	case msg.DeletedAt != nil:
		return tenant.Message{}, ErrDeleted
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	wire := &waE2E.Message{ReactionMessage: &waE2E.ReactionMessage{
		Key: c.key(&msg), Text: new(emoji), SenderTimestampMS: new(now.UnixMilli()),
	}}
	change := tenant.React{ChatID: msg.ChatID, ID: msg.ID, SenderID: msg.SenderID, By: c.me.id, Emoji: emoji, At: now}
	if err = c.revise(ctx, &msg, wire, change); err != nil {
		return tenant.Message{}, err
	}
	return c.reread(ctx, &msg)
}

// find returns a stored message, and the connection to do something to it.
func (f *Fleet) find(ctx context.Context, id tenant.ID, ref MessageRef) (*conn, tenant.Message, error) {
	msg, err := f.cfg.Store.Tenant(id).Message(ctx, ref.Chat, ref.ID, ref.Sender)
	if err != nil {
		return nil, tenant.Message{}, fmt.Errorf("find message: %w", err)
	}
	c, err := f.reach(ctx, id)
	return c, msg, err
}

// key names a message to WhatsApp.
func (c *conn) key(m *tenant.Message) *waCommon.MessageKey {
	key := &waCommon.MessageKey{FromMe: new(m.FromMe), ID: new(string(m.ID)), RemoteJID: new(jidOf(m.ChatID).String())}
	if !m.FromMe && m.ChatID.IsGroup() {
		key.Participant = new(jidOf(m.SenderID).String())
	}
	return key
}

// reword is a text message of ours with another text: what it answers and whom it mentions stays.
func reword(m *tenant.Message, text string) *waE2E.Message {
	var msg waE2E.Message
	if len(m.Payload) > 0 && proto.Unmarshal(m.Payload, &msg) == nil && msg.ExtendedTextMessage != nil {
		return &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{
			Text: new(text), ContextInfo: msg.GetExtendedTextMessage().GetContextInfo(),
		}}
	}
	return compose(&TextMessage{Text: text, Mentions: m.Mentions}, nil)
}

// revise sends what changes a message, and stores the change once WhatsApp has it. It goes on when its caller leaves: what
// WhatsApp has done must be seen here, too. Returns *UncertainError, *RefusedError, *OfflineError, *LimitError.
func (c *conn) revise(ctx context.Context, msg *tenant.Message, wire *waE2E.Message, change tenant.Change) error {
	pass, err := c.actor.fleet.governor.admit(ctx, intent{id: c.actor.id, chat: msg.ChatID, revision: true})
	if err != nil {
		return err
	}
	answers := make(chan error, 1)            // buffered: it goes on if the caller has left
	started := c.sends.run("revise", func() { //nolint:contextcheck // it goes on when its caller leaves
		err := ErrPanicked
		defer func() {
			pass.end()
			answers <- err
		}()
		err = c.reviseNow(msg, wire, change)
	})
	if !started {
		pass.end()
		return c.offline()
	}
	select {
	case err := <-answers:
		return err
	case <-ctx.Done():
		return &UncertainError{Err: context.Cause(ctx)}
	}
}

func (c *conn) reviseNow(msg *tenant.Message, wire *waE2E.Message, change tenant.Change) error {
	a := c.actor
	stanza := tenant.Message{ID: newMessageID(), ChatID: msg.ChatID}
	start := time.Now()
	_, err := c.push(&stanza, wire)
	switch code, refused := refusal(err); {
	case refused && code == codeForbidden && msg.ChatID.IsGroup():
		c.doubt(msg.ChatID)
		return ErrForbidden
	case refused:
		c.log.Warn("change of a message refused", "code", code)
		return &RefusedError{Code: code}
	case errors.Is(err, whatsmeow.ErrNotConnected):
		return c.offline()
	case err != nil:
		c.log.Warn("change of a message not acknowledged", "error", redact(err.Error()))
		return &UncertainError{Err: err}
	}
	a.fleet.cfg.Metrics.SendDuration(string(a.id), time.Since(start))
	// The actor's life, not the connection's: WhatsApp has it, so it is stored even if the connection ends now.
	var result tenant.Result
	err = retryStore(a.life, a.fleet.pace.StoreTimeout, func(ctx context.Context) (err error) {
		result, err = a.handle.Commit(ctx, change)
		return err
	})
	if err != nil {
		return fmt.Errorf("store change: %w", err)
	}
	c.countRevisions([]tenant.Change{change}, &result)
	return nil
}

// reread returns a message as it is now.
func (c *conn) reread(ctx context.Context, msg *tenant.Message) (tenant.Message, error) {
	now, err := c.actor.fleet.Fresh(c.actor.handle).Message(ctx, msg.ChatID, msg.ID, msg.SenderID)
	if err != nil {
		return tenant.Message{}, fmt.Errorf("read message: %w", err)
	}
	return now, nil
}

// countRevisions counts what changed messages, as messages of types of their own.
func (c *conn) countRevisions(changes []tenant.Change, result *tenant.Result) {
	i := 0
	for _, change := range changes {
		var kind string
		var by tenant.ChatID
		switch change := change.(type) {
		case tenant.EditMessage:
			kind, by = "edit", change.SenderID
		case tenant.RevokeMessage:
			kind, by = "delete", change.By
		case tenant.React:
			kind, by = "reaction", change.By
		case tenant.CastVote:
			kind, by = "vote", change.By
		default:
			continue
		}
		if i < len(result.Revised) && result.Revised[i] {
			direction := "in"
			if c.me.isMe(by) {
				direction = "out"
			}
			c.actor.fleet.cfg.Metrics.Message(string(c.actor.id), direction, kind)
		}
		i++
	}
}
