package phone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/proto/waSyncAction"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

// ChatState is how a chat or a person stands in the account's settings, whichever of its devices has set it.
type ChatState struct {
	Chat       string     `json:"chat"`           // number, or the group's id
	Name       string     `json:"name,omitempty"` // in the address book
	Archived   bool       `json:"archived"`
	Pinned     bool       `json:"pinned"`
	Muted      bool       `json:"muted"`
	MutedUntil *time.Time `json:"mutedUntil,omitempty"` // without it a mute has no end
	Unread     bool       `json:"unread"`               // marked as unread
	Changes    int        `json:"changes"`              // how often something was set
}

// ChatPatch is what a phone's owner does to a chat. Members that are not set change nothing.
type ChatPatch struct {
	Archived *bool
	Pinned   *bool
	Muted    *Mute
	Read     *bool
	Clear    bool // the messages
	Delete   bool // the chat
	ViaLID   bool // the chat is named by the person's LID, else by the number
}

// Mute is until when a chat is muted. Zero: it is not.
type Mute struct {
	Until   time.Time
	Forever bool
}

// chatStates is what the phone knows of the account's settings.
type chatStates struct {
	turn chan struct{} // buffered 1: held while something is set

	mu      sync.Mutex
	byChat  map[string]ChatState
	changed chan struct{}
}

func newChatStates() *chatStates {
	return &chatStates{turn: make(chan struct{}, 1), byChat: make(map[string]ChatState), changed: make(chan struct{})}
}

func (s *chatStates) set(chat string, change func(*ChatState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.byChat[chat]
	state.Chat = chat
	state.Changes++
	change(&state)
	s.byChat[chat] = state
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *chatStates) all() ([]ChatState, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Collect(maps.Values(s.byChat))
	slices.SortFunc(list, func(a, b ChatState) int { return cmp.Compare(a.Chat, b.Chat) })
	return list, s.changed
}

// Chats answers the chats and people of which the account's settings say something.
func (p *Phone) Chats() []ChatState {
	list, _ := p.chats.all()
	return list
}

// WaitChat waits until a chat (a number in digits, or a group's id) stands as match wants. Errors: ErrClosed, or why ctx ended.
func (p *Phone) WaitChat(ctx context.Context, chat string, match func(ChatState) bool) (ChatState, error) {
	for {
		list, changed := p.chats.all()
		i := slices.IndexFunc(list, func(s ChatState) bool { return s.Chat == chat && match(s) })
		if i >= 0 {
			return list[i], nil
		}
		select {
		case <-changed:
		case <-p.ctx.Done():
			return ChatState{}, p.endErr()
		case <-ctx.Done():
			return ChatState{}, context.Cause(ctx)
		}
	}
}

// handleSetting notes what a device of the account has set.
func (p *Phone) handleSetting(evt any) {
	set := func(jid types.JID, change func(*ChatState)) { p.chats.set(p.numberOf(jid), change) }
	switch e := evt.(type) {
	case *events.Archive:
		set(e.JID, func(s *ChatState) { s.Archived = e.Action.GetArchived() })
	case *events.Pin:
		set(e.JID, func(s *ChatState) { s.Pinned = e.Action.GetPinned() })
	case *events.Mute:
		set(e.JID, func(s *ChatState) {
			s.Muted, s.MutedUntil = e.Action.GetMuted(), nil
			if end := e.Action.GetMuteEndTimestamp(); s.Muted && end > 0 {
				s.MutedUntil = new(time.UnixMilli(end).UTC())
			}
		})
	case *events.MarkChatAsRead:
		set(e.JID, func(s *ChatState) { s.Unread = !e.Action.GetRead() })
	case *events.Contact:
		set(e.JID, func(s *ChatState) { s.Name = e.Action.GetFullName() })
	}
}

// chatJID is a chat as the settings name it: a person by the number, or by the LID.
func (p *Phone) chatJID(ctx context.Context, chat string, viaLID bool) (types.JID, error) {
	jid, err := p.chat(chat)
	if err == nil && viaLID && jid.Server == types.DefaultUserServer {
		return p.lidOf(ctx, jid)
	}
	return jid, err
}

// ChangeChat sets something of a chat (a number, or a group's id) in the account's settings. Errors: ErrBadNumber, ErrUnknownUser,
// ErrClosed, ErrUnlinked, or why ctx ended.
func (p *Phone) ChangeChat(ctx context.Context, chat string, change ChatPatch) error {
	jid, err := p.chatJID(ctx, chat, change.ViaLID)
	if err != nil {
		return err
	}
	var patches []appstate.PatchInfo
	if change.Archived != nil {
		patches = append(patches, appstate.BuildArchive(jid, *change.Archived, time.Time{}, nil))
	}
	if change.Pinned != nil {
		patches = append(patches, appstate.BuildPin(jid, *change.Pinned))
	}
	if m := change.Muted; m != nil {
		var end *int64
		if !m.Forever && !m.Until.IsZero() {
			end = new(m.Until.UnixMilli())
		}
		patches = append(patches, appstate.BuildMuteAbs(jid, m.Forever || end != nil, end))
	}
	if change.Read != nil {
		patches = append(patches, appstate.BuildMarkChatAsRead(jid, *change.Read, time.Time{}, nil))
	}
	if change.Clear {
		patches = append(patches, clearing(jid))
	}
	if change.Delete {
		patches = append(patches, appstate.BuildDeleteChat(jid, time.Time{}, nil, true))
	}
	for _, patch := range patches {
		if err = p.setState(ctx, patch); err != nil {
			return err
		}
	}
	return nil
}

func clearing(jid types.JID) appstate.PatchInfo {
	return appstate.PatchInfo{Type: appstate.WAPatchRegularHigh, Mutations: []appstate.MutationInfo{{
		Index: []string{appstate.IndexClearChat, jid.String(), "1", "0"}, Version: 6,
		Value: &waSyncAction.SyncActionValue{ClearChatAction: &waSyncAction.ClearChatAction{
			MessageRange: &waSyncAction.SyncActionMessageRange{LastMessageTimestamp: new(time.Now().Unix())},
		}},
	}}}
}

// NameContact puts a person into the phone's address book. Errors as of [Phone.ChangeChat].
func (p *Phone) NameContact(ctx context.Context, person, name string) error {
	jid, err := p.chatJID(ctx, person, false)
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(name, " ")
	return p.setState(ctx, appstate.PatchInfo{Type: appstate.WAPatchCriticalUnblockLow, Mutations: []appstate.MutationInfo{{
		Index: []string{appstate.IndexContact, jid.String()}, Version: 2,
		Value: &waSyncAction.SyncActionValue{ContactAction: &waSyncAction.ContactAction{
			FullName: &name, FirstName: &first, SaveOnPrimaryAddressbook: new(true),
		}},
	}}})
}

// Rename tells the account's companions another push name. Errors as of [Phone.ChangeChat].
func (p *Phone) Rename(ctx context.Context, name string) error {
	return p.setState(ctx, appstate.BuildSettingPushName(name))
}

// setState writes a patch. Other devices may be faster: then it is made again over theirs.
func (p *Phone) setState(ctx context.Context, patch appstate.PatchInfo) error {
	const tries = 10
	select {
	case p.chats.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-p.chats.turn }()
	var err error
	for range tries {
		err = p.persist(ctx, func(ctx context.Context) error {
			if err := p.cli.FetchAppState(ctx, patch.Type, false, false); err != nil {
				return err
			}
			return p.cli.SendAppState(ctx, patch)
		})
		if !errors.Is(err, whatsmeow.ErrAppStateUpdate) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("set %s: %w", patch.Type, err)
	}
	return nil
}
