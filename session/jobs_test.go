package session

import (
	"bytes"
	"compress/zlib"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waE2E"
)

func TestHistoriesAreMeasuredBeforeTheyAreUnpacked(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	_, err := w.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, measure(packed.Bytes(), 1<<20))
	require.ErrorIs(t, measure(packed.Bytes(), 1<<20-1), errHistoryTooLarge)
	require.Error(t, measure([]byte("no zlib"), 1))
}

func TestHistoriesOutliveTheirConnection(t *testing.T) {
	t.Parallel()
	var l leftover
	for range 2 * maxHistories {
		l.put(historyJob{id: "A", note: &waE2E.HistorySyncNotification{}})
	}
	require.Len(t, l.take(), maxHistories)
	require.Empty(t, l.take())
}
