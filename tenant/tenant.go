package tenant

import "time"

// Tenant is a customer of the operator: it has API keys and at most one WhatsApp identity.
type Tenant struct {
	ID         ID        `json:"id" doc:"The tenant's id." example:"k7q2m4x5a3bc"`
	ExternalID string    `json:"externalId,omitempty" doc:"The operator's own id of the tenant; at most one tenant has it." example:"customer-4711"`
	Name       string    `json:"name" doc:"The tenant's name." example:"Padaria do João"`
	CreatedAt  time.Time `json:"createdAt" doc:"When the tenant was created."`
	UpdatedAt  time.Time `json:"updatedAt" doc:"When the tenant changed last."`
}

// NewTenant is what creating a tenant takes.
type NewTenant struct {
	Name       string
	ExternalID string // optional
}

// NewKey is what creating an API key takes.
type NewKey struct {
	Label     string
	ExpiresAt *time.Time // nil: until revoked
}
