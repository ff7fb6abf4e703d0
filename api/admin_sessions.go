package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// SessionOfTenant is one of many sessions.
type SessionOfTenant struct {
	Tenant tenant.ID `json:"tenantId" doc:"The tenant's id." example:"k7q2m4x5a3bc"`
	SessionInfo
}

// SessionList is the answer of GET /admin/sessions.
type SessionList struct {
	Sessions   []SessionOfTenant `json:"sessions" nullable:"false" doc:"In the order of the tenants' ids."`
	NextCursor string            `json:"nextCursor,omitempty" doc:"Where the next page starts; absent on the last."`
}

type sessionListOutput struct {
	Body SessionList
}

type listSessionsInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Sessions in a page."`
	Cursor string `query:"cursor" maxLength:"500" doc:"nextCursor of the page before."`
	State  string `query:"state" enum:"unpaired,pairing,connecting,online,backoff,logged_out,banned,outdated,conflict,stopped" doc:"Only sessions in this state." example:"backoff"`
	Reason string `query:"reason" maxLength:"100" doc:"Only sessions that are in their state for this reason." example:"stream_replaced"`
}

type adminSessions struct{ sessions Sessions }

// registerAdminSessions registers the look over all sessions.
func registerAdminSessions(d *document, sessions Sessions) {
	h := &adminSessions{sessions: sessions}
	register(d, &operation{
		id: "list-sessions", method: http.MethodGet, path: "/admin/sessions", tag: tagSession,
		summary: "List sessions",
		description: "The sessions that this node supervises, as they are now, with the reason and what to do: the same that the metric " +
			"`wafleet_sessions` counts. Tenants that never paired, and those that logged out a while ago, have none; find them by " +
			"`GET /admin/tenants?state=`.",
		response: SessionList{Sessions: []SessionOfTenant{{Tenant: "k7q2m4x5a3bc", SessionInfo: SessionInfo{
			State: session.Conflict, Since: exampleTime(), Reason: "stream_replaced", Message: "Another client connected with the same device.",
			Action: "Make sure that the device runs in one place only, then connect the session.", Phone: "5511988880000",
		}}}},
	}, h.list)
}

func (h *adminSessions) list(_ context.Context, in *listSessionsInput) (*sessionListOutput, error) {
	var from tenant.ID
	if in.Cursor != "" {
		var err error
		if from, err = tenant.ParseIDCursor(in.Cursor); err != nil {
			return nil, err
		}
	}
	views := slices.DeleteFunc(h.sessions.Views(), func(v *session.View) bool {
		return v.Tenant <= from || in.State != "" && string(v.State) != in.State || in.Reason != "" && v.Reason != in.Reason
	})
	slices.SortFunc(views, func(a, b *session.View) int { return cmp.Compare(a.Tenant, b.Tenant) })
	list := SessionList{Sessions: []SessionOfTenant{}}
	if len(views) > in.Limit {
		views = views[:in.Limit]
		list.NextCursor = views[in.Limit-1].Tenant.Cursor()
	}
	for _, view := range views {
		list.Sessions = append(list.Sessions, SessionOfTenant{Tenant: view.Tenant, SessionInfo: sessionInfo(view)})
	}
	return &sessionListOutput{Body: list}, nil
}

// NodeInfo is what is told of a node.
type NodeInfo struct {
	Holder    string        `json:"holder" doc:"Host and process." example:"wa-1, process 4711"`
	Version   string        `json:"version" doc:"The version of wafleet." example:"v1.0.0"`
	Revision  string        `json:"revision,omitempty" doc:"The commit that it was built from."`
	StartedAt time.Time     `json:"startedAt" doc:"When the process started."`
	Epoch     int64         `json:"epoch" doc:"Grows with each node that takes the database." example:"12"`
	Engine    string        `json:"engine" enum:"sqlite,postgres" doc:"The kind of the database." example:"postgres"`
	Sessions  SessionCounts `json:"sessions" doc:"Sessions that the node supervises, by state."`
}

// SessionCounts counts sessions by state.
type SessionCounts map[session.State]int

// NodeList is the answer of GET /admin/nodes.
type NodeList struct {
	Nodes []NodeInfo `json:"nodes" nullable:"false" doc:"A database takes one node."`
}

type nodeListOutput struct {
	Body NodeList
}

// registerAdminNodes registers the look at the node.
func registerAdminNodes(d *document, info NodeInfo, sessions Sessions) {
	register(d, &operation{
		id: "list-nodes", method: http.MethodGet, path: "/admin/nodes", tag: tagNode,
		summary: "List nodes",
		response: NodeList{Nodes: []NodeInfo{{
			Holder: "wa-1, process 4711", Version: "v1.0.0", StartedAt: exampleTime(), Epoch: 12, Engine: "postgres",
			Sessions: SessionCounts{session.Online: 998, session.Backoff: 2},
		}}},
	}, func(context.Context, *struct{}) (*nodeListOutput, error) {
		now := info
		now.Sessions = SessionCounts{}
		for _, view := range sessions.Views() {
			now.Sessions[view.State]++
		}
		return &nodeListOutput{Body: NodeList{Nodes: []NodeInfo{now}}}, nil
	})
}
