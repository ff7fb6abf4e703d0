package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wafleet/wafleet/tenant"
)

// operatorID is who an admin request acts for.
type operatorID struct {
	actor string // the admin key's id, or tenant.ActorEnvironment
	role  tenant.AdminRole
}

// authenticateAdmin lets a request pass that carries an admin key whose role covers the operation's. Keys are read each time: an
// operator makes few requests, and one that is revoked is revoked.
func (s *Server) authenticateAdmin(op *operation) middleware {
	needed := op.needed()
	return func(ctx huma.Context, next func(huma.Context)) {
		r, _ := humago.Unwrap(ctx)
		who, p := s.operatorOf(r.WithContext(ctx.Context()))
		if p != nil {
			if p.Status == http.StatusUnauthorized {
				ctx.SetHeader("WWW-Authenticate", bearerWord)
			}
			answer(ctx, p)
			return
		}
		state := stateOf(ctx.Context())
		state.actor, state.role = who.actor, who.role
		if !who.role.Covers(needed) {
			p = tooSmall(who.role, needed)
			s.auditRefusal(ctx, op, p)
			answer(ctx, p)
			return
		}
		next(ctx)
	}
}

func tooSmall(role, needed tenant.AdminRole) *Problem {
	return newProblem(codeRole).because(fmt.Sprintf("This needs the role %s; the admin key's is %s.", needed, role))
}

// operatorOf checks the admin key of a request.
func (s *Server) operatorOf(r *http.Request) (operatorID, *Problem) {
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.ReadTimeout)
	defer cancel()
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	text = strings.TrimSpace(text)
	if !strings.EqualFold(scheme, bearerWord) || text == "" {
		p := newProblem(codeMissingKey).because("Send the admin key in the header Authorization: Bearer <admin key>.")
		return operatorID{}, s.unlessClosed(ctx, p)
	}
	if s.cfg.AdminKey.set && s.cfg.AdminKey.admits(text) {
		return operatorID{tenant.ActorEnvironment, tenant.RoleOwner}, nil
	}
	invalid := newProblem(codeInvalidKey).because("The admin key is unknown, revoked or expired.")
	secret, err := tenant.ParseAdminSecret(text)
	if err != nil {
		return operatorID{}, s.unlessClosed(ctx, invalid)
	}
	key, err := s.adminKey(ctx, secret.ID())
	if errors.Is(err, tenant.ErrKeyNotFound) {
		return operatorID{}, s.unlessClosed(ctx, invalid)
	}
	if err != nil {
		return operatorID{}, s.authProblem(ctx, err)
	}
	if key.Admits(secret, time.Now()) != nil {
		return operatorID{}, invalid
	}
	s.meter.adminCall(key.ID, time.Now())
	return operatorID{string(key.ID), key.Role}, nil
}

// adminKey looks an admin key up, at the pace of strangers if it was never found before; see [keyring.admitFrom]. Returns
// tenant.ErrKeyNotFound, *Problem.
func (s *Server) adminKey(ctx context.Context, id tenant.AdminKeyID) (tenant.AdminKey, error) {
	client := stateOf(ctx).client
	if wait := s.keys.strangers.wait(client); wait > 0 && !s.keys.isMet(string(id)) {
		return tenant.AdminKey{}, tooFast(wait).because(tooManyKeys)
	}
	key, err := s.cfg.Store.AdminKey(ctx, id)
	switch {
	case err == nil:
		s.keys.meet(string(id))
	case errors.Is(err, tenant.ErrKeyNotFound):
		s.keys.strangers.charge(client)
	}
	return key, err
}

// unlessClosed is the problem, or, when there is no admin key at all, that.
func (s *Server) unlessClosed(ctx context.Context, p *Problem) *Problem {
	if s.cfg.AdminKey.set || s.opened.Load() {
		return p
	}
	client := stateOf(ctx).client
	if wait := s.keys.strangers.wait(client); wait > 0 {
		return s.authProblem(ctx, tooFast(wait).because(tooManyKeys))
	}
	keys, err := s.cfg.Store.AdminKeys(ctx)
	switch {
	case err != nil:
		return s.authProblem(ctx, err)
	case len(keys) == 0:
		s.keys.strangers.charge(client)
		return newProblem(codeMisconfigured).because("No admin key is configured.")
	default:
		s.opened.Store(true)
		return p
	}
}
