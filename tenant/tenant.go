package tenant

import (
	"regexp"
	"time"
)

// Tenant is a customer of the operator: it has API keys and at most one WhatsApp identity.
type Tenant struct {
	ID         ID                `json:"id" doc:"The tenant's id." example:"k7q2m4x5a3bc"`
	ExternalID string            `json:"externalId,omitempty" doc:"The operator's own id of the tenant; at most one tenant has it." example:"customer-4711"`
	Name       string            `json:"name" doc:"The tenant's name." example:"Padaria do João"`
	Metadata   map[string]string `json:"metadata,omitempty" doc:"What the operator notes about the tenant."`
	// SessionState is the state as it is stored: one that passes is stored once it has lasted a moment.
	SessionState string     `json:"sessionState" enum:"unpaired,pairing,connecting,online,backoff,logged_out,banned,outdated,conflict,stopped" doc:"What the tenant's session is doing, as it was stored last: a state that passes is stored once it has lasted a moment." example:"online"`
	SuspendedAt  *time.Time `json:"suspendedAt,omitempty" doc:"When the tenant was suspended; absent while it is not."`
	CreatedAt    time.Time  `json:"createdAt" doc:"When the tenant was created."`
	UpdatedAt    time.Time  `json:"updatedAt" doc:"When the tenant's name, external id, metadata or suspension changed last."`
}

// NewTenant is what creating a tenant takes.
type NewTenant struct {
	Name       string
	ExternalID string // optional
	Metadata   map[string]string
}

// Patch is what is to be changed of a tenant. Nil members leave what is there.
type Patch struct {
	Name       *string
	ExternalID *string // "": none any more
	// Metadata holds the keys to set, and as nil those to remove; others stay.
	Metadata map[string]*string
}

// Query asks for tenants.
type Query struct {
	Page

	Search    string            // part of the name, the external id or the id, case-insensitive
	Metadata  map[string]string // all of these
	State     string            // of the session, as it is stored
	Suspended *bool
}

// Bounds of a tenant's metadata.
const (
	MaxMetadata      = 50  // keys
	MaxMetadataValue = 500 // characters
)

// MetadataKeyPattern is the form of a key of a tenant's metadata. That it has no quotes lets a pair be found in the stored JSON.
const MetadataKeyPattern = `^[A-Za-z0-9_.-]{1,64}$`

var metadataKey = regexp.MustCompile(MetadataKeyPattern)

// ValidMetadataKey says whether a text may be a key of a tenant's metadata.
func ValidMetadataKey(s string) bool { return metadataKey.MatchString(s) }
