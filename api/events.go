package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

type eventHandler struct{ streams *streams }

// registerEvents registers the journal as a list.
func registerEvents(d *document, st *streams) {
	h := &eventHandler{streams: st}
	tenantOperation(d, &operation{
		id: "list-events", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/events", tag: tagEvents, deadline: deadlineNone,
		summary: "Read the journal of events",
		description: "Events after a number, oldest first; the same that the WebSocket carries. Go on with `after` set to `next`. With `wait` " +
			"an empty answer is held back until something happens or the time is over.\n\n" +
			"`gap` is true when the list does not go on right after your number: the events between are no longer kept, or, when `next` is " +
			"less than `after`, the journal is younger than your number, because the server started anew: read chats and messages again. " +
			"Such an answer is not held back. Either way go on with `next`.",
		problems: []Code{codeTooManyStreams},
		response: EventList{Events: []tenant.Event{exampleEvent()}, Next: 41, Oldest: 1, Latest: 41},
	}, h.list)
}

// EventList is the answer of GET /api/events.
type EventList struct {
	Events []tenant.Event `json:"events" nullable:"false" doc:"Oldest first."`
	Next   int64          `json:"next" doc:"The number to ask after next time." example:"41"`
	Gap    bool           `json:"gap,omitempty" doc:"True when events between after and these are missing, or when after is ahead of the journal; absent otherwise."`
	Oldest int64          `json:"oldest" doc:"The oldest event that is kept." example:"1"`
	Latest int64          `json:"latest" doc:"The newest event; 0 when there was none." example:"41"`
}

type eventListOutput struct {
	Body EventList
}

type listEventsInput struct {
	After int64           `query:"after" minimum:"0" doc:"Only events with a greater number." example:"40"`
	Limit int             `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most events to answer."`
	Types []journaledType `query:"types" maxItems:"32" doc:"Only events of these types, separated by commas." example:"message.received"`
	Wait  int             `query:"wait" minimum:"0" maximum:"60" doc:"Seconds to wait when there is none."`
}

func (h *eventHandler) list(ctx context.Context, t tenant.Handle, in *listEventsInput) (*eventListOutput, error) {
	look := func() (*EventList, error) {
		bounded, cancel := context.WithTimeout(ctx, h.streams.limits.ReadTimeout)
		defer cancel()
		return readEvents(bounded, t, in)
	}
	if in.Wait == 0 {
		list, err := look()
		return eventOutput(list, readTimeoutIsUnavailable(ctx, err))
	}
	// A waiting poll is a stream like a WebSocket: it counts against the same limit and ends with the server.
	life, st, err := h.streams.open(ctx, t.ID(), stateOf(ctx).key)
	if err != nil {
		return nil, err
	}
	defer h.streams.close(st)
	wake, stop := t.Watch()
	defer stop()
	over := time.NewTimer(time.Duration(in.Wait) * time.Second)
	defer over.Stop()
	for {
		list, err := look()
		if err != nil || len(list.Events) > 0 || list.Gap {
			return eventOutput(list, readTimeoutIsUnavailable(ctx, err))
		}
		in.After = list.Next // what no type asked for matched is not read again
		select {
		case <-wake:
		case <-over.C:
			return eventOutput(list, nil)
		case <-st.poke: // the key changed: the next call shows whether it still works
			return eventOutput(list, nil)
		case <-life.Done():
			return eventOutput(list, ctx.Err()) // an empty answer if it is the server that ends
		}
	}
}

// readTimeoutIsUnavailable tells a database that took too long from a client that left.
func readTimeoutIsUnavailable(ctx context.Context, err error) error {
	if err != nil && ctx.Err() == nil && isDeadline(err) {
		return newProblem(codeUnavailable)
	}
	return err
}

func eventOutput(list *EventList, err error) (*eventListOutput, error) {
	if err != nil {
		return nil, err
	}
	return &eventListOutput{Body: *list}, nil
}

// readEvents reads on until it has an event of the types asked for, or all of them.
func readEvents(ctx context.Context, t tenant.Handle, in *listEventsInput) (*EventList, error) {
	oldest, latest, err := t.Bounds(ctx)
	if err != nil {
		return nil, err
	}
	list := &EventList{Events: []tenant.Event{}, Next: max(min(in.After, latest), oldest-1), Oldest: oldest, Latest: latest}
	list.Gap = list.Next != in.After
	for {
		events, err := t.Events(ctx, list.Next, in.Limit)
		if err != nil {
			return nil, err
		}
		for _, event := range events {
			list.Gap = list.Gap || event.Seq > list.Next+1 // retention overtook us
			list.Next = event.Seq
			list.Latest = max(list.Latest, event.Seq)
			if len(in.Types) == 0 || slices.Contains(in.Types, journaledType(event.Type)) {
				list.Events = append(list.Events, event)
			}
		}
		if len(events) < in.Limit || len(list.Events) > 0 {
			return list, nil
		}
	}
}
