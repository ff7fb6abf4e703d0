package tenant

import "math"

// Location is a place that somebody sent, as the API shows it.
type Location struct {
	Latitude  float64 `json:"latitude" minimum:"-90" maximum:"90" doc:"In degrees, north of the equator." example:"-23.561414"`
	Longitude float64 `json:"longitude" minimum:"-180" maximum:"180" doc:"In degrees, east of Greenwich." example:"-46.655881"`
	Name      string  `json:"name,omitempty" doc:"What the place is called." example:"MASP"`
	Address   string  `json:"address,omitempty" doc:"Where the place is, in words." example:"Av. Paulista 1578, São Paulo"`
	Live      bool    `json:"live,omitempty" doc:"True when its sender shares where they are for a while; this is where they were at first."`
}

// OnEarth says whether the location is one: its numbers are degrees.
func (l *Location) OnEarth() bool {
	// What is no number compares to nothing.
	return math.Abs(l.Latitude) <= 90 && math.Abs(l.Longitude) <= 180
}

// ContactCard is a person whose address somebody sent, as the API shows it.
type ContactCard struct {
	Name   string   `json:"name" doc:"What the person is called." example:"João"`
	VCard  string   `json:"vcard,omitempty" doc:"The card (vCard, RFC 2426), as its sender gave it; absent when it is too large." example:"BEGIN:VCARD\nVERSION:3.0\nFN:João\nTEL;waid=5511999990003:+5511999990003\nEND:VCARD"`
	Phones []string `json:"phones,omitempty" doc:"The card's phone numbers: in digits, as WhatsApp knows them, where the card says so; else as they are written." example:"5511999990003"`
}

// MediaQuery asks for the messages of a chat that are files.
type MediaQuery struct {
	Limit  int
	Cursor string      // opaque, made by [Message.Cursor]; empty for the newest
	Type   MessageType // empty: all types
}
