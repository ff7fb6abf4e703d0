package api

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wafleet/wafleet/tenant"
)

// registerEventStream registers the journal as server-sent events.
func (s *Server) registerEventStream(d *document) {
	tenantOperation(d, &operation{
		id: "follow-events", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/events/stream", tag: tagEvents, deadline: deadlineNone,
		summary: "Receive events as they happen (server-sent events)",
		description: "The frames of the WebSocket as server-sent events, for programs that would rather read plain HTTP: each event's data is one " +
			"frame, and its id is the number to come back with. First comes `hello`, then, with `Last-Event-ID` or `after`, all that " +
			"came after that number, then whatever happens, in order, without a gap and without a double. If events between are no longer " +
			"kept, a `gap` frame says so. What a client that reads server-sent events sends by itself when the connection was lost " +
			"is all that is needed to go on.\n\n" +
			"While nothing happens there is a comment every 15 s; with `types`, an id too, which moves on over events that you did not ask for. " +
			"The stream ends when the server stops, when the key is no longer valid, and when you read too slowly: come back with the last id.",
		problems: []Code{codeTooManyStreams},
		adjust: func(op *huma.Operation, _ huma.Registry) {
			op.Responses["200"] = &huma.Response{
				Description: "The schema is that of each event's data.",
				Content: map[string]*huma.MediaType{
					eventStreamType: {Schema: &huma.Schema{Ref: schemaPrefix + "Frame"}, Examples: frameExamples()},
				},
			}
		},
	}, s.followEvents)
}

type followEventsInput struct {
	LastEventID optional[int64] `header:"Last-Event-Id" minimum:"0" doc:"The id of the last event that you got. It counts more than after." example:"41"`
	After       optional[int64] `query:"after" minimum:"0" doc:"Send all events after this number first. Without it only new events are sent." example:"41"`
	Types       []streamedType  `query:"types" maxItems:"32" doc:"Only events of these types, separated by commas." example:"message.received"`
}

func (s *Server) followEvents(ctx context.Context, t tenant.Handle, in *followEventsInput) (*huma.StreamResponse, error) {
	since := in.After.pointer()
	if in.LastEventID.set {
		since = in.LastEventID.pointer()
	}
	life, f, err := s.follow(ctx, t, since)
	if err != nil {
		return nil, err
	}
	for _, kind := range in.Types {
		f.types = append(f.types, tenant.EventType(kind))
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer f.release()
		if !s.keyed(hc, false, f) { //nolint:contextcheck // Huma's context carries it
			return
		}
		hc.SetHeader("Content-Type", eventStreamType)
		hc.SetHeader("X-Accel-Buffering", "no") // else nginx holds events back
		if hc.Method() == http.MethodHead {
			return
		}
		_, w := humago.Unwrap(hc)
		f.serveEvents(life, w)
	}}, nil
}

// serveEvents writes server-sent events until the stream ends or the client leaves. It returns when its goroutine has.
func (f *follower) serveEvents(ctx context.Context, w http.ResponseWriter) {
	control := http.NewResponseController(w)
	write := func(format string, args ...any) error {
		if err := control.SetWriteDeadline(time.Now().Add(f.limits.DropAfter)); err != nil {
			return fmt.Errorf("set deadline: %w", err)
		}
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return err
		}
		return control.Flush()
	}
	told := f.last // the id that the client has
	f.write = func(raw []byte, position int64) error {
		told = position
		return write("id: %d\ndata: %s\n\n", position, raw)
	}
	f.rest = func() error {
		if told == f.last {
			return write(": nothing new\n\n")
		}
		told = f.last
		return write(": nothing of these types\nid: %d\n\n", told)
	}
	served := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { f.watchOver(ctx, nil) })
	wg.Go(func() { // a write under way does not hold up the end for long
		<-ctx.Done()
		late := time.NewTimer(lastWords)
		defer late.Stop()
		select {
		case <-served:
		case <-late.C:
			_ = control.SetWriteDeadline(time.Now())
		}
	})
	f.stream.end(f.serve(ctx))
	close(served)
	wg.Wait()
}
