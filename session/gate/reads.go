package gate

import (
	"bytes"
	"hash/maphash"
	"runtime"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxReads bounds the versions remembered per device. One is enough for a peer message or a retry receipt; a send
// outside Send to more devices than this is refused.
const maxReads = 1024

// reads remembers which version of a session was read outside a hold, and by whom.
type reads = lru.Cache[reader, uint64]

// reader is a goroutine on its way from the reading of a session to its writing. The context does not tell readers
// apart: whatsmeow passes that of the handler queue to all of them. If a version were remembered per session alone, a
// late writer could pass on the strength of what a later reader has read.
type reader struct {
	goroutine string
	address   string
}

// readerOf answers who is asking for address. whatsmeow reads and writes a session on one goroutine, and numbers of
// goroutines are not used twice.
func readerOf(address string) reader {
	var buf [40]byte
	header := buf[:runtime.Stack(buf[:], false)] // "goroutine 123 [running]:…"
	number, _, _ := bytes.Cut(bytes.TrimPrefix(header, []byte("goroutine ")), []byte(" "))
	return reader{goroutine: string(number), address: address}
}

func (g *Gate) hash(session []byte) uint64 {
	if session == nil {
		return 0 // maphash of an empty slice is something else
	}
	return maphash.Bytes(g.seed, session)
}

// remember notes that session was read; the gate is held.
func (g *Gate) remember(address string, session []byte) {
	g.readsMu.Lock()
	defer g.readsMu.Unlock()
	if g.reads == nil {
		g.reads, _ = lru.New[reader, uint64](maxReads) // fails only for sizes below one
	}
	g.reads.Add(readerOf(address), g.hash(session))
}

// unmoved tells whether current is the version that the caller read, and forgets the read: a second write over the same
// version is over another one. The gate is held.
func (g *Gate) unmoved(address string, current []byte) bool {
	g.readsMu.Lock()
	defer g.readsMu.Unlock()
	if g.reads == nil {
		return false
	}
	who := readerOf(address)
	read, ok := g.reads.Peek(who)
	g.reads.Remove(who)
	return ok && read == g.hash(current)
}
