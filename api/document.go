package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// document is one of the two APIs, with its OpenAPI document and its page.
type document struct {
	server     *Server
	huma       huma.API
	forTenants bool
	prefix     string // of /openapi.json and /docs
	title      string
}

const (
	schemeKey   = "apiKey"
	schemeQuery = "apiKeyInQuery"
	schemeAdmin = "adminKey"
)

func (s *Server) newTenantDocument() *document {
	d := &document{server: s, forTenants: true, title: "WhatsApp client API"}
	d.huma = s.newHuma(d.title, tenantDescription, []*huma.Tag{
		{Name: tagServer, Description: "Whether the server and its connection to WhatsApp work."},
		{Name: tagChats, Description: "Conversations with groups and persons."},
		{Name: tagGroups, Description: "What only groups have: participants, names, settings, invitations."},
		{Name: tagMessages, Description: "Messages of a chat."},
		{Name: tagContacts, Description: "Persons: their names, pictures and presence, and whom the account blocks."},
		{Name: tagProfile, Description: "What others see of the account."},
		{Name: tagEvents, Description: "What happens, as it happens: WebSocket and journal."},
	}, map[string]*huma.SecurityScheme{
		schemeKey:   {Type: "apiKey", In: "header", Name: headerKey, Description: "Your API key: `wf_<key id>_<secret>`."},
		schemeQuery: {Type: "apiKey", In: "query", Name: queryKey, Description: "Your API key, for the WebSocket only."},
	})
	return d
}

func (s *Server) newAdminDocument() *document {
	d := &document{server: s, prefix: "/admin", title: "wafleet admin API"}
	d.huma = s.newHuma(d.title, adminDescription, []*huma.Tag{
		{Name: tagTenants, Description: "Customers of the operator; each has keys and at most one WhatsApp identity."},
		{Name: tagKeys, Description: "API keys of a tenant. Several may be live at once, for rotation with overlap."},
		{Name: tagSession, Description: "A tenant's connection to WhatsApp."},
		{Name: tagUsage, Description: "What tenants used, by day, for billing."},
		{Name: tagOperators, Description: "Keys of operators and programs, and the log of what was done with them."},
		{Name: tagNode, Description: "The process itself."},
		{Name: tagPairing, Description: "Linking a tenant's WhatsApp account, by QR code or by pairing code."},
		{Name: tagMoves, Description: "Tenants leave for another node, and come from one, with all that they own."},
	}, map[string]*huma.SecurityScheme{
		schemeAdmin: {Type: "http", Scheme: "bearer", Description: "An admin key: `wfa_<key id>_<secret>`, or the one that the node was started with."},
	})
	return d
}

// Tags of operations.
const (
	tagServer   = "Server"
	tagChats    = "Chats"
	tagGroups   = "Groups"
	tagMessages = "Messages"
	tagEvents   = "Events"
	tagTenants  = "Tenants"
	tagKeys     = "API keys"
	tagSession  = "Session"
	tagPairing  = "Pairing"
	tagMoves    = "Moving"

	tagUsage     = "Usage"
	tagOperators = "Operators"
	tagNode      = "Node"
)

const tenantDescription = `Programmatic access to one WhatsApp account, chat by chat.

Send your API key in the header ` + "`X-API-Key`" + `. Problems are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) documents whose ` +
	"`error`" + ` is the specification's text and whose ` + "`code`" + ` is for programs. Times are RFC 3339 in UTC. ` +
	"`503 SERVICE_UNAVAILABLE`" + ` carries ` + "`Retry-After`" + `; call ` + "`GET /api/status`" + ` and try again with growing delays.

Clients must set time-outs: 5 s for local reads, 30 s for a WhatsApp action, 90 s for what takes several; each operation says which is its
own. Answers of this server come before that; only
` +
	"`GET /api/events?wait=`" + ` is held back for up to the seconds that it asks for, 60 at most: wait 5 s longer than those.`

const adminDescription = `For the operator: tenants, their API keys, their sessions and the pairing of their accounts.

Send an admin key as ` + "`Authorization: Bearer <admin key>`" + `. Each has a role: an ` + "`owner`" + ` may do everything, an ` +
	"`operator`" + ` everything but see and change admin keys, a ` + "`viewer`" + ` look at what is no secret; each operation says what it needs. The key that ` +
	`the node was started with is an owner's. Whatever is changed here, or was to be, is in the audit log.

Beside this API the node serves, without a key, ` +
	"`/livez`" + ` (the process serves), ` + "`/readyz`" + ` (it may get traffic: 200 or 503) and ` + "`/metrics`" + ` (OpenMetrics).`

func (s *Server) newHuma(title, description string, tags []*huma.Tag, schemes map[string]*huma.SecurityScheme) huma.API {
	cfg := huma.DefaultConfig(title, s.cfg.Version)
	cfg.CreateHooks = nil // they put $schema into bodies
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", ""
	cfg.Formats = map[string]huma.Format{jsonType: huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat} // "json": of …+json
	cfg.RejectUnknownQueryParameters = true
	cfg.Components.Schemas = huma.NewMapRegistry(schemaPrefix, schemaName)
	cfg.Info.Description = description
	cfg.Tags = tags
	cfg.Components.SecuritySchemes = schemes
	if s.cfg.PublicURL != "" {
		cfg.Servers = []*huma.Server{{URL: strings.TrimSuffix(s.cfg.PublicURL, "/")}}
	}
	return humago.New(s.mux, cfg)
}

// security is what an operation's caller must carry.
func (d *document) security(op *operation) []map[string][]string {
	switch {
	case !d.forTenants:
		return []map[string][]string{{schemeAdmin: {}}}
	case op.mayStream:
		return []map[string][]string{{schemeKey: {}}, {schemeQuery: {}}}
	default:
		return []map[string][]string{{schemeKey: {}}}
	}
}

func (d *document) authenticate(op *operation) middleware {
	if d.forTenants {
		return d.server.authenticateTenant(op)
	}
	return d.server.authenticateAdmin(op)
}

// publish serves the finished document and its page, without a key. The 3.0 form is for generators that know no 3.1.
func (d *document) publish(mux *http.ServeMux) error {
	api := d.huma.OpenAPI()
	relax(api)
	if err := tidy(api); err != nil {
		return fmt.Errorf("tidy the document of %s: %w", d.title, err)
	}
	for _, form := range []struct {
		name, contentType string
		render            func() ([]byte, error)
	}{
		{"openapi.json", "application/openapi+json", func() ([]byte, error) { return indented(api) }},
		{"openapi.yaml", "application/openapi+yaml", api.YAML},
		{"openapi-3.0.json", "application/openapi+json", api.Downgrade},
		{"openapi-3.0.yaml", "application/openapi+yaml", api.DowngradeYAML},
	} {
		mux.Handle("GET "+d.prefix+"/"+form.name, d.rendered(form.render, form.contentType))
	}
	return d.publishPage(mux)
}

// rendered serves a form of the document. It is rendered when it is first asked for: that takes a while, and most are never.
func (d *document) rendered(render func() ([]byte, error), contentType string) http.Handler {
	once := sync.OnceValues(func() (http.Handler, error) {
		body, err := render()
		if err != nil {
			return nil, fmt.Errorf("render document: %w", err)
		}
		return asset(body, contentType), nil
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve, err := once()
		if err != nil {
			p := newProblem(codeInternal)
			logProblem(r.Context(), p, err)
			p.write(w, r)
			return
		}
		serve.ServeHTTP(w, r)
	})
}

// relax lets answers grow: a client must not refuse a member that it does not know. Requests stay strict. It also takes back that
// lists may be null, which Huma says of every slice: ours are empty or absent.
func relax(api *huma.OpenAPI) {
	strict := map[string]bool{}
	for _, item := range api.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Patch, item.Delete} {
			if op == nil || op.RequestBody == nil {
				continue
			}
			for _, media := range op.RequestBody.Content {
				markStrict(api, media.Schema, strict)
			}
		}
	}
	for name, schema := range api.Components.Schemas.Map() {
		if !strict[name] {
			schema.AdditionalProperties = nil
		}
		for _, property := range schema.Properties {
			if property.Type == huma.TypeArray {
				property.Nullable = false
			}
		}
	}
}

// markStrict notes a request's schema and all that it is made of.
func markStrict(api *huma.OpenAPI, schema *huma.Schema, strict map[string]bool) {
	if schema == nil {
		return
	}
	if name := strings.TrimPrefix(schema.Ref, schemaPrefix); schema.Ref != "" && !strict[name] {
		strict[name] = true
		markStrict(api, api.Components.Schemas.Map()[name], strict)
	}
	for _, property := range schema.Properties {
		markStrict(api, property, strict)
	}
	markStrict(api, schema.Items, strict)
}

const schemaPrefix = "#/components/schemas/"

// indented is the document as people read it in a diff.
func indented(api *huma.OpenAPI) ([]byte, error) {
	raw, err := json.Marshal(api)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return nil, err
	}
	return append(out.Bytes(), '\n'), nil
}

// asset serves bytes that do not change while the process lives.
func asset(body []byte, contentType string) http.Handler {
	sum := sha256.Sum256(body)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stateOf(r.Context()).quiet = true
		h := w.Header()
		h.Set("Cache-Control", "no-cache") // ask again, but 304 costs nothing
		h.Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", contentType)
		_, _ = w.Write(body)
	})
}
