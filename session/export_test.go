package session

import "github.com/wafleet/wafleet/tenant"

// Noted is how many stanzas a tenant's session has noted and not stored yet.
func (f *Fleet) Noted(id tenant.ID) int {
	a := f.running(id)
	if a == nil {
		return 0
	}
	c := a.online.Load()
	if c == nil {
		return 0
	}
	c.pipeline.mu.Lock()
	defer c.pipeline.mu.Unlock()
	return c.pipeline.count
}

// HasReadGroups says whether a tenant's session has read all its groups once.
func (f *Fleet) HasReadGroups(id tenant.ID) bool {
	a := f.running(id)
	return a != nil && a.groupsRead.Load() != 0
}

// Rush has somebody take in what waited at WhatsApp, until leave is called.
func (f *Fleet) Rush() (leave func()) { return f.rush.enter() }
