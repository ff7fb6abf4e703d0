package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// JoinSessions is what the API needs of the fleet to let people join groups.
type JoinSessions interface {
	// GroupInvite returns a group's invitation link, which is replaced by a new one first if reset. Returns
	// tenant.ErrChatNotFound, *session.OfflineError, session.ErrForbidden, *session.UncertainError, *session.RefusedError.
	GroupInvite(ctx context.Context, id tenant.ID, chat tenant.ChatID, reset bool) (string, error)
}

const joinPath = "/api/groups/join/"

// joinTimeout is how long WhatsApp may take to tell a link: people wait in front of a browser.
const joinTimeout = 10 * time.Second

// maxLinks bounds the invitation links that are remembered.
const maxLinks = 10_000

// inviteLink is what was last known of a group's invitation link.
type inviteLink struct {
	link string
	at   time.Time
}

// linkedGroup names a group of a tenant.
type linkedGroup struct {
	tenant tenant.ID
	chat   tenant.ChatID
}

// inviteLinks are the invitation links that were last known.
type inviteLinks struct {
	*lru.Cache[linkedGroup, inviteLink]
}

func newInviteLinks() (inviteLinks, error) {
	links, err := lru.New[linkedGroup, inviteLink](maxLinks)
	return inviteLinks{links}, err
}

// learn notes a link that WhatsApp has just told.
func (l inviteLinks) learn(id tenant.ID, chat tenant.ChatID, link string) {
	l.Add(linkedGroup{id, chat}, inviteLink{link, time.Now()})
}

type joinHandler struct {
	server   *Server
	sessions JoinSessions
	throttle *throttle
	asking   singleflight.Group // many people follow one URL at once
}

// registerJoin registers join URLs: the tenants' operations, and the one that is for everybody (client API v2 §3: public).
func registerJoin(d *document, sessions JoinSessions) error {
	limits := &d.server.limits
	h := &joinHandler{server: d.server, sessions: sessions}
	var err error
	if h.throttle, err = newThrottle(limits.JoinEvery, limits.JoinBurst); err != nil {
		return fmt.Errorf("make throttle: %w", err)
	}
	const example = "https://wa.example.com/api/groups/join/wj_k7q2m4x5a3bc_nbswy3dpfqqho33snrscc3tfoqqgs3tb"
	tenantOperation(d, &operation{
		id: "create-join-url", scope: tenant.ScopeManage, method: http.MethodPost, path: "/api/chats/{chatId}/join-url", tag: tagGroups, deadline: deadlineAction,
		status:  http.StatusCreated,
		summary: "Make a group's join URL",
		description: "Makes an address under which anybody joins the group, and which stays the same when the group's invitation link is reset: " +
			"it leads to the link that is valid then. One that was made before ends. For groups of which this account is an admin.",
		problems: []Code{codeNotAGroup, codeChatNotFound, codeForbidden, codeActionRejected, codeGatewayTimeout},
		response: JoinURL{JoinURL: example},
	}, h.create)
	tenantOperation(d, &operation{
		id: "delete-join-url", scope: tenant.ScopeManage, method: http.MethodDelete, path: "/api/chats/{chatId}/join-url", tag: tagGroups,
		summary:     "Take a group's join URL away",
		description: "The address ends; the group's invitation link stays as it is. Without an address nothing changes.",
		problems:    []Code{codeNotAGroup, codeChatNotFound},
	}, h.delete)
	register(d, &operation{
		id: "join-group-by-url", method: http.MethodGet, path: joinPath + "{token}", tag: tagGroups, public: true,
		deadline: deadlineAction,
		summary:  "Follow a join URL",
		description: "Needs no key. Redirects to the group's invitation link of the moment, or tells it, with the group's name, to who asks for " +
			"`application/json`. While the account is not connected, the link that was valid last is given, if it is known. Each " +
			"address has a pace: 429 says how long to wait.",
		problems: []Code{codeJoinNotFound, codeTooManyRequests, codeUnavailable},
		adjust: func(op *huma.Operation, schemas huma.Registry) {
			answered := jsonResponse[JoinTarget](schemas)
			answered.Content[jsonType].Example = JoinTarget{URL: "https://chat.whatsapp.com/Lz8mFhDJYdW2Kq3vBn7Cxy", Group: JoinableGroup{Name: "Family"}}
			op.Responses["200"] = answered
			op.Responses["302"] = &huma.Response{
				Description: "The group's invitation link.",
				Headers:     map[string]*huma.Param{"Location": {Schema: &huma.Schema{Type: huma.TypeString, Format: "uri"}}},
			}
		},
	}, h.follow)
	return nil
}

// JoinURL is the answer of POST …/join-url.
type JoinURL struct {
	JoinURL string `json:"joinUrl" doc:"The address under which anybody joins the group." example:"https://wa.example.com/api/groups/join/wj_k7q2m4x5a3bc_nbswy3dpfqqho33snrscc3tfoqqgs3tb"`
}

// JoinTarget is the answer of GET /api/groups/join/{token} to who asks for JSON.
type JoinTarget struct {
	URL   string        `json:"url" doc:"The group's invitation link of the moment." example:"https://chat.whatsapp.com/Lz8mFhDJYdW2Kq3vBn7Cxy"`
	Group JoinableGroup `json:"group" doc:"The group."`
}

// JoinableGroup is what everybody may know of a group.
type JoinableGroup struct {
	Name string `json:"name" doc:"The group's subject." example:"Family"`
}

type joinURLOutput struct {
	Body JoinURL
}

// joinable is the path's group. Returns NOT_A_GROUP.
func joinable(p *ChatPath) (tenant.ChatID, error) {
	chat, err := p.ChatID.id()
	if err == nil && !chat.IsGroup() {
		err = newProblem(codeNotAGroup)
	}
	return chat, err
}

func (h *joinHandler) create(ctx context.Context, t tenant.Handle, in *chatInput) (*joinURLOutput, error) {
	chat, err := joinable(&in.ChatPath)
	if err != nil {
		return nil, err
	}
	// Asking shows that this account may give the link away, and that there is one.
	link, err := h.sessions.GroupInvite(ctx, t.ID(), chat, false)
	if err != nil {
		return nil, err
	}
	token := tenant.NewJoinToken(t.ID())
	if _, err = t.Commit(ctx, tenant.SetJoinToken{ChatID: chat, Token: token}); err != nil {
		return nil, err
	}
	h.server.links.learn(t.ID(), chat, link)
	return &joinURLOutput{Body: JoinURL{JoinURL: joinURL(ctx, h.server.cfg.PublicURL, token)}}, nil
}

func (h *joinHandler) delete(ctx context.Context, t tenant.Handle, in *chatInput) (*struct{}, error) {
	chat, err := joinable(&in.ChatPath)
	if err != nil {
		return nil, err
	}
	_, err = t.Commit(ctx, tenant.SetJoinToken{ChatID: chat})
	return nil, err
}

// joinURL is the address that a token is the end of: under the public URL, or as the caller called us.
func joinURL(ctx context.Context, public string, token tenant.JoinToken) string {
	return publicBase(ctx, public) + joinPath + string(token)
}

// publicBase is the address of the node that goes in front of paths: the public URL, or as the caller called us.
func publicBase(ctx context.Context, public string) string {
	if base := strings.TrimSuffix(public, "/"); base != "" {
		return base
	}
	return stateOf(ctx).origin
}

// showJoinURL puts the address into a chat that its tenant sees, if the account may give it away.
func showJoinURL(ctx context.Context, public string, chat *tenant.Chat) {
	if chat.JoinToken != "" && chat.Role.IsAdmin() {
		chat.JoinURL = joinURL(ctx, public, chat.JoinToken)
	}
}

type followInput struct {
	Token string `path:"token" maxLength:"100" doc:"The last part of the join URL." example:"wj_k7q2m4x5a3bc_nbswy3dpfqqho33snrscc3tfoqqgs3tb"`
}

func (h *joinHandler) follow(ctx context.Context, in *followInput) (*huma.StreamResponse, error) {
	state := stateOf(ctx)
	if wait := h.throttle.take(state.client); wait > 0 {
		return nil, tooFast(wait)
	}
	target, err := h.target(ctx, in.Token)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Referrer-Policy", "no-referrer") // whoever knows the address may join
		hc.SetHeader("Vary", "Accept")
		if !wantsJSON(state.accept) {
			hc.SetHeader("Location", target.URL)
			hc.SetStatus(http.StatusFound)
			return
		}
		hc.SetHeader("Content-Type", jsonType)
		hc.SetStatus(http.StatusOK)
		_ = huma.DefaultJSONFormat.Marshal(hc.BodyWriter(), target) // the status is sent; a client that left learns nothing more
	}}, nil
}

// wantsJSON says whether a client asks for JSON. Browsers ask for pages, and for anything if need be.
func wantsJSON(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err == nil && media == jsonType && params["q"] != "0" {
			return true
		}
	}
	return false
}

// target finds where a token leads. Strangers ask: whatever is wrong with it, they are told the same, and nothing of the tenant.
func (h *joinHandler) target(ctx context.Context, text string) (*JoinTarget, error) {
	token, err := tenant.ParseJoinToken(text)
	if err != nil {
		return nil, newProblem(codeJoinNotFound)
	}
	owner := token.Tenant()
	chat, err := h.server.cfg.Store.Tenant(owner).JoinChat(ctx, token)
	switch {
	case errors.Is(err, tenant.ErrJoinTokenNotFound), errors.Is(err, tenant.ErrNotFound):
		return nil, newProblem(codeJoinNotFound)
	case err != nil:
		return nil, unavailable(ctx, err)
	}
	link, err := h.link(ctx, owner, &chat)
	if err != nil {
		return nil, err
	}
	return &JoinTarget{URL: link, Group: JoinableGroup{Name: chat.Name}}, nil
}

// link is a group's invitation link: the one just asked for, or WhatsApp's, or the last that is known.
func (h *joinHandler) link(ctx context.Context, owner tenant.ID, chat *tenant.Chat) (string, error) {
	group := linkedGroup{owner, chat.ID}
	known, ok := h.server.links.Get(group)
	if ok && time.Since(known.at) < h.server.limits.JoinCacheTTL {
		return known.link, nil
	}
	answer, err, _ := h.asking.Do(string(chat.JoinToken), func() (any, error) {
		// For all who wait, so that the first may leave.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), joinTimeout)
		defer cancel()
		return h.sessions.GroupInvite(ctx, owner, chat.ID, false)
	})
	link, _ := answer.(string)
	switch {
	case err == nil:
		h.server.links.learn(owner, chat.ID, link)
		return link, nil
	case errors.Is(err, session.ErrForbidden), errors.Is(err, tenant.ErrChatNotFound), errors.Is(err, tenant.ErrNotFound):
		h.server.links.Remove(group) // we are no admin any more, or not even there
		return "", newProblem(codeJoinNotFound)
	case ok:
		return known.link, nil
	default:
		return "", unavailable(ctx, err)
	}
}

// unavailable is all that strangers are told of our troubles.
func unavailable(ctx context.Context, err error) *Problem {
	if ctx.Err() == nil || isDeadline(ctx.Err()) {
		stateOf(ctx).log.WarnContext(ctx, "invitation link not available", slog.Any("error", err))
	}
	return newProblem(codeUnavailable)
}
