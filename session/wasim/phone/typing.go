package phone

import (
	"context"
	"time"

	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

// KindTyping is the kind of an inbox entry that says that somebody types; Text is composing, recording or paused.
const KindTyping = "typing"

// recording is what the inbox and [Phone.Typing] call the composing of a voice message.
const recording = "recording"

// Typing shows a number or a group that this phone's owner is composing, recording, or paused. Nothing acknowledges it. Errors as of
// [Phone.SendText].
func (p *Phone) Typing(ctx context.Context, to, state string) error {
	jid, err := p.recipient(ctx, to, SendOptions{ViaLID: true})
	if err != nil {
		return err
	}
	presence, media := types.ChatPresence(state), types.ChatPresenceMediaText
	if state == recording {
		presence, media = types.ChatPresenceComposing, types.ChatPresenceMediaAudio
	}
	return p.persist(ctx, func(ctx context.Context) error { return p.cli.SendChatPresence(ctx, jid, presence, media) })
}

func (p *Phone) handleTyping(e *events.ChatPresence) {
	entry := p.entryOf(KindTyping, e.MessageSource, time.Now(), []string{})
	entry.Text = string(e.State)
	if e.State == types.ChatPresenceComposing && e.Media == types.ChatPresenceMediaAudio {
		entry.Text = recording
	}
	p.inbox.add(entry)
}
