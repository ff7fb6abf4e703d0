package api

import (
	"net/http"
	"net/http/pprof" // its handlers are registered on http.DefaultServeMux too, which nobody here serves
	"strconv"
	"strings"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

// face is what an address shows of the node.
type face int8

const (
	faceWhole  face = iota // everything but profiles
	facePublic             // the tenants' API
	faceAdmin              // the admin API, metrics, profiles
)

// shows says whether a path is there at an address of this face. Probes and what pages are made of are everywhere.
func (f face) shows(path string) bool {
	under := func(prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }
	switch {
	case under("/debug/pprof"):
		return f == faceAdmin
	case under("/admin"), under("/metrics"):
		return f != facePublic
	case under("/livez"), under("/readyz"), under("/docs/assets"):
		return true
	default:
		return f != faceAdmin
	}
}

// AdminHandler serves what the admin API's own address has: the admin API, metrics, profiles, probes. Without
// [Config.SeparateAdmin] all but profiles are at the public address, too.
func (s *Server) AdminHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, faceAdmin) })
}

// registerProfiles registers Go's profiles. They cost CPU and tell of the program's inside, so an operator's key is needed wherever
// the request comes from: that it is from this machine proves nothing. There is no cmdline, which may hold secrets.
func (s *Server) registerProfiles() {
	for path, handler := range map[string]http.HandlerFunc{
		"/debug/pprof/": pprof.Index, "/debug/pprof/profile": pprof.Profile, "/debug/pprof/symbol": pprof.Symbol,
		"/debug/pprof/trace": pprof.Trace,
	} {
		s.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			stateOf(r.Context()).operation = "pprof"
			who, p := s.operatorOf(r)
			if p == nil && !who.role.Covers(tenant.RoleOperator) {
				p = tooSmall(who.role, tenant.RoleOperator)
			}
			if p != nil {
				p.write(w, r)
				return
			}
			seconds, _ := strconv.Atoi(r.URL.Query().Get("seconds")) // what is none counts as nothing here and as 30 there
			seconds = min(max(seconds, 30), maxProfile)              //nolint:mnd // pprof's own default
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Duration(seconds)*time.Second + s.limits.WriteTimeout))
			handler(w, r)
		})
	}
}

// maxProfile is the most seconds that a profile can be waited for.
const maxProfile = 300
