package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/node"
	"github.com/wafleet/wafleet/metrics"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/devicestore"
	"github.com/wafleet/wafleet/session/transport"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
)

// fleetVariant is the fleet as a node runs it, without the HTTP API, and with a pace that holds nobody back.
type fleetVariant struct {
	plan plan
	log  *slog.Logger

	db      *tenantsql.Store
	commits *commitMeter
	devices *devicestore.Store
	clients *transport.Clients
	fleet   *session.Fleet
	stop    context.CancelFunc
	running sync.WaitGroup
	ended   error // of fleet.Run; read after running
}

func (f *fleetVariant) open(ctx context.Context) (err error) {
	collected := metrics.New(prometheus.NewRegistry())
	f.commits = &commitMeter{}
	f.db, err = tenantsql.Open(ctx, tenantsql.Config{URL: f.plan.Database, Log: f.log, Metrics: f.commits})
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	ring, err := devicestore.ParseKeyring(f.plan.MasterKey)
	if err != nil {
		return err
	}
	f.devices = devicestore.New(f.db, f.db, ring, f.log)
	if err = f.db.Migrate(ctx); err != nil {
		return err
	}
	if f.clients, err = reach(ctx, f.plan.Control); err != nil {
		return err
	}
	node.Prepare()
	f.fleet, err = session.New(session.Config{
		Store: f.db, Devices: f.devices, Clients: f.clients, Metrics: collected.Fleet, Log: f.log,
		Pace: session.Pace{Connects: maxSessions, Burst: maxSessions, Dials: dials},
	})
	return err
}

func (f *fleetVariant) prepare(ctx context.Context, say func(string)) error {
	if err := f.open(ctx); err != nil {
		return err
	}
	tenants, err := f.createTenants(ctx)
	if err != nil {
		return err
	}
	all, err := f.plan.linkAll(ctx, say, func(ctx context.Context, i int) (*store.Device, error) {
		dev, err := f.devices.New(ctx, tenants[i])
		if err != nil {
			return nil, err
		}
		// It gets its keys before the simulator says who it is: this JID does not stay.
		dev.ID = &types.JID{User: accountNumber(f.plan.First, i), Device: 1, Server: types.DefaultUserServer}
		return dev, dev.Save(ctx)
	})
	if err != nil {
		return err
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(commitsAtOnce)
	for i, l := range all {
		work.Go(func() error {
			if err := l.device.Save(ctx); err != nil {
				return err
			}
			return f.pair(ctx, tenants[i], l.device)
		})
	}
	return work.Wait()
}

// commitsAtOnce lets the group commit form batches.
const commitsAtOnce = 256

func (f *fleetVariant) createTenants(ctx context.Context) ([]tenant.ID, error) {
	tenants := make([]tenant.ID, f.plan.Sessions)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(commitsAtOnce)
	for i := range tenants {
		work.Go(func() error {
			t, _, err := f.db.Create(ctx, tenant.NewTenant{Name: fmt.Sprintf("Tenant %d", i)})
			tenants[i] = t.ID
			return err
		})
	}
	return tenants, work.Wait()
}

// pair leaves the session's row as pairing would have.
func (f *fleetVariant) pair(ctx context.Context, id tenant.ID, dev *store.Device) error {
	own, lid := tenant.PersonID(dev.ID.User), tenant.HiddenID(dev.LID.User)
	_, err := f.db.Tenant(id).Commit(ctx,
		tenant.LinkIDs{LID: lid, Phone: own},
		tenant.SetSession{Session: tenant.Session{
			Device: dev.ID.String(), LID: lid, Wanted: true, PairedAt: time.Now(),
			Status: tenant.SessionStatus{State: string(session.Connecting)},
		}},
	)
	return err
}

func (f *fleetVariant) start(ctx context.Context) error { return f.open(ctx) }

func (f *fleetVariant) connect(ctx context.Context) error {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx)) // until close
	f.stop = cancel
	f.running.Go(func() { f.ended = f.fleet.Run(life) })
	select {
	case <-f.fleet.Started():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// commitMeter sums up what the group commit reports.
type commitMeter struct{ transactions, callers, busy, failures atomic.Int64 }

// Batch implements [tenantsql.Metrics].
func (m *commitMeter) Batch(size int, d time.Duration) {
	m.transactions.Add(1)
	m.callers.Add(int64(size))
	m.busy.Add(int64(d))
}

// QueueLength implements [tenantsql.Metrics].
func (*commitMeter) QueueLength(int) {}

// Failure implements [tenantsql.Metrics].
func (m *commitMeter) Failure(string) { m.failures.Add(1) }

// counts reads back through the tenants' own store what is in it.
func (f *fleetVariant) counts(ctx context.Context) (counts, error) {
	var mu sync.Mutex
	total := counts{Commits: Commits{
		Transactions: f.commits.transactions.Load(), Callers: f.commits.callers.Load(),
		BusyMS: f.commits.busy.Load() / int64(time.Millisecond), Failures: f.commits.failures.Load(),
	}}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.NumCPU())
	for page := (tenant.Query{Page: tenant.Page{Limit: 500}}); ; {
		list, err := f.db.List(ctx, page)
		if err != nil {
			return total, errors.Join(err, work.Wait())
		}
		for _, t := range list.Tenants {
			work.Go(func() error {
				c, err := countTenant(ctx, f.db.Tenant(t.ID))
				mu.Lock()
				defer mu.Unlock()
				total.Messages += c.Messages
				total.Distinct += c.Distinct
				total.Undecrypted += c.Undecrypted
				return err
			})
		}
		if page.Cursor = list.Next; page.Cursor == "" {
			return total, work.Wait()
		}
	}
}

// countTenant counts the messages that others sent, in all chats.
func countTenant(ctx context.Context, h tenant.Handle) (c counts, err error) {
	distinct := make(map[tenant.MessageID]struct{})
	for chat, err := range h.Chats(ctx, tenant.ChatQuery{}) {
		if err != nil {
			return c, err
		}
		for q := (tenant.MessageQuery{Limit: 1000}); ; {
			page, err := h.Messages(ctx, chat.ID, q)
			if err != nil {
				return c, err
			}
			for i := range page.Messages {
				m := &page.Messages[i]
				if m.FromMe {
					continue
				}
				c.Messages++
				if m.Type != tenant.TypeText {
					c.Undecrypted++
				}
				distinct[m.ID] = struct{}{}
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
	}
	c.Distinct = len(distinct)
	return c, nil
}

func (f *fleetVariant) close() error {
	if f.stop != nil {
		f.stop()
	}
	f.running.Wait()
	if f.clients != nil {
		f.clients.Close()
	}
	if f.db == nil {
		return f.ended
	}
	return errors.Join(f.ended, f.db.Close())
}
