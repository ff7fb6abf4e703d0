package session

import (
	"context"
	"errors"
	"time"

	"go.mau.fi/whatsmeow/types/events"

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
		return c.commit(c.ctx, c.me.undecryptable(evt), nil), true
	case *events.Receipt:
		return c.commit(c.ctx, c.me.receipt(evt), nil), true
	case *events.ChatPresence:
		c.typing(evt)
		return true, true
	case *events.PushNameSetting:
		name := evt.Action.GetName()
		c.actor.post(func() { c.actor.rename(c, name) })
		return true, true
	}
	if changes, known := about(evt); known {
		return c.commit(c.ctx, changes, nil), true
	}
	return true, false
}

// about translates events about chats and contacts, most of which come from the account's other devices.
func about(evt any) (changes []tenant.Change, known bool) {
	switch evt := evt.(type) {
	case *events.Contact:
		if id, ok := chatID(evt.JID); ok && evt.Action.GetFullName() != "" {
			changes = append(changes, tenant.PutContact{ID: id, Name: cleanName(evt.Action.GetFullName())})
		}
	case *events.Pin:
		if id, ok := chatID(evt.JID); ok {
			changes = append(changes, tenant.PutChat{ID: id, Pinned: new(evt.Action.GetPinned())})
		}
	case *events.Archive:
		if id, ok := chatID(evt.JID); ok {
			changes = append(changes, tenant.PutChat{ID: id, Archived: new(evt.Action.GetArchived())})
		}
	case *events.Mute:
		if id, ok := chatID(evt.JID); ok {
			changes = append(changes, tenant.PutChat{ID: id, Muted: new(mutedUntil(evt))})
		}
	case *events.MarkChatAsRead:
		if id, ok := chatID(evt.JID); ok && evt.Action.GetRead() {
			changes = append(changes, tenant.MarkRead{ChatID: id})
		}
	case *events.JoinedGroup:
		if id, ok := chatID(evt.JID); ok && evt.Name != "" {
			changes = append(changes, tenant.PutChat{ID: id, Name: new(cleanName(evt.Name))})
		}
	case *events.GroupInfo:
		if id, ok := chatID(evt.JID); ok && evt.Name != nil {
			changes = append(changes, tenant.PutChat{ID: id, Name: new(cleanName(evt.Name.Name))})
		}
	default:
		return nil, false
	}
	return changes, true
}

// mutedUntil is the end of a mute. WhatsApp writes a negative time for "always".
func mutedUntil(evt *events.Mute) time.Time {
	switch until := evt.Action.GetMuteEndTimestamp(); {
	case !evt.Action.GetMuted():
		return time.Time{}
	case until <= 0:
		return unix(1 << 33)
	default:
		return time.UnixMilli(min(until, 1<<33*1000)).UTC()
	}
}

// rename takes the name that the account gave itself.
func (a *actor) rename(c *conn, name string) {
	if a.cur == c && name != "" {
		a.name, c.name = cleanName(name), cleanName(name)
		a.publish()
	}
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
	changes, err := c.translate(evt)
	if err != nil { // a panic: keep what it was, so that it can be looked at and never blocks the queue
		changes = c.me.placeholder(&evt.Info, encode(evt.RawMessage))
	}
	return c.commit(c.ctx, c.unseen(changes), func() []tenant.Change {
		return c.me.placeholder(&evt.Info, encode(evt.RawMessage))
	})
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
	pace := c.actor.fleet.pace
	blocked, cancel := context.WithTimeout(ctx, pace.StoreBlocked)
	defer cancel()
	var result tenant.Result
	err := retryStore(blocked, pace.StoreTimeout, func(ctx context.Context) (err error) {
		defer c.actor.watch.contain("commit", &err)
		result, err = c.actor.handle.Commit(ctx, changes...)
		return err
	})
	switch {
	case err == nil:
		c.remember(changes)
		c.count(changes, &result)
		c.countRevisions(changes, &result)
		return true
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
	c.log.ErrorContext(ctx, "store refused an entry", "error", err)
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
