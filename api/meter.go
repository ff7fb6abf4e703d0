package api

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

// meter counts what no commit counts: requests, bytes of files, uses of keys. It is written to the store now and then; a process that is
// killed loses what it has counted since.
type meter struct {
	store tenant.Meter
	log   *slog.Logger
	run   string // names this process in the marks

	mu        sync.Mutex
	usage     map[meterKey]tenant.Usage
	keys      map[tenant.KeyID]time.Time
	adminKeys map[tenant.AdminKeyID]time.Time
	noted     map[tenant.KeyID]int64 // the minute in which the use of a key was stored last

	flushing sync.Mutex
	marks    int
	unsaved  *tenant.Metering // what could not be stored, or may have been: it is stored again under its mark
}

type meterKey struct {
	tenant tenant.ID
	day    tenant.Date
}

const (
	// meterEvery is how often what was counted is stored.
	meterEvery = 10 * time.Second
	// meterChunk bounds one commit: other tenants' commits wait behind it.
	meterChunk = 500
	// meterTimeout bounds one commit's wait.
	meterTimeout = 15 * time.Second
	// maxNoted bounds the memory of when the use of keys was stored.
	maxNoted = 100_000
)

func newMeter(store tenant.Meter, log *slog.Logger) *meter {
	m := &meter{store: store, log: log, run: rand.Text(), noted: make(map[tenant.KeyID]int64)}
	m.reset()
	return m
}

func (m *meter) reset() {
	m.usage, m.keys = make(map[meterKey]tenant.Usage), make(map[tenant.KeyID]time.Time)
	m.adminKeys = make(map[tenant.AdminKeyID]time.Time)
}

// add counts something of a tenant's.
func (m *meter) add(id tenant.ID, at time.Time, u tenant.Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := meterKey{id, tenant.DateOf(at)}
	sum := m.usage[key]
	sum.Add(u)
	m.usage[key] = sum
}

// call counts a request of a tenant's key.
func (m *meter) call(id tenant.ID, key tenant.KeyID, at time.Time) {
	m.add(id, at, tenant.Usage{APICalls: 1})
	if key == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.noted[key] != at.Unix()/60 { //nolint:mnd // once a minute is enough
		m.keys[key] = at
	}
}

// adminCall notes the use of an admin key.
func (m *meter) adminCall(key tenant.AdminKeyID, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.adminKeys[key] = at
}

// fetched and sent count the bytes of a file.
func (m *meter) fetched(id tenant.ID, bytes int64) {
	m.add(id, time.Now(), tenant.Usage{MediaBytesIn: bytes})
}

func (m *meter) sent(id tenant.ID, bytes int64) {
	m.add(id, time.Now(), tenant.Usage{MediaBytesOut: bytes})
}

// take cuts off what is to be stored next; nil when there is nothing.
func (m *meter) take() *tenant.Metering {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.usage) == 0 && len(m.keys) == 0 && len(m.adminKeys) == 0 {
		return nil
	}
	m.marks++
	next := &tenant.Metering{Mark: m.run + "." + strconv.Itoa(m.marks), Keys: make(map[tenant.KeyID]time.Time), AdminKeys: m.adminKeys}
	m.adminKeys = make(map[tenant.AdminKeyID]time.Time)
	for key, used := range m.usage {
		if len(next.Usage) == meterChunk {
			break
		}
		next.Usage = append(next.Usage, tenant.MeteredUsage{Tenant: key.tenant, Day: key.day, Usage: used})
		delete(m.usage, key)
	}
	if len(m.noted) > maxNoted {
		clear(m.noted)
	}
	for key, at := range m.keys {
		if len(next.Keys) == meterChunk {
			break
		}
		next.Keys[key] = at
		m.noted[key] = at.Unix() / 60 //nolint:mnd // as in call
		delete(m.keys, key)
	}
	return next
}

// flush stores what was counted. What cannot be stored is kept and stored next time, under the same mark.
func (m *meter) flush(ctx context.Context) error {
	m.flushing.Lock()
	defer m.flushing.Unlock()
	for {
		if m.unsaved == nil {
			m.unsaved = m.take()
		}
		if m.unsaved == nil {
			return nil
		}
		within, cancel := context.WithTimeout(ctx, meterTimeout)
		err := m.store.AddUsage(within, *m.unsaved)
		cancel()
		if errors.Is(err, tenant.ErrRefused) {
			m.log.ErrorContext(ctx, "what tenants used was refused by the database, and is lost", slog.Any("error", err))
			err = nil
		}
		if err != nil {
			return err
		}
		m.unsaved = nil
	}
}

// Flush stores what tenants used since the last time. It is for the end of a node, when nobody asks anything any more; until then
// [Server.Run] sees to it.
func (s *Server) Flush(ctx context.Context) error { return s.meter.flush(ctx) }

// housekeep stores what was counted, and trims the audit log, until ctx ends.
func (s *Server) housekeep(ctx context.Context) {
	flush := time.NewTicker(meterEvery)
	defer flush.Stop()
	trim := time.NewTimer(0)
	defer trim.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-flush.C:
			if err := s.meter.flush(ctx); err != nil && ctx.Err() == nil {
				s.cfg.Log.WarnContext(ctx, "what tenants used is not stored yet", slog.Any("error", err))
			}
		case <-trim.C:
			trim.Reset(s.trimAudit(ctx))
		}
	}
}

const (
	trimEvery = time.Hour
	trimNext  = time.Second // while there is more
	trimChunk = 500
)

// trimAudit deletes some entries that are too old, and says when to go on.
func (s *Server) trimAudit(ctx context.Context) time.Duration {
	if s.cfg.AuditRetention <= 0 {
		return trimEvery
	}
	within, cancel := context.WithTimeout(ctx, meterTimeout)
	defer cancel()
	gone, err := s.cfg.Store.TrimAudit(within, time.Now().Add(-s.cfg.AuditRetention), trimChunk)
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.WarnContext(ctx, "the audit log was not trimmed", slog.Any("error", err))
	}
	if gone == trimChunk {
		return trimNext
	}
	return trimEvery
}
