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
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	selectHead = `SELECT seq, ord, version, early, stored FROM head WHERE tenant_id=$1`

	// updateHeads is completed by one tuple of (tenant, seq, ord, version, early, stored) for each tenant. A tenant whose version is another
	// than the one that was read is left out, which shows in the number of rows.
	updateHeads = `
		UPDATE head SET seq=v.column2, ord=v.column3, version=head.version+1, early=v.column5, stored=v.column6
		FROM (VALUES %s) v
		WHERE head.tenant_id=v.column1 AND head.version=v.column4`
	updateHeadsTuple = `(CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT))`
)

// head is how far a tenant's numbers have come: seq counts events, ord messages, version commits. early is how
// many changes wait for their message, stored about how many bytes of messages and events are kept.
type head struct {
	seq, ord, version, early, stored int64
	// moved says that the transaction at hand changes something of the tenant's.
	moved bool
}

// next is the head after the commit.
func (h *head) next() head {
	return head{seq: h.seq, ord: h.ord, version: h.version + 1, early: h.early, stored: h.stored}
}

// chatKey names a chat, a contact or a LID of a tenant.
type chatKey struct {
	tenant tenant.ID
	id     tenant.ChatID
}

// batch is one transaction of the committer. What several changes touch is read once and written once, by flush.
type batch struct {
	tx     transaction
	now    time.Time
	known  *lru.Cache[tenant.ID, head]
	writes int // grows with each change, in memory or in the database

	heads    map[tenant.ID]*head
	chats    map[chatKey]*chatRow
	contacts map[chatKey]contact
	phones   map[chatKey]tenant.ChatID // by LID; the LID itself where nothing is known
	lids     map[chatKey]tenant.ChatID // by phone number; empty where nothing is known
	stored   map[rowKey]bool           // whether there is such a message
	own      map[rowKey][]ownRow       // messages of ours, by chat and id
	quiet    set[idKey]                // messages for which nothing waits
	sessions map[tenant.ID]tenant.Session
	blocked  map[tenant.ID][]tenant.ChatID // whom accounts block, as long as nobody was blocked or let go, or got another id

	traceless set[chatKey] // LIDs under which nothing was stored when the batch began
	met       set[chatKey] // LIDs under which the batch may have stored something

	unwritten
	failed   error // of settling: any job's changes may be to blame
	events   []journalRow
	grown    map[tenant.ID]struct{} // tenants with new events
	deleted  map[tenant.ID]struct{}
	keys     []tenant.KeyID // those that changed
	unopened int            // votes so far that did not open
	usage    map[tenantDay]tenant.Usage
	boarding boarding // what devices' stores take along
}

// journalRow is an event that waits for flush.
type journalRow struct {
	tenant tenant.ID
	seq    int64
	kind   tenant.EventType
	data   []byte
}

func newBatch(tx transaction, known *lru.Cache[tenant.ID, head], now time.Time) *batch {
	return &batch{
		tx: tx, known: known, now: time.UnixMilli(now.UnixMilli()).UTC(),
		heads:    map[tenant.ID]*head{},
		chats:    map[chatKey]*chatRow{},
		contacts: map[chatKey]contact{},
		phones:   map[chatKey]tenant.ChatID{},
		lids:     map[chatKey]tenant.ChatID{},
		stored:   map[rowKey]bool{},
		own:      map[rowKey][]ownRow{},
		quiet:    set[idKey]{},
		met:      set[chatKey]{},
		sessions: map[tenant.ID]tenant.Session{},
		blocked:  map[tenant.ID][]tenant.ChatID{},

		traceless: set[chatKey]{},
		grown:     map[tenant.ID]struct{}{},
		deleted:   map[tenant.ID]struct{}{},
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
	err := b.tx.QueryRowContext(ctx, selectHead, string(id)).Scan(&h.seq, &h.ord, &h.version, &h.early, &h.stored)
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

// move is exec for statements that delete messages or give them other ids.
func (b *batch) move(ctx context.Context, id tenant.ID, query string, args ...any) (int64, error) {
	clear(b.stored) // what was looked up is asked for again
	clear(b.own)
	return b.exec(ctx, id, query, args...)
}

// execBare runs a statement without moving a tenant's head.
func (b *batch) execBare(ctx context.Context, query string, args ...any) (int64, error) {
	if err := b.settle(ctx); err != nil {
		b.failed = cmp.Or(b.failed, err) // what waited was not this statement's
		return 0, err
	}
	return b.execBeside(ctx, query, args...)
}

// beside is exec for tables of which nothing waits to be written; see [unwritten].
func (b *batch) beside(ctx context.Context, id tenant.ID, query string, args ...any) (int64, error) {
	if _, err := b.touch(ctx, id); err != nil {
		return 0, err
	}
	return b.execBeside(ctx, query, append([]any{string(id)}, args...)...)
}

func (b *batch) execBeside(ctx context.Context, query string, args ...any) (int64, error) {
	b.writes++
	result, err := b.tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// row runs a query of a tenant's. What waits is written before; should that fail, the batch has failed, whatever the row says.
func (b *batch) row(ctx context.Context, id tenant.ID, query string, args ...any) *sql.Row {
	if err := b.settle(ctx); err != nil {
		b.failed = cmp.Or(b.failed, err)
	}
	return b.rowBeside(ctx, id, query, args...)
}

// rowBeside is row for tables of which nothing waits to be written.
func (b *batch) rowBeside(ctx context.Context, id tenant.ID, query string, args ...any) *sql.Row {
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
	h.stored += eventWeight(encoded)
	b.events = append(b.events, journalRow{tenant: id, seq: h.seq, kind: kind, data: encoded})
	b.grown[id] = struct{}{}
	return nil
}

// flush writes what was kept in memory, and what comes last. Heads come first: a second writer waits there, and finds out before it has
// done harm.
func (b *batch) flush(ctx context.Context, last ...statement) error {
	waiting := b.unwritten
	b.unwritten = unwritten{}
	return b.tx.together(ctx, slices.Concat(
		b.headWrites(), waiting.writes(b), b.chatWrites(), b.usageWrites(b.usage), b.deviceWrites(), b.eventWrites(), last,
	))
}

func (b *batch) headWrites() []statement {
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
	all := manyWrites("write heads", updateHeads, updateHeadsTuple, moved, func(r row) []any {
		return []any{string(r.ID), r.seq, r.ord, r.version, r.early, r.stored}
	})
	left := int64(len(moved))
	for i := range all {
		all[i].took = func(rows int64) error {
			if left -= rows; i == len(all)-1 && left != 0 {
				return errFenced
			}
			return nil
		}
	}
	return all
}

var journalColumnNames = []string{"tenant_id", "seq", "kind", "created_at", "data"} //nolint:gochecknoglobals // does not change

func (b *batch) eventWrites() []statement {
	rows := make([][]any, 0, len(b.events))
	for _, e := range b.events {
		if _, gone := b.deleted[e.tenant]; !gone {
			rows = append(rows, []any{string(e.tenant), e.seq, string(e.kind), b.now.UnixMilli(), string(e.data)})
		}
	}
	return inserts("write journal", "journal", journalColumnNames, rows)
}

func (b *batch) chatWrites() []statement {
	var dirty []*chatRow
	for key, chat := range b.chats {
		if _, gone := b.deleted[key.tenant]; !gone && chat.dirty && chat.exists {
			dirty = append(dirty, chat)
		}
	}
	slices.SortFunc(dirty, func(x, y *chatRow) int {
		return cmp.Or(cmp.Compare(x.tenant, y.tenant), cmp.Compare(x.chat.ID, y.chat.ID))
	})
	return manyWrites("write chats", upsertChats, upsertChatsTuple, dirty, (*chatRow).values)
}

// ask runs a query in a batch, once what waits is written, and scans all that it yields.
func ask[T any](
	ctx context.Context, b *batch, scan func(dbutil.Scannable) (T, error), query string, args ...any,
) ([]T, error) {
	if err := b.settle(ctx); err != nil {
		b.failed = cmp.Or(b.failed, err)
		return nil, err
	}
	return collect(ctx, b.tx, scan, query, args...)
}
