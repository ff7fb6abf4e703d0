package tenant

import (
	"errors"
	"time"
)

// AnswerAge is how long an idempotency key is kept.
const AnswerAge = 24 * time.Hour

// ErrAnswerNotFound says that no request with that idempotency key has stored anything, or that this was more than AnswerAge ago.
var ErrAnswerNotFound = errors.New("idempotency key is unknown")

// ErrKeyTaken says that the idempotency key stands for another message already. Nothing of the commit is stored.
var ErrKeyTaken = errors.New("idempotency key is taken")

// KeepAnswer keeps the message that answers a request under the request's idempotency key. It stands before the message in the
// commit that stores both: so that neither is there without the other. Commit returns ErrKeyTaken if the key stands for another
// message.
type KeepAnswer struct {
	Key    string
	Answer Answer
	// At is when it was asked; zero for now.
	At time.Time
}

// Answer is the message that an idempotency key stands for.
type Answer struct {
	Request   []byte // SHA-256 of the request, to tell it from another under the same key
	ChatID    ChatID
	SenderID  ChatID
	MessageID MessageID
}

func (KeepAnswer) isChange() {}
