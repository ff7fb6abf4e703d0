package session

import (
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// chatID is a JID as a chat id of ours. False for what is no chat of ours: channels, status, broadcast lists, bots, and
// whatever has not the form of an id.
func chatID(jid types.JID) (tenant.ChatID, bool) {
	var id tenant.ChatID
	switch jid.Server {
	case types.DefaultUserServer, types.LegacyUserServer, types.HostedServer:
		id = tenant.PersonID(jid.User)
	case types.HiddenUserServer, types.HostedLIDServer:
		id = tenant.HiddenID(jid.User)
	case types.GroupServer:
		id = tenant.GroupID(jid.User)
	default:
		return "", false
	}
	id, err := tenant.ParseChatID(string(id))
	return id, err == nil
}

// jidOf is a chat id as whatsmeow writes it.
func jidOf(id tenant.ChatID) types.JID {
	switch {
	case id.IsGroup():
		return types.NewJID(id.User(), types.GroupServer)
	case id.IsHidden():
		return types.NewJID(id.User(), types.HiddenUserServer)
	default:
		return types.NewJID(id.User(), types.DefaultUserServer)
	}
}

// link says that two JIDs name the same person, if one is a LID and the other a phone number.
func link(a, b types.JID) (tenant.LinkIDs, bool) {
	one, ok := chatID(a)
	if !ok {
		return tenant.LinkIDs{}, false
	}
	other, ok := chatID(b)
	if !ok {
		return tenant.LinkIDs{}, false
	}
	switch {
	case one.IsHidden() && other.Phone() != "":
		return tenant.LinkIDs{LID: one, Phone: other}, true
	case other.IsHidden() && one.Phone() != "":
		return tenant.LinkIDs{LID: other, Phone: one}, true
	}
	return tenant.LinkIDs{}, false
}
