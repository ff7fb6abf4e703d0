package tenantsql

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

const (
	updatePoll = `
		UPDATE message SET poll=$5, poll_hidden=$6
		WHERE tenant_id=$1 AND chat_id=$2 AND message_id=$3 AND sender_id=$4`

	selectHiddenVotes = `
		SELECT ` + messageColumns + `, m.payload FROM message m WHERE m.tenant_id=$1 AND m.poll_hidden AND m.poll LIKE $2`
)

// maxVoters bounds the votes on one poll, those that were withdrawn included: as many as a group has members.
const maxVoters = 1024

// pollColumn is the column of a poll, as JSON. The tally is not stored: it follows from the votes.
type pollColumn struct {
	Question string         `json:"question"`
	Options  []optionColumn `json:"options"`
	Multiple bool           `json:"multiple,omitempty"`
	Opener   []byte         `json:"opener,omitempty"` // the secret that opens votes
	Author   string         `json:"author,omitempty"`
	Votes    []voteColumn   `json:"votes,omitempty"`
}

type optionColumn struct {
	Text string `json:"text"`
	Hash []byte `json:"hash,omitempty"` // only if it is not that of the text
}

// voteColumn has short names: there may be a thousand.
type voteColumn struct {
	By      tenant.ChatID `json:"b"`
	At      int64         `json:"a"`
	Options []int         `json:"o,omitempty"`
}

func encodePoll(p *tenant.Poll) (text string, hidden bool, err error) {
	if p == nil {
		return "", false, nil
	}
	c := pollColumn{Question: p.Question, Multiple: p.Multiple, Opener: p.Secret, Author: p.Author}
	for i := range p.Options {
		c.Options = append(c.Options, optionColumn{Text: p.Options[i].Text, Hash: p.Options[i].Hash})
	}
	for _, vote := range p.Votes {
		c.Votes = append(c.Votes, voteColumn{vote.VoterID, vote.Timestamp.UnixMilli(), vote.Options})
		hidden = hidden || vote.VoterID.IsHidden()
	}
	encoded, err := json.Marshal(c)
	return string(encoded), hidden, err
}

func decodePoll(column string) (*tenant.Poll, error) {
	if column == "" {
		return nil, nil //nolint:nilnil // most messages are no polls
	}
	var c pollColumn
	if err := json.Unmarshal([]byte(column), &c); err != nil {
		return nil, fmt.Errorf("decode poll: %w", err)
	}
	p := &tenant.Poll{Question: c.Question, Multiple: c.Multiple, Secret: c.Opener, Author: c.Author}
	p.Options = make([]tenant.PollOption, len(c.Options))
	for i, option := range c.Options {
		p.Options[i].Text, p.Options[i].Hash = option.Text, option.Hash
	}
	for _, vote := range c.Votes {
		p.Votes = append(p.Votes, tenant.PollVote{VoterID: vote.By, Options: vote.Options, Timestamp: time.UnixMilli(vote.At).UTC()})
	}
	p.Count()
	return p, nil
}

// cleanPoll makes a poll storable, with its voters under canonical ids.
func (b *batch) cleanPoll(ctx context.Context, id tenant.ID, p *tenant.Poll) (*tenant.Poll, error) {
	if p == nil {
		return nil, nil //nolint:nilnil // most messages are no polls
	}
	clean := *p
	clean.Question, clean.Author = tenant.CleanText(p.Question), tenant.CleanText(p.Author)
	clean.Options = append([]tenant.PollOption{}, p.Options...) // as they are read: never null
	for i := range clean.Options {
		option := &clean.Options[i]
		if text := tenant.CleanText(option.Text); text != option.Text {
			if len(option.Hash) == 0 {
				option.Hash = tenant.HashOption(option.Text)
			}
			option.Text = text
		}
	}
	clean.Votes = nil
	for _, vote := range p.Votes {
		voter, err := b.resolve(ctx, id, cleanID(vote.VoterID))
		if err != nil {
			return nil, err
		}
		vote.VoterID, vote.Timestamp = voter, time.UnixMilli(vote.Timestamp.UnixMilli()).UTC()
		clean.Votes, _ = putVote(clean.Votes, vote)
	}
	clean.Count()
	return &clean, nil
}

// putVote puts a vote in the place of the same person's. False if that one is later, or the same.
func putVote(votes []tenant.PollVote, next tenant.PollVote) ([]tenant.PollVote, bool) {
	i := slices.IndexFunc(votes, func(one tenant.PollVote) bool { return one.VoterID == next.VoterID })
	if i < 0 {
		if len(votes) >= maxVoters {
			return votes, false
		}
		return append(votes, next), true
	}
	old := votes[i]
	if next.Timestamp.Before(old.Timestamp) || slices.Equal(next.Options, old.Options) && !next.Timestamp.After(old.Timestamp) {
		return votes, false
	}
	votes = slices.Clone(votes)
	votes[i] = next
	return votes, true
}

// storePoll writes a message's poll with its votes.
func (b *batch) storePoll(ctx context.Context, id tenant.ID, m *tenant.Message) error {
	text, hidden, err := encodePoll(m.Poll)
	if err != nil {
		return err
	}
	if _, err = b.exec(ctx, id, updatePoll, string(m.ChatID), string(m.ID), string(m.SenderID), text, hidden); err != nil {
		return fmt.Errorf("write poll: %w", err)
	}
	return nil
}

// ballot is a vote while it waits for its poll, in the column body.
type ballot struct {
	Chosen [][]byte           `json:"chosen,omitempty"`
	Sealed *tenant.SealedVote `json:"sealed,omitempty"`
}

func ballotOf(c *tenant.CastVote) (string, error) {
	encoded, err := json.Marshal(ballot{c.Chosen, c.Sealed})
	return string(encoded), err
}

// vote applies a vote to a message that is there.
func (b *batch) vote(ctx context.Context, id tenant.ID, m *tenant.Message, e *early) (bool, error) {
	if m.Poll == nil {
		return false, nil
	}
	var cast ballot
	if err := json.Unmarshal([]byte(e.body), &cast); err != nil {
		return false, fmt.Errorf("decode vote: %w", err)
	}
	if cast.Sealed != nil {
		opened, err := b.openVote(ctx, id, m, e, &cast)
		if err != nil {
			return false, err
		}
		if !opened {
			b.unopened++
			return false, nil
		}
	}
	next := tenant.PollVote{VoterID: e.by, Options: m.Poll.Choose(cast.Chosen), Timestamp: e.at}
	stood := slices.ContainsFunc(m.Poll.Votes, func(one tenant.PollVote) bool { return one.VoterID == e.by && len(one.Options) > 0 })
	votes, changed := putVote(m.Poll.Votes, next)
	if !changed {
		return false, nil
	}
	m.Poll.Votes = votes
	m.Poll.Count()
	if err := b.storePoll(ctx, id, m); err != nil {
		return false, err
	}
	if len(next.Options) == 0 && !stood { // withdrawn before it came: nobody saw it
		return false, nil
	}
	told := tenant.PollVoted{
		ChatID: m.ChatID, MessageID: m.ID, SenderID: m.SenderID, VoterID: e.by, Options: []string{}, Timestamp: e.at,
	}
	for _, i := range next.Options {
		told.Options = append(told.Options, m.Poll.Options[i].Text)
	}
	return true, b.emit(ctx, id, tenant.EventPollVote, told)
}

// openVote decrypts a vote in place. False if nothing that is known of the poll and the two people opens it.
func (b *batch) openVote(ctx context.Context, id tenant.ID, m *tenant.Message, e *early, cast *ballot) (ok bool, err error) {
	authors, err := b.idForms(ctx, id, m.SenderID)
	if err != nil {
		return false, err
	}
	voters, err := b.idForms(ctx, id, e.by)
	if err != nil {
		return false, err
	}
	cast.Chosen, ok = cast.Sealed.Open(m.ID, m.Poll.Secret, append(authors, m.Poll.Author), voters)
	return ok, nil
}

// idForms are the ids by which WhatsApp may speak of a person.
func (b *batch) idForms(ctx context.Context, id tenant.ID, person tenant.ChatID) ([]string, error) {
	forms := []string{person.WhatsAppID()}
	if person.Phone() == "" {
		return forms, nil
	}
	lid, err := b.lidOf(ctx, id, person)
	if err != nil || lid == "" {
		return forms, err
	}
	return append(forms, lid.WhatsAppID()), nil
}

// mergeVotes adds the votes of one record of a poll to another. It returns whether there were new ones.
func mergeVotes(to, from *tenant.Poll) bool {
	if to == nil || from == nil || len(to.Options) != len(from.Options) {
		return false
	}
	changed := false
	for _, vote := range from.Votes {
		next, newer := putVote(to.Votes, vote)
		to.Votes, changed = next, changed || newer
	}
	if changed {
		to.Count()
	}
	return changed
}

// messageKey names a message beside its id.
type messageKey struct{ chat, sender tenant.ChatID }

// linkVotes gives a person's phone number to the votes that came under the LID.
func (b *batch) linkVotes(ctx context.Context, id tenant.ID, lid tenant.ChatID) error {
	rows, err := ask(ctx, b, scanMessageRow, selectHiddenVotes, string(id), "%"+string(lid)+"%")
	if err != nil {
		return fmt.Errorf("find votes of lid: %w", err)
	}
	for _, row := range rows {
		poll := row.message.Poll
		votes := poll.Votes
		poll.Votes = nil
		for _, vote := range votes {
			if vote.VoterID, err = b.resolve(ctx, id, vote.VoterID); err != nil {
				return err
			}
			poll.Votes, _ = putVote(poll.Votes, vote)
		}
		if err = b.storePoll(ctx, id, &row.message); err != nil {
			return err
		}
	}
	return nil
}
