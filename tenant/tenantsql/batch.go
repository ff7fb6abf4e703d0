package tenantsql

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	selectHead = `SELECT seq, ord, version, early FROM head WHERE tenant_id=$1`

	// updateHeads is completed by one tuple of (tenant, seq, ord, version, early) for each tenant. A tenant whose version is another
	// than the one that was read is left out, which shows in the number of rows.
	updateHeads = `
		UPDATE head SET seq=v.column2, ord=v.column3, version=head.version+1, early=v.column5
		FROM (VALUES %s) v
		WHERE head.tenant_id=v.column1 AND head.version=v.column4`
	updateHeadsTuple = `(CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT))`

	insertEvents      = `INSERT INTO journal (tenant_id, seq, kind, created_at, data) VALUES %s`
	insertEventsTuple = `(?, ?, ?, ?, ?)`
)

// head is how far a tenant's numbers have come: seq counts events, ord messages, version commits. early is how
// many changes wait for their message.
type head struct {
	seq, ord, version, early int64
	// moved says that the transaction at hand changes something of the tenant's.
	moved bool
}

// next is the head after the commit.
func (h *head) next() head {
	return head{seq: h.seq, ord: h.ord, version: h.version + 1, early: h.early}
}

// chatKey names a chat, a contact or a LID of a tenant.
type chatKey struct {
	tenant tenant.ID
	id     tenant.ChatID
}

// batch is one transaction of the committer. What several changes touch is read once and written once, by flush.
type batch struct {
	tx     dbutil.Execable
	now    time.Time
	known  *lru.Cache[tenant.ID, head]
	writes int // grows with each change, in memory or in the database

	heads    map[tenant.ID]*head
	chats    map[chatKey]*chatRow
	contacts map[chatKey]contact
	phones   map[chatKey]tenant.ChatID // by LID; the LID itself where nothing is known
	events   []journalRow
	grown    map[tenant.ID]struct{} // tenants with new events
	deleted  map[tenant.ID]struct{}
	keys     []tenant.KeyID // those that changed
}

// journalRow is an event that waits for flush.
type journalRow struct {
	tenant tenant.ID
	seq    int64
	kind   tenant.EventType
	data   []byte
}

func newBatch(tx dbutil.Execable, known *lru.Cache[tenant.ID, head], now time.Time) *batch {
	return &batch{
		tx: tx, known: known, now: time.UnixMilli(now.UnixMilli()).UTC(),
		heads:    map[tenant.ID]*head{},
		chats:    map[chatKey]*chatRow{},
		contacts: map[chatKey]contact{},
		phones:   map[chatKey]tenant.ChatID{},
		grown:    map[tenant.ID]struct{}{},
		deleted:  map[tenant.ID]struct{}{},
	}
}

// head returns the tenant's head. Returns ErrNotFound when there is no such tenant.
func (b *batch) head(ctx context.Context, id tenant.ID) (*head, error) {
	if h, ok := b.heads[id]; ok {
		return h, nil
	}
	if known, ok := b.known.Get(id); ok {
		b.heads[id] = &known
		return &known, nil
	}
	h := &head{}
	err := b.tx.QueryRowContext(ctx, selectHead, string(id)).Scan(&h.seq, &h.ord, &h.version, &h.early)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, tenant.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read head: %w", err)
	}
	b.heads[id] = h
	return h, nil
}

// touch says that something of the tenant's changes. Everything that changes a tenant calls it first: the head it moves is what
// tells a tenant that is gone, and a second writer, from one that is ours.
func (b *batch) touch(ctx context.Context, id tenant.ID) (*head, error) {
	h, err := b.head(ctx, id)
	if err != nil {
		return nil, err
	}
	h.moved = true
	b.writes++
	return h, nil
}

// exec runs a statement that changes something of the tenant's, whose id is its first parameter.
func (b *batch) exec(ctx context.Context, id tenant.ID, query string, args ...any) (int64, error) {
	if _, err := b.touch(ctx, id); err != nil {
		return 0, err
	}
	return b.execBare(ctx, query, append([]any{string(id)}, args...)...)
}

// execBare runs a statement without moving a tenant's head.
func (b *batch) execBare(ctx context.Context, query string, args ...any) (int64, error) {
	b.writes++
	result, err := b.tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// row runs a query of a tenant's.
func (b *batch) row(ctx context.Context, id tenant.ID, query string, args ...any) *sql.Row {
	return b.tx.QueryRowContext(ctx, query, append([]any{string(id)}, args...)...)
}

// emit appends an event to the tenant's journal.
func (b *batch) emit(ctx context.Context, id tenant.ID, kind tenant.EventType, data any) error {
	encoded, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encode %s: %w", kind, err)
	}
	h, err := b.touch(ctx, id)
	if err != nil {
		return err
	}
	h.seq++
	b.events = append(b.events, journalRow{tenant: id, seq: h.seq, kind: kind, data: encoded})
	b.grown[id] = struct{}{}
	return nil
}

// flush writes what was kept in memory. Heads come first: a second writer waits there, and finds out before it has done harm.
func (b *batch) flush(ctx context.Context) error {
	if err := b.flushHeads(ctx); err != nil {
		return err
	}
	if err := b.flushChats(ctx); err != nil {
		return err
	}
	return b.flushEvents(ctx)
}

func (b *batch) flushHeads(ctx context.Context) error {
	type row struct {
		tenant.ID
		*head
	}
	var moved []row
	for _, id := range slices.Sorted(maps.Keys(b.heads)) { // in order, so that two writers cannot block each other
		if _, gone := b.deleted[id]; !gone && b.heads[id].moved {
			moved = append(moved, row{id, b.heads[id]})
		}
	}
	written, err := insertMany(ctx, b.tx, updateHeads, updateHeadsTuple, moved, func(r row) []any {
		return []any{string(r.ID), r.seq, r.ord, r.version, r.early}
	})
	if err != nil {
		return fmt.Errorf("write heads: %w", err)
	}
	if written != int64(len(moved)) {
		return errFenced
	}
	return nil
}

func (b *batch) flushEvents(ctx context.Context) error {
	events := slices.DeleteFunc(b.events, func(e journalRow) bool {
		_, gone := b.deleted[e.tenant]
		return gone
	})
	_, err := insertMany(ctx, b.tx, insertEvents, insertEventsTuple, events, func(e journalRow) []any {
		return []any{string(e.tenant), e.seq, string(e.kind), b.now.UnixMilli(), string(e.data)}
	})
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

func (b *batch) flushChats(ctx context.Context) error {
	var dirty []*chatRow
	for key, chat := range b.chats {
		if _, gone := b.deleted[key.tenant]; !gone && chat.dirty && chat.exists {
			dirty = append(dirty, chat)
		}
	}
	slices.SortFunc(dirty, func(x, y *chatRow) int {
		return cmp.Or(cmp.Compare(x.tenant, y.tenant), cmp.Compare(x.chat.ID, y.chat.ID))
	})
	if _, err := insertMany(ctx, b.tx, upsertChats, upsertChatsTuple, dirty, (*chatRow).values); err != nil {
		return fmt.Errorf("write chats: %w", err)
	}
	return nil
}

// maxTuples bounds the statements that insertMany makes. Together with tuples in powers of two it bounds their number, too: the
// driver keeps each text prepared.
const maxTuples = 32

// insertMany completes a statement by the tuples of many rows and runs it, in as few pieces as may be. It returns the number of
// rows that were written.
func insertMany[T any](
	ctx context.Context, tx dbutil.Execable, statement, tuple string, items []T, values func(T) []any,
) (written int64, err error) {
	for len(items) > 0 {
		size := maxTuples
		for size > len(items) {
			size /= 2
		}
		var args []any
		for _, item := range items[:size] {
			args = append(args, values(item)...)
		}
		result, err := tx.ExecContext(ctx, fmt.Sprintf(statement, tuples(tuple, size)), args...)
		if err != nil {
			return written, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return written, err
		}
		written += n
		items = items[size:]
	}
	return written, nil
}

// tuples repeats a tuple, with its question marks numbered as parameters.
func tuples(tuple string, n int) string {
	var text strings.Builder
	for i, parameter := 0, 1; i < n; i++ {
		if i > 0 {
			text.WriteString(", ")
		}
		pieces := strings.Split(tuple, "?")
		for j, piece := range pieces {
			text.WriteString(piece)
			if j < len(pieces)-1 {
				text.WriteString("$" + strconv.Itoa(parameter))
				parameter++
			}
		}
	}
	return text.String()
}
