package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

// feed reads a tenant's WebSocket into memory and checks that the journal has no gap.
type feed struct {
	t     *testing.T
	conn  *websocket.Conn
	ended chan struct{} // closed when reading has ended

	mu     sync.Mutex
	grew   chan struct{} // closed and made anew with each frame
	events []tenant.Event
	last   int64
	err    error // why reading ended
	fault  string
}

// openFeed connects to /ws and reads from after since.
func openFeed(t *testing.T, base, key string, since int64) *feed {
	t.Helper()
	ctx := t.Context()
	address := fmt.Sprintf("%s/ws?apiKey=%s&since=%d", strings.Replace(base, "http", "ws", 1), key, since)
	conn, resp, err := websocket.Dial(ctx, address, nil)
	require.NoError(t, err)
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	conn.SetReadLimit(4 << 20)
	f := &feed{t: t, conn: conn, ended: make(chan struct{}), grew: make(chan struct{}), last: since}
	go f.read(ctx)
	t.Cleanup(f.close)
	return f
}

func (f *feed) close() {
	_ = f.conn.CloseNow()
	<-f.ended
	require.Empty(f.t, f.fault)
}

func (f *feed) read(ctx context.Context) {
	defer close(f.ended)
	for {
		_, frame, err := f.conn.Read(ctx)
		f.mu.Lock()
		if err != nil {
			f.err = err
		} else {
			f.take(frame)
		}
		close(f.grew)
		f.grew = make(chan struct{})
		f.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (f *feed) take(frame []byte) {
	var e tenant.Event
	if err := json.Unmarshal(frame, &e); err != nil {
		f.fault = fmt.Sprintf("frame is no event: %v: %s", err, frame)
		return
	}
	switch {
	case e.Type == "hello":
		return
	case e.Type == tenant.EventTyping, e.Type == tenant.EventPresence, e.Type == tenant.EventSyncProgress, e.Type == tenant.EventHistoryProgress: // live only
		f.events = append(f.events, e)
		return
	case e.Seq != f.last+1 && f.fault == "":
		f.fault = fmt.Sprintf("gap in the journal: seq %d (%s) after %d", e.Seq, e.Type, f.last)
	}
	f.last = e.Seq
	f.events = append(f.events, e)
}

// wait waits until the events seen so far satisfy enough, and returns them.
func (f *feed) wait(what string, enough func(events []tenant.Event) bool) []tenant.Event {
	f.t.Helper()
	late := newTimeout(f.t, patience)
	for {
		f.mu.Lock()
		events, grew, err, fault := f.events, f.grew, f.err, f.fault
		f.mu.Unlock()
		require.Empty(f.t, fault)
		if enough(events) {
			return events
		}
		require.NoError(f.t, err, "the WebSocket ended before: %s", what)
		select {
		case <-grew:
		case <-late:
			require.FailNow(f.t, "never seen on the WebSocket: "+what, "%d events", len(events))
		}
	}
}

// closedWith waits for the end of the WebSocket and returns its status.
func (f *feed) closedWith() websocket.StatusCode {
	f.t.Helper()
	select {
	case <-f.ended:
	case <-newTimeout(f.t, patience):
		require.FailNow(f.t, "the WebSocket was not closed")
	}
	return websocket.CloseStatus(f.err)
}

// seen is the newest seq.
func (f *feed) seen() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// messageOf decodes the message of a message.received or message.sent.
func messageOf(t *testing.T, e tenant.Event) tenant.Message {
	t.Helper()
	var m tenant.Message
	require.NoError(t, json.Unmarshal(e.Data, &m), "%s", e.Data)
	return m
}

// received waits for a message.received with that text.
func (f *feed) received(text string) tenant.Message {
	f.t.Helper()
	var found tenant.Message
	f.wait("message.received "+text, func(events []tenant.Event) bool {
		for _, e := range events {
			if e.Type == tenant.EventMessageReceived {
				if found = messageOf(f.t, e); found.Text == text {
					return true
				}
			}
		}
		return false
	})
	return found
}

// status waits until message id has reached the status.
func (f *feed) status(id tenant.MessageID, want tenant.Status) {
	f.t.Helper()
	f.wait(fmt.Sprintf("message.status %s of %s", want, id), func(events []tenant.Event) bool {
		for _, e := range events {
			var s tenant.MessageStatus
			if e.Type == tenant.EventMessageStatus && json.Unmarshal(e.Data, &s) == nil && s.ID == id && s.Status >= want {
				return true
			}
		}
		return false
	})
}
