package session

import (
	"crypto/rand"
	"slices"
	"time"

	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

// Bounds of a poll from outside, in bytes. WhatsApp allows 255 and 100 characters, and twelve options.
const (
	maxPollQuestion   = 4 << 10
	maxPollOption     = 1 << 10
	maxPollOptions    = 64
	maxSealedVote     = 4 << 10
	maxSealedIV       = 32
	maxPastVotes      = 1024 // as many as a group has members
	pollSecretLength  = 32
	singleChoice      = 1
	anyNumberOfChoice = 0
)

// PollMessage is what sending a poll takes.
type PollMessage struct {
	Question string
	Options  []string // distinct
	Multiple bool     // more than one may be chosen
}

// composePoll writes a poll as WhatsApp does.
func composePoll(m *PollMessage) *waE2E.Message {
	secret := make([]byte, pollSecretLength)
	_, _ = rand.Read(secret) // never fails
	selectable := uint32(singleChoice)
	if m.Multiple {
		selectable = anyNumberOfChoice
	}
	poll := &waE2E.PollCreationMessage{Name: new(m.Question), SelectableOptionsCount: &selectable}
	for _, option := range m.Options {
		poll.Options = append(poll.Options, &waE2E.PollCreationMessage_Option{OptionName: new(option)})
	}
	return &waE2E.Message{PollCreationMessage: poll, MessageContextInfo: &waE2E.MessageContextInfo{MessageSecret: secret}}
}

// describePoll is the poll that a message is; nil if it is none.
func describePoll(msg *waE2E.Message) *tenant.Poll {
	wire := pollOf(msg)
	if wire == nil {
		return nil
	}
	poll := &tenant.Poll{
		Question: cut(wire.GetName(), maxPollQuestion), Multiple: wire.GetSelectableOptionsCount() != singleChoice,
		Secret: msg.GetMessageContextInfo().GetMessageSecret(),
	}
	if len(poll.Secret) == 0 { // one version of polls is wrapped once more
		poll.Secret = msg.GetPollCreationMessageV4().GetMessage().GetMessageContextInfo().GetMessageSecret()
	}
	for _, option := range wire.GetOptions() {
		if len(poll.Options) >= maxPollOptions {
			break
		}
		name := option.GetOptionName()
		next := tenant.PollOption{Text: cut(name, maxPollOption)}
		if next.Text != name {
			next.Hash = tenant.HashOption(name) // votes name what its author wrote
		}
		poll.Options = append(poll.Options, next)
	}
	poll.Count()
	return poll
}

// receivedPoll is the poll that was received, or sent by another device of the account.
func receivedPoll(evt *events.Message) *tenant.Poll {
	poll := describePoll(evt.Message)
	if poll != nil {
		poll.Author = evt.Info.Sender.ToNonAD().String()
	}
	return poll
}

// pastPoll completes a poll of a history: that keeps the secret elsewhere, and knows who voted.
func (a account) pastPoll(at source, poll *tenant.Poll, msg *waWeb.WebMessageInfo) {
	if len(poll.Secret) == 0 {
		poll.Secret = msg.GetMessageSecret()
	}
	if at.chat.IsGroup() && at.sender == a.id && a.lid != "" {
		poll.Author = a.lid.WhatsAppID() // the history does not say; groups speak of LIDs
	}
	for _, update := range msg.GetPollUpdates() {
		voter, ok := a.pastVoter(at, update.GetPollUpdateMessageKey())
		if !ok || update.GetVote() == nil || len(poll.Votes) >= maxPastVotes {
			continue
		}
		ms := update.GetSenderTimestampMS()
		if ms == 0 {
			ms = update.GetServerTimestampMS()
		}
		poll.Votes = append(poll.Votes, tenant.PollVote{
			VoterID: voter, Options: poll.Choose(update.GetVote().GetSelectedOptions()),
			Timestamp: time.UnixMilli(min(max(ms, 0), time.Now().UnixMilli())).UTC(), // one of the future would stand for ever
		})
	}
}

// pastVoter is who sent the vote that a key of a history names.
func (a account) pastVoter(at source, key *waCommon.MessageKey) (tenant.ChatID, bool) {
	if key.GetFromMe() {
		return a.id, true
	}
	if !at.chat.IsGroup() {
		return at.chat, true
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

// vote translates a vote. It stays sealed: the store has the poll that opens it, or will have it.
func (a account) vote(evt *events.Message, at source, update *waE2E.PollUpdateMessage) (tenant.Change, bool) {
	key, sealed := update.GetPollCreationMessageKey(), update.GetVote()
	author, ok := a.author(at, key)
	if !ok || len(sealed.GetEncPayload()) > maxSealedVote || len(sealed.GetEncIV()) == 0 || len(sealed.GetEncIV()) > maxSealedIV {
		return nil, false
	}
	voters := a.forms(at.sender, evt.Info.Sender, evt.Info.SenderAlt)
	authors := voters
	if !key.GetFromMe() {
		named := key.GetParticipant()
		if !at.chat.IsGroup() {
			named = key.GetRemoteJID()
		}
		raw, _ := types.ParseJID(named) // none: what else is known of the author must do
		authors = a.forms(author, raw)
	}
	return tenant.CastVote{
		ChatID: at.chat, ID: messageID(key.GetID()), SenderID: author, By: at.sender,
		At:     moment(&evt.Info, update.GetSenderTimestampMS()),
		Sealed: &tenant.SealedVote{Payload: sealed.GetEncPayload(), IV: sealed.GetEncIV(), Authors: authors, Voters: voters},
	}, true
}

// forms are the ids by which WhatsApp may speak of a person, those that were used first.
func (a account) forms(id tenant.ChatID, used ...types.JID) []string {
	var all []string
	add := func(form string) {
		if !slices.Contains(all, form) {
			all = append(all, form)
		}
	}
	for _, jid := range used {
		if _, ok := chatID(jid); ok {
			add(jid.ToNonAD().String())
		}
	}
	add(id.WhatsAppID())
	if a.isMe(id) {
		add(a.id.WhatsAppID())
		if a.lid != "" {
			add(a.lid.WhatsAppID())
		}
	}
	return all
}
