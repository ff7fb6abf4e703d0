// Package node puts the parts of a node together, runs them, and stops them in order. It holds no logic of theirs.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/api/console"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/config"
	"github.com/wafleet/wafleet/metrics"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/devicestore"
	"github.com/wafleet/wafleet/session/transport"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
)

// Options are what a node is made of.
type Options struct {
	Config            config.Config
	Log               *slog.Logger
	Version, Revision string
	// Serving, if not nil, is told the address once requests are answered.
	Serving func(address string)
	// Pace and Limits are how long the node waits for things; zero means the defaults. What Config says stands above them.
	Pace   session.Pace
	Limits api.Limits
}

// node is a running node.
type node struct {
	config  config.Config
	log     *slog.Logger
	serving func(address string)

	clients *transport.Clients
	store   *tenantsql.Store
	limits  *tenant.LimitBook
	pruning *tenant.Retention
	claimed *tenantsql.Claim
	devices *devicestore.Store
	fleet   *session.Fleet
	api     *api.Server
}

// startTimeout bounds what a start waits for: the database, other nodes' migrations, a simulator.
const startTimeout = 2 * time.Minute

// Run is a node's life: it returns when all is stopped, nil after ctx ended and the node drained in time.
func Run(ctx context.Context, o Options) error {
	listener, err := listen(ctx, o.Config.Listen, "--listen")
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // drain closes it, unless the start fails
	var admin net.Listener
	if o.Config.AdminListen != "" {
		if admin, err = listen(ctx, o.Config.AdminListen, "--admin-listen"); err != nil {
			return err
		}
		defer func() { _ = admin.Close() }() // likewise
	}
	n := &node{config: o.Config, log: o.Log, serving: o.Serving}
	if err = n.open(ctx, o); err == nil {
		err = n.serve(ctx, listener, admin)
	}
	return errors.Join(err, n.close())
}

// open makes the parts, from the database to the API. What it has made when it fails is close's.
func (n *node) open(ctx context.Context, o Options) (err error) {
	setGlobals()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics.BuildInfo(registry, o.Version, o.Revision)
	collected := metrics.New(registry)

	start, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if n.clients, err = reachWhatsApp(start, o); err != nil {
		return err
	}
	if n.store, err = openStore(start, o.Config, o.Log, collected.Commit); err != nil {
		return err
	}
	pace := o.Pace
	pace.Connects, pace.Burst, pace.DrainTimeout = o.Config.ConnectsPerSecond, o.Config.ConnectBurst, o.Config.Drain
	if err = n.claim(start); err != nil {
		return err
	}
	if n.devices, err = openDevices(ctx, n.store, &o.Config, o.Log); err != nil {
		return err
	}
	n.limits = tenant.NewLimitBook(n.store, o.Config.Limits)
	if err = n.limits.Load(start); err != nil {
		return err
	}
	n.pruning = &tenant.Retention{Store: n.store, Limits: n.limits, Metrics: collected.Limits, Log: o.Log}
	n.fleet, err = session.New(session.Config{
		Store:   n.store,
		Devices: claimedDevices{n.devices, n.claimed},
		Clients: n.clients,
		Metrics: collected.Fleet,
		Log:     o.Log,
		Pace:    pace,
		Limits:  n.limits,
		Limited: collected.Limits,
	})
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	proxies, err := o.Config.TrustedProxies()
	if err != nil {
		return fmt.Errorf("trusted-proxies: %w", err)
	}
	brand := console.Brand{Name: o.Config.BrandName}
	if o.Config.BrandLogo != "" {
		if brand.Logo, err = console.ReadLogo(o.Config.BrandLogo); err != nil {
			return fmt.Errorf("brand-logo: %w", err)
		}
	}
	n.api, err = api.New(api.Config{ //nolint:contextcheck // requests have contexts of their own
		Store:    n.store,
		Sessions: n.fleet,
		AdminKey: api.NewAdminKey(string(o.Config.AdminKey)),

		SeparateAdmin: o.Config.AdminListen != "", AuditRetention: o.Config.AuditRetention(), Node: n.info(o),

		PublicURL: o.Config.PublicURL,

		TrustedProxies: proxies,
		Brand:          brand,

		Metrics:  collected,
		Gatherer: registry,
		Log:      o.Log,
		Version:  o.Version,
		Ready:    n.ready,
		Limits:   o.Limits,

		TenantLimits: n.limits,
	})
	if err != nil {
		return fmt.Errorf("API: %w", err)
	}
	return nil
}

// info is what the admin API tells of this node.
func (n *node) info(o Options) api.NodeInfo {
	engine := "postgres"
	if o.Config.Embedded() {
		engine = "sqlite"
	}
	return api.NodeInfo{
		Holder: holder(), Version: o.Version, Revision: o.Revision, StartedAt: time.Now().UTC(), Epoch: n.claimed.Epoch(), Engine: engine,
	}
}

var errStarting = errors.New("the fleet has not read its sessions yet")

// ready says whether the node may get traffic.
func (n *node) ready(context.Context) error {
	select {
	case <-n.fleet.Started():
		return nil
	default:
		return errStarting
	}
}

// close lets go of what open has made. The parts must have stopped.
func (n *node) close() error {
	var err error
	if n.claimed != nil {
		defer n.claimed.Release() // when nothing is written any more
	}
	if n.store != nil {
		if err = n.store.Close(); err != nil {
			err = fmt.Errorf("close the database: %w", err)
		}
	}
	if n.clients != nil {
		n.clients.Close()
	}
	return err
}
