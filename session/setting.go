package session

import (
	"time"

	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

// setting translates what another device of the account did to a chat.
//
// A chat stays archived when messages come, as WhatsApp does unless its owner has chosen otherwise; a device that takes a chat out
// of the archive says so. A chat that is deleted or cleared there is deleted or cleared here, up to the message that was its
// last one there; what came later stays. A collection that is fetched in whole tells of deletions of long ago, which are left:
// the chat may have been made anew since.
func setting(evt any) []tenant.Change {
	switch evt := evt.(type) {
	case *events.Pin:
		if id, ok := chatID(evt.JID); ok {
			pinned := evt.Action.GetPinned()
			return []tenant.Change{tenant.PutChat{ID: id, Pinned: &pinned, IfStored: !pinned}}
		}
	case *events.Archive:
		if id, ok := chatID(evt.JID); ok {
			archived := evt.Action.GetArchived()
			return []tenant.Change{tenant.PutChat{ID: id, Archived: &archived, IfStored: !archived}}
		}
	case *events.Mute:
		if id, ok := chatID(evt.JID); ok {
			until := mutedUntil(evt, time.Now())
			return []tenant.Change{tenant.PutChat{ID: id, Muted: &until, IfStored: until.IsZero()}}
		}
	case *events.MarkChatAsRead:
		if id, ok := chatID(evt.JID); ok {
			if !evt.Action.GetRead() {
				return []tenant.Change{tenant.MarkUnread{ChatID: id}}
			}
			until := lastOf(evt.Action.GetMessageRange().GetLastMessageTimestamp(), evt.Timestamp)
			return []tenant.Change{tenant.MarkRead{ChatID: id, Until: until}}
		}
	case *events.DeleteChat:
		if id, ok := chatID(evt.JID); ok && !evt.FromFullSync {
			until := lastOf(evt.Action.GetMessageRange().GetLastMessageTimestamp(), evt.Timestamp)
			return []tenant.Change{tenant.ClearChat{ID: id, Until: until, Drop: true}}
		}
	case *events.ClearChat:
		if id, ok := chatID(evt.JID); ok && !evt.FromFullSync {
			until := lastOf(evt.Action.GetMessageRange().GetLastMessageTimestamp(), evt.Timestamp)
			return []tenant.Change{tenant.ClearChat{ID: id, Until: until}}
		}
	}
	return nil
}

// lastOf is the time of the last message that something is about, in seconds or (newer devices) ms; if it is not told, when it
// was done.
func lastOf(last int64, done time.Time) time.Time {
	switch {
	case last <= 0:
		return done.UTC()
	case last > 1<<33:
		return time.UnixMilli(min(last, 1<<33*1000)).UTC()
	default:
		return unix(uint64(last))
	}
}

// mutedUntil is the end of a mute, or zero. WhatsApp writes a negative time for "always".
func mutedUntil(evt *events.Mute, now time.Time) time.Time {
	until := evt.Action.GetMuteEndTimestamp()
	switch at := time.UnixMilli(min(until, 1<<33*1000)).UTC(); {
	case !evt.Action.GetMuted():
		return time.Time{}
	case until <= 0:
		return tenant.MutedForever()
	case !at.After(now):
		return time.Time{}
	default:
		return at
	}
}
