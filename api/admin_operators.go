package api

import (
	"context"
	"net/http"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

// registerAdminOperators registers the operations on admin keys.
func (s *Server) registerAdminOperators(d *document) {
	example := tenant.AdminKey{ID: "m3x7q2k4a5cb", Label: "on call", Role: tenant.RoleOperator, CreatedAt: exampleTime()}
	made := CreatedAdminKey{AdminKey: example, Secret: "wfa_m3x7q2k4a5cb_" + "…"}
	const path, one = "/admin/keys", "/admin/keys/{adminKeyId}"
	register(d, &operation{
		id: "create-admin-key", role: tenant.RoleOwner, method: http.MethodPost, path: path, tag: tagOperators, status: http.StatusCreated,
		summary:     "Create an admin key",
		description: "The whole key is in `adminKey`, now and never again: the server keeps only a hash.",
		request:     CreateAdminKey{Label: "on call", Role: tenant.RoleOperator}, response: made,
	}, s.createAdminKey)
	register(d, &operation{
		id: "list-admin-keys", role: tenant.RoleOwner, method: http.MethodGet, path: path, tag: tagOperators,
		summary:     "List admin keys",
		description: "Newest first, revoked and expired ones too; without the one that the node was started with.",
		response:    AdminKeyList{Keys: []tenant.AdminKey{example}},
	}, s.listAdminKeys)
	old := example
	old.ExpiresAt = new(exampleTime().Add(24 * time.Hour))
	register(d, &operation{
		id: "rotate-admin-key", role: tenant.RoleOwner, method: http.MethodPost, path: one + "/rotate", tag: tagOperators,
		status: http.StatusCreated, summary: "Rotate an admin key",
		description: "Makes a successor with the same label and role, and lets the old key work for `overlapSeconds` more.",
		problems:    []Code{codeKeyNotFound, codeKeyEnded},
		request:     RotateKey{OverlapSeconds: new(defaultOverlap)}, response: RotatedAdminKey{CreatedAdminKey: made, Replaces: old},
	}, s.rotateAdminKey)
	register(d, &operation{
		id: "revoke-admin-key", role: tenant.RoleOwner, method: http.MethodDelete, path: one, tag: tagOperators,
		summary: "Revoke an admin key",
		description: "The key ends at once. Revoking it again changes nothing. The last owner's key stays, unless the node was started with an " +
			"admin key.",
		problems: []Code{codeKeyNotFound, codeLastOwner},
	}, s.revokeAdminKey)
}

// CreateAdminKey is the body of POST /admin/keys.
type CreateAdminKey struct {
	Label     string           `json:"label,omitempty" maxLength:"100" doc:"Whose key it is." example:"on call"`
	Role      tenant.AdminRole `json:"role" enum:"owner,operator,viewer" doc:"What the key may do." example:"operator"`
	ExpiresAt *time.Time       `json:"expiresAt,omitempty" doc:"When the key stops working by itself; never when absent."`
}

type createAdminKeyInput struct {
	Body CreateAdminKey
}

// CreatedAdminKey is the answer of POST /admin/keys.
type CreatedAdminKey struct {
	tenant.AdminKey

	Secret string `json:"adminKey" doc:"The whole key. It is shown here once." example:"wfa_m3x7q2k4a5cb_…"`
}

type createAdminKeyOutput struct {
	Body CreatedAdminKey
}

func (s *Server) createAdminKey(ctx context.Context, in *createAdminKeyInput) (*createAdminKeyOutput, error) {
	if err := inFuture(in.Body.ExpiresAt); err != nil {
		return nil, err
	}
	key, secret, err := s.cfg.Store.CreateAdminKey(ctx, tenant.NewAdminKey{
		Label: in.Body.Label, Role: in.Body.Role, ExpiresAt: in.Body.ExpiresAt,
	})
	if err != nil {
		return nil, err
	}
	s.keys.meet(string(key.ID))
	noteResource(ctx, string(key.ID))
	noteDetail(ctx, "role", string(key.Role))
	return &createAdminKeyOutput{Body: CreatedAdminKey{AdminKey: key, Secret: secret.Reveal()}}, nil
}

// AdminKeyList is the answer of GET /admin/keys.
type AdminKeyList struct {
	Keys []tenant.AdminKey `json:"keys" nullable:"false" doc:"Newest first."`
}

type adminKeyListOutput struct {
	Body AdminKeyList
}

func (s *Server) listAdminKeys(ctx context.Context, _ *struct{}) (*adminKeyListOutput, error) {
	keys, err := s.cfg.Store.AdminKeys(ctx)
	if err != nil {
		return nil, err
	}
	if keys == nil {
		keys = []tenant.AdminKey{}
	}
	return &adminKeyListOutput{Body: AdminKeyList{Keys: keys}}, nil
}

// AdminKeyPath is the part of a request that names an admin key. Exported because Huma looks only into exported embedded fields.
type AdminKeyPath struct {
	AdminKeyID string `path:"adminKeyId" pattern:"^[a-z2-7]{12}$" patternDescription:"an admin key's id" maxLength:"12" doc:"The admin key's id." example:"m3x7q2k4a5cb"`
}

type rotateAdminKeyInput struct {
	AdminKeyPath

	Body RotateKey
}

// RotatedAdminKey is the answer of POST …/rotate.
type RotatedAdminKey struct {
	CreatedAdminKey

	Replaces tenant.AdminKey `json:"replaces" doc:"The old key; expiresAt says how long it goes on working."`
}

type rotateAdminKeyOutput struct {
	Body RotatedAdminKey
}

func (s *Server) rotateAdminKey(ctx context.Context, in *rotateAdminKeyInput) (*rotateAdminKeyOutput, error) {
	id, err := tenant.ParseAdminKeyID(in.AdminKeyID)
	if err != nil {
		return nil, err
	}
	how, err := in.Body.rotation()
	if err != nil {
		return nil, err
	}
	old, made, secret, err := s.cfg.Store.RotateAdminKey(ctx, id, how)
	if err != nil {
		return nil, err
	}
	s.keys.meet(string(made.ID))
	noteDetail(ctx, "successor", string(made.ID))
	return &rotateAdminKeyOutput{Body: RotatedAdminKey{
		CreatedAdminKey: CreatedAdminKey{AdminKey: made, Secret: secret.Reveal()}, Replaces: old,
	}}, nil
}

type adminKeyInput struct {
	AdminKeyPath
}

func (s *Server) revokeAdminKey(ctx context.Context, in *adminKeyInput) (*struct{}, error) {
	id, err := tenant.ParseAdminKeyID(in.AdminKeyID)
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.RevokeAdminKey(ctx, id, !s.cfg.AdminKey.set)
}
