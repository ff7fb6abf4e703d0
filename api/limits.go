package api

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// LimitSessions is what the API needs of the fleet for limits.
type LimitSessions interface {
	// Usage returns what a tenant has taken of its limits.
	Usage(ctx context.Context, id tenant.ID) (session.Usage, error)
	// CheckUpload says whether a file of so many bytes, or of some if bytes is 0, may come. Returns *session.LimitError.
	CheckUpload(ctx context.Context, id tenant.ID, bytes int64) error
}

// The limits of requests, as problems name them. Those of what is done to WhatsApp are package session's.
const (
	limitRequests           = "requests"
	limitConcurrentRequests = "concurrentRequests"
	limitEventStreams       = "eventStreams"
)

// turnstile lets tenants' requests in, within their limits. It comes behind the key, which is cached, and before everything else: what it
// refuses has cost no query and no body.
type turnstile struct {
	book *tenant.LimitBook
	byID *lru.Cache[tenant.ID, *requests]
}

// maxRequesters bounds the tenants whose requests are remembered. One that is forgotten starts anew.
const maxRequesters = 50_000

// requests are one tenant's.
type requests struct {
	mu       sync.Mutex
	bucket   tenant.Bucket
	underway int64
}

func newTurnstile(book *tenant.LimitBook) *turnstile {
	byID, _ := lru.New[tenant.ID, *requests](maxRequesters) // fails for sizes below 1 only
	return &turnstile{book: book, byID: byID}
}

func (t *turnstile) of(id tenant.ID) *requests {
	if r, ok := t.byID.Get(id); ok {
		return r
	}
	fresh := &requests{}
	if r, known, _ := t.byID.PeekOrAdd(id, fresh); known {
		return r
	}
	return fresh
}

// pacing is where a tenant stands with its pace of requests, for headers.
type pacing struct {
	pace tenant.Pace
	left int64
}

// enter lets a request in that leaves again. Returns *session.LimitError.
func (r *requests) enter(limits *tenant.Limits, now time.Time) (pacing, error) {
	pace := limits.Requests()
	r.mu.Lock()
	defer r.mu.Unlock()
	if most := limits.ConcurrentRequests; most > 0 && r.underway >= most {
		return pacing{pace, r.bucket.Left(now, pace)}, &session.LimitError{Limit: limitConcurrentRequests, After: time.Second}
	}
	if wait, ok := r.bucket.Take(now, 1, pace, 0); !ok {
		return pacing{pace, 0}, &session.LimitError{Limit: limitRequests, After: wait}
	}
	r.underway++
	return pacing{pace, r.bucket.Left(now, pace)}, nil
}

func (r *requests) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.underway--
}

// left is how many requests could come now.
func (r *requests) left(limits *tenant.Limits, now time.Time) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bucket.Left(now, limits.Requests())
}

// headers say where the tenant stands (draft-ietf-httpapi-ratelimit-headers-10): so many at once, back after so many seconds.
func (p pacing) headers(h http.Header) {
	if p.pace.Per <= 0 {
		return
	}
	quota := max(p.pace.Burst, 1)
	seconds := func(n int64) string { return strconv.FormatInt(int64(math.Ceil(float64(n)/float64(p.pace.Per))), 10) }
	h["Ratelimit-Policy"] = []string{`"` + limitRequests + `";q=` + strconv.FormatInt(quota, 10) + ";w=" + seconds(quota)}
	h["Ratelimit"] = []string{`"` + limitRequests + `";r=` + strconv.FormatInt(p.left, 10) + ";t=" + seconds(quota-p.left)}
}

// maxUnread is the largest body that a connection is kept for although nobody reads it, in bytes.
const maxUnread = 64 << 10

// limit lets a tenant's request in, within the tenant's limits. One that becomes a stream counts as such from then on.
func (s *Server) limit(ctx huma.Context, next func(huma.Context)) {
	state := stateOf(ctx.Context())
	limits, mine := s.turnstile.book.Of(state.tenant), s.turnstile.of(state.tenant)
	at, err := mine.enter(&limits, time.Now())
	r, w := humago.Unwrap(ctx)
	at.headers(w.Header())
	if err != nil {
		state.quiet = true                                      // a line for each would cost more than what was refused; there is a metric
		if r.ContentLength < 0 || r.ContentLength > maxUnread { // or net/http would read on, before it answers the next
			w.Header().Set("Connection", "close")
		}
		p := problemOf(err, true)
		s.countLimit(ctx.Context(), p)
		answer(ctx, p)
		return
	}
	state.leave = sync.OnceFunc(mine.leave)
	defer state.leave()
	next(ctx)
}

// countLimit counts a request that was refused for a limit.
func (s *Server) countLimit(ctx context.Context, p *Problem) {
	if id := stateOf(ctx).tenant; p.Limit != "" && id != "" && !s.keys.isGone(id) {
		s.cfg.Metrics.Limits.Refused(string(id), p.Limit)
	}
}

// EffectiveLimits are limits by name. Exported because Huma names schemas after types.
type EffectiveLimits map[string]int64

// Schema has a member for each limit.
func (EffectiveLimits) Schema(r huma.Registry) *huma.Schema {
	return limitSchema(r, "EffectiveLimits", "Limits by name; 0 means none.", func(s *tenant.LimitSetting) *huma.Schema {
		return &huma.Schema{
			Type: huma.TypeInteger, Format: "int64", Minimum: new(0.0), Description: s.Usage + " 0: no limit.", Examples: []any{s.Default},
		}
	}, true)
}

// limitSchema is an object with a member for each limit.
func limitSchema(
	r huma.Registry, name, description string, member func(*tenant.LimitSetting) *huma.Schema, required bool,
) *huma.Schema {
	if r.Map()[name] == nil {
		schema := &huma.Schema{
			Type: huma.TypeObject, Description: description, Properties: map[string]*huma.Schema{}, AdditionalProperties: false,
		}
		for _, s := range tenant.LimitSettings() {
			schema.Properties[s.Name] = member(&s)
			if required {
				schema.Required = append(schema.Required, s.Name)
			}
		}
		schema.PrecomputeMessages()
		r.Map()[name] = schema
	}
	return &huma.Schema{Ref: schemaPrefix + name}
}

// effective are limits by name.
func effective(l tenant.Limits) EffectiveLimits {
	all := EffectiveLimits{}
	for _, s := range tenant.LimitSettings() {
		all[s.Name] = *s.Field(&l)
	}
	return all
}

// Remaining is what is left of limits. What has no limit is absent.
type Remaining struct {
	Requests           *int64 `json:"requests,omitempty" doc:"API requests that may come at once." example:"399"`
	ConcurrentRequests *int64 `json:"concurrentRequests,omitempty" doc:"API requests that may be under way beside those that are." example:"63"`
	EventStreams       *int64 `json:"eventStreams,omitempty" doc:"WebSockets and waiting polls that may be opened." example:"31"`
	Sends              *int64 `json:"sends,omitempty" doc:"Messages that may be sent at once." example:"200"`
	ConcurrentSends    *int64 `json:"concurrentSends,omitempty" doc:"Messages that may be on their way beside those that are." example:"32"`
	ColdChats          *int64 `json:"coldChats,omitempty" doc:"Persons who never wrote that may be written to today." example:"188"`
	NumberChecks       *int64 `json:"numberChecks,omitempty" doc:"Phone numbers that may be checked." example:"500"`
	UploadBytes        *int64 `json:"uploadBytes,omitempty" doc:"Bytes of files that may be sent today." example:"10737418240"`
	DownloadBytes      *int64 `json:"downloadBytes,omitempty" doc:"Bytes of files that may be fetched today." example:"21474836480"`
	StorageBytes       *int64 `json:"storageBytes,omitempty" doc:"Bytes that may be stored before sends are refused." example:"1073741824"`
}

// LimitUsage is what a tenant has taken of its limits.
type LimitUsage struct {
	Remaining    Remaining            `json:"remaining" doc:"What is left. What has no limit is absent."`
	StoredBytes  int64                `json:"storedBytes" doc:"About how many bytes of messages and events are kept." example:"7340032"`
	ResetsAt     time.Time            `json:"resetsAt" doc:"When the budgets of the day begin anew: midnight UTC."`
	ReachoutLock *tenant.ReachoutLock `json:"reachoutLock,omitempty" doc:"WhatsApp's own limit, while it holds: the account can write only to those who have written to it."`
}

// TenantLimits is the answer of GET /api/limits.
type TenantLimits struct {
	LimitUsage

	Limits EffectiveLimits `json:"limits" doc:"The limits that hold."`
}

type tenantLimitsOutput struct {
	Body TenantLimits
}

func exampleUsage() LimitUsage {
	return LimitUsage{
		Remaining: Remaining{
			Requests: new(int64(399)), ConcurrentRequests: new(int64(63)), EventStreams: new(int64(31)), Sends: new(int64(200)),
			ConcurrentSends: new(int64(32)), ColdChats: new(int64(188)), NumberChecks: new(int64(500)),
			UploadBytes: new(int64(10 << 30)), DownloadBytes: new(int64(20 << 30)),
		},
		StoredBytes: 7 << 20, ResetsAt: exampleTime().Truncate(24 * time.Hour).Add(24 * time.Hour),
	}
}

// registerLimits registers GET /api/limits.
func (s *Server) registerLimits(d *document) {
	tenantOperation(d, &operation{
		id: "get-limits", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/limits", tag: tagServer,
		summary: "Show the account's limits and what is left of them",
		description: "Whoever is beyond a limit gets 429 `RATE_LIMITED` with the limit's name in `limit` and the seconds to wait in " +
			"`Retry-After`. Limits per day begin anew at midnight UTC.",
		response: TenantLimits{Limits: effective(tenant.DefaultLimits()), LimitUsage: exampleUsage()},
	}, func(ctx context.Context, t tenant.Handle, _ *struct{}) (*tenantLimitsOutput, error) {
		usage, err := s.usage(ctx, t.ID())
		if err != nil {
			return nil, err
		}
		return &tenantLimitsOutput{Body: TenantLimits{Limits: effective(s.turnstile.book.Of(t.ID())), LimitUsage: *usage}}, nil
	})
}

// usage is what a tenant has taken of its limits. Returns tenant.ErrNotFound.
func (s *Server) usage(ctx context.Context, id tenant.ID) (*LimitUsage, error) {
	view, err := s.cfg.Sessions.View(ctx, id)
	if err != nil {
		return nil, err
	}
	used, err := s.cfg.Sessions.Usage(ctx, id)
	if err != nil {
		return nil, err
	}
	limits, mine := s.turnstile.book.Of(id), s.turnstile.of(id)
	mine.mu.Lock()
	underway := mine.underway
	mine.mu.Unlock()
	of := func(limit, taken int64) *int64 {
		if limit <= 0 {
			return nil
		}
		return new(max(0, limit-taken))
	}
	left := func(limit, rest int64) *int64 {
		if limit <= 0 {
			return nil
		}
		return &rest
	}
	return &LimitUsage{
		Remaining: Remaining{
			Requests:           left(limits.RequestsPerSecond, mine.left(&limits, time.Now())),
			ConcurrentRequests: of(limits.ConcurrentRequests, underway),
			EventStreams:       of(limits.EventStreams, int64(s.streams.count(id))),
			Sends:              left(limits.SendsPerMinute, used.SendsLeft),
			ConcurrentSends:    of(limits.ConcurrentSends, used.Sending),
			ColdChats:          of(limits.ColdChatsPerDay, used.ColdChatsToday),
			NumberChecks:       left(limits.NumberChecksPerHour, used.NumberChecksLeft),
			UploadBytes:        of(limits.UploadBytesPerDay, used.UploadedToday),
			DownloadBytes:      of(limits.DownloadBytesPerDay, used.FetchedToday),
			StorageBytes:       of(limits.StorageBytes, used.StoredBytes),
		},
		StoredBytes: used.StoredBytes, ResetsAt: used.Day.Ends(), ReachoutLock: activeLock(&view),
	}, nil
}

// activeLock is a session's time lock while it holds, or nil.
func activeLock(v *session.View) *tenant.ReachoutLock {
	if !v.Reachout.Active(time.Now()) {
		return nil
	}
	return new(v.Reachout)
}

// limitWords says in a sentence what it means that a limit is used up, beside its name.
func limitWords(limit string) string {
	switch limit {
	case session.LimitColdChats:
		return "Today's budget for people who never wrote to this account is used up. Replies to those who did go on."
	case session.LimitReachout:
		return "WhatsApp does not let this account write to people who never wrote to it for now. Replies to those who did go on."
	case session.LimitStorage:
		return "Too much is stored for this account: nothing more is sent until something is deleted. What is received is stored all the same."
	case session.LimitUploadBytes, session.LimitDownloadBytes:
		return "Today's budget for files is used up."
	}
	return "The limit " + limit + " is used up."
}

// limitProblem says which limit is used up, and when to come again.
func limitProblem(e *session.LimitError) *Problem {
	p := newProblem(codeRateLimited).because(limitWords(e.Limit) + " The header Retry-After says when to come again.")
	p.Limit, p.retryAfter = e.Limit, max(time.Second, e.After)
	return p
}

// badLimit is what the operator is told about a limit that cannot be. Schemas find all that this would.
func badLimit(err error) error {
	if errors.Is(err, tenant.ErrInvalidLimit) {
		return invalid("body", err.Error())
	}
	return err
}
