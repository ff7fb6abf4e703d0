package session

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

func stanza(id string, from, participant types.JID, encrypted ...int) *waBinary.Node {
	n := &waBinary.Node{Tag: "message", Attrs: waBinary.Attrs{"id": id, "from": from}}
	if !participant.IsEmpty() {
		n.Attrs["participant"] = participant
	}
	children := []waBinary.Node{{Tag: "meta"}}
	for _, size := range encrypted {
		children = append(children, waBinary.Node{Tag: "enc", Content: make([]byte, size)})
	}
	n.Content = children
	return n
}

func TestAnArrivalIsFoundByItsMessage(t *testing.T) {
	t.Parallel()
	ana, beto := types.NewJID("5511", types.DefaultUserServer), types.JID{User: "5512", Device: 3, Server: types.DefaultUserServer}
	group := types.NewJID("1203", types.GroupServer)
	info := func(id string, chat, sender types.JID) *types.MessageInfo {
		return &types.MessageInfo{ID: id, MessageSource: types.MessageSource{Chat: chat, Sender: sender, IsGroup: chat == group}}
	}
	var a arrivals
	a.arrive(stanza("A", ana, types.EmptyJID, 10))
	a.arrive(stanza("A", beto, types.EmptyJID, 20))
	a.arrive(stanza("A", group, ana, 5, 6))
	a.arrive(stanza("B", ana, types.EmptyJID, 1))
	require.Nil(t, a.take(info("A", group, beto)), "ids are the senders' own")
	came := a.take(info("A", beto.ToNonAD(), beto))
	require.Equal(t, 20, came.size)
	require.Equal(t, came.parts, came.handled)
	require.Nil(t, a.take(info("A", ana, ana)), "it came before, and was handled without an event")
	came = a.take(info("A", group, ana))
	require.Equal(t, 2, came.parts)
	require.Equal(t, 1, came.handled)
	require.Equal(t, 11, came.size)
	require.Nil(t, came.node.Content, "what was encrypted is not kept")
	require.Equal(t, 2, a.take(info("A", group, ana)).handled)
	require.Nil(t, a.take(info("A", group, ana)), "both parts are handled")
	require.NotNil(t, a.take(info("B", ana, ana)))
	require.Nil(t, a.queue)

	for i := range 2 * maxArrivals {
		a.arrive(stanza(strconv.Itoa(i), ana, types.EmptyJID, 1))
	}
	require.Len(t, a.queue, maxArrivals)
}

// stalled is a connection that notes, and stores nothing.
func stalled(t *testing.T) *conn {
	t.Helper()
	a := &actor{}
	c := &conn{actor: a}
	c.ctx, c.cancel = context.WithCancelCause(t.Context())
	c.work.watch = &a.watch
	c.pipeline.running = true
	a.tidied.Store(time.Now().UnixMilli())
	return c
}

func TestAHandlerWaitsWhenTooMuchIsNoted(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct{ size, n int }{
		"Stanzas": {1, maxNoted}, "Bytes": {maxNotedSize / 8, 8}, "OneThatIsLarge": {2 * maxNotedSize, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := stalled(t)
				for range one.n {
					require.True(t, c.add(&noted{size: one.size}))
				}
				waits := func() (over chan bool) {
					over = make(chan bool, 1)
					go func() { over <- c.add(&noted{size: one.size, done: func(bool) {}}) }()
					synctest.Wait()
					require.Empty(t, over)
					return over
				}
				over := waits()
				c.pipeline.release(c.pipeline.waiting[:one.n])
				require.True(t, <-over)
				c.pipeline.count, c.pipeline.size, c.pipeline.waiting = one.n, one.n*one.size, nil
				over = waits()
				c.abandon()
				require.False(t, <-over, "nothing is stored any more")
				require.False(t, c.add(&noted{}))
			})
		})
	}
}

func TestWhatIsNotAMessageWaitsForWhatCameBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := stalled(t)
		require.True(t, c.inOrder(nil, nil), "nothing came before")
		var before bool
		require.True(t, c.add(&noted{done: func(stored bool) { before = stored }}))
		over := make(chan bool, 1)
		go func() { over <- c.inOrder(nil, nil) }()
		synctest.Wait()
		require.Empty(t, over)
		c.flush()
		require.True(t, <-over)
		require.True(t, before)
	})
}
