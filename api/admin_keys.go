package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/tenant"
)

// registerAdminKeys registers the operations on a tenant's API keys.
func (s *Server) registerAdminKeys(d *document) {
	const path, one = "/admin/tenants/{tenantId}/keys", "/admin/tenants/{tenantId}/keys/{keyId}"
	made := CreatedKey{Key: exampleKey(), APIKey: "wf_k7q2m4x5a3bcp6t2ya_" + "…"}
	register(d, &operation{
		id: "create-key", method: http.MethodPost, path: path, tag: tagKeys, status: http.StatusCreated,
		summary: "Create an API key",
		description: "The whole key is in `apiKey`, now and never again: the server keeps only a hash. `scopes` says what it may do: `read` " +
			"(what changes nothing), `send` (messages and what belongs to them), `manage` (the account, groups, the state of chats); all when absent.",
		problems: []Code{codeTenantNotFound},
		request:  NewKey{Label: "production", Scopes: tenant.AllScopes()},
		response: made,
	}, s.createKey)
	register(d, &operation{
		id: "list-keys", method: http.MethodGet, path: path, tag: tagKeys,
		summary:     "List API keys",
		description: "Newest first, revoked and expired ones too.",
		problems:    []Code{codeTenantNotFound},
		response:    KeyList{Keys: []tenant.Key{exampleKey()}},
	}, s.listKeys)
	register(d, &operation{
		id: "change-key", method: http.MethodPatch, path: one, tag: tagKeys, status: http.StatusOK,
		summary:     "Change an API key",
		description: "Its label, scopes or expiry; members that are absent stay as they are. `expiresAt` null: it never expires. It holds at once.",
		problems:    []Code{codeTenantNotFound, codeKeyNotFound, codeKeyEnded},
		request:     map[string]any{"label": "production", "expiresAt": nil},
		response:    exampleKey(),
	}, s.changeKey)
	old := exampleKey()
	old.ExpiresAt = new(exampleTime().Add(24 * time.Hour))
	register(d, &operation{
		id: "rotate-key", method: http.MethodPost, path: one + "/rotate", tag: tagKeys, status: http.StatusCreated,
		summary: "Rotate an API key",
		description: "Makes a successor with the same label and scopes, whose whole key is in `apiKey`, and lets the old key work for " +
			"`overlapSeconds` more, but never longer than it would have. The successor expires at `expiresAt`, or never when that is " +
			"absent.",
		problems: []Code{codeTenantNotFound, codeKeyNotFound, codeKeyEnded},
		request:  RotateKey{OverlapSeconds: new(defaultOverlap)},
		response: RotatedKey{CreatedKey: made, Replaces: old},
	}, s.rotateKey)
	register(d, &operation{
		id: "revoke-key", method: http.MethodDelete, path: one, tag: tagKeys,
		summary:     "Revoke an API key",
		description: "The key ends at once, its open streams too. Revoking it again changes nothing.",
		problems:    []Code{codeTenantNotFound, codeKeyNotFound},
	}, s.revokeKey)
}

func exampleKey() tenant.Key {
	return tenant.Key{ID: "k7q2m4x5a3bcp6t2ya", Label: "production", Scopes: tenant.AllScopes(), CreatedAt: exampleTime()}
}

// NewKey is the body of POST …/keys.
type NewKey struct {
	Label     string        `json:"label,omitempty" maxLength:"100" doc:"What you call the key." example:"production"`
	ExpiresAt *time.Time    `json:"expiresAt,omitempty" doc:"When the key stops working by itself; never when absent."`
	Scopes    tenant.Scopes `json:"scopes,omitempty" enum:"read,send,manage" minItems:"1" uniqueItems:"true" doc:"What the key may do; everything when absent."`
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

// inFuture checks when a key is to expire.
func inFuture(at *time.Time) error {
	if at != nil && !at.After(time.Now()) {
		return invalid("body.expiresAt", "expected a time in the future")
	}
	return nil
}

func (s *Server) createKey(ctx context.Context, in *createKeyInput) (*createKeyOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	if err := inFuture(in.Body.ExpiresAt); err != nil {
		return nil, err
	}
	key, secret, err := s.cfg.Store.Tenant(id).CreateKey(ctx, tenant.NewKey{
		Label: tenant.CleanText(in.Body.Label), ExpiresAt: in.Body.ExpiresAt, Scopes: in.Body.Scopes,
	})
	if err != nil {
		return nil, err
	}
	s.keys.meet(string(key.ID))
	noteResource(ctx, string(key.ID))
	noteDetail(ctx, "scopes", key.Scopes.String())
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

// KeyPath is the part of a request that names a tenant's key. Exported because Huma looks only into exported embedded fields.
type KeyPath struct {
	TenantPath

	KeyID string `path:"keyId" pattern:"^[a-z2-7]{18}$" patternDescription:"a key's id" maxLength:"18" doc:"The key's id." example:"k7q2m4x5a3bcp6t2ya"`
}

// of finds the tenant and names the key. Returns tenant.ErrNotFound, tenant.ErrKeyNotFound.
func (p *KeyPath) of(ctx context.Context, store tenant.Store) (tenant.Handle, tenant.KeyID, error) {
	id, err := p.id()
	if err != nil {
		return nil, "", err
	}
	if _, err := store.Get(ctx, id); err != nil {
		return nil, "", err
	}
	key, err := tenant.ParseKeyID(p.KeyID)
	return store.Tenant(id), key, err
}

// keyChanged makes a change of a key felt at once. Store.KeysChanged says the same, a moment later.
func (s *Server) keyChanged(key tenant.KeyID) {
	s.keys.forget(key)
	s.streams.recheck(key)
}

// ChangeKey is the body of PATCH …/keys/{keyId}.
type ChangeKey struct {
	Label     *string       `json:"label,omitempty" maxLength:"100" doc:"What you call the key." example:"production"`
	ExpiresAt nullableTime  `json:"expiresAt,omitzero" doc:"When the key stops working by itself; null: never."`
	Scopes    tenant.Scopes `json:"scopes,omitempty" enum:"read,send,manage" minItems:"1" uniqueItems:"true" doc:"What the key may do."`
}

// Resolve checks what a schema cannot say.
func (b *ChangeKey) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	switch {
	case b.Label == nil && !b.ExpiresAt.set && b.Scopes == nil:
		return []error{&huma.ErrorDetail{Location: at.String(), Message: "expected at least one of label, expiresAt and scopes"}}
	case b.ExpiresAt.set && !b.ExpiresAt.time.IsZero() && !b.ExpiresAt.time.After(time.Now()):
		return []error{&huma.ErrorDetail{Location: at.With("expiresAt"), Message: "expected a time in the future; to end the key now, revoke it"}}
	}
	return nil
}

var _ huma.ResolverWithPath = (*ChangeKey)(nil)

type changeKeyInput struct {
	KeyPath

	Body ChangeKey
}

type keyOutput struct {
	Body tenant.Key
}

func (s *Server) changeKey(ctx context.Context, in *changeKeyInput) (*keyOutput, error) {
	of, id, err := in.of(ctx, s.cfg.Store)
	if err != nil {
		return nil, err
	}
	change := tenant.KeyChange{Label: in.Body.Label, Scopes: in.Body.Scopes}
	if in.Body.ExpiresAt.set {
		change.ExpiresAt = &in.Body.ExpiresAt.time
	}
	key, err := of.ChangeKey(ctx, id, change)
	if err != nil {
		return nil, err
	}
	s.keyChanged(id)
	noteDetail(ctx, "scopes", key.Scopes.String())
	return &keyOutput{Body: key}, nil
}

// defaultOverlap is a day.
const defaultOverlap = 24 * 60 * 60

// RotateKey is the body of POST …/rotate.
type RotateKey struct {
	OverlapSeconds *int       `json:"overlapSeconds,omitempty" minimum:"0" maximum:"2592000" doc:"How long the old key goes on working: a day when absent; 0: it ends now." example:"86400"`
	ExpiresAt      *time.Time `json:"expiresAt,omitempty" doc:"When the new key stops working by itself."`
}

func (b *RotateKey) rotation() (tenant.Rotation, error) {
	seconds := defaultOverlap
	if b.OverlapSeconds != nil {
		seconds = *b.OverlapSeconds
	}
	return tenant.Rotation{Overlap: time.Duration(seconds) * time.Second, ExpiresAt: b.ExpiresAt}, inFuture(b.ExpiresAt)
}

type rotateKeyInput struct {
	KeyPath

	Body RotateKey
}

// RotatedKey is the answer of POST …/rotate.
type RotatedKey struct {
	CreatedKey

	Replaces tenant.Key `json:"replaces" doc:"The old key; expiresAt says how long it goes on working."`
}

type rotateKeyOutput struct {
	Body RotatedKey
}

func (s *Server) rotateKey(ctx context.Context, in *rotateKeyInput) (*rotateKeyOutput, error) {
	of, id, err := in.of(ctx, s.cfg.Store)
	if err != nil {
		return nil, err
	}
	how, err := in.Body.rotation()
	if err != nil {
		return nil, err
	}
	old, made, secret, err := of.RotateKey(ctx, id, how)
	if err != nil {
		return nil, err
	}
	s.keyChanged(id)
	s.keys.meet(string(made.ID))
	noteDetail(ctx, "successor", string(made.ID))
	return &rotateKeyOutput{Body: RotatedKey{CreatedKey: CreatedKey{Key: made, APIKey: secret.Reveal()}, Replaces: old}}, nil
}

type keyInput struct {
	KeyPath
}

func (s *Server) revokeKey(ctx context.Context, in *keyInput) (*struct{}, error) {
	of, key, err := in.of(ctx, s.cfg.Store)
	if err != nil {
		return nil, err
	}
	if err := of.RevokeKey(ctx, key); err != nil {
		return nil, err
	}
	s.keyChanged(key)
	return nil, nil
}
