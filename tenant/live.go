package tenant

// EventTyping is live only: it is in no journal and has no seq. Data: TypingEvent.
const EventTyping EventType = "typing"

// TypingEvent is the data of EventTyping.
type TypingEvent struct {
	ChatID   ChatID `json:"chatId" doc:"Where somebody types." example:"5511999990001@c.us"`
	SenderID ChatID `json:"senderId" doc:"Who types." example:"5511999990001@c.us"`
	State    string `json:"state" enum:"composing,recording,paused" doc:"What they are doing." example:"composing"`
}
