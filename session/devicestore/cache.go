package devicestore

import (
	"hash/maphash"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// cache holds what was read or written last, over all devices of the node: idle ones hold nothing. Safe for concurrent use.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
}

const (
	cacheShards = 16
	// defaultCacheSize bounds the cache, in bytes.
	defaultCacheSize = 64 << 20
	// perEntry is what an entry takes beside its value and key.
	perEntry = 160
)

// cacheKey names a row of one loading of a device: another loading finds nothing of it.
type cacheKey struct {
	loading uint64
	row     rowID
}

type cacheShard struct {
	mu      sync.Mutex
	entries *simplelru.LRU[cacheKey, []byte] // nil means that there is no such row
	size    int
}

func newCache() *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		s := &c.shards[i]
		// The number of entries is bounded by their size; simplelru wants a number all the same.
		s.entries, _ = simplelru.NewLRU(defaultCacheSize/perEntry, func(k cacheKey, value []byte) {
			s.size -= sizeOf(k, value)
		})
	}
	return c
}

func sizeOf(k cacheKey, value []byte) int { return perEntry + len(k.row.key) + len(value) }

func (c *cache) shard(k cacheKey) *cacheShard {
	return &c.shards[maphash.Comparable(c.seed, k)%cacheShards]
}

func (c *cache) get(k cacheKey) (value []byte, ok bool) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries.Get(k)
}

func (c *cache) add(k cacheKey, value []byte) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries.Remove(k)
	s.entries.Add(k, value)
	for s.size += sizeOf(k, value); s.size > defaultCacheSize/cacheShards; {
		if _, _, ok := s.entries.RemoveOldest(); !ok {
			return
		}
	}
}
