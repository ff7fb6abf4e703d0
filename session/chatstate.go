package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// ChatChange is what is to change of a chat. Nil members stay as they are.
type ChatChange struct {
	Archived *bool // an archived chat is no longer pinned, so both at once make no sense
	Pinned   *bool
	// MutedUntil is when a mute ends; zero: not muted. From the year 2100 on it is for ever, as [tenant.MutedForever].
	MutedUntil *time.Time
}

// foreverFrom is the year from which on a mute has no end.
const foreverFrom = 2100

// PartlyError says that some of what was asked for was done, and the rest not, because of Err.
type PartlyError struct {
	Done, Left []string
	Err        error
}

// Error is for logs.
func (e *PartlyError) Error() string {
	return fmt.Sprintf("done: %s; not done: %s: %v", strings.Join(e.Done, ", "), strings.Join(e.Left, ", "), e.Err)
}

// Unwrap is why the rest was not done.
func (e *PartlyError) Unwrap() error { return e.Err }

// ChangeChat archives, pins or mutes a chat, at WhatsApp and then here, and returns the chat as it is now.
//
// Returns [tenant.ErrChatNotFound], *[OfflineError], [tenant.ErrUnavailable] while the phone has not shared the key to the
// account's settings, *[UncertainError], *[RefusedError], ErrStopping, and *[PartlyError] around one of them.
func (f *Fleet) ChangeChat(ctx context.Context, id tenant.ID, chat tenant.ChatID, change ChatChange) (now tenant.Chat, err error) {
	defer f.watch.contain("change_chat", &err)
	h := f.cfg.Store.Tenant(id)
	stored, err := h.Chat(ctx, chat)
	if err != nil {
		return tenant.Chat{}, fmt.Errorf("find chat: %w", err)
	}
	if change.Pinned != nil && *change.Pinned && change.Archived == nil && stored.Archived {
		change.Archived = new(false) // WhatsApp's apps pin no chat that is archived
	}
	c, err := f.reach(ctx, id)
	if err != nil {
		return tenant.Chat{}, err
	}
	answers := make(chan error, 1)                 // buffered: it goes on if the caller has left
	started := c.sends.run("change_chat", func() { //nolint:contextcheck // it goes on when its caller leaves
		err := ErrPanicked
		defer func() { answers <- err }()
		err = c.changeChat(&stored, &change)
	})
	if !started {
		return tenant.Chat{}, c.offline()
	}
	select {
	case err = <-answers:
	case <-ctx.Done():
		err = &UncertainError{Err: context.Cause(ctx)}
	}
	if err != nil {
		return tenant.Chat{}, err
	}
	if now, err = f.Fresh(h).Chat(ctx, stored.ID); err != nil {
		return tenant.Chat{}, fmt.Errorf("read chat: %w", err)
	}
	return now, nil
}

// chatPatch is what changes in one collection, and what is stored then.
type chatPatch struct {
	names []string // of the members of the API
	patch appstate.PatchInfo
	put   tenant.PutChat
}

func (c *conn) changeChat(chat *tenant.Chat, change *ChatChange) error {
	ctx, cancel := context.WithTimeout(c.ctx, c.actor.fleet.pace.SendTimeout)
	defer cancel()
	target, err := c.address(ctx, chat.ID)
	if err != nil {
		return err
	}
	patches := c.chatPatches(chat, target, change)
	var done []string
	for i, p := range patches {
		err = c.sendState(ctx, p.patch, func() error {
			// The actor's life, not the connection's: WhatsApp has it, so it is stored even if the connection ends now.
			return retryStore(c.actor.life, c.actor.fleet.pace.StoreTimeout, func(ctx context.Context) error {
				_, err := c.actor.handle.Commit(ctx, p.put)
				return err
			})
		})
		if err != nil {
			c.log.Warn("chat not changed", "collection", string(p.patch.Type), "error", redact(err.Error()))
			if err = c.stateError(err); len(done) == 0 {
				return err
			}
			var left []string
			for _, p := range patches[i:] {
				left = append(left, p.names...)
			}
			return &PartlyError{Done: done, Left: left, Err: err}
		}
		done = append(done, p.names...)
	}
	return nil
}

// chatPatches are the changes of the collections that a change of a chat needs.
func (c *conn) chatPatches(chat *tenant.Chat, target types.JID, change *ChatChange) []chatPatch {
	var patches []chatPatch
	low := chatPatch{put: tenant.PutChat{ID: chat.ID}}
	if change.Archived != nil {
		low.names = append(low.names, "archived")
		last, key := c.lastMessage(chat, target)
		low.patch = appstate.BuildArchive(target, *change.Archived, last, key)
		low.put.Archived = change.Archived
		if *change.Archived { // which BuildArchive says, too
			low.put.Pinned = new(false)
		}
	}
	if change.Pinned != nil {
		low.names = append(low.names, "pinned")
		if low.put.Pinned == nil {
			pin := appstate.BuildPin(target, *change.Pinned)
			pin.Mutations = append(low.patch.Mutations, pin.Mutations...)
			low.patch, low.put.Pinned = pin, change.Pinned
		}
	}
	if len(low.names) > 0 {
		patches = append(patches, low)
	}
	if change.MutedUntil != nil {
		until := change.MutedUntil.UTC().Truncate(time.Millisecond)
		var end *int64
		switch {
		case until.IsZero():
		case until.Year() >= foreverFrom:
			until = tenant.MutedForever() // no time: WhatsApp's mark for it
		default:
			end = new(until.UnixMilli())
		}
		patches = append(patches, chatPatch{
			names: []string{"mutedUntil"}, patch: appstate.BuildMuteAbs(target, !until.IsZero(), end),
			put: tenant.PutChat{ID: chat.ID, Muted: &until},
		})
	}
	return patches
}

// lastMessage names the newest message of a chat to WhatsApp; nothing, if there is none.
func (c *conn) lastMessage(chat *tenant.Chat, target types.JID) (time.Time, *waCommon.MessageKey) {
	m := chat.LastMessage
	if m == nil {
		return time.Time{}, nil
	}
	key := c.key(m)
	key.RemoteJID = new(target.String())
	return m.Timestamp, key
}

// stateError is what a caller is told of an error of the app state.
func (c *conn) stateError(err error) error {
	if _, refused := errors.AsType[*RefusedError](err); refused {
		return err
	}
	switch {
	case errors.Is(err, tenant.ErrUnavailable):
		return err
	case errors.Is(err, errStateConflict):
		return &RefusedError{Code: 409}
	case errors.Is(err, whatsmeow.ErrNotConnected): // nothing has gone out
		return c.offline()
	}
	if iq, ok := errors.AsType[*whatsmeow.IQError](err); ok && iq.Code >= 400 && iq.Code < 500 {
		return &RefusedError{Code: iq.Code}
	}
	return &UncertainError{Err: err}
}
