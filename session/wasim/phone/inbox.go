package phone

import (
	"context"
	"sync"
	"time"
)

// Kinds of inbox entries.
const (
	KindMessage       = "message"
	KindReceipt       = "receipt"
	KindUndecryptable = "undecryptable"
	KindGroup         = "group" // Group says what From changed, in Chat
)

// Entry is one thing a phone got: a message it could decrypt (its own from companions too), one it could not, or a
// receipt for messages it sent.
type Entry struct {
	Seq        uint64       `json:"seq"` // rises by one with each entry, from 1
	Kind       string       `json:"kind"`
	IDs        []string     `json:"ids"`            // of the message, or of all messages a receipt is for
	Chat       string       `json:"chat,omitempty"` // number of the other side, the raw id if the number is not known; …@g.us of a group
	From       string       `json:"from,omitempty"` // number of the sender
	FromDevice uint16       `json:"fromDevice"`
	FromMe     bool         `json:"fromMe"`
	Via        string       `json:"via,omitempty"` // "lid" or "pn": how the stanza was addressed
	Text       string       `json:"text,omitempty"`
	ReplyTo    string       `json:"replyTo,omitempty"`    // id of the quoted message
	QuotedFrom string       `json:"quotedFrom,omitempty"` // number of its author
	Target     string       `json:"target,omitempty"`     // id of the message that an edit, a deletion or a reaction is about
	TargetFrom string       `json:"targetFrom,omitempty"` // number of its author: ids are their senders' own
	Receipt    string       `json:"receipt,omitempty"`    // delivered, read, played, sender…
	File       *FileInfo    `json:"file,omitempty"`       // of messages that are one; the text is its caption then
	Forwarded  bool         `json:"forwarded,omitempty"`
	Mentions   []string     `json:"mentions,omitempty"` // numbers; raw ids where they are not known
	Location   *Location    `json:"location,omitempty"`
	Contacts   []Contact    `json:"contacts,omitempty"`
	Poll       *Poll        `json:"poll,omitempty"`    // of messages that are one; the text is its question then
	Options    []string     `json:"options,omitempty"` // of votes: what was chosen
	Invite     *GroupInvite `json:"invite,omitempty"`  // into a group, for this phone alone
	Group      *GroupChange `json:"group,omitempty"`   // of entries of the kind group
	At         time.Time    `json:"at"`
}

// inbox remembers the latest entries. Readers wait for the next one without polling.
type inbox struct {
	size int

	mu      sync.Mutex
	entries []Entry // oldest first; trimmed to size when it has grown to twice that
	next    uint64  // sequence number of the next entry
	changed chan struct{}
	closed  bool
}

func newInbox(size int) *inbox {
	return &inbox{size: size, next: 1, changed: make(chan struct{})}
}

func (b *inbox) add(e Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	e.Seq = b.next
	b.next++
	if len(b.entries) >= 2*b.size {
		b.entries = append([]Entry(nil), b.entries[len(b.entries)-b.size:]...)
	}
	b.entries = append(b.entries, e)
	close(b.changed)
	b.changed = make(chan struct{})
}

// after answers what is remembered of the entries later than seq, and a channel that is closed at the next change.
func (b *inbox) after(seq uint64) ([]Entry, <-chan struct{}, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.entries[max(0, len(b.entries)-b.size):]
	if len(kept) > 0 && seq >= kept[0].Seq {
		kept = kept[min(uint64(len(kept)), seq-kept[0].Seq+1):]
	}
	return append([]Entry{}, kept...), b.changed, b.closed
}

func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		close(b.changed)
	}
}

// Inbox answers the remembered entries with sequence numbers above after, oldest first.
func (p *Phone) Inbox(after uint64) []Entry {
	entries, _, _ := p.inbox.after(after)
	return entries
}

// WaitInbox is [Phone.Inbox], but waits until there is at least one entry. Errors: ErrClosed, or why ctx ended.
func (p *Phone) WaitInbox(ctx context.Context, after uint64) ([]Entry, error) {
	for {
		entries, changed, closed := p.inbox.after(after)
		if len(entries) > 0 {
			return entries, nil
		}
		if closed {
			return nil, ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// WaitEntry waits for the first entry above after that match accepts. Errors: ErrClosed, or why ctx ended.
func (p *Phone) WaitEntry(ctx context.Context, after uint64, match func(Entry) bool) (Entry, error) {
	for {
		entries, err := p.WaitInbox(ctx, after)
		if err != nil {
			return Entry{}, err
		}
		for _, e := range entries {
			if match(e) {
				return e, nil
			}
			after = e.Seq
		}
	}
}
