package tenant

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
)

// Limits are what one tenant may take. 0 means without limit, or, of what is kept, for ever.
type Limits struct {
	RequestsPerSecond, RequestBurst, ConcurrentRequests int64
	EventStreams                                        int64
	SendsPerMinute, SendBurst, ConcurrentSends          int64
	ColdChatsPerDay                                     int64
	NumberChecksPerHour                                 int64
	UploadBytesPerDay, DownloadBytesPerDay              int64
	StorageBytes                                        int64
	MessageRetentionDays, EventRetentionDays            int64
	RetentionBytes                                      int64
}

// DefaultLimits are the limits of a tenant for which the operator has said nothing.
func DefaultLimits() Limits {
	var l Limits
	for _, s := range LimitSettings() {
		*s.Field(&l) = s.Default
	}
	return l
}

// LimitSetting is one number of [Limits]: how it is called, what it means, and what it may be.
type LimitSetting struct {
	Name    string // in JSON and in the database
	Usage   string
	Default int64
	Max     int64
	Field   func(*Limits) *int64
}

// Flag is the setting's name on the command line and in the configuration file.
func (s *LimitSetting) Flag() string {
	var flag strings.Builder
	for _, c := range s.Name {
		if c >= 'A' && c <= 'Z' {
			flag.WriteByte('-')
			c += 'a' - 'A'
		}
		flag.WriteRune(c)
	}
	return flag.String()
}

// Check says whether the setting may have a value.
func (s *LimitSetting) Check(value int64) error {
	if value < 0 || value > s.Max {
		return fmt.Errorf("%w: %d is not from 0 (none) to %d", ErrInvalidLimit, value, s.Max)
	}
	return nil
}

// LimitSettings are all settings, in the order in which they are shown.
func LimitSettings() []LimitSetting {
	const many, bytes, years = 1_000_000, 1 << 50, 36_500
	return []LimitSetting{
		{"requestsPerSecond", "API requests of a tenant in a second, in the mean.", 100, many, func(l *Limits) *int64 { return &l.RequestsPerSecond }},
		{"requestBurst", "API requests of a tenant at once, before the pace of requests holds.", 400, many, func(l *Limits) *int64 { return &l.RequestBurst }},
		{"concurrentRequests", "API requests of a tenant under way at a time, beside event streams.", 64, many, func(l *Limits) *int64 { return &l.ConcurrentRequests }},
		{"eventStreams", "WebSockets and waiting polls of a tenant that are open at a time.", 32, many, func(l *Limits) *int64 { return &l.EventStreams }},
		{"sendsPerMinute", "Messages that an account sends in a minute, in the mean.", 600, many, func(l *Limits) *int64 { return &l.SendsPerMinute }},
		{"sendBurst", "Messages that an account sends at once, before the pace of sends holds.", 200, many, func(l *Limits) *int64 { return &l.SendBurst }},
		{"concurrentSends", "Messages of a tenant that are on their way to WhatsApp at a time.", 32, many, func(l *Limits) *int64 { return &l.ConcurrentSends }},
		{"coldChatsPerDay", "Persons who never wrote to the account that it writes to in a day (UTC): WhatsApp restricts accounts that write to many.", 200, 100_000, func(l *Limits) *int64 { return &l.ColdChatsPerDay }},
		{"numberChecksPerHour", "Phone numbers that a tenant checks in an hour: WhatsApp blocks accounts that check many.", 500, many, func(l *Limits) *int64 { return &l.NumberChecksPerHour }},
		{"uploadBytesPerDay", "Bytes of files that a tenant sends in a day (UTC).", 10 << 30, bytes, func(l *Limits) *int64 { return &l.UploadBytesPerDay }},
		{"downloadBytesPerDay", "Bytes of files that a tenant fetches in a day (UTC).", 20 << 30, bytes, func(l *Limits) *int64 { return &l.DownloadBytesPerDay }},
		{"storageBytes", "Bytes of messages and events kept of a tenant above which it sends no more; what it receives is stored all the same.", 0, bytes, func(l *Limits) *int64 { return &l.StorageBytes }},
		{"messageRetentionDays", "Days after which messages are deleted here.", 0, years, func(l *Limits) *int64 { return &l.MessageRetentionDays }},
		{"eventRetentionDays", "Days after which events of the journal are deleted.", 0, years, func(l *Limits) *int64 { return &l.EventRetentionDays }},
		{"retentionBytes", "Bytes of messages and events kept of a tenant above which the oldest are deleted.", 0, bytes, func(l *Limits) *int64 { return &l.RetentionBytes }},
	}
}

// ErrInvalidLimit says that a limit has no such value, or that there is no such limit.
var ErrInvalidLimit = errors.New("limit is invalid")

// Overrides are the limits of one tenant that differ from the defaults, by [LimitSetting].Name.
type Overrides map[string]int64

// Over is the limits with the overrides on top. Names that are not known, of another version, change nothing.
func (o Overrides) Over(l Limits) Limits {
	if len(o) == 0 {
		return l
	}
	for _, s := range LimitSettings() {
		if value, ok := o[s.Name]; ok {
			*s.Field(&l) = value
		}
	}
	return l
}

// LimitPatch changes overrides: nil takes one back.
type LimitPatch map[string]*int64

// Check says what is wrong with a patch. Returns ErrInvalidLimit.
func (p LimitPatch) Check() error {
	left := len(p)
	for _, s := range LimitSettings() {
		value, ok := p[s.Name]
		if !ok {
			continue
		}
		left--
		if value == nil {
			continue
		}
		if err := s.Check(*value); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	if left > 0 {
		return fmt.Errorf("%w: no such limit", ErrInvalidLimit)
	}
	return nil
}

// Overridden is a tenant that has limits of its own.
type Overridden struct {
	ID        ID
	Overrides Overrides
}

// LimitStore is what a store keeps of limits over all tenants.
type LimitStore interface {
	// Overrides yields the tenants that have overrides.
	Overrides(ctx context.Context) iter.Seq2[Overridden, error]
	Tenant(id ID) Handle
}

// LimitHandle is what a store keeps of one tenant's limits and of what counts against them.
type LimitHandle interface {
	// Overrides returns the tenant's overrides; none for one that does not exist.
	Overrides(ctx context.Context) (Overrides, error)
	// SetOverrides changes overrides and returns all. Returns ErrNotFound, ErrInvalidLimit.
	SetOverrides(ctx context.Context, p LimitPatch) (Overrides, error)
	// Spent returns what the tenant has taken of its budgets of a day.
	Spent(ctx context.Context, d Day) (Spent, error)
	// Stored is about how many bytes are kept of the tenant's messages and events. Returns ErrNotFound.
	Stored(ctx context.Context) (int64, error)
	// Prune deletes a few of the oldest messages and events. Returns ErrNotFound.
	Prune(ctx context.Context, p Prune) (Pruned, error)
	// Oldest is when the oldest message or event that is kept was sent or stored; zero if there is none.
	Oldest(ctx context.Context) (time.Time, error)
}

// Day is a day of UTC, counted from 1970-01-01.
type Day int64

const dayLength = 24 * time.Hour

// DayOf is the day of a time.
func DayOf(t time.Time) Day { return Day(t.Unix() / int64(dayLength/time.Second)) }

// Ends is when the day is over.
func (d Day) Ends() time.Time { return time.Unix(0, 0).UTC().Add(time.Duration(d+1) * dayLength) }

// Spent is what a tenant has taken of its budgets of one day.
type Spent struct {
	UploadBytes, DownloadBytes int64
	ColdChats                  []ChatID
}

// Spend takes from the budgets of a day. Nothing is refused: whoever commits it has asked before.
type Spend struct {
	Day                        Day
	UploadBytes, DownloadBytes int64
	ColdChat                   ChatID // a chat in which the other side never wrote; counts once in a day. Empty: none
}

func (Spend) isChange() {}

// Prune says what is to be deleted: what is older than that. Zero deletes none.
type Prune struct {
	MessagesBefore, EventsBefore time.Time
	// Limit bounds how many of each are deleted in one call.
	Limit int
}

// Pruned is what was deleted. More says that there is more.
type Pruned struct {
	Messages, Events int
	Bytes            int64
	More             bool
}

// ReachoutLock is WhatsApp's reach-out time lock: until it ends, the account can write only to those who have written to it.
type ReachoutLock struct {
	Since time.Time `json:"since" doc:"When it was noticed."`
	Until time.Time `json:"until" doc:"When it ends: as WhatsApp says, or, if it only refused a message, when the next is tried."`
	Cause string    `json:"cause" enum:"notified,refused" doc:"notified: WhatsApp told of it. refused: WhatsApp refused a message to somebody new (463)." example:"notified"`
}

// Causes of a lock.
const (
	ReachoutNotified = "notified"
	ReachoutRefused  = "refused"
)

// Active says whether the lock holds at a time.
func (l *ReachoutLock) Active(now time.Time) bool { return now.Before(l.Until) }
