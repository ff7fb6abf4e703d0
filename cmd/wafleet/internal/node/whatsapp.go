package node

import (
	"context"
	"fmt"
	"sync"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/transport"
)

// setGlobals sets the variables of libraries that all sessions and requests share: once, before the first of them.
var setGlobals = sync.OnceFunc(func() { //nolint:gochecknoglobals // what it sets is global, too
	api.InstallErrors()
	session.Configure()
	paceCollector()
})

// Prepare sets what all nodes of a process share. [Run] does so, too; whoever runs WhatsApp clients beside the first node calls it before
// them: libraries read it without a lock.
func Prepare() { setGlobals() }

// reachWhatsApp makes the clients for WhatsApp, or for a simulator.
func reachWhatsApp(ctx context.Context, o Options) (*transport.Clients, error) {
	var endpoint transport.Endpoint
	if o.Config.WhatsApp != "" {
		var root [32]byte
		var err error
		if endpoint, root, err = transport.FetchSimulator(ctx, o.Config.WhatsApp); err != nil {
			return nil, fmt.Errorf("simulated WhatsApp: %w", err)
		}
		if err = transport.TrustRoot(root); err != nil {
			return nil, fmt.Errorf("simulated WhatsApp: %w", err)
		}
		o.Log.InfoContext(ctx, "sessions go to a simulated WhatsApp")
	}
	clients, err := transport.NewClients(endpoint)
	if err != nil {
		return nil, fmt.Errorf("WhatsApp: %w", err)
	}
	return clients, nil
}
