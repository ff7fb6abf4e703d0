package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// Errors of votes.
var (
	// ErrNotPoll says that the message is no poll, or one whose secret is not known here: nobody could open a vote on it.
	ErrNotPoll = errors.New("not a poll")
	// ErrUnknownOption says that the poll has no such option.
	ErrUnknownOption = errors.New("the poll has no such option")
	// ErrSingleChoice says that only one of the poll's options may be chosen.
	ErrSingleChoice = errors.New("only one option may be chosen")
)

// SendPoll sends a poll. It goes the way of a text, and returns what [Fleet.SendText] does.
func (f *Fleet) SendPoll(ctx context.Context, id tenant.ID, chat tenant.ChatID, m PollMessage) (msg tenant.Message, err error) {
	defer f.watch.contain("send", &err)
	to, err := f.address(ctx, id, chat, "", 0)
	if err != nil {
		return tenant.Message{}, err
	}
	defer to.pass.end()
	wire := composePoll(&m)
	msg = to.conn.draft(to.chat, tenant.TypePoll, wire)
	msg.Poll = describePoll(wire)
	msg.Text = msg.Poll.Question
	return to.deliver(ctx, msg, wire)
}

// Vote puts our vote on a poll in the place of the one before, or withdraws it if there are no options, at WhatsApp and then here,
// and returns the poll's message as it is now.
//
// Returns [tenant.ErrChatNotFound], [tenant.ErrMessageNotFound], *[OfflineError], ErrDeleted, ErrNotPoll, ErrUnknownOption,
// ErrSingleChoice, *[UncertainError], *[RefusedError] and ErrStopping, in this order.
func (f *Fleet) Vote(ctx context.Context, id tenant.ID, ref MessageRef, options []string) (msg tenant.Message, err error) {
	defer f.watch.contain("vote", &err)
	c, msg, err := f.find(ctx, id, ref)
	switch {
	case err != nil:
		return tenant.Message{}, err
	case msg.DeletedAt != nil:
		return tenant.Message{}, ErrDeleted
	case msg.Poll == nil || len(msg.Poll.Secret) == 0:
		return tenant.Message{}, ErrNotPoll
	}
	chosen, err := choose(msg.Poll, options)
	if err != nil {
		return tenant.Message{}, err
	}
	author, voter := c.voteIDs(ctx, &msg)
	sealed, err := tenant.SealVote(msg.ID, author.String(), voter.String(), msg.Poll.Secret, chosen)
	if err != nil {
		return tenant.Message{}, err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	key := c.key(&msg)
	switch {
	case msg.FromMe: // who it is goes without saying
	case msg.ChatID.IsGroup():
		key.Participant = new(author.String())
	default:
		key.RemoteJID = new(author.String())
	}
	wire := &waE2E.Message{PollUpdateMessage: &waE2E.PollUpdateMessage{
		PollCreationMessageKey: key, Vote: &waE2E.PollEncValue{EncPayload: sealed.Payload, EncIV: sealed.IV},
		SenderTimestampMS: new(now.UnixMilli()),
	}}
	change := tenant.CastVote{ChatID: msg.ChatID, ID: msg.ID, SenderID: msg.SenderID, By: c.me.id, Chosen: chosen, At: now}
	if err = c.revise(ctx, &msg, wire, change); err != nil {
		return tenant.Message{}, err
	}
	return c.reread(ctx, &msg)
}

// choose finds the hashes of options. Returns ErrUnknownOption, ErrSingleChoice.
func choose(poll *tenant.Poll, options []string) ([][]byte, error) {
	var chosen [][]byte
	for i := range poll.Options {
		option := &poll.Options[i]
		if !slices.Contains(options, option.Text) {
			continue
		}
		options = slices.DeleteFunc(slices.Clone(options), func(text string) bool { return text == option.Text })
		hash := option.Hash
		if len(hash) == 0 {
			hash = tenant.HashOption(option.Text)
		}
		chosen = append(chosen, hash)
	}
	switch {
	case len(options) > 0:
		return nil, ErrUnknownOption
	case len(chosen) > 1 && !poll.Multiple:
		return nil, ErrSingleChoice
	}
	return chosen, nil
}

// voteIDs are the ids for which our vote on a poll is sealed: the author's as it was when the poll came, and that of ours which is
// of the same kind, as the other clients have it.
func (c *conn) voteIDs(ctx context.Context, poll *tenant.Message) (author, voter types.JID) {
	mine, hidden := jidOf(c.me.id), jidOf(c.me.id)
	if c.me.lid != "" {
		hidden = jidOf(c.me.lid)
	}
	author, err := types.ParseJID(poll.Poll.Author)
	if err != nil || author.IsEmpty() { // it was made here: whatsmeow notes as whom
		author = hidden
		ctx, cancel := context.WithTimeout(ctx, c.actor.fleet.pace.StoreTimeout)
		defer cancel()
		for _, self := range []types.JID{hidden, mine} {
			secret, as, err := c.cli.Store.MsgSecrets.GetMessageSecret(ctx, jidOf(poll.ChatID), self, types.MessageID(poll.ID))
			if err == nil && len(secret) > 0 && !as.IsEmpty() {
				author = as.ToNonAD()
				break
			}
		}
	}
	if author.Server == types.HiddenUserServer {
		return author, hidden
	}
	return author, mine
}

// countUnopened counts the votes that could not be opened, and were dropped.
func (c *conn) countUnopened(n int) {
	for range n {
		c.actor.fleet.cfg.Metrics.Undecryptable(string(c.actor.id))
	}
	if n > 0 {
		c.log.Warn("votes cannot be opened", "count", n)
	}
}
