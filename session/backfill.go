package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/session/gate"
	"github.com/wafleet/wafleet/tenant"
)

const (
	// historyPage is how many messages are asked for at once: the most that phones give.
	historyPage = 50
	// maxHistoryPages bounds one run, should a phone go on for ever: half of each page may be nothing that is shown.
	maxHistoryPages = 24
	// maxBackfills bounds the chats of a tenant that are fetched at once: they wait for each other's pages.
	maxBackfills = 16
)

// HistoryError says that a fetch of history ended early. What the phone has sent by then, Received messages, stays stored.
type HistoryError struct {
	Received int
	Err      error
}

// Error is for logs.
func (e *HistoryError) Error() string {
	return fmt.Sprintf("history ended after %d messages: %v", e.Received, e.Err)
}

// Unwrap is the cause.
func (e *HistoryError) Unwrap() error { return e.Err }

// FetchHistory returns the newest messages of a chat, newest first, as many as limit or as there are. Older ones than are stored
// are asked of the phone, page by page, and stored as they come, without events of the journal. Calls for the same chat share one
// run, and one page is on its way at a time.
//
// A page is anchored at the oldest message that is known. WhatsApp knows no other way: for a chat without any message the phone is
// asked for what is older than now, which not every phone answers.
//
// Returns [tenant.ErrChatNotFound], *[OfflineError], ErrBusy and ErrStopping before anything was asked; then a *[HistoryError] around
// *[OfflineError], ErrPhoneSilent, ErrTransfer, *[UncertainError], *[RefusedError], or the context's error.
func (f *Fleet) FetchHistory(ctx context.Context, id tenant.ID, chat tenant.ChatID, limit int) (found []tenant.Message, err error) {
	defer f.watch.contain("history", &err)
	to, _, err := f.locate(ctx, id, chat, "") // the phone has the past of groups that we have left, too
	if err != nil {
		return nil, err
	}
	run, err := to.conn.joinBackfill(to.chat, limit) //nolint:contextcheck // it goes on when its caller leaves
	if err != nil {
		return nil, err
	}
	select {
	case <-run.done:
		err = run.err
	case <-ctx.Done():
		err = &HistoryError{Received: to.conn.backfills.received(run), Err: context.Cause(ctx)}
	}
	if err != nil {
		return nil, err
	}
	found, err = to.conn.newest(ctx, to.chat, limit)
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	return found, nil
}

// newest are a chat's newest messages; none if there is no such chat.
func (c *conn) newest(ctx context.Context, chat tenant.ChatID, limit int) ([]tenant.Message, error) {
	page, err := c.actor.handle.Messages(ctx, chat, tenant.MessageQuery{Limit: limit})
	if errors.Is(err, tenant.ErrChatNotFound) {
		return nil, nil
	}
	return page.Messages, err
}

// backfills are the fetches of a connection's chats.
type backfills struct {
	turn chan struct{} // holds one value while no page is on its way

	mu      sync.Mutex
	runs    map[tenant.ChatID]*backfill
	request types.MessageID // the page that is on its way, or empty
	answer  chan pageAnswer
}

func newBackfills() *backfills {
	b := &backfills{turn: make(chan struct{}, 1), runs: make(map[tenant.ChatID]*backfill)}
	b.turn <- struct{}{}
	return b
}

// backfill is the fetch of one chat.
type backfill struct {
	chat tenant.ChatID
	done chan struct{} // closed when err is set
	err  error

	// Guarded by the mutex of backfills.
	limit int // the most that anybody asked for
	came  int // messages that the phone has sent
}

// anchor is the message behind which a page begins.
type anchor struct {
	id     types.MessageID
	fromMe bool
	at     time.Time
}

// pageAnswer is what a page has brought.
type pageAnswer struct {
	came   int // messages that are stored
	all    int // what there was, notes of WhatsApp's and reactions among it
	oldest anchor
	end    waHistorySync.Conversation_EndOfHistoryTransferType
	err    error
}

const (
	// endIsOpen is also what a phone means that does not say.
	endIsOpen = waHistorySync.Conversation_COMPLETE_BUT_MORE_MESSAGES_REMAIN_ON_PRIMARY
	// endOfOnDemand may stand in each page, or in the last: only asking again tells.
	endOfOnDemand = waHistorySync.Conversation_COMPLETE_ON_DEMAND_SYNC_BUT_MORE_MSG_REMAIN_ON_PRIMARY
)

// joinBackfill returns the run for a chat, and starts it if there is none. Returns ErrBusy, *OfflineError.
func (c *conn) joinBackfill(chat tenant.ChatID, limit int) (*backfill, error) {
	b := c.backfills
	b.mu.Lock()
	defer b.mu.Unlock()
	if run := b.runs[chat]; run != nil {
		run.limit = max(run.limit, limit)
		return run, nil
	}
	if len(b.runs) >= maxBackfills {
		return nil, ErrBusy
	}
	run := &backfill{chat: chat, done: make(chan struct{}), limit: limit}
	if !c.work.run("backfill", func() { c.backfill(run) }) {
		return nil, c.offline()
	}
	b.runs[chat] = run
	return run, nil
}

func (b *backfills) received(run *backfill) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return run.came
}

func (b *backfills) goal(run *backfill) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return run.limit
}

func (b *backfills) add(run *backfill, came int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	run.came += came
}

// finish ends a run that has not ended yet.
func (c *conn) finish(run *backfill, err error) {
	c.backfills.mu.Lock()
	defer c.backfills.mu.Unlock()
	c.finishLocked(run, err)
}

func (c *conn) finishLocked(run *backfill, err error) {
	b := c.backfills
	if b.runs[run.chat] != run {
		return
	}
	if err != nil {
		run.err = &HistoryError{Received: run.came, Err: err}
	}
	delete(b.runs, run.chat)
	c.tellFetched(run, true) // before the answers
	close(run.done)
}

// conclude ends a run that has reached its goal, unless somebody has asked for more meanwhile.
func (c *conn) conclude(run *backfill, goal int) bool {
	c.backfills.mu.Lock()
	defer c.backfills.mu.Unlock()
	if run.limit > goal {
		return false
	}
	c.finishLocked(run, nil)
	return true
}

// progress is how a step of a run ended.
type progress int8

const (
	progressMore progress = iota
	progressEnough
	progressExhausted
)

// backfill fetches a chat's history until there is enough, or no more. It ends with the connection.
func (c *conn) backfill(run *backfill) {
	err := ErrPanicked
	defer func() { c.finish(run, err) }()
	ctx, cancel := context.WithTimeout(c.ctx, c.actor.fleet.pace.HistoryTimeout)
	defer cancel()
	var last pageAnswer
	for range maxHistoryPages {
		var how progress
		goal := c.backfills.goal(run)
		how, err = c.step(ctx, run, goal, &last)
		if err != nil || how == progressExhausted || how == progressEnough && c.conclude(run, goal) {
			return
		}
	}
}

// step fetches one page, if there are not enough messages yet.
func (c *conn) step(ctx context.Context, run *backfill, goal int, last *pageAnswer) (progress, error) {
	var known []tenant.Message
	err := callStore(ctx, c.actor.fleet.pace.StoreTimeout, func(ctx context.Context) (err error) {
		known, err = c.newest(ctx, run.chat, goal)
		return err
	})
	if err != nil {
		return 0, c.cutShort(ctx, fmt.Errorf("read messages: %w", err))
	}
	if len(known) >= goal {
		return progressEnough, nil
	}
	from := last.oldest
	if from.id == "" {
		from = oldestOf(known)
	}
	page, err := c.fetchPage(ctx, run.chat, from)
	if errors.Is(err, ErrPhoneSilent) && last.end == endOfOnDemand {
		return progressExhausted, nil // it has said that there is no more to be had, and need not answer
	}
	if err != nil {
		return 0, err
	}
	*last = page
	c.backfills.add(run, page.came)
	switch {
	case page.all == 0, page.oldest.at.After(from.at), page.oldest.id == from.id, page.end != endIsOpen && page.end != endOfOnDemand:
		return progressExhausted, nil
	}
	c.tellPage(run)
	return progressMore, nil
}

// oldestOf is the anchor in messages that are stored, newest first; now, if there is none.
func oldestOf(known []tenant.Message) anchor {
	for i := len(known) - 1; i >= 0; i-- {
		m := &known[i]
		if m.Status != tenant.StatusPending && m.Status != tenant.StatusFailed { // those the phone never had
			return anchor{id: types.MessageID(m.ID), fromMe: m.FromMe, at: m.Timestamp}
		}
	}
	// Phones ignore requests without an id.
	return anchor{id: types.MessageID(newMessageID()), fromMe: true, at: time.Now()}
}

// fetchPage asks the phone for what is older than the anchor, and waits until it is stored.
func (c *conn) fetchPage(ctx context.Context, chat tenant.ChatID, from anchor) (pageAnswer, error) {
	b := c.backfills
	select {
	case <-b.turn:
		defer func() { b.turn <- struct{}{} }()
	case <-ctx.Done():
		return pageAnswer{}, c.cutShort(ctx, context.Cause(ctx))
	}
	page, cancel := context.WithTimeoutCause(ctx, c.actor.fleet.pace.HistoryPage, ErrPhoneSilent)
	defer cancel()
	to, err := c.address(page, chat)
	if err != nil {
		return pageAnswer{}, c.cutShort(ctx, err)
	}
	if err = c.meet(page); err != nil {
		return pageAnswer{}, c.cutShort(ctx, err)
	}
	request := types.MessageID(newMessageID())
	answer := b.expect(request)
	defer b.expect("")
	if err = c.askPhone(page, request, to, from); err != nil {
		return pageAnswer{}, err
	}
	select {
	case got := <-answer:
		if got.err != nil {
			return pageAnswer{}, fmt.Errorf("%w: %w", ErrTransfer, got.err)
		}
		return got, nil
	case <-page.Done():
		return pageAnswer{}, c.cutShort(ctx, context.Cause(page))
	}
}

// sessionPause is how often a freshly linked device looks whether the phone has written to it.
const sessionPause = 200 * time.Millisecond

// meet waits until the phone has written to this device: before that whatsmeow has no keys for the phone. It does so at once when
// they are linked, but may be slow.
func (c *conn) meet(ctx context.Context) error {
	phone, err := c.dev.LIDs.GetLIDForPN(ctx, c.jid.ToNonAD())
	for err == nil {
		var has bool
		if has, err = c.dev.ContainsSession(ctx, phone.SignalAddress()); has || err != nil {
			break
		}
		if !pause(ctx, sessionPause) {
			return context.Cause(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("look for the phone's keys: %w", err)
	}
	return nil
}

// cutShort is the error of what did not end: the session's being offline before anything else.
func (c *conn) cutShort(ctx context.Context, err error) error {
	switch {
	case c.ctx.Err() != nil:
		return c.offline()
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// askPhone sends the request for a page. Returns *OfflineError, *RefusedError, *UncertainError.
func (c *conn) askPhone(ctx context.Context, request types.MessageID, chat types.JID, from anchor) error {
	const tries = 3 // as push
	if !c.sends.enter() {
		return c.offline()
	}
	defer c.sends.leave()
	ctx, cancel := context.WithTimeout(ctx, c.actor.fleet.pace.SendTimeout)
	defer cancel()
	wire := c.cli.BuildHistorySyncRequest(&types.MessageInfo{
		ID: from.id, Timestamp: from.at, MessageSource: types.MessageSource{Chat: chat, IsFromMe: from.fromMe},
	}, historyPage)
	var err error
	for range tries {
		err = c.gate.Send(ctx, func(ctx context.Context) error {
			_, err := c.cli.SendMessage(ctx, c.jid.ToNonAD(), proto.CloneOf(wire), whatsmeow.SendRequestExtra{Peer: true, ID: request})
			return err
		})
		if !errors.Is(err, gate.ErrMoved) || ctx.Err() != nil {
			break
		}
	}
	code, refused := refusal(err)
	switch {
	case err == nil:
		return nil
	case refused:
		return &RefusedError{Code: code}
	case c.parted(err):
		return c.offline()
	}
	c.log.WarnContext(ctx, "phone was not asked for history", "error", redact(err.Error()))
	return &UncertainError{Err: err}
}

// expect names the request whose answer is waited for; empty for none.
func (b *backfills) expect(request types.MessageID) <-chan pageAnswer {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.request, b.answer = request, make(chan pageAnswer, 1)
	return b.answer
}

// answered hands a history that has been stored, or could not be, to whoever waits for it. Some phones do not say which request they answer.
func (b *backfills) answered(note *waE2E.HistorySyncNotification, page pageAnswer) {
	if note.GetSyncType() != waE2E.HistorySyncType_ON_DEMAND {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	id := note.GetPeerDataRequestSessionID()
	if b.request == "" || id != "" && id != b.request {
		return
	}
	select {
	case b.answer <- page:
	default:
	}
}

// pageOf is what a history that was stored has brought.
func pageOf(blob *waHistorySync.HistorySync, came int) pageAnswer {
	page := pageAnswer{came: came}
	for _, conversation := range blob.GetConversations() {
		if conversation.EndOfHistoryTransferType != nil {
			page.end = conversation.GetEndOfHistoryTransferType()
		}
		for _, item := range conversation.GetMessages() {
			m := item.GetMessage()
			at := unix(m.GetMessageTimestamp())
			if m.GetKey().GetID() == "" || at.IsZero() {
				continue
			}
			page.all++
			if page.oldest.id == "" || !at.After(page.oldest.at) { // newest first, also within a second
				page.oldest = anchor{id: m.GetKey().GetID(), fromMe: m.GetKey().GetFromMe(), at: at}
			}
		}
	}
	return page
}
