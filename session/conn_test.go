package session

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types/events"
)

// whatsmeow only logs that it could not store what came along with a message; the stanza must not be acknowledged then.
func TestNothingIsAcknowledgedOnceTheDeviceStoreHasFailed(t *testing.T) {
	t.Parallel()
	a := &actor{}
	c := &conn{actor: a}
	c.work.watch = &a.watch
	evt := &events.Message{Message: &waE2E.Message{}, RawMessage: &waE2E.Message{}}
	require.True(t, c.handle(evt), "nothing to store")
	c.broken.Store(true)
	require.False(t, c.handle(evt))
}
