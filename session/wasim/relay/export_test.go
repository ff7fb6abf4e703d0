package relay

import "time"

// Sweep is a whole round of the sweeper, at a time that a test chooses.
func (s *Server) Sweep(now time.Time) { s.sweepOnce(now, true) }
