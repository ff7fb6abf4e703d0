package phone

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"
)

// sentMessages remembers the latest messages, sent and received: for retries, quotes and companions that missed one. An id is
// its sender's own: several members of a group may use the same one.
type sentMessages struct {
	name func(types.JID) string // the same for all ids of a user or group

	mu    sync.Mutex
	byID  map[types.MessageID][]remembered // oldest first
	order []types.MessageID
}

type remembered struct {
	msg  *waE2E.Message
	from types.JID // empty: this phone
	chat types.JID
	at   time.Time

	fromName, chatName string

	votes []pastVote // of polls, one of each voter
}

// pastVote is a vote as a history tells it. The phone opens each vote when it comes, and need not do so again.
type pastVote struct {
	id    types.MessageID
	voter types.JID // empty: this phone
	cast  *waE2E.PollVoteMessage
	at    time.Time

	name string // of the voter
}

// vote keeps a vote with its poll, in the place of the voter's earlier one.
func (s *sentMessages) vote(id types.MessageID, poll *remembered, v pastVote) {
	if !v.voter.IsEmpty() {
		v.name = s.name(v.voter)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.byID[id] {
		r := &s.byID[id][i]
		if r.chatName != poll.chatName || r.fromName != poll.fromName {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(r.votes), func(old pastVote) bool { return old.name == v.name })
		r.votes = append(others, v)
	}
}

// rememberedMessages is four times what whatsmeow keeps for retries by itself.
const rememberedMessages = 1024

func newSentMessages(name func(types.JID) string) *sentMessages {
	return &sentMessages{name: name, byID: make(map[types.MessageID][]remembered)}
}

func (s *sentMessages) put(id types.MessageID, r remembered) {
	r.chatName = s.name(r.chat)
	if !r.from.IsEmpty() {
		r.fromName = s.name(r.from)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, known := range s.byID[id] {
		if known.chatName == r.chatName && known.fromName == r.fromName {
			r.votes = known.votes
			s.byID[id][i] = r
			return
		}
	}
	if len(s.order) >= rememberedMessages {
		oldest := s.order[0]
		s.order = s.order[1:]
		if s.byID[oldest] = s.byID[oldest][1:]; len(s.byID[oldest]) == 0 {
			delete(s.byID, oldest)
		}
	}
	s.order = append(s.order, id)
	s.byID[id] = append(s.byID[id], r)
}

// all answers what is remembered under an id.
func (s *sentMessages) all(id types.MessageID) []remembered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]remembered(nil), s.byID[id]...)
}

// get answers the latest message with an id, whoever sent it and wherever.
func (s *sentMessages) get(id types.MessageID) (remembered, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.byID[id]
	if len(list) == 0 {
		return remembered{}, false
	}
	return list[len(list)-1], true
}

func (s *sentMessages) keep(chat types.JID, id types.MessageID, msg *waE2E.Message) {
	s.put(id, remembered{msg: msg, chat: chat, at: time.Now()})
}

func (s *sentMessages) remember(e *events.Message) {
	s.put(e.Info.ID, remembered{msg: e.Message, from: e.Info.Sender, chat: e.Info.Chat, at: e.Info.Timestamp})
}

// forRetry is whatsmeow's question for a message that somebody could not decrypt. Messages of others are never given away.
func (s *sentMessages) forRetry(_, chat types.JID, id types.MessageID) *waE2E.Message {
	name := s.name(chat)
	for _, r := range s.all(id) {
		if r.from.IsEmpty() && r.chatName == name {
			return proto.CloneOf(r.msg)
		}
	}
	return nil
}

// find answers the latest message with an id in a chat, or else in any; with a number only of this author, "" is anybody.
func (p *Phone) find(chat types.JID, id types.MessageID, number string) (found remembered, ok bool) {
	name := p.numberOf(chat)
	for _, r := range p.sent.all(id) {
		own := r.from.IsEmpty() || p.isOwn(r.from)
		if number != "" && r.fromName != number && (!own || number != p.cfg.Phone) {
			continue
		}
		if !ok || r.chatName == name || found.chatName != name {
			found, ok = r, true
		}
	}
	return found, ok
}

// author answers who sent a message of a chat, as those in the chat know that user, and the message if the phone remembers it. With a
// number it is that user's; without one, a message that is not remembered is the other side's, or in a group nobody's: empty.
func (p *Phone) author(ctx context.Context, chat types.JID, id, number string) (types.JID, *waE2E.Message, error) {
	number, err := optionalNumber(number)
	if err != nil {
		return types.EmptyJID, nil, err
	}
	known, ok := p.find(chat, id, number)
	switch {
	case ok && (known.from.IsEmpty() || p.isOwn(known.from)):
		return p.lid, known.msg, nil
	case ok:
		return known.from.ToNonAD(), known.msg, nil
	case number != "":
		lid, err := p.lidOfNumber(ctx, number)
		return lid, nil, err
	case chat.Server == types.GroupServer:
		return types.EmptyJID, nil, nil
	default:
		return chat, nil, nil
	}
}

func optionalNumber(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	return Number(s)
}
