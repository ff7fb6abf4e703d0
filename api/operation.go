package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wafleet/wafleet/tenant"
)

// deadline is the class of an operation's deadline (client API v2 §9).
type deadline int

const (
	deadlineRead   deadline = iota // a local read
	deadlineAction                 // one WhatsApp action
	deadlineMulti                  // several
	deadlineNone                   // a stream: it bounds itself
)

func (l *Limits) of(d deadline) time.Duration {
	switch d {
	case deadlineRead:
		return l.ReadTimeout
	case deadlineAction:
		return l.ActionTimeout
	case deadlineMulti:
		return l.MultiTimeout
	case deadlineNone:
		return 0
	}
	return l.ReadTimeout
}

// patience is the time-out that clients are told to set: a little more than the deadline.
func (o *operation) patience() string {
	text := map[deadline]string{deadlineRead: "Time-out: 5 s.", deadlineAction: "Time-out: 30 s.", deadlineMulti: "Time-out: 90 s."}[o.deadline]
	if o.files != nil {
		text += " With a file: 90 s from when it has been sent."
	}
	return text
}

// operation is all there is to say about an endpoint.
type operation struct {
	id          string // fixed: SDKs name their methods after it
	method      string
	path        string
	tag         string
	summary     string
	description string
	deadline    deadline
	status      int // of success; 0: 200 with a body, else 204
	// problems are what the operation can answer besides what every operation of its document can.
	problems []Code
	// request and response are examples of whole bodies.
	request, response any
	// mayStream accepts the API key in the query.
	mayStream bool
	// files takes bodies that are forms with a file, and returns the body of the answer; JSON goes to the handler.
	files func(ctx huma.Context) (any, error)
	// once takes idempotency keys.
	once bool
	// public needs no key.
	public bool
	// scope is what a tenant's key must have; every operation of theirs that needs a key has one.
	scope tenant.Scope
	// role is what an admin key must have; empty: that of a viewer for what only reads, of an operator for the rest.
	role tenant.AdminRole
	// adjust changes the declaration last, for what the rest cannot say.
	adjust func(op *huma.Operation, schemas huma.Registry)
}

// tenantOperation registers an operation of the tenants' API. The handler gets its tenant's handle and nothing of the others.
func tenantOperation[I, O any](d *document, op *operation, handler func(ctx context.Context, t tenant.Handle, in *I) (*O, error)) {
	register(d, op, func(ctx context.Context, in *I) (*O, error) {
		id, err := tenant.FromContext(ctx)
		if err != nil {
			return nil, err
		}
		return handler(ctx, d.server.cfg.Sessions.Fresh(d.server.cfg.Store.Tenant(id)), in)
	})
}

// register registers an operation with its document: authentication, body, deadline, problems and examples.
func register[I, O any](d *document, op *operation, handler func(ctx context.Context, in *I) (*O, error)) {
	_, hasBody := reflect.TypeFor[I]().FieldByName("Body")
	declared := huma.Operation{
		OperationID: op.id, Method: op.method, Path: op.path, Summary: op.summary, Description: op.description,
		Tags: []string{op.tag}, DefaultStatus: op.status,
		MaxBodyBytes:    d.server.limits.Body + 1, // readBody has the last word; Huma counts a full body as too large
		BodyReadTimeout: -1,                       // likewise; Huma's would stay on the connection and cancel the request
		Responses:       map[string]*huma.Response{},
		Middlewares:     huma.Middlewares{d.server.enter(op)},
	}
	declared.Description = strings.Trim(op.description+"\n\n"+d.conditions(op), "\n")
	if !op.public {
		declared.Extensions = map[string]any{d.extension(): d.needs(op)}
		declared.Middlewares = append(declared.Middlewares, d.authenticate(op))
		declared.Security = d.security(op)
		if d.forTenants {
			declared.Middlewares = append(declared.Middlewares, d.server.limit)
		}
	}
	if !d.forTenants && !op.public && op.method != http.MethodGet {
		declared.Middlewares = append(declared.Middlewares, d.server.audited(op))
	}
	declared.Middlewares = append(declared.Middlewares, checkQuery)
	if op.once {
		declared.Middlewares = append(declared.Middlewares, readKey)
	}
	if op.files != nil {
		declared.Middlewares = append(declared.Middlewares, d.multipart(op))
	}
	if hasBody {
		declared.Middlewares = append(declared.Middlewares, d.server.readBody)
	}
	codes := d.codes(op, hasBody)
	for _, code := range codes {
		if status := code.fault().status; !slices.Contains(declared.Errors, status) {
			declared.Errors = append(declared.Errors, status)
		}
	}
	if op.adjust != nil {
		op.adjust(&declared, d.huma.OpenAPI().Components.Schemas)
	}
	huma.Register(d.huma, declared, func(ctx context.Context, in *I) (*O, error) {
		out, err := handler(ctx, in)
		if err != nil {
			return nil, d.problem(ctx, op, err)
		}
		return out, nil
	})
	if op.once {
		describeKey(operationOf(d.huma.OpenAPI().Paths[op.path], op.method))
	}
	if op.files != nil {
		describeForm(operationOf(d.huma.OpenAPI().Paths[op.path], op.method))
	}
	d.exemplify(op, codes)
}

// needs is the scope or the role that an operation asks of its caller's key.
func (d *document) needs(op *operation) string {
	switch {
	case d.forTenants && op.scope == "":
		panic("operation " + op.id + " needs a scope: tenant.ScopeRead, ScopeSend or ScopeManage")
	case d.forTenants:
		return string(op.scope)
	default:
		return string(op.needed())
	}
}

// extension is where the documents say so for programs.
func (d *document) extension() string {
	if d.forTenants {
		return "x-scope"
	}
	return "x-role"
}

// needed is the role that an admin operation needs.
func (o *operation) needed() tenant.AdminRole {
	switch {
	case o.role != "":
		return o.role
	case o.method == http.MethodGet:
		return tenant.RoleViewer
	default:
		return tenant.RoleOperator
	}
}

// conditions are what a caller must have and how long it must wait.
func (d *document) conditions(op *operation) string {
	switch {
	case !d.forTenants && op.public:
		return ""
	case !d.forTenants:
		return "Role: `" + d.needs(op) + "`."
	case op.public:
		return op.patience()
	default:
		return strings.TrimSpace("Scope: `" + d.needs(op) + "`. " + op.patience())
	}
}

// codes are all codes that an operation can answer, by status.
func (d *document) codes(op *operation, body bool) []Code {
	codes := slices.Clone(op.problems)
	codes = append(codes, codeInternal, codeBadRequest, codeValidation) // of the query: see checkQuery
	if !op.public {
		codes = append(codes, codeMissingKey, codeInvalidKey, codeTooManyRequests, codeMisconfigured, codeUnavailable)
		if d.forTenants {
			codes = append(codes, codeSuspended, codeScope, codeRateLimited)
		} else {
			codes = append(codes, codeRole)
		}
	}
	if op.once {
		codes = append(codes, onceCodes()...)
	}
	if body {
		codes = append(codes, codeMalformedJSON, codeRequestTimeout, codeTooLarge, codeUnsupportedMedia)
	}
	slices.SortStableFunc(codes, func(a, b Code) int { return a.fault().status - b.fault().status })
	return slices.Compact(codes)
}

// problem turns a handler's error into the answer.
func (d *document) problem(ctx context.Context, op *operation, err error) *Problem {
	p := problemOf(err, d.forTenants)
	if op.deadline == deadlineRead && errors.Is(err, context.DeadlineExceeded) {
		p = newProblem(codeUnavailable) // it was the database that took too long, not WhatsApp
	}
	logProblem(ctx, p, err)
	d.server.countLimit(ctx, p)
	return p
}

// enter notes the operation and sets its deadline. It comes before authentication, so that refusals are counted with it.
func (s *Server) enter(op *operation) middleware {
	limit := s.limits.of(op.deadline)
	return func(ctx huma.Context, next func(huma.Context)) {
		stateOf(ctx.Context()).operation = op.id
		r, _ := humago.Unwrap(ctx)
		r.Header.Del("Accept") // each operation has one content type; Huma would repeat what was asked for
		if limit == 0 {
			next(ctx)
			return
		}
		bounded, cancel := context.WithTimeout(ctx.Context(), limit)
		defer cancel()
		extendWrite(ctx, limit+s.limits.WriteTimeout)
		next(huma.WithContext(ctx, bounded))
	}
}

// exemplify puts examples into the registered operation: of the success, of the request, and one of each problem.
func (d *document) exemplify(op *operation, codes []Code) {
	declared := operationOf(d.huma.OpenAPI().Paths[op.path], op.method)
	if op.response != nil {
		for _, media := range declared.Responses[strconv.Itoa(declared.DefaultStatus)].Content {
			media.Example = op.response
		}
	}
	if op.request != nil {
		declared.RequestBody.Content["application/json"].Example = op.request
	}
	for _, param := range declared.Parameters {
		if param.In == "path" && len(param.Schema.Examples) > 0 { // pages fill in this one, not the schema's
			param.Example = param.Schema.Examples[0]
		}
	}
	byStatus := map[int][]Code{}
	for _, code := range codes {
		status := code.fault().status
		byStatus[status] = append(byStatus[status], code)
	}
	for status, group := range byStatus {
		response := declared.Responses[strconv.Itoa(status)]
		examples := map[string]*huma.Example{}
		for _, code := range group {
			examples[string(code)] = &huma.Example{Value: newProblem(code)}
		}
		response.Content[problemType].Examples = examples
		if retry := newProblem(group[0]).retryAfter; retry > 0 {
			response.Headers = map[string]*huma.Param{"Retry-After": {
				Description: "Seconds to wait before trying again.",
				Schema:      &huma.Schema{Type: huma.TypeInteger},
			}}
		}
	}
	for _, status := range slices.Sorted(maps.Keys(declared.Responses)) {
		response := declared.Responses[status]
		if response.Headers == nil {
			response.Headers = map[string]*huma.Param{}
		}
		response.Headers[headerRequestID] = &huma.Param{
			Description: "The request's id: yours if you sent a sane one, else ours.",
			Schema:      &huma.Schema{Type: huma.TypeString},
		}
	}
}

func operationOf(item *huma.PathItem, method string) *huma.Operation {
	switch method {
	case http.MethodGet:
		return item.Get
	case http.MethodPost:
		return item.Post
	case http.MethodPut:
		return item.Put
	case http.MethodPatch:
		return item.Patch
	default:
		return item.Delete
	}
}
