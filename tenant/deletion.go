package tenant

import (
	"strconv"
	"time"
)

// DeviceFate is what became of a deleted tenant's device.
type DeviceFate string

// The fates.
const (
	DeviceNone      DeviceFate = "none"      // none was linked
	DeviceUnlinked  DeviceFate = "unlinked"  // WhatsApp was told
	DeviceForgotten DeviceFate = "forgotten" // its credentials are deleted; WhatsApp could not be told, the phone still lists it
)

// Deletion is the record of a tenant's deletion.
type Deletion struct {
	Tenant      ID         `json:"tenantId" doc:"The tenant's id, which is never used again." example:"k7q2m4x5a3bc"`
	ExternalID  string     `json:"externalId,omitempty" doc:"The operator's own id of the tenant." example:"customer-4711"`
	Device      DeviceFate `json:"device" enum:"none,unlinked,forgotten" doc:"What became of the linked device: none was linked; it was unlinked at WhatsApp; or its credentials were deleted here while WhatsApp could not be told, so that the phone still lists it." example:"unlinked"`
	RequestedAt time.Time  `json:"requestedAt" doc:"When the tenant was deleted: nobody has seen it since."`
	CompletedAt *time.Time `json:"completedAt,omitempty" doc:"When the last of its data was gone; absent while that goes on."`
	// Deleted is counted in the transactions that delete.
	Deleted map[string]int64 `json:"deleted" doc:"How many records of each kind are gone so far."`
}

// Deletions is one page of records, newest first.
type Deletions struct {
	Deletions []Deletion
	Next      string // cursor of the next page; empty on the last
}

// Cursor names the record's place in the list.
func (d *Deletion) Cursor() string {
	return encodeCursor(cursorDeletion, strconv.FormatInt(d.RequestedAt.UnixMilli(), 10), string(d.Tenant))
}

// ParseDeletionCursor reads what [Deletion.Cursor] made. Returns ErrInvalidCursor.
func ParseDeletionCursor(s string) (at time.Time, id ID, err error) {
	parts, err := decodeCursor(cursorDeletion, s)
	if err != nil {
		return time.Time{}, "", err
	}
	ms, err := cursorNumber(parts[0])
	if err != nil {
		return time.Time{}, "", err
	}
	return time.UnixMilli(ms).UTC(), ID(parts[1]), nil
}
