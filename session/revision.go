package session

import (
	"time"

	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

// maxEmojiLength bounds a reaction from outside, in bytes: an emoji of a family with skin tones has about 40.
const maxEmojiLength = 128

// maxSkew is how far a sender's clock may be from WhatsApp's before WhatsApp's is taken, which knows only seconds.
const maxSkew = 5 * time.Minute

// revision translates what a message does to another: edits, deletions, reactions, votes. False if it does nothing to another.
func (a account) revision(evt *events.Message, at source) (tenant.Change, bool) {
	if change := evt.Message.GetProtocolMessage(); change != nil {
		switch change.GetType() { //nolint:exhaustive // the others are not about messages
		case waE2E.ProtocolMessage_REVOKE:
			return a.revocation(evt, at, change.GetKey())
		case waE2E.ProtocolMessage_MESSAGE_EDIT:
			return edition(evt, at, change)
		}
		return nil, false
	}
	if r := evt.Message.GetReactionMessage(); r != nil {
		return a.reaction(evt, at, r)
	}
	if update := evt.Message.GetPollUpdateMessage(); update != nil {
		return a.vote(evt, at, update)
	}
	return nil, false
}

func (a account) revocation(evt *events.Message, at source, key *waCommon.MessageKey) (tenant.Change, bool) {
	author, ok := a.author(at, key)
	if !ok || author != at.sender && !at.chat.IsGroup() {
		return nil, false
	}
	return tenant.RevokeMessage{
		ChatID: at.chat, ID: messageID(key.GetID()), SenderID: author, By: at.sender, At: evt.Info.Timestamp.UTC(),
	}, true
}

// edition translates an edit. Whatever its key says, people edit their own messages.
func edition(evt *events.Message, at source, change *waE2E.ProtocolMessage) (tenant.Change, bool) {
	text := (&events.Message{RawMessage: change.GetEditedMessage()}).UnwrapRaw().Message
	c := read(text)
	if c.kind == "" || c.kind == tenant.TypeUnsupported || change.GetKey().GetID() == "" {
		return nil, false
	}
	return tenant.EditMessage{
		ChatID: at.chat, ID: messageID(change.GetKey().GetID()), SenderID: at.sender, Text: c.text, Mentions: c.mentions,
		At: moment(&evt.Info, change.GetTimestampMS()),
	}, true
}

func (a account) reaction(evt *events.Message, at source, r *waE2E.ReactionMessage) (tenant.Change, bool) {
	author, ok := a.author(at, r.GetKey())
	if !ok || len(r.GetText()) > maxEmojiLength {
		return nil, false
	}
	return tenant.React{
		ChatID: at.chat, ID: messageID(r.GetKey().GetID()), SenderID: author, By: at.sender, Emoji: tenant.CleanText(r.GetText()),
		At: moment(&evt.Info, r.GetSenderTimestampMS()),
	}, true
}

// author is who sent the message that a key names. The key is written from the sender's point of view.
func (a account) author(at source, key *waCommon.MessageKey) (tenant.ChatID, bool) {
	switch {
	case key.GetID() == "":
		return "", false
	case key.GetFromMe():
		return at.sender, true
	case !at.chat.IsGroup():
		if a.isMe(at.sender) {
			return at.chat, true
		}
		return a.id, true
	}
	jid, err := types.ParseJID(key.GetParticipant())
	if err != nil {
		return "", false
	}
	id, ok := chatID(jid)
	if a.isMe(id) {
		id = a.id
	}
	return id, ok
}

// moment is when something was done, by the sender's clock, which alone orders what happens within a second.
func moment(info *types.MessageInfo, ms int64) time.Time {
	at := time.UnixMilli(ms).UTC()
	if skew := at.Sub(info.Timestamp); skew < -maxSkew || skew > maxSkew {
		return info.Timestamp.UTC()
	}
	return at
}

// maxReactions bounds the reactions that a history may bring with one message: as many as a group has members.
const maxReactions = 1024

// pastReactions are the reactions to a message of a history. Their keys name who reacted.
func (a account) pastReactions(at source, past []*waWeb.Reaction) []tenant.Reaction {
	var all []tenant.Reaction
	met := make(map[tenant.ChatID]bool, len(past))
	for _, r := range past {
		by, ok := a.id, true
		if key := r.GetKey(); !key.GetFromMe() {
			by = at.chat
			if at.chat.IsGroup() {
				jid, err := types.ParseJID(key.GetParticipant())
				if by, ok = chatID(jid); err != nil {
					ok = false
				}
			}
		}
		if a.isMe(by) {
			by = a.id
		}
		emoji := tenant.CleanText(r.GetText())
		if !ok || emoji == "" || len(emoji) > maxEmojiLength || met[by] || len(all) >= maxReactions {
			continue
		}
		met[by] = true
		all = append(all, tenant.Reaction{SenderID: by, Emoji: emoji, Timestamp: time.UnixMilli(max(0, r.GetSenderTimestampMS())).UTC()})
	}
	return all
}
