package tenant

import (
	"crypto/sha256"
	"slices"
	"time"
)

// Bounds of a poll that is made here; WhatsApp's own.
const (
	MinPollOptions    = 2
	MaxPollOptions    = 12
	MaxPollQuestion   = 255 // characters
	MaxPollOptionText = 100 // characters
)

// Poll is a message's question with its tally, as the API shows it.
type Poll struct {
	Question string       `json:"question" doc:"What is asked." example:"When do we meet?"`
	Options  []PollOption `json:"options" nullable:"false" doc:"The answers to choose from, with their votes."`
	Multiple bool         `json:"multiple" doc:"Whether more than one option may be chosen."`

	// Secret is the key with which votes are sealed. It is never shown.
	Secret []byte `json:"-"`
	// Author is the sender as WhatsApp addressed them when the poll came (a JID): votes are sealed for that form of the id. Empty
	// if the poll was made here.
	Author string `json:"-"`
	// Votes are what people chose, one each, those who withdrew included. A PutMessage may bring those that a history tells of;
	// the tally of the options follows from them.
	Votes []PollVote `json:"-"`
}

// PollOption is one of a poll's answers.
type PollOption struct {
	Text   string   `json:"text" doc:"The answer." example:"Thursday"`
	Votes  int      `json:"votes" doc:"How many chose it." example:"1"`
	Voters []ChatID `json:"voters" nullable:"false" doc:"Who chose it, in the order of their first votes." example:"5511999990001@c.us"`

	// Hash is what a vote names the option by: [HashOption] of the text as its author wrote it. Empty: of Text.
	Hash []byte `json:"-"`
}

// PollVote is what one person chose.
type PollVote struct {
	VoterID ChatID
	// Options are the places of the chosen options in the poll, ascending. None: withdrawn.
	Options   []int
	Timestamp time.Time
}

// HashOption is what a vote names an option by.
func HashOption(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// Choose finds the options that a vote names by their hashes. What the poll does not have is left out, and so is all but the
// first where only one may be chosen.
func (p *Poll) Choose(hashes [][]byte) []int {
	var chosen []int
	for i := range p.Options {
		hash := p.Options[i].Hash
		if len(hash) == 0 {
			hash = HashOption(p.Options[i].Text)
		}
		if slices.ContainsFunc(hashes, func(h []byte) bool { return string(h) == string(hash) }) {
			chosen = append(chosen, i)
		}
	}
	if !p.Multiple && len(chosen) > 1 {
		chosen = chosen[:1]
	}
	return chosen
}

// Count makes the tally of the options from the votes.
func (p *Poll) Count() {
	for i := range p.Options {
		p.Options[i].Votes, p.Options[i].Voters = 0, []ChatID{}
	}
	for _, vote := range p.Votes {
		for _, i := range vote.Options {
			if i >= 0 && i < len(p.Options) {
				option := &p.Options[i]
				option.Votes++
				option.Voters = append(option.Voters, vote.VoterID)
			}
		}
	}
}

// CastVote puts By's vote on a poll in the place of the one before, or withdraws it, and journals poll.vote. Of two the later
// counts, in whatever order they come. A vote that comes before its poll is kept as it is and opened when the poll comes. One that
// the poll's secret does not open is dropped, see [Result.Unopened].
type CastVote struct {
	ChatID   ChatID
	ID       MessageID // of the poll
	SenderID ChatID    // of the poll
	By       ChatID
	// Chosen are the hashes of the options, see [HashOption]; none: withdrawn. Unused if the vote is sealed.
	Chosen [][]byte
	Sealed *SealedVote
	At     time.Time
}

func (CastVote) isChange() {}

// EventPollVote tells of a vote. Data: PollVoted.
const EventPollVote EventType = "poll.vote"

// PollVoted is the data of EventPollVote.
type PollVoted struct {
	ChatID    ChatID    `json:"chatId" doc:"The chat." example:"120363000000000001@g.us"`
	MessageID MessageID `json:"messageId" doc:"The poll." example:"3EB0C767D097B7C7C8F5"`
	SenderID  ChatID    `json:"senderId" doc:"Who sent the poll." example:"5511999990002@c.us"`
	VoterID   ChatID    `json:"voterId" doc:"Who voted." example:"5511999990001@c.us"`
	Options   []string  `json:"options" nullable:"false" doc:"All that they have chosen now; empty when they withdrew."`
	Timestamp time.Time `json:"timestamp" doc:"When they voted."`
}
