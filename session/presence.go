package session

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

// maxWatched bounds the people whose presence one tenant watches: of more, those are let go that were asked for longest ago.
const maxWatched = 500

// presence is what a tenant wants of presences, beyond the life of a connection. The zero value is ready.
type presence struct {
	mu        sync.Mutex
	available bool // the account is shown as there
	watched   *lru.Cache[tenant.ChatID, struct{}]
}

// watch notes somebody, and returns who has to be let go, if anybody.
func (p *presence) watch(id tenant.ChatID) (released tenant.ChatID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched == nil {
		p.watched, _ = lru.New[tenant.ChatID, struct{}](maxWatched) // fails for sizes below 1 only
	}
	if p.watched.Len() >= maxWatched && !p.watched.Contains(id) {
		released, _, _ = p.watched.RemoveOldest()
	}
	p.watched.Add(id, struct{}{})
	return released
}

func (p *presence) release(id tenant.ChatID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched != nil {
		p.watched.Remove(id)
	}
}

// wanted is what a new connection has to ask for.
func (p *presence) wanted() (available bool, watched []tenant.ChatID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched != nil {
		watched = p.watched.Keys()
	}
	return p.available, watched
}

// reset is for when the device goes: another account knows other people.
func (p *presence) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.available, p.watched = false, nil
}

func (p *presence) show(available bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.available = available
}

// ShowPresence shows the account as there, or not. While it is there its phone is not told of messages, and WhatsApp tells of
// others' presence. A session begins as not there; what was asked for last holds over reconnects, but not over restarts.
//
// Returns *[OfflineError], ErrNoName, *[UncertainError].
func (f *Fleet) ShowPresence(ctx context.Context, id tenant.ID, available bool) (err error) {
	defer f.watch.contain("presence", &err)
	c, err := f.reach(ctx, id)
	if err != nil {
		return err
	}
	if err = c.showPresence(ctx, available); err == nil {
		c.actor.presence.show(available)
	}
	return err
}

func (c *conn) showPresence(ctx context.Context, available bool) error {
	state := types.PresenceUnavailable
	if available {
		state = types.PresenceAvailable
	}
	return c.inquire(ctx, "show the presence", func(ctx context.Context) error {
		// whatsmeow reads the account's name, which comes with the app state.
		err := c.withState(ctx, func() error { return c.cli.SendPresence(ctx, state) })
		if errors.Is(err, whatsmeow.ErrNoPushName) {
			return ErrNoName
		}
		return err
	})
}

// WatchPresence asks WhatsApp to tell of somebody's presence, which then comes as a live event. Nothing answers: whoever hides
// theirs is never told of. The 500 people asked for last are watched, over reconnects, but not over restarts.
//
// Returns *[OfflineError], *[UncertainError].
func (f *Fleet) WatchPresence(ctx context.Context, id tenant.ID, who tenant.ChatID) (err error) {
	defer f.watch.contain("presence", &err)
	c, err := f.reach(ctx, id)
	if err != nil {
		return err
	}
	if who, err = c.canonical(ctx, who); err != nil {
		return err
	}
	if err = c.subscribe(ctx, who); err != nil {
		return err
	}
	if released := c.actor.presence.watch(who); released != "" {
		return c.unsubscribe(ctx, released)
	}
	return nil
}

// UnwatchPresence ends what WatchPresence began. Errors as of [Fleet.WatchPresence].
func (f *Fleet) UnwatchPresence(ctx context.Context, id tenant.ID, who tenant.ChatID) (err error) {
	defer f.watch.contain("presence", &err)
	c, err := f.reach(ctx, id)
	if err != nil {
		return err
	}
	if who, err = c.canonical(ctx, who); err != nil {
		return err
	}
	c.actor.presence.release(who)
	return c.unsubscribe(ctx, who)
}

func (c *conn) subscribe(ctx context.Context, who tenant.ChatID) error {
	return c.inquire(ctx, "watch a presence", func(ctx context.Context) error {
		jid, err := c.address(ctx, who)
		if err != nil {
			return err
		}
		return c.cli.SubscribePresence(ctx, jid)
	})
}

// unsubscribe lets somebody go. whatsmeow has no word for it.
func (c *conn) unsubscribe(ctx context.Context, who tenant.ChatID) error {
	return c.inquire(ctx, "let a presence go", func(ctx context.Context) error {
		jid, err := c.address(ctx, who)
		if err != nil {
			return err
		}
		return c.cli.DangerousInternals().SendNode(ctx, waBinary.Node{ //nolint:staticcheck // the only way
			Tag: "presence", Attrs: waBinary.Attrs{"type": "unsubscribe", "to": jid},
		})
	})
}

// renewPresence asks a new connection for what the one before was asked for.
func (c *conn) renewPresence() {
	available, watched := c.actor.presence.wanted()
	if !available && len(watched) == 0 {
		return
	}
	c.work.run("presence", func() {
		if available && c.showPresence(c.ctx, true) != nil {
			return // it is logged; the connection is of no use
		}
		for _, who := range watched {
			if c.subscribe(c.ctx, who) != nil {
				return
			}
		}
	})
}

// present tells who watches that somebody is there, or not any more.
func (c *conn) present(evt *events.Presence) {
	a := c.actor
	who, ok := chatID(evt.From)
	if !ok || c.me.isMe(who) || !a.fleet.live.watched(a.id) {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, liveLookup)
	defer cancel()
	who, err := a.handle.Resolve(ctx, who)
	if err != nil {
		return // not worth waiting for
	}
	told := tenant.PresenceEvent{ContactID: who, State: "available"}
	if evt.Unavailable {
		told.State = "unavailable"
		if !evt.LastSeen.IsZero() {
			told.LastSeen = new(sane(evt.LastSeen))
		}
	}
	data, err := json.Marshal(told)
	if err != nil {
		return
	}
	a.fleet.live.publish(a.id, tenant.Event{Type: tenant.EventPresence, Timestamp: time.Now().UTC(), Data: data})
}
