package session

import (
	"time"

	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

// account is whom a session speaks for.
type account struct {
	id  tenant.ChatID // …@c.us
	lid tenant.ChatID // …@lid, or empty
}

// isMe says whether an id names the account itself.
func (a account) isMe(id tenant.ChatID) bool { return id == a.id || a.lid != "" && id == a.lid }

// source is where a message belongs, as we write it.
type source struct {
	chat, sender tenant.ChatID
	links        []tenant.Change // what the stanza tells about who is who
}

// place says where a message belongs. False if it is in no chat of ours.
func (a account) place(info *types.MessageSource) (source, bool) {
	var s source
	var ok bool
	chat := info.Chat
	if info.IsIncomingBroadcast() {
		chat = info.Sender.ToNonAD() // it is shown in the chat with whoever sent it
	}
	if s.chat, ok = chatID(chat); !ok {
		return source{}, false
	}
	if info.IsFromMe {
		s.sender = a.id
	} else if s.sender, ok = chatID(info.Sender); !ok {
		return source{}, false
	}
	if l, known := link(info.Sender, info.SenderAlt); known {
		s.links = append(s.links, l)
	}
	if l, known := link(info.Chat, info.RecipientAlt); known {
		s.links = append(s.links, l)
	}
	return s, true
}

// message translates a message that was received, or sent by another device of the account. No changes: there is nothing to
// store. Changes are in the order in which they must be made.
func (a account) message(evt *events.Message) []tenant.Change {
	at, ok := a.place(&evt.Info.MessageSource)
	if !ok {
		return nil
	}
	changes := at.links
	if r, revises := a.revision(evt, at); revises {
		changes = append(changes, r)
	} else if m, stored := a.record(evt, at); stored {
		changes = append(changes, tenant.PutMessage{Message: m, Live: true})
	}
	if name, has := pushName(&evt.Info); has {
		changes = append(changes, tenant.PutContact{ID: at.sender, PushName: name})
	}
	return changes
}

// record is the message as it is stored. False if there is nothing to store.
func (a account) record(evt *events.Message, at source) (tenant.Message, bool) {
	c := read(evt.Message)
	if c.kind == "" || evt.Info.ID == "" {
		return tenant.Message{}, false
	}
	m := a.bare(&evt.Info, at)
	c.fill(&m)
	switch {
	case c.kind == tenant.TypeUnsupported:
		m.Payload = encode(evt.RawMessage)
	case c.media != nil:
		m.Payload = filePayload(evt.Message)
	case c.kind == tenant.TypePoll:
		m.Poll = receivedPoll(evt)
	}
	return m, true
}

// bare is a message without its content.
func (a account) bare(info *types.MessageInfo, at source) tenant.Message {
	m := tenant.Message{
		ID:        messageID(info.ID),
		ChatID:    at.chat,
		SenderID:  at.sender,
		FromMe:    info.IsFromMe,
		Timestamp: sane(info.Timestamp),
		Type:      tenant.TypeUnsupported,
		Status:    tenant.StatusReceived,
	}
	if m.FromMe {
		m.Status = tenant.StatusSent
	} else if name, has := pushName(info); has {
		m.SenderName = name
	}
	return m
}

// placeholder stands for a message whose content cannot be read, until it can.
func (a account) placeholder(info *types.MessageInfo, payload []byte) []tenant.Change {
	at, ok := a.place(&info.MessageSource)
	if !ok || info.ID == "" {
		return nil
	}
	m := a.bare(info, at)
	m.Payload = payload
	return append(at.links, tenant.PutMessage{Message: m, Live: true})
}

// undecryptable translates a message that arrived and could not be decrypted. WhatsApp marks those that nobody would miss
// (reactions, edits).
func (a account) undecryptable(evt *events.UndecryptableMessage) []tenant.Change {
	if evt.DecryptFailMode == events.DecryptFailHide || evt.Info.Category == categoryPeer {
		return nil
	}
	return a.placeholder(&evt.Info, nil)
}

// categoryPeer marks messages between the devices of one account.
const categoryPeer = "peer"

// maxNameLength bounds names from outside, in bytes. WhatsApp allows 25 characters for a push name, 100 for a subject.
const maxNameLength = 1024

func cleanName(name string) string {
	if len(name) > maxNameLength {
		name = name[:maxNameLength]
	}
	return tenant.CleanText(name)
}

// pushName is the name a sender gave themselves. "-" is what WhatsApp writes for none.
func pushName(info *types.MessageInfo) (string, bool) {
	if info.IsFromMe || info.PushName == "" || info.PushName == "-" {
		return "", false
	}
	return cleanName(info.PushName), true
}

// receipt translates a receipt: of others for our messages, or of our other devices for messages that we read there.
func (a account) receipt(evt *events.Receipt) []tenant.Change {
	chat := evt.Chat
	if evt.IsIncomingBroadcast() {
		chat = evt.Sender.ToNonAD()
	}
	id, ok := chatID(chat)
	if !ok {
		return nil
	}
	var changes []tenant.Change
	if l, known := link(evt.Sender, evt.SenderAlt); known {
		changes = append(changes, l)
	}
	if l, known := link(evt.Chat, evt.RecipientAlt); known {
		changes = append(changes, l)
	}
	if evt.IsFromMe {
		if evt.Type == types.ReceiptTypeRead || evt.Type == types.ReceiptTypeReadSelf {
			// Up to the moment of reading: what is newer may have come before this.
			return append(changes, tenant.MarkRead{ChatID: id, Until: evt.Timestamp})
		}
		return nil // our other devices got what we sent, or played what we have
	}
	var s tenant.Status
	switch evt.Type {
	case types.ReceiptTypeDelivered:
		s = tenant.StatusDelivered
	case types.ReceiptTypeRead:
		s = tenant.StatusRead
	case types.ReceiptTypePlayed:
		s = tenant.StatusPlayed
	case types.ReceiptTypeInactive: // a companion in the background has it, which WhatsApp does not show either
		return nil
	case types.ReceiptTypeSender, types.ReceiptTypeRetry, types.ReceiptTypeReadSelf, types.ReceiptTypePlayedSelf,
		types.ReceiptTypeServerError, types.ReceiptTypePeerMsg, types.ReceiptTypeHistorySync:
		return nil
	default:
		return nil
	}
	ids := make([]tenant.MessageID, 0, len(evt.MessageIDs))
	for _, raw := range evt.MessageIDs {
		ids = append(ids, messageID(raw))
	}
	if len(ids) == 0 {
		return nil
	}
	return append(changes, tenant.SetStatus{ChatID: id, MessageIDs: ids, Status: s})
}

// statusOf is the status of a message of ours in a history.
func statusOf(s waWeb.WebMessageInfo_Status) tenant.Status {
	switch s {
	case waWeb.WebMessageInfo_DELIVERY_ACK:
		return tenant.StatusDelivered
	case waWeb.WebMessageInfo_READ:
		return tenant.StatusRead
	case waWeb.WebMessageInfo_PLAYED:
		return tenant.StatusPlayed
	case waWeb.WebMessageInfo_ERROR, waWeb.WebMessageInfo_PENDING, waWeb.WebMessageInfo_SERVER_ACK:
		return tenant.StatusSent // the phone has them and sends what is left; they are not ours to send again
	}
	return tenant.StatusSent
}

// latest is the year 2242, in WhatsApp's seconds: what lies beyond is no time, and past the year 9999 cannot even be shown.
const latest = 1 << 33

// sane is a message's time, or its arrival if that is none.
func sane(t time.Time) time.Time {
	if s := t.Unix(); s < 0 || s > latest {
		return time.Now().UTC().Truncate(time.Second)
	}
	return t.UTC()
}

// unix is a time in WhatsApp's seconds; zero for what is none.
func unix(seconds uint64) time.Time {
	if seconds == 0 || seconds > latest {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}
