package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim/relay"
)

// thorough says that the suite may take its time.
func thorough() bool { return *faultFreeze >= 20*time.Second }

// TestFaultsOfWhatsApp lets the way to WhatsApp, and WhatsApp itself, do what they do in the wild, under load.
func TestFaultsOfWhatsApp(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			l, random := newLoad(t, database(t), *faultTenants), chance(t)
			wasim := l.w.sim.Relay()
			some := func() { l.struck(1 + random.Int64N(int64(10**faultTenants))) }
			faults := 8
			if !thorough() {
				faults = 6
			}
			for _, fault := range []struct {
				name string
				relay.Fault
			}{
				{"logins were refused for a while", relay.Fault{Kind: relay.FaultConnectFailure, Code: 503, Count: *faultTenants}},
				{"stanzas came twice", relay.Fault{Kind: relay.FaultDuplicate, Count: 10 * *faultTenants}},
				{"stanzas came in another order", relay.Fault{Kind: relay.FaultReorder, Count: 10 * *faultTenants}},
				{"stanzas came slowly", relay.Fault{Kind: relay.FaultSlow, Delay: 20 * time.Millisecond}},
				{"connections were cut", relay.Fault{Kind: relay.FaultDrop}},
				{"WhatsApp restarted", relay.Fault{Kind: relay.FaultStreamError, Code: 503}},
				// Each failure makes a session wait longer, and when several fail and nobody gets through, one tries for all: so no more fail than
				// are needed for that. whatsmeow notices after a minute that nobody answers.
				{"connections were cut before they were used", relay.Fault{Kind: relay.FaultDrop, Count: *faultTenants + min(*faultTenants, 22)}},
				{"connections stood still", relay.Fault{Kind: relay.FaultStall}},
			}[:faults] {
				some()
				require.NoError(t, wasim.Fault(fault.Fault))
				if fault.Kind == relay.FaultConnectFailure { // nobody logs in who is not cut off
					require.NoError(t, wasim.Fault(relay.Fault{Kind: relay.FaultDrop}))
				}
				began := time.Now()
				some()
				wasim.ClearFaults()
				l.settle(fault.name)
				t.Logf("%s: all is well after %s", fault.name, time.Since(began).Round(time.Millisecond))
			}
		})
	}
}
