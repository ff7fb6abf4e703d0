package session

import (
	"cmp"
	"context"
	"errors"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/tenant"
)

// inbound stores what an event says. mine is false if the event is not about the tenant's data; ok is whether it may be
// acknowledged: it is stored, or there is nothing to store.
func (c *conn) inbound(evt any) (ok, mine bool) {
	switch evt := evt.(type) {
	case *events.Message:
		return c.message(evt), true
	case *events.UndecryptableMessage:
		c.actor.fleet.cfg.Metrics.Undecryptable(string(c.actor.id))
		c.plead(evt)
		return c.inOrder(append(c.me.undecryptable(evt), c.settling()...), nil), true
	case *events.Receipt:
		return c.inOrder(c.me.receipt(evt), nil), true
	case *events.ChatPresence:
		c.typing(evt)
		return true, true
	case *events.Presence:
		c.present(evt)
		return true, true
	case *events.Blocklist:
		c.followBlocklist()
		return true, true
	case *events.NotifyAccountReachoutTimelock:
		return c.timelock(evt), true
	case *events.PushNameSetting:
		name := evt.Action.GetName()
		c.actor.post(func() { c.actor.rename(c, name) })
		return true, true
	case *events.JoinedGroup, *events.GroupInfo, *events.Picture: // stored by themselves, but not before what came earlier
		if !c.inOrder(nil, nil) {
			return false, true
		}
	}
	if ok, mine = c.groupEvent(evt); mine {
		return ok, true
	}
	if changes, known := about(evt); known {
		return c.inOrder(changes, nil), true
	}
	return true, false
}

// about translates events about chats and contacts, most of which come from the account's other devices.
func about(evt any) (changes []tenant.Change, known bool) {
	switch evt := evt.(type) {
	case *events.Contact:
		name := cmp.Or(evt.Action.GetFullName(), evt.Action.GetFirstName())
		if id, ok := chatID(evt.JID); ok && name != "" {
			changes = append(changes, tenant.PutContact{ID: id, Name: cleanName(name), Quiet: evt.FromFullSync})
		}
	case *events.Pin, *events.Archive, *events.Mute, *events.MarkChatAsRead, *events.DeleteChat, *events.ClearChat:
		changes = setting(evt)
	default:
		return nil, false
	}
	return changes, true
}

// rename takes the name that the account gave itself.
func (a *actor) rename(c *conn, name string) {
	if a.cur == c && name != "" {
		a.name, c.name = cleanName(name), cleanName(name)
		a.publish()
	}
}

// settling is the change that goes with the record of what was decrypted last.
func (c *conn) settling() []tenant.Change {
	if keeper, ok := c.stop.(EventKeeper); ok {
		if hash, ok := keeper.TakeEvent(); ok {
			return []tenant.Change{tenant.SettleEvent{Hash: hash}}
		}
	}
	return nil
}

// message stores a message, or starts on the history that it announces.
func (c *conn) message(evt *events.Message) bool {
	note := evt.RawMessage.GetProtocolMessage().GetHistorySyncNotification()
	if note == nil { // the phone may wrap what it sends to our own devices
		note = evt.Message.GetProtocolMessage().GetHistorySyncNotification()
	}
	if note != nil {
		if evt.Info.IsFromMe {
			c.fetchHistory(evt.Info.ID, note)
		}
		return true
	}
	if !c.keepStateKeys(evt) {
		return false
	}
	var settling []tenant.Change
	if evt.UnavailableRequestID == "" { // else it is one of many that the phone sent in one
		settling = c.settling()
	}
	changes, err := c.translate(evt)
	if err != nil { // a panic: keep what it was, so that it can be looked at and never blocks the queue
		changes = c.me.placeholder(&evt.Info, encode(evt.RawMessage))
	}
	changes = append(c.unseen(changes), settling...)
	came := c.arrivals.take(&evt.Info)
	if c.continues(evt, came, changes) {
		return true
	}
	instead := func() []tenant.Change {
		return append(c.me.placeholder(&evt.Info, encode(evt.RawMessage)), settling...)
	}
	if c.note(evt, came, changes, instead) {
		c.remember(changes) // if they are not stored after all, the connection ends
		return false
	}
	return c.inOrder(changes, instead)
}

// keepStateKeys stores keys to the account's settings, so that the commit takes them along. whatsmeow stores them as well, but in a
// goroutine, which the acknowledgement does not wait for.
func (c *conn) keepStateKeys(evt *events.Message) bool {
	later, ok := c.stop.(Later)
	if !ok || !evt.Info.IsFromMe {
		return true
	}
	for _, key := range evt.Message.GetProtocolMessage().GetAppStateSyncKeyShare().GetKeys() {
		fingerprint, err := proto.Marshal(key.GetKeyData().GetFingerprint())
		if err != nil {
			continue // whatsmeow does not take it either
		}
		err = c.dev.AppStateKeys.PutAppStateSyncKey(later.Later(c.ctx), key.GetKeyID().GetKeyID(), store.AppStateSyncKey{
			Data: key.GetKeyData().GetKeyData(), Fingerprint: fingerprint, Timestamp: key.GetKeyData().GetTimestamp(),
		})
		if err != nil {
			return false
		}
	}
	return true
}

func (c *conn) translate(evt *events.Message) (changes []tenant.Change, err error) {
	defer c.actor.watch.contain("translate", &err)
	c.reveal(evt)
	return c.me.message(evt), nil
}

// commit makes the changes durable. While the store is away it waits, and WhatsApp keeps the stanza; if that takes too long
// the connection is given up. What the store refuses for good is replaced by instead, so that one entry cannot block the
// queue; nil means that nothing can replace it, and only what is refused is left out.
func (c *conn) commit(ctx context.Context, changes []tenant.Change, instead func() []tenant.Change) bool {
	if len(changes) == 0 {
		return true
	}
	err := c.put(ctx, changes)
	if err == nil {
		return true
	}
	if !c.refuses(ctx, err) {
		return false
	}
	c.log.ErrorContext(ctx, "store refused an entry", "error", err)
	c.forget()
	c.actor.fleet.cfg.Metrics.Panic("entry_refused")
	switch {
	case instead != nil:
		return c.commit(ctx, instead(), nil)
	case len(changes) == 1:
		return true
	}
	for i := range changes { // one of many is to blame: the others are stored without it
		if !c.commit(ctx, changes[i:i+1], nil) {
			return false
		}
	}
	return true
}

// put makes the changes durable. It waits while the store is away, but not for ever.
func (c *conn) put(ctx context.Context, changes []tenant.Change) error {
	pace := c.actor.fleet.pace
	blocked, cancel := context.WithTimeout(ctx, pace.StoreBlocked)
	defer cancel()
	var result tenant.Result
	err := retryStore(blocked, pace.StoreTimeout, func(ctx context.Context) (err error) {
		defer c.actor.watch.contain("commit", &err)
		result, err = c.actor.handle.Commit(ctx, changes...)
		return err
	})
	if err != nil {
		return err
	}
	c.remember(changes)
	c.count(changes, &result)
	c.countRevisions(changes, &result)
	c.missed(result.Missed)
	c.countUnopened(result.Unopened)
	return nil
}

// refuses says whether the store has refused changes for good. Otherwise it cannot store for now, and the connection is of no use.
func (c *conn) refuses(ctx context.Context, err error) bool {
	switch {
	case ctx.Err() != nil:
		return false
	case errors.Is(err, tenant.ErrNotFound):
		c.log.WarnContext(ctx, "tenant is gone", "error", err)
		return false
	case !errors.Is(err, tenant.ErrRefused) && !errors.Is(err, ErrPanicked):
		// Away too long, or broken in a way that has nothing to do with this entry: acknowledging would lose it.
		c.log.WarnContext(ctx, "store cannot store: the connection is given up", "error", err)
		c.end(outcome{state: Backoff, reason: lostStore})
		return false
	}
	return true
}

// count counts the messages that were stored first by this commit.
func (c *conn) count(changes []tenant.Change, result *tenant.Result) {
	i := 0
	for _, change := range changes {
		put, ok := change.(tenant.PutMessage)
		if !ok {
			continue
		}
		if i < len(result.Fresh) && result.Fresh[i] && put.Live {
			direction := "in"
			if put.Message.FromMe {
				direction = "out"
			}
			c.actor.fleet.cfg.Metrics.Message(string(c.actor.id), direction, string(put.Message.Type))
		}
		i++
	}
}
