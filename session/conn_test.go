package session

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/metrics"
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

// whatsmeow takes a panicking handler for one that has done its work, and acknowledges.
func TestAPanickingHandlerIsNoSuccess(t *testing.T) {
	t.Parallel()
	a := &actor{}
	a.watch = watch{log: slog.New(slog.DiscardHandler), metrics: metrics.New(prometheus.NewRegistry()).Fleet}
	c := &conn{actor: a}
	c.work.watch = &a.watch
	require.False(t, c.handle((*events.Message)(nil)))
	require.False(t, c.handle((*events.Receipt)(nil)))
	<-c.work.close() // nobody is left inside
}
