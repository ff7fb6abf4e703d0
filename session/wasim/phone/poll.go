package phone

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

// KindVote is an inbox entry of a vote: Target is the poll, Options what was chosen, Text the same in one line. Without options the
// vote was withdrawn.
const KindVote = "vote"

// Poll is a question with answers to choose from.
type Poll struct {
	Question string   `json:"question"`
	Options  []string `json:"options"`
	Multiple bool     `json:"multiple,omitempty"` // more than one may be chosen
}

// SendPoll sends a poll; otherwise as [Phone.SendText].
func (p *Phone) SendPoll(ctx context.Context, to string, poll Poll, opts SendOptions) (string, error) {
	selectable := 1
	if poll.Multiple {
		selectable = 0
	}
	return p.sendPart(ctx, to, opts, p.cli.BuildPollCreation(poll.Question, poll.Options, selectable))
}

// Vote votes on a poll of a chat that the phone remembers; no options withdraw the vote. Nothing here checks the options. It answers
// the id of the vote itself. Errors: ErrUnknownMessage, and as of [Phone.SendText].
func (p *Phone) Vote(ctx context.Context, to, id string, options []string) (string, error) {
	return p.VoteOn(ctx, to, id, "", options)
}

// VoteOn is [Phone.Vote] on the poll of this author, whose number is given: for ids that several members of a group have used.
func (p *Phone) VoteOn(ctx context.Context, to, id, from string, options []string) (string, error) {
	jid, err := p.recipient(ctx, to, SendOptions{})
	if err != nil {
		return "", err
	}
	if from, err = optionalNumber(from); err != nil {
		return "", err
	}
	known, ok := p.find(jid, id, from)
	if !ok || pollOf(known.msg) == nil {
		return "", fmt.Errorf("vote: %w: %s", ErrUnknownMessage, id)
	}
	info := &types.MessageInfo{ID: id, MessageSource: types.MessageSource{
		Chat: known.chat, Sender: known.from.ToNonAD(), IsGroup: jid.Server == types.GroupServer,
	}}
	if known.from.IsEmpty() {
		info.Sender = p.lid
	}
	info.IsFromMe = p.isOwn(info.Sender)
	var msg *waE2E.Message
	err = p.persist(ctx, func(ctx context.Context) (err error) {
		msg, err = p.cli.BuildPollVote(ctx, info, options)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("seal vote: %w", err)
	}
	vote, err := p.send(ctx, jid, outgoing{part: msg})
	if err == nil {
		cast := &waE2E.PollVoteMessage{SelectedOptions: whatsmeow.HashPollOptions(options)}
		p.sent.vote(id, &known, pastVote{id: vote, cast: cast, at: time.Now()})
	}
	return vote, err
}

func pollOf(m *waE2E.Message) *waE2E.PollCreationMessage {
	return cmp.Or(m.GetPollCreationMessage(), m.GetPollCreationMessageV2(), m.GetPollCreationMessageV3())
}

// pollIn puts the poll that a message is into its entry.
func pollIn(entry *Entry, m *waE2E.Message) {
	poll := pollOf(m)
	if poll == nil {
		return
	}
	entry.Text = poll.GetName()
	entry.Poll = &Poll{Question: poll.GetName(), Multiple: poll.GetSelectableOptionsCount() != 1, Options: optionsOf(poll)}
}

func optionsOf(poll *waE2E.PollCreationMessage) []string {
	options := make([]string, 0, len(poll.GetOptions()))
	for _, option := range poll.GetOptions() {
		options = append(options, option.GetOptionName())
	}
	return options
}

// vote is the inbox entry of a vote; one that cannot be opened is undecryptable.
func (p *Phone) vote(e *events.Message) (Entry, bool) {
	update := e.Message.GetPollUpdateMessage()
	if update == nil {
		return Entry{}, false
	}
	entry := p.entryOf(KindVote, e.Info.MessageSource, e.Info.Timestamp, []string{e.Info.ID})
	entry.Target = update.GetPollCreationMessageKey().GetID()
	cast, err := p.openVote(e)
	if err != nil {
		p.cfg.Log.Warn("vote cannot be opened", "error", redactText(err.Error()))
		entry.Kind = KindUndecryptable
		return entry, true
	}
	entry.TargetFrom = p.targetOf(e)
	known, _ := p.find(e.Info.Chat, entry.Target, entry.TargetFrom)
	kept := pastVote{id: e.Info.ID, voter: e.Info.Sender.ToNonAD(), cast: cast, at: e.Info.Timestamp}
	if p.isOwn(kept.voter) {
		kept.voter = types.EmptyJID
	}
	p.sent.vote(entry.Target, &known, kept)
	names := optionsOf(pollOf(known.msg))
	hashes := whatsmeow.HashPollOptions(names)
	for _, chosen := range cast.GetSelectedOptions() {
		for i, hash := range hashes {
			if bytes.Equal(chosen, hash) {
				entry.Options = append(entry.Options, names[i])
			}
		}
	}
	entry.Text = strings.Join(entry.Options, ", ")
	return entry, true
}

// updatesOf are the votes on a poll as a history tells them.
func updatesOf(votes []pastVote, chat types.JID) []*waWeb.PollUpdate {
	var updates []*waWeb.PollUpdate
	for _, v := range votes {
		key := &waCommon.MessageKey{RemoteJID: new(chat.String()), FromMe: new(v.voter.IsEmpty()), ID: new(v.id)}
		if chat.Server == types.GroupServer && !v.voter.IsEmpty() {
			key.Participant = new(v.voter.String())
		}
		updates = append(updates, &waWeb.PollUpdate{PollUpdateMessageKey: key, Vote: v.cast, SenderTimestampMS: new(v.at.UnixMilli())})
	}
	return updates
}

// openVote decrypts a vote. It is sealed for the voter's LID or number, whichever the poll came with, while the stanza may be from
// the other.
func (p *Phone) openVote(e *events.Message) (*waE2E.PollVoteMessage, error) {
	cast, err := p.cli.DecryptPollVote(p.ctx, e)
	if err == nil {
		return cast, nil
	}
	own := p.cli.Store.ID.ToNonAD()
	for _, other := range []types.JID{e.Info.SenderAlt, own, p.lid} {
		if other.IsEmpty() || other != e.Info.SenderAlt && !e.Info.IsFromMe {
			continue
		}
		again := *e
		again.Info.Sender = other
		if cast, otherErr := p.cli.DecryptPollVote(p.ctx, &again); otherErr == nil {
			return cast, nil
		}
	}
	return nil, fmt.Errorf("decrypt vote: %w", err)
}

// keepSecret keeps the secret of a message that whatsmeow does not send itself.
func (p *Phone) keepSecret(ctx context.Context, chat types.JID, id string, m *waE2E.Message) error {
	secret := m.GetMessageContextInfo().GetMessageSecret()
	if len(secret) == 0 {
		return nil
	}
	if err := p.cli.Store.MsgSecrets.PutMessageSecret(ctx, chat, p.cli.Store.ID.ToNonAD(), id, secret); err != nil {
		return fmt.Errorf("keep secret: %w", err)
	}
	return nil
}
