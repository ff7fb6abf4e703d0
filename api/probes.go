package api

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// registerProbes registers what supervisors, load balancers and Prometheus ask, all without a key.
func (s *Server) registerProbes() {
	s.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, r *http.Request) { s.probe(w, r, "livez", nil) })
	s.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { s.probe(w, r, "readyz", s.ready) })
	scrape := promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{
		EnableOpenMetrics: true, ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: maxScrapes,
	})
	s.mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		state := stateOf(r.Context())
		state.quiet, state.operation = true, "metrics"
		scrape.ServeHTTP(w, r)
	})
}

// maxScrapes bounds what scrapes may cost at once.
const maxScrapes = 4

func (s *Server) probe(w http.ResponseWriter, r *http.Request, name string, check func(ctx context.Context) error) {
	state := stateOf(r.Context())
	state.quiet, state.operation = true, name
	if check != nil {
		ctx, cancel := context.WithTimeout(r.Context(), s.limits.ReadTimeout)
		defer cancel()
		if err := check(ctx); err != nil {
			state.log.WarnContext(ctx, "not ready", "error", err)
			newProblem(codeUnavailable).because("The node is not ready.").write(w, r)
			return
		}
	}
	w.Header().Set("Content-Type", jsonType)
	_, _ = w.Write([]byte(`{"status":"ok"}` + "\n"))
}

// ready says whether the node may get traffic.
func (s *Server) ready(ctx context.Context) error {
	if s.cfg.Ready != nil {
		if err := s.cfg.Ready(ctx); err != nil {
			return err
		}
	}
	return s.cfg.Store.Ping(ctx)
}
