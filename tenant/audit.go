package tenant

import (
	"strconv"
	"time"
)

// Actors of the audit log that are no admin key of the store.
const (
	ActorEnvironment = "environment" // the admin key that the node was started with
	ActorNode        = "node"        // the node itself, going on with what somebody began
)

// AuditEntry is one action of an operator's. It never holds a secret, nor what a request's body said.
type AuditEntry struct {
	ID        int64             `json:"id" doc:"The entry's number; it grows." example:"41"`
	At        time.Time         `json:"at" doc:"When the action began."`
	Actor     string            `json:"actor" doc:"The id of the admin key; environment for the one that the node was started with, node for what the node did by itself." example:"m3x7q2k4a5cb"`
	Role      AdminRole         `json:"role,omitempty" enum:"owner,operator,viewer" doc:"The role of that key." example:"operator"`
	Operation string            `json:"operation" doc:"The operationId; complete-deletion for what follows from a delete-tenant." example:"create-key"`
	Tenant    ID                `json:"tenantId,omitempty" doc:"The tenant that it was done to." example:"k7q2m4x5a3bc"`
	Resource  string            `json:"resource,omitempty" doc:"The id of the key or the like that it was done to." example:"k7q2m4x5a3bcp6t2ya"`
	Status    int               `json:"status,omitempty" doc:"The HTTP status that was answered. Absent: the node ended before it was noted, so the action may have been done or not." example:"201"`
	Code      string            `json:"code,omitempty" doc:"The code of the problem that was answered." example:"INSUFFICIENT_ROLE"`
	Client    string            `json:"client,omitempty" doc:"The address that the request came from." example:"192.0.2.7"`
	RequestID string            `json:"requestId,omitempty" doc:"The request's id." example:"7f4df2e07ba94be2"`
	Detail    map[string]string `json:"detail,omitempty" doc:"What else is to be said, e.g. which members changed, or how many rows were deleted."`
}

// AuditOutcome is what is known of an action once it was answered. Empty members leave what the entry says.
type AuditOutcome struct {
	Status   int
	Code     string
	Tenant   ID
	Resource string
	Detail   map[string]string
}

// AuditQuery asks for entries of the audit log. Empty members ask for all.
type AuditQuery struct {
	Page

	Tenant    ID
	Actor     string
	Operation string
	From, To  time.Time // From inclusive, To exclusive
}

// AuditPage is one page of the audit log, newest first.
type AuditPage struct {
	Entries []AuditEntry
	Next    string // cursor of the next page; empty on the last
}

// Cursor names the entry's place in the list: the next page holds what is older.
func (e *AuditEntry) Cursor() string {
	return encodeCursor(cursorAudit, strconv.FormatInt(e.At.UnixMilli(), 10), strconv.FormatInt(e.ID, 10))
}

// ParseAuditCursor reads what [AuditEntry.Cursor] made. Returns ErrInvalidCursor.
func ParseAuditCursor(s string) (at time.Time, id int64, err error) {
	return parseTimeCursor(cursorAudit, s)
}
