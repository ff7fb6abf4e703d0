package api

import (
	"context"
	"net/http"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

// registerAdminKeys registers the operations on a tenant's API keys.
func (s *Server) registerAdminKeys(d *document) {
	register(d, &operation{
		id: "create-key", method: http.MethodPost, path: "/admin/tenants/{tenantId}/keys", tag: tagKeys, status: http.StatusCreated,
		summary:     "Create an API key",
		description: "The whole key is in `apiKey`, now and never again: the server keeps only a hash.",
		problems:    []Code{codeTenantNotFound},
		request:     NewKey{Label: "production"},
		response:    CreatedKey{Key: exampleKey(), APIKey: "wf_k7q2m4x5a3bcp6t2ya_" + "…"},
	}, s.createKey)
	register(d, &operation{
		id: "list-keys", method: http.MethodGet, path: "/admin/tenants/{tenantId}/keys", tag: tagKeys,
		summary:     "List API keys",
		description: "Newest first, revoked and expired ones too.",
		problems:    []Code{codeTenantNotFound},
		response:    KeyList{Keys: []tenant.Key{exampleKey()}},
	}, s.listKeys)
	register(d, &operation{
		id: "revoke-key", method: http.MethodDelete, path: "/admin/tenants/{tenantId}/keys/{keyId}", tag: tagKeys,
		summary:     "Revoke an API key",
		description: "The key ends at once, its open streams too. Revoking it again changes nothing.",
		problems:    []Code{codeTenantNotFound, codeKeyNotFound},
	}, s.revokeKey)
}

func exampleKey() tenant.Key {
	return tenant.Key{ID: "k7q2m4x5a3bcp6t2ya", Label: "production", CreatedAt: exampleTime()}
}

// NewKey is the body of POST …/keys.
type NewKey struct {
	Label     string     `json:"label,omitempty" maxLength:"100" doc:"What you call the key." example:"production"`
	ExpiresAt *time.Time `json:"expiresAt,omitempty" doc:"When the key stops working by itself; never when absent."`
}

type createKeyInput struct {
	TenantPath

	Body NewKey
}

// CreatedKey is the answer of POST …/keys.
type CreatedKey struct {
	tenant.Key

	APIKey string `json:"apiKey" doc:"The whole key. It is shown here once." example:"wf_k7q2m4x5a3bcp6t2ya_…"`
}

type createKeyOutput struct {
	Body CreatedKey
}

func (s *Server) createKey(ctx context.Context, in *createKeyInput) (*createKeyOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	if at := in.Body.ExpiresAt; at != nil && !at.After(time.Now()) {
		return nil, invalid("body.expiresAt", "expected a time in the future")
	}
	key, secret, err := s.cfg.Store.Tenant(id).CreateKey(ctx, tenant.NewKey{
		Label: tenant.CleanText(in.Body.Label), ExpiresAt: in.Body.ExpiresAt,
	})
	if err != nil {
		return nil, err
	}
	return &createKeyOutput{Body: CreatedKey{Key: key, APIKey: secret.Reveal()}}, nil
}

// KeyList is the answer of GET …/keys.
type KeyList struct {
	Keys []tenant.Key `json:"keys" nullable:"false" doc:"Newest first."`
}

type keyListOutput struct {
	Body KeyList
}

func (s *Server) listKeys(ctx context.Context, in *tenantInput) (*keyListOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	keys, err := s.cfg.Store.Tenant(id).Keys(ctx)
	if err != nil {
		return nil, err
	}
	if keys == nil {
		keys = []tenant.Key{}
	}
	return &keyListOutput{Body: KeyList{Keys: keys}}, nil
}

type keyInput struct {
	TenantPath

	KeyID string `path:"keyId" pattern:"^[a-z2-7]{18}$" patternDescription:"a key's id" maxLength:"18" doc:"The key's id." example:"k7q2m4x5a3bcp6t2ya"`
}

func (s *Server) revokeKey(ctx context.Context, in *keyInput) (*struct{}, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	if _, err := s.cfg.Store.Get(ctx, id); err != nil {
		return nil, err
	}
	key, err := tenant.ParseKeyID(in.KeyID)
	if err != nil {
		return nil, err
	}
	if err := s.cfg.Store.Tenant(id).RevokeKey(ctx, key); err != nil {
		return nil, err
	}
	// Store.KeysChanged says the same, a moment later: when this is answered, the key is dead here.
	s.keys.forget(key)
	s.streams.recheck(key)
	return nil, nil
}
