package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// healthCmd is for images, which have no curl.
type healthCmd struct {
	URL string `default:"http://127.0.0.1:8080" fromenv:"WAFLEET_URL" placeholder:"URL" help:"Address of the node. [$$WAFLEET_URL]"`
}

// healthTimeout is shorter than what supervisors wait.
const healthTimeout = 4 * time.Second

// Run fails unless the node is ready for traffic.
func (h *healthCmd) Run(ctx context.Context, p program) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(h.URL, "/")+"/readyz", http.NoBody)
	if err != nil {
		return usageError{fmt.Errorf("--url: %w", err)}
	}
	req.Close = true
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return fmt.Errorf("ask the node: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the node is not ready: %s", resp.Status)
	}
	_, err = fmt.Fprintln(p.Stdout, "ready")
	return err //nolint:wrapcheck // stdout is gone
}
