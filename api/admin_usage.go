package api

import (
	"context"
	"encoding/csv"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wafleet/wafleet/tenant"
)

type adminUsage struct{ store tenant.Store }

const csvType = "text/csv"

// registerAdminUsage registers what tenants used.
func registerAdminUsage(d *document, store tenant.Store) {
	h := &adminUsage{store: store}
	const what = "Days are those of UTC; a period without `from` begins 30 days ago, without `to` it ends today, and it is of 366 days at most. " +
		"Messages are counted in the transactions that store them; requests and bytes are stored every ten seconds, so a " +
		"node that is killed forgets those of the last seconds. As CSV with `format=csv` or `Accept: text/csv`."
	used := tenant.Usage{MessagesIn: 120, MessagesOut: 80, MediaBytesIn: 1 << 20, MediaBytesOut: 1 << 19, APICalls: 960}
	asCSV := func(example string) func(op *huma.Operation, schemas huma.Registry) {
		return func(op *huma.Operation, _ huma.Registry) {
			op.Responses["200"].Content[csvType] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}, Example: example}
		}
	}
	day := tenant.UsageLine{Tenant: "k7q2m4x5a3bc", ExternalID: "customer-4711", Day: "2026-11-29", Usage: used, ActiveDays: 1}
	register(d, &operation{
		id: "get-tenant-usage", method: http.MethodGet, path: "/admin/tenants/{tenantId}/usage", tag: tagUsage,
		summary: "Show what a tenant used", description: what, problems: []Code{codeTenantNotFound},
		adjust: func(op *huma.Operation, schemas huma.Registry) {
			op.Responses["200"] = jsonResponse[UsageOfTenant](schemas)
			op.Responses["200"].Content[jsonType].Example = UsageOfTenant{
				Tenant: day.Tenant, From: "2026-11-01", To: "2026-11-30", Days: []tenant.DayUsage{{Day: day.Day, Usage: used}}, Total: used, ActiveDays: 1,
			}
			asCSV("day,"+usageHeader+"\n2026-11-29,120,80,1048576,524288,960\n")(op, schemas)
		},
	}, h.ofOne)
	register(d, &operation{
		id: "list-usage", method: http.MethodGet, path: "/admin/usage", tag: tagUsage, deadline: deadlineMulti,
		summary: "List what all tenants used",
		description: "By day, or with `per=tenant` one line for each tenant's whole period. JSON comes in pages; CSV comes whole, unless a `limit` is " +
			"given. Tenants that used nothing are not in it. " + what,
		adjust: func(op *huma.Operation, schemas huma.Registry) {
			op.Responses["200"] = jsonResponse[UsageList](schemas)
			op.Responses["200"].Content[jsonType].Example = UsageList{From: "2026-11-01", To: "2026-11-30", Usage: []tenant.UsageLine{day}}
			asCSV("tenantId,externalId,day,"+usageHeader+",activeDays\nk7q2m4x5a3bc,customer-4711,2026-11-29,120,80,1048576,524288,960,1\n")(op, schemas)
		},
	}, h.ofAll)
}

// Period is the part of a query that says for which days. Exported because Huma looks only into exported embedded fields.
type Period struct {
	From   string `query:"from" format:"date" doc:"The first day; 30 days ago when absent." example:"2026-11-01"`
	To     string `query:"to" format:"date" doc:"The last day; today when absent." example:"2026-11-30"`
	Format string `query:"format" enum:"json,csv" doc:"The form of the answer; it stands above the header Accept."`
}

const (
	maxPeriod     = 366 * 24 * time.Hour
	defaultPeriod = 30 * 24 * time.Hour
)

func (p *Period) days() (from, to tenant.Date, err error) {
	to = tenant.DateOf(time.Now())
	if p.To != "" {
		if to, err = tenant.ParseDate(p.To); err != nil {
			return "", "", invalid("query.to", err.Error())
		}
	}
	from = tenant.DateOf(to.Time().Add(-defaultPeriod))
	if p.From != "" {
		if from, err = tenant.ParseDate(p.From); err != nil {
			return "", "", invalid("query.from", err.Error())
		}
	}
	if length := to.Time().Sub(from.Time()); length < 0 || length >= maxPeriod {
		return "", "", invalid("query.from", "expected a day before to, and a period of at most 366 days")
	}
	return from, to, nil
}

// csv says whether the caller wants it.
func (p *Period) csv(ctx context.Context) bool {
	if p.Format != "" {
		return p.Format == "csv"
	}
	for part := range strings.SplitSeq(stateOf(ctx).accept, ",") {
		if media, params, err := mime.ParseMediaType(part); err == nil && media == csvType && params["q"] != "0" {
			return true
		}
	}
	return false
}

const usageHeader = "messagesIn,messagesOut,mediaBytesIn,mediaBytesOut,apiCalls"

func usageCells(u *tenant.Usage) []string {
	var cells []string
	for _, n := range []int64{u.MessagesIn, u.MessagesOut, u.MediaBytesIn, u.MediaBytesOut, u.APICalls} {
		cells = append(cells, strconv.FormatInt(n, 10))
	}
	return cells
}

// UsageOfTenant is the answer of GET …/usage.
type UsageOfTenant struct {
	Tenant     tenant.ID         `json:"tenantId" doc:"The tenant's id." example:"k7q2m4x5a3bc"`
	From       tenant.Date       `json:"from" format:"date" doc:"The first day of the period." example:"2026-11-01"`
	To         tenant.Date       `json:"to" format:"date" doc:"The last day of the period." example:"2026-11-30"`
	Days       []tenant.DayUsage `json:"days" nullable:"false" doc:"The days on which there was something, oldest first."`
	Total      tenant.Usage      `json:"total" doc:"The sum of them."`
	ActiveDays int               `json:"activeDays" doc:"How many they are." example:"1"`
}

type tenantUsageInput struct {
	TenantPath
	Period
}

func (h *adminUsage) ofOne(ctx context.Context, in *tenantUsageInput) (*huma.StreamResponse, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	from, to, err := in.days()
	if err != nil {
		return nil, err
	}
	if _, err = h.store.Get(ctx, id); err != nil {
		return nil, err
	}
	days, err := h.store.Tenant(id).Usage(ctx, from, to)
	if err != nil {
		return nil, err
	}
	answer := UsageOfTenant{Tenant: id, From: from, To: to, Days: []tenant.DayUsage{}, ActiveDays: len(days)}
	for _, day := range days {
		answer.Days = append(answer.Days, day)
		answer.Total.Add(day.Usage)
	}
	if !in.csv(ctx) {
		return inJSON(answer), nil
	}
	return inCSV("day,"+usageHeader, func(w *csv.Writer) error {
		for i := range days {
			if err := w.Write(append([]string{string(days[i].Day)}, usageCells(&days[i].Usage)...)); err != nil {
				return err
			}
		}
		return nil
	}), nil
}

type usageInput struct {
	Period

	Limit  optional[int] `query:"limit" minimum:"1" maximum:"10000" doc:"Lines in a page; 1000 when absent, or, as CSV, all."`
	Cursor string        `query:"cursor" maxLength:"500" doc:"nextCursor of the page before; as CSV it is in the header X-Next-Cursor."`
	Per    string        `query:"per" enum:"day,tenant" default:"day" doc:"One line for each day of a tenant, or for its whole period."`
}

// UsageList is the answer of GET /admin/usage.
type UsageList struct {
	From       tenant.Date        `json:"from" format:"date" doc:"The first day of the period." example:"2026-11-01"`
	To         tenant.Date        `json:"to" format:"date" doc:"The last day of the period." example:"2026-11-30"`
	Usage      []tenant.UsageLine `json:"usage" nullable:"false" doc:"By tenant, then by day."`
	NextCursor string             `json:"nextCursor,omitempty" doc:"Where the next page starts; absent on the last."`
}

// usagePage is how many lines are read at once where all are wanted.
const usagePage = 1000

func (h *adminUsage) ofAll(ctx context.Context, in *usageInput) (*huma.StreamResponse, error) {
	from, to, err := in.days()
	if err != nil {
		return nil, err
	}
	q := tenant.UsageQuery{
		Page: tenant.Page{Limit: usagePage, Cursor: in.Cursor}, From: from, To: to, PerTenant: in.Per == "tenant",
	}
	if in.Limit.set {
		q.Limit = in.Limit.value
	}
	page, err := h.store.Usage(ctx, q)
	if err != nil {
		return nil, err
	}
	if !in.csv(ctx) {
		list := UsageList{From: from, To: to, Usage: []tenant.UsageLine{}, NextCursor: page.Next}
		list.Usage = append(list.Usage, page.Lines...)
		return inJSON(list), nil
	}
	next := page.Next
	answer := inCSV("tenantId,externalId,day,"+usageHeader+",activeDays", func(w *csv.Writer) error {
		for {
			for i := range page.Lines {
				u := &page.Lines[i]
				cells := append([]string{string(u.Tenant), u.ExternalID, string(u.Day)}, usageCells(&u.Usage)...)
				if err := w.Write(append(cells, strconv.FormatInt(u.ActiveDays, 10))); err != nil {
					return err
				}
			}
			if q.Cursor = page.Next; q.Cursor == "" || in.Limit.set {
				return nil
			}
			var err error
			if page, err = h.store.Usage(ctx, q); err != nil {
				return err
			}
		}
	})
	if in.Limit.set && next != "" {
		write := answer.Body
		answer.Body = func(hc huma.Context) {
			hc.SetHeader("X-Next-Cursor", next)
			write(hc)
		}
	}
	return answer, nil
}

func inJSON(body any) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", jsonType)
		hc.SetHeader("Vary", "Accept")
		hc.SetStatus(http.StatusOK)
		_ = huma.DefaultJSONFormat.Marshal(hc.BodyWriter(), body) // the status is sent; a client that left learns nothing more
	}}
}

// inCSV streams lines. Should they break off, the connection does, too: half a bill must not look like a whole one.
func inCSV(header string, lines func(w *csv.Writer) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", csvType+"; charset=utf-8; header=present")
		hc.SetHeader("Vary", "Accept")
		hc.SetStatus(http.StatusOK)
		_, out := humago.Unwrap(hc)
		w := csv.NewWriter(out)
		err := w.Write(strings.Split(header, ","))
		if err == nil {
			err = lines(w)
		}
		w.Flush()
		if err != nil || w.Error() != nil {
			panic(http.ErrAbortHandler)
		}
	}}
}
