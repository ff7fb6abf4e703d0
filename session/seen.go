package session

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/wafleet/wafleet/tenant"
)

// seen remembers who is who and who is called what, as far as it was stored over this connection: every message repeats both,
// and storing them again would cost a query each.
type seen struct {
	mu    sync.Mutex
	names *lru.LRU[tenant.ChatID, string]
	links *lru.LRU[tenant.ChatID, tenant.ChatID]
}

// maxSeen bounds each memory, in persons.
const maxSeen = 256

func newSeen() *seen {
	names, _ := lru.NewLRU[tenant.ChatID, string](maxSeen, nil)        // fails only for a size below one
	links, _ := lru.NewLRU[tenant.ChatID, tenant.ChatID](maxSeen, nil) // likewise
	return &seen{names: names, links: links}
}

// unseen leaves out what this connection has stored already.
func (c *conn) unseen(changes []tenant.Change) []tenant.Change {
	c.mu.Lock()
	if c.met == nil { // many sessions never get a message
		c.met = newSeen()
	}
	met := c.met
	c.mu.Unlock()
	met.mu.Lock()
	defer met.mu.Unlock()
	news := changes[:0:0]
	for _, change := range changes {
		switch change := change.(type) {
		case tenant.LinkIDs:
			if phone, ok := met.links.Get(change.LID); ok && phone == change.Phone {
				continue
			}
		case tenant.PutContact:
			if name, ok := met.names.Get(change.ID); ok && name == change.PushName {
				continue
			}
		}
		news = append(news, change)
	}
	return news
}

// forget has everybody stored again.
func (c *conn) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.met = nil
}

// remember notes what was stored.
func (c *conn) remember(changes []tenant.Change) {
	c.mu.Lock()
	met := c.met
	c.mu.Unlock()
	if met == nil {
		return
	}
	met.mu.Lock()
	defer met.mu.Unlock()
	for _, change := range changes {
		switch change := change.(type) {
		case tenant.LinkIDs:
			met.links.Add(change.LID, change.Phone)
		case tenant.PutContact:
			if change.PushName != "" {
				met.names.Add(change.ID, change.PushName)
			}
		}
	}
}
