package session

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

const (
	// liveBuffer is how many live events wait for a watcher; more are dropped, since they are worth nothing later.
	liveBuffer = 16
	// liveLookup bounds looking up whom a live event is about.
	liveLookup = time.Second
)

// live hands events to whoever watches at the moment. They are never stored.
type live struct {
	mu       sync.Mutex
	watchers map[tenant.ID]map[chan tenant.Event]struct{}
}

// Live returns a channel of what happens now and is in no journal (typing). A watcher that is slow misses some. Stop releases
// the channel, which is never closed.
func (f *Fleet) Live(id tenant.ID) (happening <-chan tenant.Event, stop func()) {
	return f.live.watch(id)
}

func (l *live) watch(id tenant.ID) (happening <-chan tenant.Event, stop func()) {
	ch := make(chan tenant.Event, liveBuffer)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watchers == nil {
		l.watchers = make(map[tenant.ID]map[chan tenant.Event]struct{})
	}
	if l.watchers[id] == nil {
		l.watchers[id] = make(map[chan tenant.Event]struct{})
	}
	l.watchers[id][ch] = struct{}{}
	return ch, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watchers[id], ch)
		if len(l.watchers[id]) == 0 {
			delete(l.watchers, id)
		}
	}
}

func (l *live) watched(id tenant.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.watchers[id]) > 0
}

func (l *live) publish(id tenant.ID, e tenant.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ch := range l.watchers[id] {
		select {
		case ch <- e:
		default:
		}
	}
}

// typing tells who watches that somebody types.
func (c *conn) typing(evt *events.ChatPresence) {
	a := c.actor
	chat, ok := chatID(evt.Chat)
	sender, known := chatID(evt.Sender)
	if !ok || !known || c.me.isMe(sender) || !a.fleet.live.watched(a.id) {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, liveLookup)
	defer cancel()
	for _, id := range []*tenant.ChatID{&chat, &sender} {
		resolved, err := a.handle.Resolve(ctx, *id)
		if err != nil {
			return // not worth waiting for
		}
		*id = resolved
	}
	state := TypingPaused
	if evt.State == types.ChatPresenceComposing {
		state = TypingComposing
		if evt.Media == types.ChatPresenceMediaAudio {
			state = TypingRecording
		}
	}
	data, err := json.Marshal(tenant.TypingEvent{ChatID: chat, SenderID: sender, State: string(state)})
	if err != nil {
		return
	}
	a.fleet.live.publish(a.id, tenant.Event{Type: tenant.EventTyping, Timestamp: time.Now().UTC(), Data: data})
}
