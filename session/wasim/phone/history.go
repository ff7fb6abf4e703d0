package phone

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// Chat is a chat of the history that a phone gives to its companions: with a person, or a group.
type Chat struct {
	Phone  string `json:"phone,omitempty"` // of the other person
	Group  string `json:"group,omitempty"` // …@g.us, in place of a person's number
	Name   string `json:"name,omitempty"`
	Unread int    `json:"unread,omitempty"`
	ViaLID bool   `json:"viaLid,omitempty"` // people are known by the LID, with the number beside it; else the other way round
	// Recent is how many of the messages, the newest, a companion is given at pairing; the others come when it asks. 0: all.
	Recent   int           `json:"recent,omitempty"`
	Messages []ChatMessage `json:"messages,omitempty"`
}

// ChatMessage is one message of a [Chat].
type ChatMessage struct {
	ID     string    `json:"id"`
	FromMe bool      `json:"fromMe,omitempty"`
	From   string    `json:"from,omitempty"` // number of the sender, in groups
	Text   string    `json:"text"`
	At     time.Time `json:"at"`
}

// Check says what is wrong with a chat. Errors: ErrBadNumber, ErrBadGroup.
func (c *Chat) Check() error {
	if c.Group == "" {
		_, err := Number(c.Phone)
		return err
	}
	jid, err := types.ParseJID(c.Group)
	if err != nil || jid.Server != types.GroupServer || jid.User == "" || strings.Trim(jid.User, "0123456789-") != "" || c.Phone != "" {
		return ErrBadGroup
	}
	for _, m := range c.Messages {
		if m.FromMe {
			continue
		}
		if _, err = Number(m.From); err != nil {
			return fmt.Errorf("sender of %s: %w", m.ID, err)
		}
	}
	return nil
}

// numbers are those of all people of a chat that has been checked.
func (c *Chat) numbers() []string {
	if c.Group == "" {
		number, _ := Number(c.Phone)
		return []string{number}
	}
	var all []string
	for _, m := range c.Messages {
		if number, err := Number(m.From); err == nil && !m.FromMe && !slices.Contains(all, number) {
			all = append(all, number)
		}
	}
	return all
}

// DefaultHistory is a small history that ends shortly before now.
func DefaultHistory(now time.Time) []Chat {
	now = now.Truncate(time.Second)
	at := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	return []Chat{
		{Phone: "15550100001", Name: "Ada", Unread: 1, Messages: []ChatMessage{
			{ID: "HIST0000000000000001", Text: "Are we still on for Thursday?", At: at(180)},
			{ID: "HIST0000000000000002", FromMe: true, Text: "Yes, at ten.", At: at(175)},
			{ID: "HIST0000000000000003", Text: "See you there.", At: at(60)},
		}},
		{Phone: "15550100002", Name: "Grace", Messages: []ChatMessage{
			{ID: "HIST0000000000000004", FromMe: true, Text: "The parcel has arrived.", At: at(1500)},
			{ID: "HIST0000000000000005", Text: "Thank you!", At: at(1490)},
		}},
	}
}

// bootstrapMessages is how many messages of a chat come with the first chunk; the rest follows.
const bootstrapMessages = 2

// SetHistory replaces what the next companion is given. Messages of a chat may be in any order.
func (p *Phone) SetHistory(chats []Chat) error {
	for _, c := range chats {
		if err := c.Check(); err != nil {
			return fmt.Errorf("history: %w", err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cfg.History = slices.Clone(chats)
	return nil
}

func (p *Phone) history() []Chat {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.cfg.History)
}

// sendHistory sends the chunks a phone sends after pairing: chats with their newest messages, names, then the rest.
func (p *Phone) sendHistory(ctx context.Context, device uint16) error {
	chats := p.history()
	people, err := p.peopleOf(ctx, chats)
	if err != nil {
		return err
	}
	bootstrap := &waHistorySync.HistorySync{
		SyncType:                 waHistorySync.HistorySync_INITIAL_BOOTSTRAP.Enum(),
		ChunkOrder:               proto.Uint32(1),
		Progress:                 proto.Uint32(100),
		PhoneNumberToLidMappings: people.mappings(p),
	}
	names := &waHistorySync.HistorySync{
		SyncType:  waHistorySync.HistorySync_PUSH_NAME.Enum(),
		Pushnames: []*waHistorySync.Pushname{{ID: new(p.companionPN(0).String()), Pushname: new(p.Name())}},
	}
	recent := &waHistorySync.HistorySync{
		SyncType: waHistorySync.HistorySync_RECENT.Enum(), ChunkOrder: proto.Uint32(1), Progress: proto.Uint32(100),
	}
	for _, c := range chats {
		newest := people.pastOf(c)
		if c.Recent > 0 {
			newest = newest[:min(len(newest), c.Recent)]
		}
		cut := min(bootstrapMessages, len(newest))
		bootstrap.Conversations = append(bootstrap.Conversations, people.conversation(c, newest[:cut]))
		if cut < len(newest) {
			recent.Conversations = append(recent.Conversations, people.conversation(c, newest[cut:]))
		}
		if c.Name != "" && c.Group == "" {
			names.Pushnames = append(names.Pushnames, &waHistorySync.Pushname{
				ID: new(people.idOf(c).String()), Pushname: new(c.Name),
			})
		}
	}
	for _, chunk := range []*waHistorySync.HistorySync{bootstrap, names, recent} {
		if err := p.sendChunk(ctx, device, chunk, ""); err != nil {
			return err
		}
	}
	return nil
}

// sendChunk sends a piece of history: small ones inside the message, as phones do, others as a file.
func (p *Phone) sendChunk(ctx context.Context, device uint16, chunk *waHistorySync.HistorySync, request string) error {
	raw, err := proto.Marshal(chunk)
	if err != nil {
		return fmt.Errorf("marshal history: %w", err)
	}
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	if _, err = w.Write(raw); err != nil {
		return fmt.Errorf("pack history: %w", err)
	}
	if err = w.Close(); err != nil {
		return fmt.Errorf("pack history: %w", err)
	}
	notice := &waE2E.HistorySyncNotification{
		SyncType:   waE2E.HistorySyncType(chunk.GetSyncType()).Enum(),
		ChunkOrder: chunk.ChunkOrder,
		Progress:   chunk.Progress,
	}
	if request != "" {
		notice.PeerDataRequestSessionID = new(request)
	}
	if t := chunk.GetSyncType(); t == waHistorySync.HistorySync_RECENT || t == waHistorySync.HistorySync_ON_DEMAND {
		if err = p.upload(ctx, notice, packed.Bytes()); err != nil {
			return err
		}
	} else {
		notice.InitialHistBootstrapInlinePayload = packed.Bytes()
	}
	err = p.sendPeer(ctx, device, &waE2E.ProtocolMessage{
		Type:                    waE2E.ProtocolMessage_HISTORY_SYNC_NOTIFICATION.Enum(),
		HistorySyncNotification: notice,
	})
	if err != nil {
		return fmt.Errorf("send history: %w", err)
	}
	return nil
}

func (p *Phone) upload(ctx context.Context, notice *waE2E.HistorySyncNotification, data []byte) error {
	var up whatsmeow.UploadResponse
	err := p.persist(ctx, func(ctx context.Context) (err error) {
		up, err = p.cli.Upload(ctx, data, whatsmeow.MediaHistory)
		return err
	})
	if err != nil {
		return fmt.Errorf("upload history: %w", err)
	}
	notice.FileSHA256, notice.FileEncSHA256, notice.MediaKey = up.FileSHA256, up.FileEncSHA256, up.MediaKey
	notice.DirectPath, notice.FileLength = new(up.DirectPath), new(up.FileLength)
	if up.Handle != "" {
		notice.EncHandle = new(up.Handle)
	}
	return nil
}

// people are the LIDs of those in a history, by number, as far as the server knows them.
type people map[string]types.JID

func (p *Phone) peopleOf(ctx context.Context, chats []Chat) (people, error) {
	var numbers []types.JID
	for _, c := range chats {
		if err := c.Check(); err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		for _, number := range c.numbers() {
			numbers = append(numbers, types.NewJID(number, types.DefaultUserServer))
		}
	}
	found := make(people)
	for part := range slices.Chunk(numbers, 200) {
		err := p.persist(ctx, func(ctx context.Context) error {
			info, err := p.cli.GetUserInfo(ctx, part)
			for pn, user := range info {
				if !user.LID.IsEmpty() {
					found[pn.User] = user.LID
				}
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("look people of the history up: %w", err)
		}
	}
	return found, nil
}

// names are the two ids of a person, who may have but the first.
func (f people) names(number string) (pn, lid types.JID) {
	return types.NewJID(number, types.DefaultUserServer), f[number]
}

// person is the id under which a chat knows a person.
func (f people) person(c *Chat, number string) types.JID {
	pn, lid := f.names(number)
	if c.ViaLID && !lid.IsEmpty() {
		return lid
	}
	return pn
}

// idOf is the id of a chat.
func (f people) idOf(c Chat) types.JID {
	if c.Group != "" {
		group, _ := types.ParseJID(c.Group) // checked before
		return group
	}
	return f.person(&c, c.numbers()[0])
}

func (f people) mappings(p *Phone) []*waHistorySync.PhoneNumberToLIDMapping {
	pairs := []*waHistorySync.PhoneNumberToLIDMapping{
		{PnJID: new(p.companionPN(0).String()), LidJID: new(p.lid.String())},
	}
	for number, lid := range f {
		pn := types.NewJID(number, types.DefaultUserServer)
		pairs = append(pairs, &waHistorySync.PhoneNumberToLIDMapping{PnJID: new(pn.String()), LidJID: new(lid.String())})
	}
	return pairs
}

// conversation is a chat with messages, newest first.
func (f people) conversation(c Chat, messages []pastMessage) *waHistorySync.Conversation {
	id := f.idOf(c)
	conv := &waHistorySync.Conversation{
		ID:          new(id.String()),
		UnreadCount: new(uint32(max(0, c.Unread))), //nolint:gosec // not negative
	}
	if c.Group == "" {
		pn, lid := f.names(c.numbers()[0])
		conv.PnJID = new(pn.String())
		if !lid.IsEmpty() {
			conv.LidJID = new(lid.String())
		}
	}
	if c.Name != "" {
		conv.Name = new(c.Name)
	}
	for i, m := range messages {
		key := &waCommon.MessageKey{RemoteJID: new(id.String()), FromMe: new(m.fromMe), ID: new(m.id)}
		if c.Group != "" && !m.fromMe {
			key.Participant = new(m.sender.String())
		}
		conv.Messages = append(conv.Messages, &waHistorySync.HistorySyncMsg{
			MsgOrderID: new(uint64(len(messages) - i)), //nolint:gosec // positive
			Message: &waWeb.WebMessageInfo{
				Key: key, Message: m.msg, MessageTimestamp: new(unix(m.at)), PollUpdates: updatesOf(m.votes, id),
			},
		})
	}
	if len(messages) > 0 {
		conv.ConversationTimestamp = new(unix(messages[0].at))
		conv.LastMsgTimestamp = new(unix(messages[0].at))
	}
	return conv
}
