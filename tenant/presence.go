package tenant

import "time"

// EventPresence is live only: it is in no journal and has no seq. Data: PresenceEvent.
const EventPresence EventType = "presence"

// PresenceEvent is the data of EventPresence.
type PresenceEvent struct {
	ContactID ChatID     `json:"contactId" doc:"Whom it is about." example:"5511999990001@c.us"`
	State     string     `json:"state" enum:"available,unavailable" doc:"Whether they are there." example:"available"`
	LastSeen  *time.Time `json:"lastSeen,omitempty" doc:"When they were there last, if they let us know."`
}
