package gate_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	waBinary "go.mau.fi/whatsmeow/binary"
)

func TestAnAnswerToWhoeverJustGaveUpDoesNoHarm(t *testing.T) {
	t.Parallel()
	for _, tag := range []string{"iq", "ack"} {
		w := newWire(t)
		late := w.inner.WaitResponse("1")
		close(late) // as cancelResponse does, when the answer's reader has the channel already
		w.answer(tag, "1")

		waits := w.inner.WaitResponse("2")
		w.answer(tag, "2")
		require.Equal(t, tag, (<-waits).Tag)
		w.inner.CancelResponse("2", waits)
	}
}

func TestAnAnswerThatNobodyWaitsForIsHandled(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	n := w.carry(waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{"id": "1", "type": "get"}})
	require.Equal(t, "iq", n.Tag)
	require.Equal(t, "1", n.AttrGetter().String("id"))
}

// answer gives the client an answer, which no handler of stanzas gets.
func (w *wire) answer(tag, id string) {
	w.t.Helper()
	data, err := waBinary.Marshal(waBinary.Node{Tag: tag, Attrs: waBinary.Attrs{"id": id, "type": "result"}})
	require.NoError(w.t, err)
	queue := make(chan *waBinary.Node, 1)
	w.inner.HandleFrame(w.t.Context(), data, queue)
	require.Empty(w.t, queue)
}
