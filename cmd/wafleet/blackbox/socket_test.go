package blackbox

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// frame is what a WebSocket carries.
type frame struct {
	Seq       int64           `json:"seq,omitempty"`
	Type      string          `json:"type"`
	Timestamp string          `json:"timestamp,omitempty"`
	Data      json.RawMessage `json:"data"`
}

// socket reads a tenant's WebSocket into memory and checks that numbers follow each other.
type socket struct {
	t     *testing.T
	conn  *websocket.Conn
	ended chan struct{} // closed when reading has ended

	mu     sync.Mutex
	grew   chan struct{} // closed and made anew with each frame
	frames []frame
	last   int64
	fault  string
}

// listen connects to /ws and reads from after since.
func listen(t *testing.T, base, key string, since int64) *socket {
	t.Helper()
	ctx := t.Context()
	address := fmt.Sprintf("%s/ws?apiKey=%s&since=%d", strings.Replace(base, "http", "ws", 1), key, since)
	conn, resp, err := websocket.Dial(ctx, address, nil)
	require.NoError(t, err)
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	conn.SetReadLimit(4 << 20)
	s := &socket{t: t, conn: conn, ended: make(chan struct{}), grew: make(chan struct{}), last: since}
	go s.read(ctx)
	t.Cleanup(func() {
		_ = s.conn.CloseNow()
		<-s.ended
		require.Empty(t, s.fault)
	})
	return s
}

func (s *socket) read(ctx context.Context) {
	defer close(s.ended)
	for {
		_, raw, err := s.conn.Read(ctx)
		s.mu.Lock()
		if err == nil {
			s.take(raw)
		}
		close(s.grew)
		s.grew = make(chan struct{})
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *socket) take(raw []byte) {
	var f frame
	if err := json.Unmarshal(raw, &f); err != nil {
		s.fault = fmt.Sprintf("a frame is no event: %v: %s", err, raw)
		return
	}
	if f.Seq != 0 { // hello, and what is live only, have none
		if f.Seq != s.last+1 {
			s.fault = fmt.Sprintf("event %d (%s) follows %d", f.Seq, f.Type, s.last)
		}
		s.last = f.Seq
	} else if len(s.frames) == 0 && f.Type != "hello" {
		s.fault = "the first frame is no hello: " + string(raw)
	}
	s.frames = append(s.frames, f)
}

// see waits for a frame that fits and returns it.
func (s *socket) see(t *testing.T, what string, fits func(f *frame) bool) frame {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for seen := 0; ; {
		s.mu.Lock()
		frames, grew, fault := s.frames, s.grew, s.fault
		s.mu.Unlock()
		require.Empty(t, fault)
		for i := range frames[seen:] {
			if fits(&frames[seen+i]) {
				return frames[seen+i]
			}
		}
		seen = len(frames)
		select {
		case <-grew:
		case <-s.ended:
			require.FailNow(t, "the WebSocket ended before "+what)
		case <-late.C:
			require.FailNow(t, "never seen on the WebSocket: "+what, "%d frames", seen)
		}
	}
}

// event waits for an event of that type whose data holds these texts.
func (s *socket) event(t *testing.T, kind string, holds ...string) frame {
	t.Helper()
	return s.see(t, kind+" with "+strings.Join(holds, ", "), func(f *frame) bool {
		return f.Type == kind && !slices.ContainsFunc(holds, func(text string) bool { return !strings.Contains(string(f.Data), text) })
	})
}

// journal is the numbered frames so far.
func (s *socket) journal() []frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.frames), func(f frame) bool { return f.Seq == 0 })
}
