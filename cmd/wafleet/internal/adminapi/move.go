package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/tenant/tenantfile"
)

// Export writes a tenant as the node exports it, verified on the way: what was written before an error is not whole. There is no
// deadline but for silence.
func (c *Client) Export(ctx context.Context, id string, keep bool, to io.Writer) (end tenantfile.End, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dead := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer dead.Stop()
	resp, err := c.call(ctx, http.MethodPost, tenantPath(id, "export")+"?keep="+strconv.FormatBool(keep), nil)
	if err != nil {
		return end, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, end, err = tenantfile.Copy(to, &lively{Reader: resp.Body, dead: dead})
	if err == io.EOF { //nolint:errorlint // as it is: nothing came
		err = tenantfile.ErrDamaged
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return end, err
}

// lively puts a deadline off with each piece that comes.
type lively struct {
	io.Reader

	dead *time.Timer
}

// Read reads a piece.
func (l *lively) Read(p []byte) (int, error) {
	l.dead.Reset(silence)
	return l.Reader.Read(p)
}

// CancelExport takes an export back.
func (c *Client) CancelExport(ctx context.Context, id string) (s api.SessionInfo, err error) {
	err = c.Do(ctx, http.MethodDelete, tenantPath(id, "export"), nil, &s)
	return s, err
}

// Import sends one tenant to the node. It reads the tenant to its end, whatever the node says, and nothing beyond. Returns io.EOF when
// there is none.
func (c *Client) Import(ctx context.Context, from io.Reader, connect bool) (h tenantfile.Header, arrived api.ImportedTenant, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dead := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer dead.Stop()
	body, out := io.Pipe()
	type outcome struct {
		header tenantfile.Header
		err    error
	}
	copied := make(chan outcome, 1)
	go func() { // ends when the tenant is read
		var read outcome
		read.header, _, read.err = tenantfile.Copy(&patientPipe{to: out, dead: dead}, from)
		_ = out.CloseWithError(read.err) // nil: the end
		copied <- read
	}()
	arrived, err = c.sendTenant(ctx, body, connect)
	_ = body.CloseWithError(errAnswered)
	read := <-copied
	switch {
	case read.err == io.EOF: //nolint:errorlint // as it is: there was nothing to send
		return read.header, arrived, io.EOF
	case read.err != nil:
		return read.header, arrived, fmt.Errorf("nothing of the tenant was imported: %w", read.err)
	case err != nil && ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return read.header, arrived, err
}

var errAnswered = errors.New("the node has answered")

// patientPipe goes on reading when nobody takes any more what it writes.
type patientPipe struct {
	to   *io.PipeWriter
	dead *time.Timer
	deaf bool
}

// Write writes a piece.
func (p *patientPipe) Write(b []byte) (int, error) {
	p.dead.Reset(silence)
	if !p.deaf {
		_, err := p.to.Write(b)
		p.deaf = err != nil
	}
	return len(b), nil
}

func (c *Client) sendTenant(ctx context.Context, body io.Reader, connect bool) (arrived api.ImportedTenant, err error) {
	query := url.Values{"connect": {strconv.FormatBool(connect)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.base.String(), "/")+"/admin/import?"+query.Encode(), body)
	if err != nil {
		return arrived, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Content-Type", tenantfile.ContentType)
	resp, err := c.send(req)
	if err != nil {
		return arrived, err
	}
	defer func() { _ = resp.Body.Close() }()
	if err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&arrived); err != nil {
		return arrived, fmt.Errorf("read the node's answer: %w", err)
	}
	return arrived, nil
}
