package phone

import (
	"cmp"
	"context"
	"slices"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// maxOnDemand is the most messages that a phone gives at once, however many are asked for.
const maxOnDemand = 50

// pastMessage is a message of a chat's history.
type pastMessage struct {
	id     string
	fromMe bool
	sender types.JID // of messages of others
	msg    *waE2E.Message
	at     time.Time
	votes  []pastVote // of polls
}

// pastOf is the configured history of a chat, newest first.
func (f people) pastOf(c Chat) []pastMessage {
	past := make([]pastMessage, 0, len(c.Messages))
	for _, m := range c.Messages {
		from := m.From
		if c.Group == "" {
			from = c.Phone
		}
		one := pastMessage{id: m.ID, fromMe: m.FromMe, msg: &waE2E.Message{Conversation: new(m.Text)}, at: m.At}
		if number, err := Number(from); err == nil && !m.FromMe {
			one.sender = f.person(&c, number)
		}
		past = append(past, one)
	}
	newestFirst(past)
	return past
}

func newestFirst(messages []pastMessage) {
	slices.SortStableFunc(messages, func(a, b pastMessage) int { return cmp.Compare(b.at.UnixNano(), a.at.UnixNano()) })
}

// sendOnDemand sends messages of a chat that are older than the given one: of the history that the phone was given, and of what it
// has sent and received since, as far as it remembers. A chat it does not know gets an empty answer.
func (p *Phone) sendOnDemand(ctx context.Context, device uint16, request string, asked *waE2E.PeerDataOperationRequestMessage_HistorySyncOnDemandRequest) error {
	if p.isSilent() {
		return nil
	}
	answer := &waHistorySync.HistorySync{
		SyncType: waHistorySync.HistorySync_ON_DEMAND.Enum(), ChunkOrder: proto.Uint32(1), Progress: proto.Uint32(100),
	}
	jid, err := types.ParseJID(asked.GetChatJID())
	if err == nil && !jid.IsEmpty() {
		conv, err := p.page(ctx, jid, asked)
		if err != nil {
			return err
		}
		if conv != nil {
			answer.Conversations = append(answer.Conversations, conv)
		}
	}
	return p.sendChunk(ctx, device, answer, request)
}

// page is the part of a chat that was asked for; nil if the phone does not know the chat.
func (p *Phone) page(ctx context.Context, jid types.JID, asked *waE2E.PeerDataOperationRequestMessage_HistorySyncOnDemandRequest) (*waHistorySync.Conversation, error) {
	chats := p.history()
	people, err := p.peopleOf(ctx, chats)
	if err != nil {
		return nil, err
	}
	number := p.numberOf(jid)
	at := slices.IndexFunc(chats, func(c Chat) bool {
		if c.Group != "" {
			return c.Group == jid.String()
		}
		pn, lid := people.names(c.numbers()[0])
		return number == pn.User || jid.ToNonAD() == lid
	})
	chat := Chat{Phone: number}
	var past []pastMessage
	if at >= 0 {
		chat = chats[at]
		past = people.pastOf(chat)
	} else if jid.Server == types.GroupServer {
		chat = Chat{Group: jid.String()}
	}
	chat.Unread, chat.ViaLID = 0, jid.Server == types.HiddenUserServer
	if chat.Check() != nil {
		return nil, nil //nolint:nilnil,nilerr // nobody's number, and no group
	}
	past = append(p.since(chat, past), past...)
	if len(past) == 0 {
		return nil, nil //nolint:nilnil // as documented
	}
	newestFirst(past)
	if chat.Group == "" && people[number].IsEmpty() {
		if lid, err := p.cli.Store.LIDs.GetLIDForPN(ctx, types.NewJID(number, types.DefaultUserServer)); err == nil && !lid.IsEmpty() {
			people[number] = lid
		}
	}
	older := olderThan(past, asked)
	give := min(len(older), max(0, min(int(asked.GetOnDemandMsgCount()), maxOnDemand)))
	conv := people.conversation(chat, older[:give])
	conv.UnreadCount = nil // it is of the past
	conv.EndOfHistoryTransfer = new(true)
	conv.EndOfHistoryTransferType = waHistorySync.Conversation_COMPLETE_BUT_MORE_MESSAGES_REMAIN_ON_PRIMARY.Enum()
	if give == len(older) {
		conv.EndOfHistoryTransferType = waHistorySync.Conversation_COMPLETE_AND_NO_MORE_MESSAGE_REMAIN_ON_PRIMARY.Enum()
	}
	return conv, nil
}

// olderThan are the messages behind the one that a companion names; by the time alone, if the phone does not have it.
func olderThan(newestFirst []pastMessage, asked *waE2E.PeerDataOperationRequestMessage_HistorySyncOnDemandRequest) []pastMessage {
	anchor := slices.IndexFunc(newestFirst, func(m pastMessage) bool {
		return m.id == asked.GetOldestMsgID() && m.fromMe == asked.GetOldestMsgFromMe()
	})
	if anchor >= 0 {
		return newestFirst[anchor+1:]
	}
	before := asked.GetOldestMsgTimestampMS() // seconds, in spite of its name
	first := slices.IndexFunc(newestFirst, func(m pastMessage) bool { return m.at.Unix() <= before })
	if first < 0 {
		return nil
	}
	return newestFirst[first:]
}

// since is what the phone remembers of a chat besides its configured past, newest first.
func (p *Phone) since(chat Chat, past []pastMessage) []pastMessage {
	has := make(map[string]bool, len(past))
	for _, m := range past {
		has[m.id] = true
	}
	number := ""
	if chat.Group == "" {
		number = chat.numbers()[0]
	}
	var found []pastMessage
	for _, r := range p.sent.placed() {
		if has[r.id] || chat.Group != "" && r.chat.String() != chat.Group || number != "" && p.numberOf(r.chat) != number {
			continue
		}
		mine := r.from.IsEmpty() || p.isOwn(r.from)
		found = append(found, pastMessage{id: r.id, fromMe: mine, sender: r.from.ToNonAD(), msg: r.msg, at: r.at, votes: r.votes})
	}
	slices.Reverse(found)
	return found
}

// placedMessage is a remembered message of a known chat.
type placedMessage struct {
	remembered

	id types.MessageID
}

// placed are the remembered messages that belong to a chat, oldest first.
func (s *sentMessages) placed() []placedMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []placedMessage
	done := make(map[types.MessageID]bool)
	for _, id := range s.order {
		for _, r := range s.byID[id] {
			// edits, deletions, reactions and votes are no messages of their own
			_, _, shown := textOf(r.msg)
			if shown && !done[id] && r.msg.GetReactionMessage() == nil && r.msg.GetEditedMessage() == nil && r.msg.GetPollUpdateMessage() == nil {
				all = append(all, placedMessage{r, id})
			}
		}
		done[id] = true
	}
	slices.SortStableFunc(all, func(x, y placedMessage) int { return x.at.Compare(y.at) })
	return all
}
