package tenant

import (
	"fmt"
	"time"
)

// Usage is what a tenant used: on a day, or over several.
type Usage struct {
	MessagesIn    int64 `json:"messagesIn" doc:"Messages that others sent to the account, as they happened: not those of a history." example:"120"`
	MessagesOut   int64 `json:"messagesOut" doc:"Messages from the account, also those that its phone sent." example:"80"`
	MediaBytesIn  int64 `json:"mediaBytesIn" doc:"Bytes of files that the node fetched from WhatsApp for the tenant." example:"1048576"`
	MediaBytesOut int64 `json:"mediaBytesOut" doc:"Bytes of files that the node sent to WhatsApp for the tenant." example:"524288"`
	APICalls      int64 `json:"apiCalls" doc:"Requests of the tenant's keys, whatever was answered." example:"960"`
}

// Add adds.
func (u *Usage) Add(v Usage) {
	u.MessagesIn += v.MessagesIn
	u.MessagesOut += v.MessagesOut
	u.MediaBytesIn += v.MediaBytesIn
	u.MediaBytesOut += v.MediaBytesOut
	u.APICalls += v.APICalls
}

// Date is a day in UTC, as 2026-11-29.
type Date string

// DateOf is the day that a time belongs to.
func DateOf(at time.Time) Date { return Date(at.UTC().Format(time.DateOnly)) }

// ParseDate checks the form of a day that came from outside.
func ParseDate(s string) (Date, error) {
	at, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return "", fmt.Errorf("%q is no day such as 2026-11-29", s)
	}
	return DateOf(at), nil
}

// Time is when the day begins; the zero time if it is none.
func (d Date) Time() time.Time {
	at, _ := time.Parse(time.DateOnly, string(d)) // the zero time is the answer, then
	return at
}

// DayUsage is what a tenant used on a day. There is none for a day on which nothing happened.
type DayUsage struct {
	Day Date `json:"day" format:"date" doc:"The day, in UTC." example:"2026-11-29"`
	Usage
}

// UsageLine is what one of many tenants used, on a day or over a period.
type UsageLine struct {
	Tenant     ID     `json:"tenantId" doc:"The tenant's id." example:"k7q2m4x5a3bc"`
	ExternalID string `json:"externalId,omitempty" doc:"The operator's own id of the tenant." example:"customer-4711"`
	Day        Date   `json:"day,omitempty" format:"date" doc:"The day, in UTC; absent for a whole period." example:"2026-11-29"`
	Usage

	ActiveDays int64 `json:"activeDays" doc:"Days of the period on which there was a message or a request." example:"1"`
}

// Cursor names the line's place in the list.
func (u *UsageLine) Cursor() string {
	return encodeCursor(cursorUsage, string(u.Tenant), string(u.Day))
}

// ParseUsageCursor reads what [UsageLine.Cursor] made. Returns ErrInvalidCursor.
func ParseUsageCursor(s string) (id ID, day Date, err error) {
	parts, err := decodeCursor(cursorUsage, s)
	if err != nil {
		return "", "", err
	}
	if id, err = ParseID(parts[0]); err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrInvalidCursor, err)
	}
	return id, Date(parts[1]), nil
}

// UsageQuery asks for what all tenants used.
type UsageQuery struct {
	Page

	From, To  Date // both inclusive
	PerTenant bool // one line for each tenant's whole period; else one for each of its days
}

// UsagePage is one page of what tenants used, by tenant and day.
type UsagePage struct {
	Lines []UsageLine
	Next  string // cursor of the next page; empty on the last
}

// Metering is what a node has counted outside of commits, and not stored yet.
type Metering struct {
	// Mark names it: storing the one that was stored last again changes nothing, so that it may be retried.
	Mark  string
	Usage []MeteredUsage
	// Keys and AdminKeys are when keys were used last.
	Keys      map[KeyID]time.Time
	AdminKeys map[AdminKeyID]time.Time
}

// MeteredUsage is what is to be added to what a tenant used on a day.
type MeteredUsage struct {
	Tenant ID
	Day    Date
	Usage
}
