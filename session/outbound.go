package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/session/gate"
	"github.com/wafleet/wafleet/tenant"
)

// SendText sends a text: it is stored as pending, goes out, and is returned as sent when WhatsApp has acknowledged it.
//
// Returns [tenant.ErrChatNotFound] if there is no such chat and nobody (or no group of ours) behind the id,
// [tenant.ErrMessageNotFound] if the message to answer is not there, *[OfflineError] when the session is not online,
// ErrNoAnswer when WhatsApp does not say whether there is such a chat, ErrNotMember, ErrAnnounceOnly, *[UnansweredError],
// *[RejectedError], *[LimitError] and ErrStopping.
func (f *Fleet) SendText(ctx context.Context, id tenant.ID, chat tenant.ChatID, m TextMessage) (msg tenant.Message, err error) {
	defer f.watch.contain("send", &err)
	to, err := f.address(ctx, id, chat, m.ReplyTo, 0)
	if err != nil {
		return tenant.Message{}, err
	}
	defer to.pass.end()
	return to.send(ctx, &m)
}

// address is where a message goes: a connection, a chat that is there, what is answered, and leave to send it.
type address struct {
	conn   *conn
	chat   tenant.ChatID
	quoted *tenant.Message // nil: it is no answer
	pass   *pass           // ended by whoever has the address
}

// address finds a chat to send to, here or on WhatsApp, and the message to answer; bytes is the size of the file that goes along. Its
// pass is to be ended, unless there is an error. Errors are those of [Fleet.SendText].
func (f *Fleet) address(
	ctx context.Context, id tenant.ID, chat tenant.ChatID, replyTo tenant.MessageID, bytes int64,
) (to address, err error) {
	to, stored, err := f.locate(ctx, id, chat, replyTo)
	if err != nil {
		return to, err
	}
	if stored != nil && to.chat.IsGroup() {
		if err = to.conn.mayPost(ctx, stored); err != nil {
			return to, err
		}
	}
	to.pass, err = to.conn.admit(ctx, to.chat, stored, bytes)
	return to, err
}

// admit asks the governor for leave to send to a chat; stored is nil if it is not here.
func (c *conn) admit(ctx context.Context, chat tenant.ChatID, stored *tenant.Chat, bytes int64) (*pass, error) {
	return c.actor.fleet.governor.admit(ctx, intent{
		id: c.actor.id, chat: chat, cold: c.isCold(chat, stored), bytes: bytes, lock: c.actor.view.Load().Reachout,
	})
}

// isCold says whether somebody never wrote to the account.
func (c *conn) isCold(chat tenant.ChatID, stored *tenant.Chat) bool {
	return !chat.IsGroup() && !c.me.isMe(chat) && (stored == nil || !stored.Heard)
}

// locate finds a chat, here or on WhatsApp, and the message to answer. stored is nil if the chat is not here. Errors are those of
// [Fleet.SendText], but for ErrNotMember and ErrAnnounceOnly.
func (f *Fleet) locate(ctx context.Context, id tenant.ID, chat tenant.ChatID, replyTo tenant.MessageID) (to address, stored *tenant.Chat, err error) {
	h := f.cfg.Store.Tenant(id)
	found, err := h.Chat(ctx, chat)
	known := err == nil
	if err != nil && !errors.Is(err, tenant.ErrChatNotFound) {
		return to, nil, fmt.Errorf("find chat: %w", err)
	}
	to.chat = chat
	if known {
		stored, to.chat = &found, found.ID
		if replyTo != "" {
			answered, err := h.Message(ctx, to.chat, replyTo, "")
			if err != nil {
				return to, nil, fmt.Errorf("find the message to answer: %w", err)
			}
			to.quoted = &answered
		}
	}
	if to.conn, err = f.reach(ctx, id); err != nil {
		return to, nil, err
	}
	if !known {
		if err = f.mayFind(ctx, to.conn, chat); err != nil {
			return to, nil, err
		}
		if to.chat, err = to.conn.find(ctx, chat); err != nil {
			return to, nil, err
		}
		if to.chat != chat { // WhatsApp knows the number in another form, under which the chat may be here
			if found, err = h.Chat(ctx, to.chat); err == nil {
				stored = &found
			} else if !errors.Is(err, tenant.ErrChatNotFound) {
				return to, nil, fmt.Errorf("find chat: %w", err)
			}
		}
		if replyTo != "" {
			return to, nil, tenant.ErrMessageNotFound // a chat that is new has no messages
		}
	}
	return to, stored, nil
}

// mayFind says whether WhatsApp may be asked for a chat that is not here: to look a number up is to check it, and in vain if the message
// could not go there. Returns *LimitError.
func (f *Fleet) mayFind(ctx context.Context, c *conn, chat tenant.ChatID) error {
	if chat.IsGroup() {
		return nil
	}
	if err := f.governor.mayMeet(ctx, c.actor.id, chat, c.actor.view.Load().Reachout); err != nil {
		return err
	}
	return f.governor.checks(c.actor.id, 1, time.Now())
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

// find asks WhatsApp for a chat that is not stored. Returns tenant.ErrChatNotFound, *OfflineError, ErrNoAnswer.
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
	switch g, err := c.readGroup(ctx, chat); {
	case errors.Is(err, tenant.ErrChatNotFound), errors.Is(err, tenant.ErrUnavailable):
		return "", err
	case err != nil:
		return "", c.unasked("look the group up", err)
	case g.Role == tenant.RoleNone:
		return "", tenant.ErrChatNotFound
	}
	return chat, nil
}

// unasked is the error of a question that WhatsApp did not answer. Returns tenant.ErrChatNotFound, *OfflineError, ErrNoAnswer.
func (c *conn) unasked(doing string, err error) error {
	iq, answered := errors.AsType[*whatsmeow.IQError](err)
	if answered && iq.Code >= 400 && iq.Code <= 501 && iq.Code != 429 && iq.Code != 500 {
		return fmt.Errorf("%s: %w", doing, tenant.ErrChatNotFound)
	}
	c.log.Warn("WhatsApp did not answer", "question", doing, "error", redact(err.Error()))
	if answered || c.parted(err) {
		return fmt.Errorf("%s: %w", doing, c.offline())
	}
	return fmt.Errorf("%s: %w: %w", doing, ErrNoAnswer, err)
}

// parted says whether a question failed because the connection is of no use any more. A closed socket shows in many errors.
func (c *conn) parted(err error) bool {
	_, lost := errors.AsType[*whatsmeow.DisconnectedError](err)
	return lost || errors.Is(err, whatsmeow.ErrNotConnected) || errors.Is(err, socket.ErrSocketClosed) || c.ctx.Err() != nil || c.sends.isClosed()
}

// newMessageID makes an id as whatsmeow does: it hashes random bytes, these are random themselves.
func newMessageID() tenant.MessageID {
	raw := make([]byte, 9)
	_, _ = rand.Read(raw) // never fails
	return tenant.MessageID(whatsmeow.WebMessageIDPrefix + strings.ToUpper(hex.EncodeToString(raw)))
}

func (to *address) send(ctx context.Context, m *TextMessage) (tenant.Message, error) {
	wire := compose(m, to.quoted)
	msg := to.conn.draft(to.chat, tenant.TypeText, wire)
	msg.Text, msg.ReplyTo, msg.Mentions = tenant.CleanText(m.Text), m.ReplyTo, m.Mentions
	msg.Forwarded, msg.ForwardScore = m.Forwarded, firstForward(m.Forwarded)
	return to.deliver(ctx, msg, wire)
}

// draft is a message of ours that is about to be sent.
func (c *conn) draft(chat tenant.ChatID, kind tenant.MessageType, wire *waE2E.Message) tenant.Message {
	return tenant.Message{
		ID: newMessageID(), ChatID: chat, SenderID: c.me.id, FromMe: true, Timestamp: time.Now().UTC().Truncate(time.Second),
		Type: kind, Status: tenant.StatusPending, Payload: encode(wire),
	}
}

// deliver stores a message as pending, sends it, and waits for what becomes of it. Both go on when the caller leaves: the message may be
// stored by then, and nobody would send it.
func (to *address) deliver(ctx context.Context, msg tenant.Message, wire *waE2E.Message) (tenant.Message, error) {
	c, a, pass := to.conn, to.conn.actor, to.pass
	a.outbox.take(msg.ID) // before it is stored: whoever sends pending messages again must not see it as theirs
	type answer struct {
		sent tenant.Message
		err  error
	}
	outcome := make(chan answer, 1) // buffered: the caller may have left
	keys := answers(ctx, &msg)
	var stored atomic.Bool
	pass.hold()
	started := c.sends.run("send", func() { //nolint:contextcheck // a send goes on when its caller leaves
		sent, err := msg, ErrPanicked
		defer func() {
			pass.end()
			outcome <- answer{sent, err}
		}()
		if sent, err = c.keep(msg, keys, pass); err != nil {
			return
		}
		stored.Store(true)
		sent, err = c.transmit(sent, wire)
		c.judge(pass, err)
	})
	if !started {
		pass.end()
		a.outbox.release(msg.ID)
		return tenant.Message{}, c.offline()
	}
	select {
	case got := <-outcome:
		return got.sent, got.err
	case <-ctx.Done():
		return tenant.Message{}, &UnansweredError{Message: msg, Unsure: !stored.Load(), Err: context.Cause(ctx)}
	}
}

// judge learns from what became of a message to somebody who never wrote.
func (c *conn) judge(p *pass, err error) {
	if !p.cold() {
		return
	}
	a := c.actor
	rejected, ok := errors.AsType[*RejectedError](err)
	switch {
	case ok && rejected.Code == codeReachout:
		a.post(a.refusedReachout)
	case err == nil:
		a.post(func() { a.strikes = 0 })
	}
}

// keep stores a message that was taken from the outbox, with what comes before it, and gives it back if it cannot. Returns
// *UnansweredError if it is not known whether it is stored, tenant.ErrKeyTaken.
func (c *conn) keep(msg tenant.Message, before []tenant.Change, p *pass) (tenant.Message, error) {
	a, each := c.actor, c.actor.fleet.pace.StoreTimeout
	var result tenant.Result
	changes := append(slices.Clip(before), tenant.PutMessage{Message: msg, Live: true, Spend: p.spend()})
	commit := func(ctx context.Context) (err error) {
		result, err = a.handle.Commit(ctx, changes...)
		return err
	}
	err := callStore(a.life, each, commit)
	if errors.Is(err, tenant.ErrOutcomeUnknown) {
		// Storing it again tells: what is stored is not stored twice.
		ctx, cancel := context.WithTimeout(a.life, each)
		again := retryStore(ctx, each, commit)
		late := again != nil && ctx.Err() != nil
		cancel()
		if late || errors.Is(again, tenant.ErrUnavailable) || errors.Is(again, tenant.ErrOutcomeUnknown) {
			err = &UnansweredError{Message: msg, Unsure: true, Err: err}
			a.outbox.unsure.Store(true)
		} else {
			err = again
		}
	}
	if err != nil {
		if _, unsure := errors.AsType[*UnansweredError](err); !unsure {
			p.refund()
		}
		a.outbox.release(msg.ID)
		a.post(a.resendLater) // it may be stored all the same
		return msg, fmt.Errorf("store message: %w", err)
	}
	if len(result.Messages) == 1 {
		msg = result.Messages[0]
	}
	a.fleet.cfg.Metrics.Message(string(a.id), "out", string(msg.Type))
	return msg, nil
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
		c.doubt(msg.ChatID)
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
	switch {
	case errors.Is(err, whatsmeow.ErrNotInGroup):
		return codeForbidden, true
	case errors.Is(err, whatsmeow.ErrGroupNotFound):
		return codeGone, true
	}
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

// resendLater has pending messages looked at again. Runs as a job.
func (a *actor) resendLater() {
	if a.state == Online {
		a.wakeIn(resendPause)
	}
}

// startResend sends pending messages again, in a child. Runs as a job.
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
		seen, may := a.outbox.owes()
		if !may {
			return
		}
		var pending []tenant.Message
		err := retryStore(c.ctx, a.fleet.pace.StoreTimeout, func(ctx context.Context) (err error) {
			pending, err = a.handle.Pending(ctx, maxResend)
			return err
		})
		if err != nil {
			c.log.Warn("pending messages could not be read", "error", err)
			return
		}
		if len(pending) == 0 {
			a.outbox.owesNone(seen)
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
