package tenant

// EventHistoryProgress is live only, as EventTyping is. Data: HistoryProgress.
const EventHistoryProgress EventType = "history.progress"

// HistoryProgress is the data of EventHistoryProgress.
type HistoryProgress struct {
	ChatID   ChatID      `json:"chatId,omitempty" doc:"The chat whose history was asked for; absent when the phone sends histories by itself, after pairing." example:"5511999990001@c.us"`
	Sync     HistorySync `json:"sync,omitempty" enum:"bootstrap,recent,full" doc:"Which history the phone sends by itself; absent when one was asked for."`
	Progress *int        `json:"progress,omitempty" minimum:"0" maximum:"100" doc:"How far that history has come, in per cent, as the phone says."`
	Received int         `json:"received" doc:"Messages that the phone has sent: in all for the chat, or in this piece of a history that it sends by itself." example:"100"`
	Limit    int         `json:"limit,omitempty" doc:"How many messages of the chat were asked for, those that were here already among them." example:"500"`
	Done     bool        `json:"done" doc:"Whether this was the last news of it: all came, or the phone has no more, or it could not be fetched; the answer of the request says which."`
}

// HistorySync is a history that a phone sends by itself.
type HistorySync string

// The histories that a phone sends by itself.
const (
	HistoryBootstrap HistorySync = "bootstrap" // the newest messages of each chat
	HistoryRecent    HistorySync = "recent"
	HistoryFull      HistorySync = "full"
)
