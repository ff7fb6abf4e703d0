// Package adminapi speaks to a node's admin API, for the operator's commands.
package adminapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	callTimeout = 60 * time.Second // pairing and logging out wait for WhatsApp
	maxAnswer   = 16 << 20
)

// Client calls one node. Safe for concurrent use.
type Client struct {
	base *url.URL
	key  string
	http *http.Client
}

// New makes a client for the node at rawURL.
func New(rawURL, adminKey string) (*Client, error) {
	base, err := url.Parse(rawURL)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, fmt.Errorf("%q is not a node's URL, e.g. http://127.0.0.1:8080", rawURL)
	}
	if adminKey == "" {
		return nil, errors.New("no admin key: set WAFLEET_ADMIN_KEY, or give --admin-key-file")
	}
	return &Client{base: base, key: adminKey, http: &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}}, nil //nolint:errcheck,forcetypeassert // net/http's own promise
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// RefusalError is a problem that the node answered.
type RefusalError struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
}

// Error is the node's sentence.
func (p *RefusalError) Error() string {
	var text strings.Builder
	detail := cmp.Or(p.Detail, p.Title)
	if len(p.Errors) > 0 { // they follow: the hint where to find them is for programs
		detail, _, _ = strings.Cut(detail, `; "errors"`)
	}
	text.WriteString(detail)
	for _, e := range p.Errors {
		fmt.Fprintf(&text, "; %s: %s", e.Location, e.Message)
	}
	fmt.Fprintf(&text, " (%d %s)", p.Status, p.Code)
	return text.String()
}

// Do calls an operation: path is escaped already and starts with /admin; in and out are JSON bodies, or nil. Whatever the node
// answers but 2xx is a *RefusalError.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.call(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("read the node's answer: %w", err)
	}
	return nil
}

// call answers a 2xx response, whose body the caller closes.
func (c *Client) call(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader = http.NoBody
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.base.String(), "/")+path, body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.send(req)
}

// send makes a request under the admin key; it answers as call does.
func (c *Client) send(req *http.Request) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+c.key)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no answer from the node: %w", err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	problem := &RefusalError{Status: resp.StatusCode, Title: resp.Status}
	// An answer that is no problem document comes from a proxy in between: its status says enough.
	_ = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(problem)
	return nil, problem
}
