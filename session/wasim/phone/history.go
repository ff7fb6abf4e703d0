package phone

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"fmt"
	"slices"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// Chat is a chat of the history that a phone gives to its companions.
type Chat struct {
	Phone    string        `json:"phone"` // of the other person
	Name     string        `json:"name,omitempty"`
	Unread   int           `json:"unread,omitempty"`
	ViaLID   bool          `json:"viaLid,omitempty"` // known by the LID, with the number beside it; else the other way round
	Messages []ChatMessage `json:"messages,omitempty"`
}

// ChatMessage is one message of a [Chat].
type ChatMessage struct {
	ID     string    `json:"id"`
	FromMe bool      `json:"fromMe,omitempty"`
	Text   string    `json:"text"`
	At     time.Time `json:"at"`
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
		if _, err := Number(c.Phone); err != nil {
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
		Pushnames: []*waHistorySync.Pushname{{ID: new(p.companionPN(0).String()), Pushname: new(p.cfg.Name)}},
	}
	recent := &waHistorySync.HistorySync{
		SyncType: waHistorySync.HistorySync_RECENT.Enum(), ChunkOrder: proto.Uint32(1), Progress: proto.Uint32(100),
	}
	for _, c := range chats {
		newest := newestFirst(c.Messages)
		cut := min(bootstrapMessages, len(newest))
		bootstrap.Conversations = append(bootstrap.Conversations, people.conversation(c, newest[:cut]))
		if cut < len(newest) {
			recent.Conversations = append(recent.Conversations, people.conversation(c, newest[cut:]))
		}
		if c.Name != "" {
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

// sendOnDemand sends the messages of a chat that are older than the given one. A chat the phone does not know gets an
// empty answer.
func (p *Phone) sendOnDemand(ctx context.Context, device uint16, request string, asked *waE2E.PeerDataOperationRequestMessage_HistorySyncOnDemandRequest) error {
	chats := p.history()
	people, err := p.peopleOf(ctx, chats)
	if err != nil {
		return err
	}
	answer := &waHistorySync.HistorySync{
		SyncType: waHistorySync.HistorySync_ON_DEMAND.Enum(), ChunkOrder: proto.Uint32(1), Progress: proto.Uint32(100),
	}
	jid, _ := types.ParseJID(asked.GetChatJID()) // an unknown chat if it cannot be read
	for _, c := range chats {
		pn, lid := people.names(c)
		if jid.IsEmpty() || jid.User != pn.User && jid.User != lid.User {
			continue
		}
		before := asked.GetOldestMsgTimestampMS() // seconds, in spite of its name
		older := slices.DeleteFunc(newestFirst(c.Messages), func(m ChatMessage) bool {
			return m.ID == asked.GetOldestMsgID() || m.At.Unix() > before
		})
		older = older[:min(len(older), max(0, int(asked.GetOnDemandMsgCount())))]
		answer.Conversations = append(answer.Conversations, people.conversation(c, older))
	}
	return p.sendChunk(ctx, device, answer, request)
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
	if chunk.GetSyncType() == waHistorySync.HistorySync_RECENT {
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

func newestFirst(messages []ChatMessage) []ChatMessage {
	sorted := slices.Clone(messages)
	slices.SortStableFunc(sorted, func(a, b ChatMessage) int { return cmp.Compare(b.At.UnixNano(), a.At.UnixNano()) })
	return sorted
}

// people are the LIDs of those in a history, by number, as far as the server knows them.
type people map[string]types.JID

func (p *Phone) peopleOf(ctx context.Context, chats []Chat) (people, error) {
	var numbers []types.JID
	for _, c := range chats {
		number, err := Number(c.Phone)
		if err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		numbers = append(numbers, types.NewJID(number, types.DefaultUserServer))
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

func (f people) names(c Chat) (pn, lid types.JID) {
	number, _ := Number(c.Phone) // checked before
	return types.NewJID(number, types.DefaultUserServer), f[number]
}

func (f people) idOf(c Chat) types.JID {
	pn, lid := f.names(c)
	if c.ViaLID && !lid.IsEmpty() {
		return lid
	}
	return pn
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

func (f people) conversation(c Chat, messages []ChatMessage) *waHistorySync.Conversation {
	pn, lid := f.names(c)
	id := f.idOf(c)
	conv := &waHistorySync.Conversation{
		ID:          new(id.String()),
		PnJID:       new(pn.String()),
		UnreadCount: new(uint32(max(0, c.Unread))), //nolint:gosec // not negative
	}
	if !lid.IsEmpty() {
		conv.LidJID = new(lid.String())
	}
	if c.Name != "" {
		conv.Name = new(c.Name)
	}
	for i, m := range messages {
		conv.Messages = append(conv.Messages, &waHistorySync.HistorySyncMsg{
			MsgOrderID: new(uint64(len(messages) - i)), //nolint:gosec // positive
			Message: &waWeb.WebMessageInfo{
				Key:              &waCommon.MessageKey{RemoteJID: new(id.String()), FromMe: new(m.FromMe), ID: new(m.ID)},
				Message:          &waE2E.Message{Conversation: new(m.Text)},
				MessageTimestamp: new(unix(m.At)),
			},
		})
	}
	if len(messages) > 0 {
		conv.ConversationTimestamp = new(unix(messages[0].At))
		conv.LastMsgTimestamp = new(unix(messages[0].At))
	}
	return conv
}
