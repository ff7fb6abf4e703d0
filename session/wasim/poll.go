package wasim

// maxPollOptions bounds the polls of phones: more than WhatsApp's clients offer, so that others can be tried with them.
const maxPollOptions = 100

// vote is the part of a send that is a vote. Without options the vote is withdrawn.
type vote struct {
	ID      string   `json:"id"`
	From    string   `json:"from"`
	Options []string `json:"options"`
}
