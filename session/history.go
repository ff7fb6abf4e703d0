package session

import (
	"iter"
	"slices"
	"time"

	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

// maxHistoryChanges bounds one commit of a history: live messages of all tenants wait behind it.
const maxHistoryChanges = 200

// parseWeb is whatsmeow's Client.ParseWebMessage.
type parseWeb func(chat types.JID, msg *waWeb.WebMessageInfo) (*events.Message, error)

// history translates what a phone tells of its past, in the order in which it must be stored: who is who, names, chats, and
// their messages from old to new, since that is how those of one second are ordered.
func (a account) history(blob *waHistorySync.HistorySync, parse parseWeb) iter.Seq[tenant.Change] {
	return func(yield func(tenant.Change) bool) {
		for _, pair := range blob.GetPhoneNumberToLidMappings() {
			if l, ok := linkText(pair.GetLidJID(), pair.GetPnJID()); ok && !yield(l) {
				return
			}
		}
		for _, named := range blob.GetPushnames() {
			id, err := tenant.ParseChatID(named.GetID())
			name := named.GetPushname()
			if err != nil || id.IsGroup() || a.isMe(id) || name == "" || name == "-" {
				continue
			}
			if !yield(tenant.PutContact{ID: id, PushName: cleanName(name), Quiet: true}) {
				return
			}
		}
		for conversation := range told(blob) {
			for change := range a.conversation(conversation, parse) {
				if !yield(change) {
					return
				}
			}
		}
	}
}

// told are the conversations of a history. Those of one that was asked for come without their state, which was that of whenever the
// phone looked: what is here is newer.
func told(blob *waHistorySync.HistorySync) iter.Seq[*waHistorySync.Conversation] {
	if blob.GetSyncType() != waHistorySync.HistorySync_ON_DEMAND {
		return slices.Values(blob.GetConversations())
	}
	return func(yield func(*waHistorySync.Conversation) bool) {
		for _, c := range blob.GetConversations() {
			past := &waHistorySync.Conversation{ID: c.ID, Name: c.Name, PnJID: c.PnJID, LidJID: c.LidJID, Messages: c.Messages}
			if len(c.GetMessages()) > 0 && !yield(past) {
				return
			}
		}
	}
}

func linkText(lid, phone string) (tenant.LinkIDs, bool) {
	a, err := tenant.ParseChatID(lid)
	b, err2 := tenant.ParseChatID(phone)
	ok := err == nil && err2 == nil && a.IsHidden() && b.Phone() != ""
	return tenant.LinkIDs{LID: a, Phone: b}, ok
}

// conversation translates one chat of a history.
func (a account) conversation(c *waHistorySync.Conversation, parse parseWeb) iter.Seq[tenant.Change] {
	return func(yield func(tenant.Change) bool) {
		jid, err := types.ParseJID(c.GetID())
		if err != nil {
			return
		}
		id, ok := chatID(jid)
		if !ok {
			return
		}
		for _, change := range describe(id, jid, c) {
			if !yield(change) {
				return
			}
		}
		for _, item := range slices.Backward(c.GetMessages()) { // newest first
			for _, change := range a.past(jid, item.GetMessage(), parse) {
				if !yield(change) {
					return
				}
			}
		}
	}
}

// describe translates what a history says of a chat itself.
func describe(id tenant.ChatID, jid types.JID, c *waHistorySync.Conversation) []tenant.Change {
	var changes []tenant.Change
	for _, other := range []string{c.GetPnJID(), c.GetLidJID()} {
		if alt, err := types.ParseJID(other); err == nil {
			if l, ok := link(jid, alt); ok {
				changes = append(changes, l)
			}
		}
	}
	put := tenant.PutChat{ID: id, Activity: unix(max(c.GetConversationTimestamp(), c.GetLastMsgTimestamp()))}
	if c.UnreadCount != nil {
		unread := int(min(c.GetUnreadCount(), 1<<20))
		put.Unread = &unread
	}
	put.Archived = c.Archived
	if c.Pinned != nil {
		pinned := c.GetPinned() > 0
		put.Pinned = &pinned
	}
	if c.MuteEndTime != nil {
		until := time.Unix(int64(min(c.GetMuteEndTime(), 1<<33)), 0).UTC()
		put.Muted = &until
	}
	name := cleanName(c.GetName())
	if name != "" && id.IsGroup() {
		put.Name = &name
	}
	changes = append(changes, put)
	if name != "" && !id.IsGroup() { // the address book's name is the person's, in whatever chat
		changes = append(changes, tenant.PutContact{ID: id, Name: name, Quiet: true})
	}
	return changes
}

// past translates one message of a history.
func (a account) past(chat types.JID, msg *waWeb.WebMessageInfo, parse parseWeb) []tenant.Change {
	if msg.GetMessage() == nil {
		return nil // a note of WhatsApp's, such as "messages are encrypted"
	}
	evt, err := parse(chat, msg)
	if err != nil {
		return nil
	}
	at, ok := a.place(&evt.Info.MessageSource)
	if !ok {
		return nil
	}
	m, ok := a.record(evt, at)
	if !ok {
		return nil
	}
	if m.FromMe {
		m.Status = statusOf(msg.GetStatus())
	}
	if m.Poll != nil {
		a.pastPoll(at, m.Poll, msg)
	}
	m.Reactions = a.pastReactions(at, msg.GetReactions())
	return append(at.links, tenant.PutMessage{Message: m})
}
