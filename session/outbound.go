package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/session/gate"
	"github.com/wafleet/wafleet/tenant"
)

// SendText sends a text: it is stored as pending, goes out, and is returned as sent when WhatsApp has acknowledged it.
//
// Returns [tenant.ErrChatNotFound] if there is no such chat and nobody (or no group of ours) behind the id,
// [tenant.ErrMessageNotFound] if the message to answer is not there, *[OfflineError] when the session is not online,
// *[UnansweredError], *[RejectedError] and ErrStopping.
func (f *Fleet) SendText(ctx context.Context, id tenant.ID, chat tenant.ChatID, m TextMessage) (msg tenant.Message, err error) {
	defer f.watch.contain("send", &err)
	to, err := f.address(ctx, id, chat, m.ReplyTo)
	if err != nil {
		return tenant.Message{}, err
	}
	return to.conn.send(ctx, to.chat, &m, to.quoted)
}

// address is where a message goes: a connection, a chat that is there, and what is answered.
type address struct {
	conn   *conn
	chat   tenant.ChatID
	quoted *tenant.Message // nil: it is no answer
}

// address finds a chat, here or on WhatsApp, and the message to answer. Errors are those of [Fleet.SendText].
func (f *Fleet) address(ctx context.Context, id tenant.ID, chat tenant.ChatID, replyTo tenant.MessageID) (to address, err error) {
	h := f.cfg.Store.Tenant(id)
	stored, err := h.Chat(ctx, chat)
	known := err == nil
	if err != nil && !errors.Is(err, tenant.ErrChatNotFound) {
		return to, fmt.Errorf("find chat: %w", err)
	}
	to.chat = chat
	if known {
		to.chat = stored.ID
		if replyTo != "" {
			answered, err := h.Message(ctx, to.chat, replyTo, "")
			if err != nil {
				return to, fmt.Errorf("find the message to answer: %w", err)
			}
			to.quoted = &answered
		}
	}
	if to.conn, err = f.reach(ctx, id); err != nil {
		return to, err
	}
	if !known {
		if to.chat, err = to.conn.find(ctx, chat); err != nil {
			return to, err
		}
		if replyTo != "" {
			return to, tenant.ErrMessageNotFound // a chat that is new has no messages
		}
	}
	return to, nil
}

// reach returns the tenant's connection. Returns *OfflineError.
func (f *Fleet) reach(ctx context.Context, id tenant.ID) (*conn, error) {
	if a := f.running(id); a != nil {
		if c := a.online.Load(); c != nil {
			return c, nil
		}
	}
	view, err := f.View(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case f.stopping():
		return nil, ErrStopping
	}
	return nil, &OfflineError{View: view}
}

// offline is what a send gets whose connection went away under it.
func (c *conn) offline() error { return &OfflineError{View: *c.actor.view.Load()} }

// find asks WhatsApp for a chat that is not stored. Returns tenant.ErrChatNotFound, *OfflineError.
func (c *conn) find(ctx context.Context, chat tenant.ChatID) (tenant.ChatID, error) {
	if !c.sends.enter() {
		return "", c.offline()
	}
	defer c.sends.leave()
	ctx, cancel := context.WithTimeout(ctx, c.actor.fleet.pace.LookupTimeout)
	defer cancel()
	switch {
	case chat.IsGroup():
		return c.findGroup(ctx, chat)
	case chat.IsHidden():
		// Nobody can write to a LID without having met it, and whom we have met is stored.
		return "", tenant.ErrChatNotFound
	}
	answers, err := c.cli.IsOnWhatsApp(ctx, []string{"+" + chat.Phone()})
	if err != nil {
		return "", c.unasked("look the number up", err)
	}
	for _, answer := range answers {
		if !answer.IsIn {
			continue
		}
		// WhatsApp may know the number in another form than the one asked for (Brazil's ninth digit).
		for _, jid := range []types.JID{answer.PhoneNumber, answer.JID} {
			if id, ok := chatID(jid); ok && id.Phone() != "" {
				return id, nil
			}
		}
		return chat, nil
	}
	return "", tenant.ErrChatNotFound
}

func (c *conn) findGroup(ctx context.Context, chat tenant.ChatID) (tenant.ChatID, error) {
	info, err := c.cli.GetGroupInfo(ctx, jidOf(chat))
	switch {
	case errors.Is(err, whatsmeow.ErrGroupNotFound), errors.Is(err, whatsmeow.ErrNotInGroup):
		return "", tenant.ErrChatNotFound
	case err != nil:
		return "", c.unasked("look the group up", err)
	}
	for i := range info.Participants {
		p := &info.Participants[i]
		for _, jid := range []types.JID{p.JID, p.PhoneNumber, p.LID} {
			if id, ok := chatID(jid); ok && c.me.isMe(id) {
				c.commit(ctx, []tenant.Change{tenant.PutChat{ID: chat, Name: new(cleanName(info.Name))}}, nil)
				return chat, nil
			}
		}
	}
	return "", tenant.ErrChatNotFound
}

// unasked is the error of a question that WhatsApp did not answer.
func (c *conn) unasked(doing string, err error) error {
	if iq, ok := errors.AsType[*whatsmeow.IQError](err); ok && iq.Code >= 400 && iq.Code <= 501 && iq.Code != 429 && iq.Code != 500 {
		return fmt.Errorf("%s: %w", doing, tenant.ErrChatNotFound)
	}
	c.log.Warn("WhatsApp did not answer", "question", doing, "error", redact(err.Error()))
	return fmt.Errorf("%s: %w", doing, c.offline())
}

// newMessageID makes an id as whatsmeow does: it hashes random bytes, these are random themselves.
func newMessageID() tenant.MessageID {
	raw := make([]byte, 9)
	_, _ = rand.Read(raw) // never fails
	return tenant.MessageID(whatsmeow.WebMessageIDPrefix + strings.ToUpper(hex.EncodeToString(raw)))
}

func (c *conn) send(ctx context.Context, chat tenant.ChatID, m *TextMessage, quoted *tenant.Message) (tenant.Message, error) {
	wire := compose(m, quoted)
	msg := c.draft(chat, tenant.TypeText, wire)
	msg.Text, msg.ReplyTo, msg.Mentions = tenant.CleanText(m.Text), m.ReplyTo, m.Mentions
	return c.deliver(ctx, msg, wire)
}

// draft is a message of ours that is about to be sent.
func (c *conn) draft(chat tenant.ChatID, kind tenant.MessageType, wire *waE2E.Message) tenant.Message {
	return tenant.Message{
		ID: newMessageID(), ChatID: chat, SenderID: c.me.id, FromMe: true, Timestamp: time.Now().UTC().Truncate(time.Second),
		Type: kind, Status: tenant.StatusPending, Payload: encode(wire),
	}
}

// deliver stores a message as pending, sends it, and waits for what becomes of it.
func (c *conn) deliver(ctx context.Context, msg tenant.Message, wire *waE2E.Message) (tenant.Message, error) {
	a := c.actor
	a.outbox.take(msg.ID) // before it is stored: whoever sends pending messages again must not see it as theirs
	var result tenant.Result
	// A caller that leaves does not end this: the message may be stored by then, and nobody would send it.
	err := callStore(context.WithoutCancel(ctx), a.fleet.pace.StoreTimeout, func(ctx context.Context) (err error) {
		result, err = a.handle.Commit(ctx, tenant.PutMessage{Message: msg, Live: true})
		return err
	})
	if err != nil {
		a.outbox.release(msg.ID)
		a.post(a.resendLater) // it may be stored all the same
		return tenant.Message{}, fmt.Errorf("store message: %w", err)
	}
	if len(result.Messages) == 1 {
		msg = result.Messages[0]
	}
	c.actor.fleet.cfg.Metrics.Message(string(a.id), "out", string(msg.Type))

	type answer struct {
		sent tenant.Message
		err  error
	}
	answers := make(chan answer, 1)         // buffered: the send goes on if the caller has left
	started := c.sends.run("send", func() { //nolint:contextcheck // a send goes on when its caller leaves
		sent, err := msg, ErrPanicked
		defer func() { answers <- answer{sent, err} }()
		sent, err = c.transmit(msg, wire)
	})
	if !started {
		a.outbox.release(msg.ID)
		return tenant.Message{}, &UnansweredError{Message: msg, Err: errHungUp}
	}
	select {
	case got := <-answers:
		return got.sent, got.err
	case <-ctx.Done():
		return tenant.Message{}, &UnansweredError{Message: msg, Err: context.Cause(ctx)}
	}
}

// transmit sends a message that was taken from the outbox and stored, and sees to what becomes of it. Returns
// *UnansweredError, *RejectedError.
func (c *conn) transmit(msg tenant.Message, wire *waE2E.Message) (tenant.Message, error) {
	a := c.actor
	start := time.Now()
	stamp, err := c.push(&msg, wire)
	switch code, refused := refusal(err); {
	case err == nil:
		a.fleet.cfg.Metrics.SendDuration(string(a.id), time.Since(start))
		msg.Status = tenant.StatusSent
		if !stamp.IsZero() {
			msg.Timestamp = stamp.UTC()
		}
		a.settled(tenant.SetStatus{
			ChatID: msg.ChatID, MessageIDs: []tenant.MessageID{msg.ID}, Status: tenant.StatusSent, Timestamp: msg.Timestamp,
		})
		return msg, nil
	case refused:
		c.log.Warn("message refused", "code", code)
		msg.Status = tenant.StatusFailed
		a.settled(tenant.SetStatus{ChatID: msg.ChatID, MessageIDs: []tenant.MessageID{msg.ID}, Status: tenant.StatusFailed})
		return msg, &RejectedError{Message: msg, Code: code}
	default:
		c.log.Warn("message not acknowledged", "error", redact(err.Error()))
		a.outbox.release(msg.ID)
		a.post(a.resendLater)
		return msg, &UnansweredError{Message: msg, Err: err}
	}
}

// push sends a message behind the device's gate and waits for WhatsApp's acknowledgement.
func (c *conn) push(msg *tenant.Message, wire *waE2E.Message) (time.Time, error) {
	const tries = 3 // the gate is lost only if prekeys take longer than its hold
	ctx, cancel := context.WithTimeout(c.ctx, c.actor.fleet.pace.SendTimeout)
	defer cancel()
	var resp whatsmeow.SendResponse
	var err error
	for range tries {
		err = c.gate.Send(ctx, func(ctx context.Context) (err error) {
			// whatsmeow keeps and changes what it is given.
			resp, err = c.cli.SendMessage(ctx, jidOf(msg.ChatID), proto.CloneOf(wire), whatsmeow.SendRequestExtra{ID: types.MessageID(msg.ID)})
			return err
		})
		if !errors.Is(err, gate.ErrMoved) || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("send: %w", err)
	}
	return resp.Timestamp, nil
}

// refusal reads the code with which WhatsApp refused a message for good. Errors of the server's own are not for good, and neither
// are 408 and 429: those ask to come again later.
func refusal(err error) (code int, refused bool) {
	if !errors.Is(err, whatsmeow.ErrServerReturnedError) {
		return 0, false
	}
	// whatsmeow has the code in the text alone.
	text := err.Error()
	code, convErr := strconv.Atoi(text[strings.LastIndexByte(text, ' ')+1:])
	return code, convErr == nil && code >= 400 && code < 500 && code != 408 && code != 429
}

// maxResend bounds one look at the pending messages.
const maxResend = 100

// resendPause is how long a message that was not acknowledged on an open connection waits for the next try.
const resendPause = 30 * time.Second

// resendLater has pending messages looked at again. Runs on the loop.
func (a *actor) resendLater() {
	if a.state == Online {
		a.timer.Reset(resendPause)
	}
}

// startResend sends pending messages again, in a child. Runs on the loop.
func (a *actor) startResend() {
	if c := a.online.Load(); c != nil {
		c.sends.run("resend", c.resend)
	}
}

// resend sends what WhatsApp has not acknowledged again, oldest first, under the same ids: whoever has a message already
// ignores it. Those that are too old are given up. One that cannot go out now (a group that does not let us in) holds up its own
// chat, not the others.
func (c *conn) resend() {
	a := c.actor
	for c.ctx.Err() == nil {
		var pending []tenant.Message
		err := retryStore(c.ctx, a.fleet.pace.StoreTimeout, func(ctx context.Context) (err error) {
			pending, err = a.handle.Pending(ctx, maxResend)
			return err
		})
		if err != nil {
			c.log.Warn("pending messages could not be read", "error", err)
			return
		}
		progress := false
		held := make(map[tenant.ChatID]struct{})
		for i := range pending {
			if c.ctx.Err() != nil || c.draining.Load() {
				return
			}
			if _, ok := held[pending[i].ChatID]; ok || !a.outbox.take(pending[i].ID) {
				continue // on its way
			}
			switch err := c.again(pending[i]); {
			case err == nil:
				progress = true
			case lineDead(err):
				return
			default:
				held[pending[i].ChatID] = struct{}{}
			}
		}
		if !progress || len(pending) < maxResend {
			return
		}
	}
}

// lineDead says whether a message was not acknowledged for a reason that the next one will meet, too.
func lineDead(err error) bool {
	for _, why := range []error{
		context.DeadlineExceeded, context.Canceled, whatsmeow.ErrMessageTimedOut, whatsmeow.ErrIQTimedOut, whatsmeow.ErrNotConnected,
		whatsmeow.ErrNotLoggedIn,
	} {
		if errors.Is(err, why) {
			return true
		}
	}
	_, gone := errors.AsType[*whatsmeow.DisconnectedError](err)
	return gone
}

// again sends one pending message again that was taken from the outbox. Returns *UnansweredError if it is still pending.
func (c *conn) again(msg tenant.Message) error {
	a := c.actor
	// It was on its way when the list was read, and may have arrived since.
	var now tenant.Message
	err := callStore(c.ctx, a.fleet.pace.StoreTimeout, func(ctx context.Context) (err error) {
		now, err = a.handle.Message(ctx, msg.ChatID, msg.ID, msg.SenderID)
		return err
	})
	switch {
	case errors.Is(err, tenant.ErrMessageNotFound), errors.Is(err, tenant.ErrChatNotFound), err == nil && now.Status != tenant.StatusPending:
		a.outbox.release(msg.ID)
		return nil
	case err != nil:
		a.outbox.release(msg.ID)
		a.post(a.resendLater)
		return fmt.Errorf("look at the message again: %w: %w", context.Canceled, err)
	}
	var wire waE2E.Message
	readable := len(msg.Payload) > 0 && proto.Unmarshal(msg.Payload, &wire) == nil
	if !readable || time.Since(msg.Timestamp) > a.fleet.pace.ResendAge {
		c.log.Warn("pending message given up", "age", time.Since(msg.Timestamp).Round(time.Second))
		a.settled(tenant.SetStatus{ChatID: msg.ChatID, MessageIDs: []tenant.MessageID{msg.ID}, Status: tenant.StatusFailed})
		return nil
	}
	_, err = c.transmit(msg, &wire)
	if unanswered, ok := errors.AsType[*UnansweredError](err); ok {
		return unanswered
	}
	return nil
}

// messageForRetry finds a message of ours that somebody could not decrypt. Called by whatsmeow.
func (c *conn) messageForRetry(_, to types.JID, id types.MessageID) *waE2E.Message {
	chat, ok := chatID(to)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.actor.fleet.pace.LookupTimeout)
	defer cancel()
	msg, err := c.actor.handle.Message(ctx, chat, tenant.MessageID(id), c.me.id)
	if err != nil || !msg.FromMe || len(msg.Payload) == 0 {
		return nil
	}
	var wire waE2E.Message
	if proto.Unmarshal(msg.Payload, &wire) != nil {
		return nil
	}
	return &wire
}
